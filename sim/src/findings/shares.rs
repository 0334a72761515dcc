//! Shares: who got the new flows of each listener, and how far that is from the targets' weights.
//!
//! Persistence keeps clients where they are, and hashes spread what comes, so that targets of one weight may get different
//! loads; the index says how different.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyedge_net::flow::{Address, Family};
use anyedge_net::route_table::{Listener, RouteTable};

use crate::report::{ListenerReport, TargetReport};
use crate::tally::{AtListener, Opened};
use crate::world::World;

/// A target's weight, and the new flows that it got.
type Share = (u8, u64);

/// The listeners that had flows, by name; of those in `opened`.
pub(super) fn report(world: &World, opened: &Opened) -> Vec<ListenerReport> {
    let mut by_name: BTreeMap<String, BTreeMap<(Address, u16), Share>> = BTreeMap::new();
    for (at, opened) in opened {
        let Some((clb, listener)) = found(&world.table, at) else {
            continue;
        };
        let shares = by_name
            .entry(format!("{clb}/{}", listener.name))
            .or_default();
        for target in &listener.targets {
            let share = shares.entry((target.address, target.port)).or_default();
            share.0 = target.weight;
        }
        for (server, count) in opened {
            shares.entry(*server).or_default().1 += count;
        }
    }
    let of_listener = |(listener, shares): (String, BTreeMap<(Address, u16), Share>)| {
        let of_family = |family: Family| {
            let own = shares.iter().filter(move |(at, _)| at.0.family() == family);
            imbalance(own.map(|(_, share)| *share))
        };
        let target =
            |((address, port), (weight, opened)): (&(Address, u16), &Share)| TargetReport {
                target: SocketAddr::new((*address).into(), *port).to_string(),
                weight: *weight,
                opened: *opened,
            };
        ListenerReport {
            listener,
            opened: shares.values().map(|(_, opened)| opened).sum(),
            imbalance: of_family(Family::V4).max(of_family(Family::V6)),
            targets: shares.iter().map(target).collect(),
        }
    };
    by_name.into_iter().map(of_listener).collect()
}

/// How much more than its share by weight the target has that has most of it; of targets of one family.
fn imbalance(shares: impl Iterator<Item = Share>) -> f64 {
    let weighted: Vec<Share> = shares.filter(|(weight, _)| *weight > 0).collect();
    let opened: u64 = weighted.iter().map(|(_, opened)| opened).sum();
    let weights: u64 = weighted.iter().map(|(weight, _)| u64::from(*weight)).sum();
    if opened == 0 {
        return 0.0;
    }
    let excess = |(weight, own): &Share| {
        let share = *own as f64 / opened as f64;
        share / (f64::from(*weight) / weights as f64) - 1.0
    };
    weighted.iter().map(excess).fold(0.0, f64::max)
}

/// The load balancer and the listener that a flow came to.
fn found<'t>(
    table: &'t RouteTable,
    (vip, protocol, port): &AtListener,
) -> Option<(&'t str, &'t Listener)> {
    let clb = table.clbs.get(table.vips.get(vip)?.clb.index())?;
    let mut listeners = clb.listeners.iter();
    let listener = listeners.find(|it| (it.protocol, it.port) == (*protocol, *port))?;
    Some((&clb.name, listener))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_the_greatest_share_of_what_weights_promise() {
        for (all, wanted) in [
            (&[(10, 50), (10, 50)][..], 0.0),
            (&[(10, 100), (10, 0)], 1.0),
            (&[(30, 75), (10, 25)], 0.0),
            (&[(30, 50), (10, 50)], 1.0),
            (&[(10, 50), (10, 50), (0, 900)], 0.0),
            (&[], 0.0),
        ] {
            let index = imbalance(all.iter().copied());
            assert!((index - wanted).abs() < 1e-9, "{all:?}: {index}");
        }
    }
}
