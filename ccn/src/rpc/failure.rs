//! What went wrong with a connection, as the status that its calls end with.
//!
//! The words are our own and the same in both worlds. `UNAVAILABLE` says that nothing is known of what the
//! server did: whoever retries must be able to repeat the call.

use std::io;

use h2::Reason;
use rustls::{AlertDescription, CertificateError, Error as TlsError};
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
        None if is_about_certificates(error) => (Code::Unauthenticated, refused_by_peer(error)),
        None => (Code::Unavailable, "the connection was lost"),
    };
    Status::new(code, what)
}

/// TLS tells a client late that its certificate is not accepted: when it is already speaking HTTP/2.
fn is_about_certificates(error: &h2::Error) -> bool {
    let io = error.get_io();
    io.is_some_and(|io| io.kind() == io::ErrorKind::InvalidData)
}

/// Why the server refuses our certificate, by the alert of TLS that it sent. HTTP/2 keeps of that error its words alone.
fn refused_by_peer(error: &h2::Error) -> &'static str {
    let words = error.get_io().map(ToString::to_string).unwrap_or_default();
    let alert = |alert: AlertDescription| words.ends_with(&format!("{alert:?}"));
    if alert(AlertDescription::CertificateExpired) {
        "the server refuses our certificate: it has expired"
    } else if alert(AlertDescription::UnknownCA) || alert(AlertDescription::DecryptError) {
        // An authority of the same name shows in the signature.
        "the server refuses our certificate: it is of another authority"
    } else {
        "the server refuses our certificate"
    }
}

/// What a server makes of one whom it does not let in.
pub(super) fn stranger(error: &io::Error) -> &'static str {
    match of_tls(error) {
        Some(TlsError::InvalidCertificate(why)) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet"
            }
            // Another authority of the same name shows in the signature.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate is of another authority"
            }
            _ => "its certificate is none",
        },
        Some(TlsError::NoCertificatesPresented) => "it shows no certificate",
        Some(TlsError::NoApplicationProtocol) => "it speaks another protocol",
        Some(TlsError::AlertReceived(_)) => "it refuses our certificate",
        Some(_) => "it does not speak TLS 1.3 as we do",
        None if error.kind() == io::ErrorKind::InvalidData => {
            "its certificate lacks a name, or has not exactly one role"
        }
        None => "it went away before it was known who it is",
    }
}

fn of_tls(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

/// The status of a call for which no connection could be made.
pub(super) fn unconnected(error: &io::Error) -> Status {
    let what = match error.kind() {
        io::ErrorKind::InvalidData => {
            let what = match of_tls(error) {
                Some(TlsError::InvalidCertificate(
                    CertificateError::Expired | CertificateError::ExpiredContext { .. },
                )) => "the server's certificate has expired",
                Some(TlsError::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::BadSignature,
                )) => "the server's certificate is of another authority",
                _ => "the server is not the one that was expected",
            };
            return Status::unauthenticated(what);
        }
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "connection reset",
        io::ErrorKind::TimedOut => "timed out",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no way there",
        _ => "failed",
    };
    Status::unavailable(format!("connecting: {what}"))
}
