//! A timing wheel: events at any distance, with a total order.
//!
//! Three levels: buckets of 4 us for the next 67 ms, buckets of 67 ms for the next 68 s, a heap beyond.
//! The bucket being emptied is sorted once; what is pushed into it meanwhile, or before it, goes to a small heap beside.
//! Events live in a slab, so that only (due, index) is sorted and moved; when they are due stands beside it, close
//! together.
//!
//! Invariant: no pending event of a ring is earlier than the bucket that `fine_at` names, and none at all than `not_before`.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

use anyedge_net::fetch::fetch;

use super::Due;

const FINE_SHIFT: u32 = 12;
const FINE_BUCKETS: usize = 1 << 14;
const COARSE_SHIFT: u32 = FINE_SHIFT + 14;
const COARSE_BUCKETS: usize = 1 << 10;
const NONE: u32 = u32::MAX;

/// When an event is due, and which follows it in its bucket, or in the list of free slots.
#[derive(Clone, Copy)]
struct Slot {
    due: Due,
    next: u32,
}

type Key = (Due, u32);

/// Pending events, earliest first.
pub(super) struct Wheel<T> {
    slots: Vec<Slot>,
    /// What happens, by slot.
    payloads: Vec<Option<T>>,
    free: u32,
    fine: Ring,
    coarse: Ring,
    far: BinaryHeap<Reverse<Key>>,
    /// The bucket in work, latest first.
    current: Vec<Key>,
    /// What was pushed into the bucket in work, or before it.
    late: BinaryHeap<Reverse<Key>>,
    /// Number of the fine bucket in work, counted from time zero.
    fine_at: u64,
    /// No event is due before it, in nanoseconds.
    not_before: u64,
    len: usize,
}

impl<T> Wheel<T> {
    pub(super) fn new() -> Wheel<T> {
        Wheel {
            slots: Vec::new(),
            payloads: Vec::new(),
            free: NONE,
            fine: Ring::new(FINE_BUCKETS),
            coarse: Ring::new(COARSE_BUCKETS),
            far: BinaryHeap::new(),
            current: Vec::new(),
            late: BinaryHeap::new(),
            fine_at: 0,
            not_before: u64::MAX,
            len: 0,
        }
    }

    #[cfg(test)]
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// A time in nanoseconds before which no event is due, known without looking for the first.
    #[inline]
    pub(super) const fn not_before(&self) -> u64 {
        self.not_before
    }

    /// Adds an event.
    #[inline]
    pub(super) fn push(&mut self, due: Due, payload: T) {
        let slot = Slot { due, next: NONE };
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
        self.not_before = self.not_before.min(due.nanos());
        self.place(index);
    }

    fn place(&mut self, index: u32) {
        let due = self.slots[index as usize].due;
        let fine = due.nanos() >> FINE_SHIFT;
        let coarse = due.nanos() >> COARSE_SHIFT;
        if fine <= self.fine_at {
            self.late.push(Reverse((due, index)));
        } else if fine >> 14 == self.fine_at >> 14 {
            self.slots[index as usize].next = self.fine.put(fine, index);
        } else if coarse - (self.fine_at >> 14) < COARSE_BUCKETS as u64 {
            self.slots[index as usize].next = self.coarse.put(coarse, index);
        } else {
            self.far.push(Reverse((due, index)));
        }
    }

    /// When the first event is due.
    pub(super) fn peek(&mut self) -> Option<Due> {
        self.advance();
        let first = self.first_in_work();
        self.not_before = first.map_or(u64::MAX, Due::nanos);
        first
    }

    /// Takes the first event.
    pub(super) fn pop(&mut self) -> Option<T> {
        self.advance();
        let take_late = match (self.current.last(), self.late.peek()) {
            (Some(sorted), Some(Reverse(late))) => late < sorted,
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (None, None) => return None,
        };
        let (_, index) = if take_late {
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
        self.not_before = self.bound();
        Some(payload)
    }

    fn first_in_work(&self) -> Option<Due> {
        match (self.current.last(), self.late.peek()) {
            (Some(sorted), Some(Reverse(late))) => Some(sorted.min(late).0),
            (Some(only), None) | (None, Some(Reverse(only))) => Some(only.0),
            (None, None) => None,
        }
    }

    /// A time before which no event is due, without bringing another bucket into work.
    fn bound(&self) -> u64 {
        if let Some(first) = self.first_in_work() {
            return first.nanos();
        }
        if self.len == 0 {
            return u64::MAX;
        }
        let end = (self.fine_at | 0x3fff) + 1;
        let Some(next) = self.fine.next_from(self.fine_at + 1, end) else {
            return end << FINE_SHIFT;
        };
        // It will be brought into work soon.
        let first = self.fine.first(next) as usize;
        fetch(&self.slots[first]);
        fetch(&self.payloads[first]);
        next << FINE_SHIFT
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
            } else {
                self.cascade();
            }
        }
    }

    fn collect(&mut self, fine: u64) {
        let mut index = self.fine.take(fine);
        while index != NONE {
            let slot = &self.slots[index as usize];
            self.current.push((slot.due, index));
            index = slot.next;
        }
        self.current.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// The fine ring is spent: enters the next coarse bucket that holds anything.
    fn cascade(&mut self) {
        let coarse_at = self.fine_at >> 14;
        let far = self
            .far
            .peek()
            .map(|Reverse((due, _))| due.nanos() >> COARSE_SHIFT);
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
        while let Some(Reverse((due, index))) = self.far.peek().copied() {
            if (due.nanos() >> COARSE_SHIFT) - next >= COARSE_BUCKETS as u64 {
                break;
            }
            self.far.pop();
            self.place(index);
        }
    }

    /// All events, in no particular order.
    pub(super) fn into_events(self) -> impl Iterator<Item = T> {
        self.payloads.into_iter().flatten()
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
