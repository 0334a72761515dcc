//! Whether every address has one owner.
//!
//! VIPs, POPs, CLB nodes, SNAT addresses, backend hosts and clients share one network in a run, so that an address stands for
//! one node only. Addresses on the management network are given, and nobody else may have one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::addresses::clash;
use crate::book::Book;
use crate::diagnostic::Wrong;
use crate::names::Kind;

use super::super::Topology;

/// Checks that no two objects have an address in common.
pub(super) fn check(book: &Book<'_>, topology: &Topology) {
    let mut owners: BTreeMap<IpAddr, String> = BTreeMap::new();
    let mut given: BTreeMap<String, (String, String)> = BTreeMap::new();
    for node in nodes(topology) {
        given.insert(node.object.clone(), (node.at.clone(), node.path.clone()));
        for ip in node.addresses {
            match owners.get(&ip) {
                Some(other) => book.report(&node.at, &node.path, clash(ip, other)),
                None => drop(owners.insert(ip, node.object.clone())),
            }
        }
    }
    for node in topology.managed() {
        for ip in node.address.iter() {
            if let Some(other) = owners.insert(ip, node.name.clone()) {
                let reason = format!("{ip} is the address of {} too", node.name);
                let hint = "172.19.0.0/16 and fd00:ae:0:4::/64 are the management network's";
                let at = given.get(&other).cloned().unwrap_or_default();
                book.report(&at.0, &at.1, Wrong::new(reason, hint));
            }
        }
    }
    clients(book, topology, &owners);
}

/// A node, its addresses and where the file gives them.
struct Node {
    object: String,
    at: String,
    path: String,
    addresses: Vec<IpAddr>,
}

fn nodes(topology: &Topology) -> Vec<Node> {
    let node = |object: String, at: String, path: &str, addresses: Vec<IpAddr>| Node {
        object,
        at,
        path: path.to_owned(),
        addresses,
    };
    let mut nodes = Vec::new();
    for vip in topology.vips.values() {
        let object = Kind::Vip.object(&vip.name);
        nodes.push(node(
            object.clone(),
            object,
            "address",
            vip.address.iter().collect(),
        ));
    }
    for pop in topology.pops.values() {
        let object = Kind::Pop.object(&pop.name);
        nodes.push(node(
            object.clone(),
            object,
            "underlay",
            pop.underlay.iter().collect(),
        ));
    }
    for region in topology.regions.values() {
        for clb in &region.clb_nodes {
            let at = Kind::Region.object(&region.name);
            nodes.push(node(
                clb.name.clone(),
                at,
                "",
                clb.underlay.iter().collect(),
            ));
        }
    }
    for clb in topology.clbs.values() {
        let object = Kind::Clb.object(&clb.name);
        let addresses = clb.snat.iter().copied().map(IpAddr::V4).collect();
        nodes.push(node(object.clone(), object, "snat", addresses));
    }
    for router in topology.routers.values() {
        let at = router.object();
        let both = [
            (at.clone(), "address", router.address),
            (Kind::Pop.object(&router.name), "pop_address", router.pop),
        ];
        for (object, path, pair) in both {
            nodes.push(node(object, at.clone(), path, pair.iter().collect()));
        }
    }
    for host in topology.hosts.values() {
        let user = of_targets(topology, &host.name);
        let user = user.or_else(|| of_group(topology, &host.name));
        let (at, path) = user.unwrap_or_default();
        let addresses = host
            .addresses
            .iter()
            .copied()
            .chain(host.underlay.iter())
            .collect();
        nodes.push(node(Kind::Host.object(&host.name), at, &path, addresses));
    }
    nodes
}

/// Where a set of targets has the address of its server on that host.
fn of_targets(topology: &Topology, host: &str) -> Option<(String, String)> {
    topology.targets.values().find_map(|targets| {
        let mut servers = targets.servers.iter();
        let index = servers.position(|server| server.host == host)?;
        let path = format!("servers[{index}].ip");
        Some((Kind::Targets.object(&targets.name), path))
    })
}

/// Where a group has the address of its server on that host.
fn of_group(topology: &Topology, host: &str) -> Option<(String, String)> {
    topology.autoscaling.values().find_map(|group| {
        let mut servers = group.servers.iter();
        let index = servers.position(|server| server.host == host)?;
        Some((group.object(), format!("servers[{index}].ip")))
    })
}

/// Clients have blocks of addresses, which nobody else may be in.
fn clients(book: &Book<'_>, topology: &Topology, owners: &BTreeMap<IpAddr, String>) {
    for client in topology.clients.values() {
        let (Some(v4), Some(v6)) = (client.first.v4, client.first.v6) else {
            continue;
        };
        let v4 = v4.to_bits()..v4.to_bits() + client.count;
        let v6 = v6.to_bits()..v6.to_bits() + u128::from(client.count);
        let taken = owners.iter().find(|(ip, _)| match ip {
            IpAddr::V4(ip) => v4.contains(&ip.to_bits()),
            IpAddr::V6(ip) => v6.contains(&ip.to_bits()),
        });
        if let Some((ip, other)) = taken {
            let mut wrong = clash(*ip, other);
            wrong.hint = Some(
                "198.18.0.0/15 and 2001:db8:c::/64 are the clients': take others elsewhere"
                    .to_owned(),
            );
            book.report(&Kind::Client.object(&client.name), "", wrong);
        }
    }
}
