//! Deliver: a client's packet, out of the tunnel and to the backend.
//!
//! Only CLB nodes of the region may send. The key of the packet is remembered under the tuple that the backend
//! will answer with. Two flows of different slots that meet in one tuple (the client used one port for two VIPs)
//! reach different CLB nodes, which cannot know; here they meet, and the second SYN is refused.

use anyedge_ccn::tunnel;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::port::PortId;
use anyedge_net::route_table::NodeKind;
use anyedge_net::switch;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::tcp;

use super::{Stage, Staged, VSwitch, Way};
use crate::flow_life::opens;
use crate::peer;
use crate::tcp_state::Side;

impl VSwitch {
    /// Takes a packet out of its tunnel.
    #[inline]
    pub(super) fn stage_tunnelled(&self, packet: &mut Packet) -> Result<Stage, DropReason> {
        match peer::kind_of(&self.routes, packet.meta.peer) {
            Some(NodeKind::ClbNode(region)) if Some(region) == self.region => {}
            Some(NodeKind::Pop | NodeKind::ClbNode(_) | NodeKind::Host(_)) | None => {
                return Err(DropReason::UnknownPeer);
            }
        }
        let mut inner = tunnel::decapsulate(packet)?;
        self.check_has_tuple(packet, &mut inner.parsed, true)?;
        let hash = inner.parsed.flow.reversed().hash(&self.routes.hash_key);
        Ok(Stage {
            parsed: inner.parsed,
            hash,
            way: Way::ToBackend(inner.key.with_hop(false)),
            found: None,
        })
    }

    /// Hands a client's packet to the backend, or ends it.
    pub(super) fn deliver(
        &mut self,
        now: Instant,
        staged: Staged<'_>,
        key: GreKey,
        out: &mut Outbox,
    ) {
        if staged.parsed.is_later_fragment() {
            // It has no tuple, and nothing of it changes: the backend puts the packet together in any order.
            return out.transmit(staged.packet, PortId::BACKEND);
        }
        match self.remember(now, &staged, key) {
            Ok(()) => out.transmit(staged.packet, PortId::BACKEND),
            Err(reason) => out.drop_packet(staged.packet, reason),
        }
    }

    #[inline]
    fn remember(
        &mut self,
        now: Instant,
        staged: &Staged<'_>,
        key: GreKey,
    ) -> Result<(), DropReason> {
        let Staged {
            packet,
            parsed,
            hash,
            ..
        } = staged;
        let first = (*parsed, packet.bytes());
        if let Some(id) = self.living(now, staged.found) {
            let contested = self.tuples.key(id) != key;
            let opens_tcp = parsed.flow.protocol == tcp::PROTOCOL && opens(parsed);
            if contested && opens_tcp && self.tuples.is_busy(id) {
                return Err(DropReason::TupleTaken);
            }
            if !self.tuples.is_replaced_by(id, parsed, packet.bytes()) {
                if !switch::is_on("S-SG03") {
                    self.admit(parsed, key)?;
                }
                if contested {
                    self.tuples.set_key(id, key);
                }
                self.tuples
                    .on_packet(id, now, Side::Client, parsed.tcp_flags);
                return Ok(());
            }
            self.admit(parsed, key)?;
            self.tuples.remove(id);
        } else {
            self.admit(parsed, key)?;
        }
        if !self.tuples.learn(now, *hash, key, first) {
            return Err(DropReason::TableFull);
        }
        Ok(())
    }
}
