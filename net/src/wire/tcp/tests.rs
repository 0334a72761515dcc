//! Tests of the MSS clamp and of resets.

use proptest::prelude::*;

use super::*;
use crate::flow::{Family, FlowKey};
use crate::wire::parse;
use crate::wire::sample::*;

const MSS_1460: [u8; 4] = [2, 4, 0x05, 0xb4];

fn clamped(packet: &[u8], mss_max: u16) -> (bool, Option<u16>) {
    let mut bytes = packet.to_vec();
    let parsed = sound(&bytes);
    let changed = clamp_mss(&mut bytes, &parsed, mss_max);
    sound(&bytes);
    assert_eq!(changed, bytes != packet);
    (changed, mss(&bytes, &parsed))
}

#[test]
fn a_syn_is_lowered_and_never_raised() {
    for family in [Family::V4, Family::V6] {
        for flags in [SYN, SYN | ACK] {
            let packet = tcp_packet(&flow(family, PROTOCOL), flags, &MSS_1460, b"");
            assert_eq!(clamped(&packet, 1_432), (true, Some(1_432)));
            assert_eq!(clamped(&packet, 1_460), (false, Some(1_460)));
            assert_eq!(clamped(&packet, 9_000), (false, Some(1_460)));
        }
    }
}

#[test]
fn an_option_at_an_odd_offset_keeps_the_checksum_valid() {
    let options = [1, 2, 4, 0x05, 0xb4, 1, 1, 0];
    let packet = tcp_packet(&flow(Family::V4, PROTOCOL), SYN, &options, b"");
    assert_eq!(clamped(&packet, 1_401), (true, Some(1_401)));
}

#[test]
fn an_option_behind_others_is_found_and_a_second_one_too() {
    let options = [
        8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 2, 4, 0x05, 0xb4, 2, 4, 0x05, 0xb4, 0, 0,
    ];
    let packet = tcp_packet(&flow(Family::V4, PROTOCOL), SYN, &options, b"");
    let mut bytes = packet.clone();
    let parsed = sound(&bytes);
    assert!(clamp_mss(&mut bytes, &parsed, 1_000));
    assert_eq!(bytes[52..54], 1_000_u16.to_be_bytes());
    assert_eq!(bytes[56..58], 1_000_u16.to_be_bytes());
    sound(&bytes);
}

#[test]
fn what_is_no_syn_or_has_no_option_is_left_alone() {
    let flow = flow(Family::V4, PROTOCOL);
    assert_eq!(
        clamped(&tcp_packet(&flow, ACK, &MSS_1460, b""), 500),
        (false, None)
    );
    assert_eq!(
        clamped(&tcp_packet(&flow, SYN, &[], b"\x02\x04\x05\xb4"), 500),
        (false, None)
    );
    for options in [
        [2, 3, 5, 0xb4],  // a wrong length
        [8, 0, 2, 4],     // a length of 0 would walk for ever
        [1, 1, 1, 2],     // a kind without a length
        [1, 1, 2, 4],     // a value beyond the header
        [0, 2, 4, 5],     // behind the end of options
        [254, 200, 2, 4], // an option beyond the header
    ] {
        let packet = tcp_packet(&flow, SYN, &options, b"\x05\xb4\x05\xb4");
        assert_eq!(clamped(&packet, 500), (false, None), "{options:?}");
    }
}

fn reset_of(packet: &[u8]) -> Option<Vec<u8>> {
    let parsed = sound(packet);
    let mut out = [0xee; RESET_LEN_MAX];
    let len = write_reset(packet, &parsed, &mut out);
    (len > 0).then(|| out[..len].to_vec())
}

#[test]
fn a_segment_with_ack_is_reset_at_the_acknowledged_number() {
    for family in [Family::V4, Family::V6] {
        let flow = flow(family, PROTOCOL);
        let reset = reset_of(&tcp_packet(&flow, ACK | PSH, &[], b"data")).expect("a reset");
        let parsed = sound(&reset);
        assert_eq!(parsed.flow, flow.reversed());
        assert_eq!((parsed.tcp_flags, parsed.total_len), (RST, reset.len()));
        assert_eq!(parsed.l4(&reset)[4..8], 2_000_u32.to_be_bytes());
        assert_eq!(parsed.l4(&reset)[8..12], [0; 4]);
    }
}

#[test]
fn a_segment_without_ack_is_acknowledged_to_its_end() {
    for (flags, payload, acknowledgement) in [
        (SYN, &b""[..], 1_001_u32),
        (SYN, b"fast", 1_005),
        (FIN, b"four", 1_005),
        (0, b"", 1_000),
    ] {
        let flow = flow(Family::V6, PROTOCOL);
        let reset = reset_of(&tcp_packet(&flow, flags, &MSS_1460, payload)).expect("a reset");
        let parsed = sound(&reset);
        assert_eq!(parsed.tcp_flags, RST | ACK);
        assert_eq!(parsed.l4(&reset)[4..8], [0; 4]);
        assert_eq!(parsed.l4(&reset)[8..12], acknowledgement.to_be_bytes());
    }
}

#[test]
fn nothing_answers_a_reset_a_fragment_or_a_group() {
    let flow = flow(Family::V4, PROTOCOL);
    assert_eq!(reset_of(&tcp_packet(&flow, RST, &[], b"")), None);
    assert_eq!(reset_of(&tcp_packet(&flow, RST | ACK, &[], b"")), None);
    let udp = FlowKey {
        protocol: crate::wire::udp::PROTOCOL,
        ..flow
    };
    assert_eq!(reset_of(&udp_packet(&udp, b"")), None);
    for src in ["224.0.0.1", "255.255.255.255", "0.0.0.0"] {
        let group = FlowKey {
            src: address(src),
            ..flow
        };
        assert_eq!(reset_of(&tcp_packet(&group, SYN, &[], b"")), None, "{src}");
    }
    let mut fragment = tcp_packet(&flow, SYN, &[], b"1234");
    fragment[6] = 0x20;
    seal_v4(&mut fragment);
    let parsed = parse(&fragment).expect("a first fragment");
    assert_eq!(write_reset(&fragment, &parsed, &mut [0; RESET_LEN_MAX]), 0);
}

proptest! {
    #[test]
    fn any_options_are_walked_without_panic(words in proptest::collection::vec(any::<[u8; 4]>(), 0..10), mss_max: u16) {
        let options = words.concat();
        let flow = flow(Family::V4, PROTOCOL);
        let mut bytes = tcp_packet(&flow, SYN, &options, b"");
        let parsed = sound(&bytes);
        clamp_mss(&mut bytes, &parsed, mss_max);
        sound(&bytes);
        if let Some(mss) = mss(&bytes, &parsed) {
            prop_assert!(mss <= mss_max);
        }
    }
}
