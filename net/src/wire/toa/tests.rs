//! Tests of the option: the bytes of the reference, checksums, room, super-packets.

use proptest::prelude::*;

use super::*;
use crate::packet::{HEADROOM, Meta, Offload, Pool};
use crate::port::PortId;
use crate::wire::sample::*;
use crate::wire::segments::Segments;
use crate::wire::tcp::{ACK, SYN};

/// MSS, SACK permitted, timestamps, window scale: what Linux puts in a SYN.
const LINUX_SYN: [u8; 20] = [
    2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7,
];

fn with_toa(bytes: &[u8], kind: Toa) -> Option<Vec<u8>> {
    let mut pool = Pool::new(1);
    let meta = Meta::plain(PortId::PUBLIC);
    let mut packet = pool.lend_copy(bytes, meta).expect("the pool is fresh");
    let mut parsed = sound(bytes);
    let client = (parsed.flow.src, parsed.flow.src_port);
    let inserted = insert(&mut packet, &mut parsed, kind, client);
    let after = packet.bytes().to_vec();
    pool.take_back(packet);
    if !inserted {
        assert_eq!(after, bytes);
        return None;
    }
    assert_eq!(parsed, sound(&after));
    Some(after)
}

#[test]
fn the_option_of_an_ipv4_client_is_fe_08_its_port_and_its_address() {
    let packet = tcp_packet(&flow(Family::V4, tcp::PROTOCOL), SYN, &LINUX_SYN, b"");
    let with = with_toa(&packet, Toa::Kind254).expect("there is room");
    assert_eq!(with[40..48], [0xfe, 8, 0xc0, 0, 0xc0, 0, 0x02, 0x21]);
    assert_eq!(with[48..68], LINUX_SYN);
    let with = with_toa(&packet, Toa::Kind200).expect("there is room");
    assert_eq!(with[40..48], [0xc8, 8, 0xc0, 0, 0xc0, 0, 0x02, 0x21]);
}

#[test]
fn the_option_of_an_ipv6_client_fits_a_syn_of_linux_exactly_and_none_with_an_option_more() {
    let flow = flow(Family::V6, tcp::PROTOCOL);
    let with = with_toa(&tcp_packet(&flow, SYN, &LINUX_SYN, b""), Toa::Kind254);
    let with = with.expect("20 bytes are left");
    assert_eq!(with[60..64], [0xfd, 0x14, 0xc0, 0]);
    assert_eq!(&with[64..80], flow.src.octets());
    assert_eq!(with[52] >> 4, 15, "the header is as long as one can be");
    let further = [&LINUX_SYN[..], &[1, 1, 1, 0]].concat();
    assert_eq!(
        with_toa(&tcp_packet(&flow, SYN, &further, b""), Toa::Kind254),
        None
    );
}

#[test]
fn an_option_of_8_bytes_needs_8_of_the_40() {
    let flow = flow(Family::V4, tcp::PROTOCOL);
    let packet = |len| tcp_packet(&flow, SYN, &vec![1; len], b"");
    assert!(with_toa(&packet(32), Toa::Kind254).is_some());
    assert_eq!(with_toa(&packet(36), Toa::Kind254), None);
}

#[test]
fn without_headroom_nothing_changes() {
    let bytes = tcp_packet(&flow(Family::V4, tcp::PROTOCOL), ACK, &[], b"data");
    let mut pool = Pool::new(1);
    let meta = Meta::plain(PortId::PUBLIC);
    let mut packet = pool.lend(bytes.len() + HEADROOM, meta).expect("a slot");
    packet.push_front(HEADROOM).expect("all of the headroom");
    packet.truncate(bytes.len());
    packet.bytes_mut().copy_from_slice(&bytes);
    let mut parsed = sound(&bytes);
    let client = (parsed.flow.src, parsed.flow.src_port);
    assert!(!insert(&mut packet, &mut parsed, Toa::Kind254, client));
    assert_eq!(packet.bytes(), bytes);
    pool.take_back(packet);
}

#[test]
fn every_segment_of_a_super_packet_has_the_option_and_none_is_longer_than_it_may_be() {
    let bytes = tcp_packet(&flow(Family::V4, tcp::PROTOCOL), ACK, &[], &[7; 2_500]);
    let mut pool = Pool::new(1);
    let offload = Offload {
        segment_len: 1_040,
        partial: true,
    };
    let meta = Meta {
        offload,
        ..Meta::plain(PortId::PUBLIC)
    };
    let mut packet = pool.lend_copy(&bytes, meta).expect("a slot");
    let mut parsed = sound(&bytes);
    let client = (parsed.flow.src, parsed.flow.src_port);
    assert!(insert(&mut packet, &mut parsed, Toa::Kind254, client));
    assert_eq!(packet.wire_len(), 1_048);
    let segments = Segments::of(packet.bytes(), packet.meta.offload).expect("a super-packet");
    assert_eq!((segments.count(), segments.size()), (3, 1_000));
    let cut = segments.cut(packet.bytes());
    for index in 0..3 {
        let mut whole = vec![0; cut.len_of(index)];
        cut.write(index, &mut whole);
        let parsed = sound(&whole);
        assert_eq!(read(&whole, &parsed).map(|toa| toa.port()), Some(49_152));
        assert_eq!(tcp::sequence(&whole, &parsed), 1_000 + 1_000 * index as u32);
    }
    pool.take_back(packet);
}

#[test]
fn options_that_are_malformed_are_read_to_where_they_are_sound() {
    let flow = flow(Family::V4, tcp::PROTOCOL);
    for options in [
        [254, 8, 1, 2], // beyond the header
        [254, 0, 1, 2], // a length of 0 would walk for ever
        [1, 1, 1, 254], // a kind without a length
        [254, 4, 1, 2], // of a length that means nothing
        [0, 254, 8, 1], // behind the end of options
    ] {
        let packet = tcp_packet(&flow, SYN, &options, &[9; 8]);
        assert_eq!(read(&packet, &sound(&packet)), None, "{options:?}");
    }
    let flow = crate::flow::FlowKey {
        protocol: crate::wire::udp::PROTOCOL,
        ..flow
    };
    let udp = udp_packet(&flow, &[254, 8, 1, 2, 3, 4, 5, 6]);
    assert_eq!(read(&udp, &sound(&udp)), None);
}

proptest! {
    #[test]
    fn what_is_inserted_is_read_and_all_else_stays(
        flow in any_flow(),
        words in 0_usize..=5,
        payload in proptest::collection::vec(any::<u8>(), 0..64),
        other_kind in any::<bool>(),
    ) {
        let flow = crate::flow::FlowKey { protocol: tcp::PROTOCOL, ..flow };
        let kind = if other_kind { Toa::Kind200 } else { Toa::Kind254 };
        let options = vec![1; words * 4];
        let packet = tcp_packet(&flow, ACK, &options, &payload);
        let with = with_toa(&packet, kind).expect("20 bytes are left at least");
        let parsed = sound(&with);
        let expected = SocketAddr::new(flow.src.into(), flow.src_port);
        prop_assert_eq!(read(&with, &parsed), Some(expected));
        prop_assert_eq!(&with[with.len() - payload.len() - options.len()..], &[options, payload].concat()[..]);
        prop_assert_eq!(with.len(), packet.len() + option_len(flow.family()));
    }
}
