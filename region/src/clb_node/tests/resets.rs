//! What a client hears when its segment belongs to no flow.

use super::*;
use crate::clb_node::{RESETS_BURST, RESETS_PER_SECOND};

/// The reset among the packets of an outcome: where it went, and its bytes without tunnel.
fn reset_of(outcome: &Outcome) -> (Meta, Vec<u8>) {
    let [(meta, bytes)] = &outcome.sent[..] else {
        panic!("{} packets were sent", outcome.sent.len());
    };
    let inner = if meta.port == PortId::PUBLIC {
        &bytes[..]
    } else {
        untunnelled(bytes).1
    };
    (*meta, inner.to_vec())
}

#[test]
fn a_segment_of_no_flow_is_reset_at_the_number_it_acknowledges() {
    for family in [Family::V4, Family::V6] {
        let mut node = node();
        let flow = client_flow(family, tcp::PROTOCOL, WEB, 1);
        let outcome = node.say(flow, tcp::ACK | tcp::PSH);
        assert_eq!(outcome.drops, [DropReason::NoFlow]);
        let (meta, reset) = reset_of(&outcome);
        assert_eq!((meta.port, meta.peer), (PortId::tunnel(FROM_TOKYO), TOKYO));
        let expected = Segment {
            sequence: 2_000,
            acknowledgement: 0,
            ..Segment::new(flow.reversed(), tcp::RST)
        };
        assert_eq!(reset, expected.packet());
        assert_eq!(node.ledger.originated, 1);
    }
}

#[test]
fn a_segment_without_ack_is_acknowledged_up_to_its_end() {
    let mut node = node();
    let flow = web_flow(1);
    let fin = Segment {
        payload: b"last",
        ..Segment::new(flow, tcp::FIN)
    }
    .packet();
    let (_, reset) = reset_of(&node.bare(PortId::PUBLIC, &fin));
    let back = Segment::new(flow.reversed(), tcp::RST | tcp::ACK);
    let expected = Segment {
        sequence: 0,
        acknowledgement: 1_000 + 4 + 1,
        ..back
    }
    .packet();
    assert_eq!(reset, expected);
}

#[test]
fn a_syn_that_no_target_takes_is_refused_by_a_reset() {
    let mut table = routes();
    table.clbs[0].listeners[0] = listener(
        "web",
        tcp::PROTOCOL,
        WEB,
        Scheduler::WeightedRoundRobin,
        targets([0, 0]),
    );
    let mut node = node_with(table);
    let flow = web_flow(1);
    let outcome = node.say(flow, tcp::SYN);
    assert_eq!(outcome.drops, [DropReason::NoTarget]);
    let back = Segment::new(flow.reversed(), tcp::RST | tcp::ACK);
    let expected = Segment {
        sequence: 0,
        acknowledgement: 1_001,
        ..back
    }
    .packet();
    assert_eq!(reset_of(&outcome).1, expected);
}

#[test]
fn a_reset_is_not_answered_by_a_reset_and_neither_is_udp() {
    let mut node = node();
    assert_eq!(
        node.say(web_flow(1), tcp::RST).only_drop(),
        DropReason::NoFlow
    );
    let mut table = routes();
    table.clbs[0].listeners[2] = listener(
        "tick",
        udp::PROTOCOL,
        TICK_PORT,
        maglev(&targets([0, 0])),
        targets([0, 0]),
    );
    let mut silent = node_with(table);
    let tick = client_flow(Family::V4, udp::PROTOCOL, TICK_PORT, 1);
    let outcome = silent.client_sends(&tick, &datagram(tick, b"?"));
    assert_eq!(outcome.only_drop(), DropReason::NoTarget);
}

#[test]
fn resets_are_limited_and_the_limit_is_exact() {
    let mut node = node();
    let sent = |node: &mut Stage<ClbNode>, count: u32| {
        (0..count)
            .map(|number| node.say(web_flow(number), tcp::ACK).sent.len() as u32)
            .sum::<u32>()
    };
    assert_eq!(sent(&mut node, RESETS_BURST + 500), RESETS_BURST);
    node.pass(secs(1) / 2);
    assert_eq!(sent(&mut node, RESETS_BURST), RESETS_PER_SECOND / 2);
    assert_eq!(
        node.ledger.dropped.of(DropReason::NoFlow),
        u64::from(2 * RESETS_BURST + 500)
    );
}

#[test]
fn without_a_way_back_or_a_free_packet_there_is_silence() {
    let mut lost = node();
    for path in [FROM_TOKYO, FROM_FRANKFURT] {
        lost.event(LocalEvent::PathState { path, up: false });
    }
    assert_eq!(
        lost.say(web_flow(1), tcp::ACK).only_drop(),
        DropReason::NoFlow
    );

    let mut poor = node();
    poor.out = anyedge_net::outbox::Outbox::new(anyedge_net::packet::Pool::new(1));
    assert_eq!(
        poor.say(web_flow(1), tcp::ACK).only_drop(),
        DropReason::NoFlow
    );
}
