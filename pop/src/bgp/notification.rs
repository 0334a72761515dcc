//! NOTIFICATION (RFC 4271 §4.5, §6): why a session ends, as code, subcode and data.
//!
//! Every malformed message has exactly one [`Code`]. Data is what the RFC asks for, at most
//! [`DATA_BYTES_MAX`] bytes of it.

use core::fmt;

/// The most data that a NOTIFICATION has room for.
pub const DATA_BYTES_MAX: usize = 4_096 - 21;

/// An error code and its subcode.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u8, pub u8);

impl Code {
    /// The marker is not all ones (§6.1).
    pub const NOT_SYNCHRONIZED: Code = Code(1, 1);
    /// A length that its message cannot have (§6.1).
    pub const BAD_LENGTH: Code = Code(1, 2);
    /// No such message (§6.1).
    pub const BAD_TYPE: Code = Code(1, 3);
    /// A known part of an OPEN that cannot be read (§6.2).
    pub const OPEN_UNSPECIFIC: Code = Code(2, 0);
    /// Another version than 4 (§6.2).
    pub const UNSUPPORTED_VERSION: Code = Code(2, 1);
    /// Not the AS that the peer should have (§6.2).
    pub const BAD_PEER_AS: Code = Code(2, 2);
    /// Zero, or our own within one AS (RFC 6286 §2.2).
    pub const BAD_IDENTIFIER: Code = Code(2, 3);
    /// An optional parameter that is not capabilities (§6.2).
    pub const UNSUPPORTED_PARAMETER: Code = Code(2, 4);
    /// One or two seconds (§6.2).
    pub const UNACCEPTABLE_HOLD_TIME: Code = Code(2, 6);
    /// A capability that we ask for is missing (RFC 5492 §3).
    pub const UNSUPPORTED_CAPABILITY: Code = Code(2, 7);
    /// Lengths of an UPDATE that contradict each other (§6.3), or a doubled MP attribute (RFC 7606 §3 g).
    pub const MALFORMED_ATTRIBUTES: Code = Code(3, 1);
    /// A well-known attribute that nobody knows (§6.3).
    pub const UNRECOGNIZED_WELL_KNOWN: Code = Code(3, 2);
    /// An MP attribute whose routes cannot be told (RFC 4760 §7, RFC 7606 §5.3).
    pub const OPTIONAL_ATTRIBUTE: Code = Code(3, 9);
    /// A list of prefixes that cannot be read (§6.3).
    pub const INVALID_NETWORK: Code = Code(3, 10);
    /// Nothing came for as long as the hold time (§6.5).
    pub const HOLD_TIMER_EXPIRED: Code = Code(4, 0);
    /// Neither OPEN nor NOTIFICATION came first (RFC 6608).
    pub const UNEXPECTED_IN_OPEN_SENT: Code = Code(5, 1);
    /// Neither KEEPALIVE nor NOTIFICATION came second (RFC 6608).
    pub const UNEXPECTED_IN_OPEN_CONFIRM: Code = Code(5, 2);
    /// An OPEN in an established session (RFC 6608).
    pub const UNEXPECTED_IN_ESTABLISHED: Code = Code(5, 3);
    /// More prefixes than a peer may send (RFC 4486).
    pub const PREFIX_LIMIT: Code = Code(6, 1);
    /// Told to stop (RFC 4486).
    pub const SHUTDOWN: Code = Code(6, 2);
    /// Told to start anew (RFC 4486).
    pub const RESET: Code = Code(6, 4);
    /// A connection that is not wanted now (RFC 4486).
    pub const REJECTED: Code = Code(6, 5);
    /// Two connections where one is enough (§6.8, RFC 4486).
    pub const COLLISION: Code = Code(6, 7);
    /// BFD lost the peer (RFC 9384).
    pub const BFD_DOWN: Code = Code(6, 10);
    /// The peer takes no bytes any more (RFC 9687).
    pub const SEND_HOLD_TIMER_EXPIRED: Code = Code(8, 0);

    /// What the code means, in the words of its RFC.
    pub const fn meaning(self) -> &'static str {
        match (self.0, self.1) {
            (1, 1) => "Connection Not Synchronized",
            (1, 2) => "Bad Message Length",
            (1, 3) => "Bad Message Type",
            (1, _) => "Message Header Error",
            (2, 1) => "Unsupported Version Number",
            (2, 2) => "Bad Peer AS",
            (2, 3) => "Bad BGP Identifier",
            (2, 4) => "Unsupported Optional Parameter",
            (2, 6) => "Unacceptable Hold Time",
            (2, 7) => "Unsupported Capability",
            (2, _) => "OPEN Message Error",
            (3, 1) => "Malformed Attribute List",
            (3, 2) => "Unrecognized Well-known Attribute",
            (3, 9) => "Optional Attribute Error",
            (3, 10) => "Invalid Network Field",
            (3, _) => "UPDATE Message Error",
            (4, _) => "Hold Timer Expired",
            (5, _) => "Finite State Machine Error",
            (6, 1) => "Maximum Number of Prefixes Reached",
            (6, 2) => "Administrative Shutdown",
            (6, 4) => "Administrative Reset",
            (6, 5) => "Connection Rejected",
            (6, 7) => "Connection Collision Resolution",
            (6, 10) => "BFD Down",
            (6, _) => "Cease",
            (7, _) => "ROUTE-REFRESH Message Error",
            (8, _) => "Send Hold Timer Expired",
            _ => "unknown",
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} {}", self.0, self.1, self.meaning())
    }
}

/// A NOTIFICATION, sent or received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notification {
    /// Why.
    pub code: Code,
    /// What the code asks to be shown.
    pub data: Vec<u8>,
}

impl Notification {
    /// With `data`, of which what has no room is cut off.
    pub fn new(code: Code, data: &[u8]) -> Notification {
        let data = data.get(..DATA_BYTES_MAX).unwrap_or(data).to_vec();
        Notification { code, data }
    }

    /// As a message.
    pub(crate) fn write(&self) -> Vec<u8> {
        let length = 21 + self.data.len().min(DATA_BYTES_MAX);
        let mut message = vec![0xff; 16];
        message.extend((length as u16).to_be_bytes());
        message.extend([3, self.code.0, self.code.1]);
        message.extend(self.data.iter().take(DATA_BYTES_MAX));
        message
    }

    /// Of a message's body, which has at least its two codes.
    pub(crate) fn read(body: &[u8]) -> Notification {
        match body {
            [code, subcode, data @ ..] => Notification::new(Code(*code, *subcode), data),
            _ => Notification::new(Code(0, 0), &[]),
        }
    }
}

impl From<Code> for Notification {
    fn from(code: Code) -> Notification {
        Notification::new(code, &[])
    }
}
