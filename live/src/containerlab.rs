//! A topology as a file for containerlab, for labs over several machines: the same namespaces, wires, addresses and routes
//! as `lab up` makes, each node a container.
//!
//! Certificates and tables come from a bundle ([`crate::bundle`]) that lies beside the file; a node's process starts when
//! its wires are there, which is when containerlab runs `exec`. Reference: containerlab.dev/manual/topo-def-file.

use std::collections::BTreeMap;
use std::path::Path;

use anyedge_topologies::Topology;
use anyhow::Result;
use serde_json::{Value, json};

use crate::lab::blueprint::{Blueprint, NamespacePlan};
use crate::lab::plan;
use crate::netlink::Route;
use crate::yaml;

/// The image of every node: a Debian with iproute2, curl and the `anyedge` command.
const IMAGE: &str = "anyedge:latest";
/// Where the bundle is, from the file.
const BUNDLE: &str = "bundle";

/// The text of `.clab.yml`.
///
/// # Errors
/// What a lab cannot do.
pub fn text(topology: &Topology, file: &Path) -> Result<String> {
    let name = topology.name.to_ascii_lowercase();
    let blueprint = plan::plan(topology, file, &"export".parse()?)?;
    let mut nodes = BTreeMap::new();
    for namespace in &blueprint.namespaces {
        nodes.insert(short(&namespace.node), node(&blueprint, namespace));
    }
    let links = blueprint.wires.iter().map(|wire| {
        let end = |index: usize| {
            let end = &wire.ends[index];
            format!("{}:{}", short(&end.node), end.interface)
        };
        json!({ "endpoints": [end(0), end(1)], "mtu": wire.mtu })
    });
    let links: Vec<Value> = links.collect();
    let whole = json!({
        "name": name,
        "topology": {
            "defaults": { "kind": "linux", "image": IMAGE },
            "nodes": nodes,
            "links": links,
        },
    });
    let head = "# Containers of the topology for containerlab. Beside this file, once:\n\
                #   anyedge bundle FILE --out bundle\n\
                # then: containerlab deploy -t THIS\n";
    Ok(format!("{head}{}", yaml::text(&whole)))
}

/// A name that a container may have.
fn short(node: &str) -> String {
    node.replace('.', "-")
}

fn node(blueprint: &Blueprint, namespace: &NamespacePlan) -> Value {
    let own = &namespace.node;
    let mut exec: Vec<String> = Vec::new();
    let forwards = u8::from(namespace.forwards);
    for setting in [
        "net.ipv4.conf.all.rp_filter=0".to_owned(),
        "net.ipv4.conf.default.rp_filter=0".to_owned(),
        "net.ipv6.conf.all.disable_ipv6=0".to_owned(),
        format!("net.ipv4.ip_forward={forwards}"),
        format!("net.ipv6.conf.all.forwarding={forwards}"),
    ] {
        exec.push(format!("sysctl -qw {setting}"));
    }
    for address in &namespace.addresses {
        exec.push(format!("ip addr add {address} dev lo"));
    }
    let ends = blueprint.wires.iter().flat_map(|wire| &wire.ends);
    for end in ends.filter(|end| end.node == *own) {
        for address in &end.addresses {
            let family = if address.ip().is_ipv6() { " nodad" } else { "" };
            exec.push(format!(
                "ip addr add {address} dev {}{family}",
                end.interface
            ));
        }
    }
    exec.extend(namespace.routes.iter().map(route));
    let runs = blueprint
        .processes
        .iter()
        .any(|process| process.node == *own);
    let mut node = json!({ "kind": "linux", "image": IMAGE });
    if runs {
        node["binds"] = json!([format!("{BUNDLE}/hosts/{own}:/etc/anyedge:ro")]);
        node["devices"] = json!(["/dev/net/tun"]);
        exec.push(
            "sh -c 'cd /etc/anyedge && mkdir -p /var/lib/anyedge && \
             export STATE_DIRECTORY=/var/lib/anyedge && \
             eval \"exec $(sed -n s/^ExecStart=//p anyedge.service)\" >/var/log/anyedge.log 2>&1 &'"
                .to_owned(),
        );
    }
    for process in blueprint
        .processes
        .iter()
        .filter(|process| process.node == *own)
    {
        if process.name.starts_with("backend.") {
            exec.push(format!(
                "sh -c 'anyedge node --topology /etc/anyedge/topology.toml --name {} >/var/log/backend.log 2>&1 &'",
                process.name
            ));
        }
    }
    node["exec"] = json!(exec);
    node
}

fn route(route: &Route) -> String {
    let mut words = format!("ip route add {}", route.destination);
    if let Some(via) = route.via {
        words += &format!(" via {via}");
    }
    if let Some(interface) = &route.interface {
        words += &format!(" dev {interface}");
    }
    if let Some(source) = route.source {
        words += &format!(" src {source}");
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wire_of_the_lab_joins_two_containers_of_the_file() {
        let text_of = include_str!("../../topologies/two-pops.toml");
        let topology = Topology::parse("two-pops.toml", text_of).expect("it is shipped");
        let text = text(&topology, Path::new("/two-pops.toml")).expect("it can be a lab");
        for wanted in [
            "name: \"two-pops\"",
            "    pop-tokyo:\n      kind: \"linux\"\n",
            "bundle/hosts/pop.tokyo:/etc/anyedge:ro",
            "ip addr add 10.0.0.11/32 dev lo",
        ] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        let endpoints = text
            .lines()
            .filter(|line| line.trim().starts_with("- \"") && line.contains(":n"));
        assert_eq!(
            endpoints.count(),
            5,
            "a wire to the underlay for each tunnel mouth"
        );
    }
}
