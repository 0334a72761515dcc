//! Health check: how often a target is probed, and how many results change what is thought of it.
//!
//! Ranges and defaults are those of the product: an interval of 2-300 s, a timeout of 2-60 s that is shorter than
//! the interval, and thresholds of 2-10 results in a row. The author of the routes keeps them; nodes take any
//! values that they get.

use core::fmt;
use core::ops::RangeInclusive;
use core::time::Duration;

use crate::switch;

/// Seconds that may lie between two checks of a target.
pub const INTERVAL_S: RangeInclusive<u64> = 2..=300;
/// Seconds that an answer may take.
pub const TIMEOUT_S: RangeInclusive<u64> = 2..=60;
/// Results in a row that may be asked for.
pub const THRESHOLD: RangeInclusive<u8> = 2..=10;

/// How a listener's targets are checked: by a TCP handshake from the VIP that is cut once it is answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HealthCheck {
    /// From one check to the next, whatever comes of it.
    pub interval: Duration,
    /// How long the answer may take.
    pub timeout: Duration,
    /// Failures in a row that make a target abnormal.
    pub unhealthy: u8,
    /// Successes in a row that make it healthy.
    pub healthy: u8,
}

impl Default for HealthCheck {
    fn default() -> HealthCheck {
        HealthCheck {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            unhealthy: 3,
            healthy: 3,
        }
    }
}

impl HealthCheck {
    /// What the table's profile `qingcloud` has for a check that is asked for without values: `10|5|2|5`.
    pub fn qingcloud() -> HealthCheck {
        if !switch::is_on("P-HC17") {
            return HealthCheck::default();
        }
        HealthCheck {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            unhealthy: 2,
            healthy: 5,
        }
    }
}

/// What of a check is outside its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutOfRange {
    /// The interval.
    Interval(Duration),
    /// The timeout.
    Timeout(Duration),
    /// The timeout is not shorter than the interval.
    TimeoutOfInterval {
        /// The timeout.
        timeout: Duration,
        /// The interval.
        interval: Duration,
    },
    /// The unhealthy threshold.
    Unhealthy(u8),
    /// The healthy threshold.
    Healthy(u8),
}

impl HealthCheck {
    /// Whether every value is one that an operator may ask for.
    ///
    /// # Errors
    /// The first value that is not.
    pub fn check_ranges(&self) -> Result<(), OutOfRange> {
        let within = |duration: Duration, range: RangeInclusive<u64>| {
            duration >= Duration::from_secs(*range.start())
                && duration <= Duration::from_secs(*range.end())
        };
        let HealthCheck {
            interval,
            timeout,
            unhealthy,
            healthy,
        } = *self;
        if !switch::is_on("P-HC01") {
            return Ok(());
        }
        if !within(interval, INTERVAL_S) {
            return Err(OutOfRange::Interval(interval));
        }
        if !within(timeout, TIMEOUT_S) {
            return Err(OutOfRange::Timeout(timeout));
        }
        if timeout >= interval {
            return Err(OutOfRange::TimeoutOfInterval { timeout, interval });
        }
        if !THRESHOLD.contains(&unhealthy) {
            return Err(OutOfRange::Unhealthy(unhealthy));
        }
        if !THRESHOLD.contains(&healthy) {
            return Err(OutOfRange::Healthy(healthy));
        }
        Ok(())
    }
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds =
            |range: RangeInclusive<u64>| format!("{} to {} s", range.start(), range.end());
        let results = || format!("{} to {} results", THRESHOLD.start(), THRESHOLD.end());
        match self {
            OutOfRange::Interval(interval) => {
                write!(
                    f,
                    "an interval of {interval:?}; it is {}",
                    seconds(INTERVAL_S)
                )
            }
            OutOfRange::Timeout(timeout) => {
                write!(f, "a timeout of {timeout:?}; it is {}", seconds(TIMEOUT_S))
            }
            OutOfRange::TimeoutOfInterval { timeout, interval } => write!(
                f,
                "a timeout of {timeout:?} and an interval of {interval:?}; the timeout is the shorter one"
            ),
            OutOfRange::Unhealthy(count) => {
                write!(f, "an unhealthy threshold of {count}; it is {}", results())
            }
            OutOfRange::Healthy(count) => {
                write!(f, "a healthy threshold of {count}; it is {}", results())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn the_defaults_are_5_s_2_s_3_and_3_and_within_the_ranges() {
        let check = HealthCheck::default();
        let HealthCheck {
            interval, timeout, ..
        } = check;
        assert_eq!((interval, timeout), (secs(5), secs(2)));
        assert_eq!((check.unhealthy, check.healthy), (3, 3));
        assert_eq!(check.check_ranges(), Ok(()));
    }

    #[test]
    fn every_value_has_its_range_and_the_timeout_is_shorter_than_the_interval() {
        let checked = |interval, timeout, unhealthy, healthy| {
            HealthCheck {
                interval,
                timeout,
                unhealthy,
                healthy,
            }
            .check_ranges()
        };
        assert_eq!(checked(secs(300), secs(60), 2, 10), Ok(()));
        assert_eq!(checked(secs(3), secs(2), 10, 2), Ok(()));
        let short = Duration::from_millis(1_999);
        assert_eq!(
            checked(short, secs(2), 3, 3),
            Err(OutOfRange::Interval(short))
        );
        assert_eq!(
            checked(secs(301), secs(2), 3, 3),
            Err(OutOfRange::Interval(secs(301)))
        );
        assert_eq!(
            checked(secs(5), short, 3, 3),
            Err(OutOfRange::Timeout(short))
        );
        assert_eq!(
            checked(secs(99), secs(61), 3, 3),
            Err(OutOfRange::Timeout(secs(61)))
        );
        let (timeout, interval) = (secs(5), secs(5));
        let expected = Err(OutOfRange::TimeoutOfInterval { timeout, interval });
        assert_eq!(checked(interval, timeout, 3, 3), expected);
        assert_eq!(
            checked(secs(5), secs(2), 1, 3),
            Err(OutOfRange::Unhealthy(1))
        );
        assert_eq!(
            checked(secs(5), secs(2), 3, 11),
            Err(OutOfRange::Healthy(11))
        );
    }
}
