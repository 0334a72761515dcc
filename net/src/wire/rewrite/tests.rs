//! Tests of rewriting: every incremental checksum against a full one.

use proptest::prelude::*;

use super::*;
use crate::flow::FlowKey;
use crate::wire::parse;
use crate::wire::sample::*;

#[test]
fn an_absent_udp_checksum_stays_absent() {
    let flow = flow(Family::V4, udp::PROTOCOL);
    let mut packet = udp_packet(&flow, b"data");
    packet[26..28].fill(0);
    let parsed = parse(&packet).expect("a valid packet");
    set_destination(&mut packet, &parsed, address("10.0.0.5"), 8_080);
    assert_eq!(packet[26..28], [0, 0]);
    assert_eq!(parse(&packet).map(|parsed| parsed.flow.dst_port), Ok(8_080));
}

#[test]
fn a_udp_checksum_that_becomes_zero_is_sent_as_all_ones() {
    for family in [Family::V4, Family::V6] {
        let flow = flow(family, udp::PROTOCOL);
        let mut packet = udp_packet(&flow, b"data");
        let parsed = sound(&packet);
        let at = usize::from(parsed.l4_offset) + udp::CHECKSUM_AT;
        // The port that takes up the present checksum brings the sum to all ones.
        let check = read16(&packet, at);
        let sum = u32::from(flow.src_port) + u32::from(check);
        let port = (sum + (sum >> 16)) as u16;
        set_source(&mut packet, &parsed, flow.src, port);
        assert_eq!(packet[at..at + 2], [0xff, 0xff]);
        sound(&packet);
    }
}

#[test]
fn a_later_fragment_changes_its_address_alone() {
    let flow = flow(Family::V4, tcp::PROTOCOL);
    let mut packet = ip_packet(&flow, 0, 64, &[0x55; 24]);
    packet[6..8].copy_from_slice(&[0, 3]);
    seal_v4(&mut packet);
    let parsed = parse(&packet).expect("a later fragment");
    set_source(&mut packet, &parsed, address("10.9.8.7"), 1);
    set_destination(&mut packet, &parsed, address("10.0.0.5"), 2);
    assert_eq!(packet[20..], [0x55; 24]);
    let changed = parse(&packet).expect("a valid header checksum").flow;
    assert_eq!(
        (changed.src, changed.dst),
        (address("10.9.8.7"), address("10.0.0.5"))
    );
}

#[test]
fn reassembled_fragments_have_a_valid_checksum_after_nat() {
    let flow = flow(Family::V4, udp::PROTOCOL);
    let whole = udp_packet(&flow, &[9; 40]);
    let mut first = whole[..44].to_vec();
    first[2..4].copy_from_slice(&44_u16.to_be_bytes());
    first[6] = 0x20;
    seal_v4(&mut first);
    let parsed = parse(&first).expect("a first fragment");
    let target = address("10.0.0.5");
    set_destination(&mut first, &parsed, target, 8_443);

    let mut datagram = first[20..].to_vec();
    datagram.extend_from_slice(&whole[44..]);
    assert_eq!(
        checksum::transport(flow.src, target, udp::PROTOCOL, &datagram),
        0
    );
}

#[test]
fn icmp_v6_keeps_a_valid_checksum() {
    for family in [Family::V4, Family::V6] {
        let mut packet = icmp_packet(family, [128, 0, 0, 0, 1, 2, 3, 4], b"ping");
        let parsed = sound(&packet);
        let target = flow(family, 0).dst;
        set_source(&mut packet, &parsed, target, 77);
        assert_eq!(sound(&packet).flow.src, target);
    }
}

#[test]
fn a_packet_at_its_last_hop_is_left_alone() {
    for family in [Family::V4, Family::V6] {
        let flow = flow(family, 99);
        for ttl in [0, 1] {
            let mut packet = ip_packet(&flow, 0, ttl, b"");
            let before = packet.clone();
            let parsed = parse(&packet).expect("a valid packet");
            assert!(!decrement_ttl(&mut packet, &parsed));
            assert_eq!(packet, before);
        }
    }
}

proptest! {
    #[test]
    fn rewritten_packets_equal_packets_built_anew(
        (from, to) in any_family().prop_flat_map(|family| {
            let flow = || any_flow().prop_filter("one family", move |flow| flow.family() == family);
            (flow(), flow())
        }),
        payload in proptest::collection::vec(any::<u8>(), 0..80),
        source_first: bool,
    ) {
        let to = FlowKey { protocol: from.protocol, ..to };
        let mut bytes = packet(&from, &payload);
        let parsed = sound(&bytes);
        if source_first {
            set_source(&mut bytes, &parsed, to.src, to.src_port);
            set_destination(&mut bytes, &parsed, to.dst, to.dst_port);
        } else {
            set_destination(&mut bytes, &parsed, to.dst, to.dst_port);
            set_source(&mut bytes, &parsed, to.src, to.src_port);
        }
        prop_assert_eq!(sound(&bytes).flow, to);
        prop_assert_eq!(bytes, packet(&to, &payload));
    }

    #[test]
    fn ttl_and_tos_keep_the_header_valid(flow in any_flow(), ttl in 2_u8.., tos: u8, new_tos: u8) {
        let mut bytes = ip_packet(&FlowKey { protocol: 99, ..flow }, tos, ttl, b"payload");
        let parsed = parse(&bytes).expect("a valid packet");
        prop_assert!(decrement_ttl(&mut bytes, &parsed));
        set_tos(&mut bytes, &parsed, new_tos);
        let changed = parse(&bytes).expect("a valid packet");
        prop_assert_eq!((changed.ttl, changed.tos), (ttl - 1, new_tos));
        let back = ip_packet(&changed.flow, new_tos, ttl - 1, b"payload");
        prop_assert_eq!(&bytes[20..], &back[20..]);
    }

    #[test]
    fn there_and_back_is_the_same_packet(flow in any_flow(), port: u16) {
        let original = packet(&flow, b"payload");
        let mut bytes = original.clone();
        let parsed = sound(&bytes);
        let elsewhere = flow.dst;
        set_source(&mut bytes, &parsed, elsewhere, port);
        set_source(&mut bytes, &parsed, flow.src, flow.src_port);
        prop_assert_eq!(bytes, original);
    }
}
