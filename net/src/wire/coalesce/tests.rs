//! Runs of packets: what is cut comes together again, and nothing that is wrong is made right.

use proptest::prelude::*;

use super::*;
use crate::flow::FlowKey;
use crate::wire::segments::{Segments, finish_checksum};
use crate::wire::{parse, sample};

/// Packets put together as far as they may be.
fn coalesce(packets: &[Vec<u8>]) -> Vec<(Vec<u8>, Offload)> {
    let mut whole = Vec::new();
    let mut open: Option<(Run, Vec<u8>)> = None;
    let finish = |(run, mut bytes): (Run, Vec<u8>)| {
        bytes.truncate(run.total_len());
        let offload = run.finish(&mut bytes);
        (bytes, offload)
    };
    for packet in packets {
        if let Some((run, bytes)) = &mut open
            && run.accepts(bytes, packet)
        {
            run.join(bytes, packet);
            continue;
        }
        whole.extend(open.take().map(finish));
        match Run::start(packet) {
            Some(run) => {
                let mut bytes = packet.clone();
                bytes.resize(66_000, 0);
                open = Some((run, bytes));
            }
            None => whole.push((packet.clone(), Offload::NONE)),
        }
    }
    whole.extend(open.take().map(finish));
    whole
}

/// The packets that each stands for.
fn cut(whole: &[(Vec<u8>, Offload)]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for (bytes, offload) in whole {
        if *offload == Offload::NONE {
            packets.push(bytes.clone());
            continue;
        }
        let segments = Segments::of(bytes, *offload).expect("a run of TCP or UDP");
        let cut = segments.cut(bytes);
        for index in 0..cut.count() {
            let mut packet = vec![0; cut.len_of(index)];
            cut.write(index, &mut packet);
            packets.push(packet);
        }
    }
    packets
}

/// A segment of `flow` at a place of its stream.
fn segment(flow: &FlowKey, at: u32, id: u16, payload: &[u8], flags: u8) -> Vec<u8> {
    let mut packet = match flow.protocol {
        tcp::PROTOCOL => sample::tcp_packet(flow, flags, &[1, 1, 1, 0], payload),
        _ => sample::udp_packet(flow, payload),
    };
    let l4_at = usize::from(parse(&packet).expect("it parses").l4_offset);
    if flow.protocol == tcp::PROTOCOL {
        packet[l4_at + 4..l4_at + 8].copy_from_slice(&at.to_be_bytes());
        tcp::fill_checksum(&mut packet[l4_at..], flow.src, flow.dst);
    }
    if flow.src.family() == Family::V4 {
        packet[4..6].copy_from_slice(&id.to_be_bytes());
        sample::seal_v4(&mut packet);
    }
    packet
}

/// What a sender with offload sends: all of one size but the last, PSH on that.
fn train(flow: &FlowKey, payload: &[u8], size: usize, start: u32) -> Vec<Vec<u8>> {
    let last = payload.len().div_ceil(size) - 1;
    let chunks = payload.chunks(size).enumerate();
    let packets = chunks.map(|(index, chunk)| {
        let push = if index == last { tcp::PSH } else { 0 };
        let at = start.wrapping_add((index * size) as u32);
        segment(
            flow,
            at,
            7_u16.wrapping_add(index as u16),
            chunk,
            tcp::ACK | push,
        )
    });
    packets.collect()
}

proptest! {
    #[test]
    fn what_was_cut_comes_together_again(
        flow in sample::any_flow(),
        payload in proptest::collection::vec(any::<u8>(), 1..9_000),
        size in 200..1_500_usize,
        start in any::<u32>(),
    ) {
        let packets = train(&flow, &payload, size, start);
        let whole = coalesce(&packets);
        prop_assert_eq!(whole.len(), 1);
        prop_assert_eq!(cut(&whole), packets);
    }

    /// Any packets in any order, some of them damaged: whatever is put together is cut into the very same packets.
    #[test]
    fn whatever_comes_together_stands_for_exactly_what_came(
        flows in proptest::collection::vec(sample::any_flow(), 1..3),
        steps in proptest::collection::vec(
            (any::<prop::sample::Index>(), 1..4_usize, prop_oneof![4 => Just(0_u32), 1 => 0..400_u32],
             prop_oneof![6 => Just(tcp::ACK), 1 => Just(tcp::ACK | tcp::PSH), 1 => any::<u8>()],
             prop_oneof![8 => Just(None), 1 => any::<(prop::sample::Index, u8)>().prop_map(Some)]),
            1..40,
        ),
    ) {
        let (mut at, mut id) = (1_000_u32, 1_u16);
        let mut packets = Vec::new();
        for (which, words, gap, flags, damage) in steps {
            let payload = vec![flags; words * 100];
            let flow = flows[which.index(flows.len())];
            at = at.wrapping_add(gap);
            let mut packet = segment(&flow, at, id, &payload, flags);
            at = at.wrapping_add(payload.len() as u32);
            id = id.wrapping_add(1);
            if let Some((place, bits)) = damage {
                let place = place.index(packet.len());
                packet[place] ^= bits;
            }
            packets.push(packet);
        }
        prop_assert_eq!(cut(&coalesce(&packets)), packets);
    }

    #[test]
    fn a_damaged_packet_stays_by_itself_and_damaged(
        flow in sample::any_flow(),
        which in 0..6_usize,
        place in any::<prop::sample::Index>(),
        bits in 1..=255_u8,
    ) {
        let mut packets = train(&flow, &[5; 6 * 500], 500, 9);
        let place = place.index(packets[which].len());
        packets[which][place] ^= bits;
        let whole = coalesce(&packets);
        prop_assert!(whole.contains(&(packets[which].clone(), Offload::NONE)));
    }
}

#[test]
fn a_super_packet_is_never_longer_than_an_ip_packet_can_be() {
    let flow = sample::flow(Family::V6, tcp::PROTOCOL);
    let packets = train(&flow, &vec![3; 100_000], 1_400, 1);
    let whole = coalesce(&packets);
    assert_eq!(whole.len(), 2);
    assert!(whole.iter().all(|(bytes, _)| bytes.len() <= LEN_MAX));
    assert_eq!(cut(&whole), packets);
}

#[test]
fn flows_that_take_turns_are_not_mixed() {
    let one = sample::flow(Family::V4, tcp::PROTOCOL);
    let other = FlowKey {
        src_port: 50_000,
        ..one
    };
    let a = train(&one, &[1; 1_000], 500, 1);
    let b = train(&other, &[2; 1_000], 500, 1);
    let packets = [&a[0], &b[0], &a[1], &b[1]].map(Clone::clone);
    assert_eq!(coalesce(&packets).len(), 4);
}

#[test]
fn datagrams_without_a_checksum_stay_alone() {
    let flow = sample::flow(Family::V4, udp::PROTOCOL);
    let mut packets = train(&flow, &[1; 1_000], 500, 0);
    for packet in &mut packets {
        packet[26..28].fill(0);
    }
    assert_eq!(coalesce(&packets).len(), 2);
}

#[test]
fn identifications_count_only_where_a_router_may_cut() {
    let flow = sample::flow(Family::V4, udp::PROTOCOL);
    for (dont_fragment, step, expected) in [(true, 9, 1), (false, 9, 2), (false, 1, 1)] {
        let packets: Vec<Vec<u8>> = (0..2_u16)
            .map(|index| {
                let mut packet = segment(&flow, 0, 5 + index * step, &[1; 500], 0);
                packet[6] = if dont_fragment { 0x40 } else { 0 };
                sample::seal_v4(&mut packet);
                packet
            })
            .collect();
        assert_eq!(coalesce(&packets).len(), expected, "{dont_fragment} {step}");
    }
}

#[test]
fn the_checksum_of_a_run_is_made_anew_and_right() {
    let flow = sample::flow(Family::V4, tcp::PROTOCOL);
    let (mut bytes, offload) = coalesce(&train(&flow, &[9; 2_000], 500, 77)).remove(0);
    assert!(offload.partial && usize::from(offload.segment_len) == 20 + 24 + 500);
    assert!(finish_checksum(&mut bytes));
    sample::sound(&bytes);
}

#[test]
fn only_packets_between_the_same_ports_or_without_any_share_a_flow() {
    for family in [Family::V4, Family::V6] {
        let flow = sample::flow(family, tcp::PROTOCOL);
        let head = segment(&flow, 0, 0, &[7; 100], tcp::ACK);
        let run = Run::start(&head).expect("a segment with payload");
        let shares = |next: &[u8]| run.may_share_flow(&head, next);
        let l4_at = run.shape.l4_at;
        // A bare acknowledgement and the end of the flow are of it, whatever else they are.
        assert!(shares(&segment(&flow, 100, 1, &[], tcp::ACK)));
        assert!(shares(&segment(&flow, 900, 1, &[], tcp::FIN | tcp::ACK)));
        let mut other_port = head.clone();
        other_port[l4_at + 1] ^= 1;
        assert!(!shares(&other_port));
        let mut other_host = head.clone();
        other_host[l4_at - 1] ^= 1;
        assert!(!shares(&other_host));
        assert!(!shares(&[]) && !shares(&head[..10]));
        // Without ports it may be of any flow between the two.
        assert!(shares(&head[..l4_at + 2]));
        let mut piece = head.clone();
        match run.shape.family {
            Family::V4 => piece[7] = 1,
            Family::V6 => piece[6] = 44,
        }
        piece[l4_at] ^= 0xff;
        assert!(shares(&piece));
    }
}
