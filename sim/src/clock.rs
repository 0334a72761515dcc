//! A machine's clock that runs wrong: how it stands to the world's.
//!
//! It is a straight line from a point where both were read: own time passes `1 + drift` as fast. A jump or another
//! drift begins a new line where the old one ends or ahead of it, so that no clock ever runs back. Integers only; own
//! time is rounded down, and the world's time of an own time is the first at which the clock shows it.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;

use anyedge_net::time::Instant;

const WHOLE_PPM: u128 = 1_000_000;

/// The world's time for who asks it without opening the world, which is most of all that is asked.
///
/// One thread runs the world: what it stores here is only loaded and stored, in the order of its own steps.
#[derive(Default)]
pub(crate) struct WorldTime {
    nanos: AtomicU64,
    some_clock_is_wrong: AtomicBool,
}

impl WorldTime {
    /// The time is `now`.
    #[inline]
    pub(crate) fn set(&self, now: Instant) {
        self.nanos.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// From now on some machine's clock may show another time.
    pub(crate) fn doubt_clocks(&self) {
        self.some_clock_is_wrong.store(true, Ordering::Relaxed);
    }

    /// What every machine's clock shows; `None` when they may differ.
    #[inline]
    pub(crate) fn shown(&self) -> Option<Instant> {
        let differ = self.some_clock_is_wrong.load(Ordering::Relaxed);
        (!differ).then(|| Instant::from_nanos(self.nanos.load(Ordering::Relaxed)))
    }
}

/// A machine's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Clock {
    /// When it was set, by the world and by itself.
    world: Instant,
    own: Instant,
    drift_ppm: i32,
}

impl Clock {
    /// A clock that is right.
    pub(crate) const RIGHT: Clock = Clock {
        world: Instant::ZERO,
        own: Instant::ZERO,
        drift_ppm: 0,
    };

    /// What it shows at a time of the world.
    pub(crate) fn read(&self, now: Instant) -> Instant {
        let passed = u128::from(now.as_nanos().saturating_sub(self.world.as_nanos()));
        self.own + to_duration(passed * self.speed_ppm() / WHOLE_PPM)
    }

    /// When it shows `own`, by the world; a time that has passed when it shows more already.
    pub(crate) fn shows_at(&self, own: Instant) -> Instant {
        if own == Instant::FAR_FUTURE {
            return own;
        }
        let more = u128::from(own.as_nanos().saturating_sub(self.own.as_nanos()));
        self.world + to_duration((more * WHOLE_PPM).div_ceil(self.speed_ppm()))
    }

    /// From `now` on it drifts so, and is `jump` ahead of what it showed.
    pub(crate) fn set(&mut self, now: Instant, drift_ppm: i32, jump: Duration) {
        *self = Clock {
            world: now,
            own: self.read(now) + jump,
            drift_ppm,
        };
    }

    fn speed_ppm(&self) -> u128 {
        // The file's reader bounds the drift to a tenth.
        (1_000_000 + i64::from(self.drift_ppm))
            .unsigned_abs()
            .into()
    }
}

fn to_duration(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn a_clock_that_drifts_gains_or_loses_its_share_and_keeps_it_when_it_is_right_again() {
        for (drift, shown) in [(200, 5_001_000_000), (-200, 4_999_000_000)] {
            let mut clock = Clock::RIGHT;
            clock.set(at(1_000_000_000), drift, Duration::ZERO);
            assert_eq!(clock.read(at(1_000_000_000)), at(1_000_000_000));
            let later = at(6_000_000_000);
            assert_eq!(
                clock.read(later).since(at(1_000_000_000)),
                to_duration(shown)
            );
            clock.set(later, 0, Duration::ZERO);
            let gained = clock.read(at(9_000_000_000)).since(at(1_000_000_000));
            assert_eq!(gained, to_duration(shown + 3_000_000_000));
        }
    }

    #[test]
    fn the_time_at_which_it_shows_something_is_the_first_such_time() {
        let mut clock = Clock::RIGHT;
        for drift in [-100_000, -7, 3, 100_000] {
            clock.set(
                clock.world + Duration::from_secs(1),
                drift,
                Duration::from_millis(3),
            );
            for more in [0, 1, 2, 999_999, 123_456_789_123] {
                let own = clock.own + Duration::from_nanos(more);
                let when = clock.shows_at(own);
                assert!(clock.read(when) >= own, "{drift} {more}");
                let before = at(when.as_nanos() - 1);
                assert!(
                    when <= clock.world || clock.read(before) < own,
                    "{drift} {more}"
                );
            }
        }
        assert_eq!(clock.shows_at(Instant::FAR_FUTURE), Instant::FAR_FUTURE);
    }

    #[test]
    fn a_jump_goes_ahead_at_once() {
        let mut clock = Clock::RIGHT;
        clock.set(at(10), 0, Duration::from_secs(5));
        assert_eq!(clock.read(at(10)), at(5_000_000_010));
        assert!(
            clock.shows_at(at(4_000_000_000)) <= at(10),
            "that has passed"
        );
    }
}
