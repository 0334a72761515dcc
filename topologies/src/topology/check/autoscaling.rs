//! Whether auto-scaling groups agree with the load balancers that they are for, and with the faults that scale them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::autoscaling::AutoScaling;
use crate::book::Book;
use crate::diagnostic::Wrong;
use crate::fault::{Autoscale, Fault, FaultVerb, Which};
use crate::names::Kind;
use crate::nearest::did_you_mean;
use crate::targets::Server;

use super::super::Topology;

/// Checks that the listeners of every group are there.
pub(super) fn check(book: &Book<'_>, topology: &Topology) {
    for group in topology.autoscaling.values() {
        for (index, (clb, listener)) in group.listeners.iter().enumerate() {
            let found = topology.clbs.get(clb);
            if found.is_some_and(|clb| clb.listeners.contains_key(listener)) {
                continue;
            }
            let all = topology.clbs.values().flat_map(|clb| {
                let listeners = clb.listeners.keys();
                listeners.map(|listener| format!("{}/{listener}", clb.name))
            });
            let all: Vec<String> = all.collect();
            let reason = format!("there is no listener {clb}/{listener}");
            let hint = did_you_mean(&format!("{clb}/{listener}"), all.iter().map(String::as_str));
            let path = format!("listeners[{index}]");
            book.report(&group.object(), &path, Wrong::new(reason, hint));
        }
    }
    twice(book, topology);
}

/// A server is a target of a listener once.
fn twice(book: &Book<'_>, topology: &Topology) {
    let mut bound: BTreeMap<(&str, &str, IpAddr, u16), String> = BTreeMap::new();
    for (clb, listener) in super::listeners(topology) {
        let targets = topology.targets.get(&listener.targets);
        for server in targets.into_iter().flat_map(|targets| &targets.servers) {
            let by = Kind::Targets.object(&listener.targets);
            let keys = server.address.iter();
            let keys = keys.map(|ip| (clb.name.as_str(), listener.name.as_str(), ip, server.port));
            bound.extend(keys.map(|key| (key, by.clone())));
        }
    }
    for group in topology.autoscaling.values() {
        for (clb, listener) in &group.listeners {
            for (index, server) in group.servers.iter().enumerate() {
                let keys = server.address.iter();
                let keys = keys.map(|ip| (clb.as_str(), listener.as_str(), ip, server.port));
                for key in keys {
                    let Some(by) = bound.insert(key, group.object()) else {
                        continue;
                    };
                    let socket = SocketAddr::new(key.2, key.3);
                    let reason = format!("{socket} is a target of {clb}/{listener} by {by} too");
                    let hint = "each server once for a listener";
                    let path = format!("servers[{index}].ip");
                    book.report(&group.object(), &path, Wrong::new(reason, hint));
                }
            }
        }
    }
}

/// Gives the hosts of groups their regions; `region_of` has those that are known, each with who says so.
pub(super) fn regions(
    book: &Book<'_>,
    topology: &Topology,
    region_of: &mut BTreeMap<String, (String, String)>,
) {
    for group in topology.autoscaling.values() {
        let clbs = group.listeners.iter().enumerate();
        let clbs = clbs.filter_map(|(index, (clb, _))| Some((index, topology.clbs.get(clb)?)));
        let mut clbs = clbs.collect::<Vec<_>>().into_iter();
        let Some((_, first)) = clbs.next() else {
            continue;
        };
        for (index, other) in clbs.filter(|(_, clb)| clb.region != first.region) {
            let reason = format!(
                "clb.{} is in region.{}, and clb.{} in region.{}",
                other.name, other.region, first.name, first.region
            );
            let path = format!("listeners[{index}]");
            let wrong = Wrong::new(reason, "listeners of one region");
            book.report(&group.object(), &path, wrong);
        }
        for (index, server) in group.servers.iter().enumerate() {
            let (region, by) = region_of
                .entry(server.host.clone())
                .or_insert_with(|| (first.region.clone(), group.object()));
            if *region != first.region {
                let host = server.host_object();
                let reason = format!("{host} is in region.{region} already, by {by}");
                let path = format!("servers[{index}]");
                let wrong = Wrong::new(reason, "a host is in one region");
                book.report(&group.object(), &path, wrong);
            }
        }
    }
}

/// Says of every fault that scales a group who joins or leaves it; they are in the order of their times.
pub(super) fn scale(book: &Book<'_>, topology: &mut Topology) {
    let first = topology.autoscaling.iter().map(|(name, group)| {
        let inside: Vec<usize> = (0..group.size).collect();
        (name.clone(), inside)
    });
    let mut inside: BTreeMap<String, Vec<usize>> = first.collect();
    for fault in &mut topology.faults {
        let Fault {
            verb: FaultVerb::Autoscale(scale),
            object,
            place,
            ..
        } = fault
        else {
            continue;
        };
        let name = object.strip_prefix("autoscaling.").unwrap_or(object);
        let Some((group, inside)) = topology.autoscaling.get(name).zip(inside.get_mut(name)) else {
            continue;
        };
        if let Err(wrong) = scale_one(group, inside, scale) {
            let key = if scale.out { "out" } else { "in" };
            let reason = format!("`{key}`: {}", wrong.reason);
            let hint = wrong.hint;
            book.report(place, key, Wrong { reason, hint });
        }
    }
}

/// Moves servers into the group or out of it; `inside` has the places of those who are in, who joined first at first.
fn scale_one(
    group: &AutoScaling,
    inside: &mut Vec<usize>,
    scale: &mut Autoscale,
) -> Result<(), Wrong> {
    let all = 0..group.servers.len();
    let from: Vec<usize> = if scale.out {
        all.filter(|place| !inside.contains(place)).collect()
    } else {
        inside.clone()
    };
    let chosen = chosen(group, &from, scale)?;
    if scale.out {
        inside.extend(&chosen);
    } else {
        inside.retain(|place| !chosen.contains(place));
    }
    let servers = chosen.iter().map(|place| group.servers[*place].clone());
    scale.servers = servers.collect();
    Ok(())
}

/// Which of `from` are meant: the first ones, or those on hosts that are named.
fn chosen(group: &AutoScaling, from: &[usize], scale: &Autoscale) -> Result<Vec<usize>, Wrong> {
    let state = if scale.out { "outside" } else { "inside" };
    match &scale.which {
        Which::Count(count) if *count <= from.len() => Ok(from[..*count].to_vec()),
        Which::Count(count) => Err(Wrong::new(
            format!(
                "{count} servers of {}, and {} of its {} are {state} by then",
                group.object(),
                from.len(),
                group.servers.len()
            ),
            "fewer of them, or more `servers`",
        )),
        Which::Hosts(hosts) => {
            let mut all = Vec::new();
            for host in hosts {
                let is_there = |server: &Server| Kind::Host.object(&server.host) == *host;
                let mut places = from.iter().copied();
                let place = places.find(|place| is_there(&group.servers[*place]));
                all.push(place.ok_or_else(|| {
                    Wrong::new(
                        format!(
                            "no server of {} on {host} is {state} by then",
                            group.object()
                        ),
                        "a host of one that is",
                    )
                })?);
            }
            Ok(all)
        }
    }
}
