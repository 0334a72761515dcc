//! A flow from its first packet to its end.

use super::*;
use crate::expiry;
use crate::flow_life::UDP_TIMEOUT;
use crate::tcp_state::{
    CLOSING_TIMEOUT, HALF_CLOSED_TIMEOUT, HALF_OPEN_TIMEOUT, IDLE_TIMEOUT, RESET_TIMEOUT,
};

const NANO: Duration = Duration::from_nanos(1);

#[test]
fn a_syn_is_translated_for_its_target_and_nothing_else_changes() {
    for family in [Family::V4, Family::V6] {
        let mut node = node();
        let flow = client_flow(family, tcp::PROTOCOL, WEB, 1);
        let syn = Segment {
            mss: Some(1_460),
            ..Segment::new(flow, tcp::SYN)
        }
        .packet();
        let outcome = node.client_sends(&flow, &syn);
        let (meta, bytes) = outcome.only_sent();
        let (key, inner) = untunnelled(bytes);
        let target = sound(inner).flow.dst;
        let host = if target == backend(1, family) {
            (TO_WEB_1, WEB_1)
        } else {
            (TO_WEB_2, WEB_2)
        };
        assert_eq!((meta.port, meta.peer), (PortId::tunnel(host.0), host.1));
        assert_eq!((key, meta.tos), (key_of(&flow), 0));
        let headers = if family == Family::V4 { 40 } else { 60 };
        let to = FlowKey {
            dst: target,
            dst_port: 8_080,
            ..flow
        };
        let expected = Segment {
            mss: Some(1_400 - headers),
            ..Segment::new(to, tcp::SYN)
        }
        .packet();
        assert_eq!(inner, with_ttl(&expected, 63));
        let opened = Event::FlowOpened {
            flow,
            target,
            target_port: 8_080,
            pop: TOKYO,
        };
        assert_eq!(outcome.events, [opened]);
    }
}

#[test]
fn a_udp_datagram_is_translated_and_opens_its_flow() {
    for family in [Family::V4, Family::V6] {
        let mut node = node();
        let flow = client_flow(family, udp::PROTOCOL, TICK_PORT, 1);
        let outcome = node.client_sends(&flow, &datagram(flow, b"odd payload"));
        let target = target_of(&outcome);
        let to = FlowKey {
            dst: target,
            dst_port: 8_080,
            ..flow
        };
        let (_, bytes) = outcome.only_sent();
        assert_eq!(
            untunnelled(bytes).1,
            with_ttl(&datagram(to, b"odd payload"), 63)
        );
        let opened = Event::FlowOpened {
            flow,
            target,
            target_port: 8_080,
            pop: TOKYO,
        };
        assert_eq!(outcome.events, [opened]);
    }
}

#[test]
fn every_packet_of_a_flow_reaches_the_target_of_the_first() {
    let mut node = node();
    let flow = web_flow(1);
    let target = node.establish(flow);
    for number in 2..20 {
        node.open(web_flow(number));
        assert_eq!(target_of(&node.say(flow, tcp::ACK | tcp::PSH)), target);
    }
}

#[test]
fn a_retransmitted_syn_sticks_to_its_target() {
    let mut node = node();
    let flow = web_flow(1);
    let target = node.open(flow);
    for _ in 0..4 {
        node.pass(secs(7));
        let outcome = node.say(flow, tcp::SYN);
        assert_eq!(target_of(&outcome), target);
        assert_eq!(outcome.events, []);
    }
}

#[test]
fn a_syn_and_its_retransmission_in_one_batch_are_one_flow() {
    let mut node = node();
    let flow = web_flow(1);
    let meta = Meta {
        peer: TOKYO,
        ..Meta::plain(PortId::tunnel(FROM_TOKYO))
    };
    let syn = (meta, tunnelled(&segment(flow, tcp::SYN), key_of(&flow)));
    let outcome = node.batch(&[syn.clone(), syn]);
    let targets: Vec<Address> = outcome
        .sent
        .iter()
        .map(|(_, bytes)| sound(untunnelled(bytes).1).flow.dst)
        .collect();
    assert_eq!(targets.len(), 2);
    assert_eq!(targets[0], targets[1]);
    assert_eq!((outcome.events.len(), node.forwarder.flows()), (1, 1));
}

#[test]
fn a_fresh_syn_replaces_a_flow_that_is_closed_or_half_open_and_no_other() {
    let fresh = |flow| {
        Segment {
            sequence: 77_000,
            ..Segment::new(flow, tcp::SYN)
        }
        .packet()
    };
    let flow = web_flow(1);
    let is_replaced = |node: &mut Stage<ClbNode>| {
        let outcome = node.client_sends(&flow, &fresh(flow));
        outcome.only_sent();
        let replaced = outcome.events.first() == Some(&ended(flow, FlowEnd::Replaced));
        assert_eq!(outcome.events.len(), if replaced { 2 } else { 0 });
        assert_eq!(node.forwarder.flows(), 1);
        replaced
    };

    let mut half_open = node();
    half_open.open(flow);
    assert!(is_replaced(&mut half_open));

    let mut live = node();
    let target = live.establish(flow);
    assert!(!is_replaced(&mut live));
    live.say(flow, tcp::FIN | tcp::ACK);
    assert!(!is_replaced(&mut live), "the target still has it");
    live.answer(flow, target, tcp::FIN | tcp::ACK);
    assert!(is_replaced(&mut live));

    let mut reset = node();
    let target = reset.establish(flow);
    reset.answer(flow, target, tcp::RST);
    assert!(is_replaced(&mut reset));
}

/// Runs `begin`, then checks that the flow lives for `timeout` to the nanosecond and how it ends.
fn lives_for(timeout: Duration, end: FlowEnd, flow: FlowKey, begin: impl Fn(&mut Stage<ClbNode>)) {
    let mut before = node();
    begin(&mut before);
    before.pass(timeout - NANO);
    let last = before.client_sends(&flow, &last_packet(flow));
    assert_eq!(last.sent.len(), 1, "{end:?}: alive until its deadline");

    let mut after = node();
    begin(&mut after);
    let mut events = after.pass(timeout).events;
    let late = after.client_sends(&flow, &last_packet(flow));
    events.extend(&late.events);
    assert_eq!(events.first(), Some(&ended(flow, end)));
    if flow.protocol == tcp::PROTOCOL {
        assert_eq!(late.drops, [DropReason::NoFlow]);
    }

    let mut silent = node();
    begin(&mut silent);
    let events = silent.pass(timeout + expiry::TICK).events;
    assert_eq!(events, [ended(flow, end)]);
    assert_eq!(
        (silent.forwarder.flows(), silent.forwarder.poll_timeout()),
        (0, None)
    );
}

fn last_packet(flow: FlowKey) -> Vec<u8> {
    match flow.protocol {
        tcp::PROTOCOL => segment(flow, tcp::ACK),
        _ => datagram(flow, b"tick"),
    }
}

#[test]
fn flows_end_at_exact_times() {
    let flow = web_flow(1);
    lives_for(HALF_OPEN_TIMEOUT, FlowEnd::HandshakeTimeout, flow, |node| {
        node.open(flow);
    });
    lives_for(IDLE_TIMEOUT, FlowEnd::IdleTimeout, flow, |node| {
        node.establish(flow);
    });
    lives_for(HALF_CLOSED_TIMEOUT, FlowEnd::IdleTimeout, flow, |node| {
        node.establish(flow);
        node.say(flow, tcp::FIN | tcp::ACK);
    });
    lives_for(CLOSING_TIMEOUT, FlowEnd::Finished, flow, |node| {
        let target = node.establish(flow);
        node.say(flow, tcp::FIN | tcp::ACK);
        node.answer(flow, target, tcp::FIN | tcp::ACK);
    });
    lives_for(RESET_TIMEOUT, FlowEnd::Reset, flow, |node| {
        node.establish(flow);
        node.say(flow, tcp::RST);
    });
    let tick = client_flow(Family::V4, udp::PROTOCOL, TICK_PORT, 1);
    lives_for(UDP_TIMEOUT, FlowEnd::Finished, tick, |node| {
        node.open(tick);
    });
}

#[test]
fn either_side_keeps_a_flow_alive_but_not_one_that_was_reset() {
    let mut node = node();
    let flow = web_flow(1);
    let target = node.establish(flow);
    for _ in 0..3 {
        assert_eq!(node.pass(secs(800)).events, []);
        node.answer(flow, target, tcp::ACK).only_sent();
        assert_eq!(node.pass(secs(800)).events, []);
        node.say(flow, tcp::ACK).only_sent();
    }
    node.say(flow, tcp::RST).only_sent();
    node.pass(secs(9));
    node.answer(flow, target, tcp::ACK).only_sent();
    assert_eq!(node.pass(secs(2)).events, [ended(flow, FlowEnd::Reset)]);
}

#[test]
fn a_full_table_refuses_new_flows_and_keeps_the_old() {
    let mut node = node();
    let flows: Vec<FlowKey> = (0..64).map(web_flow).collect();
    let targets: Vec<Address> = flows.iter().map(|flow| node.establish(*flow)).collect();
    for number in 64..200 {
        let outcome = node.say(web_flow(number), tcp::SYN);
        assert_eq!(
            (outcome.only_drop(), outcome.events.len()),
            (DropReason::TableFull, 0)
        );
    }
    for (flow, target) in flows.iter().zip(targets) {
        assert_eq!(target_of(&node.say(*flow, tcp::ACK)), target);
    }
    node.say(flows[0], tcp::RST).only_sent();
    node.pass(secs(11));
    node.say(web_flow(64), tcp::SYN).only_sent();
}

#[test]
fn many_flows_that_end_together_are_collected_in_portions() {
    let mut stage = Stage::new(
        ClbNode::new(CLB_NODE_NAME, Limits::of(16_000), Seed(7)),
        routes(),
    );
    for number in 0..1_000 {
        stage.open(web_flow(number));
    }
    let due = stage.forwarder.poll_timeout().expect("flows are held").at;
    stage.now = due;
    let mut left = Vec::new();
    while stage
        .forwarder
        .poll_timeout()
        .is_some_and(|deadline| deadline.at <= due)
    {
        stage
            .ledger
            .timeout(&mut stage.forwarder, due, &mut stage.out);
        left.push(stage.forwarder.flows());
    }
    assert_eq!(left, [744, 488, 232, 0]);
}
