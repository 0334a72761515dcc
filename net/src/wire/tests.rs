//! Tests of `parse`: what it reads, and everything that it refuses.

use proptest::prelude::*;

use super::sample::*;
use super::*;

const FRAGMENT: u8 = 44;

#[test]
fn a_v4_segment_is_read_with_options_and_padding() {
    let flow = flow(Family::V4, tcp::PROTOCOL);
    let plain = tcp_packet(&flow, tcp::SYN | tcp::ECE, &[2, 4, 5, 0xb4], b"");
    let mut packet = plain.clone();
    packet.splice(20..20, [1, 1, 1, 0]);
    packet[0] = 0x46;
    packet[1] = 0xb8;
    packet[2..4].copy_from_slice(&48_u16.to_be_bytes());
    seal_v4(&mut packet);
    packet.extend_from_slice(b"link padding");

    let parsed = parse(&packet).expect("a valid packet");
    let expected = Parsed {
        flow,
        family: Family::V4,
        l4_offset: 24,
        l4_len: 24,
        total_len: 48,
        ttl: 64,
        tos: 0xb8,
        fragment: None,
        dont_fragment: true,
        tcp_flags: tcp::SYN | tcp::ECE,
    };
    assert_eq!(parsed, expected);
    assert_eq!(parsed.l4(&packet), &plain[20..]);
}

#[test]
fn every_cut_of_a_packet_is_refused() {
    for family in [Family::V4, Family::V6] {
        for packet in [
            tcp_packet(&flow(family, tcp::PROTOCOL), tcp::ACK, &[1; 8], b"data"),
            udp_packet(&flow(family, udp::PROTOCOL), b"data"),
        ] {
            for len in 0..packet.len() {
                assert!(parse(&packet[..len]).is_err(), "{len} of {}", packet.len());
            }
        }
    }
    assert_eq!(parse(&[]), Err(ParseError::Truncated));
    assert_eq!(parse(&[0x50; 64]), Err(ParseError::BadVersion));
}

#[test]
fn every_flipped_bit_of_a_v4_header_is_refused() {
    let packet = udp_packet(&flow(Family::V4, udp::PROTOCOL), b"data");
    for bit in 0..20 * 8 {
        let mut broken = packet.clone();
        broken[bit / 8] ^= 0x80 >> (bit % 8);
        assert!(parse(&broken).is_err(), "bit {bit}");
    }
}

#[test]
fn lengths_that_lie_are_refused() {
    let packet = udp_packet(&flow(Family::V4, udp::PROTOCOL), b"data");
    let with = |at: usize, value: [u8; 2]| {
        let mut broken = packet.clone();
        broken[at..at + 2].copy_from_slice(&value);
        seal_v4(&mut broken);
        parse(&broken).err()
    };
    assert_eq!(with(2, [0, 19]), Some(ParseError::BadTotalLength));
    assert_eq!(with(2, [0, 33]), Some(ParseError::BadTotalLength));
    assert_eq!(with(2, [0, 27]), Some(ParseError::Truncated));
    for udp_len in [0, 7, 11, 13] {
        assert_eq!(with(24, [0, udp_len]), Some(ParseError::BadTotalLength));
    }

    let mut short = packet.clone();
    short[0] = 0x44;
    assert_eq!(parse(&short), Err(ParseError::BadHeaderLength));
}

#[test]
fn a_tcp_header_must_be_inside_its_packet() {
    for family in [Family::V4, Family::V6] {
        let packet = tcp_packet(&flow(family, tcp::PROTOCOL), tcp::ACK, &[], b"data");
        let offset_at = packet.len() - 4 - 20 + 12;
        for (words, expected) in [
            (4, Some(ParseError::BadHeaderLength)),
            (5, None),
            (6, None),
            (7, Some(ParseError::Truncated)),
        ] {
            let mut packet = packet.clone();
            packet[offset_at] = words << 4;
            assert_eq!(parse(&packet).err(), expected, "{words} words");
        }
    }
}

#[test]
fn icmp_needs_eight_bytes_and_has_no_ports() {
    for family in [Family::V4, Family::V6] {
        let packet = icmp_packet(family, [8, 0, 0, 0, 1, 2, 3, 4], b"");
        let parsed = parse(&packet).expect("a valid packet");
        assert_eq!((parsed.flow.src_port, parsed.flow.dst_port), (0, 0));
        let short = ip_packet(&parsed.flow, 0, 64, &[8, 0, 0, 0, 1, 2, 3]);
        assert_eq!(parse(&short), Err(ParseError::Truncated));
    }
}

#[test]
fn v4_fragments_have_a_position_and_only_the_first_has_ports() {
    let flow = flow(Family::V4, udp::PROTOCOL);
    let mut first = udp_packet(&flow, &[7; 56]);
    first[24..26].copy_from_slice(&1_000_u16.to_be_bytes()); // the whole datagram is longer
    first[4..8].copy_from_slice(&[0xab, 0xcd, 0x20, 0x00]);
    seal_v4(&mut first);
    let parsed = parse(&first).expect("a first fragment");
    assert!(parsed.is_first_fragment() && !parsed.is_later_fragment());
    assert_eq!(parsed.flow, flow);

    let mut later = first.clone();
    later[6..8].copy_from_slice(&[0x20, 0x08]);
    seal_v4(&mut later);
    let parsed = parse(&later).expect("a later fragment");
    assert!(parsed.is_later_fragment() && !parsed.is_first_fragment());
    assert_eq!((parsed.flow.src_port, parsed.flow.dst_port), (0, 0));
    let expected = Fragment {
        id: 0xabcd,
        offset: 64,
        more: true,
        protocol: udp::PROTOCOL,
    };
    assert_eq!(parsed.fragment, Some(expected));
}

#[test]
fn fragments_that_no_sender_makes_are_refused() {
    let flow = flow(Family::V4, 99);
    let fragment = |position: u16, payload: &[u8]| {
        let mut packet = ip_packet(&flow, 0, 64, payload);
        packet[6..8].copy_from_slice(&position.to_be_bytes());
        seal_v4(&mut packet);
        parse(&packet).map(|parsed| parsed.l4_len)
    };
    assert_eq!(fragment(0x2001, &[0; 12]), Err(ParseError::BadFragment));
    assert_eq!(fragment(0x2001, &[]), Err(ParseError::BadFragment));
    assert_eq!(fragment(0x1fff, &[0; 8]), Err(ParseError::BadFragment));
    assert_eq!(fragment(0x1fff, &[0; 7]), Ok(7));
    assert_eq!(fragment(0x2001, &[0; 16]), Ok(16));
}

#[test]
fn v6_extension_headers_are_walked() {
    let flow = flow(Family::V6, tcp::PROTOCOL);
    let packet = tcp_packet(&flow, tcp::SYN, &[], b"");
    let hop_by_hop = [43, 0, 1, 4, 0, 0, 0, 0];
    let routing = [60, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let destination = [6, 0, 5, 2, 0, 0, 1, 0];
    let extensions = [&hop_by_hop[..], &routing, &destination].concat();
    let parsed = parse(&with_extensions(&packet, 0, &extensions)).expect("three extension headers");
    assert_eq!((parsed.l4_offset, parsed.flow), (72, flow));
    assert_eq!((parsed.tcp_flags, parsed.fragment), (tcp::SYN, None));
}

#[test]
fn v6_extension_headers_that_are_wrong_are_refused() {
    let packet = tcp_packet(&flow(Family::V6, tcp::PROTOCOL), tcp::SYN, &[], b"");
    let refused =
        |first: u8, extensions: &[u8]| parse(&with_extensions(&packet, first, extensions)).err();
    let bad = Some(ParseError::BadExtensionHeader);
    assert_eq!(
        refused(60, &[0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0]),
        bad
    ); // late hop-by-hop
    assert_eq!(refused(43, &[6, 0, 0, 1, 0, 0, 0, 0]), bad); // a segment left
    assert_eq!(refused(60, &[6, 0, 1, 5, 0, 0, 0, 0]), bad); // an option beyond its header
    assert_eq!(refused(60, &[6, 0, 1, 3, 0, 0, 0, 1]), bad); // a last option without length
    assert_eq!(
        refused(60, &[6, 200, 1, 4, 0, 0, 0, 0]),
        Some(ParseError::Truncated)
    );
    let two_fragments = [44, 0, 0, 0, 0, 0, 0, 9, 6, 0, 0, 0, 0, 0, 0, 9];
    assert_eq!(refused(FRAGMENT, &two_fragments), bad);
    let padding = [vec![6, 2, 0], vec![0; 21]].concat();
    assert_eq!(refused(60, &padding), bad); // 22 options
}

#[test]
fn eight_extension_headers_are_walked_and_nine_are_not() {
    let packet = udp_packet(&flow(Family::V6, udp::PROTOCOL), b"");
    let chain = |count: usize| {
        let mut bytes = [60, 0, 1, 4, 0, 0, 0, 0].repeat(count);
        bytes[(count - 1) * 8] = udp::PROTOCOL;
        parse(&with_extensions(&packet, 60, &bytes)).map(|parsed| parsed.l4_offset)
    };
    assert_eq!(chain(8), Ok(104));
    assert_eq!(chain(9), Err(ParseError::BadExtensionHeader));
}

#[test]
fn jumbograms_are_refused() {
    let mut packet = udp_packet(&flow(Family::V6, udp::PROTOCOL), b"");
    let jumbo = [17, 0, 0xc2, 4, 0, 1, 0, 0];
    assert_eq!(
        parse(&with_extensions(&packet, 0, &jumbo)),
        Err(ParseError::BadTotalLength)
    );
    packet[4..7].copy_from_slice(&[0, 0, 0]);
    assert_eq!(parse(&packet), Err(ParseError::BadTotalLength));
}

#[test]
fn v6_fragments_are_known_and_atomic_ones_are_whole() {
    let flow = flow(Family::V6, udp::PROTOCOL);
    let packet = udp_packet(&flow, &[0; 8]);
    let fragment = |position: u16| {
        let [high, low] = position.to_be_bytes();
        parse(&with_extensions(
            &packet,
            FRAGMENT,
            &[17, 0, high, low, 1, 2, 3, 4],
        ))
    };
    let atomic = fragment(0).expect("an atomic fragment");
    assert_eq!(
        (atomic.fragment, atomic.flow, atomic.l4_offset),
        (None, flow, 48)
    );

    let first = fragment(1).expect("a first fragment");
    assert!(first.is_first_fragment());
    assert_eq!(first.flow, flow);

    let later = fragment(64).expect("a last fragment");
    let expected = Fragment {
        id: 0x0102_0304,
        offset: 64,
        more: false,
        protocol: udp::PROTOCOL,
    };
    assert_eq!((later.fragment, later.flow.src_port), (Some(expected), 0));
}

proptest! {
    #[test]
    fn what_is_built_is_parsed(flow in any_flow(), tos: u8, ttl: u8, payload in proptest::collection::vec(any::<u8>(), 0..64)) {
        let built = packet(&flow, &payload);
        let l4 = &built[super::ip::header_len(flow.family())..];
        let built = ip_packet(&flow, tos, ttl, l4);
        let parsed = sound(&built);
        prop_assert_eq!((parsed.flow, parsed.tos, parsed.ttl), (flow, tos, ttl));
        prop_assert_eq!(parsed.total_len, built.len());
        prop_assert!(parsed.l4(&built).ends_with(&payload));
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 4_u8..7, next in 0_u8..64) {
        if let Some(first) = bytes.first_mut() {
            *first = version << 4 | *first & 0x0f;
        }
        if bytes.len() > 40 && version == 6 {
            bytes[4] = 0;
            bytes[5] = (bytes.len() - 40) as u8;
            bytes[6] = next;
        }
        if let Ok(parsed) = parse(&bytes) {
            let end = usize::from(parsed.l4_offset) + usize::from(parsed.l4_len);
            prop_assert_eq!(end, parsed.total_len);
            prop_assert!(parsed.total_len <= bytes.len());
        }
    }

    #[test]
    fn a_changed_byte_never_panics_and_never_moves_the_end(flow in any_flow(), at: prop::sample::Index, value: u8) {
        let mut bytes = packet(&flow, b"payload");
        let at = at.index(bytes.len());
        bytes[at] = value;
        if bytes[0] >> 4 == 4 {
            seal_v4_if_possible(&mut bytes);
        }
        if let Ok(parsed) = parse(&bytes) {
            prop_assert!(parsed.total_len <= bytes.len());
        }
    }
}

fn seal_v4_if_possible(bytes: &mut [u8]) {
    let header_len = usize::from(bytes[0] & 0x0f) * 4;
    if (20..=bytes.len()).contains(&header_len) {
        seal_v4(bytes);
    }
}
