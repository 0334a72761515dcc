//! The event queue: a timing wheel with a total order.
//!
//! Events leave by (time, tie): `tie` packs kind, source name rank and the source's own counter, so no two
//! are equal and the order never depends on how the queue stores them. That order is load-bearing: the
//! trace digest is a fold over it.
//!
//! Three levels: buckets of 4 us for the next 67 ms, buckets of 67 ms for the next 68 s, a heap beyond.
//! The bucket being emptied is sorted once; what is pushed into it meanwhile goes to a small heap beside.
//! Events live in a slab, so that only (time, tie, index) is sorted and moved; when they are due stands beside it, close
//! together. What comes next is far from the processor, since it was put down long ago: while a bucket is in work, the
//! slots of the next but one are fetched, and what the events of the next one point at ([`Ahead`]).
//!
//! Invariant: no pending event is earlier than the bucket that `fine_at` names.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

use anyedge_net::time::Instant;
use prefetch_index::prefetch_index;

const FINE_SHIFT: u32 = 12;
const FINE_BUCKETS: usize = 1 << 14;
const COARSE_SHIFT: u32 = FINE_SHIFT + 14;
const COARSE_BUCKETS: usize = 1 << 10;
const NONE: u32 = u32::MAX;
/// Events of a bucket that are looked at before it is in work.
const AHEAD_MAX: usize = 8;

/// An event that points at memory which is looked at when it happens.
pub(crate) trait Ahead {
    /// Has that memory brought to the processor, without waiting for it.
    fn fetch(&self);
}

/// When an event is due, and which follows it in its bucket, or in the list of free slots.
#[derive(Clone, Copy)]
struct Slot {
    at: u64,
    tie: u64,
    next: u32,
}

type Key = (u64, u64, u32);

/// Pending events, earliest first.
pub(crate) struct EventQueue<T> {
    slots: Vec<Slot>,
    /// What happens, by slot.
    payloads: Vec<Option<T>>,
    free: u32,
    fine: Ring,
    coarse: Ring,
    far: BinaryHeap<Reverse<Key>>,
    /// The bucket in work, latest first.
    current: Vec<Key>,
    /// What was pushed into the bucket in work.
    late: BinaryHeap<Reverse<Key>>,
    /// Number of the fine bucket in work, counted from time zero.
    fine_at: u64,
    len: usize,
}

impl<T: Ahead> EventQueue<T> {
    pub(crate) fn new() -> EventQueue<T> {
        EventQueue {
            slots: Vec::new(),
            payloads: Vec::new(),
            free: NONE,
            fine: Ring::new(FINE_BUCKETS),
            coarse: Ring::new(COARSE_BUCKETS),
            far: BinaryHeap::new(),
            current: Vec::new(),
            late: BinaryHeap::new(),
            fine_at: 0,
            len: 0,
        }
    }

    /// Events pending.
    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Adds an event. `at` must not lie before the last popped event.
    pub(crate) fn push(&mut self, at: Instant, tie: u64, payload: T) {
        let slot = Slot {
            at: at.as_nanos(),
            tie,
            next: NONE,
        };
        let index = if self.free == NONE {
            self.slots.push(slot);
            self.payloads.push(Some(payload));
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 events are pending")
        } else {
            let index = self.free;
            self.free = self.slots[index as usize].next;
            self.slots[index as usize] = slot;
            self.payloads[index as usize] = Some(payload);
            index
        };
        self.len += 1;
        self.place(index);
    }

    fn place(&mut self, index: u32) {
        let Slot { at, tie, .. } = self.slots[index as usize];
        let fine = at >> FINE_SHIFT;
        if fine <= self.fine_at {
            self.late.push(Reverse((at, tie, index)));
        } else if fine >> 14 == self.fine_at >> 14 {
            self.slots[index as usize].next = self.fine.put(fine, index);
        } else if (at >> COARSE_SHIFT) - (self.fine_at >> 14) < COARSE_BUCKETS as u64 {
            self.slots[index as usize].next = self.coarse.put(at >> COARSE_SHIFT, index);
        } else {
            self.far.push(Reverse((at, tie, index)));
        }
    }

    /// When the next event is due.
    pub(crate) fn next_at(&mut self) -> Option<Instant> {
        self.advance();
        let next = match (self.current.last(), self.late.peek()) {
            (Some(sorted), Some(Reverse(late))) => sorted.min(late),
            (Some(only), None) | (None, Some(Reverse(only))) => only,
            (None, None) => return None,
        };
        Some(Instant::from_nanos(next.0))
    }

    /// Takes the next event.
    pub(crate) fn pop(&mut self) -> Option<(Instant, T)> {
        self.advance();
        let take_late = match (self.current.last(), self.late.peek()) {
            (Some(sorted), Some(Reverse(late))) => late < sorted,
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (None, None) => return None,
        };
        let (at, _, index) = if take_late {
            self.late.pop().expect("peeked above").0
        } else {
            self.current.pop().expect("seen above")
        };
        let payload = self.payloads[index as usize]
            .take()
            .expect("a pending event has its payload");
        self.slots[index as usize].next = self.free;
        self.free = index;
        self.len -= 1;
        Some((Instant::from_nanos(at), payload))
    }

    /// Brings the next bucket that holds anything into work.
    fn advance(&mut self) {
        while self.current.is_empty() && self.late.is_empty() && self.len > 0 {
            if let Some(fine) = self
                .fine
                .next_from(self.fine_at + 1, (self.fine_at | 0x3fff) + 1)
            {
                self.fine_at = fine;
                self.collect(fine);
                self.look_ahead();
            } else {
                self.cascade();
            }
        }
    }

    fn collect(&mut self, fine: u64) {
        let mut index = self.fine.take(fine);
        while index != NONE {
            let slot = &self.slots[index as usize];
            self.current.push((slot.at, slot.tie, index));
            index = slot.next;
        }
        self.current.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// Has fetched what the buckets behind the one in work will want.
    fn look_ahead(&self) {
        let end = (self.fine_at | 0x3fff) + 1;
        let Some(next) = self.fine.next_from(self.fine_at + 1, end) else {
            return;
        };
        // The slot of its first was fetched when it was the next but one.
        let mut index = self.fine.first(next);
        for _ in 0..AHEAD_MAX {
            if index == NONE {
                break;
            }
            if let Some(payload) = &self.payloads[index as usize] {
                payload.fetch();
            }
            index = self.slots[index as usize].next;
        }
        if let Some(after) = self.fine.next_from(next + 1, end) {
            let index = self.fine.first(after) as usize;
            prefetch_index(&self.slots, index);
            prefetch_index(&self.payloads, index);
        }
    }

    /// The fine ring is spent: enters the next coarse bucket that holds anything.
    fn cascade(&mut self) {
        let coarse_at = self.fine_at >> 14;
        let far = self
            .far
            .peek()
            .map(|Reverse((at, _, _))| at >> COARSE_SHIFT);
        let near = self
            .coarse
            .next_from(coarse_at + 1, coarse_at + COARSE_BUCKETS as u64);
        let next = match (near, far) {
            (Some(near), Some(far)) => near.min(far),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => return,
        };
        let mut index = self.coarse.take(next);
        self.fine_at = next << 14;
        while index != NONE {
            let following = self.slots[index as usize].next;
            self.slots[index as usize].next = NONE;
            self.place(index);
            index = following;
        }
        while let Some(Reverse((at, _, index))) = self.far.peek().copied() {
            if (at >> COARSE_SHIFT) - next >= COARSE_BUCKETS as u64 {
                break;
            }
            self.far.pop();
            self.place(index);
        }
    }

    /// Takes all events, in no particular order: the end of a run.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        let payloads = core::mem::take(&mut self.payloads);
        *self = EventQueue::new();
        payloads.into_iter().flatten()
    }
}

/// Buckets as intrusive lists, with a bitmap of those that hold anything.
struct Ring {
    heads: Box<[u32]>,
    filled: Box<[u64]>,
}

impl Ring {
    fn new(buckets: usize) -> Ring {
        Ring {
            heads: vec![NONE; buckets].into(),
            filled: vec![0; buckets / 64].into(),
        }
    }

    fn slot(&self, number: u64) -> usize {
        (number as usize) & (self.heads.len() - 1)
    }

    /// Puts `index` first into bucket `number` and returns what was first.
    fn put(&mut self, number: u64, index: u32) -> u32 {
        let slot = self.slot(number);
        self.filled[slot / 64] |= 1 << (slot % 64);
        core::mem::replace(&mut self.heads[slot], index)
    }

    /// What is first in bucket `number`.
    fn first(&self, number: u64) -> u32 {
        self.heads[self.slot(number)]
    }

    fn take(&mut self, number: u64) -> u32 {
        let slot = self.slot(number);
        self.filled[slot / 64] &= !(1 << (slot % 64));
        core::mem::replace(&mut self.heads[slot], NONE)
    }

    /// The first filled bucket in `from..until`; the range spans at most one turn.
    fn next_from(&self, from: u64, until: u64) -> Option<u64> {
        let mut number = from;
        while number < until {
            let slot = self.slot(number);
            let word = self.filled[slot / 64] >> (slot % 64);
            if word != 0 {
                let found = number + u64::from(word.trailing_zeros());
                return (found < until).then_some(found);
            }
            number += 64 - (slot % 64) as u64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyedge_net::rng::Seed;
    use std::collections::BTreeMap;

    impl Ahead for usize {
        fn fetch(&self) {}
    }

    impl Ahead for u64 {
        fn fetch(&self) {}
    }

    impl Ahead for char {
        fn fetch(&self) {}
    }

    /// Random pushes and pops, compared with a map that is obviously right.
    fn agree(seed: u64, spread: u64, steps: usize) {
        let mut rng = Seed(seed).stream("queue", "test");
        let mut queue = EventQueue::new();
        let mut model = BTreeMap::new();
        let (mut now, mut tie) = (0u64, 0u64);
        for step in 0..steps {
            if rng.below(100) < 55 || model.is_empty() {
                let ahead = rng.below(spread) >> rng.below(40);
                // Ties come in no order.
                tie += 1;
                let shuffled = tie.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                queue.push(Instant::from_nanos(now + ahead), shuffled, step);
                model.insert((now + ahead, shuffled), step);
            } else {
                let ((at, _), expected) = model.pop_first().expect("checked above");
                assert_eq!(queue.next_at(), Some(Instant::from_nanos(at)));
                assert_eq!(queue.pop(), Some((Instant::from_nanos(at), expected)));
                now = at;
            }
            assert_eq!(queue.len(), model.len());
        }
        while let Some(((at, _), expected)) = model.pop_first() {
            assert_eq!(queue.pop(), Some((Instant::from_nanos(at), expected)));
        }
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn events_leave_in_total_order_at_every_scale() {
        for (seed, spread) in [
            (1, 100),
            (2, 10_000),
            (3, 10_000_000),
            (4, 1 << 36),
            (5, 1 << 44),
            (6, 1 << 50),
        ] {
            agree(seed, spread, 20_000);
        }
    }

    #[test]
    fn an_event_pushed_into_the_bucket_in_work_takes_its_place() {
        let mut queue = EventQueue::new();
        queue.push(Instant::from_nanos(10), 2, 'b');
        queue.push(Instant::from_nanos(12), 0, 'd');
        assert_eq!(queue.pop(), Some((Instant::from_nanos(10), 'b')));
        queue.push(Instant::from_nanos(11), 9, 'c');
        assert_eq!(queue.pop(), Some((Instant::from_nanos(11), 'c')));
        assert_eq!(queue.pop(), Some((Instant::from_nanos(12), 'd')));
    }

    #[test]
    fn draining_gives_back_what_was_pending() {
        let mut queue = EventQueue::new();
        for n in 0..100u64 {
            queue.push(Instant::from_nanos(n << 30), n, n);
        }
        queue.pop();
        assert_eq!(queue.drain().count(), 99);
        assert_eq!(queue.len(), 0);
    }
}
