//! Ingress: a client's packet on its way to the flow's target.
//!
//! Destination address and port become the target's, the source stays the client's. The packet leaves with the
//! load balancer and the slot in its GRE key, by which the vSwitch finds the way back.

use anyedge_ccn::exits::Exit;
use anyedge_ccn::tunnel;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::{Event, FlowEnd};
use anyedge_net::id::NodeId;
use anyedge_net::outbox::Outbox;
use anyedge_net::switch;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::{rewrite, tcp};

use super::ClbNode;
use super::renumber::GONE_NODE;
use super::replicate::tell_closed;
use super::staging::{Entrance, Found, Staged};
use crate::connection_table::Role;
use crate::tcp_state::Side;

/// The number of a packet's flow, and the way to its target's host.
pub(super) type FlowAndExit = (u32, Exit);

impl ClbNode {
    /// Sends a client's packet to its target, or ends it.
    pub(super) fn pass_to_target(
        &mut self,
        now: Instant,
        mut staged: Staged<'_>,
        entrance: Entrance,
        out: &mut Outbox,
    ) {
        let entropy = (staged.hash >> 48) as u16;
        match self.flow_of(now, &staged, entrance, out) {
            Ok((id, exit)) => {
                if let Err(reason) = self.translate_in(&mut staged, id, entrance) {
                    return out.drop_packet(staged.packet, reason);
                }
                let key = GreKey::new(entrance.clb.0, false, entrance.slot);
                if self.has_to_tell(&staged, id) {
                    self.tell_source(&mut staged, id, (key, exit, entropy), out);
                }
                let Staged { packet, parsed, .. } = staged;
                tunnel::send(packet, parsed, key, (exit, entropy), out);
            }
            Err(reason) => self.end_clients(now, staged, entrance, reason, out),
        }
    }

    /// Ends a client's packet that this node cannot serve: it has a second chance, or its sender is told.
    #[cold]
    fn end_clients(
        &mut self,
        now: Instant,
        staged: Staged<'_>,
        entrance: Entrance,
        mut reason: DropReason,
        out: &mut Outbox,
    ) {
        if reason == DropReason::NoFlow
            && let Some(exit) = self.second_chance(&staged, entrance.slot)
        {
            if staged.packet.wire_len() <= usize::from(exit.inner_mtu) {
                let key = GreKey::new(entrance.clb.0, false, entrance.slot);
                let entropy = (staged.hash >> 48) as u16;
                return self.hop(staged.packet, staged.parsed, (key, entropy), exit, out);
            }
            reason = DropReason::TooBig;
        }
        if reason == DropReason::TooBig && self.may_split(&staged) {
            let mtu = self.mtu_to_target(&staged, entrance);
            if staged.packet.wire_len() > usize::from(mtu) {
                return self.split(now, staged, mtu, out);
            }
        }
        let resets = match reason {
            DropReason::NoFlow => self.sync.resets(),
            reason => reason == DropReason::NoTarget,
        };
        if resets && self.pass_groups(staged.parsed, entrance.clb).is_ok() {
            self.reset_client(now, &staged, entrance, out);
        }
        if reason == DropReason::SynGate {
            self.send_cookie(now, &staged, entrance, out);
        }
        if reason == DropReason::TooBig {
            let seen = (staged.packet.bytes(), &*staged.parsed);
            let host = staged.found.map(|found| found.host);
            self.complain_of_size_to_client(now, seen, (entrance, host), out);
        }
        out.drop_packet(staged.packet, reason);
    }

    /// What fits the way to the target of a packet's flow; without a flow, to whichever is next.
    fn mtu_to_target(&self, staged: &Staged<'_>, entrance: Entrance) -> u16 {
        let exit = staged.found.and_then(|found| self.exits.to(found.host));
        let clb = self.routes.clbs.get(entrance.clb.index());
        let any = clb.map_or(0, |clb| clb.inner_mtu);
        exit.map_or(any, |exit| exit.inner_mtu)
    }

    /// The flow that a client's packet belongs to, with the packet taken into account.
    #[inline]
    fn flow_of(
        &mut self,
        now: Instant,
        staged: &Staged<'_>,
        entrance: Entrance,
        out: &mut Outbox,
    ) -> Result<FlowAndExit, DropReason> {
        let Staged { packet, parsed, .. } = staged;
        if self.takes_proof(now, parsed, packet.bytes(), entrance.clb) {
            return Err(DropReason::SynGate);
        }
        let found = self.bound(now, staged, Side::Client, out)?;
        let found = found.filter(|_| switch::is_on("S-BE06"));
        if let Some(Found { id, host }) = self.living(now, found, out) {
            if !self.connections.is_replaced_by(id, parsed, packet.bytes()) {
                let family = self.connections.flow(id).at_target.family();
                let exit = self.exit_to_host(host, staged.len_in(family))?;
                self.count_client_packet(now, id, staged, entrance, out);
                return Ok((id, exit));
            }
            self.pass_groups(parsed, entrance.clb)?;
            self.pass_gate(now, parsed, entrance.clb)?;
            let mut over = self.connections.close(id);
            over.end = FlowEnd::Replaced;
            tell_closed(&over, out);
        }
        if !self.may_open(now, staged, entrance.slot) {
            return Err(DropReason::NoFlow);
        }
        self.pass_groups(parsed, entrance.clb)?;
        self.pass_gate(now, parsed, entrance.clb)?;
        self.open(now, staged, entrance, out)
    }

    #[inline]
    fn count_client_packet(
        &mut self,
        now: Instant,
        id: u32,
        staged: &Staged<'_>,
        entrance: Entrance,
        out: &mut Outbox,
    ) {
        let Staged { packet, parsed, .. } = staged;
        let seen = (&**parsed, packet.bytes());
        let step = self.connections.on_packet(id, now, Side::Client, seen);
        if step.established {
            let listener = self.connections.flow(id).listener;
            self.gates.on_established(listener);
            out.event(Event::FlowEstablished { flow: parsed.flow });
        }
        let Entrance { clb, slot, pop } = entrance;
        // The hop hides where the packet entered.
        if pop != GONE_NODE && self.connections.enter_by(id, pop, clb, slot) {
            out.event(Event::FlowMoved {
                flow: parsed.flow,
                pop,
            });
        }
        if step.changed || staged.hop || self.connections.flow(id).role != Role::Own {
            self.tell_packet(now, id, (step, staged), out);
        }
    }

    /// Rewrites a client's packet for its target.
    #[inline]
    fn translate_in(
        &self,
        staged: &mut Staged<'_>,
        id: u32,
        entrance: Entrance,
    ) -> Result<(), DropReason> {
        let Staged { packet, parsed, .. } = staged;
        let flow = self.connections.flow(id);
        let bytes = packet.bytes_mut();
        rewrite::decrement_ttl(bytes, parsed);
        if parsed.tcp_flags & tcp::SYN != 0
            && let Some(mss_max) = self.served.mss_max(entrance.clb, parsed.family)
        {
            tcp::clamp_mss(bytes, parsed, mss_max);
        }
        if flow.source().is_some() {
            return staged.translate(&flow.reply_key().reversed());
        }
        let (target, port) = flow.server();
        rewrite::set_destination(bytes, parsed, target, port);
        if !switch::is_on("P-SA05") {
            rewrite::set_source(bytes, parsed, flow.key.dst, flow.key.src_port);
        }
        Ok(())
    }

    /// The way to a target's host for a packet of `len` bytes.
    #[inline]
    pub(super) fn exit_to_host(&self, host: NodeId, len: usize) -> Result<Exit, DropReason> {
        let exit = self.exits.to(host).ok_or(DropReason::NoPath)?;
        if len > usize::from(exit.inner_mtu) {
            return Err(DropReason::TooBig);
        }
        Ok(exit)
    }
}
