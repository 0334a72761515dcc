//! How fast a long flow's sender goes: in chunks, at times that are settled when it starts.
//!
//! Chunk `k` may be sent at `start + k * chunk / pace`, however late the one before it was: a sender that
//! the network held up catches up as fast as TCP lets it, so its last byte is due at the same moment as if
//! nothing had happened. A chunk is a tenth of a second's bytes, so that a minute costs few events, and at
//! most [`CHUNK_BYTES_MAX`].

use core::time::Duration;

use anyedge_net::time::Instant;

/// The fastest pace, in bytes per second.
pub const PACE_MAX: u64 = 1 << 40;

/// The longest chunk.
pub const CHUNK_BYTES_MAX: u64 = 64 * 1024;

const CHUNKS_PER_SECOND: u64 = 10;
const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// A sender's timetable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    start: Instant,
    bytes_per_second: u64,
    chunk: u64,
}

impl Pace {
    /// From `start` on, `bytes_per_second` of them; 0: as fast as TCP takes them.
    pub fn new(start: Instant, bytes_per_second: u64) -> Pace {
        Pace {
            start,
            bytes_per_second,
            chunk: (bytes_per_second / CHUNKS_PER_SECOND).clamp(1, CHUNK_BYTES_MAX),
        }
    }

    /// When the byte at `offset` may be sent.
    pub fn due(&self, offset: u64) -> Instant {
        if self.bytes_per_second == 0 {
            return self.start;
        }
        let before = u128::from(offset - offset % self.chunk);
        let nanos = before * NANOS_PER_SECOND / u128::from(self.bytes_per_second);
        self.start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many bytes from `offset` on may go together with the one at `offset`.
    pub const fn together(&self, offset: u64) -> u64 {
        if self.bytes_per_second == 0 {
            return u64::MAX;
        }
        self.chunk - offset % self.chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_time_and_none_drifts() {
        let start = Instant::from_nanos(7);
        let pace = Pace::new(start, 300_000);
        assert_eq!((pace.due(0), pace.due(29_999)), (start, start));
        assert_eq!(pace.due(30_000), start + Duration::from_millis(100));
        assert_eq!(pace.due(18_000_000), start + Duration::from_secs(60));
        assert_eq!((pace.together(0), pace.together(30_001)), (30_000, 29_999));
    }

    #[test]
    fn a_slow_pace_has_chunks_of_a_byte_and_a_fast_one_of_a_bounded_size() {
        let slow = Pace::new(Instant::ZERO, 1);
        assert_eq!(
            (slow.together(5), slow.due(5)),
            (1, Instant::ZERO + Duration::from_secs(5))
        );
        let fast = Pace::new(Instant::ZERO, PACE_MAX);
        assert_eq!(fast.together(0), CHUNK_BYTES_MAX);
        let none = Pace::new(Instant::ZERO, 0);
        assert_eq!(
            (none.due(1 << 30), none.together(9)),
            (Instant::ZERO, u64::MAX)
        );
    }
}
