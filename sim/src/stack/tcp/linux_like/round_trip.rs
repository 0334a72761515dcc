//! How long a round trip takes, and how long to wait for an acknowledgement (RFC 6298).
//!
//! As in Linux the margin above the smoothed round trip is 200 ms at least, where the RFC would have the whole be 1 s.

use std::time::Duration;

use anyedge_net::time::nanos;

/// Before anything was measured (RFC 6298 §2.1).
const INITIAL: Duration = Duration::from_secs(1);
/// The least margin above the smoothed round trip (Linux `TCP_RTO_MIN`).
const MARGIN_MIN: Duration = Duration::from_millis(200);
/// The longest wait (Linux `TCP_RTO_MAX`).
const MAX: Duration = Duration::from_secs(120);
/// Doublings that are counted: more than lead from the shortest wait to the longest.
const BACKOFF_MAX: u32 = 10;

/// What was measured of a connection's round trips.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundTrip {
    /// Smoothed, in nanoseconds; 0 when nothing was measured.
    smoothed: u64,
    /// Mean deviation, in nanoseconds.
    deviation: u64,
    shortest: Option<Duration>,
    /// How often the wait was doubled.
    backoff: u32,
}

impl RoundTrip {
    /// Takes in a measurement; of segments that were sent once only (§3, Karn).
    pub(super) fn measured(&mut self, sample: Duration) {
        let sample_ns = nanos(sample).max(1);
        if self.smoothed == 0 {
            self.smoothed = sample_ns;
            self.deviation = sample_ns / 2;
        } else {
            self.deviation = self.deviation / 4 * 3 + self.smoothed.abs_diff(sample_ns) / 4;
            self.smoothed = self.smoothed / 8 * 7 + sample_ns / 8;
        }
        self.shortest = Some(
            self.shortest
                .map_or(sample, |shortest| shortest.min(sample)),
        );
        self.backoff = 0;
    }

    /// Smoothed, when there is a measurement.
    pub(super) const fn smoothed(&self) -> Option<Duration> {
        match self.smoothed {
            0 => None,
            smoothed => Some(Duration::from_nanos(smoothed)),
        }
    }

    /// The shortest that was measured.
    pub(super) fn shortest(&self) -> Duration {
        self.shortest.unwrap_or_default()
    }

    /// The wait for an acknowledgement.
    pub(super) fn timeout(&self) -> Duration {
        let base = self.smoothed().map_or(INITIAL, |smoothed| {
            smoothed + Duration::from_nanos(self.deviation * 4).max(MARGIN_MIN)
        });
        base.saturating_mul(1 << self.backoff).min(MAX)
    }

    /// The wait was in vain: the next is twice as long (§5.5).
    pub(super) fn back_off(&mut self) {
        self.backoff = (self.backoff + 1).min(BACKOFF_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn the_wait_follows_what_is_measured() {
        let mut trip = RoundTrip::default();
        assert_eq!(trip.timeout(), ms(1_000));
        trip.measured(ms(100));
        // 100 ms and four times 50 ms.
        assert_eq!(trip.timeout(), ms(300));
        for _ in 0..100 {
            trip.measured(ms(100));
        }
        assert!(
            trip.timeout() > ms(299) && trip.timeout() <= ms(300),
            "{:?}",
            trip.timeout()
        );
        trip.measured(ms(500));
        assert!(trip.timeout() > ms(500), "{:?}", trip.timeout());
        assert_eq!(trip.shortest(), ms(100));
    }

    #[test]
    fn a_wait_in_vain_doubles_the_next_until_something_is_measured() {
        let mut trip = RoundTrip::default();
        trip.measured(ms(100));
        trip.back_off();
        trip.back_off();
        assert_eq!(trip.timeout(), ms(1_200));
        (0..50).for_each(|_| trip.back_off());
        assert_eq!(trip.timeout(), MAX);
        trip.measured(ms(100));
        assert!(trip.timeout() <= ms(300), "{:?}", trip.timeout());
    }
}
