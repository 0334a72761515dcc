//! Datagrams that are larger than a packet, between two hosts: cut by one, put together by the other.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::packet::Meta;
use anyedge_net::port::PortId;
use anyedge_net::wire;

use super::pipe::*;
use super::udp::{bind, poll_recv, send};

const ENDS: [(&str, &str); 2] = [
    ("10.0.0.1:5000", "10.0.0.2:7000"),
    ("[2001:db8::1]:5000", "[2001:db8::2]:7000"),
];

/// The packets of a datagram of `len` bytes, kept from the wire.
fn fragments_of(pipe: &mut Pipe, (from, to): (&str, &str), len: usize) -> Vec<Vec<u8>> {
    let kept = Rc::new(RefCell::new(Vec::new()));
    let into = Rc::clone(&kept);
    pipe.tap = Box::new(move |_, bytes| {
        into.borrow_mut().push(bytes.to_vec());
        true
    });
    let socket = bind(pipe, CLIENT, from);
    send(pipe, CLIENT, socket, &pattern(len), to).expect("it fits a datagram");
    pipe.hosts[CLIENT].udp_close(socket, &mut pipe.pool);
    pipe.tap = Box::new(|_, _| false);
    kept.take()
}

fn deliver(pipe: &mut Pipe, bytes: &[u8]) {
    let meta = Meta::plain(PortId::PUBLIC);
    let packet = pipe.pool.lend_copy(bytes, meta).expect("a slot is free");
    pipe.deliver(SERVER, packet);
}

#[test]
fn a_datagram_of_any_size_arrives_in_packets_of_at_most_the_mtu() {
    for ends in ENDS {
        let mut pipe = Pipe::new(1);
        let reader = bind(&mut pipe, SERVER, ends.1);
        for len in [1_452, 1_473, 2_961, 4_000, 30_000, 65_507] {
            let packets = fragments_of(&mut pipe, ends, len);
            assert!(packets.iter().all(|packet| packet.len() <= 1_500));
            assert_eq!(packets.len() > 1, len > 1_472, "{len} bytes");
            let split = packets.iter().rev();
            split.for_each(|packet| deliver(&mut pipe, packet));
            let (bytes, whole, meta) = pipe
                .wait(|pipe| poll_recv(pipe, SERVER, reader, 70_000))
                .expect("it came");
            assert!(whole == len && bytes == pattern(len));
            assert_eq!(meta.peer, addr(ends.0));
        }
        assert_eq!((pipe.drops.len(), pipe.held), (0, 0));
        pipe.finish();
    }
}

#[test]
fn what_does_not_come_whole_is_given_up_after_30_s() {
    for ends in ENDS {
        let mut pipe = Pipe::new(1);
        bind(&mut pipe, SERVER, ends.1);
        let packets = fragments_of(&mut pipe, ends, 4_000);
        deliver(&mut pipe, &packets[0]);
        deliver(&mut pipe, &packets[0]);
        deliver(&mut pipe, &packets[2]);
        assert_eq!(pipe.drops, [DropReason::FragmentRefused], "it came twice");
        assert_eq!(pipe.held, 2);
        pipe.run_for(Duration::from_secs(30));
        deliver(&mut pipe, &packets[1]);
        assert_eq!(pipe.drops[1..], [DropReason::FragmentTimeout; 2]);
        assert_eq!(pipe.held, 1);
        pipe.finish();
    }
}

#[test]
fn an_overlap_ends_the_packet_and_what_still_comes_of_it() {
    let mut pipe = Pipe::new(1);
    let reader = bind(&mut pipe, SERVER, ENDS[0].1);
    let packets = fragments_of(&mut pipe, ENDS[0], 4_000);
    // The last fragment once more, from 8 bytes earlier on.
    let mut overlapping = packets[2].clone();
    let position = u16::from_be_bytes([overlapping[6], overlapping[7]]) - 1;
    overlapping[6..8].copy_from_slice(&position.to_be_bytes());
    overlapping[10..12].fill(0);
    let check = anyedge_net::checksum::internet(&overlapping[..20]);
    overlapping[10..12].copy_from_slice(&check.to_be_bytes());
    deliver(&mut pipe, &packets[1]);
    deliver(&mut pipe, &overlapping);
    deliver(&mut pipe, &packets[2]);
    deliver(&mut pipe, &packets[0]);
    assert_eq!(pipe.drops, [DropReason::FragmentRefused; 4]);
    assert_eq!(pipe.held, 0);
    assert!(poll_recv(&mut pipe, SERVER, reader, 8).is_pending());
    pipe.finish();
}

#[test]
fn packets_that_never_become_whole_make_room_for_those_that_do() {
    let mut pipe = Pipe::new(1);
    let reader = bind(&mut pipe, SERVER, ENDS[0].1);
    for _ in 0..300 {
        let packets = fragments_of(&mut pipe, ENDS[0], 2_000);
        deliver(&mut pipe, &packets[0]);
    }
    assert_eq!((pipe.held, pipe.drops.len()), (256, 44));
    for packet in fragments_of(&mut pipe, ENDS[0], 2_000) {
        deliver(&mut pipe, &packet);
    }
    assert!(poll_recv(&mut pipe, SERVER, reader, 8).is_ready());
    // A crash leaves nothing behind.
    pipe.finish();
}

#[test]
fn a_path_that_is_narrower_is_learned_from_the_first_error() {
    let mut pipe = Pipe::new(1);
    let ends = ENDS[1];
    let socket = bind(&mut pipe, CLIENT, ends.0);
    bind(&mut pipe, SERVER, ends.1);
    let first = Rc::new(RefCell::new(Vec::new()));
    let longest = Rc::new(RefCell::new(0));
    let (kept, seen) = (Rc::clone(&first), Rc::clone(&longest));
    pipe.tap = Box::new(move |_, bytes| {
        let lost = bytes.len() > 1_400;
        if lost && kept.borrow().is_empty() {
            kept.borrow_mut().extend_from_slice(bytes);
        }
        *seen.borrow_mut() = bytes.len();
        lost
    });
    send(&mut pipe, CLIENT, socket, &pattern(4_000), ends.1).expect("it fits a datagram");
    let refused = first.borrow().clone();
    let parsed = wire::parse(&refused).expect("a sound packet");
    let mut error = [0; wire::icmp::ERROR_LEN_MAX];
    let router = anyedge_net::flow::Address::v6([0x20; 16]);
    let too_big = wire::icmp::Complaint::TooBig { mtu: 1_400 };
    let len = wire::icmp::write_error(&refused, &parsed, too_big, router, &mut error);
    let meta = Meta::plain(PortId::PUBLIC);
    let packet = pipe.pool.lend_copy(&error[..len], meta).expect("a slot");
    pipe.deliver(CLIENT, packet);
    send(&mut pipe, CLIENT, socket, &pattern(1_400), ends.1).expect("it fits a datagram");
    assert!(*longest.borrow() <= 1_400);
    pipe.run_for(Duration::from_secs(1));
    assert_eq!(pipe.held, 1, "what the narrow path took of the first");
    pipe.finish();
}
