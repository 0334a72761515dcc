//! Cost of a packet through a POP: both directions, both families, 100,000 flows, batches of 32.
//!
//! The time shown is that of one packet (one criterion iteration). Fresh packets are made outside the measured
//! time: 1,024 copies of templates are laid out, then 32 batches are timed together, so headers come from the
//! second-level cache as they would from a ring. Included: everything between the batch and the outbox.
//! `batch of 1` hands over the same packets one by one; the difference is the fixed cost of a call.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::hint::black_box;
use std::time::Instant as Clock;

use anyedge_ccn::author::TableAuthor;
use anyedge_ccn::author::plan::{
    ClbPlan, EndsPlan, NodePlan, PathPlan, RegionPlan, SecurityPlan, SnatPlan, VipPlan,
};
use anyedge_net::flow::{Address, Family, FlowKey, HashKey};
use anyedge_net::forwarder::{BATCH_MAX, Forwarder};
use anyedge_net::id::PathId;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::{Meta, Packet, Pool};
use anyedge_net::port::PortId;
use anyedge_net::rng::Seed;
use anyedge_net::route_table::RouteTable;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::{self, GreKey};
use anyedge_net::wire::ip::{Header, header_len};
use anyedge_net::wire::outer::Encap;
use anyedge_net::wire::udp;
use anyedge_pop::pop::Pop;
use criterion::{Criterion, criterion_group, criterion_main};

const FLOWS: u32 = 100_000;
const ROUND: usize = 32 * BATCH_MAX;
const PAYLOAD: [u8; 100] = [0x5a; 100];

fn vip(family: Family) -> Address {
    match family {
        Family::V4 => Address::v4([203, 0, 113, 10]),
        Family::V6 => Address::v6(*b"\x20\x01\x0d\xb8\x01\x13\0\0\0\0\0\0\0\0\0\x10"),
    }
}

fn client(family: Family, number: u32) -> Address {
    let [a, b, c, d] = (number / 4).to_be_bytes();
    match family {
        Family::V4 => Address::v4([10 + a, b, c, d]),
        Family::V6 => Address::v6([0x20, 1, 0xd, 0xb8, 0, 0xc, 0, 0, 0, 0, 0, 0, a, b, c, d]),
    }
}

fn node(name: &str, number: u8) -> NodePlan {
    NodePlan {
        name: name.to_owned(),
        underlay_v4: Ipv4Addr::new(10, 255, 0, number),
        underlay_v6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number.into()),
    }
}

/// One POP, a region of three CLB nodes, sixteen VIPs.
fn table() -> RouteTable {
    let mut author = TableAuthor::new(HashKey::new([7; 16]));
    author.add_pop(node("pop.tokyo", 1));
    let clb_nodes = (1..=3)
        .map(|number| node(&format!("region.guangzhou.clb-{number}"), 10 + number))
        .collect();
    author.add_region(RegionPlan {
        name: "guangzhou".to_owned(),
        clb_nodes,
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
    let mut add_vip = |name: String, addresses: Vec<Address>| {
        let publishers = vec!["pop.tokyo".to_owned()];
        author.add_vip(VipPlan {
            name,
            addresses,
            clb: "gz-main".to_owned(),
            standby: Vec::new(),
            publishers_min: 1,
            publishers,
        });
    };
    add_vip("game".to_owned(), vec![vip(Family::V4), vip(Family::V6)]);
    for number in 0..15 {
        add_vip(
            format!("other-{number}"),
            vec![Address::v4([203, 0, 114, number])],
        );
    }
    RouteTable::clone(&author.publish(Instant::ZERO).expect("the plans make sense"))
}

fn packet(flow: &FlowKey) -> Vec<u8> {
    let header_bytes = header_len(flow.src.family());
    let payload_len = udp::HEADER_LEN + PAYLOAD.len();
    let mut bytes = vec![0; header_bytes + payload_len];
    let header = Header {
        src: flow.src,
        dst: flow.dst,
        protocol: udp::PROTOCOL,
        ttl: 64,
        tos: 0,
        payload_len,
    };
    header.write(&mut bytes);
    let datagram = &mut bytes[header_bytes..];
    udp::write_header(datagram, flow, PAYLOAD.len());
    datagram[udp::HEADER_LEN..].copy_from_slice(&PAYLOAD);
    udp::fill_checksum(datagram, flow.src, flow.dst);
    bytes
}

/// Packets of all flows, in an order that is not that of their addresses.
fn questions(family: Family) -> Vec<Vec<u8>> {
    let flow = |number: u32| FlowKey {
        src: client(family, number),
        dst: vip(family),
        src_port: 1_024 + (number % 4) as u16 * 7,
        dst_port: 80,
        protocol: udp::PROTOCOL,
    };
    (0..FLOWS)
        .map(|number| packet(&flow(number.wrapping_mul(2_654_435_761) % FLOWS)))
        .collect()
}

/// Their answers as CLB nodes send them.
fn answers(family: Family) -> Vec<Vec<u8>> {
    let protocol = if family == Family::V4 {
        gre::PROTOCOL_IPV4
    } else {
        gre::PROTOCOL_IPV6
    };
    let answer = |number: u32| {
        let mut bytes = vec![0; gre::HEADER_LEN];
        gre::write(&mut bytes, protocol, GreKey::new(0, false, number as u16));
        let flow = FlowKey {
            src: vip(family),
            dst: client(family, number),
            src_port: 80,
            dst_port: 1_024,
            protocol: udp::PROTOCOL,
        };
        bytes.extend(packet(&flow));
        bytes
    };
    (0..FLOWS)
        .map(|number| answer(number.wrapping_mul(2_654_435_761) % FLOWS))
        .collect()
}

/// A POP, its outbox and the packets it gets.
struct Rig {
    pop: Pop,
    out: Outbox,
    templates: Vec<Vec<u8>>,
    meta: Meta,
    next: usize,
}

impl Rig {
    fn new(templates: Vec<Vec<u8>>, answers: bool) -> Rig {
        let table = table();
        let peer = table.regions[0].clb_nodes[0];
        let port = PortId::tunnel(PathId(0));
        let meta = if answers {
            Meta {
                peer,
                ..Meta::plain(port)
            }
        } else {
            Meta::plain(PortId::PUBLIC)
        };
        let mut out = Outbox::new(Pool::new(ROUND));
        let mut pop = Pop::new("pop.tokyo", Seed(7));
        pop.apply(Instant::ZERO, table.into(), &mut out);
        Rig {
            pop,
            out,
            templates,
            meta,
            next: 0,
        }
    }

    /// Lays out a round of packets in batches of `batch_len`.
    fn lay_out(&mut self, batch_len: usize) -> Vec<Vec<Packet>> {
        let mut packets = Vec::with_capacity(ROUND);
        for _ in 0..ROUND {
            let template = &self.templates[self.next];
            self.next = (self.next + 1) % self.templates.len();
            packets.push(
                self.out
                    .pool_mut()
                    .lend_copy(template, self.meta)
                    .expect("a slot for each"),
            );
        }
        let mut batches = Vec::with_capacity(ROUND / batch_len);
        while !packets.is_empty() {
            batches.push(packets.drain(..batch_len).collect());
        }
        batches
    }

    /// Time of `iters` packets.
    #[expect(clippy::disallowed_methods, reason = "a bench reads the wall clock")]
    fn time(&mut self, iters: u64, batch_len: usize) -> Duration {
        let rounds = iters.div_ceil(ROUND as u64);
        let mut spent = Duration::ZERO;
        for _ in 0..rounds {
            let mut batches = self.lay_out(batch_len);
            let start = Clock::now();
            for batch in &mut batches {
                self.pop
                    .handle_packets(Instant::ZERO, black_box(batch), &mut self.out);
            }
            spent += start.elapsed();
            let mut sent = core::mem::take(self.out.sent_mut());
            assert_eq!(sent.len(), ROUND, "every packet is forwarded");
            for packet in sent.drain(..) {
                self.out.pool_mut().take_back(packet);
            }
            *self.out.sent_mut() = sent;
        }
        spent.mul_f64(iters as f64 / (rounds * ROUND as u64) as f64)
    }
}

fn forward(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pop");
    for (family, name) in [(Family::V4, "v4"), (Family::V6, "v6")] {
        let mut ingress = Rig::new(questions(family), false);
        for batch_len in [BATCH_MAX, 1] {
            group.bench_function(
                format!("ingress, {name}, batch of {batch_len}"),
                |bencher| {
                    bencher.iter_custom(|iters| ingress.time(iters, batch_len));
                },
            );
        }
        let mut egress = Rig::new(answers(family), true);
        group.bench_function(format!("egress, {name}, batch of {BATCH_MAX}"), |bencher| {
            bencher.iter_custom(|iters| egress.time(iters, BATCH_MAX));
        });
    }
    group.finish();
}

criterion_group!(benches, forward);
criterion_main!(benches);
