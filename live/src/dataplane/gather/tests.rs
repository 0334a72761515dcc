//! Trains that come together and what must stay apart, with the slots that it takes.
//!
//! What is inside a run has tests of its own, in `wire::coalesce`; here are GRE headers, outer headers, peers and the
//! slots of the pool.

use anyedge_net::flow::Address;
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::packet::Offload;
use anyedge_net::port::PortId;
use anyedge_net::wire::ip::Header;
use anyedge_net::wire::{ipv4, tcp};

use super::*;

const KEY: [u8; 8] = [0x20, 0, 8, 0, 0, 0, 0, 9];

/// A datagram: GRE, IPv4, TCP with ACK, payload.
fn datagram(key: [u8; 8], sequence: u32, payload_len: usize) -> Vec<u8> {
    datagram_of(0, key, sequence, payload_len)
}

/// The same of one of several flows.
fn datagram_of(flow: u8, key: [u8; 8], sequence: u32, payload_len: usize) -> Vec<u8> {
    let (src, dst) = (Address::v4([192, 0, 2, 1]), Address::v4([203, 0, 113, 1]));
    let mut segment = vec![0; tcp::HEADER_LEN];
    segment[..4].copy_from_slice(&[0xc0, flow, 0, 80]);
    segment[4..8].copy_from_slice(&sequence.to_be_bytes());
    segment[12..14].copy_from_slice(&[5 << 4, tcp::ACK]);
    segment.resize(tcp::HEADER_LEN + payload_len, 7);
    tcp::fill_checksum(&mut segment, src, dst);
    let header = Header {
        src,
        dst,
        protocol: tcp::PROTOCOL,
        ttl: 64,
        tos: 0,
        payload_len: segment.len(),
    };
    let mut bytes = key.to_vec();
    bytes.resize(gre::HEADER_LEN + ipv4::HEADER_LEN, 0);
    header.write(&mut bytes[gre::HEADER_LEN..]);
    bytes.extend(segment);
    bytes
}

fn meta() -> Meta {
    Meta {
        peer: NodeId(3),
        ..Meta::plain(PortId::tunnel(PathId(0)))
    }
}

/// The lengths and segments of what comes of `datagrams`; all slots come back.
fn gathered(datagrams: &[(Vec<u8>, Meta)], train: bool) -> Vec<(usize, u16)> {
    let (mut pool, mut batch) = (Pool::new(2 * RUNS_MAX), Vec::new());
    let mut gather = Gather::default();
    for (datagram, meta) in datagrams {
        assert!(gather.push(datagram, (*meta, train), &mut pool, &mut batch));
    }
    gather.close(&mut batch);
    assert_eq!(pool.loaned(), batch.len());
    let seen = batch.iter().map(|packet| {
        let Offload {
            segment_len,
            partial,
        } = packet.meta.offload;
        assert_eq!(partial, segment_len > 0);
        (packet.len(), segment_len)
    });
    seen.collect()
}

#[test]
fn a_train_becomes_one_super_packet_in_a_slot_that_has_room() {
    let train: Vec<_> = (0..40)
        .map(|index| (datagram(KEY, index * 1_400, 1_400), meta()))
        .collect();
    let expected = [(8 + 40 + 40 * 1_400, 1_440)];
    assert_eq!(gathered(&train, true), expected);
    // Also when they come one by one.
    assert_eq!(gathered(&train, false), expected);
}

#[test]
fn what_differs_in_key_peer_or_outer_header_stays_apart() {
    let other_key = [0x20, 0, 8, 0, 0, 0, 0, 10];
    let strange_peer = Meta {
        peer: NodeId::UNKNOWN,
        ..meta()
    };
    let marked = Meta { tos: 3, ..meta() };
    for (key, meta_of_second) in [(other_key, meta()), (KEY, strange_peer), (KEY, marked)] {
        let pair = [
            (datagram(KEY, 0, 100), meta()),
            (datagram(key, 100, 100), meta_of_second),
        ];
        assert_eq!(gathered(&pair, true), [(148, 0), (148, 0)]);
    }
}

#[test]
fn what_is_no_packet_behind_a_key_passes_as_it_is() {
    let probe = vec![0x20, 0, 0x88, 0xb5, 0, 0, 0, 1, 1, 2, 3];
    let short = vec![0x20];
    let empty = Vec::new();
    let all = [probe, short, empty].map(|bytes| (bytes, meta()));
    assert_eq!(gathered(&all, false), [(11, 0), (1, 0), (0, 0)]);
}

#[test]
fn without_a_free_slot_a_datagram_is_given_up_and_the_run_is_kept() {
    let (mut pool, mut batch) = (Pool::new(1), Vec::new());
    let mut gather = Gather::default();
    let mut push = |datagram: &[u8], batch: &mut Vec<Packet>| {
        gather.push(datagram, (meta(), true), &mut pool, batch)
    };
    assert!(push(&datagram(KEY, 0, 100), &mut batch));
    assert!(push(&datagram(KEY, 100, 100), &mut batch));
    assert!(!push(&datagram(KEY, 999, 100), &mut batch));
    assert_eq!(batch.len(), 1);
    assert_eq!(batch[0].meta.offload.segment_len, 140);
}

#[test]
fn flows_that_take_turns_come_together_each() {
    let turns = (0..10).flat_map(|turn| {
        (0..RUNS_MAX as u8).map(move |flow| (datagram_of(flow, KEY, turn * 500, 500), meta()))
    });
    let turns: Vec<_> = turns.collect();
    let expected = vec![(8 + 40 + 10 * 500, 540); RUNS_MAX];
    assert_eq!(gathered(&turns, false), expected);
}

#[test]
fn more_flows_than_runs_end_the_oldest_run() {
    let one_more = (0..=RUNS_MAX as u8)
        .flat_map(|flow| [0, 500].map(|at| (datagram_of(flow, KEY, at, 500), meta())));
    let mut all: Vec<_> = one_more.collect();
    // What goes on with a run that was ended begins another, behind it.
    all.push((datagram_of(0, KEY, 1_000, 500), meta()));
    let seen = gathered(&all, false);
    let whole = (8 + 40 + 2 * 500, 540);
    let mut expected = vec![whole; RUNS_MAX + 1];
    expected.push((8 + 40 + 500, 0));
    assert_eq!(seen, expected);
}

#[test]
fn no_packet_overtakes_another_of_its_flow() {
    let [one, other] = [0, 1].map(|flow| move |at, len| (datagram_of(flow, KEY, at, len), meta()));
    let in_turns = [
        one(0, 500),
        other(0, 500),
        one(500, 500),
        // Bare: nothing joins it, and it comes behind its flow's run. The other flow's goes on.
        one(1_000, 0),
        other(500, 500),
        one(1_000, 500),
    ];
    let seen = gathered(&in_turns, false);
    let (pair, bare, alone) = ((1_048, 540), (48, 0), (548, 0));
    assert_eq!(seen, [pair, bare, pair, alone]);
}

#[test]
fn batch_and_open_runs_grow_by_one_at_most_with_each_datagram() {
    let (mut pool, mut batch, mut gather) = (Pool::new(64), Vec::new(), Gather::default());
    let probe = vec![0x20, 0, 0x88, 0xb5, 0, 0, 0, 1, 1, 2, 3];
    let odd = vec![0x30, 0, 8, 0, 0, 0, 0, 1];
    let flows = (0..12).map(|flow| datagram_of(flow, KEY, 0, 100));
    for (index, datagram) in flows.chain([probe, odd]).enumerate() {
        assert!(gather.push(&datagram, (meta(), false), &mut pool, &mut batch));
        assert_eq!(gather.len() + batch.len(), index + 1);
    }
    assert!(gather.is_empty(), "what is odd may be of any flow");
}
