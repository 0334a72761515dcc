//! Whether faults agree with each other and with what they strike.
//!
//! The faults of one object follow each other, so that what ends one restores what was before it; only its clock, its
//! disk and whom it reaches over the management network are matters of their own. A region's
//! crash takes its CLB nodes and hosts with it, so it counts as a fault of each of them. A node that is added
//! is not there before.

use std::time::Duration;

use crate::book::Book;
use crate::controller::LEADER;
use crate::diagnostic::Wrong;
use crate::fault::{Degrade, Fault, FaultVerb};
use crate::names::Kind;

use super::super::Topology;
use super::{autoscaling, enis};

/// Checks all faults and puts them in the order of their times.
pub(super) fn check(book: &Book<'_>, topology: &mut Topology) {
    topology.faults.sort_by_key(|fault| fault.at);
    autoscaling::scale(book, topology);
    enis::moves(book, topology);
    for (index, fault) in topology.faults.iter().enumerate() {
        let (before, after) = (&topology.faults[..index], &topology.faults[index + 1..]);
        let report = |key: &str, wrong| book.report(&fault.place, key, wrong);
        if let Some(other) = before
            .iter()
            .find(|other| !other.stays() && overlap(topology, other, fault))
        {
            report("at", overlapping(other, fault));
        }
        if let Some(added) = after
            .iter()
            .find(|added| added.verb == FaultVerb::Add && added.object == fault.object)
        {
            let reason = format!("{} is not there before {:?}", fault.object, added.at);
            report(
                "at",
                Wrong::new(reason, "later than the fault that adds it"),
            );
        }
        if let Some(wrong) = direction(topology, fault) {
            report("direction", wrong);
        }
        if let Some(wrong) = emptied(topology, fault) {
            report("drain", wrong);
        }
        if let Some((key, wrong)) = without_targets(topology, fault) {
            report(key, wrong);
        }
    }
}

/// Whether `later`, which does not begin before `other`, begins while that one lasts, at the same object.
fn overlap(topology: &Topology, other: &Fault, later: &Fault) -> bool {
    if other.verb.aspect() != later.verb.aspect() {
        return false;
    }
    // Whoever leads is another one each time.
    let leader = Kind::Controller.object(LEADER);
    let same = other.object == later.object && later.object != leader
        || within(topology, &other.object, &later.object)
        || within(topology, &later.object, &other.object);
    same && other.end().is_none_or(|end| end > later.at)
}

/// Whether `object` is a CLB node or a host of the region `whole`.
fn within(topology: &Topology, object: &str, whole: &str) -> bool {
    let Some(region) = whole
        .strip_prefix("region.")
        .and_then(|name| topology.regions.get(name))
    else {
        return false;
    };
    let mut hosts = topology.hosts.values();
    region.clb_nodes.iter().any(|node| node.name == object)
        || hosts.any(|host| host.region == region.name && Kind::Host.object(&host.name) == object)
}

fn overlapping(other: &Fault, fault: &Fault) -> Wrong {
    let until = other
        .end()
        .map_or("the end of the run".to_owned(), |end| format!("{end:?}"));
    let reason = format!(
        "{} is {} from {:?} to {until} already",
        other.object,
        other.state(),
        other.at
    );
    let hint = if other.object == fault.object {
        "faults of one object follow each other; `for` ends one"
    } else {
        "a region's faults are those of its CLB nodes and hosts too; `for` ends one"
    };
    Wrong::new(reason, hint)
}

/// What is wrong with the end that a link's degradation comes from.
fn direction(topology: &Topology, fault: &Fault) -> Option<Wrong> {
    let FaultVerb::Degrade(Degrade {
        from: Some(from), ..
    }) = &fault.verb
    else {
        return None;
    };
    let (kind, name) = fault.object.split_once('.')?;
    let ends = if kind == Kind::Link.word() {
        let ends = &topology.links.get(name)?.ends;
        (!ends.is_unread()).then(|| ends.objects())?
    } else {
        let region = &topology.hosts.get(name)?.region;
        [fault.object.clone(), Kind::Region.object(region)]
    };
    if ends.contains(from) {
        return None;
    }
    let [near, far] = ends;
    Some(Wrong::new(
        format!("{from} is no end of {}", fault.object),
        format!("\"from {near}\" or \"from {far}\""),
    ))
}

/// What is wrong with a drain that leaves too few to take what it moves away.
fn emptied(topology: &Topology, fault: &Fault) -> Option<Wrong> {
    if fault.verb != FaultVerb::Drain {
        return None;
    }
    let drained = |object: &str| drained_at(topology, object, fault.at);
    if let Some(pop) = fault.object.strip_prefix("pop.") {
        let mut vips = topology.vips.values();
        return vips.find_map(|vip| {
            let publishers = || vip.publish.iter();
            let left = publishers()
                .filter(|pop| !drained(&Kind::Pop.object(pop)))
                .count();
            let few = left < usize::from(vip.publishers_min);
            (few && publishers().any(|publisher| publisher == pop)).then(|| {
                let reason = format!(
                    "`drain`: vip.{} would keep {left} of its {} POPs, and `publishers_min` is {}",
                    vip.name,
                    vip.publish.len(),
                    vip.publishers_min
                );
                Wrong::new(reason, "drain one while others announce it, or use `down`")
            })
        });
    }
    let mut regions = topology.regions.values();
    let region = regions.find(|region| {
        region
            .clb_nodes
            .iter()
            .any(|node| node.name == fault.object)
    })?;
    let mut nodes = region.clb_nodes.iter();
    nodes.all(|node| drained(&node.name)).then(|| {
        let reason = format!("`drain`: {} would have no CLB node left", region.object());
        Wrong::new(reason, "drain one while another serves, or use `down`")
    })
}

/// What is wrong with an order about the targets of a host that has none but in groups that scale.
fn without_targets(topology: &Topology, fault: &Fault) -> Option<(&'static str, Wrong)> {
    let key = match fault.verb {
        FaultVerb::Drain => "drain",
        FaultVerb::Weight(_) => "weight",
        FaultVerb::Unbind => "unbind",
        _ => return None,
    };
    let host = fault.object.strip_prefix("host.")?;
    let mut groups = topology.autoscaling.values();
    let group = groups.find(|group| group.servers.iter().any(|server| server.host == host))?;
    let sets = topology.targets.values();
    let mut fixed = sets.flat_map(|targets| &targets.servers);
    if fixed.any(|server| server.host == host) {
        return None;
    }
    let reason = format!("`{key}`: {} is a host of {}", fault.object, group.object());
    let hint = format!("autoscale = \"{}\", in = \"{host}\"", group.name);
    Some((key, Wrong::new(reason, hint)))
}

/// Whether `object` takes nothing new at that time, by a drain or because it is not there yet.
fn drained_at(topology: &Topology, object: &str, at: Duration) -> bool {
    let mut faults = topology
        .faults
        .iter()
        .filter(|fault| fault.object == object);
    faults.any(|fault| match fault.verb {
        FaultVerb::Drain => fault.at <= at && fault.end().is_none_or(|end| end > at),
        FaultVerb::Add => fault.at > at,
        _ => false,
    })
}
