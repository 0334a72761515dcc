//! SNAT at the CLB node: clients of IPv6 at targets of IPv4 (NAT64), and the end of the flows of an address.
//!
//! All that a node keeps of a flow is the client's and the VIP's, so that only the last step towards a target and the
//! first from it know of the other family: ingress and reply translate in the place of a rewrite, ICMP errors are
//! written anew. An address that is taken from the load balancer ends the flows that came from it, by a walk over the
//! table as for unbound targets (docs/nat64.md).

use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::FlowEnd;
use anyedge_net::flow::{Family, FlowKey};
use anyedge_net::id::ClbId;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::route_table::{RouteTable, Target};
use anyedge_net::time::Instant;
use anyedge_net::wire::icmp::ERROR_LEN_MAX;
use anyedge_net::wire::{self, Parsed, nat64};

use super::ClbNode;
use super::staging::Staged;
use super::unbind::{CUT_EVERY, CUTS_PER_STEP_MAX, LOOKS_PER_STEP_MAX, Told};
use crate::snat::{Source, has_lost_source, target_family};

/// A walk over the table, while there is one.
#[derive(Default)]
pub(super) struct SnatWalk(Option<(u32, Instant)>);

impl SnatWalk {
    /// When [`ClbNode::cut_sourceless`] has something to do.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.0.map(|(_, at)| at)
    }

    /// Begins when a load balancer of `old` has lost an address in `new`.
    pub(super) fn apply(&mut self, now: Instant, (old, new): (&RouteTable, &RouteTable)) {
        let mut before = old.clbs.iter();
        let lost = before.any(|clb| {
            if clb.snat.addresses.is_empty() {
                return false;
            }
            let after = new.clbs.iter().find(|it| it.name == clb.name);
            let stays = |address| after.is_some_and(|it| it.snat.addresses.contains(address));
            !clb.snat.addresses.iter().all(stays)
        });
        if lost {
            self.0 = Some((0, now));
        }
    }
}

impl ClbNode {
    /// Where a new flow comes from at its target; `None`: from its client.
    pub(super) fn source_of_new(
        &mut self,
        now: Instant,
        (flow, target): (&FlowKey, &Target),
        clb: ClbId,
    ) -> Result<Option<Source>, DropReason> {
        if flow.family() == target.address.family() {
            return Ok(None);
        }
        let (connections, hash_key) = (&self.connections, &self.routes.hash_key);
        let taken = |source: Source| {
            let reply = FlowKey {
                src: target.address,
                dst: source.address(),
                src_port: target.port,
                dst_port: source.port(),
                protocol: flow.protocol,
            };
            connections.is_shown(now, reply.hash(hash_key), &reply)
        };
        let source = self.snat.pick(now, clb, taken);
        source.map(Some).ok_or(DropReason::SnatPorts)
    }

    /// The family of the targets that a client's flow may get.
    pub(super) fn target_family(&self, flow: &FlowKey, clb: ClbId) -> Family {
        let clb = self.routes.clbs.get(clb.index());
        target_family(flow, clb.map(|clb| &**clb))
    }

    /// Goes on with the walk that cuts the flows of addresses that are gone, when it is time.
    pub(super) fn cut_sourceless(&mut self, now: Instant, out: &mut Outbox) {
        let Some((mut next, _)) = self.snat_walk.0.filter(|(_, at)| *at <= now) else {
            return;
        };
        let numbers = self.connections.numbers();
        let end = numbers.min(next.saturating_add(LOOKS_PER_STEP_MAX));
        let mut cuts = 0;
        while next < end && cuts < CUTS_PER_STEP_MAX {
            let id = next;
            next += 1;
            if self.is_sourceless(now, id) {
                self.cut(id, FlowEnd::Unbound, Told::Both, out);
                cuts += 1;
            }
        }
        self.snat_walk.0 = (next < numbers).then_some((next, now + CUT_EVERY));
        self.sync.send(&self.exits, out);
    }

    fn is_sourceless(&self, now: Instant, id: u32) -> bool {
        let Some(flow) = self.connections.held(id) else {
            return false;
        };
        let over = flow.life().is_over() || !self.connections.is_alive(id, now);
        let clb = self.routes.clbs.get(flow.clb.index());
        let lost = |source| has_lost_source(source, clb.map(|clb| &**clb));
        !over && flow.source().is_some_and(lost)
    }
}

/// Makes an ICMP error one of the other family about `sent`, the packet as its sender knows it.
///
/// # Errors
/// [`DropReason::Untranslatable`]: the other family has no such error.
pub(super) fn retell_error(
    packet: &mut Packet,
    parsed: &Parsed,
    sent: &FlowKey,
) -> Result<Parsed, DropReason> {
    let mut error = [0; ERROR_LEN_MAX];
    let len = nat64::write_error(packet.bytes(), parsed, sent.dst, sent, &mut error);
    let error = &error[..len];
    let parsed = wire::parse(error).map_err(|_| DropReason::Untranslatable)?;
    let fits = packet.refill(error);
    fits.then_some(parsed).ok_or(DropReason::Untranslatable)
}

impl Staged<'_> {
    /// Makes the packet one of the other family, between these ends.
    pub(super) fn translate(&mut self, ends: &FlowKey) -> Result<(), DropReason> {
        let now = nat64::translate(&mut self.packet, self.parsed, ends);
        *self.parsed = now.ok_or(DropReason::Untranslatable)?;
        Ok(())
    }

    /// What an MTU is compared with once the packet is of that family.
    #[inline]
    pub(super) fn len_in(&self, family: Family) -> usize {
        if family == self.parsed.family {
            return self.packet.wire_len();
        }
        nat64::len_in(&self.packet, self.parsed, family)
    }
}
