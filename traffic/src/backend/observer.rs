//! Who watches a backend: told of every request, with the client's address as it arrived.
//!
//! A live process logs what it is told, a simulation counts it. The observer runs inside the backend's
//! tasks, so it must not block.

use core::net::SocketAddr;

use anyedge_net::time::Instant;

use crate::long_flow::Course;

/// A request that a backend has read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen<'a> {
    /// When it was complete.
    pub at: Instant,
    /// The client, as the packets that arrived here say.
    pub client: SocketAddr,
    /// The client, as it was told beside that.
    pub told: Told,
    /// The backend's own address, as the packets that arrived here say.
    pub server: SocketAddr,
    /// What was asked.
    pub what: What<'a>,
}

/// What a backend was told of its client beside the source address of packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// By the TOA option of the SYN.
    pub toa: Option<SocketAddr>,
    /// By a PROXY header.
    pub proxy: Option<SocketAddr>,
}

/// What a client asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What<'a> {
    /// A raw exchange.
    Exchange {
        /// Bytes of the request.
        request_bytes: u32,
        /// Bytes of the answer.
        answer_bytes: u64,
    },
    /// A long flow.
    LongFlow {
        /// How it goes.
        course: Course,
        /// Bytes of the download, the upload or each answer.
        bytes: u64,
    },
    /// An HTTP request.
    Http {
        /// `GET`, ..
        method: &'a str,
        /// The path, without query.
        path: &'a str,
        /// The status that it is answered with.
        status: u16,
    },
    /// A datagram that is echoed.
    Tick {
        /// Bytes of its payload.
        bytes: usize,
    },
}

/// Who is told of every request.
pub trait Observer: Send + Sync + 'static {
    /// A request has been read and is about to be answered.
    fn on_request(&self, seen: &Seen<'_>);
}

/// Nobody watches.
#[derive(Clone, Copy, Default, Debug)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn on_request(&self, _: &Seen<'_>) {}
}

impl<F: Fn(&Seen<'_>) + Send + Sync + 'static> Observer for F {
    fn on_request(&self, seen: &Seen<'_>) {
        self(seen);
    }
}
