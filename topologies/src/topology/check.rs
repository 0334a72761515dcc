//! What the tables of a topology say of each other.
//!
//! Each function checks one promise that the rest of the program relies on: every published POP reaches the
//! VIP's home region, every address has one owner, every host one region, every load a listener that can
//! serve it, and faults that do not overlap.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::book::{Book, FILE};
use crate::clb::{Clb, Listener, ReturnBy};
use crate::diagnostic::Wrong;
use crate::fault::{Degrade, FaultVerb};
use crate::names::Kind;
use crate::nearest::did_you_mean;
use crate::slo::SloOf;

use super::Topology;

mod addresses;
mod load;

pub(super) fn check(book: &Book<'_>, topology: &mut Topology) {
    needed_tables(book, topology);
    vips(book, topology);
    links(book, topology);
    clbs(book, topology);
    targets(book, topology);
    addresses::check(book, topology);
    load::check(book, topology);
    faults(book, topology);
    slos(book, topology);
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

fn vips(book: &Book<'_>, topology: &Topology) {
    let mut by_clb: BTreeMap<&str, &str> = BTreeMap::new();
    for vip in topology.vips.values() {
        let object = Kind::Vip.object(&vip.name);
        let Some(clb) = topology.clbs.get(&vip.clb) else {
            continue;
        };
        if let Some(other) = by_clb.insert(&vip.clb, &vip.name) {
            let reason = format!("`clb`: clb.{} answers vip.{other} already", vip.clb);
            book.report(
                &object,
                "clb",
                Wrong::new(reason, "one VIP per CLB: add a CLB of its own"),
            );
        }
        let misread = topology.links.values().any(|link| link.pop.is_empty());
        if misread || !topology.regions.contains_key(&clb.region) {
            continue;
        }
        for pop in &vip.publish {
            let linked = topology
                .links
                .values()
                .any(|link| link.pop == *pop && link.region == clb.region);
            if linked || !topology.pops.contains_key(pop) {
                continue;
            }
            let reason = format!(
                "pop.{pop} publishes it and has no link to its home region, region.{}",
                clb.region
            );
            let hint = format!(
                "add [link.{pop}-{region}] between = [\"pop.{pop}\", \"region.{region}\"], or take {pop} out of `publish`",
                region = clb.region
            );
            book.report(&object, "publish", Wrong::new(reason, hint));
        }
    }
}

fn links(book: &Book<'_>, topology: &Topology) {
    let mut pairs: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for link in topology.links.values().filter(|link| !link.pop.is_empty()) {
        if let Some(other) = pairs.insert((&link.pop, &link.region), &link.name) {
            let reason = format!(
                "link.{other} joins pop.{} and region.{} already",
                link.pop, link.region
            );
            book.report(
                &Kind::Link.object(&link.name),
                "between",
                Wrong::new(reason, "one link for each pair"),
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
fn targets(book: &Book<'_>, topology: &mut Topology) {
    let mut region_of: BTreeMap<String, (String, String)> = BTreeMap::new();
    for targets in topology.targets.values() {
        let object = Kind::Targets.object(&targets.name);
        let users = || listeners(topology).filter(|(_, listener)| listener.targets == targets.name);
        let Some((first, _)) = users().next() else {
            if !reads_badly(book) {
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
    for host in topology.hosts.values_mut() {
        if let Some((region, _)) = region_of.remove(&host.name) {
            host.region = region;
        }
    }
}

/// Whether a mistake was found before, so that what looks unused may only be misspelt.
fn reads_badly(book: &Book<'_>) -> bool {
    !book.mistakes.is_empty()
}

fn faults(book: &Book<'_>, topology: &mut Topology) {
    let mut order: Vec<usize> = (0..topology.faults.len()).collect();
    order.sort_by_key(|index| (topology.faults[*index].at, *index));
    for (place, later) in order.iter().enumerate() {
        let fault = &topology.faults[*later];
        let before = order[..place].iter().map(|index| &topology.faults[*index]);
        let ends = |earlier: &crate::fault::Fault| earlier.end().unwrap_or(Duration::MAX);
        if let Some(other) = before
            .filter(|other| other.object == fault.object)
            .find(|other| ends(other) > fault.at)
        {
            let until = other
                .end()
                .map_or("the end of the run".to_owned(), |end| format!("{end:?}"));
            let reason = format!(
                "{} is {} from {:?} to {until} already",
                fault.object,
                other.state(),
                other.at
            );
            let wrong = Wrong::new(
                reason,
                "faults of one object follow each other; `for` ends one",
            );
            book.report(&format!("fault[{later}]"), "at", wrong);
        }
        if let FaultVerb::Degrade(Degrade {
            from: Some(from), ..
        }) = &fault.verb
        {
            let ends = topology
                .links
                .values()
                .find(|link| Kind::Link.object(&link.name) == fault.object)
                .filter(|link| !link.pop.is_empty())
                .map(|link| {
                    [
                        Kind::Pop.object(&link.pop),
                        Kind::Region.object(&link.region),
                    ]
                });
            if let Some([pop, region]) = ends.filter(|ends| !ends.contains(from)) {
                let wrong = Wrong::new(
                    format!("{from} is no end of {}", fault.object),
                    format!("\"from {pop}\" or \"from {region}\""),
                );
                book.report(&format!("fault[{later}]"), "direction", wrong);
            }
        }
    }
    topology.faults.sort_by_key(|fault| fault.at);
}

fn slos(book: &Book<'_>, topology: &Topology) {
    for (index, slo) in topology.slos.iter().enumerate() {
        let idle = match &slo.of {
            SloOf::Client(name) => topology
                .clients
                .get(name)
                .is_some_and(|client| client.loads.is_empty()),
            SloOf::Clients => topology
                .clients
                .values()
                .all(|client| client.loads.is_empty()),
        };
        if idle && !reads_badly(book) {
            let with_load = topology
                .clients
                .values()
                .filter(|client| !client.loads.is_empty());
            let hint = did_you_mean(
                &slo.of.to_string(),
                with_load.map(|client| client.name.as_str()),
            );
            book.report(
                &format!("slo[{index}]"),
                "of",
                Wrong::new(format!("`of`: {} has no load", slo.of), hint),
            );
        }
    }
}
