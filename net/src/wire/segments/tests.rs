//! A super-packet's segments against a naive model: the packets that a sender without offload would have made.

use proptest::prelude::*;

use super::*;
use crate::flow::FlowKey;
use crate::packet::{Meta, Pool};
use crate::port::PortId;
use crate::wire::{fragment, sample};

/// Packets of one stream as a sender makes them, `size` bytes of payload each, and their super-packet.
fn stream(flow: &FlowKey, payload: &[u8], size: usize, flags: u8) -> (Vec<Vec<u8>>, Vec<u8>) {
    let make = |payload: &[u8], index: usize, flags: u8| {
        let mut packet = match flow.protocol {
            tcp::PROTOCOL => sample::tcp_packet(flow, flags, &[1, 1, 1, 0], payload),
            _ => sample::udp_packet(flow, payload),
        };
        let parsed = parse(&packet).expect("a packet that parses");
        let l4_at = usize::from(parsed.l4_offset);
        if flow.protocol == tcp::PROTOCOL {
            let sequence = 0xffff_ff00_u32.wrapping_add((index * size) as u32);
            packet[l4_at + 4..l4_at + 8].copy_from_slice(&sequence.to_be_bytes());
            tcp::fill_checksum(&mut packet[l4_at..], flow.src, flow.dst);
        }
        if flow.src.family() == Family::V4 {
            let id = 0xfffe_u16.wrapping_add(index as u16);
            packet[4..6].copy_from_slice(&id.to_be_bytes());
            sample::seal_v4(&mut packet);
        }
        packet
    };
    let last = payload.len().div_ceil(size).max(1) - 1;
    let chunks = payload.chunks(size).enumerate();
    let packets = chunks.map(|(index, chunk)| {
        let mut flags = flags;
        if index < last {
            flags &= !(tcp::FIN | tcp::PSH);
        }
        if index > 0 {
            flags &= !tcp::CWR;
        }
        make(chunk, index, flags)
    });
    (packets.collect(), make(payload, 0, flags))
}

fn offload(packets: &[Vec<u8>]) -> Offload {
    let longest = packets.iter().map(Vec::len).max().expect("packets");
    Offload {
        segment_len: longest as u16,
        partial: true,
    }
}

fn cut(bytes: &[u8], offload: Offload) -> Vec<Vec<u8>> {
    let segments = Segments::of(bytes, offload).expect("a TCP or UDP packet");
    let cut = segments.cut(bytes);
    let each = (0..cut.count()).map(|index| {
        let mut packet = vec![0; cut.len_of(index)];
        assert_eq!(cut.write(index, &mut packet), packet.len());
        let mut header = [0; HEADER_LEN_MAX];
        let header_len = cut.write_header(index, &mut header);
        assert_eq!(header[..header_len], packet[..header_len]);
        packet
    });
    each.collect()
}

proptest! {
    #[test]
    fn segments_are_what_a_sender_without_offload_would_have_sent(
        flow in sample::any_flow(),
        payload in proptest::collection::vec(any::<u8>(), 1..6_000),
        size in 1..1_500_usize,
        flags in prop_oneof![Just(tcp::ACK), Just(tcp::ACK | tcp::PSH), Just(tcp::ACK | tcp::FIN | tcp::CWR)],
        garbage in any::<u16>(),
    ) {
        let size = size.max(payload.len() / 128 + 1);
        let (packets, mut whole) = stream(&flow, &payload, size, flags);
        let segments = Segments::of(&whole, offload(&packets)).expect("a whole packet");
        // The field of a partial checksum may hold anything.
        let at = segments.l4_at() + segments.checksum_at();
        whole[at..at + 2].copy_from_slice(&garbage.to_be_bytes());
        prop_assert_eq!(&cut(&whole, offload(&packets)), &packets);
        for packet in &packets {
            sample::sound(packet);
        }
    }

    #[test]
    fn a_partial_checksum_is_made_as_a_sender_makes_it(
        flow in sample::any_flow(),
        payload in proptest::collection::vec(any::<u8>(), 0..2_000),
        garbage in any::<u16>(),
    ) {
        let whole = sample::packet(&flow, &payload);
        let segments = Segments::of(&whole, Offload::NONE).expect("a whole packet");
        let at = segments.l4_at() + segments.checksum_at();
        let mut partial = whole.clone();
        partial[at..at + 2].copy_from_slice(&garbage.to_be_bytes());
        prop_assert!(finish_checksum(&mut partial));
        prop_assert_eq!(partial, whole);
    }

    #[test]
    fn a_super_packet_taken_apart_one_by_one_gives_the_same_segments(
        flow in sample::any_flow(),
        payload in proptest::collection::vec(any::<u8>(), 1..6_000),
        size in 100..1_500_usize,
    ) {
        let (packets, whole) = stream(&flow, &payload, size, tcp::ACK | tcp::PSH);
        let mut out = Outbox::new(Pool::new(128));
        let meta = Meta { offload: offload(&packets), ..Meta::plain(PortId::PUBLIC) };
        let mut rest = out.pool_mut().lend_copy(&whole, meta);
        let mut seen = Vec::new();
        while let Some(mut packet) = rest.take() {
            rest = split_first(&mut packet, &mut out);
            prop_assert_eq!(packet.meta.offload, Offload::NONE);
            seen.push(packet.bytes().to_vec());
            out.pool_mut().take_back(packet);
        }
        prop_assert_eq!(seen, packets);
        prop_assert_eq!(out.pool().loaned(), 0);
    }

    #[test]
    fn no_bytes_and_no_claim_about_them_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), segment_len in any::<u16>()) {
        let offload = Offload { segment_len, partial: true };
        if let Some(segments) = Segments::of(&bytes, offload) {
            let cut = segments.cut(&bytes);
            for index in 0..cut.count() {
                cut.write_header(index, &mut [0; HEADER_LEN_MAX]);
            }
        }
        let mut changed = bytes.clone();
        finish_checksum(&mut changed);
    }
}

#[test]
fn a_super_packet_that_may_be_cut_leaves_as_fragments_of_each_of_its_segments() {
    let flow = sample::flow(Family::V4, udp::PROTOCOL);
    let payload: Vec<u8> = (0..3_000).map(|at| at as u8).collect();
    let (mut packets, mut whole) = stream(&flow, &payload, 1_000, 0);
    for packet in packets.iter_mut().chain([&mut whole]) {
        packet[6] = 0; // no DF
        sample::seal_v4(packet);
    }
    let pieces = |bytes: &[u8], offload: Offload| {
        let mut out = Outbox::new(Pool::new(64));
        let meta = Meta {
            offload,
            ..Meta::plain(PortId::PUBLIC)
        };
        let packet = out.pool_mut().lend_copy(bytes, meta).expect("a slot");
        let mut seen = Vec::new();
        fragment::split(packet, 576, &mut out, |packet, out| {
            assert!(packet.len() <= 576 && packet.meta.offload == Offload::NONE);
            seen.push(packet.bytes().to_vec());
            out.pool_mut().take_back(packet);
        });
        assert_eq!(out.pool().loaned(), 0);
        seen
    };
    let singly: Vec<Vec<u8>> = packets
        .iter()
        .flat_map(|packet| pieces(packet, Offload::NONE))
        .collect();
    assert_eq!(singly.len(), 6);
    assert_eq!(pieces(&whole, offload(&packets)), singly);
    // A packet whose checksum is still to be made gets it before it is cut.
    let partial = Offload {
        segment_len: 0,
        partial: true,
    };
    let mut unfinished = packets[0].clone();
    unfinished[26..28].fill(0xaa);
    assert_eq!(
        pieces(&unfinished, partial),
        pieces(&packets[0], Offload::NONE)
    );
}

#[test]
fn a_super_packet_whose_segments_fit_is_let_be() {
    let flow = sample::flow(Family::V4, tcp::PROTOCOL);
    let (packets, whole) = stream(&flow, &[7; 3_000], 1_000, tcp::ACK);
    let mut out = Outbox::new(Pool::new(64));
    let meta = Meta {
        offload: offload(&packets),
        ..Meta::plain(PortId::PUBLIC)
    };
    let packet = out.pool_mut().lend_copy(&whole, meta).expect("a slot");
    assert_eq!(
        (packet.len(), packet.wire_len()),
        (whole.len(), packets[0].len())
    );
    let mut seen = Vec::new();
    fragment::split(packet, 1_400, &mut out, |packet, out| {
        seen.push((packet.bytes().to_vec(), packet.meta));
        out.pool_mut().take_back(packet);
    });
    assert_eq!(seen, [(whole, meta)]);
}

#[test]
fn a_claim_that_leaves_no_room_for_payload_is_refused() {
    let flow = sample::flow(Family::V6, tcp::PROTOCOL);
    let whole = sample::packet(&flow, b"payload");
    let claims = |segment_len| Offload {
        segment_len,
        partial: true,
    };
    assert_eq!(Segments::of(&whole, claims(60)), None);
    let one = Segments::of(&whole, claims(61)).expect("a byte each");
    assert_eq!((one.count(), one.size()), (7, 1));
}
