//! Lanes: events of sources whose own never overtake each other, and which of them is first.
//!
//! An event stands behind those of its lane, in memory too, and waits there until it is taken; a heap holds the first
//! of each lane. What comes next is far from the processor, since it was put down long ago: an event that becomes
//! first in its lane has what it points at fetched ([`Ahead`]), while those of other lanes happen.

use std::cmp::Ordering;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};

use anyedge_net::fetch::fetch;

use super::{Ahead, Due};

/// The first event of a lane. The greatest of them is the earliest: heaps give the greatest.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Head {
    due: Due,
    lane: u32,
}

impl Ord for Head {
    #[inline]
    fn cmp(&self, other: &Head) -> Ordering {
        other.due.cmp(&self.due)
    }
}

impl PartialOrd for Head {
    #[inline]
    fn partial_cmp(&self, other: &Head) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// An event in its lane: one cache line, if what happens leaves the time enough of it.
#[repr(align(64))]
struct Standing<T> {
    due: Due,
    payload: T,
}

/// Events in lanes.
pub(super) struct Lanes<T> {
    lanes: Vec<VecDeque<Standing<T>>>,
    /// One for each lane that is not empty.
    heads: BinaryHeap<Head>,
}

impl<T: Ahead> Lanes<T> {
    pub(super) const fn new() -> Lanes<T> {
        Lanes {
            lanes: Vec::new(),
            heads: BinaryHeap::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    /// Whether an event may stand last in its lane: none there is due behind it.
    #[inline]
    pub(super) fn takes(&self, lane: usize, due: Due) -> bool {
        let last = self.lanes.get(lane).and_then(VecDeque::back);
        last.is_none_or(|last| last.due <= due)
    }

    /// Puts an event last into its lane, which takes it.
    #[inline]
    pub(super) fn push(&mut self, lane: usize, due: Due, payload: T) {
        if lane >= self.lanes.len() {
            self.lanes.resize_with(lane + 1, VecDeque::new);
        }
        let events = &mut self.lanes[lane];
        if events.is_empty() {
            let lane = lane as u32;
            self.heads.push(Head { due, lane });
        }
        events.push_back(Standing { due, payload });
    }

    /// When the first event is due.
    #[inline]
    pub(super) fn peek(&self) -> Option<Due> {
        self.heads.peek().map(|head| head.due)
    }

    /// Takes the first event.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<T> {
        let mut head = self.heads.peek_mut()?;
        let events = &mut self.lanes[head.lane as usize];
        let taken = events.pop_front();
        match events.front() {
            Some(next) => {
                head.due = next.due;
                next.payload.fetch();
                if let Some(second) = events.get(1) {
                    fetch(second);
                }
            }
            None => {
                PeekMut::pop(head);
            }
        }
        taken.map(|event| event.payload)
    }

    /// All events, in no particular order.
    pub(super) fn into_events(self) -> impl Iterator<Item = T> {
        self.lanes.into_iter().flatten().map(|event| event.payload)
    }
}
