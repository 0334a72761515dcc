//! One TCP connection as its host keeps it: the protocol machine, who owns it, who waits for it.

use std::io;
use std::net::SocketAddr;

use anyedge_net::flow::Family;
use anyedge_net::packet::Packet;
use anyedge_net::time::Instant;
use anyedge_net::wire::{Parsed, ip, tcp};

use super::listeners::ListenerId;
use super::tcp::TcpEndpoint;
use super::time_wait::Segment;
use super::tuple::Tuple;
use super::waiter::Waiter;

/// A connection of a host: a slot and the count of connections that had it before.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// What the caller hands back when a connection's time has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FlowTimer {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// Who answers for a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// A `connect` waits for the handshake.
    Connecting,
    /// A listener's, in its handshake.
    HalfOpen(ListenerId),
    /// In a listener's accept queue.
    Waiting(ListenerId),
    /// A stream's.
    Owned,
    /// Nobody's any more: it finishes by itself.
    Orphan,
}

pub(super) struct Flow {
    pub(super) tuple: Tuple,
    pub(super) endpoint: TcpEndpoint,
    pub(super) role: Role,
    /// In the table: segments reach it, and it sends.
    pub(super) attached: bool,
    /// Why it ended, unless by both FINs.
    pub(super) failure: Option<io::ErrorKind>,
    /// When the other end last said something, or when we began to wait for it.
    pub(super) heard_at: Instant,
    /// The client that the SYN's TOA option told of.
    pub(super) toa: Option<SocketAddr>,
    /// The segment that came last, which TIME-WAIT remembers.
    pub(super) last: Segment,
    /// The sequence number behind all that was ever sent.
    sent_until: Option<u32>,
    /// Written and never sent.
    unsent: u32,
    unsent_max: u32,
    pub(super) reader: Waiter,
    pub(super) writer: Waiter,
}

impl Flow {
    pub(super) fn new(endpoint: TcpEndpoint, tuple: Tuple) -> Flow {
        Flow {
            tuple,
            endpoint,
            role: Role::Orphan,
            attached: false,
            failure: None,
            heard_at: Instant::ZERO,
            toa: None,
            last: Segment::default(),
            sent_until: None,
            unsent: 0,
            unsent_max: u32::MAX,
            reader: Waiter::default(),
            writer: Waiter::default(),
        }
    }

    /// Begins anew in the same slot and buffers.
    pub(super) fn open(&mut self, tuple: Tuple, role: Role, now: Instant) {
        self.tuple = tuple;
        self.role = role;
        self.attached = true;
        self.failure = None;
        self.heard_at = now;
        self.toa = None;
        self.last = Segment::default();
        self.sent_until = None;
        (self.unsent, self.unsent_max) = (0, u32::MAX);
    }

    /// Ends; nobody waits for it any more.
    pub(super) fn end(&mut self) {
        self.role = Role::Orphan;
        self.reader = Waiter::default();
        self.writer = Waiter::default();
    }

    pub(super) fn heard(&mut self, bytes: &[u8], parsed: &Parsed, now: Instant) {
        self.heard_at = now;
        self.last = Segment::of(bytes, parsed);
    }

    /// From here on no more than so many bytes wait that were never sent, one at least.
    pub(super) fn limit_unsent(&mut self, bytes: u32) {
        self.unsent_max = bytes.max(1);
    }

    /// Moves bytes in, as many as there is room for; `None` when our direction is closed.
    pub(super) fn write(&mut self, data: &[u8]) -> Option<usize> {
        let room = self.unsent_max.saturating_sub(self.unsent) as usize;
        let taken = self.endpoint.write(&data[..data.len().min(room)])?;
        self.unsent += taken as u32;
        Some(taken)
    }

    /// Notes the segments that it sends; how many of them begin with what was sent before.
    pub(super) fn sends(&mut self, segments: &[Packet]) -> u64 {
        let mut again = 0;
        for segment in segments {
            let Some((from, len)) = occupied(segment.bytes()).filter(|(_, len)| *len > 0) else {
                continue;
            };
            let until = from.wrapping_add(len);
            let known = self.sent_until;
            // Sequence numbers are compared in their own half of the circle (RFC 9293 §3.4).
            let is_behind = |of: u32, mark: u32| (of.wrapping_sub(mark) as i32) < 0;
            again += u64::from(known.is_some_and(|known| is_behind(from, known)));
            if known.is_none_or(|known| is_behind(known, until)) {
                // A FIN is never what was written; the buffer is empty behind it.
                let new = known.map_or(0, |known| until.wrapping_sub(known));
                self.unsent = self.unsent.saturating_sub(new);
                self.sent_until = Some(until);
            }
        }
        if self.unsent_max < u32::MAX {
            self.wake_writer();
        }
        again
    }

    /// Wakes whoever waits for what has become possible.
    pub(super) fn wake(&mut self) {
        let over = !self.attached;
        if self.reader.waits() && (over || self.endpoint.is_readable()) {
            self.reader.wake();
        }
        self.wake_writer();
    }

    /// As Linux does, when half of what may wait unsent has been sent.
    fn wake_writer(&mut self) {
        let is_writable =
            || self.unsent < self.unsent_max.div_ceil(2) && self.endpoint.is_writable();
        if self.writer.waits() && (!self.attached || is_writable()) {
            self.writer.wake();
        }
    }
}

/// The sequence numbers that a segment of ours takes: the first, and how many.
fn occupied(bytes: &[u8]) -> Option<(u32, u32)> {
    let at = match bytes.first()? >> 4 {
        4 => ip::header_len(Family::V4),
        _ => ip::header_len(Family::V6),
    };
    let header = bytes.get(at..)?.first_chunk::<{ tcp::HEADER_LEN }>()?;
    let [.., a, b, c, d] = *header.first_chunk::<8>()?;
    let payload = bytes.len() - at - usize::from(header[12] >> 4) * 4;
    let flags = u32::from(header[13] & tcp::SYN != 0) + u32::from(header[13] & tcp::FIN != 0);
    Some((u32::from_be_bytes([a, b, c, d]), payload as u32 + flags))
}
