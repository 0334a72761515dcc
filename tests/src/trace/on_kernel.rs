//! A trace played to the live data plane through real devices, in a network namespace of its own.
//!
//! Every packet crosses the kernel twice. Bare ones come and go by the node's TUN device, on whose wire a packet
//! socket sends and listens; tunnelled ones by UDP between the underlay addresses of the node and its peers, which
//! all lie in the namespace. One packet at a time: the next goes in when all that the data plane sent for the last
//! one has come out. The clock shows the trace's time, and stops at every deadline of the forwarder on the way.

mod peers;
mod watched;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyedge_live::dataplane::clock::TraceClock;
use anyedge_live::dataplane::mouth::Mouth;
use anyedge_live::dataplane::{Dataplane, Ground};
use anyedge_live::netlink::Netlink;
use anyedge_live::netns::{self, Namespace};
use anyedge_live::packet_socket::PacketSocket;
use anyedge_live::prefix::Prefix;
use anyedge_live::tun::{Tun, TunPlan};
use anyedge_net::drop_reason::{DropCounts, DropReason};
use anyedge_net::forwarder::Forwarder;
use anyedge_net::id::NodeId;
use anyedge_net::port::PortId;
use anyedge_net::rng::Seed;
use anyedge_net::route_table::{NodeKind, RouteTable};
use anyedge_net::time::Instant;
use anyedge_pop::pop::Pop;
use anyedge_region::{ClbNode, Limits, VSwitch};
use anyedge_sim::replay::{Arrival, Departure};
use anyhow::{Context, Result, ensure};

use super::{Input, Trace, Transcript};
use peers::Peers;
use watched::Watched;

/// The TUN device's name, and the largest packet that it and the tunnels carry.
const TUN: &str = "tun0";
const PACKET_BYTES_MAX: u16 = 1_500;
/// How long a packet may take through the kernel before the test gives up.
const LIMIT: Duration = Duration::from_secs(5);

/// Whether this process may make namespaces and devices.
pub fn can_play() -> bool {
    let may = std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        uids.and_then(|uids| uids.split_whitespace().nth(1)) == Some("0")
    });
    may && Path::new("/dev/net/tun").exists()
}

/// How packets of a trace crossed the kernel.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Crossed {
    /// In by the TUN device.
    pub tun_in: usize,
    /// In by UDP.
    pub udp_in: usize,
    /// Out by the TUN device.
    pub tun_out: usize,
    /// Out by UDP.
    pub udp_out: usize,
}

/// Plays `trace` by the live driver.
///
/// # Errors
/// When the kernel refuses a device, or a packet gets lost in it.
pub fn play(trace: &Trace) -> Result<(Transcript, Crossed)> {
    let table = &trace.network.tables[0];
    let own = table.node_named(trace.node).context("no such node")?;
    let topology = &trace.network.topology;
    let limits = Limits::of(usize::try_from(topology.defaults.flows_max)?);
    let bare = match table.nodes[own.index()].kind {
        NodeKind::Pop => Some(PortId::PUBLIC),
        NodeKind::ClbNode(_) => None,
        NodeKind::Host(_) => Some(PortId::BACKEND),
    };
    let lone = LoneNamespace::new(trace.node)?;
    lone.0.run(|| match table.nodes[own.index()].kind {
        NodeKind::Pop => {
            Player::new(trace, Pop::new(trace.node, Seed(topology.seed)), bare)?.play(trace)
        }
        NodeKind::ClbNode(_) => {
            let forwarder = ClbNode::new(trace.node, limits, Seed(topology.seed));
            Player::new(trace, forwarder, bare)?.play(trace)
        }
        NodeKind::Host(_) => Player::new(
            trace,
            VSwitch::new(trace.node, limits, Seed(topology.seed)),
            bare,
        )?
        .play(trace),
    })
}

/// A namespace that goes when this is dropped, also by a failing test.
struct LoneNamespace(Namespace);

impl LoneNamespace {
    fn new(node: &str) -> Result<LoneNamespace> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("anyedge-trace-{}-{number}-{node}", std::process::id());
        Namespace::create(&name).map(LoneNamespace)
    }
}

impl Drop for LoneNamespace {
    fn drop(&mut self) {
        let removed = netns::delete(self.0.name());
        if !std::thread::panicking() {
            removed.expect("the namespace can be removed");
        }
    }
}

/// A data plane at work, and the other ends of all its devices.
struct Player<F> {
    dataplane: Dataplane<Watched<F>, TraceClock>,
    clock: TraceClock,
    /// The wire of the TUN device and the port behind it.
    wire: Option<(PacketSocket, PortId)>,
    peers: Peers,
    table: Arc<RouteTable>,
    own: NodeId,
    crossed: Crossed,
    buffer: Vec<u8>,
}

impl<F: Forwarder> Player<F> {
    /// Opens everything in the calling thread's namespace.
    fn new(trace: &Trace, forwarder: F, bare: Option<PortId>) -> Result<Self> {
        let table = Arc::clone(&trace.network.tables[0]);
        let own = table.node_named(trace.node).context("no such node")?;
        let peers = Peers::of(trace);
        let node = &table.nodes[own.index()];
        let (v4, v6) = (node.underlay_v4, node.underlay_v6);
        let netlink = Netlink::open()?;
        netlink.set_mtu("lo", u32::from(PACKET_BYTES_MAX))?;
        netlink.set_up("lo")?;
        let addresses: Vec<Prefix> = [IpAddr::V4(v4), IpAddr::V6(v6)]
            .into_iter()
            .chain(peers.addresses())
            .map(Prefix::host)
            .collect();
        for address in &addresses {
            netlink.add_address("lo", *address)?;
        }
        for address in &addresses {
            netlink.await_address(*address)?;
        }
        let plan = TunPlan {
            interface: TUN.to_owned(),
            mtu: u32::from(PACKET_BYTES_MAX),
            addresses: Vec::new(),
            routes: Vec::new(),
            offload: false,
        };
        let tun = bare.map(|_| Tun::open(&plan)).transpose()?;
        let wire = match bare {
            Some(port) => Some((PacketSocket::open(TUN)?, port)),
            None => None,
        };
        let ground = Ground {
            tun,
            tun_port: bare.unwrap_or(PortId::LOCAL),
            mouth: Mouth::open(Some(v4), Some(v6))?,
            raw_gre: None,
            streams: None,
            packet_bytes_max: usize::from(PACKET_BYTES_MAX),
        };
        let clock = TraceClock::default();
        let watched = Watched::new(forwarder);
        let dataplane = Dataplane::new(
            watched,
            clock.clone(),
            vec![ground],
            Arc::clone(&table),
            own,
        )?;
        Ok(Player {
            dataplane,
            clock,
            wire,
            peers: peers.open()?,
            table,
            own,
            crossed: Crossed::default(),
            buffer: vec![0; 65_536],
        })
    }

    fn play(mut self, trace: &Trace) -> Result<(Transcript, Crossed)> {
        // Its making put the first table in force, which the trace will do again.
        let before = self.dataplane.forwarder().events().len();
        let mut outputs = Vec::with_capacity(trace.entries.len());
        for (index, entry) in trace.entries.iter().enumerate() {
            let step = self.step(trace, entry.at, &entry.input);
            outputs.push(step.with_context(|| format!("entry {index} of {}", trace.node))?);
        }
        let at = self.clock_at();
        ensure!(
            self.next_departure(at)?.is_none(),
            "a packet came out that the data plane did not count"
        );
        let mut drops: DropCounts = self.dataplane.ledger().dropped.clone();
        let totals = self.dataplane.totals();
        for reason in DropReason::ALL {
            (0..totals.refused(*reason)).for_each(|_| drops.add(*reason));
        }
        let events = self.dataplane.forwarder().events()[before..].to_vec();
        let transcript = Transcript {
            outputs,
            drops,
            events,
        };
        Ok((transcript, self.crossed))
    }

    /// Lets one entry of the trace happen; gives what came out.
    fn step(&mut self, trace: &Trace, at: Instant, input: &Input) -> Result<Vec<Departure>> {
        let mut departures = Vec::new();
        while let Some(due) = self.due().filter(|due| *due < at) {
            self.clock.set(due.max(self.clock_at()));
            self.poll_idle()?;
            self.collect(&mut departures)?;
        }
        self.clock.set(at);
        match input {
            Input::Silence => {}
            Input::Apply(table) => {
                self.table = Arc::clone(&trace.network.tables[*table]);
                let own = self.table.node_named(trace.node);
                self.own = own.context("the node is in every table")?;
                self.dataplane.apply(Arc::clone(&self.table), self.own)?;
            }
            Input::Packet(arrival) => {
                self.send(arrival)?;
                let mut taken = 0;
                let started = std::time::Instant::now();
                while taken == 0 {
                    ensure!(started.elapsed() < LIMIT, "the packet did not arrive");
                    taken = self.dataplane.poll_once(LIMIT)?;
                }
                ensure!(taken == 1, "{taken} packets came in where one was sent");
            }
        }
        self.collect(&mut departures)?;
        while self.due().is_some_and(|due| due <= at) {
            self.poll_idle()?;
            self.collect(&mut departures)?;
        }
        Ok(departures)
    }

    /// A poll that finds nothing but deadlines.
    fn poll_idle(&mut self) -> Result<()> {
        let taken = self.dataplane.poll_once(Duration::ZERO)?;
        ensure!(taken == 0, "{taken} packets came in that nobody sent");
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        self.dataplane.forwarder().poll_timeout().map(|due| due.at)
    }

    fn clock_at(&self) -> Instant {
        anyedge_live::dataplane::clock::Clock::now(&self.clock)
    }

    /// Puts a packet on the device by which it shall come.
    fn send(&mut self, arrival: &Arrival) -> Result<()> {
        match arrival {
            Arrival::Bare(bytes) => {
                let (wire, _) = self.wire.as_ref().context("a node without a TUN")?;
                wire.send(bytes).context("onto the TUN's wire")?;
                self.crossed.tun_in += 1;
            }
            Arrival::Tunnel { from, tos, bytes } => {
                let node = &self.table.nodes[self.own.index()];
                let to = match from {
                    IpAddr::V4(_) => IpAddr::V4(node.underlay_v4),
                    IpAddr::V6(_) => IpAddr::V6(node.underlay_v6),
                };
                self.peers.send(*from, to, *tos, bytes)?;
                self.crossed.udp_in += 1;
            }
        }
        Ok(())
    }

    /// Waits until all that the data plane says it sent so far has come out.
    fn collect(&mut self, departures: &mut Vec<Departure>) -> Result<()> {
        let totals = self.dataplane.totals();
        let refused: u64 = DropReason::ALL
            .iter()
            .map(|reason| totals.refused(*reason))
            .sum();
        let ledger = self.dataplane.ledger();
        let expected = (ledger.transmitted + ledger.delivered - refused) as usize;
        let (at, started) = (self.clock_at(), std::time::Instant::now());
        while self.crossed.tun_out + self.crossed.udp_out < expected {
            match self.next_departure(at)? {
                Some(departure) => departures.push(departure),
                None => ensure!(started.elapsed() < LIMIT, "a packet did not come out"),
            }
        }
        Ok(())
    }

    /// A packet that waits at the other end of a device.
    fn next_departure(&mut self, at: Instant) -> Result<Option<Departure>> {
        if let Some((wire, port)) = &self.wire
            && let Some(len) = wire.recv(&mut self.buffer)?
        {
            self.crossed.tun_out += 1;
            return Ok(Some(Departure {
                at,
                port: *port,
                peer: NodeId::UNKNOWN,
                tos: 0,
                bytes: self.buffer[..len].to_vec(),
            }));
        }
        let Some(received) = self.peers.recv(&mut self.buffer)? else {
            return Ok(None);
        };
        self.crossed.udp_out += 1;
        let (port, peer) = peers::port_to(&self.table, self.own, received.by)?;
        Ok(Some(Departure {
            at,
            port,
            peer,
            tos: received.tos,
            bytes: self.buffer[..received.len].to_vec(),
        }))
    }
}

impl Crossed {
    /// All packets that came in.
    pub const fn packets_in(&self) -> usize {
        self.tun_in + self.udp_in
    }

    /// Adds those of another trace.
    pub const fn add(&mut self, other: &Crossed) {
        self.tun_in += other.tun_in;
        self.udp_in += other.udp_in;
        self.tun_out += other.tun_out;
        self.udp_out += other.udp_out;
    }
}
