//! The event queue: what is pending, in a total order.
//!
//! Events leave by (time, tie): `tie` packs kind, source name rank and the source's own counter, so no two
//! are equal and the order never depends on how the queue stores them. That order is load-bearing: the
//! trace digest is a fold over it.
//!
//! Most events are packets on a link, and a link does not reorder: each has a lane (`lanes`), where its events stand in line,
//! so that only the first of each line are compared. Everything else, and what would overtake in its lane, is in a timing
//! wheel (`wheel`), which is asked only when one of its events may be next.

mod lanes;
mod wheel;

use anyedge_net::time::Instant;

use lanes::Lanes;
use wheel::Wheel;

/// An event that points at memory which is looked at when it happens.
pub(crate) trait Ahead {
    /// Has that memory brought to the processor, without waiting for it.
    fn fetch(&self);
}

/// When an event is due, and before which others of that time: one number, since it is compared all the time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Due(u128);

impl Due {
    const fn new(at: Instant, tie: u64) -> Due {
        Due(((at.as_nanos() as u128) << 64) | tie as u128)
    }

    const fn nanos(self) -> u64 {
        (self.0 >> 64) as u64
    }

    const fn at(self) -> Instant {
        Instant::from_nanos(self.nanos())
    }
}

/// Which event is next: good until another is pushed or taken.
#[derive(Clone, Copy)]
pub(crate) struct Next {
    due: Due,
    in_wheel: bool,
}

impl Next {
    /// When it is due.
    #[inline]
    pub(crate) const fn at(&self) -> Instant {
        self.due.at()
    }
}

/// Pending events, earliest first.
pub(crate) struct EventQueue<T> {
    lanes: Lanes<T>,
    wheel: Wheel<T>,
}

impl<T: Ahead> EventQueue<T> {
    pub(crate) fn new() -> EventQueue<T> {
        EventQueue {
            lanes: Lanes::new(),
            wheel: Wheel::new(),
        }
    }

    /// Events pending.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lanes.len() + self.wheel.len()
    }

    /// Adds an event. `at` must not lie before the last popped event.
    pub(crate) fn push(&mut self, at: Instant, tie: u64, payload: T) {
        self.wheel.push(Due::new(at, tie), payload);
    }

    /// Adds an event behind those of its lane, if it is due behind them. Lanes are numbered from 0, without gaps.
    #[inline]
    pub(crate) fn push_in_lane(&mut self, lane: usize, at: Instant, tie: u64, payload: T) {
        let due = Due::new(at, tie);
        if self.lanes.takes(lane, due) {
            self.lanes.push(lane, due, payload);
        } else {
            self.wheel.push(due, payload);
        }
    }

    /// Which event is next.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Next> {
        let Some(in_lane) = self.lanes.peek() else {
            return self.first_in_wheel();
        };
        if in_lane.nanos() >= self.wheel.not_before()
            && let Some(first) = self.first_in_wheel()
            && first.due < in_lane
        {
            return Some(first);
        }
        Some(Next {
            due: in_lane,
            in_wheel: false,
        })
    }

    fn first_in_wheel(&mut self) -> Option<Next> {
        let due = self.wheel.peek()?;
        let in_wheel = true;
        Some(Next { due, in_wheel })
    }

    /// Takes the event that [`next`](EventQueue::next) told of.
    #[inline]
    pub(crate) fn take(&mut self, next: Next) -> Option<T> {
        if next.in_wheel {
            self.wheel.pop()
        } else {
            self.lanes.pop()
        }
    }

    /// Takes all events, in no particular order: the end of a run.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        let EventQueue { lanes, wheel } = core::mem::replace(self, EventQueue::new());
        lanes.into_events().chain(wheel.into_events())
    }
}

#[cfg(test)]
mod tests;
