//! Reply: a target's packet on its way to the client.
//!
//! The source becomes the VIP again. The packet goes to the POP that the flow entered by last while a live path
//! leads there, else to the publisher that is reached at least cost and does not drain: any POP may send what comes
//! from a VIP, so a download goes on when its POP dies and the client is silent.

use anyedge_ccn::exits::Exit;
use anyedge_ccn::tunnel;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::Address;
use anyedge_net::id::NodeId;
use anyedge_net::outbox::Outbox;
use anyedge_net::port::PortId;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::{nat64, rewrite, tcp, toa};

use super::ClbNode;
use super::renumber::GONE_NODE;
use super::staging::{Found, Staged};
use crate::connection_table::Role;
use crate::tcp_state::Side;

/// Where a translated answer goes.
enum Homeward {
    /// Straight to the Internet.
    Public,
    /// To a POP.
    Tunnel { exit: Exit, tos: u8 },
}

impl ClbNode {
    /// Sends a target's packet to its client, or ends it.
    pub(super) fn pass_to_client(
        &mut self,
        now: Instant,
        mut staged: Staged<'_>,
        key: GreKey,
        out: &mut Outbox,
    ) {
        self.untell(now, &mut staged);
        let found = match self.bound(now, &staged, Side::Target, out) {
            Ok(found) => found,
            Err(reason) => return out.drop_packet(staged.packet, reason),
        };
        let Some(Found { id, .. }) = self.living(now, found, out) else {
            if let Some(reason) = self.take_answer(now, &staged, out) {
                return out.drop_packet(staged.packet, reason);
            }
            return self.miss_of_target(now, staged, key, out);
        };
        if staged.parsed.tcp_flags & tcp::RST != 0 && self.sends_to_another(now, id, out) {
            return out.drop_packet(staged.packet, DropReason::TargetRefused);
        }
        let entropy = (staged.hash >> 48) as u16;
        match self.translate_out(now, &mut staged, id, out) {
            Ok(Homeward::Public) => out.transmit(staged.packet, PortId::PUBLIC),
            Ok(Homeward::Tunnel { exit, tos }) => {
                out.transmit_tunnel(staged.packet, exit.port, exit.peer, entropy, tos);
            }
            Err(reason) => {
                if reason == DropReason::TooBig && self.may_split(&staged) {
                    let mtu = self.mtu_to_client(id);
                    return self.split(now, staged, mtu, out);
                }
                if reason == DropReason::TooBig {
                    let seen = (staged.packet.bytes(), &*staged.parsed);
                    self.complain_of_size_to_target(now, seen, id, out);
                }
                out.drop_packet(staged.packet, reason);
            }
        }
    }

    /// Takes a target's packet into account, rewrites it for its client and wraps it.
    #[inline]
    fn translate_out(
        &mut self,
        now: Instant,
        staged: &mut Staged<'_>,
        id: u32,
        out: &mut Outbox,
    ) -> Result<Homeward, DropReason> {
        let flow = self.connections.flow(id);
        let (vip, vip_port, clb, slot) = (flow.key.dst, flow.key.dst_port, flow.clb, flow.slot);
        let (family, home) = (flow.key.family(), flow.key.reversed());
        let translates = flow.source().is_some();
        // What the target announces bounds the client's segments, of which the first have the option too.
        let toa_len = match flow.telling.toa {
            Some(_) => toa::option_len(family) as u16,
            None => 0,
        };
        let mss_max = self
            .served
            .mss_max(clb, family)
            .ok_or(DropReason::UnknownClb)?;
        let way = match flow.pop {
            NodeId::UNKNOWN => None,
            pop => Some(self.way_to_client(pop, &vip).ok_or(DropReason::NoPath)?),
        };
        if way.is_some_and(|(_, exit)| staged.len_in(family) > usize::from(exit.inner_mtu)) {
            return Err(DropReason::TooBig);
        }
        self.count_target_packet(now, id, staged, out);
        let Staged { packet, parsed, .. } = staged;
        let bytes = packet.bytes_mut();
        rewrite::decrement_ttl(bytes, parsed);
        if parsed.tcp_flags & tcp::SYN != 0 {
            tcp::clamp_mss(bytes, parsed, mss_max.saturating_sub(toa_len));
        }
        if translates {
            staged.translate(&home)?;
        } else {
            rewrite::set_source(bytes, parsed, vip, vip_port);
        }
        let Some((_, exit)) = way else {
            return Ok(Homeward::Public);
        };
        let Staged { packet, parsed, .. } = staged;
        let tos = tunnel::encapsulate(packet, parsed, GreKey::new(clb.0, false, slot))?;
        Ok(Homeward::Tunnel { exit, tos })
    }

    /// What pieces of a target's packet may have to fit the way to its client, in the family that it is of.
    fn mtu_to_client(&self, id: u32) -> u16 {
        let flow = self.connections.flow(id);
        let way = self.way_to_client(flow.pop, &flow.key.dst);
        let grows = flow.source().map_or(0, |_| nat64::FRAGMENT_GROWTH);
        way.map_or(0, |(_, exit)| exit.inner_mtu.saturating_sub(grows))
    }

    #[inline]
    fn count_target_packet(
        &mut self,
        now: Instant,
        id: u32,
        staged: &Staged<'_>,
        out: &mut Outbox,
    ) {
        let seen = (&*staged.parsed, staged.packet.bytes());
        let step = self.connections.on_packet(id, now, Side::Target, seen);
        if step.changed || staged.hop || self.connections.flow(id).role != Role::Own {
            self.tell_packet(now, id, (step, staged), out);
        }
    }

    /// The POP that an answer leaves by, and how to get there.
    #[inline]
    pub(super) fn way_to_client(&self, pop: NodeId, vip: &Address) -> Option<(NodeId, Exit)> {
        match self.exits.to(pop) {
            Some(exit) if !self.exits.is_poor(pop) => Some((pop, exit)),
            known => self.other_way_to_client(pop, known, vip),
        }
    }

    /// The same when the POP is out of reach (`known` is none), or reached only with losses.
    #[cold]
    fn other_way_to_client(
        &self,
        pop: NodeId,
        known: Option<Exit>,
        vip: &Address,
    ) -> Option<(NodeId, Exit)> {
        let known = known.map(|exit| (pop, exit));
        if pop != GONE_NODE && !self.routes.mechanisms.return_pop {
            return known;
        }
        let vip = self.routes.vips.get(vip)?;
        let cheapest = self.exits.cheapest(&vip.publishers);
        let is_better = |(other, _): &(NodeId, Exit)| !self.exits.is_poor(*other);
        cheapest.filter(is_better).or(known).or(cheapest)
    }
}
