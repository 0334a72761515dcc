//! Where the data plane takes the time from: the monotonic clock, or a trace that is played back.
//!
//! A forwarder never reads a clock, so the same recorded inputs give the same outputs in both worlds, provided that
//! the live driver hands it the trace's time too. That is all that [`TraceClock`] is for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyedge_net::time::Instant;

/// A source of time that never goes back.
pub trait Clock: Send {
    /// The time.
    fn now(&self) -> Instant;
}

/// The machine's monotonic clock, counted from when this was made. Copies share the epoch.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    epoch: std::time::Instant,
}

impl MonotonicClock {
    /// A clock that starts at zero now.
    pub fn start() -> Self {
        Self {
            epoch: std::time::Instant::now(),
        }
    }

    /// The machine's own instant for a time of this clock.
    pub fn machine_instant(&self, at: Instant) -> std::time::Instant {
        // A century from now, which timers accept, stands for later than anything.
        const FAR: std::time::Duration = std::time::Duration::from_secs(100 * 365 * 86_400);
        self.epoch + std::time::Duration::from_nanos(at.as_nanos()).min(FAR)
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Instant {
        let nanos = u64::try_from(self.epoch.elapsed().as_nanos());
        Instant::from_nanos(nanos.expect("no process runs for 584 years"))
    }
}

/// A clock that stands where it was last put. Clones show the same time.
#[derive(Clone, Debug, Default)]
pub struct TraceClock {
    nanos: Arc<AtomicU64>,
}

impl TraceClock {
    /// Moves the clock to `at`.
    ///
    /// # Panics
    /// When that is earlier than the clock shows: no clock goes back.
    pub fn set(&self, at: Instant) {
        let before = self.nanos.swap(at.as_nanos(), Ordering::SeqCst);
        assert!(before <= at.as_nanos(), "a trace's time went back");
    }
}

impl Clock for TraceClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.nanos.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_clock_stands_until_it_is_moved() {
        let clock = TraceClock::default();
        let shown = clock.clone();
        assert_eq!(shown.now(), Instant::ZERO);
        clock.set(Instant::from_nanos(7));
        assert_eq!(shown.now(), Instant::from_nanos(7));
        assert!(std::panic::catch_unwind(|| clock.set(Instant::from_nanos(6))).is_err());
    }

    #[test]
    fn the_far_future_is_an_instant_that_timers_accept() {
        let clock = MonotonicClock::start();
        assert!(clock.machine_instant(Instant::FAR_FUTURE) > std::time::Instant::now());
        assert!(clock.now() >= Instant::ZERO);
    }
}
