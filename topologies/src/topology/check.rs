//! What the tables of a topology say of each other.
//!
//! Each function checks one promise that the rest of the program relies on: every published POP reaches the
//! VIP's home region, every address has one owner, every host one region, every load a listener that can
//! serve it, and faults that do not overlap.

use std::collections::BTreeMap;

use crate::book::{Book, FILE};
use crate::clb::{Clb, Listener, ReturnBy};
use crate::diagnostic::Wrong;
use crate::names::Kind;
use crate::targets::Targets;

use super::Topology;

mod addresses;
mod autoscaling;
mod controllers;
mod enis;
mod faults;
mod load;
mod nat64;
mod slos;
mod vips;

pub(super) fn check(book: &Book<'_>, topology: &mut Topology) {
    // What looks unused may only be misspelt, and figures may be missing. What is found below spoils neither.
    let read_badly = !book.mistakes.is_empty();
    needed_tables(book, topology);
    vips::check(book, topology);
    nat64::check(book, topology);
    clbs(book, topology);
    targets(book, topology, read_badly);
    autoscaling::check(book, topology);
    enis::check(book, topology);
    controllers::check(book, topology);
    addresses::check(book, topology);
    load::check(book, topology);
    faults::check(book, topology);
    slos::check(book, topology, read_badly);
}

fn needed_tables(book: &Book<'_>, topology: &Topology) {
    let needed = [
        (Kind::Vip, topology.vips.is_empty()),
        (Kind::Pop, topology.pops.is_empty()),
        (Kind::Region, topology.regions.is_empty()),
        (Kind::Clb, topology.clbs.is_empty()),
        (Kind::Targets, topology.targets.is_empty()),
    ];
    for (kind, absent) in needed {
        if absent && book.names.of(kind).next().is_none() {
            book.report(
                FILE,
                "",
                Wrong::new(
                    format!("there is no {kind}"),
                    format!("add a table [{kind}.NAME]"),
                ),
            );
        }
    }
}

fn clbs(book: &Book<'_>, topology: &Topology) {
    for clb in topology.clbs.values() {
        let nodes = topology
            .regions
            .get(&clb.region)
            .map_or(1, |region| region.clb_nodes.len());
        if clb.return_by == ReturnBy::Route && nodes > 1 {
            let reason = format!(
                "`return`: \"route\" needs one CLB node, region.{} has {nodes}",
                clb.region
            );
            let hint = "return = \"vswitch\", or clb_nodes = 1";
            book.report(
                &Kind::Clb.object(&clb.name),
                "return",
                Wrong::new(reason, hint),
            );
        }
    }
}

/// Every listener with its CLB.
fn listeners(topology: &Topology) -> impl Iterator<Item = (&Clb, &Listener)> {
    topology
        .clbs
        .values()
        .flat_map(|clb| clb.listeners.values().map(move |listener| (clb, listener)))
}

/// Gives every host its region.
fn targets(book: &Book<'_>, topology: &mut Topology, read_badly: bool) {
    let mut region_of: BTreeMap<String, (String, String)> = BTreeMap::new();
    for targets in topology.targets.values() {
        let object = Kind::Targets.object(&targets.name);
        let users = || listeners(topology).filter(|(_, listener)| listener.targets == targets.name);
        let Some((first, _)) = users().next() else {
            if !read_badly {
                let hint = "name them in a listener, or take them out";
                book.report(
                    &object,
                    "",
                    Wrong::new("no listener uses these targets", hint),
                );
            }
            continue;
        };
        for (clb, listener) in users().filter(|(clb, _)| clb.region != first.region) {
            let reason = format!(
                "`listener.{}.targets`: {object} is in region.{} already, by clb.{}",
                listener.name, first.region, first.name
            );
            let path = format!("listener.{}.targets", listener.name);
            book.report(
                &Kind::Clb.object(&clb.name),
                &path,
                Wrong::new(reason, "targets of this region"),
            );
        }
        for (index, server) in targets.servers.iter().enumerate() {
            let (region, by) = region_of
                .entry(server.host.clone())
                .or_insert_with(|| (first.region.clone(), object.clone()));
            if *region != first.region {
                let reason = format!(
                    "host.{} is in region.{region} already, by {by}",
                    server.host
                );
                book.report(
                    &object,
                    &format!("servers[{index}]"),
                    Wrong::new(reason, "a host is in one region"),
                );
            }
        }
    }
    autoscaling::regions(book, topology, &mut region_of);
    for host in topology.hosts.values_mut() {
        if let Some((region, _)) = region_of.remove(&host.name) {
            host.region = region;
        }
    }
    returns(book, topology);
}

/// Gives every host its way of return: one with a vSwitch answers through it alone.
fn returns(book: &Book<'_>, topology: &mut Topology) {
    let mut by_host: BTreeMap<String, (ReturnBy, String)> = BTreeMap::new();
    for (clb, listener) in listeners(topology) {
        for server in topology.servers_behind(&clb.name, listener) {
            let known = by_host
                .entry(server.host.clone())
                .or_insert_with(|| (clb.return_by, clb.name.clone()));
            if known.0 != clb.return_by {
                let reason = format!(
                    "`return`: host.{} is a target of clb.{} too, which returns otherwise",
                    server.host, known.1
                );
                let hint = "the same `return` for both, or other hosts";
                let object = Kind::Clb.object(&clb.name);
                book.report(&object, "", Wrong::new(reason, hint));
                return;
            }
        }
    }
    for host in topology.hosts.values_mut() {
        if let Some((return_by, _)) = by_host.remove(&host.name) {
            host.return_by = return_by;
        }
    }
    let mut hosts = topology.hosts.values();
    let bare = hosts.find(|it| it.return_by == ReturnBy::Route && !it.security_groups.is_empty());
    if let Some(host) = bare {
        let has = |set: &&Targets| {
            let mut servers = set.servers.iter();
            !set.security_groups.is_empty() && servers.any(|server| server.host == host.name)
        };
        let own = Kind::Host.object(&host.name);
        let by = topology.targets.values().find(has);
        let object = by.map_or(own.clone(), |set| Kind::Targets.object(&set.name));
        let reason = format!("{own} has security groups, and no vSwitch that would ask them");
        let hint = "return = \"vswitch\" of its load balancer, or no groups";
        book.report(&object, "security_groups", Wrong::new(reason, hint));
    }
}
