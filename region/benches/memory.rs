//! What a million flows weigh: the resident memory of this process before and after they were opened at a CLB node, and at
//! a vSwitch. Of UDP, for only a share of a table may be half-open; an entry weighs the same for both. `cargo bench -p anyedge-region --bench memory`

#![allow(clippy::print_stdout, reason = "a figure is what it is for")]

use std::sync::Arc;

use anyedge_net::flow::{Family, FlowKey};
use anyedge_net::forwarder::{BATCH_MAX, Forwarder};
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::{Meta, Packet, Pool};
use anyedge_net::port::PortId;
use anyedge_net::rng::Seed;
use anyedge_net::slot;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::udp;
use anyedge_region::{ClbNode, Limits, VSwitch};

#[path = "../src/testbed.rs"]
#[allow(dead_code, reason = "the testbed serves tests as well")]
mod testbed;
use testbed::*;

const FLOWS: u32 = 1_000_000;

fn resident_mb() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages: f64 = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("pages");
    pages * 4_096.0 / 1e6
}

/// Opens all flows, as `meta` and `packet` bring them, and says what that weighs.
fn weigh<F: Forwarder>(
    what: &str,
    make: impl FnOnce(Limits) -> F,
    meta: Meta,
    packet: impl Fn(u32) -> Vec<u8>,
) {
    let mut out = Outbox::new(Pool::new(1_024));
    let mut table = routes();
    table.mechanisms.syn_gate = false;
    for listener in &mut table.clbs[0].listeners {
        let listener = Arc::make_mut(listener);
        listener.targets = targets([10, 0]);
        if listener.protocol == udp::PROTOCOL {
            listener.scheduler = maglev(&listener.targets);
        }
    }
    let before = resident_mb();
    let mut forwarder = make(Limits::of(FLOWS as usize));
    forwarder.apply(Instant::ZERO, Arc::new(table), &mut out);
    let mut batch = Vec::new();
    for number in 0..FLOWS {
        let bytes = packet(number);
        let lent: Packet = out.pool_mut().lend_copy(&bytes, meta).expect("a slot");
        batch.push(lent);
        if batch.len() == BATCH_MAX || number + 1 == FLOWS {
            forwarder.handle_packets(Instant::from_nanos(1), &mut batch, &mut out);
            assert_eq!(out.drops(), [], "all are opened");
            while let Some(packet) = out.sent_mut().pop() {
                out.pool_mut().take_back(packet);
            }
            out.events_mut().clear();
        }
    }
    println!("{what}, 1,000,000 flows: {:.0} MB", resident_mb() - before);
}

fn main() {
    let key_of = |flow: &FlowKey| GreKey::new(MAIN.0, false, slot::of_hash(flow.hash(&HASH_KEY)));
    let from = |path, peer| Meta {
        peer,
        ..Meta::plain(PortId::tunnel(path))
    };
    weigh(
        "CLB node",
        |limits| ClbNode::new(CLB_NODE_NAME, limits, Seed(7)),
        from(FROM_TOKYO, TOKYO),
        |number| {
            let flow = client_flow(Family::V4, udp::PROTOCOL, 7_000, number);
            tunnelled(&datagram(flow, b"tick"), key_of(&flow))
        },
    );
    weigh(
        "vSwitch",
        |limits| VSwitch::new(WEB_1_NAME, limits, Seed(7)),
        from(TO_WEB_1, CLB_NODE),
        |number| {
            let flow = FlowKey {
                dst: backend(1, Family::V4),
                ..client_flow(Family::V4, udp::PROTOCOL, 8_080, number)
            };
            tunnelled(&datagram(flow, b"tick"), key_of(&flow))
        },
    );
}
