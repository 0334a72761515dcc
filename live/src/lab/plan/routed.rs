//! The part of a plan that routers are in: a router beside each POP, on a wire of the addresses that the topology gives
//! the two, and what runs in it and in the populations.

use std::net::IpAddr;

use anyedge_topologies::{AddressPair, Client, Kind, Topology};
use anyhow::Result;

use super::{Drawing, routes_to, wire_mtu};
use crate::lab::blueprint::{NamespacePlan, WireEndPlan, WirePlan};
use crate::lab::routers::{self, PublicWire, RouterPlan};
use crate::prefix::Prefix;

/// A router's interface towards its POP.
const ROUTER_INTERFACE: &str = "pop0";

/// What moves clients' routes, for people to see.
pub(super) const fn entered_by(topology: &Topology, is_routed: bool) -> &'static str {
    match (is_routed, topology.defaults.bgp) {
        (true, _) => "BGP: BIRD beside every POP and in every population",
        (false, Some(_)) => "static routes, which nothing moves: BIRD is not installed",
        (false, None) => "static routes, which nothing moves: the file says bgp = false",
    }
}

impl<'a> Drawing<'a> {
    /// The wire of that number between a population with these addresses and the router of a POP.
    pub(super) fn add_public_wire(
        &mut self,
        (client, own): (&'a Client, AddressPair),
        pop: &'a str,
        number: usize,
    ) -> Result<()> {
        let Some(router) = self.topology.routers.get(pop) else {
            return Ok(());
        };
        let (router_end, client_end) = self.add_wire(
            (&router.object(), format!("c{}", self.wires.len())),
            (&Kind::Client.object(&client.name), format!("pop{number}")),
            client.line.mtu_bytes,
        );
        let back = routes_to(own, router.address, None);
        self.namespace(&Kind::Pop.object(pop))?.routes.extend(back);
        let wire = PublicWire {
            pop,
            router: router_end,
            client: client_end,
        };
        self.public.push((client, wire));
        Ok(())
    }

    /// The router of each POP, and the wire between them.
    pub(super) fn add_routers(&mut self) {
        let clients = self.topology.clients.values();
        let mtu = wire_mtu(clients.map(|client| client.line.mtu_bytes));
        for router in self.topology.routers.values() {
            let end = |node: String, interface: &str, own: AddressPair, other: AddressPair| {
                let others: Vec<IpAddr> = other.iter().collect();
                let pairs = own.iter().zip(others);
                WireEndPlan {
                    node,
                    interface: interface.to_owned(),
                    addresses: pairs.filter_map(|(ip, other)| around(ip, other)).collect(),
                }
            };
            let pop = Kind::Pop.object(&router.name);
            self.wires.push(WirePlan {
                ends: [
                    end(pop, "edge0", router.pop, router.address),
                    end(
                        router.object(),
                        ROUTER_INTERFACE,
                        router.address,
                        router.pop,
                    ),
                ],
                mtu,
            });
            self.namespaces.push(NamespacePlan {
                node: router.object(),
                forwards: true,
                addresses: Vec::new(),
                routes: Vec::new(),
            });
        }
    }

    /// The routers beside POPs and in populations.
    pub(super) fn router_plans(&self) -> Vec<RouterPlan> {
        if !self.is_routed {
            return Vec::new();
        }
        let topology = self.topology;
        let beside = topology.routers.values().map(|router| {
            let own = self
                .public
                .iter()
                .filter(|(_, wire)| wire.pop == router.name);
            let own: Vec<_> = own.copied().collect();
            routers::beside_pop(topology, router, ROUTER_INTERFACE, &own)
        });
        let of_clients = topology.clients.values().map(|client| {
            let wires = self.public.iter().filter(|(of, _)| of.name == client.name);
            let wires: Vec<_> = wires.map(|(_, wire)| *wire).collect();
            let (v4, v6) = client.address(0);
            let own = AddressPair {
                v4: Some(v4),
                v6: Some(v6),
            };
            routers::of_client(topology, client, own, &wires)
        });
        beside.chain(of_clients).collect()
    }
}

/// An address with the shortest length that has it and the other end in one network.
fn around(ip: IpAddr, other: IpAddr) -> Option<Prefix> {
    let same = match (ip, other) {
        (IpAddr::V4(ip), IpAddr::V4(other)) => (ip.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(ip), IpAddr::V6(other)) => (ip.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => return None,
    };
    Prefix::new(ip, u8::try_from(same).ok()?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::plan_with;
    use super::*;
    use crate::lab::blueprint::Blueprint;

    const TWO_POPS: &str = include_str!("../../../../topologies/two-pops.toml");

    fn blueprint(more: &str) -> Blueprint {
        let text = format!("{TWO_POPS}\n{more}");
        let topology = Topology::parse("two-pops.toml", &text).expect("a topology");
        let lab = "demo".parse().expect("a lab's name");
        let bird = Path::new("/usr/sbin/bird");
        plan_with(&topology, Path::new("/two-pops.toml"), &lab, Some(bird))
            .expect("it can be built")
    }

    fn config<'b>(blueprint: &'b Blueprint, node: &str) -> &'b str {
        let mut routers = blueprint.routers.iter();
        let router = routers.find(|router| router.node == node);
        &router.expect("a router of the lab").text
    }

    #[test]
    fn clients_have_wires_to_the_routers_of_their_pops_and_no_routes_of_their_own() {
        let blueprint = blueprint("");
        let ends = blueprint.wires.iter().map(|wire| &wire.ends);
        let of_osaka = ends.filter(|ends| ends[1].node == "client.osaka");
        let routers: Vec<&str> = of_osaka.map(|ends| &*ends[0].node).collect();
        assert_eq!(routers, ["router.tokyo", "router.frankfurt"]);
        let namespaces = blueprint.namespaces.iter();
        let edge = namespaces.filter(|own| {
            ["router.", "client."]
                .iter()
                .any(|kind| own.node.starts_with(kind))
        });
        assert!(edge.clone().count() == 4 && edge.clone().all(|own| own.routes.is_empty()));
        let started = blueprint.processes[..4].iter();
        assert!(
            started
                .clone()
                .all(|process| process.name.starts_with("bird."))
        );
    }

    #[test]
    fn a_population_prefers_the_router_with_the_least_round_trip() {
        let blueprint = blueprint("");
        let preference = |of: &str| -> u64 {
            let text = config(&blueprint, "client.osaka");
            let session = text.split("protocol bgp ").find(|own| own.starts_with(of));
            let told = session.and_then(|own| own.split("bgp_local_pref = ").nth(1));
            let figure = told.and_then(|told| told.split(';').next());
            figure
                .expect("each session has one")
                .parse()
                .expect("a figure")
        };
        assert_eq!(
            preference("router_tokyo") - preference("router_frankfurt"),
            246_910 - 8_320
        );
    }

    #[test]
    fn a_router_asks_of_its_pop_what_the_file_says() {
        let more = "[router.tokyo]\nasn = 64601\nmd5 = \"key\"\ngtsm = true\nbfd = false\n";
        let blueprint = blueprint(more);
        let tokyo = config(&blueprint, "router.tokyo");
        for line in ["as 64601;", "password \"key\";", "ttl security on;"] {
            assert!(tokyo.contains(line), "{line}: {tokyo}");
        }
        assert!(!tokyo.contains("bfd yes"), "{tokyo}");
        let frankfurt = config(&blueprint, "router.frankfurt");
        assert!(frankfurt.contains("bfd yes") && !frankfurt.contains("password"));
    }
}
