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
        // The connection, not the call: bytes that are no HTTP/2, for one.
        Some(_) if error.is_go_away() => (Code::Unavailable, "the connection was broken off"),
        Some(reason) => (Code::Internal, reason.description()),
        None if is_about_certificates(error) => {
            (Code::Unauthenticated, "the server refuses our certificate")
        }
        None => (Code::Unavailable, "the connection was lost"),
    };
    Status::new(code, what)
}

/// TLS tells a client late that its certificate is not accepted: when it is already speaking HTTP/2.
fn is_about_certificates(error: &h2::Error) -> bool {
    let io = error.get_io();
    io.is_some_and(|io| io.kind() == io::ErrorKind::InvalidData)
}

/// The status of a call for which no connection could be made.
pub(super) fn unconnected(error: &io::Error) -> Status {
    let what = match error.kind() {
        io::ErrorKind::InvalidData => {
            return Status::unauthenticated("the server is not the one that was expected");
        }
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "connection reset",
        io::ErrorKind::TimedOut => "timed out",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no way there",
        _ => "failed",
    };
    Status::unavailable(format!("connecting: {what}"))
}
