//! Why a packet went where it went: read from the population, the table and the node that decided, as they stood.

use core::time::Duration;

use anyedge_net::flow::FlowKey;
use anyedge_net::id::{NodeId, RegionId};
use anyedge_net::route_table::NodeKind;
use anyedge_region::clb_node::FlowView;

use crate::internet::{PopulationId, SiteId, Standing};
use crate::node::AnyForwarder;
use crate::watch::{Candidate, LinkState, TargetState, Why, socket};
use crate::world::World;

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl World {
    /// By which comparison a population's packets enter where they do.
    pub(super) fn why_entered(&self, population: PopulationId, flow: &FlowKey) -> Option<Why> {
        let (chosen, mut ranked) = self.internet.entries(population, flow.dst)?;
        ranked.sort_unstable();
        let name = |site: SiteId| self.internet.site_name(site).to_owned();
        let candidates = ranked.into_iter().map(|(standing, networks, rtt, site)| {
            let standing = match standing {
                Standing::Announced => "announced",
                Standing::Leaving => "leaving",
                Standing::Withdrawn => "withdrawn",
            };
            Candidate {
                site: name(site),
                standing,
                networks,
                rtt_ms: millis(rtt),
            }
        });
        Some(Why::Catchment {
            candidates: candidates.collect(),
            chosen: chosen.map(name),
            pinned: self.internet.population(population).pinned.is_some(),
        })
    }

    /// What a CLB node goes by for a packet of a flow, before it has handled it.
    pub(super) fn why_at_clb_node(
        &self,
        node: NodeId,
        flow: &FlowKey,
        answer: bool,
    ) -> Option<Why> {
        let entry = &self.nodes[node.index()];
        let AnyForwarder::ClbNode(clb_node) = &entry.forwarder else {
            return None;
        };
        let revision = entry.in_force.as_ref().map_or(0, |table| table.revision.0);
        let view = clb_node.view(self.now, flow);
        if answer {
            let known = view.and_then(|view| view.known);
            let table = entry.in_force.as_ref();
            let pop = known.zip(table);
            let pop = pop.and_then(|(known, table)| table.nodes.get(known.pop.index()));
            return Some(Why::WayBack {
                revision,
                entered_by: pop.map(|pop| pop.name.clone()),
            });
        }
        let targets = view.iter().flat_map(|view: &FlowView| &view.targets);
        let targets = targets.map(|own| TargetState {
            target: socket((own.target.address, own.target.port)),
            weight: own.target.weight,
            healthy: own.is_well,
            open: own.takes,
            load: own.load,
        });
        let targets = targets.collect();
        let known = view.as_ref().and_then(|view| view.known);
        Some(Why::Listener {
            revision,
            scheduler: view.as_ref().map(|view| view.scheduler),
            stays_with: view.as_ref().and_then(|view| view.stays_with).map(socket),
            known: known.map(|known| socket(known.target)),
            replica: known.is_some_and(|known| known.is_replica),
            listener: view.map(|view| view.listener),
            targets,
        })
    }

    /// Who owns the slot that a node sent a packet in, by the table in force there, and its links to whom it sent.
    pub(super) fn why_slot(&self, node: usize, to: &str, slot: u16) -> Option<Why> {
        let entry = &self.nodes[node];
        let table = entry.in_force.as_ref()?;
        let region = |id: NodeId| -> Option<RegionId> {
            match table.nodes.get(id.index())?.kind {
                NodeKind::ClbNode(region) | NodeKind::Host(region) => Some(region),
                NodeKind::Pop => None,
            }
        };
        let peer = table.node_named(to)?;
        let region = region(peer).or_else(|| region(entry.id))?;
        let owners = table.regions[region.index()].slots.owners(slot);
        let name = |id: NodeId| table.nodes.get(id.index()).map(|node| node.name.clone());
        let links = match &entry.forwarder {
            AnyForwarder::Pop(pop) => pop.exits().links(),
            AnyForwarder::ClbNode(_) | AnyForwarder::VSwitch(_) => &[],
        };
        let links = links.iter().filter(|link| link.peer == peer);
        let links = links.map(|link| LinkState {
            path: link.name.path.clone(),
            peer: link.name.peer.clone(),
            rtt_ms: millis(link.rtt()),
            live: link.is_live(),
        });
        Some(Why::Slot {
            revision: table.revision.0,
            primary: name(owners.primary),
            secondary: name(owners.secondary),
            links: links.collect(),
        })
    }
}
