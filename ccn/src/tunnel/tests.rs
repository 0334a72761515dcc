//! Packets that go into a tunnel, come out, and are refused.
//!
//! Each packet is built from nothing and stands in a pool of its own; what arrives is given the outer TOS
//! that its port would have read.

use anyedge_net::flow::{Address, FlowKey};
use anyedge_net::packet::{HEADROOM, Meta, Offload, Pool};
use anyedge_net::port::PortId;
use anyedge_net::wire::ecn::{CE, ECT_0, ECT_1, NOT_ECT};
use anyedge_net::wire::ip::{Header, header_len};
use anyedge_net::wire::udp;

use super::*;

const KEY: GreKey = GreKey::new(5, false, 60_000);
/// Expedited forwarding, DSCP 46.
const EF: u8 = 46 << 2;

fn ends(family: Family) -> (Address, Address) {
    let (client, vip) = match family {
        Family::V4 => ("198.51.100.7", "203.0.113.10"),
        Family::V6 => ("2001:db8:c::7", "2001:db8:113::10"),
    };
    (
        client.parse().expect("a literal address"),
        vip.parse().expect("a literal address"),
    )
}

/// A UDP packet with `payload`, on loan from a pool of its own.
fn packet(family: Family, tos: u8, payload: &[u8]) -> Packet {
    let (src, dst) = ends(family);
    let flow = FlowKey {
        src,
        dst,
        src_port: 40_000,
        dst_port: 7_000,
        protocol: udp::PROTOCOL,
    };
    let payload_len = udp::HEADER_LEN + payload.len();
    let header = Header {
        src,
        dst,
        protocol: udp::PROTOCOL,
        ttl: 64,
        tos,
        payload_len,
    };
    let mut bytes = vec![0; header_len(family) + payload_len];
    let at = header.write(&mut bytes);
    let datagram = &mut bytes[at..];
    udp::write_header(datagram, &flow, payload.len());
    datagram[udp::HEADER_LEN..].copy_from_slice(payload);
    udp::fill_checksum(datagram, src, dst);
    Pool::new(1)
        .lend_copy(&bytes, Meta::plain(PortId::PUBLIC))
        .expect("a fresh pool lends")
}

fn parsed(packet: &Packet) -> Parsed {
    wire::parse(packet.bytes()).expect("a well-formed packet")
}

/// `bytes` as they arrive from a tunnel whose outer header had `tos`.
fn arrived(bytes: &[u8], tos: u8) -> Packet {
    let meta = Meta {
        tos,
        ..Meta::plain(PortId::PUBLIC)
    };
    Pool::new(1)
        .lend_copy(bytes, meta)
        .expect("a fresh pool lends")
}

fn wrapped(family: Family, tos: u8) -> Packet {
    let mut packet = packet(family, tos, b"tick");
    let parsed = parsed(&packet);
    encapsulate(&mut packet, &parsed, KEY).expect("fresh packets have headroom");
    packet
}

#[test]
fn a_packet_comes_out_of_the_tunnel_as_it_went_in() {
    for (family, kind) in [(Family::V4, [0x08, 0x00]), (Family::V6, [0x86, 0xdd])] {
        let mut there = packet(family, EF | ECT_0, b"tick");
        let before = there.bytes().to_vec();
        let outline = parsed(&there);
        let tos = encapsulate(&mut there, &outline, KEY).expect("fresh packets have headroom");
        assert_eq!(
            tos,
            EF | ECT_0,
            "DSCP and ECN are copied to the outer header"
        );
        let gre = [0x20, 0x00, kind[0], kind[1], 0x00, 0x0a, 0xea, 0x60];
        assert_eq!(
            there.bytes(),
            [&gre[..], &before].concat(),
            "key 5 << 17 | 60,000"
        );

        let mut back = arrived(there.bytes(), tos);
        let inner = decapsulate(&mut back).expect("what we wrap we take out");
        assert_eq!(back.bytes(), before);
        assert_eq!(
            inner,
            Inner {
                key: KEY,
                parsed: parsed(&back),
                wire_len: before.len(),
            }
        );
    }
}

#[test]
fn a_congestion_mark_of_the_tunnel_reaches_the_inner_packet() {
    for family in [Family::V4, Family::V6] {
        for (inner, outer, left) in [
            (ECT_0, CE, CE),
            (ECT_1, CE, CE),
            (ECT_0, ECT_1, ECT_1),
            (NOT_ECT, ECT_0, NOT_ECT),
        ] {
            let mut packet = arrived(wrapped(family, EF | inner).bytes(), outer);
            let out = decapsulate(&mut packet).expect("no conflict");
            assert_eq!(out.parsed.tos, EF | left, "the inner DSCP stays");
            assert_eq!(
                parsed(&packet),
                out.parsed,
                "also on the wire, with a valid checksum"
            );
        }
    }
}

#[test]
fn a_mark_that_the_sender_cannot_hear_drops_the_packet() {
    let mut packet = arrived(wrapped(Family::V4, NOT_ECT).bytes(), CE);
    assert_eq!(decapsulate(&mut packet), Err(DropReason::EcnConflict));
}

#[test]
fn bytes_behind_the_inner_packet_are_cut_off() {
    let mut bytes = wrapped(Family::V6, 0).bytes().to_vec();
    let inner_len = bytes.len() - gre::HEADER_LEN;
    bytes.extend([0xee; 18]);
    let mut packet = arrived(&bytes, 0);
    decapsulate(&mut packet).expect("padding is harmless");
    assert_eq!(packet.len(), inner_len);
}

#[test]
fn a_header_that_is_not_ours_is_bad_gre() {
    let good = wrapped(Family::V4, 0).bytes().to_vec();
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let without_key = [&[0, 0, 0x08, 0x00], &good[gre::HEADER_LEN..]].concat();
    let cases = [
        ("empty", Vec::new()),
        ("cut in the header", good[..7].to_vec()),
        ("no key", without_key),
        ("version 1", with(1, 1)),
        ("routing present", with(0, 0x60)),
        ("a type that is not IP", with(2, 0x65)),
        (
            "IPv6 announced, IPv4 inside",
            [&[0x20, 0, 0x86, 0xdd], &good[4..]].concat(),
        ),
    ];
    for (what, bytes) in cases {
        assert_eq!(
            decapsulate(&mut arrived(&bytes, 0)),
            Err(DropReason::BadGre),
            "{what}"
        );
    }
}

#[test]
fn an_inner_packet_that_does_not_parse_is_malformed() {
    let good = wrapped(Family::V4, 0).bytes().to_vec();
    let mut wrong_checksum = good.clone();
    wrong_checksum[gre::HEADER_LEN + 10] ^= 1;
    for bytes in [
        &good[..gre::HEADER_LEN],
        &good[..good.len() - 1],
        &wrong_checksum,
    ] {
        assert_eq!(
            decapsulate(&mut arrived(bytes, 0)),
            Err(DropReason::Malformed)
        );
    }
}

#[test]
fn a_packet_without_room_in_front_is_not_wrapped() {
    let mut packet = packet(Family::V4, 0, b"tick");
    let parsed = parsed(&packet);
    packet
        .push_front(HEADROOM - 7)
        .expect("all but seven bytes of the headroom");
    let before = packet.len();
    assert_eq!(
        encapsulate(&mut packet, &parsed, KEY),
        Err(DropReason::NoHeadroom)
    );
    assert_eq!(packet.len(), before);
}

#[test]
fn a_super_packet_goes_through_whole_and_is_as_long_as_its_segments() {
    let offload = Offload {
        segment_len: 100,
        partial: true,
    };
    let mut packet = wrapped(Family::V4, EF);
    packet.meta.offload = offload;
    let mut back = arrived(packet.bytes(), EF);
    back.meta.offload = offload;
    let inner = decapsulate(&mut back).expect("what we wrap we take out");
    assert_eq!((inner.wire_len, back.meta.offload), (100, offload));
}
