//! Renumbering: ids are indices into one version of the routes; flows live longer than that.
//!
//! When a new version gives the same names other numbers, the numbers in all flows are rewritten. A name that
//! is gone becomes a number that no version has: such a flow finds no path, or another POP, and runs out.

use std::collections::BTreeMap;

use anyedge_net::id::{ClbId, NodeId};
use anyedge_net::route_table::RouteTable;

use crate::connection_table::ConnectionTable;

/// A node that is no longer there. Not `UNKNOWN`, which as a POP means "straight from the Internet".
pub(super) const GONE_NODE: NodeId = NodeId(u16::MAX - 1);
/// A load balancer that is no longer there: above all ids that fit a GRE key.
pub(super) const GONE_CLB: ClbId = ClbId(u16::MAX);

/// Rewrites the ids of all flows from `old` to `new`; does nothing when the numbers agree.
pub(super) fn renumber(connections: &mut ConnectionTable, old: &RouteTable, new: &RouteTable) {
    let nodes = moves(
        old.nodes.iter().map(|node| &node.name),
        new.nodes.iter().map(|node| &node.name),
    );
    let clbs = moves(
        old.clbs.iter().map(|clb| &clb.name),
        new.clbs.iter().map(|clb| &clb.name),
    );
    let stays = |moves: &[Option<u16>]| {
        moves
            .iter()
            .enumerate()
            .all(|(old, new)| *new == Some(old as u16))
    };
    if stays(&nodes) && stays(&clbs) {
        return;
    }
    let node = |id: NodeId| match nodes.get(id.index()) {
        Some(moved) => moved.map_or(GONE_NODE, NodeId),
        None => id,
    };
    connections.renumber(|flow| {
        flow.host = node(flow.host);
        flow.pop = node(flow.pop);
        flow.clb = clbs
            .get(flow.clb.index())
            .copied()
            .flatten()
            .map_or(GONE_CLB, ClbId);
    });
}

/// The new number of each old name.
pub(super) fn moves<'a>(
    old: impl Iterator<Item = &'a String>,
    new: impl Iterator<Item = &'a String>,
) -> Vec<Option<u16>> {
    let numbers: BTreeMap<&String, u16> = new.zip(0..).collect();
    old.map(|name| numbers.get(name).copied()).collect()
}
