//! Checks on the wire: where they come from, how they come back, and what is no answer to them.

use super::*;
use crate::health::PORT_MIN;

/// The first check that the node sends to the first backend: its key, and the packet.
fn first_check(node: &mut Stage<ClbNode>) -> (GreKey, Vec<u8>) {
    loop {
        let due = node.forwarder.poll_timeout().expect("targets are checked");
        let outcome = node.pass(due.at - node.now);
        for (_, bytes) in &outcome.sent {
            let (key, inner) = untunnelled(bytes);
            let parsed = sound(inner);
            if (parsed.flow.dst, parsed.tcp_flags) == (first(), tcp::SYN) {
                return (key, inner.to_vec());
            }
        }
    }
}

#[test]
fn a_check_comes_from_the_vip_of_the_targets_family_in_a_slot_of_this_node() {
    let mut node = node_with(defaults());
    let log = node.live(secs(5), all(Answer::Silence));
    let mut tuples: Vec<FlowKey> = Vec::new();
    for (_, parsed) in log
        .segments
        .iter()
        .filter(|(_, parsed)| parsed.tcp_flags == tcp::SYN)
    {
        tuples.push(parsed.flow);
    }
    assert_eq!(tuples.len(), 4, "two backends of two families");
    for flow in tuples {
        assert_eq!((flow.src, flow.dst_port), (vip(flow.family()), 8_080));
        assert!(flow.src_port >= PORT_MIN);
    }
    let mut node = node_with(defaults());
    let (key, _) = first_check(&mut node);
    assert_eq!((key.clb_id(), key.hop()), (MAIN.0, false));
    let slots = &routes().regions[0].slots;
    assert_eq!(slots.owners(key.slot()).primary, CLB_NODE);
}

#[test]
fn nodes_of_a_region_never_check_from_the_same_port() {
    const NAMES: [&str; 3] = [
        "region.guangzhou.clb-1",
        "region.guangzhou.clb-2",
        "region.guangzhou.clb-3",
    ];
    let mut table = defaults();
    for name in &NAMES[1..] {
        let id = NodeId(table.nodes.len() as u16);
        let mut node = table.nodes[CLB_NODE.index()].clone();
        node.name = (*name).to_owned();
        table.nodes.push(node);
        table.regions[0].clb_nodes.push(id);
    }
    let members: Vec<(NodeId, &str)> = table.regions[0]
        .clb_nodes
        .iter()
        .copied()
        .zip(NAMES)
        .collect();
    table.regions[0].slots = std::sync::Arc::new(slot::SlotMap::fill(&members));
    let mut seen = std::collections::BTreeMap::new();
    for name in NAMES {
        let mut stage = Stage::new(ClbNode::new(name, Limits::of(64), Seed(7)), table.clone());
        let log = stage.live(secs(20_000), all(Answer::SynAck));
        let sent = log
            .segments
            .iter()
            .filter(|(_, parsed)| parsed.flow.dst == first());
        for (_, parsed) in sent {
            assert_eq!(*seen.entry(parsed.flow.src_port).or_insert(name), name);
        }
    }
    assert!(seen.len() > 6_000, "ports in turn: {}", seen.len());
}

#[test]
fn only_the_answer_to_the_check_under_way_is_taken_in() {
    let wrong: [(u8, u32, u16); 5] = [
        (tcp::SYN | tcp::ACK, 1, 0),
        (tcp::SYN | tcp::ACK, 0, 1),
        (tcp::ACK, 0, 0),
        (tcp::SYN, 0, 0),
        (tcp::RST, 0, 0),
    ];
    let mut node = node_with(defaults());
    let (key, check) = first_check(&mut node);
    let parsed = sound(&check);
    for (flags, off_number, off_port) in wrong {
        let mut flow = parsed.flow.reversed();
        flow.dst_port ^= off_port;
        let answer = crate::testbed::Segment {
            acknowledgement: sequence_of(&parsed, &check) + 1 + off_number,
            ..crate::testbed::Segment::new(flow, flags)
        };
        let outcome = node.host_sends(key, first(), &answer.packet());
        assert_eq!(outcome.drops, [DropReason::NoFlow], "{flags:08b}");
    }
    let outcome = node.answer_check(key, &parsed, &check, tcp::SYN | tcp::ACK);
    let (_, reset) = outcome.told(DropReason::HealthCheck);
    let expected = crate::testbed::Segment {
        sequence: sequence_of(&parsed, &check) + 1,
        acknowledgement: 0,
        ..crate::testbed::Segment::new(parsed.flow, tcp::RST)
    };
    let (reset_key, reset) = untunnelled(reset);
    assert_eq!(reset_key, key);
    assert_eq!(sound(reset).flow, parsed.flow);
    assert_eq!(reset[20..28], expected.packet()[20..28], "ports and number");
    let again = node.answer_check(key, &parsed, &check, tcp::SYN | tcp::ACK);
    assert_eq!(again.drops, [DropReason::NoFlow], "no check is under way");
}

#[test]
fn an_answer_after_the_timeout_is_too_late() {
    let mut node = node_with(defaults());
    let (key, check) = first_check(&mut node);
    let parsed = sound(&check);
    node.live(secs(2), all(Answer::Silence));
    let late = node.answer_check(key, &parsed, &check, tcp::SYN | tcp::ACK);
    assert_eq!(late.drops, [DropReason::NoFlow]);
    let mut node = node_with(defaults());
    let (key, check) = first_check(&mut node);
    node.now += secs(2) - Duration::from_nanos(1);
    let in_time = node.answer_check(key, &sound(&check), &check, tcp::SYN | tcp::ACK);
    in_time.told(DropReason::HealthCheck);
}

#[test]
fn a_target_that_no_path_leads_to_is_one_that_does_not_answer() {
    let mut node = node_with(defaults());
    node.event(LocalEvent::PathState {
        path: TO_WEB_2,
        up: false,
    });
    let log = node.live(secs(30), all(Answer::SynAck));
    assert_eq!(log.sent_to(second()), []);
    assert_eq!(log.changes(second()).len(), 1);
    assert_eq!(log.changes(first()), []);
}

#[test]
fn a_node_that_owns_no_slot_does_not_check_and_thinks_what_it_thought() {
    let mut table = defaults();
    table.regions[0].slots = std::sync::Arc::new(slot::SlotMap::fill(&[]));
    let mut node = node_with(table);
    let log = node.live(secs(60), all(Answer::Silence));
    assert_eq!((log.segments.len(), log.events.len()), (0, 0));
}
