//! Reset: the answer to a segment whose flow this node does not know, and to a SYN that no target takes.
//!
//! Silence would leave the client to its own timeouts. The RST goes back through the POP that the segment came
//! by. Since anyone can send segments of no flow, resets are limited; above the limit there is silence.
//! Reference: RFC 9293 §3.10.7.1 (the numbers), RFC 5961 §7 (limits on what an attacker can provoke).

use anyedge_ccn::tunnel;
use anyedge_net::id::NodeId;
use anyedge_net::outbox::Outbox;
use anyedge_net::port::PortId;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::{self, Parsed, tcp};

use super::ClbNode;
use super::staging::{Entrance, Staged};
use crate::flow_life::opens;

/// Resets that a node sends in a second, in the long run.
pub const RESETS_PER_SECOND: u32 = 1_000;
/// Resets that a node sends at once after a second of none.
pub const RESETS_BURST: u32 = 1_000;

impl ClbNode {
    /// Answers a client's segment with a RST; does nothing for UDP, for a RST, without a way back, above the
    /// limit, or when no packet slot is free. The segment has not been rewritten.
    pub(super) fn reset_client(
        &mut self,
        now: Instant,
        staged: &Staged<'_>,
        entrance: Entrance,
        out: &mut Outbox,
    ) {
        let mut reset = [0; tcp::RESET_LEN_MAX];
        let len = tcp::write_reset(staged.packet.bytes(), staged.parsed, &mut reset);
        let bytes = &reset[..len];
        if len == 0 || !self.has_way_back(staged.parsed, entrance) || !self.resets.take(now) {
            return; // length 0: no reset may be sent
        }
        self.send_back(bytes, staged, entrance, out);
    }

    fn has_way_back(&self, parsed: &Parsed, entrance: Entrance) -> bool {
        let Entrance { pop, .. } = entrance;
        pop == NodeId::UNKNOWN || self.way_to_client(pop, &parsed.flow.dst).is_some()
    }

    /// Sends a packet of our own to the client that `staged` came from, the way that it came.
    pub(super) fn send_back(
        &self,
        bytes: &[u8],
        staged: &Staged<'_>,
        entrance: Entrance,
        out: &mut Outbox,
    ) {
        let way = match entrance.pop {
            NodeId::UNKNOWN => None,
            pop => match self.way_to_client(pop, &staged.parsed.flow.dst) {
                None => return,
                way => way,
            },
        };
        let Ok(parsed) = wire::parse(bytes) else {
            return;
        };
        let Some(mut packet) = out.originate(bytes.len()) else {
            return;
        };
        packet.bytes_mut().copy_from_slice(bytes);
        let Some((_, exit)) = way else {
            return out.transmit(packet, PortId::PUBLIC);
        };
        let key = GreKey::new(entrance.clb.0, false, entrance.slot);
        let entropy = (staged.hash >> 48) as u16;
        tunnel::send(packet, &parsed, key, (exit, entropy), out);
    }

    /// Answers a target's segment of no flow with a RST in the client's name; does nothing for UDP, for a RST,
    /// for a SYN (no flow can have been lost), for who is no target, above the limit, or when no packet slot is
    /// free.
    pub(super) fn reset_target(
        &mut self,
        now: Instant,
        staged: &Staged<'_>,
        key: GreKey,
        out: &mut Outbox,
    ) {
        if !self.sync.resets() || opens(staged.parsed) {
            return;
        }
        let sender = &staged.parsed.flow;
        let host = self.sync.host_of(&sender.src, sender.src_port);
        let Some(exit) = host.and_then(|host| self.exits.to(host)) else {
            return;
        };
        let mut reset = [0; tcp::RESET_LEN_MAX];
        let len = tcp::write_reset(staged.packet.bytes(), staged.parsed, &mut reset);
        let bytes = &reset[..len];
        let Ok(parsed) = wire::parse(bytes) else {
            return; // nothing was written: no reset may be sent
        };
        if !self.resets.take(now) {
            return;
        }
        let Some(mut packet) = out.originate(len) else {
            return;
        };
        packet.bytes_mut().copy_from_slice(bytes);
        let entropy = (staged.hash >> 48) as u16;
        let key = key.with_hop(false);
        tunnel::send(packet, &parsed, key, (exit, entropy), out);
    }
}
