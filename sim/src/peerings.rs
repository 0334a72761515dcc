//! POPs and their routers, as the world sees them: two hosts on a wire, and what the router has heard.
//!
//! A POP's speakers run on a host of their own, which is down while the POP is. What the Internet hears of the POP's
//! site is what the router has in its Adj-RIB-In, once the POP has told it all for the first time; before that a run
//! begins with an Internet that has converged on what the file publishes.

use std::collections::BTreeMap;

use anyedge_net::id::NodeId;
use anyedge_pop::advertise::Inbox;
use anyedge_pop::bgp::IpNet;

use crate::executor::HostId;
use crate::internet::{SiteId, Standing};

/// A POP and its router.
pub(crate) struct Peering {
    pub(crate) site: SiteId,
    /// What the POP's speakers are told.
    pub(crate) inbox: Inbox,
    /// The host of the POP's speakers.
    pub(crate) host: HostId,
    /// VIPs by prefix.
    pub(crate) vips: BTreeMap<IpNet, Vec<usize>>,
    /// Whether the router has been told all.
    pub(crate) is_synced: bool,
    pub(crate) is_established: bool,
}

impl Peering {
    /// How the site stands to each VIP, by the routes that the router has: `true` for one that is about to go.
    pub(crate) fn standings(&self, routes: &BTreeMap<IpNet, bool>) -> BTreeMap<usize, Standing> {
        let mut standings = BTreeMap::new();
        for (prefix, vips) in &self.vips {
            let standing = match routes.get(prefix) {
                None => Standing::Withdrawn,
                Some(true) => Standing::Leaving,
                Some(false) => Standing::Announced,
            };
            for vip in vips {
                // By either family.
                let best = standings.entry(*vip).or_insert(standing);
                *best = standing.min(*best);
            }
        }
        standings
    }
}

/// All of them.
#[derive(Default)]
pub(crate) struct Peerings {
    by_node: BTreeMap<NodeId, Peering>,
}

impl Peerings {
    pub(crate) fn add(&mut self, node: NodeId, peering: Peering) {
        self.by_node.insert(node, peering);
    }

    pub(crate) fn of_node(&self, node: NodeId) -> Option<&Peering> {
        self.by_node.get(&node)
    }

    pub(crate) fn of_node_mut(&mut self, node: NodeId) -> Option<&mut Peering> {
        self.by_node.get_mut(&node)
    }

    pub(crate) fn of_site(&self, site: SiteId) -> Option<&Peering> {
        self.by_node.values().find(|peering| peering.site == site)
    }
}
