//! The ticks of one host that have been sent and not been answered, by sequence number.
//!
//! Sequence numbers are handed out in order, so the window is a queue: its front is the oldest tick without
//! an outcome, and a tick is found by subtraction. Deadlines are in the same order, so expiry only looks at
//! the front. Nothing is allocated per tick; the queue grows to the most that ever was outstanding, and no
//! further than [`SPAN_MAX`] from the oldest tick to the newest.

use core::time::Duration;
use std::collections::VecDeque;

use anyedge_net::time::Instant;

/// The most sequence numbers from the oldest tick without an outcome to the newest.
pub(super) const SPAN_MAX: usize = 1 << 20;

/// A tick on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tick {
    pub(super) intended: Instant,
    pub(super) started: Instant,
}

/// The ticks on their way.
pub(super) struct Window {
    /// Sequence number of the front.
    base: u64,
    /// `None`: has its outcome. The front never is.
    ticks: VecDeque<Option<Tick>>,
    in_flight: u32,
    in_flight_max: u32,
}

impl Window {
    pub(super) fn new(in_flight_max: u32) -> Window {
        Window {
            base: 0,
            ticks: VecDeque::new(),
            in_flight: 0,
            in_flight_max,
        }
    }

    /// Whether one more may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight < self.in_flight_max && self.ticks.len() < SPAN_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ticks.is_empty()
    }

    /// The sequence number of the next tick.
    pub(super) fn next_sequence(&self) -> u64 {
        self.base + self.ticks.len() as u64
    }

    /// The next tick has been sent.
    pub(super) fn push(&mut self, tick: Tick) {
        self.ticks.push_back(Some(tick));
        self.in_flight += 1;
    }

    /// The tick `sequence`, if it waits for its answer.
    pub(super) fn get(&self, sequence: u64) -> Option<Tick> {
        let place = usize::try_from(sequence.checked_sub(self.base)?).ok()?;
        *self.ticks.get(place)?
    }

    /// The tick `sequence` has its outcome; nothing happens if it had one before.
    pub(super) fn settle(&mut self, sequence: u64) {
        let place = sequence
            .checked_sub(self.base)
            .and_then(|place| usize::try_from(place).ok());
        if let Some(tick) = place.and_then(|place| self.ticks.get_mut(place))
            && tick.take().is_some()
        {
            self.in_flight -= 1;
            self.drop_settled();
        }
    }

    /// The oldest tick has its outcome; false if there is none.
    pub(super) fn settle_oldest(&mut self) -> bool {
        let any = !self.is_empty();
        self.settle(self.base);
        any
    }

    /// Settles the ticks whose timeout has passed, and counts them.
    pub(super) fn expire(&mut self, now: Instant, timeout: Duration) -> u64 {
        let mut expired = 0;
        while self
            .oldest()
            .is_some_and(|tick| tick.intended + timeout <= now)
        {
            self.settle_oldest();
            expired += 1;
        }
        expired
    }

    /// The oldest tick without an outcome.
    pub(super) fn oldest(&self) -> Option<Tick> {
        self.ticks.front().copied().flatten()
    }

    fn drop_settled(&mut self) {
        while let Some(None) = self.ticks.front() {
            self.ticks.pop_front();
            self.base += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn tick(nanos: u64) -> Tick {
        Tick {
            intended: Instant::from_nanos(nanos),
            started: Instant::from_nanos(nanos),
        }
    }

    #[test]
    fn one_lost_tick_does_not_hold_up_those_after_it() {
        let mut window = Window::new(2);
        for sequence in 0..1_000 {
            assert!(window.has_room());
            window.push(tick(sequence));
            if sequence > 0 {
                window.settle(sequence);
            }
        }
        assert_eq!(
            window.expire(Instant::from_nanos(500), Duration::from_nanos(500)),
            1
        );
        assert!(window.is_empty());
        assert_eq!(window.next_sequence(), 1_000);
    }

    #[test]
    fn a_full_window_has_no_room_until_one_is_settled() {
        let mut window = Window::new(2);
        window.push(tick(0));
        window.push(tick(1));
        assert!(!window.has_room());
        window.settle(1);
        assert!(window.has_room());
    }

    #[test]
    fn the_span_is_bounded_when_only_the_oldest_is_missing() {
        let mut window = Window::new(u32::MAX);
        window.push(tick(0));
        while window.has_room() {
            let sequence = window.next_sequence();
            window.push(tick(sequence));
            window.settle(sequence);
        }
        assert_eq!(window.next_sequence(), SPAN_MAX as u64);
        assert!(window.settle_oldest());
        assert!(window.has_room() && !window.settle_oldest());
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_map(steps in prop::collection::vec((0u8..4, 0u64..50), 1..200)) {
            let mut window = Window::new(u32::MAX);
            let mut map = BTreeMap::new();
            let mut clock = 0;
            for (step, value) in steps {
                clock += 1;
                match step {
                    0 | 1 => {
                        map.insert(window.next_sequence(), tick(clock));
                        window.push(tick(clock));
                    }
                    2 => {
                        map.remove(&value);
                        window.settle(value);
                    }
                    _ => {
                        let timeout = Duration::from_nanos(value);
                        let before = map.len();
                        map.retain(|_, tick| tick.intended + timeout > Instant::from_nanos(clock));
                        let expired = window.expire(Instant::from_nanos(clock), timeout);
                        prop_assert_eq!(expired, (before - map.len()) as u64);
                    }
                }
                prop_assert_eq!(window.in_flight as usize, map.len());
                prop_assert_eq!(window.oldest(), map.values().next().copied());
                prop_assert_eq!(window.get(value), map.get(&value).copied());
            }
        }
    }
}
