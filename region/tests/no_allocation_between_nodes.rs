//! CLB nodes ask for no memory to keep flows between them: entries sent and taken in, states, refreshes, hops
//! and what is handed back, takeovers and resets, under an allocator that counts.
//!
//! Alone in its binary, since the count is the process's.

use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use anyedge_net::event::Event;
use anyedge_net::flow::{Family, FlowKey};
use anyedge_net::forwarder::{BATCH_MAX, Forwarder};
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::ledger::Ledger;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::{Meta, Packet, Pool};
use anyedge_net::port::PortId;
use anyedge_net::rng::Seed;
use anyedge_net::slot;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::tcp;
use anyedge_region::{ClbNode, Limits};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[path = "../src/testbed.rs"]
#[allow(dead_code, reason = "the testbed serves other tests as well")]
mod testbed;
use testbed::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CLIENTS: usize = 1_000;

/// Two nodes, what they send each other, and the counts of what came of it.
struct Pair {
    nodes: [ClbNode; 2],
    ledgers: [Ledger; 2],
    out: Outbox,
    batch: Vec<Packet>,
    now: Instant,
    taken_over: u64,
}

impl Pair {
    fn new() -> Pair {
        let node = |place: usize| {
            let limits = Limits::of(8_192);
            ClbNode::new(CLB_NODE_NAMES[place], limits, Seed(7))
        };
        let mut pair = Pair {
            nodes: [node(0), node(1)],
            ledgers: [Ledger::default(), Ledger::default()],
            out: Outbox::new(Pool::new(512)),
            batch: Vec::with_capacity(BATCH_MAX),
            now: Instant::from_nanos(1),
            taken_over: 0,
        };
        let mut table = routes_of_three(1, &[0, 1]);
        table.mechanisms.syn_gate = false;
        let table = Arc::new(table);
        for place in 0..2 {
            let (node, ledger) = (&mut pair.nodes[place], &mut pair.ledgers[place]);
            ledger.apply(node, pair.now, Arc::clone(&table), &mut pair.out);
        }
        pair
    }

    /// These packets come to the node at `place`, and what follows between the two is carried.
    fn arrive(&mut self, place: usize, (path, peer): (PathId, NodeId), packets: &[Vec<u8>]) {
        let meta = Meta {
            peer,
            ..Meta::plain(PortId::tunnel(path))
        };
        for bytes in packets {
            let packet = self.out.pool_mut().lend_copy(bytes, meta);
            self.batch.push(packet.expect("a slot is free"));
        }
        self.take(place);
        self.carry(place);
    }

    fn take(&mut self, place: usize) {
        let (node, ledger) = (&mut self.nodes[place], &mut self.ledgers[place]);
        ledger.packets(node, self.now, &mut self.batch, &mut self.out);
    }

    /// Brings what the node at `from` sent to the other, until nothing is left between them.
    fn carry(&mut self, mut from: usize) {
        loop {
            while let Some(mut packet) = self.out.sent_mut().pop() {
                if packet.meta.port == PortId::tunnel(MESH) {
                    packet.meta.peer = CLB_NODES[from];
                    self.batch.push(packet);
                } else {
                    self.out.pool_mut().take_back(packet);
                }
            }
            let taken_over = |event: &Event| matches!(event, Event::FlowTakenOver { .. });
            let events = self.out.events_mut().drain(..);
            self.taken_over += events.filter(taken_over).count() as u64;
            if self.batch.is_empty() {
                return;
            }
            from = 1 - from;
            self.take(from);
        }
    }

    fn pass(&mut self, duration: Duration) {
        self.now += duration;
        for place in 0..2 {
            while let Some(deadline) = self.nodes[place].poll_timeout()
                && deadline.at <= self.now
            {
                let (node, ledger) = (&mut self.nodes[place], &mut self.ledgers[place]);
                ledger.timeout(node, self.now, &mut self.out);
                self.carry(place);
            }
        }
    }
}

fn wrapped(flow: FlowKey, packet: &[u8]) -> Vec<u8> {
    let key = GreKey::new(MAIN.0, false, slot::of_hash(flow.hash(&HASH_KEY)));
    tunnelled(packet, key)
}

/// A round of every client's life: opened at one node, gone on at the other, strays, silence.
fn round(pair: &mut Pair, flows: &[[Vec<u8>; 3]]) {
    let tokyo = (FROM_TOKYO, TOKYO);
    for clients in flows.chunks(BATCH_MAX / 4) {
        for (step, place) in [(0, 0), (1, 0), (1, 1), (2, 1), (2, 0)] {
            for client in clients {
                pair.arrive(place, tokyo, core::slice::from_ref(&client[step]));
            }
        }
        pair.pass(Duration::from_millis(40));
    }
    pair.pass(Duration::from_secs(310));
    pair.pass(Duration::from_secs(1_000));
    pair.pass(Duration::from_secs(1));
}

#[test]
fn what_nodes_tell_each_other_asks_for_no_memory() {
    let flows: Vec<[Vec<u8>; 3]> = (0..CLIENTS as u32)
        .map(|number| {
            let family = [Family::V4, Family::V6][usize::from(number % 3 == 0)];
            let flow = client_flow(family, tcp::PROTOCOL, 80, number);
            let stray = client_flow(family, tcp::PROTOCOL, 80, number + 100_000);
            [
                wrapped(flow, &segment(flow, tcp::SYN)),
                wrapped(flow, &segment(flow, tcp::ACK)),
                wrapped(stray, &segment(stray, tcp::ACK)),
            ]
        })
        .collect();
    let mut pair = Pair::new();
    round(&mut pair, &flows);
    round(&mut pair, &flows);
    let (counts, taken_over) = (*pair.nodes[0].sync_counts(), pair.taken_over);
    let region = Region::new(ALLOCATOR);
    for _ in 0..5 {
        round(&mut pair, &flows);
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
    let after = pair.nodes[0].sync_counts();
    assert!(after.entries - counts.entries >= 5 * CLIENTS as u64);
    assert!(after.taken > counts.taken && after.hops > counts.hops);
    assert!(pair.taken_over > taken_over);
    assert_eq!(after.unsent, 0);
    assert_eq!(pair.out.pool().loaned(), 0);
}
