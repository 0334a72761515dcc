//! What POPs' routers hear and miss, and what the Internet makes of it.

use std::collections::BTreeMap;

use anyedge_net::id::NodeId;
use anyedge_net::packet::Packet;
use anyedge_pop::bgp::{Event, GRACEFUL_SHUTDOWN, IpNet, Session, State};

use super::World;
use crate::executor::HostId;
use crate::internet::{Change, SiteId};

impl World {
    /// A packet came out of the wire between a POP and its router.
    pub(super) fn peer_packet(&mut self, host: HostId, packet: Packet) {
        match self.hosts[host.index()].down {
            Some(reason) => self.lose(packet, reason),
            None => self.host_packet(host, packet),
        }
    }

    /// The session of a POP's router told something of itself.
    pub(crate) fn router_tells(&mut self, pop: NodeId, session: &Session, event: &Event) {
        let now = self.now;
        let Some(peering) = self.peerings.of_node_mut(pop) else {
            return;
        };
        let was_established = peering.is_established;
        peering.is_established = session.state() == State::Established;
        peering.is_synced |= matches!(event, Event::EndOfRib(_));
        let changed = peering.is_established != was_established;
        if changed {
            let (site, up) = (peering.site, peering.is_established);
            self.budget.router_sees(now, site, up);
        }
        let routes = session.routes_in().iter().map(|(prefix, route)| {
            let communities = &route.attributes.communities;
            (*prefix, communities.contains(&GRACEFUL_SHUTDOWN))
        });
        self.follow_router(pop, &routes.collect());
    }

    fn follow_router(&mut self, pop: NodeId, routes: &BTreeMap<IpNet, bool>) {
        let Some(peering) = self.peerings.of_node(pop).filter(|own| own.is_synced) else {
            return;
        };
        let (site, standings) = (peering.site, peering.standings(routes));
        for (vip, standing) in standings {
            self.change_site(site, Change::Stands(vip, standing));
        }
    }

    /// All that would be announced at `site` is withheld, or no longer.
    pub(super) fn withhold(&mut self, site: SiteId, withheld: bool) {
        match self.peerings.of_site(site) {
            Some(peering) => peering.inbox.withhold(withheld),
            None => self.change_site(site, Change::Withheld(withheld)),
        }
    }

    /// The POP stops, and its speakers with it; whether its router will find that out.
    pub(super) fn peering_stops(&mut self, node: NodeId) -> bool {
        let Some(peering) = self.peerings.of_node_mut(node) else {
            return false;
        };
        peering.inbox.reset();
        // Who was never there is not missed by anybody.
        let is_missed = peering.is_established;
        peering.is_synced = true;
        let host = peering.host;
        if let Some(reason) = self.nodes[node.index()].down {
            self.stop_host(host, reason);
        }
        is_missed
    }

    /// The POP starts, and its speakers with it.
    pub(super) fn peering_starts(&mut self, node: NodeId) {
        if let Some(host) = self.peerings.of_node(node).map(|peering| peering.host) {
            self.start_host(host);
        }
    }
}
