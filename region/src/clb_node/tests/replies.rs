//! Answers on their way back to the client.

use anyedge_net::packet::Offload;

use super::*;

#[test]
fn an_answer_comes_from_the_vip_and_leaves_by_the_flows_pop() {
    for family in [Family::V4, Family::V6] {
        let mut node = node();
        let flow = client_flow(family, tcp::PROTOCOL, WEB, 1);
        let target = node.open(flow);
        let from = answer_flow(&flow, target, 8_080);
        let syn_ack = Segment {
            mss: Some(8_960),
            ..Segment::new(from, tcp::SYN | tcp::ACK)
        }
        .packet();
        let outcome = node.target_sends(target, &flow, &syn_ack);
        let (meta, bytes) = outcome.only_sent();
        assert_eq!((meta.port, meta.peer), (PortId::tunnel(FROM_TOKYO), TOKYO));
        let (key, inner) = untunnelled(bytes);
        assert_eq!(key, key_of(&flow));
        let headers = if family == Family::V4 { 40 } else { 60 };
        let back = Segment::new(flow.reversed(), tcp::SYN | tcp::ACK);
        let expected = Segment {
            mss: Some(1_400 - headers),
            ..back
        }
        .packet();
        assert_eq!(inner, with_ttl(&expected, 63));
        sound(inner);
    }
}

#[test]
fn a_udp_answer_finds_its_client() {
    for family in [Family::V4, Family::V6] {
        let mut node = node();
        let flow = client_flow(family, udp::PROTOCOL, TICK_PORT, 1);
        let target = node.open(flow);
        let from = answer_flow(&flow, target, 8_080);
        let outcome = node.target_sends(target, &flow, &datagram(from, b"tock"));
        let (_, bytes) = outcome.only_sent();
        assert_eq!(
            untunnelled(bytes).1,
            with_ttl(&datagram(flow.reversed(), b"tock"), 63)
        );
    }
}

#[test]
fn an_answer_of_no_flow_is_dropped_and_its_sender_reset() {
    let mut node = node();
    let flow = web_flow(1);
    let target = node.open(flow);
    let host = [WEB_1, WEB_2][usize::from(target != backend(1, Family::V4))];
    let other = answer_flow(&web_flow(2), target, 8_080);
    let outcome = node.answer(web_flow(2), target, tcp::ACK);
    let (meta, bytes) = outcome.told(DropReason::NoFlow);
    assert_eq!(meta.peer, host);
    let (key, inner) = untunnelled(bytes);
    assert_eq!(key, key_of(&web_flow(2)));
    let reset = sound(inner);
    assert_eq!((reset.flow, reset.tcp_flags), (other.reversed(), tcp::RST));
}

#[test]
fn an_answer_that_no_flow_can_have_had_is_dropped_in_silence() {
    let mut node = node();
    let flow = web_flow(1);
    let target = node.open(flow);
    let elsewhere = segment(answer_flow(&flow, target, 8_081), tcp::ACK);
    let outcome = node.target_sends(target, &flow, &elsewhere);
    assert_eq!(outcome.only_drop(), DropReason::NoFlow, "no target's port");
    for flags in [tcp::SYN, tcp::RST, tcp::RST | tcp::ACK] {
        let outcome = node.answer(web_flow(2), target, flags);
        assert_eq!(outcome.only_drop(), DropReason::NoFlow, "{flags:b}");
    }
}

#[test]
fn answers_follow_the_pop_that_the_flow_enters_by() {
    let mut node = node();
    let flow = web_flow(1);
    let target = node.establish(flow);
    let moved = node.tunnel(
        FROM_FRANKFURT,
        FRANKFURT,
        key_of(&flow),
        &segment(flow, tcp::ACK),
    );
    assert_eq!(target_of(&moved), target);
    assert_eq!(
        moved.events,
        [Event::FlowMoved {
            flow,
            pop: FRANKFURT
        }]
    );
    let outcome = node.answer(flow, target, tcp::ACK);
    let (meta, _) = outcome.only_sent();
    assert_eq!(
        (meta.port, meta.peer),
        (PortId::tunnel(FROM_FRANKFURT), FRANKFURT)
    );
}

#[test]
fn answers_leave_by_the_nearest_live_publisher_when_their_pop_is_lost() {
    let mut node = node();
    let flow = web_flow(1);
    let target = node.establish(flow);
    node.tunnel(
        FROM_FRANKFURT,
        FRANKFURT,
        key_of(&flow),
        &segment(flow, tcp::ACK),
    );
    let down = |path| LocalEvent::PathState { path, up: false };
    let news = node.event(down(FROM_FRANKFURT));
    assert_eq!(
        news.events,
        [Event::PathState {
            path: FROM_FRANKFURT,
            up: false
        }]
    );
    assert_eq!(node.event(down(FROM_FRANKFURT)).events, [], "no news");
    let outcome = node.answer(flow, target, tcp::ACK);
    assert_eq!(outcome.only_sent().0.peer, TOKYO);
    assert_eq!(outcome.events, [], "the flow itself did not move");
    node.event(down(FROM_TOKYO));
    assert_eq!(
        node.answer(flow, target, tcp::ACK).only_drop(),
        DropReason::NoPath
    );
    node.event(LocalEvent::PathState {
        path: FROM_FRANKFURT,
        up: true,
    });
    assert_eq!(
        node.answer(flow, target, tcp::ACK).only_sent().0.peer,
        FRANKFURT
    );
}

#[test]
fn an_answer_too_large_for_the_way_back_is_dropped() {
    let mut node = node();
    let flow = web_flow(1);
    let target = node.establish(flow);
    let from = answer_flow(&flow, target, 8_080);
    let of_len = |len: u16| {
        let payload = vec![7; usize::from(len) - 40];
        Segment {
            payload: &payload,
            ..Segment::new(from, tcp::ACK)
        }
        .packet()
    };
    node.target_sends(target, &flow, &of_len(INNER_MTU))
        .only_sent();
    let too_big = node.target_sends(target, &flow, &of_len(INNER_MTU + 1));
    assert_eq!(too_big.drops, [DropReason::TooBig]);
}

#[test]
fn a_super_packet_is_translated_whole_both_ways_as_long_as_its_segments_fit() {
    for family in [Family::V4, Family::V6] {
        let mut node = node();
        let flow = client_flow(family, tcp::PROTOCOL, WEB, 1);
        let target = node.establish(flow);
        let payload = [7; 40_000];
        let from = answer_flow(&flow, target, 8_080);
        let question = Segment {
            payload: &payload,
            ..Segment::new(flow, tcp::ACK)
        };
        let answer = Segment {
            payload: &payload,
            ..Segment::new(from, tcp::ACK)
        };
        let host = [WEB_1, WEB_2][usize::from(target != backend(1, family))];
        let path = [TO_WEB_1, TO_WEB_2][usize::from(target != backend(1, family))];
        for (path, peer, packet, onward) in [
            (FROM_TOKYO, TOKYO, question.packet(), from.reversed()),
            (path, host, answer.packet(), flow.reversed()),
        ] {
            let of = |segment_len| Meta {
                peer,
                offload: Offload {
                    segment_len,
                    partial: true,
                },
                ..Meta::plain(PortId::tunnel(path))
            };
            let bytes = tunnelled(&packet, key_of(&flow));
            let outcome = node.batch(&[(of(INNER_MTU), bytes.clone())]);
            let (meta, sent) = outcome.only_sent();
            assert_eq!(meta.offload, of(INNER_MTU).offload);
            let expected = Segment {
                payload: &payload,
                ..Segment::new(onward, tcp::ACK)
            };
            assert_eq!(untunnelled(sent).1, with_ttl(&expected.packet(), 63));
            let outcome = node.batch(&[(of(9_001), bytes)]);
            assert_eq!(outcome.drops, [DropReason::TooBig]);
        }
    }
}

#[test]
fn a_client_straight_from_the_internet_is_served_and_answered_there() {
    for family in [Family::V4, Family::V6] {
        let mut node = node();
        let flow = client_flow(family, tcp::PROTOCOL, WEB, 1);
        let outcome = node.bare(PortId::PUBLIC, &segment(flow, tcp::SYN));
        let (_, bytes) = outcome.only_sent();
        let (key, inner) = untunnelled(bytes);
        assert_eq!(
            key,
            key_of(&flow),
            "the slot is the one that a POP would compute"
        );
        let target = sound(inner).flow.dst;
        let opened = Event::FlowOpened {
            flow,
            target,
            target_port: 8_080,
            pop: NodeId::UNKNOWN,
        };
        assert_eq!(outcome.events, [opened]);

        let outcome = node.answer(flow, target, tcp::SYN | tcp::ACK);
        let (meta, bytes) = outcome.only_sent();
        assert_eq!(meta, Meta::plain(PortId::PUBLIC));
        assert_eq!(
            bytes,
            with_ttl(&segment(flow.reversed(), tcp::SYN | tcp::ACK), 63)
        );
    }
}

#[test]
fn a_public_client_of_a_slot_that_another_node_owns_is_refused() {
    let mut table = routes();
    table.regions[0].slots = std::sync::Arc::clone(&table.regions[1].slots);
    let mut node = node_with(table);
    let outcome = node.bare(PortId::PUBLIC, &segment(web_flow(1), tcp::SYN));
    assert_eq!(outcome.only_drop(), DropReason::NoSlotOwner);
}
