//! Ranks: the place of every source of events in the order of names.

use std::collections::{BTreeMap, BTreeSet};

use anyedge_net::route_table::RouteTable;
use anyedge_topologies::Topology;

use super::{hosts, links, peerings, streams};
use crate::order::Source;

/// The source of scenario events and of services' timers. It sorts by its name like every other.
pub(crate) const DIRECTOR: &str = "director";

/// The source of what a node's own host does.
pub(super) fn managed(node: &str) -> String {
    format!("{node}/management")
}

/// Name to rank. Sources of the management network come after all others, so that it moves none of them; those of
/// streams after these, those of POPs and their routers last.
pub(crate) struct Ranks(BTreeMap<String, usize>);

impl Ranks {
    pub(crate) fn of(topology: &Topology, table: &RouteTable) -> Ranks {
        let mut names = BTreeSet::from([DIRECTOR.to_owned()]);
        names.extend(table.nodes.iter().map(|node| node.name.clone()));
        names.extend(links::names(topology, table));
        names.extend(hosts::names(topology));
        let managed: BTreeSet<String> = topology
            .managed()
            .iter()
            .map(|node| managed(&node.name))
            .collect();
        let streams: BTreeSet<String> = streams::names(table).into_iter().collect();
        let late = managed.into_iter().chain(streams);
        let late = late.chain(peerings::names(topology));
        Ranks(names.into_iter().chain(late).zip(0..).collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn source(&self, name: &str) -> Source {
        let rank = self
            .0
            .get(name)
            .expect("every source was named before anything was built");
        Source::new(*rank)
    }
}
