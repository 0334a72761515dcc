//! A backend's host: one machine of a region, with its link and its vSwitch.
//!
//! Hosts follow from the targets; `[host.NAME]` only changes the link of one. A host belongs to the region
//! of the CLB whose listener uses it, and has a vSwitch unless that says `return = "route"`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::addresses::{AddressPair, Space};
use crate::autoscaling::AutoScaling;
use crate::book::Book;
use crate::clb::ReturnBy;
use crate::defaults::Defaults;
use crate::diagnostic::Wrong;
use crate::line::{self, Line};
use crate::names::{self, Kind};
use crate::nearest::did_you_mean;
use crate::reader::Reader;
use crate::security_group;
use crate::targets::{Server, Targets};
use crate::units;

/// A backend's host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Name without its kind: `web-1`.
    pub name: String,
    /// Name of its region.
    pub region: String,
    /// The addresses that its servers have, in the order of the file.
    pub addresses: Vec<IpAddr>,
    /// Its availability zone; empty where the file names none.
    pub zone: String,
    /// Its vSwitch's own addresses. Both families are always there.
    pub underlay: AddressPair,
    /// Its addresses on the management network. Both families are always there.
    pub management: AddressPair,
    /// Round trip to the region's CLB nodes.
    pub rtt: Duration,
    /// Its link to the region.
    pub line: Line,
    /// How its answers find their CLB node.
    pub return_by: ReturnBy,
    /// Names of its security groups, in order.
    pub security_groups: Vec<String>,
}

/// All hosts that the targets need, with what `[host.*]` says of them. Regions are filled in by the check.
pub(crate) fn read(
    book: &Book<'_>,
    targets: &BTreeMap<String, Targets>,
    groups: &BTreeMap<String, AutoScaling>,
    overrides: Vec<(String, Reader<'_>)>,
    defaults: &Defaults,
) -> BTreeMap<String, Host> {
    let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
    let mut owners: BTreeMap<IpAddr, String> = BTreeMap::new();
    for (set, index, server) in servers(targets, groups) {
        let host = hosts.entry(server.host.clone()).or_insert_with(|| Host {
            name: server.host.clone(),
            region: String::new(),
            addresses: Vec::new(),
            zone: String::new(),
            underlay: AddressPair::default(),
            management: AddressPair::default(),
            rtt: defaults.host_rtt,
            line: defaults.host,
            return_by: ReturnBy::Vswitch,
            security_groups: Vec::new(),
        });
        for ip in server.address.iter() {
            let owner = owners.entry(ip).or_insert_with(|| server.host.clone());
            if *owner != server.host {
                let reason = format!("{ip} is the address of {} too", Kind::Host.object(owner));
                let hint = format!("another address, or host = \"{owner}\" for the same machine");
                let path = format!("servers[{index}].ip");
                book.report(&set, &path, Wrong::new(reason, hint));
            } else if !host.addresses.contains(&ip) {
                host.addresses.push(ip);
            }
        }
    }
    let mut space = Space::hosts();
    for host in hosts.values_mut() {
        match space.give(&host.name, 1) {
            Some(underlay) => host.underlay = underlay,
            None => book.report(
                "targets",
                "",
                Wrong::bare("more hosts than underlay addresses"),
            ),
        }
    }
    bind(book, targets, &mut hosts);
    for (name, reader) in overrides {
        apply(&name, reader, &mut hosts);
    }
    hosts
}

/// Every server with its place, and the full name of what has it.
fn servers<'a>(
    targets: &'a BTreeMap<String, Targets>,
    groups: &'a BTreeMap<String, AutoScaling>,
) -> impl Iterator<Item = (String, usize, &'a Server)> {
    let of = |object: String, servers: &'a [Server]| {
        let each = servers.iter().enumerate();
        each.map(move |(index, server)| (object.clone(), index, server))
    };
    let sets = targets.values();
    let sets = sets.flat_map(move |set| of(Kind::Targets.object(&set.name), &set.servers));
    let groups = groups.values();
    sets.chain(groups.flat_map(move |group| of(group.object(), &group.servers)))
}

/// Gives hosts the security groups of the targets on them.
fn bind(book: &Book<'_>, targets: &BTreeMap<String, Targets>, hosts: &mut BTreeMap<String, Host>) {
    for set in targets
        .values()
        .filter(|set| !set.security_groups.is_empty())
    {
        for server in &set.servers {
            let Some(host) = hosts.get_mut(&server.host) else {
                continue;
            };
            let known = &mut host.security_groups;
            if known.is_empty() {
                known.clone_from(&set.security_groups);
            } else if *known != set.security_groups {
                let reason = format!(
                    "`security_groups`: {} has others by other targets: {}",
                    Kind::Host.object(&host.name),
                    known.join(", ")
                );
                let hint = "a host has the same groups for all of its targets";
                let object = Kind::Targets.object(&set.name);
                book.report(&object, "security_groups", Wrong::new(reason, hint));
                break;
            }
        }
    }
}

fn apply(name: &str, mut reader: Reader<'_>, hosts: &mut BTreeMap<String, Host>) {
    let Some(host) = hosts.get_mut(name) else {
        let hint = did_you_mean(name, hosts.keys().map(String::as_str));
        reader.wrong(Wrong::new("no targets have this host", hint));
        return;
    };
    host.zone = reader
        .parse("zone", "\"z-1\"", |text| {
            names::check(text).map(|()| text.to_owned())
        })
        .unwrap_or_default();
    host.rtt = reader
        .parse("rtt", "\"0.5ms\"", units::duration)
        .unwrap_or(host.rtt);
    host.line = Line::read(&mut reader, host.line, line::OWN);
    if reader.field("security_groups").is_some() {
        host.security_groups = security_group::bound(&mut reader);
    }
    reader.finish();
}
