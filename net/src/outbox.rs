//! Where a forwarder puts what comes of a packet.
//!
//! The driver owns one outbox, with its packet pool inside, and drains it after every call. Each way a
//! packet can end is one method that takes the packet by value; together with [`crate::ledger::Ledger`]
//! they make "every packet ends exactly once" a property of the types plus one assertion.

use crate::drop_reason::DropReason;
use crate::event::Event;
use crate::id::NodeId;
use crate::packet::{Meta, Packet, Pool};
use crate::port::PortId;

/// Packets, drops and events of the calls since it was last drained.
pub struct Outbox {
    pool: Pool,
    sent: Vec<Packet>,
    local: Vec<Packet>,
    drops: Vec<DropReason>,
    events: Vec<Event>,
    originated: usize,
}

impl Outbox {
    /// An empty outbox that lends from `pool`.
    pub const fn new(pool: Pool) -> Outbox {
        Outbox {
            pool,
            sent: Vec::new(),
            local: Vec::new(),
            drops: Vec::new(),
            events: Vec::new(),
            originated: 0,
        }
    }

    /// Sends `packet` by a port that is not a tunnel.
    #[inline]
    pub fn transmit(&mut self, mut packet: Packet, port: PortId) {
        packet.meta = Meta {
            offload: packet.meta.offload,
            ..Meta::plain(port)
        };
        self.sent.push(packet);
    }

    /// Sends `packet`, which starts with its GRE header, to `peer` by a tunnel port. `tos` is the outer
    /// DSCP and ECN, `entropy` a hash of the flow for the outer source port.
    #[inline(always)]
    pub fn transmit_tunnel(
        &mut self,
        mut packet: Packet,
        port: PortId,
        peer: NodeId,
        entropy: u16,
        tos: u8,
    ) {
        packet.meta = Meta {
            port,
            peer,
            entropy,
            tos,
            offload: packet.meta.offload,
        };
        self.sent.push(packet);
    }

    /// Hands `packet` to the node's own host stack.
    pub fn deliver_local(&mut self, packet: Packet) {
        self.local.push(packet);
    }

    /// Ends `packet` for `reason`.
    pub fn drop_packet(&mut self, packet: Packet, reason: DropReason) {
        self.pool.take_back(packet);
        self.drops.push(reason);
    }

    /// Lends a fresh packet of `len` bytes that the forwarder itself makes (RST, packet-too-big, probe).
    /// `None` when the pool has no slot left: the forwarder does without.
    pub fn originate(&mut self, len: usize) -> Option<Packet> {
        let packet = self.pool.lend(len, Meta::plain(PortId::LOCAL))?;
        self.originated += 1;
        Some(packet)
    }

    /// Tells services, reports and tests that something happened.
    pub fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    /// The packet pool, for drivers.
    pub const fn pool_mut(&mut self) -> &mut Pool {
        &mut self.pool
    }

    /// The packet pool.
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Packets to be put on ports, in the order they were sent.
    pub const fn sent_mut(&mut self) -> &mut Vec<Packet> {
        &mut self.sent
    }

    /// Packets for the node's own host stack, in order.
    pub const fn local_mut(&mut self) -> &mut Vec<Packet> {
        &mut self.local
    }

    /// Events in order.
    pub const fn events_mut(&mut self) -> &mut Vec<Event> {
        &mut self.events
    }

    /// Reasons of the packets dropped by the last call; the ledger counts and clears them.
    pub fn drops(&self) -> &[DropReason] {
        &self.drops
    }

    pub(crate) fn tally(&self) -> Tally {
        Tally {
            originated: self.originated,
            transmitted: self.sent.len(),
            delivered: self.local.len(),
            dropped: self.drops.len(),
        }
    }

    pub(crate) fn clear_counts(&mut self) {
        self.drops.clear();
        self.originated = 0;
    }
}

/// What an outbox holds: the right-hand side of the conservation law.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) originated: usize,
    pub(crate) transmitted: usize,
    pub(crate) delivered: usize,
    pub(crate) dropped: usize,
}
