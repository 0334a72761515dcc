//! Timers: which check is due next.
//!
//! A binary heap that knows where each check stands in it, so that one is moved or taken out at the cost of its
//! logarithm, and none is left behind. Nothing is reserved but for a check that is new.
//!
//! Invariant: `places[id]` is where `id` stands in the heap, and nobody is due before whoever stands above.

use anyedge_net::time::Instant;

/// In no place.
const NOWHERE: u32 = u32::MAX;

/// Checks by when they are due.
#[derive(Default)]
pub(super) struct Timers {
    heap: Vec<(Instant, u32)>,
    places: Vec<u32>,
}

impl Timers {
    /// The check that is due first, and when.
    pub(super) fn first(&self) -> Option<(Instant, u32)> {
        self.heap.first().copied()
    }

    /// `id` is due at that instant, and no other. Of two that are due at once, `precedes` says which comes first.
    pub(super) fn set(&mut self, id: u32, at: Instant, precedes: impl Fn(u32, u32) -> bool) {
        let known = self.places.len();
        self.places.resize(known.max(id as usize + 1), NOWHERE);
        let place = match self.places[id as usize] {
            NOWHERE => {
                self.heap.push((at, id));
                self.heap.len() - 1
            }
            place => {
                self.heap[place as usize].0 = at;
                place as usize
            }
        };
        self.settle(place, &precedes);
    }

    /// `id` is never due.
    pub(super) fn remove(&mut self, id: u32, precedes: impl Fn(u32, u32) -> bool) {
        let Some(place) = self.places.get(id as usize).filter(|it| **it != NOWHERE) else {
            return;
        };
        let place = *place as usize;
        self.heap.swap_remove(place);
        self.places[id as usize] = NOWHERE;
        if place < self.heap.len() {
            self.settle(place, &precedes);
        }
    }

    /// Moves whoever stands at `place` to where it belongs.
    fn settle(&mut self, mut place: usize, precedes: &impl Fn(u32, u32) -> bool) {
        let is_before =
            |a: (Instant, u32), b: (Instant, u32)| a.0 < b.0 || a.0 == b.0 && precedes(a.1, b.1);
        let moved = self.heap[place];
        while place > 0 && is_before(moved, self.heap[(place - 1) / 2]) {
            self.put((place - 1) / 2, place);
            place = (place - 1) / 2;
        }
        while let Some(mut child) = Some(2 * place + 1).filter(|it| *it < self.heap.len()) {
            let other = child + 1;
            if other < self.heap.len() && is_before(self.heap[other], self.heap[child]) {
                child = other;
            }
            if !is_before(self.heap[child], moved) {
                break;
            }
            self.put(child, place);
            place = child;
        }
        self.heap[place] = moved;
        self.places[moved.1 as usize] = place as u32;
    }

    /// Whoever stands at `from` stands at `to`.
    fn put(&mut self, from: usize, to: usize) {
        self.heap[to] = self.heap[from];
        self.places[self.heap[to].1 as usize] = to as u32;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whoever_is_due_first_comes_first_whatever_was_moved_or_taken_out(
            acts in proptest::collection::vec((0_u32..24, proptest::option::of(0_u64..12)), 1..200),
        ) {
            let mut timers = Timers::default();
            let mut model: BTreeMap<u32, Instant> = BTreeMap::new();
            // Ties the other way round than the heap would have them by itself.
            let precedes = |a: u32, b: u32| a > b;
            for (id, at) in acts {
                match at.map(Instant::from_nanos) {
                    Some(at) => {
                        timers.set(id, at, precedes);
                        model.insert(id, at);
                    }
                    None => {
                        timers.remove(id, precedes);
                        model.remove(&id);
                    }
                }
                let first = model.iter().min_by_key(|(id, at)| (**at, core::cmp::Reverse(**id)));
                prop_assert_eq!(timers.first(), first.map(|(id, at)| (*at, *id)));
            }
            while let Some((at, id)) = timers.first() {
                prop_assert_eq!(model.remove(&id), Some(at));
                prop_assert!(model.values().all(|later| *later >= at));
                timers.remove(id, precedes);
            }
            prop_assert!(model.is_empty());
        }
    }
}
