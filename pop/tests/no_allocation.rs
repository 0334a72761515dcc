//! The POP asks for no memory: a million packets both ways, with packets of nobody, broken ones and ones too big,
//! under an allocator that counts.
//!
//! Alone in its binary, since the count is the process's.

use std::alloc::System;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use anyedge_ccn::author::TableAuthor;
use anyedge_ccn::author::plan::{
    ClbPlan, EndsPlan, NodePlan, PathPlan, RegionPlan, SecurityPlan, SnatPlan, VipPlan,
};
use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::{Address, Family, FlowKey, HashKey};
use anyedge_net::forwarder::{BATCH_MAX, Forwarder};
use anyedge_net::id::PathId;
use anyedge_net::ledger::Ledger;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::{Meta, Packet, Pool};
use anyedge_net::port::PortId;
use anyedge_net::rng::Seed;
use anyedge_net::route_table::{Probing, RouteTable};
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::{self, GreKey};
use anyedge_net::wire::ip::{Header, header_len};
use anyedge_net::wire::outer::Encap;
use anyedge_net::wire::{icmp, tcp, udp};
use anyedge_pop::pop::Pop;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Clients, each with a packet of every kind.
const CLIENTS: u32 = 4_000;
const PACKETS: u64 = 1_000_000;

fn vip(family: Family) -> Address {
    match family {
        Family::V4 => Address::v4([203, 0, 113, 10]),
        Family::V6 => Address::v6(*b"\x20\x01\x0d\xb8\x01\x13\0\0\0\0\0\0\0\0\0\x10"),
    }
}

fn node(name: &str, number: u8) -> NodePlan {
    NodePlan {
        name: name.to_owned(),
        underlay_v4: Ipv4Addr::new(10, 255, 0, number),
        underlay_v6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number.into()),
    }
}

/// One POP, a region of three CLB nodes, one VIP.
fn table() -> Arc<RouteTable> {
    let mut author = TableAuthor::new(HashKey::new([7; 16]));
    author.add_pop(node("pop.tokyo", 1));
    author.add_region(RegionPlan {
        name: "guangzhou".to_owned(),
        clb_nodes: (1..=3)
            .map(|number| node(&format!("region.guangzhou.clb-{number}"), 10 + number))
            .collect(),
    });
    author.add_path(PathPlan {
        name: "tokyo-guangzhou".to_owned(),
        ends: EndsPlan::Ccn {
            pop: "pop.tokyo".to_owned(),
            region: "guangzhou".to_owned(),
        },
        encap: Encap::GreUdp,
        underlay: Family::V4,
        mtu: 1_500,
        rtt: Duration::from_millis(52),
    });
    author.add_clb(ClbPlan {
        name: "gz-main".to_owned(),
        region: "guangzhou".to_owned(),
        client_affinity: false,
        rst_on_unbind: true,
        unbind_drain: None,
        unbind_spread: Duration::ZERO,
        fail_open: true,
        shared: false,
        security: SecurityPlan::default(),
        snat: SnatPlan::default(),
        listeners: Vec::new(),
    });
    author.add_vip(VipPlan {
        name: "game".to_owned(),
        addresses: vec![vip(Family::V4), vip(Family::V6)],
        clb: "gz-main".to_owned(),
        standby: Vec::new(),
        publishers_min: 1,
        publishers: vec!["pop.tokyo".to_owned()],
    });
    author.publish(Instant::ZERO).expect("the plans make sense")
}

/// A client's flow; every third client speaks IPv6, every other TCP.
fn flow(number: u32) -> FlowKey {
    let family = if number.is_multiple_of(3) {
        Family::V6
    } else {
        Family::V4
    };
    let [_, a, b, c] = number.to_be_bytes();
    let (src, protocol) = (
        match family {
            Family::V4 => Address::v4([192, a, b, c]),
            Family::V6 => Address::v6([0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, a, b, c]),
        },
        if number.is_multiple_of(2) {
            tcp::PROTOCOL
        } else {
            udp::PROTOCOL
        },
    );
    FlowKey {
        src,
        dst: vip(family),
        src_port: 40_000,
        dst_port: 80,
        protocol,
    }
}

/// A SYN with an MSS to be lowered, or a datagram.
fn packet(flow: &FlowKey, ttl: u8, payload_len: usize) -> Vec<u8> {
    let mut l4;
    if flow.protocol == tcp::PROTOCOL {
        l4 = vec![0; tcp::HEADER_LEN];
        l4[..2].copy_from_slice(&flow.src_port.to_be_bytes());
        l4[2..4].copy_from_slice(&flow.dst_port.to_be_bytes());
        l4[12] = 6 << 4;
        l4[13] = tcp::SYN;
        l4.extend_from_slice(&[2, 4, 0x05, 0xb4]);
        l4.resize(l4.len() + payload_len, 0x5a);
        tcp::fill_checksum(&mut l4, flow.src, flow.dst);
    } else {
        l4 = vec![0; udp::HEADER_LEN];
        udp::write_header(&mut l4, flow, payload_len);
        l4.resize(l4.len() + payload_len, 0x5a);
        udp::fill_checksum(&mut l4, flow.src, flow.dst);
    }
    let header = Header {
        src: flow.src,
        dst: flow.dst,
        protocol: flow.protocol,
        ttl,
        tos: 0,
        payload_len: l4.len(),
    };
    let mut packet = vec![0; header_len(flow.family())];
    header.write(&mut packet);
    packet.extend_from_slice(&l4);
    packet
}

fn tunnelled(packet: &[u8], slot: u16) -> Vec<u8> {
    let protocol = if packet[0] >> 4 == 4 {
        gre::PROTOCOL_IPV4
    } else {
        gre::PROTOCOL_IPV6
    };
    let mut bytes = vec![0; gre::HEADER_LEN];
    gre::write(&mut bytes, protocol, GreKey::new(0, false, slot));
    bytes.extend_from_slice(packet);
    bytes
}

/// A client's packets: what it sends and is answered, and what ends here.
fn script(number: u32, table: &RouteTable) -> Vec<(Meta, Vec<u8>)> {
    let flow = flow(number);
    let internet = Meta::plain(PortId::PUBLIC);
    let clb_nodes = &table.regions[0].clb_nodes;
    let from_clb_node = Meta {
        peer: clb_nodes[number as usize % clb_nodes.len()],
        ..Meta::plain(PortId::tunnel(PathId(0)))
    };
    let stranger = Meta::plain(PortId::tunnel(PathId(0)));
    let question = packet(&flow, 64, 100);
    let answer = tunnelled(&packet(&flow.reversed(), 64, 100), number as u16);
    let mut broken = question.clone();
    broken.truncate(30);
    let nobody = FlowKey {
        dst: flow.src,
        ..flow
    };
    let quote = packet(&flow.reversed(), 64, 100);
    vec![
        (internet, question),
        (from_clb_node, answer.clone()),
        (internet, packet(&nobody, 64, 100)),
        (internet, packet(&flow, 1, 100)),
        (internet, packet(&flow, 64, 1_450)),
        (internet, broken),
        (stranger, answer),
        (from_clb_node, tunnelled(&packet(&flow, 64, 100), 1)),
        (internet, icmp_packet(&flow, ECHO, b"ping")),
        (internet, icmp_packet(&flow, UNREACHABLE, &quote)),
    ]
}

const ECHO: [[u8; 8]; 2] = [[8, 0, 0, 0, 0, 1, 0, 1], [128, 0, 0, 0, 0, 1, 0, 1]];
const UNREACHABLE: [[u8; 8]; 2] = [[3, 1, 0, 0, 0, 0, 0, 0], [1, 3, 0, 0, 0, 0, 0, 0]];

/// An ICMP packet between the ends of `flow`; `heads` has the header for IPv4 and the one for IPv6.
fn icmp_packet(flow: &FlowKey, heads: [[u8; 8]; 2], body: &[u8]) -> Vec<u8> {
    let (protocol, head) = match flow.family() {
        Family::V4 => (icmp::PROTOCOL_V4, heads[0]),
        Family::V6 => (icmp::PROTOCOL_V6, heads[1]),
    };
    let mut message = [&head[..], body].concat();
    icmp::fill_checksum(&mut message, flow.src, flow.dst);
    let mut bytes = vec![0; header_len(flow.family())];
    Header {
        src: flow.src,
        dst: flow.dst,
        protocol,
        ttl: 64,
        tos: 0,
        payload_len: message.len(),
    }
    .write(&mut bytes);
    bytes.extend(message);
    bytes
}

/// A POP, its outbox, and what goes in.
struct Rig {
    pop: Pop,
    out: Outbox,
    batch: Vec<Packet>,
    ledger: Ledger,
    now: Instant,
    scripts: Vec<Vec<(Meta, Vec<u8>)>>,
}

impl Rig {
    fn new() -> Rig {
        let table = table();
        let mut rig = Rig {
            pop: Pop::new("pop.tokyo", Seed(7)),
            out: Outbox::new(Pool::new(2 * BATCH_MAX)),
            batch: Vec::with_capacity(BATCH_MAX),
            ledger: Ledger::default(),
            now: Instant::ZERO,
            scripts: (0..CLIENTS).map(|number| script(number, &table)).collect(),
        };
        rig.ledger
            .apply(&mut rig.pop, Instant::ZERO, table, &mut rig.out);
        rig.out.events_mut().clear();
        rig
    }

    /// Every packet of every client, once.
    fn round(&mut self) {
        for clients in self.scripts.chunks(BATCH_MAX) {
            for kind in 0..clients[0].len() {
                for script in clients {
                    let (meta, bytes) = &script[kind];
                    let packet = self.out.pool_mut().lend_copy(bytes, *meta);
                    self.batch.push(packet.expect("a slot for each of a batch"));
                }
                self.now += Duration::from_millis(1);
                self.ledger
                    .packets(&mut self.pop, self.now, &mut self.batch, &mut self.out);
                while let Some(packet) = self.out.sent_mut().pop() {
                    self.out.pool_mut().take_back(packet);
                }
            }
        }
    }

    /// Probes go out when they are due and come back at once, for as long as that. What a POP says of itself
    /// is what its peers could say, so its sessions come up by their own echo.
    fn probe(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(due) = self.pop.poll_timeout().filter(|due| due.at <= until) {
            self.now = self.now.max(due.at);
            self.ledger.timeout(&mut self.pop, self.now, &mut self.out);
            while let Some(mut probe) = self.out.sent_mut().pop() {
                probe.meta = Meta {
                    peer: probe.meta.peer,
                    ..Meta::plain(probe.meta.port)
                };
                self.batch.push(probe);
                self.ledger
                    .packets(&mut self.pop, self.now, &mut self.batch, &mut self.out);
            }
            self.out.events_mut().clear();
        }
    }
}

/// Probes that a POP makes and takes in ask for no memory either.
fn probes_ask_for_none(rig: &mut Rig) {
    let mut table = RouteTable::clone(&table());
    table.probing = Some(Probing::default());
    rig.ledger
        .apply(&mut rig.pop, rig.now, table.into(), &mut rig.out);
    rig.probe(Duration::from_secs(1));
    let taken = rig.ledger.dropped.of(DropReason::Probe);
    let region = Region::new(ALLOCATOR);
    rig.probe(Duration::from_secs(60));
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0));
    let taken = rig.ledger.dropped.of(DropReason::Probe) - taken;
    assert!(taken > 600, "{taken} probes");
    assert_eq!(rig.out.pool().loaned(), 0);
}

#[test]
fn a_million_packets_ask_for_no_memory() {
    let mut rig = Rig::new();
    rig.round();
    let (received, transmitted) = (rig.ledger.received, rig.ledger.transmitted);
    let originated = rig.ledger.originated;
    let region = Region::new(ALLOCATOR);
    while rig.ledger.received < received + PACKETS {
        rig.round();
    }
    let change = region.change();
    assert_eq!(
        (
            change.allocations,
            change.reallocations,
            change.bytes_allocated
        ),
        (0, 0, 0)
    );

    // It was the mixture that it claims to be.
    let count = rig.ledger.received - received;
    let made = rig.ledger.originated - originated;
    assert!(made >= 1_000, "errors to senders: {made}");
    assert_eq!(
        rig.ledger.transmitted - transmitted,
        count * 4 / 10 + made,
        "four of ten, a ping and an error among them"
    );
    for reason in [
        DropReason::NotVip,
        DropReason::TtlExpired,
        DropReason::TooBig,
        DropReason::Malformed,
        DropReason::UnknownPeer,
        DropReason::NotFromVip,
    ] {
        assert!(rig.ledger.dropped.of(reason) >= count / 10, "{reason:?}");
    }
    assert_eq!(rig.out.pool().loaned(), 0);
    probes_ask_for_none(&mut rig);
}
