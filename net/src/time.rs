//! Time as the product sees it: nanoseconds since the start of its world, always handed in.
//!
//! The simulator's world starts at zero and jumps from event to event; the live world starts when the
//! process does and follows the monotonic clock. Code below the drivers cannot tell which it is in, which
//! is why a forwarder's behaviour under one holds under the other.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};
use core::time::Duration;

/// A point in time: nanoseconds since the world's epoch. Covers 584 years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The world's epoch.
    pub const ZERO: Instant = Instant(0);
    /// Later than anything that happens.
    pub const FAR_FUTURE: Instant = Instant(u64::MAX);

    /// The instant `nanos` nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the epoch, for reports only.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Time passed since `earlier`; zero when `earlier` is later.
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// `duration` in whole nanoseconds, saturating at 584 years.
pub const fn nanos(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(duration.subsec_nanos() as u64)
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// Saturates at [`Instant::FAR_FUTURE`]: "never" stays "never".
    fn add(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(nanos(duration)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:09}s",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000
        )
    }
}

/// When a state machine next wants to be called, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadline {
    /// Call `handle_timeout` no earlier than this.
    pub at: Instant,
    /// What is due then, for traces and for tests.
    pub reason: &'static str,
}

impl Deadline {
    /// The earlier of two, if there is one; of equal ones the first.
    #[inline]
    pub fn earlier(one: Option<Deadline>, other: Option<Deadline>) -> Option<Deadline> {
        match (one, other) {
            (Some(first), Some(second)) if second.at < first.at => other,
            (Some(_), _) => one,
            (None, _) => other,
        }
    }

    /// The earlier of one and a time that something is due at; of equal ones the first.
    #[inline]
    pub fn or_due(
        one: Option<Deadline>,
        at: Option<Instant>,
        reason: &'static str,
    ) -> Option<Deadline> {
        Deadline::earlier(one, at.map(|at| Deadline { at, reason }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_to_the_far_future_stays_there() {
        assert_eq!(
            Instant::FAR_FUTURE + Duration::from_secs(1),
            Instant::FAR_FUTURE
        );
        assert_eq!(
            Instant::from_nanos(5).since(Instant::from_nanos(9)),
            Duration::ZERO
        );
        assert_eq!(nanos(Duration::new(2, 3)), 2_000_000_003);
    }
}
