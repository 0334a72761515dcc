//! Answer: a backend's packet, into the tunnel to the CLB node that owns its slot now.
//!
//! The slot comes from the key that the client's packet brought, its owner from the routes in force. A packet
//! that answers nobody is dropped: this host sends no other traffic through its vSwitch.

use anyedge_ccn::exits::Exit;
use anyedge_ccn::tunnel;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::time::Instant;
use anyedge_net::wire;

use super::{Stage, Staged, VSwitch, Way};
use crate::tcp_state::Side;

impl VSwitch {
    /// Understands what the backend sent.
    #[inline(always)]
    pub(super) fn stage_answer(&self, packet: &mut Packet) -> Result<Stage, DropReason> {
        let mut parsed = wire::parse(packet.bytes()).map_err(|_| DropReason::Malformed)?;
        packet.truncate(parsed.total_len);
        self.check_has_tuple(packet, &mut parsed, false)?;
        Ok(Stage {
            hash: parsed.flow.hash(&self.routes.hash_key),
            parsed,
            way: Way::ToClbNode,
            found: None,
        })
    }

    /// Sends a backend's packet to the CLB node of its flow, or ends it.
    #[inline]
    pub(super) fn answer(&mut self, now: Instant, mut staged: Staged<'_>, out: &mut Outbox) {
        let entropy = (staged.hash >> 48) as u16;
        match self.wrap(now, &mut staged) {
            Ok((exit, tos)) => {
                out.transmit_tunnel(staged.packet, exit.port, exit.peer, entropy, tos);
            }
            Err(reason) => {
                if reason == DropReason::TooBig && self.may_split(&staged) {
                    return self.split(now, staged, out);
                }
                if reason == DropReason::TooBig {
                    self.complain_of_size(now, &staged, out);
                }
                out.drop_packet(staged.packet, reason);
            }
        }
    }

    /// Wraps an answer; gives the way to the CLB node and the outer TOS.
    #[inline]
    fn wrap(&mut self, now: Instant, staged: &mut Staged<'_>) -> Result<(Exit, u8), DropReason> {
        let id = self.living(now, staged.found).ok_or(DropReason::NoFlow)?;
        let Staged { packet, parsed, .. } = staged;
        let key = self.tuples.key(id);
        let exit = self.exit_to_owner(key.slot())?;
        if packet.wire_len() > usize::from(exit.inner_mtu) {
            return Err(DropReason::TooBig);
        }
        self.tuples
            .on_packet(id, now, Side::Target, parsed.tcp_flags);
        let tos = tunnel::encapsulate(packet, parsed, key)?;
        Ok((exit, tos))
    }

    /// The way to the CLB node that owns a slot of this region.
    #[inline]
    pub(super) fn exit_to_owner(&self, slot: u16) -> Result<Exit, DropReason> {
        let region = self
            .region
            .and_then(|region| self.routes.regions.get(region.index()));
        let owners = region.map(|region| region.slots.owners(slot));
        let (_, exit) = self.exits.owner(owners.ok_or(DropReason::NoSlotOwner)?)?;
        Ok(exit)
    }
}
