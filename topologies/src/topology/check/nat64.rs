//! Whether a load balancer of NAT64 has VIPs of IPv6 and targets of IPv4, and nothing else.

use anyedge_ccn::table::object::IpVersion;

use crate::addresses::AddressPair;
use crate::book::Book;
use crate::clb::Clb;
use crate::diagnostic::Wrong;
use crate::names::Kind;
use crate::targets::Server;

use super::super::Topology;

pub(super) fn check(book: &Book<'_>, topology: &Topology) {
    let of_nat64 = |clb: &&Clb| clb.ip_version == IpVersion::Nat64;
    for clb in topology.clbs.values().filter(of_nat64) {
        vips(book, topology, clb);
        servers(book, topology, clb);
        scaling_servers(book, topology, clb);
    }
}

fn vips(book: &Book<'_>, topology: &Topology, clb: &Clb) {
    let bound = |standby: &[String], home: &str| home == clb.name || standby.contains(&clb.name);
    let vips = topology.vips.values();
    for vip in vips.filter(|vip| bound(&vip.standby, &vip.clb)) {
        if let AddressPair { v4: Some(v4), .. } = vip.address {
            let reason = format!(
                "{v4} is no address of IPv6, and clb.{} is of NAT64",
                clb.name
            );
            let hint = "an IPv6 address alone; clients of IPv4 need a load balancer of their own";
            let object = Kind::Vip.object(&vip.name);
            book.report(&object, "address", Wrong::new(reason, hint));
        }
    }
}

fn servers(book: &Book<'_>, topology: &Topology, clb: &Clb) {
    let listeners = clb.listeners.values();
    let mut names: Vec<&str> = listeners
        .map(|listener| listener.targets.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    for targets in names
        .into_iter()
        .filter_map(|name| topology.targets.get(name))
    {
        let object = Kind::Targets.object(&targets.name);
        v4_alone(book, clb, &object, &targets.servers);
    }
}

fn scaling_servers(book: &Book<'_>, topology: &Topology, clb: &Clb) {
    for group in topology.autoscaling.values() {
        if group.listeners.iter().any(|(of, _)| *of == clb.name) {
            v4_alone(book, clb, &group.object(), &group.servers);
        }
    }
}

fn v4_alone(book: &Book<'_>, clb: &Clb, object: &str, servers: &[Server]) {
    for (index, server) in servers.iter().enumerate() {
        if let AddressPair { v6: Some(v6), .. } = server.address {
            let reason = format!("{v6} gets no flow from clb.{}, which is of NAT64", clb.name);
            let hint = "the server's IPv4 address alone";
            let path = match &server.eni {
                Some(_) => format!("servers[{index}].eni"),
                None => format!("servers[{index}].ip"),
            };
            book.report(object, &path, Wrong::new(reason, hint));
        }
    }
}
