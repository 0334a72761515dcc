//! Wires with the file's links: the delays, rates and losses of a topology laid into the wires of its lab.
//!
//! A wire between a population and a POP, or the router beside it, is cut in two, and [`crate::wires`] stands between.
//! The router between all tunnel mouths forwards no more: the same process does, each packet over the link of the path
//! that joins its two ends, as in the simulator. Wires inside of a site, and those of controllers, stay as they are.
//!
//! Who works at the wires plans them again from the same file, so that nothing has to be handed over.

use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyedge_net::flow::HashKey;
use anyedge_net::id::{NodeId, RegionId};
use anyedge_net::link::LinkSpec;
use anyedge_net::rng::Seed;
use anyedge_net::route_table::{PathEnds, RouteTable};
use anyedge_net::wire::outer::Encap;
use anyedge_topologies::{Kind, Line, Topology};
use anyhow::{Context as _, Result, bail};
use nix::sys::prctl::set_timerslack;

use super::blueprint::{Blueprint, NamespacePlan, ProcessPlan, WireEndPlan, WirePlan};
use super::name::LabName;
use super::orders::{self, Waiting};
use super::plan::plain::host_of;
use super::plan::{self, UNDERLAY};
use super::routers;
use super::state::control_of;
use crate::control::Answer;
use crate::node::{self, Desk, End, NodeArgs};
use crate::processor;
use crate::wires::{Plan, PortPlan, Way, Wires};

/// The node where wires are cut, and the process that works at them.
pub const WIRES: &str = "ccn.wires";
/// How long the process waits for frames before it looks after its callers.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often it puts down what it may be asked.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Gives the wires of `blueprint`, made of `topology` in `file`, the file's links.
///
/// # Errors
/// When a path of the topology joins nodes that the lab has not.
pub fn lay(blueprint: &mut Blueprint, topology: &Topology, file: &Path) -> Result<()> {
    let mut model = Model {
        lab: blueprint.lab.clone(),
        plan: Plan::default(),
    };
    model.cut_wires(blueprint, topology);
    model.take_over_underlay(blueprint, topology)?;
    blueprint.namespaces.push(NamespacePlan {
        node: WIRES.to_owned(),
        forwards: false,
        addresses: Vec::new(),
        routes: Vec::new(),
    });
    let control = control_of(&blueprint.lab, WIRES);
    let mut arguments = node::arguments((file, &topology.overrides), WIRES, &control);
    arguments.extend(["--lab".to_owned(), blueprint.lab.to_string()]);
    blueprint.processes.insert(
        0,
        ProcessPlan {
            node: WIRES.to_owned(),
            name: WIRES.to_owned(),
            program: None,
            arguments,
            control: Some(control),
        },
    );
    blueprint.between = model.plan;
    blueprint.check()
}

/// Works at the wires of a lab until it is asked to end.
pub(crate) fn run(topology: &Topology, args: &NodeArgs, mut desk: Desk) -> Result<()> {
    let lab = args
        .lab
        .as_deref()
        .context("wires belong to a lab: --lab")?;
    let bird = routers::installed();
    let mut blueprint = plan::plan_with(topology, &args.topology, &lab.parse()?, bird.as_deref())?;
    lay(&mut blueprint, topology, &args.topology)?;
    let mut wires = Wires::open(&blueprint.between, Seed(topology.seed))?;
    desk.open(args.ready.as_deref())?;
    let stop = AtomicBool::new(false);
    let (orders, waiting) = orders::queue();
    let said = Mutex::new(wires.to_string());
    let (stop, said) = (&stop, &said);
    std::thread::scope(|scope| {
        let working = scope.spawn(move || work(&mut wires, stop, &waiting, said));
        let taking = scope.spawn(|| orders::take(&blueprint.lab, &orders, stop));
        let is_over = || working.is_finished() || taking.is_finished();
        let answer = || Answer {
            name: args.name.clone(),
            pid: std::process::id(),
            summary: lock(said).clone(),
            waits_for: None,
        };
        let ended = loop {
            match desk.serve(is_over, answer) {
                Ok(End::Reload) => {}
                other => break other,
            }
        };
        stop.store(true, Ordering::Relaxed);
        match (working.join(), taking.join()) {
            (Ok(worked), Ok(taken)) => worked.and(taken).and(ended.map(drop)),
            _ => bail!("the wires panicked"),
        }
    })
}

/// Moves frames and does what is ordered, until `stop`.
fn work(
    wires: &mut Wires,
    stop: &AtomicBool,
    orders: &Receiver<Waiting>,
    said: &Mutex<String>,
) -> Result<()> {
    // A sleep that is late makes a wire long.
    set_timerslack(1).context("cannot ask for exact timers")?;
    if let Err(error) = processor::come_first() {
        tracing::warn!("the wires wait for the processor like everybody: {error}");
    }
    let mut told_at = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        wires.poll_once(LOOK_EVERY)?;
        for (order, answer) in orders.try_iter() {
            // Who no longer waits for the answer has given the order all the same.
            let _ = answer.send(wires.obey(&order));
            *lock(said) = wires.to_string();
        }
        if told_at.elapsed() > TELL_EVERY {
            told_at = Instant::now();
            *lock(said) = wires.to_string();
        }
    }
    Ok(())
}

fn lock(said: &Mutex<String>) -> MutexGuard<'_, String> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Model {
    lab: LabName,
    plan: Plan,
}

impl Model {
    /// Two links of `line`, there and back, between objects that are `rtt` apart.
    fn add_links(&mut self, [near, far]: [&str; 2], line: Line, rtt: Duration) -> [usize; 2] {
        [(near, far), (far, near)].map(|(from, to)| {
            let spec: LinkSpec = line.spec(format!("{from}>{to}"), rtt);
            self.plan.links.push(spec);
            self.plan.links.len() - 1
        })
    }

    /// A port on an interface, whose other end is `far`.
    fn add_port(&mut self, own: &WireEndPlan, far: &WireEndPlan) -> usize {
        let place = |end: &WireEndPlan| (self.lab.namespace_of(&end.node), end.interface.clone());
        let port = PortPlan {
            own: place(own),
            far: Some(place(far)),
        };
        self.plan.ports.push(port);
        self.plan.ports.len() - 1
    }

    /// Cuts the wires that carry what one link of the file carries, and nothing else.
    fn cut_wires(&mut self, blueprint: &mut Blueprint, topology: &Topology) {
        let mut wires = Vec::new();
        for wire in std::mem::take(&mut blueprint.wires) {
            let Some((names, line, rtt)) = link_of(&wire, topology) else {
                wires.push(wire);
                continue;
            };
            let number = self.plan.ports.len();
            let inner = |side: char| WireEndPlan {
                node: WIRES.to_owned(),
                interface: format!("w{number}{side}"),
                addresses: Vec::new(),
            };
            let [near, far] = wire.ends.clone();
            let (left, right) = (inner('a'), inner('b'));
            let ports = [self.add_port(&left, &near), self.add_port(&right, &far)];
            let links = self.add_links([&names[0], &names[1]], line, rtt);
            for (from, to, link) in [(0, 1, links[0]), (1, 0, links[1])] {
                self.plan.ways.push(Way {
                    from: ports[from],
                    to_address: None,
                    to: ports[to],
                    link,
                });
            }
            let mtu = wire.mtu;
            wires.push(WirePlan {
                ends: [near, left],
                mtu,
            });
            wires.push(WirePlan {
                ends: [right, far],
                mtu,
            });
        }
        blueprint.wires = wires;
    }

    fn take_over_underlay(&mut self, blueprint: &mut Blueprint, topology: &Topology) -> Result<()> {
        let mut ports: Vec<(String, usize)> = Vec::new();
        for wire in &blueprint.wires {
            let [near, far] = &wire.ends;
            if near.node == UNDERLAY {
                ports.push((far.node.clone(), self.add_port(near, far)));
            }
        }
        let router = blueprint.namespaces.iter_mut();
        for namespace in router.filter(|namespace| namespace.node == UNDERLAY) {
            namespace.forwards = false;
        }
        // Only names and paths count: any key will do.
        let mut author = anyedge_topologies::author(topology, HashKey::new([0; 16]))?;
        let table = author.publish(anyedge_net::time::Instant::ZERO)?;
        // What goes without a tunnel has a wire of its own.
        for (_, path) in table.paths().filter(|(_, path)| path.encap != Encap::Plain) {
            let ends = Ends::of(&table, &path.ends);
            let (rtt, line) = topology.under(path, &ends.objects[0]);
            let [there, back] = self.add_links([&ends.objects[0], &ends.objects[1]], line, rtt);
            for near in &ends.nodes[0] {
                for far in ends.nodes[1].iter().filter(|far| *far != near) {
                    self.add_way(&table, &ports, [*near, *far], there)?;
                    self.add_way(&table, &ports, [*far, *near], back)?;
                }
            }
        }
        Ok(())
    }

    fn add_way(
        &mut self,
        table: &RouteTable,
        ports: &[(String, usize)],
        [from, to]: [NodeId; 2],
        link: usize,
    ) -> Result<()> {
        let port_of = |id: NodeId| {
            let name = &table.nodes[id.index()].name;
            let port = ports.iter().find(|(node, _)| node == name);
            let port = port.with_context(|| format!("`{name}` has no wire in the lab"))?;
            Ok::<usize, anyhow::Error>(port.1)
        };
        let (from, port) = (port_of(from)?, port_of(to)?);
        let node = &table.nodes[to.index()];
        let addresses = [IpAddr::V4(node.underlay_v4), IpAddr::V6(node.underlay_v6)];
        for address in addresses {
            self.plan.ways.push(Way {
                from,
                to_address: Some(address),
                to: port,
                link,
            });
        }
        Ok(())
    }
}

/// The nodes at both ends of a path, and the objects that they belong to.
struct Ends {
    nodes: [Vec<NodeId>; 2],
    objects: [String; 2],
}

impl Ends {
    fn of(table: &RouteTable, ends: &PathEnds) -> Ends {
        let node = |id: NodeId| (vec![id], table.nodes[id.index()].name.clone());
        let region = |id: RegionId| {
            let region = &table.regions[id.index()];
            (region.clb_nodes.clone(), Kind::Region.object(&region.name))
        };
        let (near, far) = match *ends {
            PathEnds::Ccn { pop, region: id } => (node(pop), region(id)),
            PathEnds::Fabric { region: id, host } => (node(host), region(id)),
            PathEnds::Mesh { region: id } => (region(id), region(id)),
            PathEnds::Backbone { regions: [a, b] } => (region(a), region(b)),
        };
        Ends {
            nodes: [near.0, far.0],
            objects: [near.1, far.1],
        }
    }
}

/// The population and the POP that a public wire is between.
pub(super) fn public_ends(wire: &WirePlan) -> Option<(&str, &str)> {
    let [near, far] = [0, 1].map(|end| wire.ends[end].node.split_once('.'));
    let (near, far) = (near?, far?);
    let ((_, client), (kind, pop)) = if near.0 == "client" {
        (near, far)
    } else {
        (far, near)
    };
    let is_public = [near.0, far.0].contains(&"client") && ["pop", "router"].contains(&kind);
    is_public.then_some((client, pop))
}

/// The link of the file that a wire stands for alone: what the simulator calls its ends, its line and its round trip.
fn link_of(wire: &WirePlan, topology: &Topology) -> Option<([String; 2], Line, Duration)> {
    let nodes = [0, 1].map(|end: usize| wire.ends[end].node.as_str());
    if let Some(host) = host_of(wire) {
        let host = topology.hosts.get(host)?;
        let region = Kind::Region.object(&host.region);
        let name = |node: &str| {
            if node.starts_with("host.") {
                node.to_owned()
            } else {
                region.clone()
            }
        };
        return Some((nodes.map(name), host.line, host.rtt));
    }
    let (client, pop) = public_ends(wire)?;
    let known = topology.clients.get(client)?;
    let (rtt, line) = known.way_to(pop)?;
    Some((nodes.map(|node| object_of(node, pop)), line, rtt))
}

/// What the simulator calls an end of a public wire.
fn object_of(node: &str, pop: &str) -> String {
    if node.starts_with("client.") {
        node.to_owned()
    } else {
        Kind::Pop.object(pop)
    }
}
