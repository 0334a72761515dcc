//! The network that traces are written for: the shipped two POPs, and the tables of a change of its region.
//!
//! More clients than shipped, so that addresses differ; tunnels over IPv6 but for the one to Tokyo, so that both
//! underlays are there. The second table has another CLB node, another target on the first host and another
//! weight, the third takes the second host's target out of the rounds.

use std::fs;
use std::net::IpAddr;
use std::sync::Arc;

use anyedge_net::flow::{Address, Family, HashKey};
use anyedge_net::id::NodeId;
use anyedge_net::rng::Seed;
use anyedge_net::route_table::{Mechanisms, Path, RouteTable};
use anyedge_net::time::Instant;
use anyedge_topologies::Topology;

use crate::binary::root;

/// Clients of each population.
pub const CLIENTS: u32 = 64;

/// A topology and the tables that come into force in it.
pub struct Network {
    /// As it is before anything changes.
    pub topology: Topology,
    /// In the order of their revisions.
    pub tables: Vec<Arc<RouteTable>>,
}

impl Network {
    /// That of this file's header.
    ///
    /// # Panics
    /// When the shipped file no longer has the lines that are changed here.
    pub fn of_two_pops() -> Network {
        let file = root().join("topologies/two-pops.toml");
        let shipped = fs::read_to_string(file).expect("the topology is shipped");
        let before = changed(
            &shipped,
            &[
                (
                    "ccn.encap = \"gre-udp\"",
                    "ccn.encap = \"gre-udp\"\nccn.underlay = \"v6\"\nprobe = false",
                ),
                (
                    "scheduler = \"wrr\", targets",
                    "scheduler = \"wrr\", health = false, targets",
                ),
                ("rtt = \"52ms\"", "rtt = \"52ms\"\nunderlay = \"v4\""),
                // Two, so that the path among them is there from the beginning and paths keep their ids.
                ("clb_nodes = 1", "clb_nodes = 2"),
                ("[client.osaka]", "[client.osaka]\ncount = 64"),
                ("[client.berlin]", "[client.berlin]\ncount = 64"),
            ],
        );
        let after = changed(
            &before,
            &[
                ("clb_nodes = 2", "clb_nodes = 3"),
                (
                    "weight = 20 },",
                    "weight = 20 },\n{ ip = [\"10.0.0.13\", \"fd00:a::13\"], host = \"web-1\" },",
                ),
            ],
        );
        let (topology, grown) = (parsed(&before), parsed(&after));
        let first = author(&topology)
            .publish(Instant::ZERO)
            .expect("the topology is sound");
        let mut author = author(&grown);
        let mut publish = |weight| {
            // The first revision of this author is as old as the other's: it never comes into force.
            for (address, weight) in [("10.0.0.12", weight), ("fd00:a::12", weight)] {
                let address: Address = address.parse().expect("an address");
                let changed = author.set_weight("gz-main", "web", (address, 8_080), weight);
                changed.expect("the target is in the file");
            }
            author
                .publish(Instant::ZERO)
                .expect("the topology is sound")
        };
        publish(20);
        let tables = vec![first, publish(5), publish(0)];
        Network { topology, tables }
    }

    /// The address of client `number` of that family.
    pub fn client(&self, family: Family, number: u32) -> Address {
        match family {
            Family::V4 => self.topology.clients["osaka"].address(number).0.into(),
            Family::V6 => self.topology.clients["berlin"].address(number).1.into(),
        }
    }

    /// The VIP's address.
    pub fn vip(&self, family: Family) -> Address {
        let pair = self.topology.vips["game"].address;
        match family {
            Family::V4 => pair.v4.expect("it has both").into(),
            Family::V6 => pair.v6.expect("it has both").into(),
        }
    }

    /// Where packets of `node` to others come from.
    ///
    /// # Panics
    /// When no table has such a node.
    pub fn underlay(&self, node: &str, family: Family) -> IpAddr {
        let table = self.tables.last().expect("there are three");
        let id = table.node_named(node).expect("a node of the network");
        underlay_of(table, id, family)
    }
}

/// The tunnel address of a node.
pub fn underlay_of(table: &RouteTable, node: NodeId, family: Family) -> IpAddr {
    let node = &table.nodes[node.index()];
    match family {
        Family::V4 => node.underlay_v4.into(),
        Family::V6 => node.underlay_v6.into(),
    }
}

/// Whether `node` is at an end of `path`.
pub fn joins(table: &RouteTable, path: &Path, node: NodeId) -> bool {
    !table.peers_over(path, node).is_empty()
}

fn changed(text: &str, changes: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (from, to) in changes {
        assert_eq!(text.matches(from).count(), 1, "`{from}` in the file");
        text = text.replace(from, to);
    }
    text
}

fn parsed(text: &str) -> Topology {
    Topology::parse("two-pops.toml", text)
        .unwrap_or_else(|mistakes| panic!("the changes make sense: {mistakes:?}"))
}

fn author(topology: &Topology) -> anyedge_ccn::author::TableAuthor {
    let mut key = [0; 16];
    Seed(topology.seed)
        .stream("route-table", "hash key")
        .fill(&mut key);
    let mut author =
        anyedge_topologies::author(topology, HashKey::new(key)).expect("the topology is sound");
    // A trace is about single packets: what nodes send each other, or keep until a piece follows, has no place.
    author.set_mechanisms(Mechanisms {
        fragments: false,
        replication: false,
        bulk_sync: false,
        second_chance: false,
        ..Mechanisms::ALL
    });
    author
}
