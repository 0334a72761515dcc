//! Trains by the kernel's own loopback: what arrives is what was put in, each way in its order, in as few trains as may be.
//!
//! How super-packets are cut has tests of its own, in `wire::segments`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use anyedge_net::flow::Address;
use anyedge_net::packet::{Meta, Pool};
use anyedge_net::port::PortId;
use anyedge_net::time::Instant;
use anyedge_net::wire::ip::Header;
use anyedge_net::wire::{ipv4, tcp};
use proptest::prelude::*;

use super::super::{Mouth, Side, Trains};
use super::*;
use crate::dataplane::pieces;

const LIMIT: Duration = Duration::from_secs(5);

/// GRE, IPv4, TCP, payload: one packet, or with `size` a super-packet that is cut into as many bytes of payload.
fn packet(payload_len: usize, size: Option<usize>, (entropy, tos): (u16, u8)) -> (Vec<u8>, Meta) {
    let (src, dst) = (Address::v4([192, 0, 2, 1]), Address::v4([203, 0, 113, 1]));
    let header = Header {
        src,
        dst,
        protocol: tcp::PROTOCOL,
        ttl: 64,
        tos: 0,
        payload_len: tcp::HEADER_LEN + payload_len,
    };
    let headers_len = ipv4::HEADER_LEN + tcp::HEADER_LEN;
    let mut bytes = vec![0x20, 0, 8, 0, 0, 0, 0, 9];
    bytes.resize(gre::HEADER_LEN + headers_len, 0);
    header.write(&mut bytes[gre::HEADER_LEN..]);
    bytes[gre::HEADER_LEN + ipv4::HEADER_LEN + 12] = 5 << 4;
    bytes.extend((0..payload_len).map(|at| (at % 251) as u8));
    let offload = size.map(|size| Offload {
        segment_len: (headers_len + size) as u16,
        partial: true,
    });
    let meta = Meta {
        entropy,
        tos,
        offload: offload.unwrap_or(Offload::NONE),
        ..Meta::plain(PortId::PUBLIC)
    };
    (bytes, meta)
}

fn mouth(last: u8) -> Mouth {
    Mouth::open(Some(Ipv4Addr::new(127, 0, 78, last)), None).expect("loopback")
}

fn never(reason: DropReason, count: u64) {
    panic!("{count} datagrams were not taken: {reason:?}");
}

/// Puts packets in, with a flush behind those that want it, and behind all.
fn put_all(mouth: &Mouth, to: SocketAddr, all: &[(Vec<u8>, Meta, bool)]) -> Vec<(usize, Vec<u8>)> {
    let mut pool = Pool::new(1);
    let mut scratch = vec![0; LARGE_SLOT];
    let (mut expected, mut trains) = (Vec::new(), Trains::new());
    for (bytes, meta, flush) in all {
        let packet = pool.lend_copy(bytes, *meta).expect("it came back");
        let way = mouth.exits().way(to, meta.entropy, meta.tos);
        let source = way.expect("it is of IPv4").source;
        pieces::each(&packet, gre::HEADER_LEN, &mut scratch, |piece| {
            expected.push((source, piece.to_vec()));
        });
        assert!(mouth.put(&packet, to, &mut trains, never));
        // Nothing of it is looked at again.
        pool.take_back(packet);
        if *flush {
            mouth.flush(&mut trains, Instant::ZERO, never);
        }
    }
    mouth.flush(&mut trains, Instant::ZERO, never);
    expected
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_datagram_arrives_as_it_is_and_in_the_order_of_its_way(
        plan in proptest::collection::vec(
            (0..3_000_usize, prop_oneof![Just(None), (300..1_400_usize).prop_map(Some)],
             (any::<u16>(), prop_oneof![3 => Just(0_u8), 1 => Just(3)]), proptest::bool::weighted(0.1)),
            1..12,
        ),
    ) {
        let receiver = UdpSocket::bind((Ipv4Addr::new(127, 0, 78, 1), 0)).expect("loopback");
        receiver.set_read_timeout(Some(LIMIT)).expect("a limit");
        let all: Vec<_> = plan.into_iter().map(|(len, size, way, flush)| {
            // What is no super-packet fits the wire.
            let len = if size.is_some() { len } else { len % 1_400 };
            let (bytes, meta) = packet(len, size, way);
            (bytes, meta, flush)
        }).collect();
        let mouth = mouth(2);
        let to = receiver.local_addr().expect("its address");
        let expected = put_all(&mouth, to, &all);
        let (mut sent, mut seen) = (BTreeMap::new(), BTreeMap::new());
        for (source, datagram) in expected {
            sent.entry(source).or_insert_with(Vec::new).push(datagram);
            let mut arrived = [0; 2_048];
            let (len, from) = receiver.recv_from(&mut arrived).expect("as many come as were sent");
            let source = (from.port() - 49_152) / (16_384 / SOURCES as u16);
            seen.entry(usize::from(source)).or_insert_with(Vec::new).push(arrived[..len].to_vec());
        }
        prop_assert_eq!(seen, sent);
    }
}

/// The lengths of the trains that come of packets.
fn trains(lasts: [u8; 2], all: &[(Vec<u8>, Meta, bool)]) -> Vec<(usize, usize)> {
    let (from, to) = (mouth(lasts[0]), mouth(lasts[1]));
    let mut arriving = Trains::new();
    let address = Ipv4Addr::new(127, 0, 78, lasts[1]);
    put_all(
        &from,
        (address, anyedge_net::wire::udp::PORT_GRE).into(),
        all,
    );
    let mut seen = Vec::new();
    loop {
        let (count, more) = to.recv(Side::V4, &mut arriving).expect("loopback");
        for index in 0..count {
            let message = arriving.message(index).expect("of IPv4");
            seen.push((
                message.len.div_ceil(message.datagram_len),
                message.datagram_len,
            ));
        }
        if !more {
            return seen;
        }
    }
}

#[test]
fn what_is_left_of_a_super_packet_goes_with_the_next_one() {
    let (bytes, meta) = packet(46 * 1_412, Some(1_412), (0, 0));
    let three = vec![(bytes, meta, false); 3];
    let len = 8 + 40 + 1_412;
    assert_eq!(
        trains([3, 4], &three),
        [(44, len), (44, len), (44, len), (6, len)]
    );
}

#[test]
fn flows_that_take_turns_fill_trains_of_their_own() {
    let of = |entropy| {
        let (bytes, meta) = packet(200, None, (entropy, 0));
        (bytes, meta, false)
    };
    let turns: Vec<_> = (0..20).flat_map(|_| [of(0), of(0xffff)]).collect();
    assert_eq!(trains([5, 6], &turns), [(20, 248), (20, 248)]);
}

#[test]
fn a_longer_one_or_another_tos_ends_a_train_and_a_shorter_one_is_its_last() {
    let of = |len, tos| {
        let (bytes, meta) = packet(len, None, (0, tos));
        (bytes, meta, false)
    };
    let all = [
        of(200, 0),
        of(200, 0),
        of(100, 0),
        of(100, 0),
        of(300, 0),
        of(300, 3),
    ];
    assert_eq!(
        trains([7, 8], &all),
        [(3, 248), (1, 148), (1, 348), (1, 348)]
    );
}

#[test]
fn small_packets_of_many_flows_share_a_train_until_there_are_few_again() {
    let (from, to) = (mouth(9), mouth(10));
    let address = (
        Ipv4Addr::new(127, 0, 78, 10),
        anyedge_net::wire::udp::PORT_GRE,
    )
        .into();
    let mut pool = Pool::new(1);
    let (mut leaving, mut arriving) = (Trains::new(), Trains::new());
    let flows: Vec<_> = (0..24_u16)
        .map(|flow| packet(200, None, (flow * 2_700, 0)))
        .collect();
    // All of them once in each turn: how many trains come of it.
    let mut turn = |now| {
        for (bytes, meta) in &flows {
            let packet = pool.lend_copy(bytes, *meta).expect("it came back");
            assert!(from.put(&packet, address, &mut leaving, never));
            pool.take_back(packet);
        }
        from.flush(&mut leaving, now, never);
        let (mut trains, mut datagrams) = (0, 0);
        let until = std::time::Instant::now() + LIMIT;
        while datagrams < flows.len() {
            assert!(std::time::Instant::now() < until, "only {datagrams} came");
            let (count, _) = to.recv(Side::V4, &mut arriving).expect("loopback");
            for message in (0..count).filter_map(|index| arriving.message(index)) {
                trains += 1;
                datagrams += message.len.div_ceil(message.datagram_len);
            }
        }
        trains
    };
    let mut now = Instant::ZERO;
    let mut turns = |count, apart| -> Vec<usize> {
        let after = |_| {
            now += apart;
            turn(now)
        };
        (0..count).map(after).collect()
    };
    let (often, seldom) = (Duration::from_micros(500), Duration::from_millis(50));
    let busy = turns(2_000, often);
    assert_eq!((busy[0], busy.last()), (SOURCES, Some(&1)));
    assert_eq!(turns(8, seldom).last(), Some(&SOURCES));
}
