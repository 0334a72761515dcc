//! The table alone: ports for all fragments, holding, refusing, forgetting.

use anyedge_net::flow::Family;
use anyedge_net::packet::{Meta, Pool};
use anyedge_net::port::PortId;
use anyedge_net::wire::{self, udp};
use proptest::prelude::*;

use super::*;
use crate::testbed::{HASH_KEY, client_flow, datagram, fragments};

const START: Instant = Instant::from_nanos(9_000_000_000);

struct Bench {
    table: FragmentTable<()>,
    out: Outbox,
    now: Instant,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            table: FragmentTable::new(),
            out: Outbox::new(Pool::new(8_192)),
            now: START,
        }
    }

    /// Hands a fragment over; the ports of those that went on.
    fn take(&mut self, bytes: &[u8]) -> Vec<(u16, u16)> {
        let meta = Meta::plain(PortId::PUBLIC);
        let packet = self
            .out
            .pool_mut()
            .lend_copy(bytes, meta)
            .expect("a slot is free");
        let parsed = wire::parse(bytes).expect("a sound fragment");
        let piece = Piece {
            packet,
            parsed,
            context: (),
        };
        let mut passed = Vec::new();
        let mut next = self.table.take(self.now, &HASH_KEY, piece, &mut self.out);
        while let Some(piece) = next {
            let flow = piece.parsed.flow;
            passed.push((flow.src_port, flow.dst_port));
            self.out.pool_mut().take_back(piece.packet);
            next = self.table.pop_released();
        }
        assert_eq!(self.out.pool().loaned(), self.table.held());
        passed
    }

    fn drops(&self, reason: DropReason) -> usize {
        self.out
            .drops()
            .iter()
            .filter(|drop| **drop == reason)
            .count()
    }
}

fn pieces(number: u32, len: usize) -> Vec<Vec<u8>> {
    let flow = client_flow(Family::V4, udp::PROTOCOL, 7_000, number);
    fragments(&datagram(flow, &vec![3; len]), 1_400, number)
}

proptest! {
    #[test]
    fn in_any_order_all_pass_with_the_ports_and_nothing_is_left(
        order in Just((0..6).collect::<Vec<usize>>()).prop_shuffle(),
        again in 0_usize..6,
    ) {
        let mut bench = Bench::new();
        let pieces = pieces(1, 8_000);
        prop_assert_eq!(pieces.len(), 6);
        let mut passed = Vec::new();
        for (step, index) in order.iter().enumerate() {
            passed.extend(bench.take(&pieces[*index]));
            if step == again && step < 5 {
                let dropped = bench.drops(DropReason::FragmentRefused);
                prop_assert_eq!(bench.take(&pieces[*index]), []);
                prop_assert_eq!(bench.drops(DropReason::FragmentRefused), dropped + 1);
            }
        }
        prop_assert_eq!(passed, [(40_000, 7_000); 6]);
        prop_assert_eq!((bench.table.len(), bench.table.held()), (0, 0));
        prop_assert_eq!(bench.table.wake_at(), None);
    }
}

#[test]
fn an_overlap_ends_the_whole_packet() {
    let mut bench = Bench::new();
    let flow = client_flow(Family::V4, udp::PROTOCOL, 7_000, 1);
    let packet = datagram(flow, &[3; 4_000]);
    let wide = fragments(&packet, 1_400, 1);
    let narrow = fragments(&packet, 1_000, 1);
    assert_eq!(bench.take(&wide[1]), []);
    assert_eq!(bench.take(&narrow[1]), []);
    assert_eq!(
        bench.drops(DropReason::FragmentRefused),
        2,
        "the held one too"
    );
    assert_eq!(bench.take(&wide[0]), []);
    assert_eq!(bench.take(&wide[2]), []);
    assert_eq!(bench.drops(DropReason::FragmentRefused), 4);
}

#[test]
fn what_waits_in_vain_ends_after_its_time() {
    let mut bench = Bench::new();
    let pieces = pieces(1, 4_000);
    bench.take(&pieces[1]);
    bench.take(&pieces[2]);
    let due = bench.table.wake_at().expect("a packet is known");
    assert_eq!(due, START + FRAGMENT_TIMEOUT);
    bench.table.expire(due, &mut bench.out);
    assert_eq!(bench.drops(DropReason::FragmentTimeout), 2);
    assert_eq!((bench.table.len(), bench.table.held()), (0, 0));
    assert_eq!(bench.out.pool().loaned(), 0);
    bench.now = due;
    assert_eq!(bench.take(&pieces[0]).len(), 1, "a packet of its own");
}

#[test]
fn the_oldest_packet_makes_room_and_held_fragments_are_bounded() {
    let mut bench = Bench::new();
    for number in 0..DATAGRAMS_MAX as u32 + 100 {
        bench.take(&pieces(number, 2_000)[1]);
        assert!(bench.table.len() <= DATAGRAMS_MAX);
        assert!(bench.table.held() <= HELD_MAX);
    }
    let refused = bench.drops(DropReason::FragmentRefused);
    let ended = bench.drops(DropReason::FragmentTimeout);
    assert_eq!(ended, 100, "those that the oldest held");
    assert_eq!(refused + ended + bench.table.held(), DATAGRAMS_MAX + 100);
    let last = DATAGRAMS_MAX as u32 + 99;
    assert_eq!(bench.take(&pieces(last, 2_000)[0]).len(), 2);
    bench.table.clear(DropReason::RunEnded, &mut bench.out);
    assert_eq!(bench.out.pool().loaned(), 0);
}
