//! How late the machine wakes who sleeps, while a lab is played: what no model of a link has, and what every hop of a lab
//! may add to a packet's time.
//!
//! A thread sleeps for a millisecond over and over. What it oversleeps are turns of other threads and, on a machine that is
//! virtual, of other machines.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::processor::take_short_turns;

const NAP: Duration = Duration::from_millis(1);
/// Longer than this counts as this, in microseconds.
const LATE_US_MAX: u64 = 60_000_000;

/// By how much a sleeper was late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lateness {
    /// In the middle.
    pub p50: Duration,
    /// One of a hundred was later.
    pub p99: Duration,
    /// One of a thousand was later.
    pub p999: Duration,
    /// The latest.
    pub max: Duration,
}

/// Sleeps and looks until it is `over`.
pub(super) fn observe(over: &AtomicBool) -> Lateness {
    take_short_turns();
    let mut seen: Histogram<u64> =
        Histogram::new_with_bounds(1, LATE_US_MAX, 3).expect("the bounds are in order");
    while !over.load(Ordering::Relaxed) {
        let before = Instant::now();
        sleep(NAP);
        let late = before.elapsed().saturating_sub(NAP);
        seen.saturating_record(u64::try_from(late.as_micros()).unwrap_or(LATE_US_MAX));
    }
    let at = |quantile| Duration::from_micros(seen.value_at_quantile(quantile));
    Lateness {
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        max: Duration::from_micros(seen.max()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_is_never_early_and_its_figures_are_in_order() {
        let over = AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| observe(&over));
            let (bell, hears) = std::sync::mpsc::channel::<()>();
            // Long enough for several naps, and for all that is asserted: nothing here depends on how many.
            let _ = hears.recv_timeout(20 * NAP);
            drop(bell);
            over.store(true, Ordering::Relaxed);
            sleeper.join().expect("it does not panic")
        });
        assert!(seen.p50 > Duration::ZERO, "{seen:?}");
        assert!(seen.p50 <= seen.p99 && seen.p99 <= seen.p999 && seen.p999 <= seen.max);
    }
}
