//! Fragment table: the ports of a packet that comes in pieces.
//!
//! Only the first fragment has ports. The table remembers them for the others by what all fragments of the packet
//! share, and holds those that came before it. A packet is forgotten when all of it has passed, or 30 s after its
//! first fragment to come: then what is held ends as `FragmentTimeout`. Everything is bounded: with the table full
//! the oldest packet makes room, since a sound one is whole within moments.
//!
//! Invariant: no byte of a packet passes twice, and after an overlap none of it does any more.
//! References: RFC 8200 §4.5 (60 s at the end host; a middle needs less), RFC 5722 §4 (overlaps), RFC 3128.

use core::time::Duration;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::{FlowKey, HashKey};
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::time::Instant;
use anyedge_net::wire::fragment::ranges::{Added, Ranges};
use anyedge_net::wire::{Parsed, fragment};

use crate::flow_index::FlowIndex;

/// Packets in pieces that a node knows at a time.
pub const DATAGRAMS_MAX: usize = 2_048;
/// Fragments that a node holds at a time, waiting for the first of their packet.
pub const HELD_MAX: usize = 256;
/// Time from a packet's first fragment to come until it is forgotten.
pub const FRAGMENT_TIMEOUT: Duration = Duration::from_secs(30);

const NONE: u32 = u32::MAX;

/// A fragment, and what its node wants to know of it when it goes on.
pub(crate) struct Piece<C> {
    pub(crate) packet: Packet,
    /// With the ports of its packet, once it goes on.
    pub(crate) parsed: Parsed,
    pub(crate) context: C,
}

/// Ports of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ports {
    src: u16,
    dst: u16,
}

/// A packet in pieces. In the free list, `next` is the next free one.
struct Datagram {
    key: FlowKey,
    hash: u32,
    until: Instant,
    ports: Option<Ports>,
    /// An overlap was seen: nothing more of it passes.
    refused: bool,
    ranges: Ranges,
    /// Its held fragments, the first that came first.
    held: Chain,
    previous: u32,
    next: u32,
}

/// Fragments in `FragmentTable::held`, linked.
#[derive(Clone, Copy)]
struct Chain {
    first: u32,
    last: u32,
}

const EMPTY: Chain = Chain {
    first: NONE,
    last: NONE,
};

/// A place for a held fragment; empty ones are linked too.
struct Held<C> {
    piece: Option<Piece<C>>,
    next: u32,
}

/// What a node knows of packets in pieces; `C` goes with each fragment that is held.
pub(crate) struct FragmentTable<C> {
    datagrams: Vec<Datagram>,
    index: FlowIndex,
    /// By age: the oldest first.
    oldest: u32,
    youngest: u32,
    free: u32,
    count: usize,
    held: Vec<Held<C>>,
    held_free: u32,
    held_count: usize,
    released: Chain,
    released_ports: Ports,
}

impl<C> FragmentTable<C> {
    /// An empty table. Its memory is asked for with the first fragment.
    pub(crate) fn new() -> FragmentTable<C> {
        FragmentTable {
            datagrams: Vec::new(),
            index: FlowIndex::new(1),
            oldest: NONE,
            youngest: NONE,
            free: NONE,
            count: 0,
            held: Vec::new(),
            held_free: NONE,
            held_count: 0,
            released: EMPTY,
            released_ports: Ports { src: 0, dst: 0 },
        }
    }

    /// Fragments held.
    pub(crate) const fn held(&self) -> usize {
        self.held_count
    }

    /// Packets known.
    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// Takes a fragment. It comes back with its packet's ports when they are known; else it is held, or dropped.
    /// After a first fragment, [`FragmentTable::pop_released`] gives those that waited for it.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        hash_key: &HashKey,
        mut piece: Piece<C>,
        out: &mut Outbox,
    ) -> Option<Piece<C>> {
        let (Some(key), Some(fragment)) =
            (fragment::packet_key(&piece.parsed), piece.parsed.fragment)
        else {
            return Some(piece);
        };
        let at = self.find_or_add(now, hash_key, key, out);
        let datagram = &mut self.datagrams[at as usize];
        if datagram.refused {
            out.drop_packet(piece.packet, DropReason::FragmentRefused);
            return None;
        }
        match datagram
            .ranges
            .add(fragment.offset, piece.parsed.l4_len, fragment.more)
        {
            Added::Fresh => {}
            Added::Again => {
                out.drop_packet(piece.packet, DropReason::FragmentRefused);
                return None;
            }
            Added::Conflict => {
                out.drop_packet(piece.packet, DropReason::FragmentRefused);
                self.refuse(at, out);
                return None;
            }
        }
        let flow = &mut piece.parsed.flow;
        if fragment.offset == 0 {
            let (src, dst) = (flow.src_port, flow.dst_port);
            datagram.ports = Some(Ports { src, dst });
            self.released = core::mem::replace(&mut datagram.held, EMPTY);
            self.released_ports = Ports { src, dst };
        }
        let Some(ports) = datagram.ports else {
            self.hold(at, piece, out);
            return None;
        };
        (flow.src_port, flow.dst_port) = (ports.src, ports.dst);
        if datagram.ranges.is_whole() {
            self.forget(at);
        }
        Some(piece)
    }

    /// The next fragment that waited for the first one that was taken last.
    pub(crate) fn pop_released(&mut self) -> Option<Piece<C>> {
        let mut piece = self.unlink_first_released()?;
        let flow = &mut piece.parsed.flow;
        (flow.src_port, flow.dst_port) = (self.released_ports.src, self.released_ports.dst);
        Some(piece)
    }

    /// Forgets packets whose time is over; what is held of them ends.
    pub(crate) fn expire(&mut self, now: Instant, out: &mut Outbox) {
        while self.wake_at().is_some_and(|at| at <= now) {
            self.end(self.oldest, DropReason::FragmentTimeout, out);
        }
    }

    /// When to call [`FragmentTable::expire`] next.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let oldest = self.datagrams.get(self.oldest as usize)?;
        Some(oldest.until)
    }

    /// Forgets all packets; what is held of them ends for `reason`.
    pub(crate) fn clear(&mut self, reason: DropReason, out: &mut Outbox) {
        while self.oldest != NONE {
            self.end(self.oldest, reason, out);
        }
    }

    fn find_or_add(
        &mut self,
        now: Instant,
        hash_key: &HashKey,
        key: FlowKey,
        out: &mut Outbox,
    ) -> u32 {
        if self.datagrams.capacity() == 0 {
            self.datagrams.reserve_exact(DATAGRAMS_MAX);
            self.held.reserve_exact(HELD_MAX);
            self.index = FlowIndex::new(DATAGRAMS_MAX);
        }
        let hash = key.hash(hash_key) as u32;
        let is_it = |at: u32| self.datagrams[at as usize].key == key;
        if let Some(at) = self.index.find(hash, is_it) {
            if now < self.datagrams[at as usize].until {
                return at;
            }
            self.end(at, DropReason::FragmentTimeout, out);
        }
        if self.count == DATAGRAMS_MAX {
            self.end(self.oldest, DropReason::FragmentTimeout, out);
        }
        let datagram = Datagram {
            key,
            hash,
            until: now + FRAGMENT_TIMEOUT,
            ports: None,
            refused: false,
            ranges: Ranges::default(),
            held: EMPTY,
            previous: self.youngest,
            next: NONE,
        };
        let at = self.place(datagram);
        match self.datagrams.get_mut(self.youngest as usize) {
            Some(before) => before.next = at,
            None => self.oldest = at,
        }
        self.youngest = at;
        self.count += 1;
        self.index.insert(hash, at);
        at
    }

    fn place(&mut self, datagram: Datagram) -> u32 {
        let at = self.free;
        match self.datagrams.get_mut(at as usize) {
            Some(place) => {
                self.free = place.next;
                *place = datagram;
                at
            }
            None => {
                self.datagrams.push(datagram);
                self.datagrams.len() as u32 - 1
            }
        }
    }

    /// Ends what is held of a packet, and refuses the rest of it until it is forgotten.
    fn refuse(&mut self, at: u32, out: &mut Outbox) {
        let datagram = &mut self.datagrams[at as usize];
        datagram.refused = true;
        let held = core::mem::replace(&mut datagram.held, EMPTY);
        self.drop_chain(held, DropReason::FragmentRefused, out);
    }

    /// Forgets a packet and ends what is held of it.
    fn end(&mut self, at: u32, reason: DropReason, out: &mut Outbox) {
        let held = core::mem::replace(&mut self.datagrams[at as usize].held, EMPTY);
        self.drop_chain(held, reason, out);
        self.forget(at);
    }

    /// Forgets a packet of which nothing is held.
    fn forget(&mut self, at: u32) {
        let Datagram {
            hash,
            previous,
            next,
            ..
        } = self.datagrams[at as usize];
        self.index.remove(hash, at);
        match self.datagrams.get_mut(previous as usize) {
            Some(before) => before.next = next,
            None => self.oldest = next,
        }
        match self.datagrams.get_mut(next as usize) {
            Some(behind) => behind.previous = previous,
            None => self.youngest = previous,
        }
        self.datagrams[at as usize].next = self.free;
        self.free = at;
        self.count -= 1;
    }

    fn hold(&mut self, at: u32, piece: Piece<C>, out: &mut Outbox) {
        if self.held_count == HELD_MAX {
            // Its bytes count as seen: what is sent again of this packet is refused too.
            return out.drop_packet(piece.packet, DropReason::FragmentRefused);
        }
        let place = self.held_free;
        let held = Held {
            piece: Some(piece),
            next: NONE,
        };
        let number = match self.held.get_mut(place as usize) {
            Some(free) => {
                self.held_free = free.next;
                *free = held;
                place
            }
            None => {
                self.held.push(held);
                self.held.len() as u32 - 1
            }
        };
        self.held_count += 1;
        let chain = &mut self.datagrams[at as usize].held;
        match self.held.get_mut(chain.last as usize) {
            Some(last) => last.next = number,
            None => chain.first = number,
        }
        chain.last = number;
    }

    fn unlink_first_released(&mut self) -> Option<Piece<C>> {
        let at = self.released.first;
        let held = self.held.get_mut(at as usize)?;
        let piece = held.piece.take();
        self.released.first = held.next;
        held.next = self.held_free;
        self.held_free = at;
        self.held_count -= 1;
        piece
    }

    fn drop_chain(&mut self, chain: Chain, reason: DropReason, out: &mut Outbox) {
        let before = core::mem::replace(&mut self.released, chain);
        while let Some(piece) = self.unlink_first_released() {
            out.drop_packet(piece.packet, reason);
        }
        self.released = before;
    }
}

#[cfg(test)]
mod tests;
