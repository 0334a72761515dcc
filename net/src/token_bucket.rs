//! Token bucket: how often a node may do what costs others something.
//!
//! Kept as one instant, the time at which all tokens would be back (the generic cell rate algorithm): exact in
//! integers, and nothing to refill.
//!
//! Invariant: in any span of time at most `depth + rate * span` tokens are taken.
//! Reference: ITU-T I.371, annex A, "virtual scheduling".

use core::time::Duration;

use crate::time::Instant;

/// A bucket of tokens that fills at a fixed rate.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    interval: Duration,
    depth: Duration,
    full_at: Instant,
}

impl TokenBucket {
    /// A full bucket of `depth` tokens that gains `per_second`, at least 1.
    ///
    /// # Panics
    /// If `per_second` is 0.
    pub const fn new(per_second: u32, depth: u32) -> TokenBucket {
        let interval = Duration::from_nanos(1_000_000_000 / per_second as u64);
        TokenBucket {
            interval,
            depth: interval.saturating_mul(depth),
            full_at: Instant::ZERO,
        }
    }

    /// Takes a token; false when there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + self.interval;
        let granted = full_at.since(now) <= self.depth;
        if granted {
            self.full_at = full_at;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &mut TokenBucket, now: Instant, tries: usize) -> usize {
        (0..tries).filter(|_| bucket.take(now)).count()
    }

    #[test]
    fn it_gives_its_depth_at_once_and_then_its_rate() {
        let mut bucket = TokenBucket::new(1_000, 100);
        let start = Instant::from_nanos(5_000_000_000);
        assert_eq!(taken(&mut bucket, start, 500), 100);
        assert_eq!(
            taken(&mut bucket, start + Duration::from_micros(999), 500),
            0
        );
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(1), 500), 1);
        assert_eq!(
            taken(&mut bucket, start + Duration::from_millis(51), 500),
            50
        );
        assert_eq!(
            taken(&mut bucket, start + Duration::from_secs(60), 500),
            100
        );
    }
}
