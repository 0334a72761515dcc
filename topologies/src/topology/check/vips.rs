//! Whether every VIP has load balancers of its own that its POPs reach.
//!
//! A VIP has one CLB in its home region and may have further ones in other regions that stand by. Each of them
//! answers no other VIP, serves the same ports and is reached by every POP that announces the VIP, directly or
//! over one other region.

use std::collections::BTreeMap;

use anyedge_ccn::table::object::Settings;

use crate::book::Book;
use crate::clb::Clb;
use crate::diagnostic::Wrong;
use crate::link::LinkEnds;
use crate::names::Kind;
use crate::vip::Vip;

use super::super::Topology;

pub(super) fn check(book: &Book<'_>, topology: &Topology) {
    let mut answers: BTreeMap<&str, &str> = BTreeMap::new();
    for vip in topology.vips.values() {
        let object = Kind::Vip.object(&vip.name);
        let report = |key: &str, wrong| book.report(&object, key, wrong);
        if topology
            .betas_off
            .iter()
            .any(|name| name == Settings::ANYCAST)
        {
            let reason = "`clb`: anycast is in closed beta and not approved";
            report(
                "clb",
                Wrong::new(
                    reason,
                    "beta = [\"anycast\"] at the top of the file, or no `beta`",
                ),
            );
        }
        let Some(home) = topology.clbs.get(&vip.clb) else {
            continue;
        };
        if let Some(wrong) = taken(&mut answers, "clb", &vip.clb, vip) {
            report("clb", wrong);
        }
        for wrong in unreached(topology, vip, home, "its home region") {
            report("publish", wrong);
        }
        for name in &vip.standby {
            let Some(clb) = topology.clbs.get(name) else {
                continue;
            };
            let beside = || beside_home(clb, home).or_else(|| unserved(clb, home));
            match taken(&mut answers, "standby", name, vip).or_else(beside) {
                Some(wrong) => report("standby", wrong),
                None => unreached(topology, vip, clb, "the region that stands by")
                    .into_iter()
                    .for_each(|wrong| report("publish", wrong)),
            }
        }
        if usize::from(vip.publishers_min) > vip.publish.len() && !vip.publish.is_empty() {
            let reason = format!("`publishers_min`: {} is out of range", vip.publishers_min);
            let hint = format!("1 to {}, the POPs that announce it", vip.publish.len());
            report("publishers_min", Wrong::new(reason, hint));
        }
        if let Some(wrong) = parted(topology, vip) {
            report("prefix", wrong);
        }
    }
}

/// What is wrong with a VIP whose prefix another one is in that other POPs announce: routers hear of prefixes, so both
/// would come to all of these POPs.
fn parted(topology: &Topology, vip: &Vip) -> Option<Wrong> {
    let before = topology
        .vips
        .values()
        .take_while(|other| other.name != vip.name);
    let overlaps = |other: &&Vip| {
        let mut own = vip.prefixes.iter();
        own.any(|own| other.prefixes.iter().any(|prefix| prefix.overlaps(own)))
    };
    let mut others = before.filter(overlaps);
    let other = others.find(|other| other.publish != vip.publish)?;
    let own = vip.prefixes.iter().find(|own| {
        let mut prefixes = other.prefixes.iter();
        prefixes.any(|prefix| prefix.overlaps(own))
    })?;
    Some(Wrong::new(
        format!(
            "`prefix`: vip.{} is in {own} too, and other POPs announce it",
            other.name
        ),
        "the same `publish`, or prefixes of their own",
    ))
}

/// What is wrong with a CLB that answers another VIP already.
fn taken<'t>(
    answers: &mut BTreeMap<&'t str, &'t str>,
    key: &str,
    clb: &'t str,
    vip: &'t Vip,
) -> Option<Wrong> {
    let other = answers.insert(clb, &vip.name)?;
    Some(Wrong::new(
        format!("`{key}`: clb.{clb} answers vip.{other} already"),
        "one VIP per CLB: add a CLB of its own",
    ))
}

/// What is wrong with a CLB that would be lost together with the home region.
fn beside_home(clb: &Clb, home: &Clb) -> Option<Wrong> {
    (clb.region == home.region).then(|| {
        Wrong::new(
            format!(
                "`standby`: clb.{} is in the home region, region.{}, too",
                clb.name, clb.region
            ),
            "a CLB of another region",
        )
    })
}

/// What is wrong with a CLB that does not serve what the home CLB serves.
fn unserved(clb: &Clb, home: &Clb) -> Option<Wrong> {
    let serves = |protocol, port| {
        let mut listeners = clb.listeners.values();
        listeners.any(|own| (own.protocol, own.port) == (protocol, port))
    };
    let mut needed = home.listeners.values();
    let missing = needed.find(|listener| !serves(listener.protocol, listener.port))?;
    let (protocol, port) = (missing.protocol, missing.port);
    Some(Wrong::new(
        format!(
            "`standby`: clb.{} has no listener {protocol}/{port}, which clb.{} has",
            clb.name, home.name
        ),
        format!(
            "listener.NAME = {{ port = \"{protocol}/{port}\", .. }} in [clb.{}]",
            clb.name
        ),
    ))
}

/// The POPs that announce the VIP and have no way to the region of `clb`.
fn unreached(topology: &Topology, vip: &Vip, clb: &Clb, what: &str) -> Vec<Wrong> {
    let region = &clb.region;
    let misread = topology.links.values().any(|link| link.ends.is_unread());
    if misread || !topology.regions.contains_key(region) {
        return Vec::new();
    }
    let pops = vip
        .publish
        .iter()
        .filter(|pop| topology.pops.contains_key(*pop));
    let wrong = |pop: &String| {
        let reason = format!("pop.{pop} publishes it and has no way to {what}, region.{region}");
        let hint = format!(
            "add [link.{pop}-{region}] between = [\"pop.{pop}\", \"region.{region}\"], or take {pop} out of `publish`"
        );
        Wrong::new(reason, hint)
    };
    pops.filter(|pop| !reaches(topology, pop, region))
        .map(wrong)
        .collect()
}

/// Whether a POP has a link to a region, or a detour over one other region.
fn reaches(topology: &Topology, pop: &str, region: &str) -> bool {
    let links = || topology.links.values().map(|link| &link.ends);
    let beside = |other: &str| {
        links().any(|ends| {
            matches!(ends, LinkEnds::Backbone { .. })
                && ends.has_region(other)
                && ends.has_region(region)
        })
    };
    links().any(|ends| match ends {
        LinkEnds::Ccn {
            pop: edge,
            region: other,
        } => edge == pop && (other == region || beside(other)),
        LinkEnds::Backbone { .. } => false,
    })
}
