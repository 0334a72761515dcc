//! Unbinding of targets: who is told of the cut and by which numbers, when, and what goes on.

use core::time::Duration;
use std::sync::Arc;

use anyedge_net::route_table::Target;

use super::*;
use crate::clb_node::{CUT_EVERY, CUTS_PER_STEP_MAX};

/// The routes with these weights, less the targets on `gone`.
fn without(gone: Option<NodeId>, change: impl FnOnce(&mut RouteTable)) -> RouteTable {
    let mut table = routes();
    for listener in &mut table.clbs[0].listeners {
        let stays = |target: &Target| Some(target.host) != gone;
        Arc::make_mut(listener).targets.retain(stays);
    }
    table.clbs[0].listeners[2] = listener(
        "tick",
        udp::PROTOCOL,
        TICK_PORT,
        Scheduler::WeightedRoundRobin,
        table.clbs[0].listeners[2].targets.clone(),
    );
    change(&mut table);
    table
}

/// A flow with data both ways, and the number that each side expects next: client 1,001, target 4,004.
fn speak(node: &mut Stage<ClbNode>, flow: FlowKey) -> Address {
    let target = node.open(flow);
    let reply = answer_flow(&flow, target, 8_080);
    let says = |flow, flags, sequence, acknowledgement, payload| Segment {
        sequence,
        acknowledgement,
        payload,
        ..Segment::new(flow, flags)
    };
    let syn_ack = says(reply, tcp::SYN | tcp::ACK, 4_000, 1_001, &b""[..]);
    node.target_sends(target, &flow, &syn_ack.packet());
    node.client_sends(
        &flow,
        &says(flow, tcp::ACK, 1_001, 4_001, b"hello").packet(),
    );
    let data = says(reply, tcp::ACK, 4_001, 1_006, b"yes");
    node.target_sends(target, &flow, &data.packet());
    target
}

/// The resets that were sent: tuple, sequence number and peer.
fn resets(outcome: &Outcome) -> Vec<(FlowKey, u32, NodeId)> {
    let of = |(meta, bytes): &(Meta, Vec<u8>)| {
        let inner = untunnelled(bytes).1;
        let parsed = sound(inner);
        (parsed.tcp_flags & tcp::RST != 0)
            .then(|| (parsed.flow, tcp::sequence(inner, &parsed), meta.peer))
    };
    outcome.sent.iter().filter_map(of).collect()
}

fn host_of(target: Address) -> NodeId {
    if target == backend(1, Family::V4) {
        WEB_1
    } else {
        WEB_2
    }
}

#[test]
fn unbinding_resets_both_ends_at_exactly_the_numbers_that_they_expect() {
    let mut node = node();
    let flow = web_flow(1);
    let target = speak(&mut node, flow);
    let outcome = node.apply(without(Some(host_of(target)), |_| {}));
    let to_target = answer_flow(&flow, target, 8_080).reversed();
    assert_eq!(
        resets(&outcome),
        [
            (flow.reversed(), 4_004, TOKYO),
            (to_target, 1_006, host_of(target))
        ]
    );
    assert!(outcome.events.contains(&ended(flow, FlowEnd::Unbound)));
    assert_eq!(node.forwarder.flows(), 0);
    assert_ne!(
        node.establish(flow),
        target,
        "a fresh flow of the tuple works at once"
    );
}

#[test]
fn flows_of_other_targets_and_of_weight_0_go_on() {
    let mut node = node();
    let (one, two) = (web_flow(1), web_flow(2));
    let (first, second) = (speak(&mut node, one), speak(&mut node, two));
    assert_ne!(first, second);
    let outcome = node.apply(without(Some(host_of(first)), |_| {}));
    assert_eq!(resets(&outcome).len(), 2);
    assert_eq!(target_of(&node.say(two, tcp::ACK)), second);
    let idle = without(Some(host_of(first)), |table| {
        Arc::make_mut(&mut table.clbs[0].listeners[0]).targets[0].weight = 0;
    });
    assert_eq!(resets(&node.apply(idle)), []);
    assert_eq!(target_of(&node.say(two, tcp::ACK)), second);
}

#[test]
fn without_the_reset_a_flow_is_just_forgotten() {
    let mut node = node();
    let flow = web_flow(1);
    let target = speak(&mut node, flow);
    let outcome = node.apply(without(Some(host_of(target)), |table| {
        table.clbs[0].rst_on_unbind = false;
    }));
    assert_eq!(outcome.sent, []);
    assert!(outcome.events.contains(&ended(flow, FlowEnd::Unbound)));
    assert_ne!(node.establish(flow), target);
}

#[test]
fn a_drain_lasts_to_the_nanosecond() {
    let mut node = node();
    let flow = web_flow(1);
    let target = speak(&mut node, flow);
    let drained = without(Some(host_of(target)), |table| {
        table.clbs[0].unbind_drain = Some(secs(30));
    });
    assert_eq!(node.apply(drained).sent, []);
    assert_eq!(resets(&node.pass(secs(30) - Duration::from_nanos(1))), []);
    assert_eq!(target_of(&node.say(flow, tcp::ACK)), target);
    let outcome = node.pass(Duration::from_nanos(1));
    assert_eq!(resets(&outcome).len(), 2);
    assert!(outcome.events.contains(&ended(flow, FlowEnd::Unbound)));
}

#[test]
fn a_target_that_is_bound_again_keeps_its_draining_flows() {
    let mut node = node();
    let flow = web_flow(1);
    let target = speak(&mut node, flow);
    let drain = |table: &mut RouteTable| table.clbs[0].unbind_drain = Some(secs(30));
    node.apply(without(Some(host_of(target)), drain));
    node.pass(secs(20));
    node.apply(without(None, drain));
    assert_eq!(resets(&node.pass(secs(20))), []);
    assert_eq!(target_of(&node.say(flow, tcp::ACK)), target);
}

#[test]
fn a_half_open_client_is_reset_by_what_its_syn_has_acknowledged() {
    let mut node = node();
    let flow = web_flow(1);
    let target = node.open(flow);
    let outcome = node.apply(without(Some(host_of(target)), |_| {}));
    let bytes = untunnelled(&outcome.sent[0].1).1;
    let parsed = sound(bytes);
    let numbers = tcp::numbers(bytes, &parsed).expect("a segment");
    assert_eq!(
        (parsed.flow, numbers.acknowledged),
        (flow.reversed(), Some(1_001))
    );
    assert_eq!(resets(&outcome).len(), 2);
}

#[test]
fn udp_goes_on_at_another_target_without_a_word() {
    let table = without(None, |_| {});
    let mut node = node_with(table);
    let flow = client_flow(Family::V4, udp::PROTOCOL, TICK_PORT, 1);
    let target = node.open(flow);
    let outcome = node.apply(without(Some(host_of(target)), |_| {}));
    assert_eq!(outcome.sent, []);
    assert!(outcome.events.contains(&ended(flow, FlowEnd::Unbound)));
    assert_ne!(node.open(flow), target);
}

#[test]
fn ten_thousand_flows_are_cut_in_bounded_steps_and_those_that_speak_at_once() {
    const FLOWS: u32 = 10_000;
    let limits = Limits::of(40_000);
    let mut table = without(None, |_| {});
    table.mechanisms.syn_gate = false;
    let mut node = Stage::new(ClbNode::new(CLB_NODE_NAME, limits, Seed(7)), table);
    for number in 0..FLOWS {
        speak(&mut node, web_flow(number));
    }
    let mut gone = without(None, |table| {
        let web = Arc::make_mut(&mut table.clbs[0].listeners[0]);
        web.targets = vec![Target {
            port: 8_081,
            ..web.targets[0]
        }];
    });
    gone.mechanisms.syn_gate = false;
    let mut steps = vec![node.apply(gone)];
    let last = web_flow(FLOWS - 1);
    let met = node.say(last, tcp::ACK);
    assert_eq!(met.drops, [DropReason::Unbound]);
    assert_eq!(resets(&met).len(), 2, "the flow was not waited for");
    while node.forwarder.flows() > 0 {
        steps.push(node.pass(CUT_EVERY));
        assert!(steps.len() < 200, "the walk comes to its end");
    }
    let bound = 2 * CUTS_PER_STEP_MAX as usize;
    assert!(steps.iter().all(|step| resets(step).len() <= bound));
    let sent: usize = steps.iter().map(|step| resets(step).len()).sum();
    assert_eq!(sent + 2, 2 * FLOWS as usize);
}

#[test]
fn a_listener_that_is_gone_cuts_its_flows_as_its_targets_would() {
    let mut node = node();
    let (web, tick) = (
        web_flow(1),
        client_flow(Family::V4, udp::PROTOCOL, TICK_PORT, 1),
    );
    let target = speak(&mut node, web);
    let tick_target = node.open(tick);
    let outcome = node.apply(without(None, |table| {
        table.clbs[0].listeners.remove(0);
        table.clbs[0].listeners[1] = Arc::clone(&routes().clbs[0].listeners[2]);
    }));
    let to_target = answer_flow(&web, target, 8_080).reversed();
    assert_eq!(
        resets(&outcome),
        [
            (web.reversed(), 4_004, TOKYO),
            (to_target, 1_006, host_of(target))
        ]
    );
    assert!(outcome.events.contains(&ended(web, FlowEnd::Unbound)));
    assert_eq!(
        target_of(&node.client_sends(&tick, &datagram(tick, b"tick"))),
        tick_target,
        "flows of other listeners go on"
    );
    node.apply(routes());
    node.establish(web);
}

#[test]
fn a_listener_that_is_gone_drains_and_one_that_returns_keeps_its_flows() {
    let drain = |table: &mut RouteTable| table.clbs[0].unbind_drain = Some(secs(30));
    let gone = || {
        without(None, |table| {
            drain(table);
            table.clbs[0].listeners.remove(0);
        })
    };
    let mut node = node_with(without(None, drain));
    let flow = web_flow(1);
    let target = speak(&mut node, flow);
    assert_eq!(resets(&node.apply(gone())), []);
    assert_eq!(target_of(&node.say(flow, tcp::ACK)), target);
    node.pass(secs(20));
    node.apply(without(None, drain));
    assert_eq!(resets(&node.pass(secs(20))), []);
    assert_eq!(target_of(&node.say(flow, tcp::ACK)), target);
    node.apply(gone());
    assert_eq!(resets(&node.pass(secs(30))).len(), 2);
}

#[test]
fn a_target_bound_again_during_the_walk_keeps_the_flows_that_were_not_reached() {
    const FLOWS: u32 = 4 * CUTS_PER_STEP_MAX;
    let calm = |gone| without(gone, |table| table.mechanisms.syn_gate = false);
    let limits = Limits::of(4_096);
    let mut node = Stage::new(ClbNode::new(CLB_NODE_NAME, limits, Seed(7)), calm(None));
    let flows: Vec<FlowKey> = (0..FLOWS).map(web_flow).collect();
    let mut of_web_1 = Vec::new();
    for flow in &flows {
        if host_of(speak(&mut node, *flow)) == WEB_1 {
            of_web_1.push(*flow);
        }
    }
    assert_eq!(of_web_1.len() as u32, 2 * CUTS_PER_STEP_MAX);
    let first = node.apply(calm(Some(WEB_1)));
    assert_eq!(resets(&first).len() as u32, 2 * CUTS_PER_STEP_MAX);
    node.apply(calm(None));
    assert_eq!(resets(&node.pass(CUT_EVERY * 10)), []);
    assert_eq!(node.forwarder.flows() as u32, FLOWS - CUTS_PER_STEP_MAX);
    let last = of_web_1[of_web_1.len() - 1];
    assert_eq!(host_of(target_of(&node.say(last, tcp::ACK))), WEB_1);
    let again = node.apply(calm(Some(WEB_1)));
    assert_eq!(resets(&again).len() as u32, 2 * CUTS_PER_STEP_MAX);
    assert_eq!(node.forwarder.flows() as u32, FLOWS - 2 * CUTS_PER_STEP_MAX);
}
