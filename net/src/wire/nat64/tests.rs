//! Packets and errors that change family: there and back, by hand, and whatever bytes come.

use proptest::prelude::*;

use super::*;
use crate::packet::{Meta, Offload, Pool};
use crate::port::PortId;
use crate::wire;
use crate::wire::sample::{self, address, sound};

const PUBLIC: Meta = Meta::plain(PortId::PUBLIC);

/// What the flow of `sample::flow` in IPv6 becomes.
fn ends_v4(protocol: u8) -> FlowKey {
    FlowKey {
        src: address("10.0.9.1"),
        dst: address("10.0.0.11"),
        src_port: 10_024,
        dst_port: 8_080,
        protocol,
    }
}

fn lend(bytes: &[u8], offload: Offload) -> Packet {
    let meta = Meta { offload, ..PUBLIC };
    Pool::new(1).lend_copy(bytes, meta).expect("a slot is free")
}

fn translated(bytes: &[u8], ends: &FlowKey) -> Packet {
    let mut packet = lend(bytes, Offload::NONE);
    let parsed = wire::parse(bytes).expect("a sound packet");
    let now = translate(&mut packet, &parsed, ends).expect("it can be translated");
    assert_eq!(now, wire::parse(packet.bytes()).expect("and is sound"));
    packet
}

#[test]
fn a_segment_loses_20_bytes_and_keeps_what_it_says() {
    let flow = sample::flow(Family::V6, tcp::PROTOCOL);
    let bytes = sample::tcp_packet(&flow, tcp::ACK, &[1, 1, 1, 1], b"hello");
    let packet = translated(&bytes, &ends_v4(tcp::PROTOCOL));
    assert_eq!(packet.len() + usize::from(GROWTH), bytes.len());
    let parsed = sound(packet.bytes());
    assert_eq!(parsed.flow, ends_v4(tcp::PROTOCOL));
    assert!(parsed.dont_fragment);
    assert_eq!(tcp::payload(packet.bytes(), &parsed), Some(&b"hello"[..]));
    assert_eq!(tcp::sequence(packet.bytes(), &parsed), 1_000);
}

proptest! {
    #[test]
    fn there_and_back_is_the_packet_itself(
        is_tcp in any::<bool>(),
        payload in proptest::collection::vec(any::<u8>(), 0..64),
        tos in any::<u8>(),
        ends in (any::<[u8; 4]>(), any::<[u8; 4]>(), any::<(u16, u16)>()),
    ) {
        let protocol = if is_tcp { tcp::PROTOCOL } else { udp::PROTOCOL };
        let flow = sample::flow(Family::V6, protocol);
        let whole = sample::packet(&flow, &payload);
        let bytes = sample::ip_packet(&flow, tos, 17, &whole[40..]);
        let ends = FlowKey {
            src: Address::v4(ends.0),
            dst: Address::v4(ends.1),
            src_port: ends.2.0,
            dst_port: ends.2.1,
            protocol,
        };
        let there = translated(&bytes, &ends);
        let parsed = sound(there.bytes());
        prop_assert_eq!((parsed.tos, parsed.ttl), (tos, 17));
        let back = translated(there.bytes(), &flow);
        prop_assert_eq!(back.bytes(), &bytes[..]);
    }
}

#[test]
fn options_and_extension_headers_are_left_out() {
    let flow = sample::flow(Family::V6, udp::PROTOCOL);
    let bytes = sample::udp_packet(&flow, b"tick");
    // Hop-by-hop, padded.
    let extended = sample::with_extensions(&bytes, 0, &[udp::PROTOCOL, 0, 1, 4, 0, 0, 0, 0]);
    let ends = ends_v4(udp::PROTOCOL);
    assert_eq!(
        translated(&extended, &ends).bytes(),
        translated(&bytes, &ends).bytes()
    );
}

#[test]
fn a_datagram_without_a_checksum_gets_one() {
    let ends = ends_v4(udp::PROTOCOL);
    let mut bytes = sample::udp_packet(&ends, b"tick");
    bytes[26..28].fill(0);
    let flow = sample::flow(Family::V6, udp::PROTOCOL);
    let packet = translated(&bytes, &flow);
    assert_eq!(sound(packet.bytes()).flow, flow);
}

#[test]
fn fragments_stay_fragments_but_one_whose_checksum_nobody_could_make() {
    let flow = sample::flow(Family::V6, udp::PROTOCOL);
    let ends = ends_v4(udp::PROTOCOL);
    let whole = sample::udp_packet(&flow, &[7; 64]);
    let l4 = &whole[40..];
    let piece = |offset: u16, more| Fragment {
        id: 0x1234_5678,
        offset,
        more,
        protocol: udp::PROTOCOL,
    };
    let cut = |l4: &[u8], piece: &Fragment| {
        let header = Header {
            src: flow.src,
            dst: flow.dst,
            protocol: udp::PROTOCOL,
            ttl: 64,
            tos: 0,
            payload_len: l4.len(),
        };
        let mut bytes = vec![0; fragment::header_len(Family::V6)];
        fragment::write_header(&mut bytes, &header, piece);
        bytes.extend_from_slice(l4);
        bytes
    };
    let first = cut(&l4[..32], &piece(0, true));
    let last = cut(&l4[32..], &piece(32, false));
    let mut joined = Vec::new();
    for (bytes, place) in [(&first, piece(0, true)), (&last, piece(32, false))] {
        let mut packet = lend(bytes, Offload::NONE);
        let mut parsed = wire::parse(bytes).expect("a sound fragment");
        parsed.flow = flow; // as whoever keeps track of fragments knows
        translate(&mut packet, &parsed, &ends).expect("it can be translated");
        let now = wire::parse(packet.bytes()).expect("and is sound");
        let id = place.id & 0xffff;
        assert_eq!(now.fragment, Some(Fragment { id, ..place }));
        joined.extend_from_slice(now.l4(packet.bytes()));
    }
    sound(&sample::ip_packet(&ends, 0, 64, &joined));

    let mut unsummed = sample::udp_packet(&ends, &[7; 24]);
    unsummed[26..28].fill(0);
    unsummed[6] = 0x20; // more fragments
    sample::seal_v4(&mut unsummed);
    let mut packet = lend(&unsummed, Offload::NONE);
    let parsed = wire::parse(&unsummed).expect("a sound fragment");
    assert_eq!(translate(&mut packet, &parsed, &flow), None);
    assert_eq!(packet.bytes(), unsummed);
}

#[test]
fn a_super_packet_stands_for_packets_of_the_new_length() {
    let flow = sample::flow(Family::V6, tcp::PROTOCOL);
    let bytes = sample::tcp_packet(&flow, tcp::ACK, &[], &[7; 3_000]);
    let offload = Offload {
        segment_len: 1_060,
        partial: true,
    };
    let mut packet = lend(&bytes, offload);
    let parsed = wire::parse(&bytes).expect("a sound packet");
    translate(&mut packet, &parsed, &ends_v4(tcp::PROTOCOL)).expect("it can be translated");
    let now = wire::parse(packet.bytes()).expect("it is sound");
    assert_eq!(packet.meta.offload.segment_len, 1_040);
    translate(&mut packet, &now, &flow).expect("and back");
    assert_eq!(packet.meta.offload, offload);
    assert_eq!(packet.len(), bytes.len());
}

/// An error of `family` about `sent`, quoted whole, with these first bytes.
fn error(head: [u8; 8], sent: &FlowKey) -> Vec<u8> {
    let family = sent.family();
    let protocol = match family {
        Family::V4 => icmp::PROTOCOL_V4,
        Family::V6 => icmp::PROTOCOL_V6,
    };
    let flow = FlowKey {
        protocol,
        src_port: 0,
        dst_port: 0,
        ..sent.reversed()
    };
    let mut message = head.to_vec();
    message.extend_from_slice(&sample::packet(sent, b"what it was about"));
    icmp::fill_checksum(&mut message, flow.src, flow.dst);
    sample::ip_packet(&flow, 0, 60, &message)
}

/// What an error of the other family says, with the packet that it quotes.
fn retold(head: [u8; 8], sent: &FlowKey, as_sent: &FlowKey) -> Option<(Vec<u8>, Parsed)> {
    let bytes = error(head, sent);
    let parsed = wire::parse(&bytes).expect("a sound error");
    let mut out = [0; icmp::ERROR_LEN_MAX];
    let len = write_error(&bytes, &parsed, as_sent.dst, as_sent, &mut out);
    (len > 0).then(|| (out[..len].to_vec(), sound(&out[..len])))
}

#[test]
fn errors_are_told_in_the_other_family_about_the_packet_as_it_was_sent() {
    for protocol in [tcp::PROTOCOL, udp::PROTOCOL] {
        let (v6, v4) = (sample::flow(Family::V6, protocol), ends_v4(protocol));
        for (sent, as_sent, head, wanted) in [
            (v4, v6, [3, 4, 0, 0, 0, 0, 0x05, 0x78], (2, 0)),
            (v4, v6, [3, 3, 0, 0, 0, 0, 0, 0], (1, 4)),
            (v4, v6, [3, 1, 0, 0, 0, 0, 0, 0], (1, 0)),
            (v4, v6, [3, 13, 0, 0, 0, 0, 0, 0], (1, 1)),
            (v4, v6, [11, 0, 0, 0, 0, 0, 0, 0], (3, 0)),
            (v6, v4, [2, 0, 0, 0, 0, 0, 0x05, 0x78], (3, 4)),
            (v6, v4, [1, 4, 0, 0, 0, 0, 0, 0], (3, 3)),
            (v6, v4, [1, 0, 0, 0, 0, 0, 0, 0], (3, 1)),
            (v6, v4, [1, 1, 0, 0, 0, 0, 0, 0], (3, 10)),
            (v6, v4, [3, 0, 0, 0, 0, 0, 0, 0], (11, 0)),
        ] {
            let (bytes, parsed) = retold(head, &sent, &as_sent).expect("it has a counterpart");
            assert_eq!(icmp::kind(&bytes, &parsed), Some(wanted));
            let ends = (parsed.flow.src, parsed.flow.dst);
            assert_eq!(ends, (as_sent.dst, as_sent.src));
            let quote = icmp::quoted(&bytes, &parsed).expect("an error");
            assert_eq!(
                sound(quote).flow,
                as_sent,
                "quoted whole, its checksum is right"
            );
        }
        for (sent, as_sent, mtu) in [(v4, v6, 1_420), (v6, v4, 1_380)] {
            let head = [if sent == v4 { 3 } else { 2 }, 4, 0, 0, 0, 0, 0x05, 0x78];
            let (bytes, parsed) = retold(head, &sent, &as_sent).expect("it has a counterpart");
            assert_eq!(icmp::too_big_mtu(&bytes, &parsed), Some(mtu));
        }
        assert!(retold([3, 2, 0, 0, 0, 0, 0, 0], &v4, &v6).is_none());
        assert!(retold([12, 0, 0, 0, 0, 0, 0, 0], &v4, &v6).is_none());
        assert!(retold([4, 0, 0, 0, 0, 0, 0, 0], &v6, &v4).is_none());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_an_error_that_panics(
        family in sample::any_family(),
        head in any::<[u8; 8]>(),
        body in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let bytes = sample::icmp_packet(family, head, &body);
        let parsed = wire::parse(&bytes).expect("a sound message");
        let sent = match family {
            Family::V4 => sample::flow(Family::V6, udp::PROTOCOL),
            Family::V6 => ends_v4(udp::PROTOCOL),
        };
        let mut out = [0; icmp::ERROR_LEN_MAX];
        let len = write_error(&bytes, &parsed, sent.dst, &sent, &mut out);
        if len > 0 {
            sound(&out[..len]);
        }
    }
}
