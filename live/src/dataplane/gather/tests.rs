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
    let (src, dst) = (Address::v4([192, 0, 2, 1]), Address::v4([203, 0, 113, 1]));
    let mut segment = vec![0; tcp::HEADER_LEN];
    segment[..4].copy_from_slice(&[0xc0, 0, 0, 80]);
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
        ttl: 60,
        ..Meta::plain(PortId::tunnel(PathId(0)))
    }
}

/// The lengths and segments of what comes of `datagrams`; all slots come back.
fn gathered(datagrams: &[(Vec<u8>, Meta)], train: bool) -> Vec<(usize, u16)> {
    let (mut pool, mut batch) = (Pool::new(8), Vec::new());
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
    for (key, meta_of_second) in [
        (other_key, meta()),
        (KEY, strange_peer),
        (KEY, marked),
        (KEY, Meta { ttl: 61, ..meta() }),
    ] {
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
