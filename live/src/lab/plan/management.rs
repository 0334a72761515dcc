//! The management network of a lab: a router to which every node and controller has a wire, with the addresses that the
//! simulator gives them, and the controllers themselves.
//!
//! They are founded with the file's content, as in a run that begins in service, with a key for flows that nobody else
//! knows; every node begins with the same table and follows from there. Where the file says `routes = "static"` there is
//! none of this.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyedge_topologies::{Managed, OPERATOR, Routes, Topology};
use anyhow::{Context, Result};

use super::{Drawing, routes_to};
use crate::entropy;
use crate::lab::blueprint::{GroupPlan, NamespacePlan, ProcessPlan};
use crate::lab::name::LabName;
use crate::lab::state::{control_of, data_of, folder_of};
use crate::netlink::Route;
use crate::node;
use crate::prefix::Prefix;

/// The router between all nodes' management addresses.
pub const NET: &str = "management.net";
/// Where controllers listen.
const PORT: u16 = 7_300;
/// Wires of a lab have no delay, but its controllers share disk and processors with all else.
const ELECTION_TIMEOUT: &str = "500ms";

/// Whether the lab has controllers.
pub(super) fn has_controllers(topology: &Topology) -> bool {
    topology.defaults.routes != Routes::Static
}

/// Who is on the network.
pub(crate) fn managed(topology: &Topology) -> Vec<Managed> {
    let mut nodes = topology.managed();
    nodes.retain(|node| node.name != OPERATOR);
    nodes
}

/// The controllers' addresses by their numbers, in the order of their names.
pub(crate) fn members(topology: &Topology) -> BTreeMap<u64, SocketAddr> {
    let controllers = topology.controllers.values();
    let addresses = controllers.map(|controller| {
        let address = controller.management.iter().next();
        SocketAddr::new(address.expect("both families are always there"), PORT)
    });
    (1..).zip(addresses).collect()
}

/// Adds the router, the controllers' namespaces, and a wire and a way to it for everybody.
pub(super) fn add(drawing: &mut Drawing<'_>) -> Result<()> {
    if !has_controllers(drawing.topology) {
        return Ok(());
    }
    let mtu = drawing.topology.defaults.management.mtu_bytes.min(65_535);
    let nodes = managed(drawing.topology);
    let networks = networks(&nodes);
    let mut router_routes = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let (router_end, own_end) = drawing.add_wire(
            (NET, format!("m{index}")),
            (&node.name, "mgmt0".to_owned()),
            mtu,
        );
        router_routes.extend(routes_to(node.address, own_end, None));
        let routes = networks.iter().map(|network| {
            let is_v4 = network.ip().is_ipv4();
            let of_family = |ip: &IpAddr| ip.is_ipv4() == is_v4;
            Route {
                destination: *network,
                via: router_end.iter().find(of_family),
                interface: None,
                source: node.address.iter().find(of_family),
            }
        });
        let routes: Vec<Route> = routes.collect();
        let addresses = node.address.iter().map(Prefix::host);
        let is_controller = !drawing.namespaces.iter().any(|own| own.node == node.name);
        if is_controller {
            drawing.namespaces.push(NamespacePlan {
                node: node.name.clone(),
                forwards: false,
                addresses: addresses.collect(),
                routes,
            });
        } else {
            let own = drawing.namespace(&node.name)?;
            own.addresses.extend(addresses);
            own.routes.extend(routes);
        }
    }
    drawing.namespaces.push(NamespacePlan {
        node: NET.to_owned(),
        forwards: true,
        addresses: Vec::new(),
        routes: router_routes,
    });
    Ok(())
}

/// The networks that the nodes' addresses are of: 16 and 64 bits.
fn networks(nodes: &[Managed]) -> Vec<Prefix> {
    let Some(first) = nodes.first() else {
        return Vec::new();
    };
    let network = |ip: IpAddr| {
        let len = if ip.is_ipv4() { 16 } else { 64 };
        Prefix::new(ip, len).map(Prefix::network)
    };
    first.address.iter().filter_map(network).collect()
}

/// The group of controllers, if there is one.
pub(super) fn group(topology: &Topology, lab: &LabName) -> Result<Option<GroupPlan>> {
    if !has_controllers(topology) {
        return Ok(None);
    }
    let table = node::founding_table(topology, entropy::secret()?);
    let table = table.context("the file makes no table")?;
    Ok(Some(GroupPlan {
        servers: members(topology).into_values().collect(),
        founding: table.snapshot(),
        folder: folder_of(lab),
    }))
}

/// The controllers as processes.
pub(super) fn processes(topology: &Topology, lab: &LabName) -> Vec<ProcessPlan> {
    if !has_controllers(topology) {
        return Vec::new();
    }
    let members = members(topology);
    let peers: Vec<String> = members
        .iter()
        .map(|(id, address)| format!("{id}={address}"))
        .collect();
    let files = GroupPlan::files(&folder_of(lab));
    let controllers = topology.controllers.values().zip(&members);
    let processes = controllers.map(|(controller, (id, address))| {
        let name = controller.object();
        let control = control_of(lab, &name);
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let words = [
            ("--id", id.to_string()),
            ("--listen", address.to_string()),
            ("--peers", peers.join(",")),
            ("--election-timeout", ELECTION_TIMEOUT.to_owned()),
            ("--data", text(&data_of(lab, &name))),
            ("--founding", text(&files.founding)),
            ("--cert", text(&files.controller)),
            ("--key", text(&files.controller_key)),
            ("--ca", text(&files.authority)),
            ("--ready", text(&control)),
        ];
        let words = words.into_iter();
        let words = words.flat_map(|(flag, value)| [flag.to_owned(), value]);
        ProcessPlan {
            arguments: std::iter::once("controller".to_owned())
                .chain(words)
                .collect(),
            node: name.clone(),
            name,
            program: None,
            control: Some(control),
        }
    });
    processes.collect()
}

/// What a node's command line has so that it follows the controllers.
pub(super) fn following(topology: &Topology, lab: &LabName, name: &str) -> Vec<String> {
    if !has_controllers(topology) {
        return Vec::new();
    }
    let servers = members(topology).into_values();
    let servers: Vec<String> = servers.map(|at| at.to_string()).collect();
    let files = GroupPlan::files(&folder_of(lab));
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let words = [
        "--controllers",
        &servers.join(","),
        "--founding",
        &text(&files.founding),
        "--data",
        &text(&data_of(lab, name)),
    ];
    words.map(str::to_owned).to_vec()
}
