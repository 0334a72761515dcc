//! Packets on loan from a pool.
//!
//! A packet is one slot of the driver's [`Pool`], with headroom in front: encapsulating is moving the
//! start back and writing a header, never a copy. Two classes of slot exist, one for what fits a wire and
//! one for super-packets. A packet ends exactly once, by going back to the pool that lent it; the pool
//! counts its loans, so one that ended twice or nowhere shows at the next check.
//!
//! A super-packet is one whose [`Offload`] says that it stands for several: one IP and one transport header, and
//! the payload of all. Forwarders handle it whole; docs/super-packets.md has the rules.
//!
//! Invariant: `start + len <= slot.len()`.

use core::fmt;

use crate::fetch;
use crate::id::NodeId;
use crate::port::PortId;

/// Bytes kept free in front of a fresh packet: outer IPv6 (40) + UDP (8) + GRE with key (8), twice over.
pub const HEADROOM: usize = 128;
/// Slot size of ordinary packets, headroom included.
pub const SMALL_SLOT: usize = 2_048;
/// Slot size of super-packets: the largest IP packet (65,575 bytes, IPv6) and its headroom.
pub const LARGE_SLOT: usize = 65_600 + HEADROOM;

/// What of a packet a device does on its behalf. Forwarders keep it; [`crate::wire::segments`] does the same work
/// where no device does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offload {
    /// A super-packet: IP bytes of the largest of the packets that it stands for, headers included. 0 for a packet
    /// that is just itself.
    pub segment_len: u16,
    /// The TCP or UDP checksum is not filled in: its field means nothing, may be rewritten, and is made when the
    /// packet leaves. Always so for a super-packet.
    pub partial: bool,
}

impl Offload {
    /// A packet that is just itself, complete.
    pub const NONE: Offload = Offload {
        segment_len: 0,
        partial: false,
    };
}

/// What a packet knows beside its bytes. On arrival the port fills it in; on departure the forwarder does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meta {
    /// The port it came in by, or leaves by.
    pub port: PortId,
    /// The tunnel's other end: who sent it, or who shall get it. `UNKNOWN` when the outer source address
    /// is no node's, and on ports that are not tunnels.
    pub peer: NodeId,
    /// Departing by a tunnel: a hash of the flow, for the outer source port (RFC 8086 §3.2.1).
    pub entropy: u16,
    /// Tunnels: DSCP and ECN of the outer header, as received or to be sent. Outer packets carry DF.
    pub tos: u8,
    /// Whether it stands for several packets, and whether its checksum is still to be made.
    pub offload: Offload,
}

impl Meta {
    /// Arrived by `port`, which is not a tunnel.
    pub const fn plain(port: PortId) -> Meta {
        Meta {
            port,
            peer: NodeId::UNKNOWN,
            entropy: 0,
            tos: 0,
            offload: Offload::NONE,
        }
    }
}

/// Bytes of one packet in a slot on loan.
pub struct Packet {
    slot: Box<[u8]>,
    start: u32,
    len: u32,
    /// Where it came from or where it goes.
    pub meta: Meta,
}

impl Packet {
    /// The packet's bytes, outermost header first.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.slot[self.start as usize..(self.start + self.len) as usize]
    }

    /// Has its bytes fetched to the processor, without waiting for them.
    #[inline]
    pub fn fetch(&self) {
        fetch::fetch(self.bytes());
    }

    /// The packet's bytes, to be rewritten in place.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.slot[self.start as usize..(self.start + self.len) as usize]
    }

    /// Length in bytes.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Length on a wire of the largest packet that this one stands for, in bytes: what an MTU is compared with. For a
    /// packet that begins with its IP header.
    pub const fn wire_len(&self) -> usize {
        match self.meta.offload.segment_len {
            0 => self.len as usize,
            segment_len => segment_len as usize,
        }
    }

    /// Whether no byte is left.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Grows the packet by `count` bytes in front and returns them, to be written by the caller.
    /// `None`, and nothing changed, when the headroom is too small.
    pub fn push_front(&mut self, count: usize) -> Option<&mut [u8]> {
        let start = (self.start as usize).checked_sub(count)?;
        self.start = start as u32;
        self.len += count as u32;
        Some(&mut self.slot[start..start + count])
    }

    /// Opens a gap of `count` bytes behind the first `at`, which move into the headroom, and returns it, to be written
    /// by the caller. `None`, and nothing changed, when the headroom is too small.
    ///
    /// # Panics
    /// When the packet is shorter than `at`.
    pub fn open_gap(&mut self, at: usize, count: usize) -> Option<&mut [u8]> {
        self.push_front(count)?;
        let bytes = self.bytes_mut();
        bytes.copy_within(count..count + at, 0);
        Some(&mut bytes[at..at + count])
    }

    /// Takes `count` bytes off the front.
    ///
    /// # Panics
    /// When the packet is shorter: the caller has parsed what it removes.
    #[inline]
    pub fn pop_front(&mut self, count: usize) {
        assert!(
            count <= self.len as usize,
            "more taken off than a packet holds"
        );
        self.start += count as u32;
        self.len -= count as u32;
    }

    /// Cuts the packet to `len` bytes (link padding after the IP packet).
    ///
    /// # Panics
    /// When the packet is shorter than `len`.
    pub fn truncate(&mut self, len: usize) {
        assert!(
            len <= self.len as usize,
            "a packet cannot be cut to more than it holds"
        );
        self.len = len as u32;
    }

    /// Takes other bytes in the place of all that it has; `false`, and nothing changed, when the slot is too small.
    pub fn refill(&mut self, bytes: &[u8]) -> bool {
        let Some(place) = self.slot.get_mut(HEADROOM..HEADROOM + bytes.len()) else {
            return false;
        };
        place.copy_from_slice(bytes);
        (self.start, self.len) = (HEADROOM as u32, bytes.len() as u32);
        self.meta.offload = Offload::NONE;
        true
    }

    /// Room left in front, in bytes.
    pub const fn headroom(&self) -> usize {
        self.start as usize
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packet({} B, {:?})", self.len, self.meta)
    }
}

/// A driver's packet slots: bounded, reused, counted.
pub struct Pool {
    small: Vec<Box<[u8]>>,
    large: Vec<Box<[u8]>>,
    loaned: usize,
    loaned_max: usize,
}

impl Pool {
    /// A pool that lends at most `loaned_max` slots at a time. Slots are made when first needed and kept.
    pub const fn new(loaned_max: usize) -> Pool {
        Pool {
            small: Vec::new(),
            large: Vec::new(),
            loaned: 0,
            loaned_max,
        }
    }

    /// Lends a packet of `len` bytes with [`HEADROOM`] in front. Its bytes are whatever the slot last held.
    /// `None` when all slots are out or `len` is larger than any IP packet.
    #[inline]
    pub fn lend(&mut self, len: usize, meta: Meta) -> Option<Packet> {
        let (class, slot_len) = if len <= SMALL_SLOT - HEADROOM {
            (&mut self.small, SMALL_SLOT)
        } else if len <= LARGE_SLOT - HEADROOM {
            (&mut self.large, LARGE_SLOT)
        } else {
            return None;
        };
        if self.loaned >= self.loaned_max {
            return None;
        }
        self.loaned += 1;
        let slot = class
            .pop()
            .unwrap_or_else(|| vec![0; slot_len].into_boxed_slice());
        Some(Packet {
            slot,
            start: HEADROOM as u32,
            len: len as u32,
            meta,
        })
    }

    /// Has the slot that will be lent next for `len` bytes brought to the processor.
    #[inline]
    pub fn fetch_next(&self, len: usize) {
        if let Some(slot) = self.small.last() {
            fetch::fetch(&slot[HEADROOM..(HEADROOM + len).min(SMALL_SLOT)]);
        }
    }

    /// Lends a packet that holds a copy of `bytes`.
    pub fn lend_copy(&mut self, bytes: &[u8], meta: Meta) -> Option<Packet> {
        let mut packet = self.lend(bytes.len(), meta)?;
        packet.bytes_mut().copy_from_slice(bytes);
        Some(packet)
    }

    /// Takes a slot back: the packet's end.
    ///
    /// # Panics
    /// When more comes back than was lent.
    pub fn take_back(&mut self, packet: Packet) {
        assert!(
            self.loaned > 0,
            "a slot came back that this pool never lent"
        );
        self.loaned -= 1;
        let class = if packet.slot.len() == SMALL_SLOT {
            &mut self.small
        } else {
            &mut self.large
        };
        class.push(packet.slot);
    }

    /// Takes over `count` packets that `lender` lent: they come back here. `false`, and nothing changed, when this
    /// pool may not have as many out.
    ///
    /// # Panics
    /// When `lender` has not lent as many.
    pub const fn take_over(&mut self, lender: &mut Pool, count: usize) -> bool {
        if self.loaned + count > self.loaned_max {
            return false;
        }
        assert!(
            count <= lender.loaned,
            "packets were taken over that this pool never lent"
        );
        lender.loaned -= count;
        self.loaned += count;
        true
    }

    /// Moves free slots between two pools that take packets over from each other, so that neither makes new ones for
    /// ever: `other` has `small` and `large` ones from then on, if there are as many.
    pub fn even_out(&mut self, other: &mut Pool, (small, large): (usize, usize)) {
        even_out(&mut self.small, &mut other.small, small);
        even_out(&mut self.large, &mut other.large, large);
    }

    /// Slots out at this moment.
    pub const fn loaned(&self) -> usize {
        self.loaned
    }

    /// Slots that may be out at a time.
    pub const fn loaned_max(&self) -> usize {
        self.loaned_max
    }
}

fn even_out(own: &mut Vec<Box<[u8]>>, others: &mut Vec<Box<[u8]>>, count: usize) {
    if others.len() > count {
        own.extend(others.drain(count..));
    } else {
        let from = own.len().saturating_sub(count - others.len());
        others.extend(own.drain(from..));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: Meta = Meta::plain(PortId::PUBLIC);

    #[test]
    fn headers_are_pushed_and_popped_without_moving_the_rest() {
        let mut pool = Pool::new(1);
        let mut packet = pool.lend_copy(b"inner", META).expect("the pool is fresh");
        packet
            .push_front(8)
            .expect("fresh packets have headroom")
            .fill(7);
        assert_eq!(packet.len(), 13);
        packet.pop_front(8);
        assert_eq!(packet.bytes(), b"inner");
        assert!(packet.push_front(HEADROOM + 1).is_none());
        assert_eq!(packet.bytes(), b"inner");
        pool.take_back(packet);
    }

    #[test]
    fn other_bytes_take_the_place_of_what_was_there() {
        let mut packet = Pool::new(1)
            .lend_copy(b"inner", META)
            .expect("the pool is fresh");
        packet.pop_front(2);
        assert!(packet.refill(b"longer than before"));
        assert_eq!(packet.bytes(), b"longer than before");
        assert_eq!(packet.headroom(), HEADROOM);
        assert!(!packet.refill(&[0; SMALL_SLOT]));
        assert_eq!(packet.bytes(), b"longer than before");
    }

    #[test]
    fn a_pool_lends_no_more_than_its_bound_and_reuses_slots() {
        let mut pool = Pool::new(2);
        let first = pool.lend(100, META).expect("two slots are free");
        let second = pool.lend(9_000, META).expect("one slot is free");
        assert!(pool.lend(1, META).is_none());
        pool.take_back(first);
        pool.take_back(second);
        assert_eq!(pool.loaned(), 0);
        assert_eq!((pool.small.len(), pool.large.len()), (1, 1));
        assert!(pool.lend(LARGE_SLOT, META).is_none());
    }

    #[test]
    fn packets_and_free_slots_pass_from_pool_to_pool() {
        let (mut reader, mut keeper) = (Pool::new(4), Pool::new(1));
        let first = reader.lend(100, META).expect("four slots are free");
        let second = reader.lend(100, META).expect("three slots are free");
        assert!(
            !keeper.take_over(&mut reader, 2),
            "it may have one out alone"
        );
        assert_eq!((reader.loaned(), keeper.loaned()), (2, 0));
        assert!(keeper.take_over(&mut reader, 1));
        assert_eq!((reader.loaned(), keeper.loaned()), (1, 1));
        keeper.take_back(first);
        reader.take_back(second);
        // Both free ones to where one shall be, and back.
        reader.even_out(&mut keeper, (1, 1));
        assert_eq!((reader.small.len(), keeper.small.len()), (1, 1));
        reader.even_out(&mut keeper, (5, 0));
        assert_eq!((reader.small.len(), keeper.small.len()), (0, 2));
        reader.even_out(&mut keeper, (0, 0));
        assert_eq!((reader.small.len(), keeper.small.len()), (2, 0));
    }

    #[test]
    fn a_packet_handle_stays_small_enough_to_move_freely() {
        assert_eq!(size_of::<Packet>(), 40);
    }
}
