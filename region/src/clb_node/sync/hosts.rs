//! Hosts: where each target of a region is.
//!
//! Asked for every entry that another node sends, and amended by what came and went. In many small tables, so that one
//! that grows moves a few hundred entries and not all of them. A server that listeners have on different hosts is taken
//! to be where the first of them has it; then the hosts are laid anew at each change, which no author of tables writes.
//!
//! Invariant: unless they are at odds, an entry counts the listeners that have its server.

use anyedge_net::flow::Address;
use anyedge_net::id::{NodeId, RegionId};
use anyedge_net::route_table::RouteTable;
use hashbrown::HashTable;

use crate::edits::Edits;

/// How many tables there are.
const TABLES: u64 = 256;

#[derive(Clone, Copy, Debug)]
struct Entry {
    target: Address,
    port: u16,
    host: NodeId,
    listeners: u32,
}

/// The targets of a region and their hosts.
#[derive(Default)]
pub(super) struct Hosts {
    tables: Vec<HashTable<Entry>>,
    are_at_odds: bool,
}

impl Hosts {
    /// The hosts of the targets of `region`.
    pub(super) fn of(table: &RouteTable, region: Option<RegionId>) -> Hosts {
        let mut hosts = Hosts {
            tables: (0..TABLES).map(|_| HashTable::new()).collect(),
            are_at_odds: false,
        };
        let clbs = table.clbs.iter().filter(|clb| Some(clb.region) == region);
        let targets = clbs
            .flat_map(|clb| &clb.listeners)
            .flat_map(|listener| &listener.targets);
        for target in targets {
            hosts.add(target.address, target.port, target.host);
        }
        hosts
    }

    /// Takes over the edits that lead to `table`.
    pub(super) fn amend(&mut self, table: &RouteTable, region: RegionId, edits: &Edits<'_>) {
        let listeners = || edits.listeners.iter();
        for gone in listeners().flat_map(|edit| &edit.gone) {
            self.remove(gone.target, gone.port);
        }
        for come in listeners().flat_map(|edit| &edit.come) {
            self.add(come.target, come.port, come.host);
        }
        if self.are_at_odds {
            *self = Hosts::of(table, Some(region));
        }
    }

    /// The host of a target.
    pub(super) fn find(&self, target: &Address, port: u16) -> Option<NodeId> {
        let hash = spread(target, port);
        let table = self.tables.get(place_of(hash))?;
        let entry = table.find(hash, |entry| (&entry.target, entry.port) == (target, port))?;
        Some(entry.host)
    }

    fn add(&mut self, target: Address, port: u16, host: NodeId) {
        let hash = spread(&target, port);
        let table = &mut self.tables[place_of(hash)];
        let is_it = |entry: &Entry| (entry.target, entry.port) == (target, port);
        if let Some(entry) = table.find_mut(hash, is_it) {
            entry.listeners += 1;
            self.are_at_odds |= entry.host != host;
            return;
        }
        let entry = Entry {
            target,
            port,
            host,
            listeners: 1,
        };
        table.insert_unique(hash, entry, |entry| spread(&entry.target, entry.port));
    }

    fn remove(&mut self, target: Address, port: u16) {
        let hash = spread(&target, port);
        let table = &mut self.tables[place_of(hash)];
        let is_it = |entry: &Entry| (entry.target, entry.port) == (target, port);
        let Ok(mut found) = table.find_entry(hash, is_it) else {
            return;
        };
        found.get_mut().listeners -= 1;
        if found.get().listeners == 0 {
            found.remove();
        }
    }
}

/// The table of a hash; within it other bits decide.
const fn place_of(hash: u64) -> usize {
    (hash >> 32 & (TABLES - 1)) as usize
}

/// Spreads targets over a table. They are the operator's, so no secret is needed; equal on every platform.
#[inline]
fn spread(address: &Address, port: u16) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let start = u64::from(port).wrapping_add(1).wrapping_mul(ODD);
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(ODD).rotate_left(23);
    address.octets().iter().fold(start, step)
}
