//! Tests of where headers end.

use proptest::prelude::*;

use super::*;
use crate::flow::FlowKey;
use crate::wire::gre::GreKey;
use crate::wire::{icmp, sample::*};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// `packet` in a tunnel, as a port sends it.
fn tunnelled(packet: &[u8], encap: Encap, underlay: Family) -> Vec<u8> {
    let carried = match packet[0] >> 4 {
        4 => gre::PROTOCOL_IPV4,
        _ => gre::PROTOCOL_IPV6,
    };
    let mut inner = vec![0; gre::HEADER_LEN];
    gre::write(&mut inner, carried, GreKey::new(7, false, 9));
    inner.extend_from_slice(packet);
    match encap {
        Encap::Gre => ip_packet(&flow(underlay, gre::PROTOCOL), 0, 64, &inner),
        Encap::GreUdp => {
            let flow = FlowKey {
                dst_port: udp::PORT_GRE,
                ..flow(underlay, udp::PROTOCOL)
            };
            udp_packet(&flow, &inner)
        }
        Encap::Plain => unreachable!("there is no tunnel"),
        Encap::Grpc | Encap::Quic => unreachable!("a connection has no outer packets of its own"),
    }
}

#[test]
fn inner_mtus_of_a_1500_byte_link_are_the_documented_ones() {
    let inner_mtu = |encap, underlay| inner_mtu(encap, underlay, 1_500);
    assert_eq!(inner_mtu(Encap::Gre, Family::V4), 1_472);
    assert_eq!(inner_mtu(Encap::Gre, Family::V6), 1_452);
    assert_eq!(inner_mtu(Encap::GreUdp, Family::V4), 1_464);
    assert_eq!(inner_mtu(Encap::GreUdp, Family::V6), 1_444);
    assert_eq!(inner_mtu(Encap::Grpc, Family::V6), 1_500);
    assert_eq!(overhead(Encap::Grpc, Family::V4), 90);
    assert_eq!(inner_mtu(Encap::Plain, Family::V6), 1_500);
    assert_eq!(overhead(Encap::Plain, Family::V4), 0);
    assert_eq!(inner_mtu(Encap::Quic, Family::V4), 1_426);
    assert_eq!(inner_mtu(Encap::Quic, Family::V6), 1_406);
    assert_eq!(overhead(Encap::Quic, Family::V4), 74);
}

#[test]
fn headers_end_where_the_payload_starts_at_every_nesting() {
    for family in FAMILIES {
        let ip = ip::header_len(family);
        let plain = [
            (
                tcp_packet(&flow(family, tcp::PROTOCOL), tcp::ACK, &[1; 12], &[9; 500]),
                ip + 32,
            ),
            (udp_packet(&flow(family, udp::PROTOCOL), &[9; 500]), ip + 8),
            (
                icmp_packet(family, [8, 0, 0, 0, 0, 0, 0, 0], &[9; 500]),
                ip + 8,
            ),
            (ip_packet(&flow(family, 99), 0, 64, &[9; 500]), ip),
        ];
        for (packet, expected) in plain {
            assert_eq!(header_bytes(&packet), expected);
            for encap in [Encap::Gre, Encap::GreUdp] {
                for underlay in FAMILIES {
                    let outer = tunnelled(&packet, encap, underlay);
                    assert_eq!(outer.len(), packet.len() + overhead(encap, underlay));
                    assert_eq!(header_bytes(&outer), expected + overhead(encap, underlay));
                }
            }
        }
    }
}

#[test]
fn a_third_ip_header_is_payload() {
    let packet = udp_packet(&flow(Family::V4, udp::PROTOCOL), &[9; 100]);
    let twice = tunnelled(
        &tunnelled(&packet, Encap::Gre, Family::V4),
        Encap::Gre,
        Family::V4,
    );
    assert_eq!(header_bytes(&twice), 28 + 20);
    let twice = tunnelled(
        &tunnelled(&packet, Encap::GreUdp, Family::V4),
        Encap::Gre,
        Family::V4,
    );
    assert_eq!(header_bytes(&twice), 28 + 28);
}

#[test]
fn a_later_fragment_has_its_ip_header_alone() {
    let mut packet = ip_packet(&flow(Family::V4, tcp::PROTOCOL), 0, 64, &[9; 200]);
    packet[6..8].copy_from_slice(&[0, 4]);
    assert_eq!(header_bytes(&packet), 20);
    let whole = ip_packet(&flow(Family::V6, icmp::PROTOCOL_V6), 0, 64, &[9; 200]);
    assert_eq!(
        header_bytes(&with_extensions(&whole, 44, &[58, 0, 0, 8, 0, 0, 0, 1])),
        48
    );
    assert_eq!(
        header_bytes(&with_extensions(&whole, 44, &[58, 0, 0, 1, 0, 0, 0, 1])),
        56
    );
}

#[test]
fn garbage_is_64_bytes_or_all_there_is() {
    assert_eq!(header_bytes(&[]), 0);
    assert_eq!(header_bytes(&[0xff; 10]), 10);
    assert_eq!(header_bytes(&[0xff; 1_000]), 64);
    let packet = udp_packet(&flow(Family::V4, udp::PROTOCOL), &[0x77; 400]);
    let mut tunnelled = tunnelled(&packet, Encap::Gre, Family::V4);
    tunnelled[28] = 0;
    assert_eq!(header_bytes(&tunnelled), 64, "garbage in the tunnel");
}

proptest! {
    #[test]
    fn random_bytes_give_a_prefix(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 4_u8..7, protocol in prop_oneof![Just(6_u8), Just(17), Just(47), Just(0), Just(44), Just(60)]) {
        for (at, value) in [(0, version << 4 | 5), (6, protocol), (9, protocol)] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        prop_assert!(header_bytes(&bytes) <= bytes.len());
    }
}
