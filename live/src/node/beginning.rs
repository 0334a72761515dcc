//! The table that a node begins with.
//!
//! Without controllers it is the file's own: every process that reads the same file writes the same one. With
//! controllers it is the last one that the node had, else the one that they were founded with, else the first one that
//! they tell: until then the node has no devices and is not ready.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyedge_ccn::assemble::Assembler;
use anyedge_ccn::table::Table;
use anyedge_ccn::table::change::Command;
use anyedge_net::flow::HashKey;
use anyedge_net::id::NodeId;
use anyedge_net::rng::Seed;
use anyedge_net::route_table::RouteTable;
use anyedge_net::time::Instant;
use anyedge_topologies::Topology;
use anyhow::{Context, Result};

use super::NodeArgs;
use super::desk::{Desk, End};
use super::following::Following;
use super::last_table::LastTable;
use super::table_work::Slot;
use crate::lab::refused::refuse;

/// How often the desk is left to look whether a first table has come.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a node begins with.
pub(super) struct Beginning {
    pub(super) table: Table,
    pub(super) route_table: Arc<RouteTable>,
    /// The node's id in it.
    pub(super) own: NodeId,
    /// Has made `route_table`, and shares what stays with those that follow.
    pub(super) assembler: Assembler,
}

impl Beginning {
    /// Finds it, with the agent where there are controllers; `None` when the node is asked to end before it has one.
    pub(super) fn find(
        args: &NodeArgs,
        topology: &Topology,
        desk: &Desk,
    ) -> Result<Option<(Beginning, Option<Following>)>> {
        if args.controllers.is_empty() {
            let table = file_table(topology, 1)?;
            return Ok(Some((Beginning::of(table, &args.name)?, None)));
        }
        let slot = Slot::default();
        let known = known(args)?;
        let is_known = known.is_some();
        let following = Following::start(args, known.clone().unwrap_or_default(), slot.clone())?;
        let table = match known {
            Some(table) => table,
            None => match wait_for_one(desk, &slot)? {
                Some(table) => table,
                None => return Ok(None),
            },
        };
        let from = if is_known { "memory" } else { "controllers" };
        tracing::info!(event = "TableFirst", revision = table.revision(), from);
        Ok(Some((Beginning::of(table, &args.name)?, Some(following))))
    }

    fn of(table: Table, name: &str) -> Result<Beginning> {
        let mut assembler = Assembler::new();
        let route_table = assembler.assemble(&table);
        let Some(own) = route_table.node_named(name) else {
            let revision = table.revision();
            refuse!("`{name}` is no node of the table (revision {revision})");
        };
        Ok(Beginning {
            table,
            route_table,
            own,
            assembler,
        })
    }
}

/// The table that all processes of a topology write alike, as that revision.
pub(super) fn file_table(topology: &Topology, revision: u64) -> Result<Table> {
    let mut key = [0; 16];
    Seed(topology.seed)
        .stream("route-table", "hash key")
        .fill(&mut key);
    let author = anyedge_topologies::author(topology, HashKey::new(key))?;
    let mut table = Table::new();
    table.apply(revision, &Command::new(Instant::ZERO, author.content()))?;
    Ok(table)
}

/// The table that controllers of `topology` are founded with, whose flows are hashed with `key`.
pub(crate) fn founding_table(topology: &Topology, key: [u8; 16]) -> Result<Table> {
    let mut author = anyedge_topologies::author(topology, HashKey::new(key))?;
    author.publish(Instant::ZERO)?;
    Ok(author.table().clone())
}

/// What the node had last, or what the controllers were founded with.
fn known(args: &NodeArgs) -> Result<Option<Table>> {
    let last = args.data.as_deref().map(LastTable::open).transpose()?;
    if let Some(table) = last.and_then(|last| last.read()) {
        return Ok(Some(table));
    }
    args.founding.as_deref().map(read_founding).transpose()
}

fn read_founding(path: &Path) -> Result<Table> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Table::restore(&bytes).with_context(|| format!("{} is no table", path.display()))
}

fn wait_for_one(desk: &Desk, slot: &Slot) -> Result<Option<Table>> {
    loop {
        if let Some(table) = slot.take() {
            return Ok(Some(table));
        }
        if desk.wait(LOOK_EVERY)? == Some(End::Asked) {
            return Ok(None);
        }
    }
}
