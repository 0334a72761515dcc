//! Tunnels that are gRPC streams or QUIC connections between two data planes, over the kernel's TCP or UDP with
//! certificates: the same cases for both.
//!
//! Both ends are on the loopback, each with a runtime of its own that ends as a process does. No root is needed.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant as Wall};

use anyedge_ccn::rpc::{Authority, Identity, Role};
use anyedge_live::dataplane::clock::MonotonicClock;
use anyedge_live::dataplane::mouth::Mouth;
use anyedge_live::dataplane::streams::{Doors, Streams};
use anyedge_live::dataplane::{Dataplane, Ground};
use anyedge_live::host::LiveHost;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::Family;
use anyedge_net::forwarder::{Forwarder, LocalEvent};
use anyedge_net::id::{NodeId, PathId, RegionId};
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::{Meta, Packet};
use anyedge_net::port::PortId;
use anyedge_net::rng::Seed;
use anyedge_net::route_table::{Mechanisms, Node, NodeKind, Path, PathEnds, Region, RouteTable};
use anyedge_net::slot::SlotMap;
use anyedge_net::time::{Deadline, Instant};
use anyedge_net::wire::outer::Encap;
use tokio::runtime::{Builder, Runtime};

const POP: NodeId = NodeId(0);
const CLB: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);
const PATH: PathId = PathId(0);
const TOS: u8 = 0xb9;
const LIMIT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(2);

/// Sends what it is given to the CLB node. A CLB node sends what comes back to the POP, which keeps it.
struct End {
    own: NodeId,
    path: Option<PathId>,
    seen: Vec<(Meta, Vec<u8>)>,
}

impl Forwarder for End {
    fn handle_packets(&mut self, _now: Instant, batch: &mut Vec<Packet>, out: &mut Outbox) {
        for packet in batch.drain(..) {
            let meta = packet.meta;
            if meta.port == PortId::PUBLIC {
                match self.path {
                    Some(path) => out.transmit_tunnel(packet, PortId::tunnel(path), CLB, 0, TOS),
                    None => out.drop_packet(packet, DropReason::NoRoute),
                }
                continue;
            }
            self.seen.push((meta, packet.bytes().to_vec()));
            if self.own == CLB {
                out.transmit_tunnel(packet, meta.port, meta.peer, 0, meta.tos);
            } else {
                out.drop_packet(packet, DropReason::Probe);
            }
        }
    }

    fn handle_timeout(&mut self, _now: Instant, _out: &mut Outbox) {}

    fn handle_event(&mut self, _now: Instant, _event: LocalEvent, _out: &mut Outbox) {}

    fn apply(&mut self, _now: Instant, table: Arc<RouteTable>, _out: &mut Outbox) {
        let mut paths = table.paths();
        let path = paths.find(|(_, path)| !table.peers_over(path, self.own).is_empty());
        self.path = path.map(|(id, _)| id);
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        None
    }

    fn held(&self) -> usize {
        0
    }
}

const OWN_ALONE: &[(&str, NodeId)] = &[("own-r", POP)];
const OTHER_ALONE: &[(&str, NodeId)] = &[("other-r", OTHER)];
const BOTH: &[(&str, NodeId)] = &[("own-r", POP), ("other-r", OTHER)];

/// Streams of that kind between the CLB node and these POPs.
fn table(encap: Encap, pops: &[(&str, NodeId)]) -> Arc<RouteTable> {
    let node = |name: &str, kind, last: u8| Node {
        name: name.to_owned(),
        kind,
        underlay_v4: Ipv4Addr::new(127, 0, 0, last),
        underlay_v6: Ipv6Addr::UNSPECIFIED,
        draining: false,
    };
    Arc::new(RouteTable {
        mechanisms: Mechanisms::ALL,
        nodes: vec![
            node("pop.own", NodeKind::Pop, 2),
            node("region.r.clb-1", NodeKind::ClbNode(RegionId(0)), 3),
            node("pop.other", NodeKind::Pop, 4),
        ]
        .into(),
        regions: vec![Region {
            name: "r".to_owned(),
            clb_nodes: vec![CLB],
            slots: Arc::new(SlotMap::fill(&[(CLB, "region.r.clb-1")])),
        }]
        .into(),
        paths: pops.iter().map(|pop| path(encap, pop)).collect(),
        ..RouteTable::empty()
    })
}

fn path(encap: Encap, (name, pop): &(&str, NodeId)) -> Path {
    Path {
        name: (*name).to_owned(),
        ends: PathEnds::Ccn {
            pop: *pop,
            region: RegionId(0),
        },
        encap,
        underlay: Family::V4,
        mtu: 1_500,
        rtt: Duration::from_millis(1),
        draining: false,
    }
}

/// A node's process, as far as it concerns streams.
struct Process {
    runtime: Runtime,
    dataplane: Dataplane<End, MonotonicClock>,
    encap: Encap,
    port: u16,
}

/// The largest packet of a path, with its GRE header, and the outer TOS that it arrives with.
fn largest(encap: Encap) -> (usize, u8) {
    match encap {
        Encap::Quic => (1_426 + 8, 0),
        _ => (1_500 + 8, TOS),
    }
}

impl Process {
    fn start(encap: Encap, own: NodeId, identity: &Identity, port: u16) -> Process {
        Process::with((encap, OWN_ALONE), own, identity, port)
    }

    fn with(
        (encap, pops): (Encap, &[(&str, NodeId)]),
        own: NodeId,
        identity: &Identity,
        port: u16,
    ) -> Process {
        let table = table(encap, pops);
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let clock = MonotonicClock::start();
        let name = &table.nodes[own.index()].name;
        let host = LiveHost::new(name, clock, Seed(1), runtime.handle().clone());
        let doors = Doors {
            grpc: port,
            quic: port,
        };
        let streams = Streams::open(&host, &table, own, identity, doors);
        let streams = streams.expect("the port is free");
        let answers = streams.listening().next();
        let port = answers.map_or(port, |address| address.port());
        let ground = Ground {
            tun: None,
            tun_port: PortId::LOCAL,
            mouth: Mouth::open(None, None).expect("no sockets"),
            raw_gre: None,
            streams: Some(streams),
            packet_bytes_max: 1_600,
        };
        let end = End {
            own,
            path: None,
            seen: Vec::new(),
        };
        let dataplane = Dataplane::new(end, clock, vec![ground], table, own);
        Process {
            runtime,
            dataplane: dataplane.expect("it has streams"),
            encap,
            port,
        }
    }

    /// It is gone, and its connections and its port with it.
    fn kill(self) {
        drop(self.dataplane);
        self.runtime.shutdown_timeout(LIMIT);
    }

    fn seen(&self) -> Vec<(Meta, Vec<u8>)> {
        self.dataplane.forwarder().seen.clone()
    }

    fn apply(&mut self, own: NodeId, pops: &[(&str, NodeId)]) {
        let applied = self.dataplane.apply(table(self.encap, pops), own);
        applied.expect("its port is its own");
    }

    /// Packets that came from `peer`.
    fn seen_of(&self, peer: NodeId) -> usize {
        let forwarder = self.dataplane.forwarder();
        let seen = forwarder.seen.iter();
        seen.filter(|(meta, _)| meta.peer == peer).count()
    }

    /// The paths of its streams.
    fn paths(&self) -> Vec<String> {
        let paths = |streams: &Streams| {
            let counts = streams.counts();
            counts.map(|(path, _, _)| path.to_owned()).collect()
        };
        self.dataplane.streams(paths).expect("it has some")
    }

    fn streams_begun(&self) -> u64 {
        let begun = |streams: &Streams| streams.counts().map(|(_, _, counts)| counts.streams).sum();
        self.dataplane.streams(begun).expect("it has some")
    }
}

fn authority() -> (Runtime, Authority) {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let clock = MonotonicClock::start();
    let host = LiveHost::new("authority", clock, Seed(1), runtime.handle().clone());
    (
        runtime,
        Authority::new(&host).expect("the machine has randomness"),
    )
}

fn issue(authority: &mut Authority, name: &str) -> Identity {
    let issued = authority.issue(name, Role::Node).expect("a good name");
    issued.identity().expect("our own certificate")
}

/// Offers packets numbered from `first` at the POP until `is_enough`.
fn work(
    pop: &mut Process,
    clb: &mut Process,
    first: u8,
    is_enough: impl Fn(&Process, &Process) -> bool,
) {
    let started = Wall::now();
    let mut number = first;
    while !is_enough(pop, clb) {
        assert!(started.elapsed() < LIMIT, "not within {LIMIT:?}");
        let packet = vec![number; largest(pop.encap).0];
        let meta = Meta::plain(PortId::PUBLIC);
        let offered = pop.dataplane.inject(&[(packet.as_slice(), meta)]);
        offered.expect("the conservation law holds");
        number = number.wrapping_add(1).max(first);
        for process in [&mut *pop, &mut *clb] {
            process
                .dataplane
                .poll_once(LOOK)
                .expect("its devices are open");
        }
    }
}

#[test]
fn packets_cross_a_stream_both_ways_and_again_after_its_answering_end_restarted() {
    packets_cross_both_ways_and_again_after_a_restart(Encap::Grpc);
}

#[test]
fn packets_cross_in_datagrams_both_ways_and_again_after_the_answering_end_restarted() {
    packets_cross_both_ways_and_again_after_a_restart(Encap::Quic);
}

fn packets_cross_both_ways_and_again_after_a_restart(encap: Encap) {
    let (_runtime, mut authority) = authority();
    let clb_identity = issue(&mut authority, "region.r.clb-1");
    let mut clb = Process::start(encap, CLB, &clb_identity, 0);
    let mut pop = Process::start(encap, POP, &issue(&mut authority, "pop.own"), clb.port);
    work(&mut pop, &mut clb, 1, |pop, _| pop.seen().len() >= 3);
    for (process, peer) in [(&pop, CLB), (&clb, POP)] {
        let (meta, bytes) = &process.seen()[0];
        assert_eq!((meta.port, meta.peer), (PortId::tunnel(PATH), peer));
        let (len, tos) = largest(encap);
        assert_eq!((meta.tos, bytes.len()), (tos, len));
        assert!(
            bytes.iter().all(|byte| *byte == bytes[0]),
            "whole and unmixed"
        );
    }
    let port = clb.port;
    clb.kill();
    let mut clb = Process::start(encap, CLB, &clb_identity, port);
    let before = pop.seen().len();
    work(&mut pop, &mut clb, 128, |pop, _| {
        pop.seen().len() >= before + 3
    });
    assert!(!clb.seen().is_empty());
    pop.kill();
    let mut pop = Process::start(encap, POP, &issue(&mut authority, "pop.own"), port);
    work(&mut pop, &mut clb, 1, |pop, _| pop.seen().len() >= 3);
}

#[test]
fn a_node_with_a_wrong_certificate_gets_nothing_through() {
    a_wrong_certificate_gets_nothing_through(Encap::Grpc);
}

#[test]
fn a_node_with_a_wrong_certificate_gets_no_datagram_through() {
    a_wrong_certificate_gets_nothing_through(Encap::Quic);
}

fn a_wrong_certificate_gets_nothing_through(encap: Encap) {
    let (_runtime, mut right) = authority();
    let (_other_runtime, mut other) = authority();
    let mut clb = Process::start(encap, CLB, &issue(&mut right, "region.r.clb-1"), 0);
    let wrong = [
        ("another's authority", issue(&mut other, "pop.own")),
        ("another's name", issue(&mut right, "pop.other")),
    ];
    for (what, identity) in wrong {
        let mut pop = Process::start(encap, POP, &identity, clb.port);
        work(&mut pop, &mut clb, 1, |pop, _| pop.streams_begun() >= 3);
        assert_eq!((pop.seen().len(), clb.seen().len()), (0, 0), "{what}");
        pop.kill();
    }
    let mut pop = Process::start(encap, POP, &issue(&mut right, "pop.own"), clb.port);
    work(&mut pop, &mut clb, 1, |pop, _| !pop.seen().is_empty());
}

#[test]
fn a_stream_comes_and_goes_with_its_path_and_another_never_notices() {
    one_comes_and_goes_and_another_never_notices(Encap::Grpc);
}

#[test]
fn a_connection_comes_and_goes_with_its_path_and_another_never_notices() {
    one_comes_and_goes_and_another_never_notices(Encap::Quic);
}

fn one_comes_and_goes_and_another_never_notices(encap: Encap) {
    let (_runtime, mut authority) = authority();
    let mut start = |own, name, port| {
        let identity = issue(&mut authority, name);
        Process::with((encap, OTHER_ALONE), own, &identity, port)
    };
    let mut clb = start(CLB, "region.r.clb-1", 0);
    let mut pop = start(POP, "pop.own", clb.port);
    let mut other = start(OTHER, "pop.other", clb.port);
    work(&mut other, &mut clb, 1, |other, _| !other.seen().is_empty());
    assert!(pop.paths().is_empty(), "it has no path");
    // One end alone knows the path: it calls and is sent away.
    pop.apply(POP, BOTH);
    work(&mut pop, &mut clb, 1, |pop, _| pop.streams_begun() >= 2);
    assert_eq!(clb.seen_of(POP), 0);
    clb.apply(CLB, BOTH);
    work(&mut pop, &mut clb, 1, |pop, _| pop.seen().len() >= 3);
    assert_eq!(
        pop.seen()[0].0.port,
        PortId::tunnel(PATH),
        "by its new number"
    );
    // The CLB node has lost it, the POP has not heard of that yet.
    clb.apply(CLB, OTHER_ALONE);
    let (before, begun) = (clb.seen_of(POP), pop.streams_begun());
    work(&mut pop, &mut clb, 1, |pop, _| {
        pop.streams_begun() >= begun + 2
    });
    assert_eq!(
        (clb.seen_of(POP), clb.paths()),
        (before, vec!["other-r".to_owned()])
    );
    pop.apply(POP, OTHER_ALONE);
    assert!(pop.paths().is_empty());
    pop.apply(POP, BOTH);
    clb.apply(CLB, BOTH);
    let before = pop.seen().len();
    work(&mut pop, &mut clb, 1, |pop, _| pop.seen().len() > before);
    let before = other.seen().len();
    work(&mut other, &mut clb, 1, |other, _| {
        other.seen().len() > before
    });
    assert_eq!(other.streams_begun(), 1, "its stream is the first one");
}
