//! Packets of the management network: from a node's own host over one link to another's.

use anyedge_net::drop_reason::DropReason;
use anyedge_net::packet::Packet;
use anyedge_net::wire::ip::destination;

use super::{LinkEnd, LinkId, World};
use crate::executor::HostId;
use crate::link::Link;
use crate::management::Leg;
use crate::order::Source;

impl World {
    /// A node's host sends a packet.
    pub(super) fn send_managed(&mut self, from: HostId, packet: Packet) {
        let to = destination(packet.bytes()).and_then(|to| self.management.as_ref()?.host_at(to));
        match to.and_then(|to| self.managed_link(from, to)) {
            Some(link) => self.send_on(link, packet),
            None => self.lose(packet, DropReason::NoRoute),
        }
    }

    /// A packet came to the place of the node that it is for.
    pub(super) fn managed_packet(&mut self, packet: Packet) {
        let to = destination(packet.bytes()).and_then(|to| self.management.as_ref()?.host_at(to));
        let Some(to) = to else {
            return self.lose(packet, DropReason::NoRoute);
        };
        match self.hosts[to.index()].down {
            Some(reason) => self.lose(packet, reason),
            None => self.host_packet(to, packet),
        }
    }

    fn managed_link(&mut self, from: HostId, to: HostId) -> Option<LinkId> {
        let management = self.management.as_ref()?;
        let leg = management.leg(from, to)?;
        if let Some(link) = management.link(leg) {
            return Some(link);
        }
        let (spec, rank) = management.plan(leg)?;
        let link = self.add_link(
            Link::new(spec, Source::new(rank), self.seed),
            LinkEnd::Managed,
        );
        self.management.as_mut()?.add_link(leg, link);
        self.reroute(leg, link);
        Some(link)
    }

    /// A backbone link carries again, or no longer: ways of the management network change.
    pub(super) fn set_backbone(&mut self, link: &str, carries: bool) {
        let Some(management) = &mut self.management else {
            return;
        };
        management.set_backbone(link, carries);
        let legs: Vec<(Leg, LinkId)> = management.links().collect();
        for (leg, link) in legs {
            self.reroute(leg, link);
        }
    }

    fn reroute(&mut self, leg: Leg, link: LinkId) {
        let delay = self.management.as_ref().and_then(|own| own.delay(leg));
        self.links[link.index()].reroute(delay);
    }
}
