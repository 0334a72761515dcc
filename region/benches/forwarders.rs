//! Time per packet of the region's forwarders with 100,000 flows (`ANYEDGE_FLOWS`), in batches of 32, and of a new flow.
//!
//! Flows come in random order, so that each packet misses the caches as it would in a busy region. Making the
//! packets is not measured. `with all rules`: security groups of 512 rules at the CLB node and at the vSwitch,
//! persistence and TOA. `cargo bench -p anyedge-region`

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyedge_net::flow::{Family, FlowKey};
use anyedge_net::forwarder::{BATCH_MAX, Forwarder};
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::{Meta, Packet, Pool};
use anyedge_net::port::PortId;
use anyedge_net::rng::Seed;
use anyedge_net::route_table::{RouteTable, Scheduler, Security, Target};
use anyedge_net::security_group::{Direction, Filter, Precedence, Rule};
use anyedge_net::slot;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::toa::Toa;
use anyedge_net::wire::{tcp, udp};
use anyedge_region::{ClbNode, Limits, VSwitch};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

#[path = "../src/testbed.rs"]
#[allow(dead_code, reason = "the testbed serves tests as well")]
mod testbed;
use testbed::*;

/// How many flows: 100,000, or as many as `ANYEDGE_FLOWS` says.
static FLOWS: LazyLock<u32> = LazyLock::new(|| {
    let asked = std::env::var("ANYEDGE_FLOWS").ok();
    asked.map_or(100_000, |flows| flows.parse().expect("a number of flows"))
});

/// Packets, one of each flow, and where they come in.
type Arrivals = Vec<(Meta, Vec<u8>)>;

/// A forwarder, its outbox and packets to give it.
struct Rig<F> {
    forwarder: F,
    out: Outbox,
    now: Instant,
}

impl<F: Forwarder> Rig<F> {
    fn new(forwarder: F) -> Rig<F> {
        Rig::with_routes(forwarder, routes())
    }

    fn with_routes(mut forwarder: F, mut table: RouteTable) -> Rig<F> {
        // A bench of new flows is a flood: the gate would shut.
        table.mechanisms.syn_gate = false;
        for listener in &mut table.clbs[0].listeners {
            if listener.targets.len() < 100 {
                Arc::make_mut(listener).targets = targets([10, 0]);
            }
        }
        let mut out = Outbox::new(Pool::new(1_024));
        forwarder.apply(Instant::ZERO, Arc::new(table), &mut out);
        Rig {
            forwarder,
            out,
            now: Instant::from_nanos(1),
        }
    }

    /// Ends what the last call left behind.
    fn drain(&mut self) {
        while let Some(packet) = self.out.sent_mut().pop() {
            self.out.pool_mut().take_back(packet);
        }
        self.out.events_mut().clear();
    }

    fn lend(&mut self, meta: Meta, bytes: &[u8]) -> Packet {
        self.out
            .pool_mut()
            .lend_copy(bytes, meta)
            .expect("a slot is free")
    }

    fn give(&mut self, meta: Meta, bytes: &[u8]) {
        let mut batch = vec![self.lend(meta, bytes)];
        self.forwarder
            .handle_packets(self.now, &mut batch, &mut self.out);
        assert!(!self.out.sent_mut().is_empty(), "the packet is forwarded");
        assert_eq!(self.out.drops(), [], "and none is dropped");
        self.drain();
    }
}

fn tunnel(path: anyedge_net::id::PathId, peer: anyedge_net::id::NodeId) -> Meta {
    Meta {
        peer,
        ..Meta::plain(PortId::tunnel(path))
    }
}

fn key_of(flow: &FlowKey) -> GreKey {
    GreKey::new(MAIN.0, false, slot::of_hash(flow.hash(&HASH_KEY)))
}

fn data(flow: FlowKey) -> Vec<u8> {
    match flow.protocol {
        tcp::PROTOCOL => Segment {
            payload: &[7; 64],
            ..Segment::new(flow, tcp::ACK)
        }
        .packet(),
        _ => datagram(flow, &[7; 64]),
    }
}

/// The numbers below [`FLOWS`], in an order that no prefetcher follows.
fn shuffled() -> impl Iterator<Item = usize> {
    let mut state = 1_u64;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((u64::from(*FLOWS) * (state >> 33)) >> 31) as usize
    })
}

/// Measures batches of `packets`, given in random order.
fn measure<F: Forwarder>(
    c: &mut Criterion,
    name: &str,
    batch_len: usize,
    rig: Rig<F>,
    packets: &[(Meta, Vec<u8>)],
) {
    let rig = RefCell::new(rig);
    let mut order = shuffled();
    let mut group = c.benchmark_group("forwarders");
    group.throughput(Throughput::Elements(batch_len as u64));
    let mut fill = || {
        let rig = &mut *rig.borrow_mut();
        rig.drain();
        let numbers = order.by_ref().take(batch_len);
        numbers
            .map(|number| rig.lend(packets[number].0, &packets[number].1))
            .collect::<Vec<Packet>>()
    };
    let forward = |batch: &mut Vec<Packet>| {
        let Rig {
            forwarder,
            out,
            now,
        } = &mut *rig.borrow_mut();
        forwarder.handle_packets(*now, batch, out);
        black_box(out.sent_mut().len())
    };
    group.bench_function(name, |b| {
        b.iter_batched_ref(&mut fill, forward, BatchSize::PerIteration)
    });
    group.finish();
}

/// The routes with security groups of 512 rules, of which the last accepts the clients, persistence and TOA.
fn with_all_rules() -> RouteTable {
    let rule = |text: &str| Rule::parse(Direction::Ingress, text).expect("a rule");
    let dropped =
        (0..511_u32).map(|number| format!("198.18.{}.0/24+{} drop", number % 200, 1_000 + number));
    let mut rules: Vec<Rule> = dropped.map(|text| rule(&text)).collect();
    rules.push(rule("any allow"));
    let filter = Arc::new(Filter::compile(&[&rules], Precedence::First));
    let mut table = routes();
    for listener in &mut table.clbs[0].listeners {
        let listener = Arc::make_mut(listener);
        listener.session_expire = (listener.name != "tick").then_some(Duration::from_secs(600));
        if listener.protocol == tcp::PROTOCOL {
            listener.source.toa = Some(Toa::Kind254);
        }
    }
    table.clbs[0].security.filter = Some(Arc::clone(&filter));
    let security = Security {
        hosts: [(WEB_1, filter)].into(),
        flush_on_change: false,
    };
    table.security = security.into();
    table
}

/// The routes with 100 targets behind the first listener, all of the first host, and this scheduler.
fn spread_by(scheduler: Scheduler) -> RouteTable {
    let mut table = routes();
    let listener = Arc::make_mut(&mut table.clbs[0].listeners[0]);
    listener.scheduler = scheduler;
    listener.targets = (0..100)
        .map(|number| Target {
            port: 8_000 + number,
            weight: 10 + (number % 7) as u8,
            ..targets([10, 0])[0]
        })
        .collect();
    table
}

/// A CLB node with all flows open, and the packets of both directions.
fn clb_node(family: Family, protocol: u8) -> (Rig<ClbNode>, Arrivals, Arrivals) {
    clb_node_with(routes(), family, protocol)
}

fn clb_node_with(
    table: RouteTable,
    family: Family,
    protocol: u8,
) -> (Rig<ClbNode>, Arrivals, Arrivals) {
    let node = ClbNode::new(CLB_NODE_NAME, Limits::default(), Seed(7));
    let mut rig = Rig::with_routes(node, table);
    let port = if protocol == tcp::PROTOCOL { 80 } else { 7_000 };
    let (mut there, mut back) = (Vec::new(), Vec::new());
    for number in 0..*FLOWS {
        let flow = client_flow(family, protocol, port, number);
        let key = key_of(&flow);
        let answer = answer_flow(&flow, backend(1, family), 8_080);
        let (inward, outward) = (tunnel(FROM_TOKYO, TOKYO), tunnel(TO_WEB_1, WEB_1));
        if protocol == tcp::PROTOCOL {
            rig.give(inward, &tunnelled(&segment(flow, tcp::SYN), key));
            rig.give(
                outward,
                &tunnelled(&segment(answer, tcp::SYN | tcp::ACK), key),
            );
        }
        there.push((inward, tunnelled(&data(flow), key)));
        back.push((outward, tunnelled(&data(answer), key)));
        rig.give(inward, &there[number as usize].1);
    }
    (rig, there, back)
}

fn clb(c: &mut Criterion) {
    for (name, family, protocol) in [
        ("v4 tcp", Family::V4, tcp::PROTOCOL),
        ("v6 tcp", Family::V6, tcp::PROTOCOL),
        ("v4 udp", Family::V4, udp::PROTOCOL),
    ] {
        let (rig, there, _) = clb_node(family, protocol);
        measure(c, &format!("clb to target, {name}"), BATCH_MAX, rig, &there);
        let (rig, _, back) = clb_node(family, protocol);
        measure(c, &format!("clb to client, {name}"), BATCH_MAX, rig, &back);
    }
    let replicating = || clb_node_with(routes_of_three(1, &[0, 1, 2]), Family::V4, tcp::PROTOCOL);
    let (rig, there, _) = replicating();
    let name = "clb to target, v4 tcp, replicating";
    measure(c, name, BATCH_MAX, rig, &there);
    let (rig, _, back) = replicating();
    let name = "clb to client, v4 tcp, replicating";
    measure(c, name, BATCH_MAX, rig, &back);
    let ruled = || clb_node_with(with_all_rules(), Family::V4, tcp::PROTOCOL);
    let (rig, there, _) = ruled();
    let name = "clb to target, v4 tcp, with all rules";
    measure(c, name, BATCH_MAX, rig, &there);
    let (rig, _, back) = ruled();
    let name = "clb to client, v4 tcp, with all rules";
    measure(c, name, BATCH_MAX, rig, &back);
    let (rig, there, _) = clb_node(Family::V4, tcp::PROTOCOL);
    measure(c, "clb to target, v4 tcp, batch of 1", 1, rig, &there);
    let Rig {
        mut forwarder,
        mut out,
        now,
    } = Rig::new(ClbNode::new(CLB_NODE_NAME, Limits::default(), Seed(7)));
    c.bench_function("forwarders/clb, batch of 0: the fixed cost", |b| {
        b.iter(|| forwarder.handle_packets(now, black_box(&mut Vec::new()), &mut out));
    });
}

/// A vSwitch with all tuples known, and the packets of both directions.
fn switch(family: Family) -> (Rig<VSwitch>, Arrivals, Arrivals) {
    switch_with(routes(), family)
}

fn switch_with(table: RouteTable, family: Family) -> (Rig<VSwitch>, Arrivals, Arrivals) {
    let vswitch = VSwitch::new(WEB_1_NAME, Limits::default(), Seed(7));
    let mut rig = Rig::with_routes(vswitch, table);
    let (mut there, mut back) = (Vec::new(), Vec::new());
    for number in 0..*FLOWS {
        let client = client_flow(family, tcp::PROTOCOL, 8_080, number);
        let flow = FlowKey {
            dst: backend(1, family),
            ..client
        };
        let inward = tunnel(TO_WEB_1, CLB_NODE);
        there.push((inward, tunnelled(&data(flow), key_of(&client))));
        back.push((Meta::plain(PortId::BACKEND), data(flow.reversed())));
        rig.give(inward, &there[number as usize].1);
    }
    (rig, there, back)
}

fn vswitch(c: &mut Criterion) {
    for (name, family) in [("v4 tcp", Family::V4), ("v6 tcp", Family::V6)] {
        let (rig, there, _) = switch(family);
        measure(
            c,
            &format!("vswitch to backend, {name}"),
            BATCH_MAX,
            rig,
            &there,
        );
        let (rig, _, back) = switch(family);
        measure(
            c,
            &format!("vswitch to clb node, {name}"),
            BATCH_MAX,
            rig,
            &back,
        );
    }
}

/// The same behind a security group.
fn guarded_vswitch(c: &mut Criterion) {
    let (rig, there, _) = switch_with(with_all_rules(), Family::V4);
    let name = "vswitch to backend, v4 tcp, with all rules";
    measure(c, name, BATCH_MAX, rig, &there);
    let (rig, _, back) = switch_with(with_all_rules(), Family::V4);
    let name = "vswitch to clb node, v4 tcp, with all rules";
    measure(c, name, BATCH_MAX, rig, &back);
}

/// Flows that begin at such a rate that 100,000 are half-open at a time; each one's end is measured too.
fn new_flows(c: &mut Criterion) {
    new_flows_with(c, "clb new flow, opened and expired", routes());
    let table = routes_of_three(1, &[0, 1, 2]);
    new_flows_with(c, "clb new flow, opened, replicated and expired", table);
    let name = "clb new flow, 100 targets by wrr";
    new_flows_with(c, name, spread_by(Scheduler::WeightedRoundRobin));
    let name = "clb new flow, 100 targets by wlc";
    new_flows_with(c, name, spread_by(Scheduler::WeightedLeastConnections));
    new_flows_with(c, "clb new flow, with all rules", with_all_rules());
}

fn new_flows_with(c: &mut Criterion, name: &str, table: RouteTable) {
    let node = ClbNode::new(CLB_NODE_NAME, Limits::default(), Seed(7));
    let rig = RefCell::new(Rig::with_routes(node, table));
    let mut next = 0..u32::MAX;
    let mut group = c.benchmark_group("forwarders");
    group.throughput(Throughput::Elements(BATCH_MAX as u64));
    let mut fill = || {
        let rig = &mut *rig.borrow_mut();
        rig.drain();
        rig.now += Duration::from_micros(9_600);
        let syn = |number| {
            let flow = client_flow(Family::V4, tcp::PROTOCOL, 80, number);
            rig.lend(
                tunnel(FROM_TOKYO, TOKYO),
                &tunnelled(&segment(flow, tcp::SYN), key_of(&flow)),
            )
        };
        next.by_ref()
            .take(BATCH_MAX)
            .map(syn)
            .collect::<Vec<Packet>>()
    };
    let open = |batch: &mut Vec<Packet>| {
        let Rig {
            forwarder,
            out,
            now,
        } = &mut *rig.borrow_mut();
        forwarder.handle_packets(*now, batch, out);
        while forwarder
            .poll_timeout()
            .is_some_and(|deadline| deadline.at <= *now)
        {
            forwarder.handle_timeout(*now, out);
        }
        black_box(out.sent_mut().len())
    };
    // The first 30 s of virtual time fill the table.
    for _ in 0..4_000 {
        open(&mut fill());
    }
    group.bench_function(name, |b| {
        b.iter_batched_ref(&mut fill, open, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, clb, vswitch, guarded_vswitch, new_flows);
criterion_main!(benches);
