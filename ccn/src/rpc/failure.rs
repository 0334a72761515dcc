//! What went wrong with a connection, as the status that its calls end with.
//!
//! The words are our own and the same in both worlds. `UNAVAILABLE` says that nothing is known of what the
//! server did: whoever retries must be able to repeat the call.

use std::io;

use h2::Reason;
use tonic::{Code, Status};

/// The status of a call that ended with this error of HTTP/2.
pub(super) fn status_of(error: &h2::Error) -> Status {
    let reason = error.reason();
    let (code, what) = match reason.as_ref() {
        Some(&Reason::CANCEL) => (Code::Cancelled, "the call was cancelled"),
        Some(&Reason::REFUSED_STREAM) => (Code::Unavailable, "the call was refused unread"),
        Some(&Reason::ENHANCE_YOUR_CALM) => (Code::ResourceExhausted, "the peer was overwhelmed"),
        Some(&Reason::NO_ERROR) => (Code::Unavailable, "the server is going away"),
        Some(reason) => (Code::Internal, reason.description()),
        None => (Code::Unavailable, "the connection was lost"),
    };
    Status::new(code, what)
}

/// The status of a call for which no connection could be made.
pub(super) fn unconnected(error: &io::Error) -> Status {
    let what = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "connection reset",
        io::ErrorKind::TimedOut => "timed out",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no way there",
        io::ErrorKind::InvalidData => "not the peer that was expected",
        _ => "failed",
    };
    Status::unavailable(format!("connecting: {what}"))
}
