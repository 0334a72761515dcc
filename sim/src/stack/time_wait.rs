//! TIME-WAIT without a socket: what is left of a connection that both ends have closed.
//!
//! The side that closed first must answer late segments for a while (RFC 9293 §3.6.1). That takes two
//! sequence numbers, so the socket and its buffers go back at once and a small record stays, in a table of its own: the
//! connections that are open are few beside them. Records last [`TIME_WAIT`], as all last equally long they expire in the
//! order in which they came, without timers. A SYN with a higher sequence number opens a new connection at once, and a
//! `connect` may take the tuple after [`REUSE_AFTER`] (RFC 6191; Linux `tcp_tw_reuse`).

use std::collections::VecDeque;
use std::time::Duration;

use anyedge_net::packet::{Meta, Packet, Pool};
use anyedge_net::port::PortId;
use anyedge_net::time::Instant;
use anyedge_net::wire::ip::{DEFAULT_TTL, Header, header_len};
use anyedge_net::wire::{Parsed, tcp};

use super::tuple::Tuple;
use crate::lookup::Table;

/// How long a closed connection's tuple answers for it. Linux: 60 s; here short, since addresses are few and
/// rates high.
const TIME_WAIT: Duration = Duration::from_secs(10);
/// How old a record must be before a `connect` may take its tuple.
pub(super) const REUSE_AFTER: Duration = Duration::from_secs(1);
/// Records that a host keeps; the oldest goes when there are more.
const RECORDS_MAX: usize = 32_768;

/// What a TCP header says of sequence numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Segment {
    sequence: u32,
    acknowledged: u32,
    /// Payload, SYN and FIN.
    len: u32,
    pub(super) flags: u8,
    /// The receive window it announced, unscaled.
    pub(super) window: u16,
}

impl Segment {
    pub(super) fn of(bytes: &[u8], parsed: &Parsed) -> Segment {
        let l4 = parsed.l4(bytes);
        let word = |at: usize| u32::from_be_bytes([l4[at], l4[at + 1], l4[at + 2], l4[at + 3]]);
        let flags = parsed.tcp_flags;
        let payload = l4.len() - usize::from(l4[12] >> 4) * 4;
        let controls = u32::from(flags & tcp::SYN != 0) + u32::from(flags & tcp::FIN != 0);
        Segment {
            sequence: word(4),
            acknowledged: word(8),
            len: payload as u32 + controls,
            flags,
            window: u16::from_be_bytes([l4[14], l4[15]]),
        }
    }
}

/// What remains of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TimeWait {
    pub(super) since: Instant,
    send_next: u32,
    receive_next: u32,
}

/// The records of a host.
#[derive(Default)]
pub(super) struct TimeWaits {
    records: Table<Tuple, TimeWait>,
    /// The oldest first; those among them that are forgotten already have no record of that time.
    order: VecDeque<(Instant, Tuple)>,
}

impl TimeWaits {
    pub(super) fn get(&self, tuple: &Tuple) -> Option<&TimeWait> {
        self.records.get(tuple)
    }

    pub(super) fn forget(&mut self, tuple: &Tuple) {
        self.records.remove(tuple);
    }

    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.order.clear();
    }

    /// Adds the record of a connection that has just closed; those whose time is over go.
    pub(super) fn add(&mut self, tuple: Tuple, record: TimeWait) {
        let now = record.since;
        while let Some(&(since, oldest)) = self.order.front() {
            let expired = since + TIME_WAIT <= now || self.order.len() >= RECORDS_MAX;
            if !expired {
                break;
            }
            self.order.pop_front();
            if self
                .get(&oldest)
                .is_some_and(|record| record.since == since)
            {
                self.forget(&oldest);
            }
        }
        self.order.push_back((now, tuple));
        self.records.insert(tuple, record);
    }
}

/// What a late segment leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Late {
    /// Nothing.
    Ignore,
    /// The last acknowledgement again.
    Answer,
    /// The record's end.
    Forget,
    /// The record's end, and a new connection.
    Reopen,
}

impl TimeWait {
    /// After `last`, which acknowledged our FIN and carried or followed theirs.
    pub(super) const fn after(last: &Segment, now: Instant) -> TimeWait {
        TimeWait {
            since: now,
            send_next: last.acknowledged,
            receive_next: last.sequence.wrapping_add(last.len),
        }
    }

    /// Judges a segment that comes late (RFC 9293 §3.10.7.4, RFC 1122 §4.2.2.13).
    pub(super) const fn on_segment(&self, segment: &Segment) -> Late {
        if segment.flags & tcp::RST != 0 {
            return if segment.sequence == self.receive_next {
                Late::Forget
            } else {
                Late::Ignore
            };
        }
        let ahead = segment
            .sequence
            .wrapping_sub(self.receive_next)
            .cast_signed();
        if segment.flags & (tcp::SYN | tcp::ACK) == tcp::SYN && ahead > 0 {
            return Late::Reopen;
        }
        if segment.len > 0 || ahead != 0 {
            Late::Answer
        } else {
            Late::Ignore
        }
    }

    /// The last acknowledgement; `None` when the pool is empty.
    pub(super) fn answer(&self, tuple: &Tuple, pool: &mut Pool) -> Option<Packet> {
        let at = header_len(tuple.local.family());
        let mut packet = pool.lend(at + tcp::HEADER_LEN, Meta::plain(PortId::LOCAL))?;
        let out = packet.bytes_mut();
        let header = Header {
            src: tuple.local,
            dst: tuple.remote,
            protocol: tcp::PROTOCOL,
            ttl: DEFAULT_TTL,
            tos: 0,
            payload_len: tcp::HEADER_LEN,
        };
        header.write(out);
        let segment = &mut out[at..];
        segment[..2].copy_from_slice(&tuple.local_port.to_be_bytes());
        segment[2..4].copy_from_slice(&tuple.remote_port.to_be_bytes());
        segment[4..8].copy_from_slice(&self.send_next.to_be_bytes());
        segment[8..12].copy_from_slice(&self.receive_next.to_be_bytes());
        segment[12..20].copy_from_slice(&[0x50, tcp::ACK, 0, 0, 0, 0, 0, 0]);
        tcp::fill_checksum(segment, tuple.local, tuple.remote);
        Some(packet)
    }
}
