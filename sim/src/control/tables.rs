//! Route tables of the tables that nodes follow, made once for all nodes that come to the same revision.
//!
//! Every node would assemble the same one. Ids are those of the world's own first table: links, ports and addresses
//! were laid by them. A table whose nodes or paths are others would have other ids, so no forwarder gets it; it is
//! counted as refused, and the last one stays in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyedge_ccn::assemble::Assembler;
use anyedge_ccn::table::Table;
use anyedge_net::route_table::RouteTable;

/// Route tables that are kept for nodes that come to their revision later.
const KEPT_MAX: usize = 64;

/// The route tables of a run.
pub(crate) struct Tables {
    /// What the world was built by.
    first: Arc<RouteTable>,
    assembler: Assembler,
    /// By revision; `None`: refused.
    made: BTreeMap<u64, Option<Arc<RouteTable>>>,
    /// How often a node came to a table that its forwarder could not be given.
    pub(crate) refused: u64,
}

impl Tables {
    /// The route tables of a run that begins with `table`.
    pub(crate) fn new(table: &Table) -> Tables {
        let mut assembler = Assembler::new();
        let first = assembler.assemble(table);
        let made = BTreeMap::from([(table.revision(), Some(Arc::clone(&first)))]);
        Tables {
            first,
            assembler,
            made,
            refused: 0,
        }
    }

    /// What the world is built by.
    pub(crate) fn first(&self) -> Arc<RouteTable> {
        Arc::clone(&self.first)
    }

    /// The route table of `table`; `None` when its ids are not the world's.
    pub(crate) fn of(&mut self, table: &Table) -> Option<Arc<RouteTable>> {
        let revision = table.revision();
        if !self.made.contains_key(&revision) {
            let newest = self.made.last_key_value().map(|(newest, _)| *newest);
            let made = if newest < Some(revision) {
                self.assembler.assemble(table)
            } else {
                // The shared one has gone on.
                Assembler::new().assemble(table)
            };
            let made = Some(made).filter(|made| has_ids_of(&self.first, made));
            self.made.insert(revision, made);
            if self.made.len() > KEPT_MAX {
                self.made.pop_first();
            }
        }
        let made = self.made.get(&revision).cloned().flatten();
        self.refused += u64::from(made.is_none());
        made
    }
}

/// Whether nodes, regions and paths have the same ids in both.
fn has_ids_of(one: &RouteTable, other: &RouteTable) -> bool {
    let nodes = |table: &RouteTable| {
        let nodes = table.nodes.iter();
        let own = nodes.map(|node| (node.name.clone(), node.underlay_v4, node.underlay_v6));
        own.collect::<Vec<_>>()
    };
    let paths = |table: &RouteTable| {
        let paths = table.paths.iter();
        let own = paths.map(|path| (path.name.clone(), path.ends));
        own.collect::<Vec<_>>()
    };
    let regions = |table: &RouteTable| {
        let regions = table.regions.iter();
        regions
            .map(|region| region.name.clone())
            .collect::<Vec<_>>()
    };
    nodes(one) == nodes(other) && paths(one) == paths(other) && regions(one) == regions(other)
}

#[cfg(test)]
mod tests {
    use anyedge_ccn::table::change::{Change, Command, PutMode};
    use anyedge_ccn::table::object::{Kinded as _, Region};
    use anyedge_net::time::Instant;

    use super::*;

    fn with_region(table: &Table, name: &str, revision: u64) -> Table {
        let region = Region {
            name: name.to_owned(),
        };
        let mut next = table.clone();
        let change = Change::Put(region.into_object(), PutMode::Create);
        let applied = next.apply(revision, &Command::new(Instant::ZERO, change));
        applied.expect("a region may come");
        next
    }

    fn settled(table: &Table, revision: u64) -> Table {
        let mut next = table.clone();
        let applied = next.apply(revision, &Command::new(Instant::ZERO, Change::Settle));
        applied.expect("time may pass");
        next
    }

    #[test]
    fn nodes_of_one_revision_share_a_route_table() {
        let first = with_region(&Table::new(), "guangzhou", 1);
        let mut tables = Tables::new(&first);
        let second = settled(&first, 2);
        let third = settled(&second, 3);
        let newest = tables.of(&third).expect("the same ids");
        let behind = tables.of(&second).expect("the same ids");
        assert_eq!((newest.revision.0, behind.revision.0), (3, 2));
        let again = tables.of(&third).expect("the same ids");
        assert!(Arc::ptr_eq(&newest, &again));
        assert_eq!(tables.refused, 0);
    }

    #[test]
    fn a_table_with_other_ids_is_refused_each_time_that_a_node_comes_to_it() {
        let first = with_region(&Table::new(), "guangzhou", 1);
        let mut tables = Tables::new(&first);
        let other = with_region(&first, "beijing", 2);
        assert!(tables.of(&other).is_none());
        assert!(tables.of(&other).is_none());
        assert_eq!(tables.refused, 2);
    }
}
