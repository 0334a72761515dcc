//! What opens a long flow: version 2 of the raw [`exchange`](crate::exchange)'s header.
//!
//! ```text
//! 0       1     2        3            8                  16                24
//! | magic | 2   | course | must be 0  | bytes (BE u64)   | measure (BE u64) |
//! ```
//! All bytes that follow, either way, are those of [`crate::pattern`] from offset 0. The measure is the
//! sender's pace in bytes per second (0: none), or, of a connection that falls silent, the longest silence in
//! ms that the client announces. A header that breaks a rule makes the server close at once.

use core::time::Duration;

use crate::exchange::{ANSWER_BYTES_MAX, MAGIC};
use crate::pace::PACE_MAX;

/// The version of the format.
pub const VERSION: u8 = 2;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 24;

/// The longest silence that may be announced.
pub const SILENCE_MAX: Duration = Duration::from_secs(3_600);

/// How a long flow goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Course {
    /// The server sends `bytes` at a pace, then closes.
    Download = 1,
    /// The client sends `bytes` at a pace; the server answers one [`receipt`](crate::receipt) and closes.
    Upload = 2,
    /// The server answers `bytes`; the client is silent and sends the header again for the next `bytes`, and
    /// so on until it closes.
    Idle = 3,
    /// As a download; the client closes its direction before the first byte is sent.
    HalfClosed = 4,
}

/// What a client asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// How the flow goes.
    pub course: Course,
    /// Length of the download, of the upload without its header, or of each answer; at most
    /// [`ANSWER_BYTES_MAX`].
    pub bytes: u64,
    /// Pace in bytes per second, at most [`PACE_MAX`], 0: none; for [`Course::Idle`] the silence in ms, at
    /// most [`SILENCE_MAX`].
    pub measure: u64,
}

/// Why bytes are no header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParseError {
    /// Fewer than [`HEADER_BYTES`].
    Truncated,
    /// Not the magic byte and this version.
    Version,
    /// No such course.
    Course,
    /// Bits that must be zero are not.
    Reserved,
    /// The length is out of range.
    Length,
    /// The measure is out of range.
    Measure,
}

impl Header {
    /// The header as sent.
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..3].copy_from_slice(&[MAGIC, VERSION, self.course as u8]);
        bytes[8..16].copy_from_slice(&self.bytes.to_be_bytes());
        bytes[16..].copy_from_slice(&self.measure.to_be_bytes());
        bytes
    }

    /// Reads the header at the start of `bytes`; what follows it is not looked at.
    pub fn parse(bytes: &[u8]) -> Result<Header, ParseError> {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(ParseError::Truncated);
        };
        if bytes[..2] != [MAGIC, VERSION] {
            return Err(ParseError::Version);
        }
        let course = match bytes[2] {
            1 => Course::Download,
            2 => Course::Upload,
            3 => Course::Idle,
            4 => Course::HalfClosed,
            _ => return Err(ParseError::Course),
        };
        if bytes[3..8] != [0; 5] {
            return Err(ParseError::Reserved);
        }
        let number = |at: usize| {
            let field = bytes[at..]
                .first_chunk()
                .expect("24 bytes hold both fields");
            u64::from_be_bytes(*field)
        };
        let header = Header {
            course,
            bytes: number(8),
            measure: number(16),
        };
        if header.bytes > ANSWER_BYTES_MAX {
            return Err(ParseError::Length);
        }
        if header.measure > course.measure_max() {
            return Err(ParseError::Measure);
        }
        Ok(header)
    }

    /// The silence that an idle flow announces.
    pub const fn silence(self) -> Duration {
        Duration::from_millis(self.measure)
    }
}

impl Course {
    const fn measure_max(self) -> u64 {
        match self {
            Course::Idle => SILENCE_MAX.as_secs() * 1_000,
            Course::Download | Course::Upload | Course::HalfClosed => PACE_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn broken(index: usize, value: u8) -> Result<Header, ParseError> {
        let mut bytes = Header {
            course: Course::Idle,
            bytes: 1_000,
            measure: 60_000,
        }
        .encode();
        bytes[index] = value;
        Header::parse(&bytes)
    }

    #[test]
    fn each_broken_rule_has_its_own_error() {
        assert_eq!(broken(0, b'G'), Err(ParseError::Version));
        assert_eq!(broken(1, 1), Err(ParseError::Version));
        assert_eq!(broken(2, 0), Err(ParseError::Course));
        assert_eq!(broken(2, 5), Err(ParseError::Course));
        assert_eq!(broken(7, 1), Err(ParseError::Reserved));
        assert_eq!(broken(8, 1), Err(ParseError::Length));
        assert_eq!(broken(18, 1), Err(ParseError::Measure));
        assert_eq!(Header::parse(&[MAGIC, VERSION]), Err(ParseError::Truncated));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_or_a_header_that_encodes_to_them(mut bytes in prop::collection::vec(any::<u8>(), 0..40), course in 0u8..6) {
            if bytes.len() >= HEADER_BYTES {
                bytes[..8].copy_from_slice(&[MAGIC, VERSION, course, 0, 0, 0, 0, 0]);
                bytes[8..12].fill(0);
                bytes[16..20].fill(0);
            }
            if let Ok(header) = Header::parse(&bytes) {
                prop_assert_eq!(&header.encode()[..], &bytes[..HEADER_BYTES]);
            }
        }
    }
}
