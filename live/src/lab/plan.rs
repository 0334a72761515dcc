//! From a topology to the lab that runs it: which namespaces, wires, routes and processes.
//!
//! One namespace for each POP, CLB node, host and client population (its first host), and `ccn.underlay`, a router
//! that stands for the private network: every tunnel mouth is one wire from it. A client has a wire to every POP that
//! its `public` names, or, where BIRD is, to the router beside each of them, and routes by BGP ([`super::routers`]).
//! Without BIRD it routes by those that it enters by: for each VIP the publisher with the least round trip, as in the
//! simulator, and nothing moves the routes by itself. Every POP knows the way back. Delays and losses are not laid into
//! the wires.
//!
//! Controllers, and how all nodes reach them, are in [`management`]. A node's own addresses are on its loopback. Wires have numbers of their own (169.254.0.0/16 and fd00:ae:ffff::/48),
//! which nothing in a topology may use.

pub mod management;
pub(super) mod plain;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyedge_topologies::{AddressPair, Client, FaultVerb, Kind, Topology};
use anyhow::{Result, ensure};

use super::blueprint::{Blueprint, NamespacePlan, ProcessPlan, WireEndPlan, WirePlan};
use super::name::LabName;
use super::refused::refuse;
use super::routers::{self, PublicWire};
use super::state::{control_of, identity_of};
use crate::netlink::Route;
use crate::node;
use crate::prefix::Prefix;
use crate::wires::Plan;

mod routed;

/// The router between all tunnel mouths.
pub const UNDERLAY: &str = "ccn.underlay";
/// Networks that the wires are numbered from.
const WIRES_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 0);
const WIRES_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xae, 0xffff, 0, 0, 0, 0, 0);
/// Where every node answers a Prometheus server: inside of its own namespace.
pub const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9_464);
/// Pairs of addresses in 169.254.1.0 to 169.254.254.255.
const WIRES_MAX: usize = 254 * 128;

/// The lab of `topology`, read from `file`, whose clients' routes nothing moves.
///
/// # Errors
/// What a lab cannot do yet, or an address that the lab needs for itself.
pub fn plan(topology: &Topology, file: &Path, lab: &LabName) -> Result<Blueprint> {
    plan_with(topology, file, lab, None)
}

/// The lab of `topology`, read from `file`, with `bird` as its routers where the topology has any.
///
/// # Errors
/// As [`plan`].
pub fn plan_with(
    topology: &Topology,
    file: &Path,
    lab: &LabName,
    bird: Option<&Path>,
) -> Result<Blueprint> {
    check_faults(topology)?;
    check_pairs(topology)?;
    check_addresses(topology)?;
    let mut drawing = Drawing {
        topology,
        namespaces: Vec::new(),
        wires: Vec::new(),
        public: Vec::new(),
        is_routed: bird.is_some() && !topology.routers.is_empty(),
    };
    drawing.add_tunnel_nodes();
    drawing.add_plain_hosts()?;
    if drawing.is_routed {
        drawing.add_routers();
    }
    for client in topology.clients.values() {
        drawing.add_client(client)?;
    }
    management::add(&mut drawing)?;
    ensure!(
        drawing.wires.len() <= WIRES_MAX,
        "a lab has at most {WIRES_MAX} wires"
    );
    let routers = drawing.router_plans();
    let bird = bird.iter().flat_map(|bird| {
        let nodes = routers.iter().map(|router| &router.node);
        nodes.map(|node| routers::process(bird, lab, node))
    });
    let blueprint = Blueprint {
        lab: lab.clone(),
        entered_by: routed::entered_by(topology, drawing.is_routed).to_owned(),
        identities: identities(topology, lab),
        group: management::group(topology, lab)?,
        files: Vec::new(),
        topology: file.to_owned(),
        overrides: topology.overrides.clone(),
        namespaces: drawing.namespaces,
        wires: drawing.wires,
        processes: bird.chain(processes(topology, file, lab)).collect(),
        routers: routers.clone(),
        between: Plan::default(),
    };
    blueprint.check()?;
    Ok(blueprint)
}

struct Drawing<'a> {
    topology: &'a Topology,
    namespaces: Vec<NamespacePlan>,
    wires: Vec<WirePlan>,
    /// Wires between populations and POPs' routers.
    public: Vec<(&'a Client, PublicWire<'a>)>,
    is_routed: bool,
}

/// A node with a tunnel mouth.
struct TunnelNode {
    name: String,
    underlay: AddressPair,
    mtu: u32,
    /// What else it holds: the backends' addresses.
    serves: Vec<IpAddr>,
    forwards: bool,
}

impl<'a> Drawing<'a> {
    /// POPs, CLB nodes and hosts, each with its wire to the underlay, and routes between all of them.
    fn add_tunnel_nodes(&mut self) {
        let nodes = tunnel_nodes(self.topology);
        let mut router_routes = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let (router_end, own_end) = self.add_wire(
                (UNDERLAY, format!("n{index}")),
                (&node.name, "ccn0".to_owned()),
                node.mtu,
            );
            router_routes.extend(routes_to(node.underlay, own_end, None));
            let others = nodes.iter().filter(|other| other.name != node.name);
            let held = node.underlay.iter().chain(node.serves.iter().copied());
            self.namespaces.push(NamespacePlan {
                node: node.name.clone(),
                forwards: node.forwards,
                addresses: held.map(Prefix::host).collect(),
                routes: others
                    .flat_map(|other| routes_to(other.underlay, router_end, Some(node.underlay)))
                    .collect(),
            });
        }
        self.namespaces.push(NamespacePlan {
            node: UNDERLAY.to_owned(),
            forwards: true,
            addresses: Vec::new(),
            routes: router_routes,
        });
    }

    /// The first host of a population, its wires to the POPs that it knows a way to, nearest first, and its routes
    /// by the one that it enters by.
    fn add_client(&mut self, client: &'a Client) -> Result<()> {
        let name = Kind::Client.object(&client.name);
        let (v4, v6) = client.address(0);
        let own = AddressPair {
            v4: Some(v4),
            v6: Some(v6),
        };
        let mut gateways: BTreeMap<&str, AddressPair> = BTreeMap::new();
        for (number, pop) in pops_of(client).into_iter().enumerate() {
            let pop_name = Kind::Pop.object(pop);
            if self.is_routed {
                self.add_public_wire((client, own), pop, number)?;
                continue;
            }
            let pop_interface = format!("c{}", self.wires.len());
            let (pop_end, client_end) = self.add_wire(
                (&pop_name, pop_interface),
                (&name, format!("pop{number}")),
                client.line.mtu_bytes,
            );
            self.namespace(&pop_name)?
                .routes
                .extend(routes_to(own, client_end, None));
            gateways.insert(pop, pop_end);
        }
        let mut routes = Vec::new();
        for vip in self.topology.vips.values() {
            let entry = entry_of(client, &vip.publish);
            if let Some(gateway) = entry.and_then(|pop| gateways.get(pop)) {
                routes.extend(routes_to(vip.address, *gateway, Some(own)));
            }
        }
        self.namespaces.push(NamespacePlan {
            node: name,
            forwards: false,
            addresses: own.iter().map(Prefix::host).collect(),
            routes,
        });
        Ok(())
    }

    fn namespace(&mut self, node: &str) -> Result<&mut NamespacePlan> {
        let found = self
            .namespaces
            .iter_mut()
            .find(|namespace| namespace.node == node);
        found.ok_or_else(|| anyhow::anyhow!("`{node}` is no node of the topology"))
    }

    /// Lays a wire and returns the addresses of its two ends.
    fn add_wire(
        &mut self,
        near: (&str, String),
        far: (&str, String),
        mtu: u32,
    ) -> (AddressPair, AddressPair) {
        let number = u32::try_from(self.wires.len()).expect("far fewer wires than that") * 2;
        let address = |side: u32| AddressPair {
            v4: Some(Ipv4Addr::from_bits(WIRES_V4.to_bits() + number + side)),
            v6: Some(Ipv6Addr::from_bits(
                WIRES_V6.to_bits() + u128::from(number + side),
            )),
        };
        let end = |(node, interface): (&str, String), pair: AddressPair| {
            let prefix = |ip: IpAddr| Prefix::new(ip, if ip.is_ipv4() { 31 } else { 127 });
            WireEndPlan {
                node: node.to_owned(),
                interface,
                addresses: pair.iter().filter_map(prefix).collect(),
            }
        };
        let (near_pair, far_pair) = (address(0), address(1));
        self.wires.push(WirePlan {
            ends: [end(near, near_pair), end(far, far_pair)],
            mtu,
        });
        (near_pair, far_pair)
    }
}

/// Routes to the addresses of `to` through `via`, sent from `from` where nothing else says so.
fn routes_to(
    to: AddressPair,
    via: AddressPair,
    from: Option<AddressPair>,
) -> impl Iterator<Item = Route> {
    let of_family =
        |pair: AddressPair, ip: IpAddr| pair.iter().find(|other| other.is_ipv4() == ip.is_ipv4());
    to.iter()
        .collect::<Vec<_>>()
        .into_iter()
        .map(move |ip| Route {
            destination: Prefix::host(ip),
            via: of_family(via, ip),
            interface: None,
            source: from.and_then(|from| of_family(from, ip)),
        })
}

/// The POP that a client enters a VIP by: of its publishers the best by BGP, then by name.
pub fn entry_of<'a>(client: &'a Client, publish: &[String]) -> Option<&'a str> {
    let known = client.pop_rtts.keys().filter(|pop| publish.contains(pop));
    known
        .min_by_key(|pop| (client.preference(pop), *pop))
        .map(String::as_str)
}

/// The POPs that a client knows a way to, nearest first, then by name.
pub(super) fn pops_of(client: &Client) -> Vec<&str> {
    let mut pops: Vec<(&str, Duration)> = client
        .pop_rtts
        .iter()
        .map(|(pop, rtt)| (pop.as_str(), *rtt))
        .collect();
    pops.sort_by_key(|(pop, rtt)| (*rtt, *pop));
    pops.into_iter().map(|(pop, _)| pop).collect()
}

fn tunnel_nodes(topology: &Topology) -> Vec<TunnelNode> {
    let mut nodes = Vec::new();
    for pop in topology.pops.values() {
        let lines = topology
            .links
            .values()
            .filter(|link| link.ends.has_pop(&pop.name));
        nodes.push(TunnelNode {
            name: Kind::Pop.object(&pop.name),
            underlay: pop.underlay,
            mtu: wire_mtu(lines.map(|link| link.line.mtu_bytes)),
            serves: Vec::new(),
            // Between the client's wire and the TUN.
            forwards: true,
        });
    }
    for region in topology.regions.values() {
        let links = topology
            .links
            .values()
            .filter(|link| link.ends.has_region(&region.name));
        let hosts = topology
            .hosts
            .values()
            .filter(|host| host.region == region.name);
        let lines = links
            .map(|link| link.line)
            .chain(hosts.map(|host| host.line));
        let mtu = wire_mtu(lines.map(|line| line.mtu_bytes));
        nodes.extend(region.clb_nodes.iter().map(|clb_node| TunnelNode {
            name: clb_node.name.clone(),
            underlay: clb_node.underlay,
            mtu,
            serves: Vec::new(),
            forwards: plain::is_router(topology, &region.name),
        }));
    }
    for host in topology
        .hosts
        .values()
        .filter(|host| plain::has_vswitch(host))
    {
        nodes.push(TunnelNode {
            name: Kind::Host.object(&host.name),
            underlay: host.underlay,
            mtu: wire_mtu([host.line.mtu_bytes]),
            serves: host.addresses.clone(),
            forwards: false,
        });
    }
    nodes
}

/// A wire carries the largest of the paths that share it; 1,500 when there is none.
pub(crate) fn wire_mtu(paths: impl IntoIterator<Item = u32>) -> u32 {
    paths.into_iter().max().unwrap_or(1_500).min(65_535)
}

fn processes(topology: &Topology, file: &Path, lab: &LabName) -> Vec<ProcessPlan> {
    let certified = identities(topology, lab);
    let process = |node: String, name: String, is_forwarder: bool| {
        let control = control_of(lab, &name);
        let own = certified.iter().find(|(node, _)| *node == name);
        let mut arguments = node::arguments((file, &topology.overrides), &name, &control);
        if let Some((_, identity)) = own {
            arguments.push("--identity".to_owned());
            arguments.push(identity.to_string_lossy().into_owned());
        }
        if is_forwarder {
            arguments.extend(["--metrics".to_owned(), METRICS.to_string()]);
            arguments.extend(management::following(topology, lab, &name));
            arguments.extend(plain::words(topology, &name));
        }
        ProcessPlan {
            arguments,
            node,
            name,
            program: None,
            control: Some(control),
        }
    };
    let forwarders = tunnel_nodes(topology)
        .into_iter()
        .map(|node| process(node.name.clone(), node.name, true));
    let backends = topology
        .hosts
        .keys()
        .map(|host| process(Kind::Host.object(host), node::backend_name(host), false));
    let controllers = management::processes(topology, lab).into_iter();
    controllers.chain(forwarders).chain(backends).collect()
}

/// Nodes that show somebody a certificate: all of them where there are controllers, else the ends of links that are
/// gRPC streams or QUIC connections.
fn identities(topology: &Topology, lab: &LabName) -> Vec<(String, PathBuf)> {
    if management::has_controllers(topology) {
        let nodes = tunnel_nodes(topology).into_iter();
        let own = nodes.map(|node| (node.name.clone(), identity_of(lab, &node.name)));
        return own.collect();
    }
    let streams = topology.links.values();
    let streams: Vec<_> = streams.filter(|link| link.encap.is_connection()).collect();
    let pops = topology.pops.keys().filter(|pop| {
        let mut own = streams.iter();
        own.any(|link| link.ends.has_pop(pop))
    });
    let pops = pops.map(|pop| Kind::Pop.object(pop));
    let regions = topology.regions.values().filter(|region| {
        let mut own = streams.iter();
        own.any(|link| link.ends.has_region(&region.name))
    });
    let clb_nodes = regions.flat_map(|region| &region.clb_nodes);
    let clb_nodes = clb_nodes.map(|clb| clb.name.clone());
    let nodes = pops.chain(clb_nodes);
    nodes
        .map(|node| (node.clone(), identity_of(lab, &node)))
        .collect()
}

/// Each tunnel of a lab is known by the addresses of its ends, so that two links between the same ends would be
/// one.
fn check_pairs(topology: &Topology) -> Result<()> {
    let mut pairs = BTreeMap::new();
    for link in topology.links.values() {
        if let Some(other) = pairs.insert(&link.ends, &link.name) {
            let [near, far] = link.ends.objects();
            refuse!(
                "link.{other} and link.{} both join {near} and {far}; a lab has one link for each pair",
                link.name
            );
        }
    }
    Ok(())
}

/// A node that a fault would add has no place in a lab.
fn check_faults(topology: &Topology) -> Result<()> {
    let mut faults = topology.faults.iter();
    if let Some(fault) = faults.find(|fault| fault.verb == FaultVerb::Add) {
        refuse!("`{fault}`: a lab has all of its nodes from the beginning");
    }
    Ok(())
}

/// Refuses addresses that the wires are numbered from.
fn check_addresses(topology: &Topology) -> Result<()> {
    let networks = [
        Prefix::new(WIRES_V4.into(), 16).expect("16 of 32 bits"),
        Prefix::new(WIRES_V6.into(), 48).expect("48 of 128 bits"),
    ];
    let vips = topology.vips.values().flat_map(|vip| vip.address.iter());
    let nodes = tunnel_nodes(topology);
    let held = nodes.iter().flat_map(|node| node.underlay.iter());
    let held = held.chain((topology.hosts.values()).flat_map(|host| host.addresses.clone()));
    for ip in vips.chain(held) {
        if let Some(network) = networks.iter().find(|network| network.contains(ip)) {
            refuse!(
                "{ip} cannot be used in a lab, whose wires are numbered from {}",
                network.network()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_POPS: &str = include_str!("../../../topologies/two-pops.toml");

    fn blueprint(text: &str) -> Result<Blueprint> {
        let topology = Topology::parse("two-pops.toml", text).expect("a topology that is shipped");
        plan(
            &topology,
            Path::new("/two-pops.toml"),
            &"demo".parse().expect("a lab's name"),
        )
    }

    fn namespace<'a>(blueprint: &'a Blueprint, node: &str) -> &'a NamespacePlan {
        blueprint
            .namespaces
            .iter()
            .find(|namespace| namespace.node == node)
            .expect("a node of the lab")
    }

    #[test]
    fn the_smallest_topology_becomes_twelve_namespaces_and_ten_processes() {
        let blueprint = blueprint(TWO_POPS).expect("it can be built");
        let nodes: Vec<&str> = blueprint
            .namespaces
            .iter()
            .map(|namespace| &*namespace.node)
            .collect();
        let expected = [
            "pop.frankfurt",
            "pop.tokyo",
            "region.guangzhou.clb-1",
            "host.web-1",
            "host.web-2",
            UNDERLAY,
            "client.berlin",
            "client.osaka",
            "controller.a",
            "controller.b",
            "controller.c",
            management::NET,
        ];
        assert_eq!(nodes, expected);
        assert_eq!(
            blueprint.wires.len(),
            5 + 2 * 2 + 5 + 3,
            "five tunnel mouths, two clients with two POPs each, eight that are managed"
        );
        let names: Vec<&str> = blueprint
            .processes
            .iter()
            .map(|process| &*process.name)
            .collect();
        assert_eq!(names[..3], ["controller.a", "controller.b", "controller.c"]);
        assert_eq!(names[8..], ["backend.web-1", "backend.web-2"]);
        assert_eq!(blueprint.processes[9].node, "host.web-2");
        assert!(
            blueprint
                .processes
                .iter()
                .all(|process| process.program.is_none() && process.control.is_some())
        );
    }

    #[test]
    fn a_client_has_a_wire_to_every_pop_and_enters_by_the_nearest_publisher() {
        let entry = |text: &str| {
            let blueprint = blueprint(text).expect("it can be built");
            let of_osaka = blueprint
                .wires
                .iter()
                .filter(|wire| wire.ends[1].node == "client.osaka");
            let ends: Vec<&[WireEndPlan; 2]> = of_osaka.map(|wire| &wire.ends).collect();
            let pops: Vec<&str> = ends.iter().map(|ends| &*ends[0].node).collect();
            assert_eq!(pops, ["pop.tokyo", "pop.frankfurt"]);
            let via = namespace(&blueprint, "client.osaka").routes[0].via;
            let holds = |end: &WireEndPlan| end.addresses.iter().any(|held| Some(held.ip()) == via);
            let entered = ends.iter().find(|ends| holds(&ends[0]));
            entered.expect("the route leads to a POP")[0].node.clone()
        };
        assert_eq!(entry(TWO_POPS), "pop.tokyo");
        let far = TWO_POPS.replace(
            r#"publish = ["tokyo", "frankfurt"]"#,
            r#"publish = ["frankfurt"]"#,
        );
        assert_eq!(entry(&far), "pop.frankfurt");
    }

    #[test]
    fn a_client_reaches_the_vip_from_its_own_address_and_the_pop_knows_the_way_back() {
        let blueprint = blueprint(TWO_POPS).expect("it can be built");
        let routes = &namespace(&blueprint, "client.osaka").routes;
        let own = &namespace(&blueprint, "client.osaka").addresses;
        let destinations: Vec<String> = routes
            .iter()
            .map(|route| route.destination.to_string())
            .collect();
        assert_eq!(destinations, ["203.0.113.10/32", "2001:db8:113::10/128"]);
        let sources: Vec<Prefix> = routes
            .iter()
            .filter_map(|route| route.source)
            .map(Prefix::host)
            .collect();
        assert_eq!(sources, *own);
        for pop in ["pop.tokyo", "pop.frankfurt"] {
            let pop = namespace(&blueprint, pop);
            assert!(pop.forwards);
            for address in own {
                assert!(
                    pop.routes.iter().any(|route| route.destination == *address),
                    "{} {address}",
                    pop.node
                );
            }
        }
    }

    #[test]
    fn every_tunnel_mouth_has_a_route_to_every_other() {
        let blueprint = blueprint(TWO_POPS).expect("it can be built");
        let tunnel_nodes = &blueprint.namespaces[..5];
        for node in tunnel_nodes {
            for other in tunnel_nodes.iter().filter(|other| other.node != node.node) {
                // The first two addresses are those of the mouth.
                for address in &other.addresses[..2] {
                    assert!(
                        node.routes
                            .iter()
                            .any(|route| route.destination == *address),
                        "{} {address}",
                        node.node
                    );
                }
            }
        }
    }

    #[test]
    fn what_a_lab_cannot_do_is_said_with_its_place() {
        let clash = TWO_POPS.replace("10.0.0.11", "169.254.7.7");
        let refusal = blueprint(&clash)
            .expect_err("the wires' own network")
            .to_string();
        assert!(refusal.contains("169.254.7.7"), "{refusal}");
    }
}
