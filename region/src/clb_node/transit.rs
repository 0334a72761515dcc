//! Transit: packets of other regions' flows, on a detour over this node.
//!
//! A POP without a direct path to a VIP's home region sends to a CLB node of a third one, which passes the packet
//! on to the slot's owner; an answer without a direct path to a POP takes the same way back, to whichever publisher
//! of the VIP is reached at least cost. Key and inner TTL stay as they are, nothing is remembered, and whatever the
//! protocol is, it passes: the home region judges.
//!
//! Invariant: transit takes this node's own paths only, and what came from another region's CLB node never goes to a
//! third region, so no packet is on its way through two of them.

use anyedge_ccn::exits::Exit;
use anyedge_ccn::tunnel::{self, Inner};
use anyedge_net::drop_reason::DropReason;
use anyedge_net::id::{ClbId, NodeId, RegionId};
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::wire::gre::GreKey;

use super::ClbNode;
use super::staging::{Stage, Staged, Way};

impl ClbNode {
    /// What to make of a packet that a CLB node of the region `from` sent: a client's for a load balancer of
    /// this region, which a POP sent on a detour, or an answer on its way to one.
    #[cold]
    pub(super) fn stage_from_abroad(
        &self,
        packet: &mut Packet,
        from: RegionId,
        own: RegionId,
    ) -> Result<Stage, DropReason> {
        let peer = packet.meta.peer;
        let path = packet.meta.port.path().ok_or(DropReason::UnknownPeer)?;
        if self.exits.link(path, peer).is_none() {
            return Err(DropReason::UnknownPeer);
        }
        let inner = tunnel::decapsulate(packet)?;
        let way = if self.region_of(inner.key) == Some(from) {
            self.homeward(&inner)?
        } else {
            self.check_forwardable(&inner.parsed)?;
            // The way back begins where it came from.
            Way::ToTarget(self.entrance(inner.key, &inner.parsed, peer, own)?)
        };
        Ok(self.staged_as(&inner, way))
    }

    /// The way of a client's packet that a POP sent here for a load balancer of another region.
    ///
    /// # Errors
    /// `otherwise`, when it is not that; [`DropReason::NoPath`] when no own path leads on.
    #[cold]
    pub(super) fn outward(
        &self,
        inner: &Inner,
        own: RegionId,
        otherwise: DropReason,
    ) -> Result<Way, DropReason> {
        let region = self.region_of(inner.key).filter(|region| *region != own);
        let region = region.ok_or(otherwise)?;
        let vip = self.routes.vips.get(&inner.parsed.flow.dst);
        if vip.is_none_or(|vip| vip.clb.0 != inner.key.clb_id()) {
            return Err(otherwise);
        }
        let region = self.routes.regions.get(region.index());
        let slots = &region.ok_or(DropReason::NoSlotOwner)?.slots;
        let (_, exit) = self.exits.owner(slots.owners(inner.key.slot()))?;
        onward(inner, exit)
    }

    /// The way of an answer from another region: to a POP that may send it out.
    fn homeward(&self, inner: &Inner) -> Result<Way, DropReason> {
        let vip = self.routes.vips.get(&inner.parsed.flow.src);
        let vip = vip.filter(|vip| vip.clb.0 == inner.key.clb_id());
        let publishers = &vip.ok_or(DropReason::NotFromVip)?.publishers;
        let (_, exit) = self
            .exits
            .cheapest_direct(publishers)
            .ok_or(DropReason::NoPath)?;
        onward(inner, exit)
    }

    /// Sends a packet on.
    #[cold]
    pub(super) fn pass_on(
        &self,
        mut staged: Staged<'_>,
        (key, exit): (GreKey, Exit),
        out: &mut Outbox,
    ) {
        let entropy = (staged.hash >> 48) as u16;
        match tunnel::encapsulate(&mut staged.packet, staged.parsed, key) {
            Ok(tos) => out.transmit_tunnel(staged.packet, exit.port, exit.peer, entropy, tos),
            Err(reason) => out.drop_packet(staged.packet, reason),
        }
    }

    /// A packet out of a tunnel that made no hop inside this region.
    #[inline]
    pub(super) fn staged_as(&self, inner: &Inner, way: Way) -> Stage {
        Stage {
            parsed: inner.parsed,
            hash: inner.parsed.flow.hash(&self.routes.hash_key),
            way,
            hop: inner.key.hop(),
            asker: NodeId::UNKNOWN,
            found: None,
        }
    }

    /// Where the load balancer of a key is.
    fn region_of(&self, key: GreKey) -> Option<RegionId> {
        let clb = ClbId(key.clb_id());
        self.routes.clbs.get(clb.index()).map(|clb| clb.region)
    }
}

fn onward(inner: &Inner, exit: Exit) -> Result<Way, DropReason> {
    if inner.wire_len > usize::from(exit.inner_mtu) {
        return Err(DropReason::TooBig);
    }
    Ok(Way::Onward(inner.key, exit))
}
