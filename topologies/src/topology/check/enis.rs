//! Whether elastic network interfaces are where they can be, and move only where they may: within their network, which is
//! that of their region, and their zone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::book::Book;
use crate::clb::ReturnBy;
use crate::diagnostic::Wrong;
use crate::eni::Eni;
use crate::fault::{Fault, FaultVerb};
use crate::host::Host;
use crate::names::Kind;
use crate::nearest::did_you_mean;
use crate::targets::Server;

use super::super::Topology;

/// Checks that every interface is attached to a host with a vSwitch and is a target.
pub(super) fn check(book: &Book<'_>, topology: &Topology) {
    bare(book, topology);
    for eni in topology.enis.values() {
        let report = |path: &str, reason, hint: &str| {
            book.report(&eni.object(), path, Wrong::new(reason, hint));
        };
        if eni.host.is_empty() {
            continue;
        }
        let is_its = |server: &Server| server.eni.as_ref() == Some(&eni.name);
        if !topology.servers().any(is_its) {
            let hint = format!("servers = [{{ eni = \"{}\" }}] of some targets", eni.name);
            report("", "no target has its address".to_owned(), &hint);
            continue;
        }
        let host = topology.hosts.get(&eni.host);
        if host.is_some_and(|host| host.return_by == ReturnBy::Route) {
            let reason = format!("`host`: host.{} has no vSwitch", eni.host);
            report("host", reason, "return = \"vswitch\" of its load balancer");
        }
    }
}

/// An address of an interface is bound as that, and not as its host's own.
fn bare(book: &Book<'_>, topology: &Topology) {
    let of_eni = |ip: IpAddr| {
        let mut enis = topology.enis.values();
        enis.find(|eni| eni.address.iter().any(|own| own == ip))
    };
    let sets = topology.targets.values();
    let sets = sets.map(|set| (Kind::Targets.object(&set.name), &set.servers));
    let groups = topology.autoscaling.values();
    for (object, servers) in sets.chain(groups.map(|group| (group.object(), &group.servers))) {
        let own = servers.iter().enumerate();
        for (index, server) in own.filter(|(_, server)| server.eni.is_none()) {
            let Some((ip, eni)) = server.address.iter().find_map(|ip| Some((ip, of_eni(ip)?)))
            else {
                continue;
            };
            let reason = format!("{ip} is an address of {}", eni.object());
            let wrong = Wrong::new(reason, format!("{{ eni = \"{}\" }}", eni.name));
            book.report(&object, &format!("servers[{index}].ip"), wrong);
        }
    }
}

/// Checks every move; the faults are in the order of their times.
pub(super) fn moves(book: &Book<'_>, topology: &Topology) {
    let first = topology.enis.values();
    let first = first.map(|eni| (eni.object(), eni.host.clone()));
    let mut at: BTreeMap<String, String> = first.collect();
    for fault in &topology.faults {
        let FaultVerb::EniMove { to } = &fault.verb else {
            continue;
        };
        let name = fault.object.strip_prefix("eni.").unwrap_or_default();
        let to = to.strip_prefix("host.").unwrap_or(to);
        let (Some(eni), Some(there), Some(from)) = (
            topology.enis.get(name),
            topology.hosts.get(to),
            at.insert(fault.object.clone(), to.to_owned()),
        ) else {
            continue;
        };
        if let Some(wrong) = refused(topology, eni, there, &from, fault) {
            book.report(&fault.place, "to", wrong);
        }
    }
}

/// Why an interface that is attached to `from` cannot go to `there`.
fn refused(
    topology: &Topology,
    eni: &Eni,
    there: &Host,
    from: &str,
    fault: &Fault,
) -> Option<Wrong> {
    let object = eni.object();
    let to = Kind::Host.object(&there.name);
    if there.name == from {
        let reason = format!(
            "`to`: {object} is attached to {to} at {:?} already",
            fault.at
        );
        return Some(Wrong::new(reason, "another host of its zone"));
    }
    let home = topology.hosts.get(&eni.host)?;
    if there.return_by == ReturnBy::Route {
        let reason = format!("`to`: {to} has no vSwitch");
        let hint = "return = \"vswitch\" of its load balancer";
        return Some(Wrong::new(reason, hint));
    }
    let what = if there.region != home.region {
        format!(
            "`to`: {object} is in the network of region.{}, {to} in that of region.{}",
            home.region, there.region
        )
    } else if there.zone != home.zone {
        let zone = |host: &Host| match host.zone.as_str() {
            "" => "no zone".to_owned(),
            zone => format!("zone {zone}"),
        };
        format!(
            "`to`: {object} is in {}, {to} in {}",
            zone(home),
            zone(there)
        )
    } else {
        return None;
    };
    let hosts = topology.hosts.values();
    let near = hosts.filter(|host| {
        (&host.region, &host.zone) == (&home.region, &home.zone) && host.name != from
    });
    let near: Vec<String> = near.map(|host| Kind::Host.object(&host.name)).collect();
    let hint = if near.is_empty() {
        "a host of the same region and zone; there is none".to_owned()
    } else {
        did_you_mean(&to, near.iter().map(String::as_str))
    };
    Some(Wrong::new(what, hint))
}
