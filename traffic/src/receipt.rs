//! What a server answers to an upload: one line of text that says what arrived, and when nothing did.
//!
//! ```text
//! whole 1048576 silent 1200000000+350000000 5000000+101000000\n
//! wrong byte at 1234\n
//! ```
//! A sender cannot see when its bytes arrive: they wait in its own buffers while the network is cut. So the
//! receiver remembers its [`SILENCES_MAX`] longest silences and tells them as `ago+length` in ns, `ago` being
//! the time from the silence's end to the line. No clock is compared, only the way of the line is in error.

use core::time::Duration;
use std::fmt::Write as _;

use anyedge_net::time::{Instant, nanos};

/// How many silences a receipt tells of.
pub const SILENCES_MAX: usize = 8;

/// The longest line.
pub const LINE_BYTES_MAX: usize = 512;

/// A time without a new byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Silence {
    /// The byte before it, or the beginning.
    pub from: Instant,
    /// The byte that ended it.
    pub until: Instant,
}

impl Silence {
    /// How long it was.
    pub fn length(self) -> Duration {
        self.until - self.from
    }
}

/// The longest silences of a receiver.
pub struct Silences {
    last: Instant,
    longest: Vec<Silence>,
}

impl Silences {
    /// Bytes are awaited from `now` on.
    pub const fn from(now: Instant) -> Silences {
        Silences {
            last: now,
            longest: Vec::new(),
        }
    }

    /// A new byte came at `now`.
    pub fn on_byte(&mut self, now: Instant) {
        let silence = Silence {
            from: self.last,
            until: now,
        };
        self.last = now;
        let shortest = (0..self.longest.len()).min_by_key(|at| self.longest[*at].length());
        match shortest {
            Some(at) if self.longest.len() == SILENCES_MAX => {
                if self.longest[at].length() < silence.length() {
                    self.longest[at] = silence;
                }
            }
            _ => self.longest.push(silence),
        }
    }

    /// The line for an upload of `bytes`, or for one whose byte at `wrong_at` was not the pattern's.
    pub fn receipt(&self, bytes: u64, wrong_at: Option<u64>, now: Instant) -> String {
        if let Some(offset) = wrong_at {
            return format!("wrong byte at {offset}\n");
        }
        let mut line = format!("whole {bytes} silent");
        for silence in &self.longest {
            let (ago, length) = (nanos(now - silence.until), nanos(silence.length()));
            write!(line, " {ago}+{length}").expect("a string takes everything");
        }
        line.push('\n');
        line
    }
}

/// The silences that a receipt for `bytes`, read at `now`, tells of; `None` when it is no such receipt.
pub fn parse(line: &[u8], bytes: u64, now: Instant) -> Option<Vec<Silence>> {
    let line = core::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (whole, silences) = line.split_once(" silent")?;
    if whole.strip_prefix("whole ")?.parse() != Ok(bytes) {
        return None;
    }
    let before =
        |end: Instant, nanos: u64| end.as_nanos().checked_sub(nanos).map(Instant::from_nanos);
    let read = silences.split_ascii_whitespace().map(|silence| {
        let (ago, length) = silence.split_once('+')?;
        let until = before(now, ago.parse().ok()?)?;
        let from = before(until, length.parse().ok()?)?;
        Some(Silence { from, until })
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn a_receipt_tells_of_the_longest_silences_by_the_readers_clock() {
        let mut silences = Silences::from(at(1_000));
        for millis in (1_100..3_000).step_by(100).chain([8_000, 8_100]) {
            silences.on_byte(at(millis));
        }
        let line = silences.receipt(50, None, at(8_200));
        assert!(line.len() <= LINE_BYTES_MAX);
        let read = parse(line.as_bytes(), 50, at(108_210)).expect("a receipt");
        assert_eq!(read.len(), SILENCES_MAX);
        let long = Silence {
            from: at(102_910),
            until: at(108_010),
        };
        assert!(read.contains(&long), "{read:?}");
        assert_eq!(parse(line.as_bytes(), 51, at(108_210)), None);
    }

    #[test]
    fn a_wrong_byte_is_no_receipt() {
        let line = Silences::from(at(0)).receipt(50, Some(7), at(1));
        assert_eq!(line, "wrong byte at 7\n");
        assert_eq!(parse(line.as_bytes(), 50, at(2)), None);
    }

    #[test]
    fn the_longest_line_fits() {
        let silence = Silence {
            from: Instant::ZERO,
            until: Instant::from_nanos(u64::MAX / 2),
        };
        let silences = Silences {
            last: at(0),
            longest: vec![silence; SILENCES_MAX],
        };
        let line = silences.receipt(1 << 30, None, Instant::FAR_FUTURE);
        assert!(line.len() <= LINE_BYTES_MAX, "{}", line.len());
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in prop::collection::vec(any::<u8>(), 0..80), text in "whole [0-9]{1,3} silent( [0-9]{1,25}\\+[0-9]{1,25}){0,3}\n") {
            prop_assert_eq!(parse(&line, 5, at(1)), None);
            for bytes in 0..10 {
                if let Some(silences) = parse(text.as_bytes(), bytes, at(1)) {
                    prop_assert!(silences.iter().all(|silence| silence.from <= silence.until && silence.until <= at(1)));
                }
            }
        }
    }
}
