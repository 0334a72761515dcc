//! Fragments at a host: what it sends is cut to the MTU, and what comes in pieces is put together again.
//!
//! Only hosts do so; nobody on the way puts a packet together. A fragment waits for the rest of its packet for 30 s
//! at most, looked at when the next fragment comes. Everything is bounded: one packet too many, or one fragment too
//! many, and the oldest packet ends. After an overlap all of a packet is refused, what still comes too.
//!
//! Invariant: each fragment that was taken waits here, or has exactly one [`Outcome`], its own or one in `ended`.
//! References: RFC 791 §3.2, RFC 8200 §4.5, RFC 5722 §4 (overlaps), RFC 8900 (what is lost on the way).

use core::time::Duration;
use std::collections::VecDeque;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::{Family, FlowKey};
use anyedge_net::packet::{Meta, Packet, Pool};
use anyedge_net::port::PortId;
use anyedge_net::time::Instant;
use anyedge_net::wire::fragment::ranges::{Added, Ranges};
use anyedge_net::wire::ip::{Header, header_len};
use anyedge_net::wire::{self, Fragment, Parsed, fragment, ipv4};

use super::{HostConfig, Io, Outcome};

/// Packets in pieces that wait at a host.
const PACKETS_MAX: usize = 256;
/// Fragments that wait at a host, of all of them.
const FRAGMENTS_MAX: usize = 4_096;
/// Time from a packet's first fragment to come until it is given up.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A packet of which some has come, by the key that all its fragments share.
struct Incomplete {
    key: FlowKey,
    until: Instant,
    ranges: Ranges,
    refused: bool,
    /// In the order in which they came, each with where its payload starts in it and in the whole.
    pieces: Vec<Piece>,
}

struct Piece {
    packet: Packet,
    l4_offset: usize,
    at: usize,
}

/// What a host cuts and what it puts together.
pub(super) struct Fragments {
    /// The oldest first.
    incomplete: VecDeque<Incomplete>,
    waiting: usize,
    /// What became of fragments that had waited.
    ended: Vec<Outcome>,
    /// Identification of the next packet that is cut.
    next_id: u32,
}

/// What came of a fragment.
pub(super) enum Taken {
    /// It ended, or waits.
    Alone(Outcome),
    /// It was the last: the whole packet, and how many fragments it had.
    Whole(Packet, usize),
    /// It was the last of so many, but they make no packet.
    Lost(DropReason, usize),
}

/// The most that may stand behind an IP header without options.
pub(super) const fn payload_len_max(family: Family) -> usize {
    match family {
        Family::V4 => u16::MAX as usize - ipv4::HEADER_LEN,
        Family::V6 => u16::MAX as usize,
    }
}

impl Fragments {
    pub(super) fn new(config: &HostConfig) -> Fragments {
        Fragments {
            incomplete: VecDeque::new(),
            waiting: 0,
            ended: Vec::new(),
            next_id: config.seed.stream(&config.name, "fragments").bits() as u32,
        }
    }

    /// What became of fragments that had waited, to be taken.
    pub(super) const fn ended(&mut self) -> &mut Vec<Outcome> {
        &mut self.ended
    }

    /// All fragments of a packet, the last of them just come, end as the whole did.
    pub(super) fn whole_ended(&mut self, outcome: Outcome, fragments: usize) {
        for _ in 1..fragments {
            self.ended.push(outcome);
        }
    }

    /// Takes a fragment.
    #[cold]
    pub(super) fn take(&mut self, mut packet: Packet, parsed: &Parsed, io: &mut Io<'_>) -> Taken {
        let (Some(key), Some(position)) = (fragment::packet_key(parsed), parsed.fragment) else {
            return Taken::Whole(packet, 1);
        };
        self.expire(io.now, io.pool);
        // Behind a further extension header of IPv6 the payload starts elsewhere than in the fragments that follow.
        if parsed.flow.protocol != position.protocol {
            return refuse(packet, DropReason::Fragment, io);
        }
        let at = self.find_or_add(key, io);
        let entry = &mut self.incomplete[at];
        if entry.refused {
            return refuse(packet, DropReason::FragmentRefused, io);
        }
        match entry
            .ranges
            .add(position.offset, parsed.l4_len, position.more)
        {
            Added::Fresh => {}
            Added::Again => return refuse(packet, DropReason::FragmentRefused, io),
            Added::Conflict => {
                entry.refused = true;
                self.drop_pieces(at, DropReason::FragmentRefused, io.pool);
                return refuse(packet, DropReason::FragmentRefused, io);
            }
        }
        packet.truncate(parsed.total_len);
        entry.pieces.push(Piece {
            packet,
            l4_offset: usize::from(parsed.l4_offset),
            at: usize::from(position.offset),
        });
        self.waiting += 1;
        if !self.incomplete[at].ranges.is_whole() {
            if self.waiting > FRAGMENTS_MAX {
                self.give_up_oldest(io.pool);
            }
            return Taken::Alone(Outcome::Held);
        }
        let entry = self.incomplete.remove(at).expect("it was just found");
        self.waiting -= entry.pieces.len();
        put_together(entry.pieces, position.protocol, io)
    }

    /// Ends everything that waits, for `reason`.
    pub(super) fn forget_all(&mut self, reason: DropReason, pool: &mut Pool) {
        for at in 0..self.incomplete.len() {
            self.drop_pieces(at, reason, pool);
        }
        self.incomplete.clear();
    }

    /// Sends `packet`, which is longer than `mtu`, in pieces. How many of them found no slot and are lost.
    #[cold]
    pub(super) fn send(&mut self, packet: Packet, mtu: usize, io: &mut Io<'_>) -> u64 {
        let Ok(parsed) = wire::parse(packet.bytes()) else {
            io.out.push(packet);
            return 0;
        };
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let at = fragment::header_len(parsed.family);
        let l4 = parsed.l4(packet.bytes());
        let mut unsent = 0;
        for (part, more) in fragment::pieces(parsed.family, l4.len(), mtu) {
            let Some(mut piece) = io.pool.lend(at + part.len(), Meta::plain(PortId::LOCAL)) else {
                unsent += 1;
                continue;
            };
            let position = Fragment {
                id,
                offset: part.start as u16,
                more,
                protocol: parsed.flow.protocol,
            };
            let out = piece.bytes_mut();
            fragment::write_header(out, &header(&parsed, part.len()), &position);
            out[at..].copy_from_slice(&l4[part]);
            io.out.push(piece);
        }
        io.pool.take_back(packet);
        unsent
    }

    fn expire(&mut self, now: Instant, pool: &mut Pool) {
        while self.incomplete.front().is_some_and(|it| it.until <= now) {
            self.give_up_oldest(pool);
        }
    }

    fn give_up_oldest(&mut self, pool: &mut Pool) {
        if !self.incomplete.is_empty() {
            self.drop_pieces(0, DropReason::FragmentTimeout, pool);
            self.incomplete.pop_front();
        }
    }

    fn find_or_add(&mut self, key: FlowKey, io: &mut Io<'_>) -> usize {
        // The latest are looked at first: fragments of a packet come together.
        if let Some(at) = self.incomplete.iter().rposition(|it| it.key == key) {
            return at;
        }
        if self.incomplete.len() == PACKETS_MAX {
            self.give_up_oldest(io.pool);
        }
        self.incomplete.push_back(Incomplete {
            key,
            until: io.now + TIMEOUT,
            ranges: Ranges::default(),
            refused: false,
            pieces: Vec::new(),
        });
        self.incomplete.len() - 1
    }

    fn drop_pieces(&mut self, at: usize, reason: DropReason, pool: &mut Pool) {
        for piece in self.incomplete[at].pieces.drain(..) {
            pool.take_back(piece.packet);
            self.waiting -= 1;
            self.ended.push(Outcome::Dropped(reason));
        }
    }
}

fn refuse(packet: Packet, reason: DropReason, io: &mut Io<'_>) -> Taken {
    Taken::Alone(super::drop_packet(packet, reason, io))
}

/// The header of a packet with `payload_len` bytes behind it, as that of one that was parsed.
const fn header(parsed: &Parsed, payload_len: usize) -> Header {
    Header {
        src: parsed.flow.src,
        dst: parsed.flow.dst,
        protocol: parsed.flow.protocol,
        ttl: parsed.ttl,
        tos: parsed.tos,
        payload_len,
    }
}

/// The whole of `pieces`, which have no gap; its other fields are those of its first fragment.
fn put_together(pieces: Vec<Piece>, protocol: u8, io: &mut Io<'_>) -> Taken {
    let count = pieces.len();
    let payload_of = |piece: &Piece| piece.packet.len() - piece.l4_offset;
    let payload_len: usize = pieces.iter().map(payload_of).sum();
    let first = pieces.iter().find(|piece| piece.at == 0);
    let parsed = wire::parse(first.expect("the first came").packet.bytes());
    let parsed = parsed.expect("what waits was parsed before");
    let at = header_len(parsed.family);
    let whole = if payload_len <= payload_len_max(parsed.family) {
        let meta = Meta::plain(PortId::LOCAL);
        let lent = io.pool.lend(at + payload_len, meta);
        lent.ok_or(DropReason::PoolEmpty)
    } else {
        Err(DropReason::Malformed)
    };
    let mut whole = match whole {
        Ok(whole) => whole,
        Err(reason) => {
            let packets = pieces.into_iter().map(|piece| piece.packet);
            packets.for_each(|packet| io.pool.take_back(packet));
            return Taken::Lost(reason, count);
        }
    };
    let out = whole.bytes_mut();
    Header {
        protocol,
        ..header(&parsed, payload_len)
    }
    .write(out);
    for piece in pieces {
        let payload = &piece.packet.bytes()[piece.l4_offset..];
        out[at + piece.at..at + piece.at + payload.len()].copy_from_slice(payload);
        io.pool.take_back(piece.packet);
    }
    Taken::Whole(whole, count)
}
