//! Shares: who got the new flows of each listener, and how far that is from the targets' weights.
//!
//! Persistence keeps clients where they are, and hashes spread what comes, so that targets of one weight may get different
//! loads; the index says how different.

use std::collections::BTreeMap;

use anyedge_net::flow::Address;
use anyedge_net::route_table::{Listener, RouteTable};

use crate::report::{ListenerReport, TargetReport};
use crate::tally::AtListener;
use crate::world::World;

/// The listeners that had flows, by name.
pub(super) fn report(world: &World) -> Vec<ListenerReport> {
    let mut by_name: BTreeMap<String, BTreeMap<(Address, u16), u64>> = BTreeMap::new();
    for (at, opened) in &world.tally.opened_at {
        if let Some((clb, listener)) = found(&world.table, at) {
            let targets = by_name
                .entry(format!("{clb}/{}", listener.name))
                .or_default();
            for target in &listener.targets {
                targets.entry((target.address, target.port)).or_default();
            }
            for (server, count) in opened {
                *targets.entry(*server).or_default() += count;
            }
        }
    }
    let mut weights: BTreeMap<(String, (Address, u16)), u8> = BTreeMap::new();
    for clb in &world.table.clbs {
        for listener in &clb.listeners {
            let name = format!("{}/{}", clb.name, listener.name);
            for target in &listener.targets {
                weights.insert((name.clone(), (target.address, target.port)), target.weight);
            }
        }
    }
    let of_listener = |(name, opened): (String, BTreeMap<(Address, u16), u64>)| {
        let targets: Vec<(TargetReport, bool)> = opened
            .into_iter()
            .map(|(server, opened)| {
                let weight = weights.get(&(name.clone(), server)).copied();
                let told = TargetReport {
                    target: format!("{}:{}", in_brackets(&server.0), server.1),
                    weight: weight.unwrap_or(0),
                    opened,
                };
                (told, server.0.v4_octets().is_some())
            })
            .collect();
        ListenerReport {
            listener: name,
            opened: targets.iter().map(|(target, _)| target.opened).sum(),
            imbalance: [true, false]
                .map(|v4| {
                    imbalance(
                        targets
                            .iter()
                            .filter(|(_, is_v4)| *is_v4 == v4)
                            .map(|(it, _)| it),
                    )
                })
                .into_iter()
                .fold(0.0, f64::max),
            targets: targets.into_iter().map(|(target, _)| target).collect(),
        }
    };
    by_name.into_iter().map(of_listener).collect()
}

/// How much more than its share by weight the target has that has most of it; of targets of one family.
fn imbalance<'a>(targets: impl Iterator<Item = &'a TargetReport>) -> f64 {
    let weighted: Vec<&TargetReport> = targets.filter(|target| target.weight > 0).collect();
    let opened: u64 = weighted.iter().map(|target| target.opened).sum();
    let weights: u64 = weighted.iter().map(|target| u64::from(target.weight)).sum();
    if opened == 0 {
        return 0.0;
    }
    let excess = |target: &&TargetReport| {
        let share = target.opened as f64 / opened as f64;
        share / (f64::from(target.weight) / weights as f64) - 1.0
    };
    weighted.iter().map(excess).fold(0.0, f64::max)
}

fn in_brackets(address: &Address) -> String {
    if address.v4_octets().is_some() {
        address.to_string()
    } else {
        format!("[{address}]")
    }
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
        let targets = |all: &[(u8, u64)]| -> Vec<TargetReport> {
            let target = |(weight, opened): &(u8, u64)| TargetReport {
                target: String::new(),
                weight: *weight,
                opened: *opened,
            };
            all.iter().map(target).collect()
        };
        for (all, wanted) in [
            (&[(10, 50), (10, 50)][..], 0.0),
            (&[(10, 100), (10, 0)], 1.0),
            (&[(30, 75), (10, 25)], 0.0),
            (&[(30, 50), (10, 50)], 1.0),
            (&[(10, 50), (10, 50), (0, 900)], 0.0),
            (&[], 0.0),
        ] {
            let index = imbalance(targets(all).iter());
            assert!((index - wanted).abs() < 1e-9, "{all:?}: {index}");
        }
    }
}
