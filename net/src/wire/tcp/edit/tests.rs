//! Tests of data given and taken, and of numbers shifted.

use proptest::prelude::*;

use super::super::{ACK, SYN, numbers, sequence};
use super::*;
use crate::packet::{Meta, Pool};
use crate::port::PortId;
use crate::wire::sample::*;

/// The packet after `edit`, its checksums checked.
fn edited(bytes: &[u8], edit: impl FnOnce(&mut Packet, &mut Parsed)) -> Vec<u8> {
    let mut pool = Pool::new(1);
    let meta = Meta::plain(PortId::PUBLIC);
    let mut packet = pool.lend_copy(bytes, meta).expect("the pool is fresh");
    let mut parsed = sound(bytes);
    edit(&mut packet, &mut parsed);
    let after = packet.bytes().to_vec();
    pool.take_back(packet);
    assert_eq!(parsed.total_len, after.len());
    sound(&after);
    after
}

/// A SACK option of these blocks, `pad` NOPs in front of it.
fn sack(pad: usize, blocks: &[(u32, u32)]) -> Vec<u8> {
    let mut options = vec![OPTION_NOP; pad];
    options.extend([OPTION_SACK, (2 + 8 * blocks.len()) as u8]);
    for (left, right) in blocks {
        options.extend(left.to_be_bytes());
        options.extend(right.to_be_bytes());
    }
    let padded = options.len().next_multiple_of(4);
    options.resize(padded, OPTION_END);
    options
}

#[test]
fn data_is_given_to_a_segment_without_and_taken_from_one_that_has_some() {
    for family in [Family::V4, Family::V6] {
        let flow = flow(family, PROTOCOL);
        let bare = tcp_packet(&flow, ACK, &[1, 1, 1, 0], b"");
        let with = tcp_packet(&flow, ACK, &[1, 1, 1, 0], b"odd");
        let given = edited(&bare, |packet, parsed| {
            assert!(give_payload(packet, parsed, b"odd"));
        });
        assert_eq!(given, with);
        let refused = edited(&with, |packet, parsed| {
            assert!(!give_payload(packet, parsed, b"more"));
        });
        assert_eq!(refused, with);
        assert_eq!(edited(&with, take_payload), bare);
        assert_eq!(edited(&bare, take_payload), bare);
        assert_eq!(payload_len(&with, &sound(&with)), 3);
    }
}

#[test]
fn sack_blocks_are_mapped_like_the_acknowledgement_wherever_they_stand() {
    let flow = flow(Family::V4, PROTOCOL);
    for pad in [0, 1, 2, 3] {
        let options = sack(pad, &[(2_100, 2_200), (2_300, 2_400)]);
        let packet = tcp_packet(&flow, ACK, &options, b"");
        let after = edited(&packet, |packet, parsed| {
            map_acknowledged(packet.bytes_mut(), parsed, |number| number - 50);
        });
        let expected = sack(pad, &[(2_050, 2_150), (2_250, 2_350)]);
        assert_eq!(after[40..40 + expected.len()], expected);
        assert_eq!(
            numbers(&after, &sound(&after)).and_then(|numbers| numbers.acknowledged),
            Some(1_950)
        );
    }
}

#[test]
fn a_block_that_would_begin_at_the_acknowledgement_leaves_its_first_byte_out() {
    let flow = flow(Family::V4, PROTOCOL);
    let packet = tcp_packet(&flow, ACK, &sack(2, &[(2_028, 2_500)]), b"");
    // 28 bytes of somebody else's are missing in front of the block.
    let after = edited(&packet, |packet, parsed| {
        map_acknowledged(packet.bytes_mut(), parsed, |number| number.max(2_028) - 28);
    });
    assert_eq!(after[40..52], sack(2, &[(2_001, 2_472)]));
}

#[test]
fn options_end_at_the_first_malformed_one() {
    let flow = flow(Family::V4, PROTOCOL);
    let packet = tcp_packet(&flow, SYN, &[2, 4, 5, 180, 1, 4, 2, 9], b"");
    let parsed = sound(&packet);
    let found: Vec<(u8, &[u8])> = options(parsed.l4(&packet)).collect();
    assert_eq!(found, [(2, &[5, 180][..]), (4, &[])]);
}

proptest! {
    #[test]
    fn a_shifted_number_keeps_the_checksum_right(flow in any_flow(), to in any::<u32>(), ack in any::<u32>(), payload in proptest::collection::vec(any::<u8>(), 0..32)) {
        let flow = crate::flow::FlowKey { protocol: PROTOCOL, ..flow };
        let packet = tcp_packet(&flow, ACK, &[], &payload);
        let after = edited(&packet, |packet, parsed| {
            set_sequence(packet.bytes_mut(), parsed, to);
            map_acknowledged(packet.bytes_mut(), parsed, |_| ack);
        });
        let parsed = sound(&after);
        prop_assert_eq!(sequence(&after, &parsed), to);
        prop_assert_eq!(numbers(&after, &parsed).and_then(|numbers| numbers.acknowledged), Some(ack));
    }
}
