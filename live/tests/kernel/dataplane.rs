//! The live driver on real devices: what arrives with which metadata, where packets leave, what is counted.
//!
//! The forwarder here mirrors, so that everything seen is the driver's doing. Needs root; skipped loudly without.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::lone_lab::{LoneLab, can_make_namespaces};
use anyedge_live::dataplane::clock::{Clock, TraceClock};
use anyedge_live::dataplane::mouth::Mouth;
use anyedge_live::dataplane::raw_gre::RawGre;
use anyedge_live::dataplane::{Dataplane, Ground};
use anyedge_live::lab;
use anyedge_live::prefix::Prefix;
use anyedge_live::tun::{Tun, TunPlan};
use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::Family;
use anyedge_net::forwarder::{Forwarder, LocalEvent};
use anyedge_net::id::{NodeId, PathId, RegionId};
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::{Meta, Offload, Packet};
use anyedge_net::port::PortId;
use anyedge_net::route_table::{Node, NodeKind, Path, PathEnds, Region, RouteTable};
use anyedge_net::slot::SlotMap;
use anyedge_net::time::{Deadline, Instant};
use anyedge_net::wire::outer::Encap;
use anyedge_net::wire::udp;

pub(crate) const OWN: NodeId = NodeId(0);
pub(crate) const PEER: NodeId = NodeId(1);
pub(crate) const LIMIT: Duration = Duration::from_secs(5);
pub(crate) const TOS: u8 = 0xb9;

/// Sends what comes by a tunnel back to its sender, and what comes by the TUN to the peer. The first two bytes are
/// the entropy. Remembers what it was told about each packet.
#[derive(Default)]
pub(crate) struct Mirror {
    pub(crate) seen: Vec<Meta>,
    deadline: Option<Instant>,
    timeouts: usize,
}

impl Forwarder for Mirror {
    fn handle_packets(&mut self, _now: Instant, batch: &mut Vec<Packet>, out: &mut Outbox) {
        for packet in batch.drain(..) {
            let meta = packet.meta;
            self.seen.push(meta);
            let entropy = packet
                .bytes()
                .first_chunk()
                .map_or(0, |bytes| u16::from_be_bytes(*bytes));
            if meta.port == PortId::PUBLIC {
                out.transmit_tunnel(packet, PortId::tunnel(PathId(0)), PEER, entropy, TOS);
            } else if meta.peer == NodeId::UNKNOWN {
                out.drop_packet(packet, DropReason::UnknownPeer);
            } else {
                out.transmit_tunnel(packet, meta.port, meta.peer, entropy, meta.tos);
            }
        }
    }

    fn handle_timeout(&mut self, _now: Instant, _out: &mut Outbox) {
        self.deadline = None;
        self.timeouts += 1;
    }

    fn handle_event(&mut self, _now: Instant, _event: LocalEvent, _out: &mut Outbox) {}

    fn apply(&mut self, _now: Instant, _table: Arc<RouteTable>, _out: &mut Outbox) {}

    fn poll_timeout(&self) -> Option<Deadline> {
        self.deadline.map(|at| Deadline { at, reason: "test" })
    }

    fn held(&self) -> usize {
        0
    }
}

/// `client.c` as a POP and `host.s` as a CLB node, joined by a path over each family.
pub(crate) fn table(encap: Encap) -> Arc<RouteTable> {
    let node = |name: &str, kind, v4: [u8; 4], v6: &str| Node {
        name: name.to_owned(),
        kind,
        underlay_v4: Ipv4Addr::from(v4),
        underlay_v6: v6.parse().expect("an address"),
        draining: false,
    };
    let path = |name: &str, underlay| Path {
        name: name.to_owned(),
        ends: PathEnds::Ccn {
            pop: OWN,
            region: RegionId(0),
        },
        encap,
        underlay,
        mtu: 1_500,
        rtt: Duration::from_millis(1),
        draining: false,
    };
    Arc::new(RouteTable {
        probing: None,
        mechanisms: anyedge_net::route_table::Mechanisms::ALL,
        nodes: vec![
            node("pop.own", NodeKind::Pop, [192, 0, 2, 2], "2001:db8:1::2"),
            node(
                "region.r.clb-1",
                NodeKind::ClbNode(RegionId(0)),
                [198, 51, 100, 2],
                "2001:db8:2::2",
            ),
        ]
        .into(),
        regions: vec![Region {
            name: "r".to_owned(),
            clb_nodes: vec![PEER],
            slots: Arc::new(SlotMap::fill(&[(PEER, "region.r.clb-1")])),
        }]
        .into(),
        paths: vec![path("over-v4", Family::V4), path("over-v6", Family::V6)].into(),
        ..RouteTable::empty()
    })
}

pub(crate) fn own_address(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2)),
    }
}

/// A socket on the tunnel port of a node of the lab, with TOS 0xb9: DSCP EF and ECT(1).
fn socket_in(lone: &LoneLab, node: &str, address: &str) -> UdpSocket {
    let address: IpAddr = address.parse().expect("an address");
    lone.namespace(node)
        .run(|| {
            let socket = UdpSocket::bind((address, udp::PORT_GRE))?;
            socket.set_read_timeout(Some(LIMIT))?;
            let options = socket2::SockRef::from(&socket);
            match address {
                IpAddr::V4(_) => options.set_tos_v4(u32::from(TOS))?,
                IpAddr::V6(_) => options.set_tclass_v6(u32::from(TOS))?,
            }
            Ok(socket)
        })
        .expect("a socket in the namespace")
}

/// The mirror at work in `client.c`, with a TUN that `203.0.113.10` is routed to.
fn dataplane<C: Clock>(lone: &LoneLab, mirror: Mirror, clock: C) -> Dataplane<Mirror, C> {
    dataplane_over(Encap::GreUdp, lone, mirror, clock)
}

/// The same, with paths of that encapsulation.
pub(crate) fn dataplane_over<C: Clock>(
    encap: Encap,
    lone: &LoneLab,
    mirror: Mirror,
    clock: C,
) -> Dataplane<Mirror, C> {
    lone.namespace("client.c")
        .run(|| {
            let tun = Tun::open(&TunPlan {
                interface: "tun0".to_owned(),
                mtu: 1_400,
                addresses: Vec::new(),
                routes: vec![Prefix::host(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10)))],
                offload: true,
            })?;
            let IpAddr::V4(v4) = own_address(Family::V4) else {
                unreachable!("asked for IPv4")
            };
            let IpAddr::V6(v6) = own_address(Family::V6) else {
                unreachable!("asked for IPv6")
            };
            let mouth = Mouth::open(Some(v4), Some(v6))?;
            let raw_gre = (encap == Encap::Gre).then(|| RawGre::open(Some(v4), Some(v6)));
            let ground = Ground {
                tun: Some(tun),
                tun_port: PortId::PUBLIC,
                mouth,
                raw_gre: raw_gre.transpose()?,
                streams: None,
                packet_bytes_max: 1_500,
            };
            Dataplane::new(mirror, clock, vec![ground], table(encap), OWN)
        })
        .expect("a data plane in the namespace")
}

/// Works until `count` more packets were taken.
pub(crate) fn poll_for(dataplane: &mut Dataplane<Mirror, TraceClock>, count: usize) {
    let mut taken = 0;
    while taken < count {
        let more = dataplane.poll_once(LIMIT).expect("the devices are open");
        assert_ne!(more, 0, "no packet within {LIMIT:?}");
        taken += more;
    }
}

pub(crate) fn lab_is_up(test: &str) -> Option<LoneLab> {
    if !can_make_namespaces(test) {
        return None;
    }
    let lone = LoneLab::new();
    lab::up_blueprint(&lone.line_of_three()).expect("the lab comes up");
    Some(lone)
}

#[test]
fn a_tunnelled_packet_keeps_its_metadata_and_leaves_by_its_entropy() {
    let Some(lone) = lab_is_up("a_tunnelled_packet_keeps_its_metadata_and_leaves_by_its_entropy")
    else {
        return;
    };
    let mut dataplane = dataplane(&lone, Mirror::default(), TraceClock::default());
    for (family, address, path) in [
        (Family::V4, "198.51.100.2", 0),
        (Family::V6, "2001:db8:2::2", 1),
    ] {
        let peer = socket_in(&lone, "host.s", address);
        socket2::SockRef::from(&peer)
            .set_recv_buffer_size(1 << 20)
            .expect("a larger buffer");
        let mouth = SocketAddr::new(own_address(family), udp::PORT_GRE);
        let mut ports = Vec::new();
        for entropy in [0_u16, 0x1fff, 0x2000, 0xffff] {
            let mut payload = [7; 1_300];
            payload[..2].copy_from_slice(&entropy.to_be_bytes());
            peer.send_to(&payload, mouth).expect("the mouth is open");
            poll_for(&mut dataplane, 1);
            let seen = *dataplane.forwarder().seen.last().expect("one packet came");
            let expected = Meta {
                peer: PEER,
                tos: TOS,
                ..Meta::plain(PortId::tunnel(PathId(path)))
            };
            assert_eq!(seen, expected);
            let mut back = [0; 2_000];
            let (len, from) = peer.recv_from(&mut back).expect("the mirror sends it back");
            assert_eq!(&back[..len], payload);
            assert_eq!(from.ip(), mouth.ip());
            ports.push(from.port());
        }
        assert!(ports.iter().all(|port| *port >= 49_152), "{ports:?}");
        assert_eq!(ports[0], ports[1], "one share of the entropy, one port");
        assert!(ports[1] < ports[2] && ports[2] < ports[3], "{ports:?}");
    }
}

#[test]
fn a_stranger_is_counted_and_gets_no_answer() {
    let Some(lone) = lab_is_up("a_stranger_is_counted_and_gets_no_answer") else {
        return;
    };
    let mut dataplane = dataplane(&lone, Mirror::default(), TraceClock::default());
    let stranger = socket_in(&lone, "ccn.router", "192.0.2.1");
    stranger
        .send_to(b"hello", (own_address(Family::V4), udp::PORT_GRE))
        .expect("the mouth is open");
    poll_for(&mut dataplane, 1);
    let totals = dataplane.totals();
    assert_eq!(totals.dropped(DropReason::UnknownPeer), 1);
    assert_eq!((totals.received(), totals.transmitted()), (1, 0));
    assert!(totals.to_string().contains("1 UnknownPeer"), "{totals}");
}

#[test]
fn a_packet_too_large_for_the_wire_is_refused_and_never_cut_to_pieces() {
    let Some(lone) =
        lab_is_up("a_packet_too_large_for_the_wire_is_refused_and_never_cut_to_pieces")
    else {
        return;
    };
    let mut dataplane = dataplane(&lone, Mirror::default(), TraceClock::default());
    let peer = socket_in(&lone, "host.s", "198.51.100.2");
    let meta = Meta {
        peer: PEER,
        ..Meta::plain(PortId::tunnel(PathId(0)))
    };
    // 1,500 less the outer IPv4 and UDP headers fits exactly.
    dataplane
        .inject(&[(&[1; 1_473], meta), (&[2; 1_472], meta)])
        .expect("the devices are open");
    let mut back = [0; 2_000];
    assert_eq!(
        peer.recv_from(&mut back).expect("the one that fits").0,
        1_472
    );
    assert_eq!(dataplane.totals().refused(DropReason::LinkMtu), 1);
}

#[test]
fn what_the_kernel_routes_to_the_tun_enters_the_tunnel() {
    let Some(lone) = lab_is_up("what_the_kernel_routes_to_the_tun_enters_the_tunnel") else {
        return;
    };
    let mut dataplane = dataplane(&lone, Mirror::default(), TraceClock::default());
    let peer = socket_in(&lone, "host.s", "198.51.100.2");
    lone.namespace("client.c")
        .run(|| {
            let client = UdpSocket::bind(SocketAddr::new(own_address(Family::V4), 0))?;
            for number in 0..100_u8 {
                client.send_to(&[number], "203.0.113.10:7000")?;
            }
            Ok(())
        })
        .expect("the route leads to the TUN");
    poll_for(&mut dataplane, 100);
    let mut packet = [0; 2_000];
    for number in 0..100_u8 {
        let (len, _) = peer.recv_from(&mut packet).expect("it was tunnelled");
        assert_eq!((len, packet[0], packet[len - 1]), (29, 0x45, number));
    }
    // The kernel leaves the checksum of what its own sockets send to us.
    let expected = Meta {
        offload: Offload {
            segment_len: 0,
            partial: true,
        },
        ..Meta::plain(PortId::PUBLIC)
    };
    let forwarder = dataplane.forwarder();
    let seen = &forwarder.seen;
    assert!(seen.iter().all(|meta| *meta == expected), "{seen:?}");
}

/// Works until nothing comes; how many packets that was.
fn poll_all(dataplane: &mut Dataplane<Mirror, TraceClock>) -> u64 {
    let all = std::iter::repeat_with(|| dataplane.poll_once(LIMIT / 10).expect("open devices"));
    all.take_while(|taken| *taken > 0).sum::<usize>() as u64
}

#[test]
fn what_is_not_read_in_time_is_counted() {
    const SENT: u64 = 20_000;
    let Some(lone) = lab_is_up("what_is_not_read_in_time_is_counted") else {
        return;
    };
    let mut dataplane = dataplane(&lone, Mirror::default(), TraceClock::default());
    let totals = dataplane.totals();
    // A node's whole process is in its namespace, and this thread is not.
    let refused = |reason| {
        let namespace = lone.namespace("client.c");
        namespace
            .run(|| Ok(totals.refused(reason)))
            .expect("it is there")
    };
    let peer = socket_in(&lone, "host.s", "198.51.100.2");
    let mouth = SocketAddr::new(own_address(Family::V4), udp::PORT_GRE);
    for _ in 0..SENT {
        peer.send_to(&[7; 1_300], mouth).expect("the mouth is open");
    }
    let taken = poll_all(&mut dataplane);
    assert!(0 < taken && taken < SENT, "a buffer for {taken}");
    assert_eq!(taken + refused(DropReason::SocketFull), SENT);
    let sent = lone.namespace("client.c").run(|| {
        let client = UdpSocket::bind(SocketAddr::new(own_address(Family::V4), 0))?;
        (0..SENT).try_for_each(|_| client.send_to(&[7], "203.0.113.10:7000").map(drop))?;
        Ok(())
    });
    sent.expect("the route leads to the TUN");
    let taken = poll_all(&mut dataplane);
    assert!(0 < taken && taken < SENT, "a queue of {taken}");
    assert_eq!(taken + refused(DropReason::QueueFull), SENT);
    assert!(totals.to_string().contains("SocketFull"), "{totals}");
}

/// A clock of a machine so slow that 0.2 ms pass from one look at it to the next.
#[derive(Default)]
struct SlowMachine(AtomicU64);

impl Clock for SlowMachine {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.fetch_add(200_000, Ordering::Relaxed))
    }
}

#[test]
fn a_worker_stays_with_a_busy_device_but_not_for_long() {
    let Some(lone) = lab_is_up("a_worker_stays_with_a_busy_device_but_not_for_long") else {
        return;
    };
    let send_400 = || {
        let namespace = lone.namespace("client.c");
        let sent = namespace.run(|| {
            let client = UdpSocket::bind(SocketAddr::new(own_address(Family::V4), 0))?;
            (0..400).try_for_each(|_| client.send_to(&[7], "203.0.113.10:7000").map(drop))?;
            Ok(())
        });
        sent.expect("the route leads to the TUN");
    };
    let poll = |taken: anyhow::Result<usize>| taken.expect("the devices are open");
    let mut stays = dataplane(&lone, Mirror::default(), TraceClock::default());
    send_400();
    assert_eq!(poll(stays.poll_once(LIMIT)), 400, "a turn is 256 packets");
    drop(stays);
    let mut moves_on = dataplane(&lone, Mirror::default(), SlowMachine::default());
    send_400();
    let taken = [(); 2].map(|()| poll(moves_on.poll_once(LIMIT)));
    assert_eq!(taken, [256, 144], "others had a chance between two turns");
}

#[test]
fn a_deadline_is_kept_by_the_clock_that_was_given() {
    let Some(lone) = lab_is_up("a_deadline_is_kept_by_the_clock_that_was_given") else {
        return;
    };
    let clock = TraceClock::default();
    let due = Instant::from_nanos(1_000_000);
    let mirror = Mirror {
        deadline: Some(due),
        ..Mirror::default()
    };
    let mut dataplane = dataplane(&lone, mirror, clock.clone());
    dataplane
        .poll_once(Duration::ZERO)
        .expect("the devices are open");
    assert_eq!(dataplane.forwarder().timeouts, 0);
    clock.set(due);
    dataplane.poll_once(LIMIT).expect("the devices are open");
    dataplane
        .poll_once(Duration::ZERO)
        .expect("the devices are open");
    assert_eq!(dataplane.forwarder().timeouts, 1);
}
