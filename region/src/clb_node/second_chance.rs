//! Second chance: a packet whose flow this node does not know asks the slot's other owner, once.
//!
//! When slots move or a node returns empty, the flow may be with the other owner still. The packet goes there as
//! it is, with the hop bit in its key; that node serves it, and gives the flow to the one that asked. With the
//! bit set there is no further hop, so there are no loops: a second miss ends in a reset.
//!
//! A packet that opens a flow opens it. Only what has no handshake (UDP) cannot tell its first packet from the
//! others; it asks first on slots that moved lately, and when the other owner does not know it either, it is
//! opened there and given back.

use anyedge_ccn::exits::Exit;
use anyedge_ccn::tunnel;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::{Parsed, tcp};

use super::ClbNode;
use super::staging::Staged;
use crate::flow_life::opens;

impl ClbNode {
    /// The way of a packet that missed to the slot's other owner, if it may have one.
    #[cold]
    pub(super) fn second_chance(&self, staged: &Staged<'_>, slot: u16) -> Option<Exit> {
        if staged.hop {
            return None;
        }
        self.sync.second_chance(slot, &self.exits)
    }

    /// Whether a client's packet that missed may open its flow here.
    #[inline]
    pub(super) fn may_open(&self, now: Instant, staged: &Staged<'_>, slot: u16) -> bool {
        let has_handshake = staged.parsed.flow.protocol == tcp::PROTOCOL;
        let asks_first =
            || self.sync.has_moved(now, slot) && self.second_chance(staged, slot).is_some();
        opens(staged.parsed) && (has_handshake || !asks_first())
    }

    /// Sends a packet on to the slot's other owner, or ends it.
    pub(super) fn hop(
        &mut self,
        mut packet: Packet,
        parsed: &Parsed,
        (key, entropy): (GreKey, u16),
        exit: Exit,
        out: &mut Outbox,
    ) {
        match tunnel::encapsulate(&mut packet, parsed, key.with_hop(true)) {
            Ok(tos) => {
                self.sync.counts.hops += 1;
                out.transmit_tunnel(packet, exit.port, exit.peer, entropy, tos);
            }
            Err(reason) => out.drop_packet(packet, reason),
        }
    }

    /// Ends a target's packet of no flow here: it asks the slot's other owner, or its sender is reset.
    #[cold]
    pub(super) fn miss_of_target(
        &mut self,
        now: Instant,
        staged: Staged<'_>,
        key: GreKey,
        out: &mut Outbox,
    ) {
        if let Some(exit) = self.second_chance(&staged, key.slot()) {
            if staged.packet.wire_len() > usize::from(exit.inner_mtu) {
                return out.drop_packet(staged.packet, DropReason::TooBig);
            }
            let entropy = (staged.hash >> 48) as u16;
            return self.hop(staged.packet, staged.parsed, (key, entropy), exit, out);
        }
        self.reset_target(now, &staged, key, out);
        out.drop_packet(staged.packet, DropReason::NoFlow);
    }
}
