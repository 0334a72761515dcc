//! The CLB node on the testbed, driven through its ledger: forward, replies, new flows, routes, failures.

mod amendments;
mod flows;
mod fragments;
mod garbage;
mod health;
mod icmp;
mod nat64;
mod peers;
mod replies;
mod reschedule;
mod resets;
mod routes;
mod scheduling;
mod security;
mod survival;
mod syn_gate;
mod targets;
mod tell_source;
mod transit;
mod unbind;

use core::time::Duration;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::{Event, FlowEnd};
use anyedge_net::flow::{Address, Family, FlowKey};
use anyedge_net::forwarder::{Forwarder, LocalEvent};
use anyedge_net::id::{ClbId, NodeId, Revision};
use anyedge_net::packet::Meta;
use anyedge_net::port::PortId;
use anyedge_net::rng::Seed;
use anyedge_net::route_table::{RouteTable, Scheduler};
use anyedge_net::slot;
use anyedge_net::wire::gre::{self, GreKey};
use anyedge_net::wire::{self, tcp, udp};

use crate::testbed::stage::{Outcome, Stage};
use crate::testbed::*;
use crate::{ClbNode, Limits};

const WEB: u16 = 80;
const TICK_PORT: u16 = 7_000;

/// The node of region guangzhou with these routes.
fn node_with(table: RouteTable) -> Stage<ClbNode> {
    Stage::new(ClbNode::new(CLB_NODE_NAME, Limits::of(64), Seed(7)), table)
}

fn node() -> Stage<ClbNode> {
    node_with(routes())
}

/// The key that a POP sends a flow of the main load balancer with.
fn key_of(flow: &FlowKey) -> GreKey {
    GreKey::new(MAIN.0, false, slot::of_hash(flow.hash(&HASH_KEY)))
}

fn web_flow(number: u32) -> FlowKey {
    client_flow(Family::V4, tcp::PROTOCOL, WEB, number)
}

/// How many of these new flows each of the two backends gets.
fn shares(node: &mut Stage<ClbNode>, numbers: core::ops::Range<u32>) -> [usize; 2] {
    let mut shares = [0; 2];
    for number in numbers {
        let target = node.open(web_flow(number));
        shares[usize::from(target == backend(2, Family::V4))] += 1;
    }
    shares
}

impl Stage<ClbNode> {
    /// A client's packet arrives by way of tokyo.
    fn client_sends(&mut self, flow: &FlowKey, packet: &[u8]) -> Outcome {
        self.tunnel(FROM_TOKYO, TOKYO, key_of(flow), packet)
    }

    /// A backend's packet arrives by way of its host.
    fn target_sends(&mut self, target: Address, flow: &FlowKey, packet: &[u8]) -> Outcome {
        let (path, host) = if target.octets().last() == backend(1, target.family()).octets().last()
        {
            (TO_WEB_1, WEB_1)
        } else {
            (TO_WEB_2, WEB_2)
        };
        self.tunnel(path, host, key_of(flow), packet)
    }

    /// Opens a flow and returns its target.
    fn open(&mut self, flow: FlowKey) -> Address {
        let packet = match flow.protocol {
            tcp::PROTOCOL => segment(flow, tcp::SYN),
            _ => datagram(flow, b"tick"),
        };
        target_of(&self.client_sends(&flow, &packet))
    }

    /// Opens a TCP flow with a whole handshake and returns its target.
    fn establish(&mut self, flow: FlowKey) -> Address {
        let target = self.open(flow);
        self.answer(flow, target, tcp::SYN | tcp::ACK).only_sent();
        let outcome = self.say(flow, tcp::ACK);
        assert_eq!(outcome.events, [Event::FlowEstablished { flow }]);
        target
    }

    /// The client sends a segment.
    fn say(&mut self, flow: FlowKey, flags: u8) -> Outcome {
        self.client_sends(&flow, &segment(flow, flags))
    }

    /// The target sends a segment.
    fn answer(&mut self, flow: FlowKey, target: Address, flags: u8) -> Outcome {
        self.target_sends(
            target,
            &flow,
            &segment(answer_flow(&flow, target, 8_080), flags),
        )
    }
}

/// Where the one packet that was sent was sent to.
fn target_of(outcome: &Outcome) -> Address {
    let (_, bytes) = outcome.only_sent();
    sound(untunnelled(bytes).1).flow.dst
}

fn ended(flow: FlowKey, end: FlowEnd) -> Event {
    Event::FlowClosed { flow, end }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
