//! The faults of a topology's file, played in its lab.
//!
//! A machine that goes down says nothing more: its processes are stopped, and killed and started anew when it comes back.
//! (A process that is killed at once would have its kernel say goodbye for it.) A link does what its wire can; a drain, a
//! weight, targets that are unbound and groups that scale are orders to the controllers. What a lab cannot play it refuses before it begins.

use std::time::{Duration, Instant};

use anyedge_net::link::Loss;
use anyedge_topologies::{Degrade, Fault, FaultVerb, Kind, LEADER, Partition, Topology};
use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use super::links::{self, LinkFault, Stretch};
use super::{bare, find, orders, read, start_again};
use crate::lab::name::LabName;
use crate::lab::orders::are_taken;
use crate::lab::plan::plain::has_vswitch;
use crate::lab::refused::refuse;
use crate::node;

/// A file's faults in its lab.
#[derive(Debug)]
pub struct Scenario<'a> {
    lab: &'a LabName,
    topology: &'a Topology,
    /// Who led when a fault struck the leader, by the fault's time.
    leaders: Vec<(Duration, String)>,
}

/// A fault that began or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// What: `down pop.tokyo`.
    pub what: String,
    /// When it was due, from the beginning of the play.
    pub due: Duration,
    /// When it was done.
    pub done: Duration,
}

impl<'a> Scenario<'a> {
    /// The faults of `topology` in the lab that was made of it.
    pub const fn new(lab: &'a LabName, topology: &'a Topology) -> Scenario<'a> {
        Scenario {
            lab,
            topology,
            leaders: Vec::new(),
        }
    }

    /// Refuses the first fault that a lab cannot play, and says why.
    ///
    /// # Errors
    /// [`Refused`](crate::lab::refused::Refused).
    pub fn check(&self) -> Result<()> {
        self.topology
            .faults
            .iter()
            .try_for_each(|fault| self.check_one(fault))
    }

    fn check_one(&self, fault: &Fault) -> Result<()> {
        let modelled = are_taken(self.lab);
        let why = match &fault.verb {
            FaultVerb::Down { wipe: true } => "disks of a lab are not emptied",
            FaultVerb::Down { .. } | FaultVerb::Hang | FaultVerb::Stale => return Ok(()),
            FaultVerb::Drain | FaultVerb::Weight(_) | FaultVerb::Unbind => return Ok(()),
            FaultVerb::Autoscale(_) => return Ok(()),
            FaultVerb::Degrade(_) if modelled => return Ok(()),
            FaultVerb::Degrade(_) => "links get worse with `lab up --links file` alone",
            FaultVerb::Partition(partition) if is_one_cut(partition) => return Ok(()),
            FaultVerb::Partition(_) => "one node can be cut off from all others, and no more",
            FaultVerb::Withdraw => "a POP of a lab announces as its table says",
            FaultVerb::Add => "a lab has all of its nodes from the beginning",
            FaultVerb::EniMove { .. } => "addresses of a lab stay at their hosts",
            FaultVerb::Clock(_) | FaultVerb::Disk(_) => {
                "processes of a lab share the machine's clock and disk"
            }
        };
        refuse!("`{fault}`: {why}");
    }

    /// Has every fault begin and end at its time, counted from `started`, up to `until`; what has not ended by then ends
    /// then.
    ///
    /// # Errors
    /// The first that could not be played; what had begun by then is not ended (see [`super::clear`]).
    pub fn play(&mut self, started: Instant, until: Duration) -> Result<Vec<Happened>> {
        self.check()?;
        let mut moments: Vec<(Duration, &Fault, bool)> = Vec::new();
        for fault in &self.topology.faults {
            if fault.at < until {
                moments.push((fault.at, fault, true));
                if !fault.stays() {
                    let end = fault.end().map_or(until, |end| end.min(until));
                    moments.push((end, fault, false));
                }
            }
        }
        moments.sort_by_key(|(due, ..)| *due);
        let mut happened = Vec::new();
        for (due, fault, begins) in moments {
            std::thread::sleep(due.saturating_sub(started.elapsed()));
            let what = if begins {
                self.begin(fault).with_context(|| fault.to_string())?;
                fault.to_string()
            } else {
                self.end(fault).with_context(|| fault.end_name())?;
                fault.end_name()
            };
            happened.push(Happened {
                what,
                due,
                done: started.elapsed(),
            });
        }
        Ok(happened)
    }

    /// The fault begins.
    ///
    /// # Errors
    /// When it cannot be played, or something of it is not there.
    pub fn begin(&mut self, fault: &Fault) -> Result<()> {
        self.check_one(fault)?;
        if is_leader(&fault.object) {
            let leader = orders::leader(self.lab, self.topology)?;
            self.leaders.push((fault.at, leader));
        }
        match &fault.verb {
            FaultVerb::Down { .. } if let Some((stretch, struck)) = self.link_of(fault)? => {
                links::begin(self.lab, self.topology, &stretch, &struck)
            }
            FaultVerb::Degrade(_) => self.turn_link(fault, true),
            FaultVerb::Down { .. } | FaultVerb::Hang => {
                let processes = self.processes_of(fault);
                processes
                    .iter()
                    .try_for_each(|name| self.signal(name, Signal::SIGSTOP))
            }
            FaultVerb::Stale | FaultVerb::Partition(_) => self.turn_managed(fault, false),
            _ => self.order(fault, true),
        }
    }

    /// The fault is over.
    ///
    /// # Errors
    /// As [`Scenario::begin`].
    pub fn end(&mut self, fault: &Fault) -> Result<()> {
        match &fault.verb {
            FaultVerb::Down { .. } if let Some((stretch, struck)) = self.link_of(fault)? => {
                links::end(self.lab, self.topology, &stretch, &struck)
            }
            FaultVerb::Degrade(_) => self.turn_link(fault, false),
            FaultVerb::Down { .. } => {
                let processes = self.processes_of(fault);
                processes
                    .iter()
                    .try_for_each(|name| self.signal(name, Signal::SIGKILL))?;
                processes.iter().try_for_each(|name| self.await_end(name))?;
                processes
                    .iter()
                    .try_for_each(|name| start_again(self.lab, name))
            }
            FaultVerb::Hang => {
                let processes = self.processes_of(fault);
                processes
                    .iter()
                    .try_for_each(|name| self.signal(name, Signal::SIGCONT))
            }
            FaultVerb::Stale | FaultVerb::Partition(_) => self.turn_managed(fault, true),
            _ if fault.stays() => Ok(()),
            _ => self.order(fault, false),
        }
    }

    /// The link that a fault strikes, and how; `None` when it strikes something else.
    fn link_of(&self, fault: &Fault) -> Result<Option<(Stretch, LinkFault)>> {
        let (from, struck) = match &fault.verb {
            FaultVerb::Degrade(Degrade { from, change }) => {
                (from.as_deref(), LinkFault::Worse(change.clone()))
            }
            FaultVerb::Down { .. } if fault.object.starts_with("link.") => (None, LinkFault::Down),
            _ => return Ok(None),
        };
        let stretch = Stretch::find(self.topology, &fault.object, from)?;
        Ok(Some((stretch, struck)))
    }

    fn turn_link(&self, fault: &Fault, begins: bool) -> Result<()> {
        let (stretch, struck) = self.link_of(fault)?.context("no link")?;
        let turn = if begins { links::begin } else { links::end };
        turn(self.lab, self.topology, &stretch, &struck)
    }

    fn turn_managed(&self, fault: &Fault, up: bool) -> Result<()> {
        let node = match &fault.verb {
            FaultVerb::Partition(partition) => &partition.nodes[0],
            _ => &fault.object,
        };
        bare::set_managed(self.lab, self.topology, &self.known(node, fault), up)
    }

    fn order(&self, fault: &Fault, begins: bool) -> Result<()> {
        let changes = orders::of_fault(self.topology, fault, begins)?;
        orders::give(
            self.lab,
            &changes.with_context(|| format!("`{fault}` is no order"))?,
        )
    }

    /// The object itself, or who led when the fault began.
    fn known(&self, object: &str, fault: &Fault) -> String {
        let mut leaders = self.leaders.iter().rev();
        let led = leaders.find(|(at, _)| *at == fault.at && is_leader(object));
        led.map_or_else(|| object.to_owned(), |(_, leader)| leader.clone())
    }

    /// The processes of the machine, or the region, that a fault strikes.
    fn processes_of(&self, fault: &Fault) -> Vec<String> {
        let object = self.known(&fault.object, fault);
        let is_hang = fault.verb == FaultVerb::Hang;
        let of_host = |host: &str| {
            let has_vswitch = self.topology.hosts.get(host).is_none_or(has_vswitch);
            let vswitch = (has_vswitch && !is_hang).then(|| Kind::Host.object(host));
            // The vSwitch first: behind it the backend's kernel has nobody left to say goodbye to.
            vswitch.into_iter().chain([node::backend_name(host)])
        };
        if let Some(host) = object.strip_prefix("host.") {
            return of_host(host).collect();
        }
        let region = object.strip_prefix("region.");
        let Some(region) = region.and_then(|name| self.topology.regions.get(name)) else {
            return vec![object];
        };
        let hosts = self.topology.hosts.values();
        let hosts = hosts.filter(|host| host.region == region.name);
        let clb_nodes = region.clb_nodes.iter().map(|node| node.name.clone());
        clb_nodes
            .chain(hosts.flat_map(|host| of_host(&host.name)))
            .collect()
    }

    fn signal(&self, name: &str, signal: Signal) -> Result<()> {
        find(&read(self.lab)?, name)?.process.signal(signal)
    }

    fn await_end(&self, name: &str) -> Result<()> {
        let process = find(&read(self.lab)?, name)?.process;
        process.await_end().with_context(|| format!("`{name}`"))
    }
}

fn is_leader(object: &str) -> bool {
    object.strip_prefix("controller.") == Some(LEADER)
}

/// Whether one node is cut off from all others, both ways and wholly: what a wire that goes down does.
fn is_one_cut(partition: &Partition) -> bool {
    let whole = Loss::Share(anyedge_topologies::units::PPM_WHOLE);
    let all = [partition.outwards, partition.inwards];
    partition.nodes.len() == 1 && partition.against.is_empty() && all == [whole, whole]
}
