//! The raw exchange: one sized request, one sized answer, and the next one or the end of the TCP connection.
//!
//! ```text
//! 0       1         2             4                     8                    16
//! | magic | version | keep | 0    | request bytes (BE)  | answer bytes (BE)  | pattern up to `request bytes`
//! ```
//! The request length counts the header. The server reads all of the request, sends exactly the answer
//! bytes of [`crate::pattern`] from offset 0, and closes, or awaits another request where the lowest bit of `keep` is set; its other bits are zero. The magic byte is no character of any HTTP
//! method (RFC 9110 §5.6.2: tokens are ASCII), so one port serves both. A header that breaks a rule makes
//! the server close at once.

/// The first byte of a raw exchange.
pub const MAGIC: u8 = 0xAE;

/// The version of the format.
pub const VERSION: u8 = 1;

/// Bytes of the header, and so the shortest request.
pub const HEADER_BYTES: usize = 16;

/// The longest request, header included.
pub const REQUEST_BYTES_MAX: u32 = 1 << 30;

/// The longest answer.
pub const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// What a client asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Length of the whole request, in [`HEADER_BYTES`]`..=`[`REQUEST_BYTES_MAX`].
    pub request_bytes: u32,
    /// Length of the answer, at most [`ANSWER_BYTES_MAX`].
    pub answer_bytes: u64,
    /// Another request may follow the answer.
    pub keep: bool,
}

/// Why bytes are no header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParseError {
    /// Fewer than [`HEADER_BYTES`].
    Truncated,
    /// The first byte is not [`MAGIC`].
    Magic,
    /// The version is not [`VERSION`].
    Version,
    /// Bits that must be zero are not.
    Reserved,
    /// The request length is out of range.
    RequestLength,
    /// The answer length is out of range.
    AnswerLength,
}

impl Header {
    /// The header as sent.
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = MAGIC;
        bytes[1] = VERSION;
        bytes[2] = u8::from(self.keep);
        bytes[4..8].copy_from_slice(&self.request_bytes.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.answer_bytes.to_be_bytes());
        bytes
    }

    /// Reads the header at the start of `bytes`; what follows it is not looked at.
    pub fn parse(bytes: &[u8]) -> Result<Header, ParseError> {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(ParseError::Truncated);
        };
        let [magic, version, keep, reserved, r0, r1, r2, r3, answer @ ..] = *bytes;
        let header = Header {
            request_bytes: u32::from_be_bytes([r0, r1, r2, r3]),
            answer_bytes: u64::from_be_bytes(answer),
            keep: keep == 1,
        };
        if magic != MAGIC {
            return Err(ParseError::Magic);
        }
        if version != VERSION {
            return Err(ParseError::Version);
        }
        if keep > 1 || reserved != 0 {
            return Err(ParseError::Reserved);
        }
        if !(HEADER_BYTES as u32..=REQUEST_BYTES_MAX).contains(&header.request_bytes) {
            return Err(ParseError::RequestLength);
        }
        if header.answer_bytes > ANSWER_BYTES_MAX {
            return Err(ParseError::AnswerLength);
        }
        Ok(header)
    }
}

/// Whether a connection that starts with `first` carries a raw exchange; else it is HTTP's to judge.
pub const fn is_exchange(first: u8) -> bool {
    first == MAGIC
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn broken(index: usize, value: u8) -> Result<Header, ParseError> {
        let mut bytes = Header {
            request_bytes: 1_024,
            answer_bytes: 10_240,
            keep: false,
        }
        .encode();
        bytes[index] = value;
        Header::parse(&bytes)
    }

    #[test]
    fn each_broken_rule_has_its_own_error() {
        assert_eq!(broken(0, b'G'), Err(ParseError::Magic));
        assert_eq!(broken(1, 2), Err(ParseError::Version));
        assert_eq!(broken(3, 1), Err(ParseError::Reserved));
        assert_eq!(broken(4, 0x41), Err(ParseError::RequestLength));
        assert_eq!(broken(8, 1), Err(ParseError::AnswerLength));
        assert_eq!(Header::parse(&[MAGIC; 15]), Err(ParseError::Truncated));
        let short = Header {
            request_bytes: 15,
            answer_bytes: 0,
            keep: false,
        }
        .encode();
        assert_eq!(Header::parse(&short), Err(ParseError::RequestLength));
    }

    #[test]
    fn the_longest_lengths_are_still_good() {
        let header = Header {
            request_bytes: REQUEST_BYTES_MAX,
            answer_bytes: ANSWER_BYTES_MAX,
            keep: false,
        };
        assert_eq!(Header::parse(&header.encode()), Ok(header));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_or_a_header_that_encodes_to_them(mut bytes in prop::collection::vec(any::<u8>(), 0..40), near in any::<bool>()) {
            if near && bytes.len() >= 4 {
                bytes[..4].copy_from_slice(&[MAGIC, VERSION, 0, 0]);
            }
            if let Ok(header) = Header::parse(&bytes) {
                prop_assert_eq!(&header.encode()[..], &bytes[..HEADER_BYTES]);
                prop_assert!(is_exchange(bytes[0]));
            }
        }
    }
}
