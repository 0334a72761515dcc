//! Packets of the management network: from a node's own host over one link to another's.

use anyedge_net::drop_reason::DropReason;
use anyedge_net::packet::Packet;
use anyedge_net::wire::ip::{destination, source};

use super::{LinkEnd, LinkId, World};
use crate::executor::HostId;
use crate::link::Link;
use crate::management::{Cut, Leg, Member};
use crate::order::Source;

impl World {
    /// A node's host sends a packet.
    pub(super) fn send_managed(&mut self, from: HostId, packet: Packet) {
        let to = destination(packet.bytes()).and_then(|to| self.management.as_ref()?.host_at(to));
        let Some((to, link)) = to.and_then(|to| Some((to, self.managed_link(from, to)?))) else {
            return self.lose(packet, DropReason::NoRoute);
        };
        let seed = self.seed;
        let management = self.management.as_mut();
        if management.is_some_and(|own| own.partitions.takes(from, to, seed)) {
            return self.lose(packet, DropReason::Partition);
        }
        self.send_on(link, packet);
    }

    /// A packet came to the place of the node that it is for.
    pub(super) fn managed_packet(&mut self, packet: Packet) {
        let Some(management) = &self.management else {
            return self.lose(packet, DropReason::NoRoute);
        };
        let [from, to] = [source(packet.bytes()), destination(packet.bytes())]
            .map(|address| address.and_then(|address| management.host_at(address)));
        let Some(to) = to else {
            return self.lose(packet, DropReason::NoRoute);
        };
        if from.is_some_and(|from| management.partitions.parts(from, to)) {
            return self.lose(packet, DropReason::Partition);
        }
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

    /// A fault strikes whoever leads now.
    pub(super) fn stop_leader(&mut self, fault: usize, wipe: bool) {
        let Some(host) = self.leading() else {
            return self.nobody_leads();
        };
        self.struck_leaders.insert(fault, host);
        self.stop_host(host, DropReason::ControllerDown);
        if wipe {
            self.hosts[host.index()].wipe_disk();
        }
    }

    /// That fault is over: who led when it began starts again.
    pub(super) fn start_leader(&mut self, fault: usize) {
        if let Some(host) = self.struck_leaders.remove(&fault) {
            self.start_host(host);
        }
    }

    /// A partition begins.
    pub(super) fn partition(&mut self, cut: &Cut) {
        let leader = self.leading();
        let asks_for_leader = cut.nodes.contains(&Member::Leader)
            || cut
                .against
                .as_ref()
                .is_some_and(|own| own.contains(&Member::Leader));
        if asks_for_leader && leader.is_none() {
            return self.nobody_leads();
        }
        if let Some(management) = &mut self.management {
            management.partitions.begin(cut, leader);
        }
    }

    /// A partition is over.
    pub(super) fn heal(&mut self, fault: usize) {
        if let Some(management) = &mut self.management {
            management.partitions.end(fault);
        }
    }

    fn leading(&self) -> Option<HostId> {
        let own = || self.leading_controller();
        let name = self.leader.as_ref().map_or_else(own, |leader| leader())?;
        self.management.as_ref()?.host_named(&name)
    }

    fn nobody_leads(&mut self) {
        self.budget
            .refused_any(self.now, "controller.leader", "no controller leads");
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
