//! Frames: a stream of bytes cut into messages (RFC 4271 §4.1), their headers judged (§6.1).
//!
//! Invariant: after [`Frames::next`] gave `None`, fewer bytes are kept than the longest message has.

use super::notification::{Code, Notification};

/// Marker, length and type.
pub(crate) const HEADER_BYTES: usize = 19;
/// The longest message.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4_096;

/// What a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Who the peer is and what it can.
    Open,
    /// Routes.
    Update,
    /// The end.
    Notification,
    /// That it is there.
    KeepAlive,
    /// A wish to hear all again (RFC 2918).
    RouteRefresh,
}

/// Bytes that have come and are no whole message yet.
#[derive(Default, Debug)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message: its kind, and what follows its header.
    ///
    /// # Errors
    /// What is wrong with its header; the stream cannot be read on.
    pub(crate) fn next(&mut self) -> Result<Option<(Kind, Vec<u8>)>, Notification> {
        let Some(header) = self.bytes.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let (kind, length) = judge(header)?;
        if self.bytes.len() < length {
            return Ok(None);
        }
        let body = self.bytes[HEADER_BYTES..length].to_vec();
        self.bytes.drain(..length);
        Ok(Some((kind, body)))
    }
}

fn judge(header: &[u8; HEADER_BYTES]) -> Result<(Kind, usize), Notification> {
    let [marker @ .., high, low, kind] = header;
    if marker.iter().any(|byte| *byte != 0xff) {
        return Err(Code::NOT_SYNCHRONIZED.into());
    }
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let bad_length = || Notification::new(Code::BAD_LENGTH, &[*high, *low]);
    if !(HEADER_BYTES..=MESSAGE_BYTES_MAX).contains(&length) {
        return Err(bad_length());
    }
    let (kind, fits) = match kind {
        1 => (Kind::Open, length >= 29),
        2 => (Kind::Update, length >= 23),
        3 => (Kind::Notification, length >= 21),
        4 => (Kind::KeepAlive, length == 19),
        5 => (Kind::RouteRefresh, length == 23),
        _ => return Err(Notification::new(Code::BAD_TYPE, &[*kind])),
    };
    if fits {
        Ok((kind, length))
    } else {
        Err(bad_length())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(marker: u8, length: u16, kind: u8) -> Frames {
        let mut frames = Frames::default();
        frames.push(&[marker; 16]);
        frames.push(&length.to_be_bytes());
        frames.push(&[kind]);
        frames
    }

    #[test]
    fn a_message_in_pieces_comes_whole_and_once() {
        let mut frames = Frames::default();
        let keepalive = [&[0xff; 16][..], &[0, 19, 4]].concat();
        for byte in keepalive.iter().chain(&keepalive) {
            assert_eq!(frames.next(), Ok(None));
            frames.push(&[*byte]);
            if frames.bytes.len() == 19 {
                assert_eq!(frames.next(), Ok(Some((Kind::KeepAlive, vec![]))));
            }
        }
        assert!(frames.bytes.is_empty());
    }

    #[test]
    fn every_bad_header_has_its_code_and_data() {
        let found = |marker, length, kind| message(marker, length, kind).next();
        assert_eq!(found(0xfe, 19, 4), Err(Code::NOT_SYNCHRONIZED.into()));
        let bad_length =
            |length: u16| Err(Notification::new(Code::BAD_LENGTH, &length.to_be_bytes()));
        for (length, kind) in [
            (18, 4),
            (0, 2),
            (4_097, 2),
            (28, 1),
            (22, 2),
            (20, 3),
            (20, 4),
            (22, 5),
            (24, 5),
        ] {
            assert_eq!(found(0xff, length, kind), bad_length(length));
        }
        let bad_type = |kind: u8| Err(Notification::new(Code::BAD_TYPE, &[kind]));
        assert_eq!(found(0xff, 19, 0), bad_type(0));
        assert_eq!(found(0xff, 19, 6), bad_type(6));
        assert_eq!(found(0xff, 4_096, 2), Ok(None));
    }
}
