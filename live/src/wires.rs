//! Wires with the simulator's own link model: frames between interfaces, each held for as long as its link says.
//!
//! Two kinds of way lead from one port to another. A wire takes every frame that comes in at one end to the other, as it
//! is. A router's way takes packets to one address, each over the link of its pair of ends, and writes the next hop's
//! hardware address. What is no IP packet goes through at once. Frames must be
//! real ones, no super-packets: [`turn_off`](crate::offloads::turn_off) sees to that at the far ends.
//!
//! Time counts from when the kernel had a frame, so that what it waits to be read does not make its link longer.
//!
//! Invariant: frames of one link leave in the order and at the times that [`Link`] says, or later when this process was
//! not given the processor; what is lost is counted by its link, and nothing else is lost but what is in [`Lost`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::link::{Change, Link, LinkSpec};
use anyedge_net::rng::Seed;
use anyedge_net::time::{Instant, nanos};
use anyedge_net::wire::ip;
use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use crate::dataplane::clock::{Clock, MonotonicClock};
use crate::lab::orders::{Act, LinkTold, Order, Told};
use crate::netns::Namespace;
use crate::packet_socket::PacketSocket;

/// Bytes of an Ethernet header: to, from, type.
const HEADER_LEN: usize = 14;
/// The largest frame that a wire of a lab carries.
const FRAME_LEN_MAX: usize = HEADER_LEN + 65_535;
/// Frames taken from one port before the others get their turn.
const BURST_MAX: usize = 64;
/// Frames on their way at a time, over all links: a second of 3 Gbit/s in full packets.
const IN_FLIGHT_MAX: usize = 1 << 18;

/// Which ports there are and how frames get from one to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Interfaces.
    pub ports: Vec<PortPlan>,
    /// What links are like.
    pub links: Vec<LinkSpec>,
    /// Who reaches whom.
    pub ways: Vec<Way>,
}

/// An interface that frames come in at and leave by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortPlan {
    /// Its namespace and its name there.
    pub own: (String, String),
    /// The same of the interface at its far end, where a router's ways end here.
    pub far: Option<(String, String)>,
}

/// A way from one port to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The port that frames come in at, by its place.
    pub from: usize,
    /// Where packets of this way go to; `None`: a wire, which takes all frames.
    pub to_address: Option<IpAddr>,
    /// The port that they leave by.
    pub to: usize,
    /// The link between, by its place. Several ways may share one.
    pub link: usize,
}

/// Frames that no link lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// No way leads where they go to.
    pub no_way: u64,
    /// Whom they go to has no hardware address that is known.
    pub unknown: u64,
    /// The port took no more, or too many were on their way.
    pub full: u64,
}

/// Wires at work.
pub struct Wires {
    ports: Vec<Port>,
    links: Vec<Link<()>>,
    waiting: BinaryHeap<Reverse<Flight>>,
    sent: u64,
    lost: Lost,
    clock: MonotonicClock,
    buffer: Box<[u8]>,
}

#[derive(Debug)]
struct Port {
    socket: PacketSocket,
    /// The hardware address at its far end.
    neighbour: Option<[u8; 6]>,
    /// All frames go there.
    wire: Option<Onward>,
    by_address: BTreeMap<IpAddr, Onward>,
}

#[derive(Clone, Copy, Debug)]
struct Onward {
    to: usize,
    link: usize,
}

/// A frame on its way. The earliest first; of several, that which came first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    at: Instant,
    number: u64,
    link: Option<usize>,
    outages: u16,
    to: usize,
    frame: Vec<u8>,
}

impl Wires {
    /// Opens the ports of `plan`. The links draw from `seed`, by their names, as in the simulator.
    ///
    /// # Errors
    /// When there is no such interface, or a way names a port or link that is not in the plan.
    pub fn open(plan: &Plan, seed: Seed) -> Result<Wires> {
        let mut ports = Vec::new();
        for PortPlan { own, far } in &plan.ports {
            let (namespace, interface) = own;
            let socket = Namespace::open(namespace)?
                .run(|| PacketSocket::open_frames(interface))
                .with_context(|| format!("the wires' end {interface} in {namespace}"))?;
            ports.push(Port {
                socket,
                neighbour: far.as_ref().map(hardware_address).transpose()?,
                wire: None,
                by_address: BTreeMap::new(),
            });
        }
        for way in &plan.ways {
            ensure!(
                way.to < ports.len() && way.link < plan.links.len(),
                "a way leads by a port or a link that is not there"
            );
            let port = ports.get_mut(way.from);
            let port = port.context("a way begins at a port that is not there")?;
            let onward = Onward {
                to: way.to,
                link: way.link,
            };
            match way.to_address {
                Some(address) => drop(port.by_address.insert(address, onward)),
                None => port.wire = Some(onward),
            }
        }
        let links = plan.links.iter();
        Ok(Wires {
            ports,
            links: links
                .map(|spec| Link::new(spec.clone(), (), seed))
                .collect(),
            waiting: BinaryHeap::new(),
            sent: 0,
            lost: Lost::default(),
            clock: MonotonicClock::start(),
            buffer: vec![0; FRAME_LEN_MAX].into(),
        })
    }

    /// Waits for at most `wait` until a frame comes or is due, then moves all that there are.
    ///
    /// # Errors
    /// When a port is gone.
    pub fn poll_once(&mut self, wait: Duration) -> Result<()> {
        let now = self.clock.now();
        let due = self
            .waiting
            .peek()
            .map(|Reverse(flight)| flight.at.since(now));
        let wait = due.map_or(wait, |due| due.min(wait));
        let arrived: Vec<usize> = {
            let ports = self.ports.iter();
            let fds = ports.map(|port| PollFd::new(port.socket.as_fd(), PollFlags::POLLIN));
            let mut fds: Vec<_> = fds.collect();
            match ppoll(&mut fds, Some(TimeSpec::from_duration(wait)), None) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("cannot wait for frames"),
            }
            let ready = fds.iter().enumerate();
            let ready = ready.filter(|(_, fd)| fd.any() == Some(true));
            ready.map(|(place, _)| place).collect()
        };
        self.land();
        for port in arrived {
            self.take_from(port)?;
        }
        self.land();
        Ok(())
    }

    /// What links there are, with their counts.
    pub fn links(&self) -> &[Link<()>] {
        &self.links
    }

    /// What no link lost.
    pub const fn lost(&self) -> Lost {
        self.lost
    }

    /// Does what is ordered, and tells of the links that it is about.
    pub fn obey(&mut self, order: &Order) -> Told {
        let place_of = |name: &String| self.links.iter().position(|link| link.spec.name == *name);
        let mut places = Vec::new();
        for name in &order.links {
            let Some(place) = place_of(name) else {
                return Told {
                    refused: Some(format!("no wire of the lab is the link `{name}`")),
                    ..Told::default()
                };
            };
            places.push(place);
        }
        if order.links.is_empty() {
            places.extend(0..self.links.len());
        }
        let now = self.clock.now();
        for place in &places {
            let link = &mut self.links[*place];
            match &order.act {
                Act::Down => link.go_down(),
                Act::Up => link.come_up(),
                Act::Worse(worse) => link.degrade(now, &Change::from(worse)),
                Act::Restore => link.restore(now),
                Act::Tell => {}
            }
        }
        let Lost {
            no_way,
            unknown,
            full,
        } = self.lost;
        let links = places.iter().map(|place| told(&self.links[*place]));
        Told {
            links: links.collect(),
            lost: [no_way, unknown, full],
            refused: None,
        }
    }

    fn take_from(&mut self, port: usize) -> Result<()> {
        for _ in 0..BURST_MAX {
            let received = self.ports[port].socket.recv_frame(&mut self.buffer);
            match received.context("cannot read from a wire")? {
                Some((len, age)) if len >= HEADER_LEN => self.take_in(port, len, age),
                Some(_) => self.lost.no_way += 1,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Puts the frame in the buffer on its way, from when it came: `age` ago.
    fn take_in(&mut self, port: usize, len: usize, age: Duration) {
        let now = self.clock.now();
        let now = Instant::from_nanos(now.as_nanos().saturating_sub(nanos(age)));
        let frame = &self.buffer[..len];
        let packet = &frame[HEADER_LEN..];
        let destination = is_ip(frame).then(|| ip::destination(packet)).flatten();
        let entry = &self.ports[port];
        let by_address = destination.and_then(|to| entry.by_address.get(&IpAddr::from(to)));
        let Some(onward) = by_address.or(entry.wire.as_ref()).copied() else {
            // A router's own neighbour discovery is the kernel's affair.
            self.lost.no_way += u64::from(destination.is_some());
            return;
        };
        let mut frame = frame.to_vec();
        if by_address.is_some() {
            let Some(neighbour) = self.ports[onward.to].neighbour else {
                self.lost.unknown += 1;
                return;
            };
            frame.copy_within(0..6, 6);
            frame[..6].copy_from_slice(&neighbour);
        }
        if self.waiting.len() >= IN_FLIGHT_MAX {
            self.lost.full += 1;
            return;
        }
        if destination.is_none() {
            return self.launch(now, None, onward.to, frame);
        }
        let link = &mut self.links[onward.link];
        let Ok(at) = link.send(now, frame.len() - HEADER_LEN) else {
            return; // the link has counted it
        };
        if !link.is_faithful() {
            link.corrupt(&mut frame[HEADER_LEN..]);
            if link.doubles() {
                self.launch(at, Some(onward.link), onward.to, frame.clone());
            }
        }
        self.launch(at, Some(onward.link), onward.to, frame);
    }

    fn launch(&mut self, at: Instant, link: Option<usize>, to: usize, frame: Vec<u8>) {
        let outages = link.map_or(0, |link| self.links[link].outages);
        self.waiting.push(Reverse(Flight {
            at,
            number: self.sent,
            link,
            outages,
            to,
            frame,
        }));
        self.sent += 1;
    }

    /// Sends what is due.
    fn land(&mut self) {
        let now = self.clock.now();
        while let Some(Reverse(flight)) = self.waiting.peek()
            && flight.at <= now
        {
            let Some(Reverse(flight)) = self.waiting.pop() else {
                return;
            };
            if let Some(place) = flight.link {
                let link = &mut self.links[place];
                if link.outages != flight.outages {
                    link.cut_off(DropReason::LinkDown);
                    continue;
                }
                link.arrived(flight.frame.len());
            }
            if self.ports[flight.to].socket.send(&flight.frame).is_err() {
                self.lost.full += 1;
            }
        }
    }
}

fn told(link: &Link<()>) -> LinkTold {
    let dropped = link.dropped.iter();
    LinkTold {
        name: link.spec.name.clone(),
        up: link.is_up(),
        worse: link.is_worse(),
        delivered: link.delivered,
        dropped: dropped
            .map(|(reason, count)| (reason.name().to_owned(), count))
            .collect(),
    }
}

/// In short, for who asks how a lab is.
impl fmt::Display for Wires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let delivered: u64 = self.links.iter().map(|link| link.delivered).sum();
        let dropped: u64 = self.links.iter().map(|link| link.dropped.total()).sum();
        let Lost {
            no_way,
            unknown,
            full,
        } = self.lost;
        write!(
            f,
            "{} links, {delivered} packets, {dropped} lost by them, {} without a way, {full} for want of room",
            self.links.len(),
            no_way + unknown
        )?;
        let links = || self.links.iter();
        let down = links().filter(|link| !link.is_up()).count();
        let worse = links().filter(|link| link.is_worse()).count();
        match (down, worse) {
            (0, 0) => Ok(()),
            _ => write!(f, "; {down} down, {worse} worse than in the file"),
        }
    }
}

/// The hardware address of an interface.
fn hardware_address((namespace, interface): &(String, String)) -> Result<[u8; 6]> {
    let found = Namespace::open(namespace)?.run(|| {
        let mut all = getifaddrs().context("cannot list interfaces")?;
        let own = all.find_map(|entry| {
            let link = entry.address.as_ref()?.as_link_addr()?.addr();
            link.filter(|_| entry.interface_name == *interface)
        });
        Ok(own)
    })?;
    found.with_context(|| format!("{interface} in {namespace} has no hardware address"))
}

/// Whether the frame's type says that it carries IP.
fn is_ip(frame: &[u8]) -> bool {
    matches!(frame[12..14], [0x08, 0x00] | [0x86, 0xdd])
}
