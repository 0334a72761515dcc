//! The part of a plan that hosts without a vSwitch are in: those of CLBs with `return = "route"`.
//!
//! Such a host has a wire of its own to its region's one CLB node, and by it its default route: whatever it answers comes
//! to that machine, whose node has it led to its device ([`words`]). The host's packets never see a tunnel.

use anyedge_topologies::{AddressPair, Host, Kind, ReturnBy, Topology};
use anyhow::{Context, Result};

use super::{Drawing, wire_mtu};
use crate::lab::blueprint::{NamespacePlan, WirePlan};
use crate::netlink::Route;
use crate::prefix::Prefix;

/// A host's interface towards its CLB node.
const HOST_INTERFACE: &str = "vpc0";

/// Whether a host has a vSwitch.
pub(in crate::lab) fn has_vswitch(host: &Host) -> bool {
    host.return_by == ReturnBy::Vswitch
}

/// The hosts without a vSwitch that the topology has in `region`.
fn hosts<'a>(topology: &'a Topology, region: &str) -> impl Iterator<Item = &'a Host> {
    let hosts = topology.hosts.values();
    hosts.filter(move |host| host.region == region && !has_vswitch(host))
}

/// Whether the CLB node of `region` is the router of hosts.
pub(super) fn is_router(topology: &Topology, region: &str) -> bool {
    hosts(topology, region).next().is_some()
}

/// What the command line of the node `name` has so that answers to any client come to its device.
pub(super) fn words(topology: &Topology, name: &str) -> Vec<String> {
    let mut regions = topology.regions.values().filter(|region| {
        let mut nodes = region.clb_nodes.iter();
        nodes.any(|node| node.name == name) && is_router(topology, &region.name)
    });
    if regions.next().is_none() {
        return Vec::new();
    }
    let clients = [Prefix::ANY_V4, Prefix::ANY_V6].into_iter();
    clients
        .flat_map(|network| ["--clients".to_owned(), network.to_string()])
        .collect()
}

/// The host at the end of a wire to its CLB node.
pub(in crate::lab) fn host_of(wire: &WirePlan) -> Option<&str> {
    let end = wire
        .ends
        .iter()
        .find(|end| end.interface == HOST_INTERFACE)?;
    end.node.strip_prefix("host.")
}

impl Drawing<'_> {
    /// Each host without a vSwitch, its wire to its CLB node, and the routes of both.
    pub(super) fn add_plain_hosts(&mut self) -> Result<()> {
        let topology = self.topology;
        for region in topology.regions.values() {
            for (number, host) in hosts(topology, &region.name).enumerate() {
                let node = region.clb_nodes.first();
                let node = node.with_context(|| format!("region.{} has no node", region.name))?;
                let name = Kind::Host.object(&host.name);
                let (node_end, host_end) = self.add_wire(
                    (&node.name, format!("h{number}")),
                    (&name, HOST_INTERFACE.to_owned()),
                    wire_mtu([host.line.mtu_bytes]),
                );
                let own: Vec<Prefix> = host.addresses.iter().copied().map(Prefix::host).collect();
                let routes = own.iter().map(|prefix| by(*prefix, host_end));
                self.namespace(&node.name)?.routes.extend(routes);
                let anywhere = [Prefix::ANY_V4, Prefix::ANY_V6];
                self.namespaces.push(NamespacePlan {
                    node: name,
                    forwards: false,
                    addresses: own,
                    routes: anywhere.map(|prefix| by(prefix, node_end)).to_vec(),
                });
            }
        }
        Ok(())
    }
}

/// The route to `destination` by the end of a wire.
fn by(destination: Prefix, end: AddressPair) -> Route {
    let is_v4 = destination.ip().is_ipv4();
    Route {
        destination,
        via: end.iter().find(|ip| ip.is_ipv4() == is_v4),
        interface: None,
        source: None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::plan;
    use super::*;
    use crate::lab::blueprint::Blueprint;
    use crate::lab::modelled;

    const TWO_POPS: &str = include_str!("../../../../topologies/two-pops.toml");

    fn topology() -> Topology {
        let overrides = ["clb.gz-main.return=route".to_owned()];
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../topologies/two-pops.toml");
        assert!(TWO_POPS.contains("[clb.gz-main]"));
        Topology::load_with(Path::new(file), &overrides).expect("hosts may answer by a route")
    }

    fn blueprint(topology: &Topology) -> Blueprint {
        let lab = "demo".parse().expect("a lab's name");
        plan(topology, Path::new("/two-pops.toml"), &lab).expect("it can be built")
    }

    #[test]
    fn a_host_without_a_vswitch_has_one_wire_and_routes_by_its_clb_node() {
        let topology = topology();
        let blueprint = blueprint(&topology);
        let of_web = |wire: &&WirePlan| wire.ends.iter().any(|end| end.node == "host.web-1");
        let wires: Vec<&WirePlan> = blueprint.wires.iter().filter(of_web).collect();
        let data = wires.iter().filter(|wire| host_of(wire) == Some("web-1"));
        let [wire] = data.collect::<Vec<_>>()[..] else {
            panic!("{wires:?}");
        };
        assert_eq!(wire.ends[0].node, "region.guangzhou.clb-1");
        assert_eq!(wires.len(), 2, "and one for what is managed");
        let namespace = |node: &str| {
            let mut all = blueprint.namespaces.iter();
            all.find(|own| own.node == node).expect("a node of the lab")
        };
        let host = namespace("host.web-1");
        let holds = |ip| wire.ends[0].addresses.iter().any(|own| own.ip() == ip);
        let defaults = host.routes.iter().filter(|route| {
            [Prefix::ANY_V4, Prefix::ANY_V6].contains(&route.destination)
                && route.via.is_some_and(holds)
        });
        assert_eq!(defaults.count(), 2);
        let router = namespace("region.guangzhou.clb-1");
        assert!(router.forwards);
        for address in &topology.hosts["web-1"].addresses {
            let to = Prefix::host(*address);
            assert!(router.routes.iter().any(|route| route.destination == to));
        }
    }

    #[test]
    fn there_is_no_process_for_it_but_its_backend_and_the_node_takes_all_answers() {
        let blueprint = blueprint(&topology());
        let named = |name: &str| blueprint.processes.iter().find(|own| own.name == name);
        assert!(named("host.web-1").is_none() && named("backend.web-1").is_some());
        let node = named("region.guangzhou.clb-1").expect("it forwards");
        let words = ["--clients", "0.0.0.0/0", "--clients", "::/0"];
        assert!(node.arguments.windows(4).any(|four| four == words));
    }

    #[test]
    fn with_the_files_links_its_wire_has_that_of_the_host() {
        let topology = topology();
        let mut blueprint = blueprint(&topology);
        let laid = modelled::lay(&mut blueprint, &topology, Path::new("/two-pops.toml"));
        laid.expect("all of its paths are there");
        let links: Vec<&str> = (blueprint.between.links.iter())
            .map(|link| link.name.as_str())
            .filter(|name| name.contains("host.web-1"))
            .collect();
        let both = ["region.guangzhou>host.web-1", "host.web-1>region.guangzhou"];
        assert_eq!(links, both);
    }
}
