//! From a topology to the author of its route tables, the same for the simulator and for live networks.
//!
//! Nodes go by their full names. A backbone path is named after its link, the path between a region and a host
//! after the host (`host.web-1`), that among CLB nodes after the region. The latter two are wrapped as
//! `[defaults] ccn` says, within the host link's MTU.
//! A server with two addresses becomes two targets, IPv4 first. Flows are hashed on the whole 5-tuple.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyedge_ccn::author::TableAuthor;
use anyedge_ccn::author::error::AuthorError;
use anyedge_ccn::author::plan::{
    ClbPlan, EndsPlan, HostPlan, ListenerPlan, NodePlan, PathPlan, RegionPlan, SchedulerPlan,
    TargetPlan, VipPlan,
};
use anyedge_net::flow::{Family, HashKey};
use anyedge_net::route_table::HealthCheck;
use anyedge_net::wire::{outer, tcp, udp};

use crate::addresses::AddressPair;
use crate::clb::{Clb, Listener, Protocol, Scheduler};
use crate::defaults::{Defaults, Encap, Underlay};
use crate::host::Host;
use crate::line::Line;
use crate::link::{Link, LinkEnds};
use crate::names::Kind;
use crate::targets::Server;
use crate::topology::Topology;

/// The author of the route tables of `topology`, whose flows are hashed with `hash_key`.
///
/// # Errors
/// [`AuthorError::Unknown`] when a listener's targets are not there, which in a checked topology they are.
pub fn author(topology: &Topology, hash_key: HashKey) -> Result<TableAuthor, AuthorError> {
    let mut author = TableAuthor::new(hash_key);
    for pop in topology.pops.values() {
        author.add_pop(node(Kind::Pop.object(&pop.name), pop.underlay));
    }
    for region in topology.regions.values() {
        let clb_nodes = region.clb_nodes.iter();
        author.add_region(RegionPlan {
            name: region.name.clone(),
            clb_nodes: clb_nodes
                .map(|clb| node(clb.name.clone(), clb.underlay))
                .collect(),
        });
        if region.clb_nodes.len() > 1 {
            author.add_path(mesh_path(&region.name, &topology.defaults));
        }
    }
    for host in topology.hosts.values() {
        let plan = node(Kind::Host.object(&host.name), host.underlay);
        author.add_host(HostPlan {
            node: plan,
            region: host.region.clone(),
        });
        author.add_path(fabric_path(host, &topology.defaults));
    }
    for link in topology.links.values() {
        author.add_path(ccn_path(link));
    }
    for clb in topology.clbs.values() {
        author.add_clb(clb_plan(clb, topology)?);
    }
    for vip in topology.vips.values() {
        author.add_vip(VipPlan {
            name: vip.name.clone(),
            addresses: vip.address.iter().map(Into::into).collect(),
            clb: vip.clb.clone(),
            standby: Vec::new(),
            publishers_min: 1,
            publishers: vip
                .publish
                .iter()
                .map(|pop| Kind::Pop.object(pop))
                .collect(),
        });
    }
    Ok(author)
}

fn node(name: String, underlay: AddressPair) -> NodePlan {
    NodePlan {
        name,
        underlay_v4: underlay.v4.unwrap_or(Ipv4Addr::UNSPECIFIED),
        underlay_v6: underlay.v6.unwrap_or(Ipv6Addr::UNSPECIFIED),
    }
}

fn ccn_path(link: &Link) -> PathPlan {
    PathPlan {
        name: link.name.clone(),
        ends: match &link.ends {
            LinkEnds::Ccn { pop, region } => EndsPlan::Ccn {
                pop: Kind::Pop.object(pop),
                region: region.clone(),
            },
            LinkEnds::Backbone { regions } => EndsPlan::Backbone {
                regions: regions.clone(),
            },
        },
        encap: encap(link.encap),
        underlay: family(link.underlay),
        mtu: mtu(&link.line),
        rtt: link.rtt,
    }
}

fn fabric_path(host: &Host, defaults: &Defaults) -> PathPlan {
    let name = Kind::Host.object(&host.name);
    PathPlan {
        ends: EndsPlan::Fabric { host: name.clone() },
        name,
        encap: encap(defaults.encap),
        underlay: family(defaults.underlay),
        mtu: mtu(&host.line),
        rtt: host.rtt,
    }
}

/// The path of a region's CLB nodes among themselves: like that of its hosts.
fn mesh_path(region: &str, defaults: &Defaults) -> PathPlan {
    PathPlan {
        name: Kind::Region.object(region),
        ends: EndsPlan::Mesh {
            region: region.to_owned(),
        },
        encap: encap(defaults.encap),
        underlay: family(defaults.underlay),
        mtu: mtu(&defaults.host),
        rtt: defaults.host_rtt,
    }
}

/// An IP packet has at most 65,535 bytes, whatever the link would take.
fn mtu(line: &Line) -> u16 {
    u16::try_from(line.mtu_bytes).unwrap_or(u16::MAX)
}

const fn encap(encap: Encap) -> outer::Encap {
    match encap {
        Encap::Gre => outer::Encap::Gre,
        Encap::GreUdp => outer::Encap::GreUdp,
    }
}

const fn family(underlay: Underlay) -> Family {
    match underlay {
        Underlay::V4 => Family::V4,
        Underlay::V6 => Family::V6,
    }
}

fn clb_plan(clb: &Clb, topology: &Topology) -> Result<ClbPlan, AuthorError> {
    let listener = |listener: &Listener| {
        let targets = topology.targets.get(&listener.targets);
        let targets = targets.ok_or_else(|| AuthorError::Unknown {
            by: format!("listener `{}/{}`", clb.name, listener.name),
            kind: "targets",
            name: listener.targets.clone(),
        })?;
        Ok(ListenerPlan {
            name: listener.name.clone(),
            protocol: match listener.protocol {
                Protocol::Tcp => tcp::PROTOCOL,
                Protocol::Udp => udp::PROTOCOL,
            },
            port: listener.port,
            scheduler: match listener.scheduler {
                Scheduler::Wrr => SchedulerPlan::WeightedRoundRobin,
                Scheduler::Maglev => SchedulerPlan::Maglev,
            },
            health: match listener.protocol {
                Protocol::Tcp => Some(HealthCheck::default()),
                Protocol::Udp => None,
            },
            targets: targets.servers.iter().flat_map(target_plans).collect(),
        })
    };
    Ok(ClbPlan {
        name: clb.name.clone(),
        region: clb.region.clone(),
        client_affinity: false,
        rst_on_unbind: true,
        unbind_drain: None,
        fail_open: true,
        listeners: clb
            .listeners
            .values()
            .map(listener)
            .collect::<Result<_, _>>()?,
    })
}

/// One target for each address of `server`.
fn target_plans(server: &Server) -> impl Iterator<Item = TargetPlan> {
    server.address.iter().map(|address| TargetPlan {
        address: address.into(),
        port: server.port,
        weight: server.weight,
        host: server.host_object(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use anyedge_net::route_table::{NodeKind, PathEnds, RouteTable};
    use anyedge_net::time::Instant;

    use super::*;

    const KEY: HashKey = HashKey::new([1; 16]);

    fn load(path: &Path) -> Topology {
        Topology::load(path).unwrap_or_else(|mistakes| panic!("{}: {mistakes:?}", path.display()))
    }

    fn shipped() -> Vec<PathBuf> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folders = [root.to_owned(), root.join("bench")];
        let files = folders
            .iter()
            .flat_map(|folder| fs::read_dir(folder).expect("it is there"));
        let paths = files.map(|file| file.expect("a readable folder").path());
        let is_topology = |path: &PathBuf| {
            path.extension().is_some_and(|end| end == "toml")
                && !path.ends_with("Cargo.toml")
                && !path.ends_with("clippy.toml")
        };
        paths.filter(is_topology).collect()
    }

    fn published(topology: &Topology) -> RouteTable {
        let mut author = author(topology, KEY).expect("a checked topology");
        let table = author
            .publish(Instant::ZERO)
            .unwrap_or_else(|error| panic!("{}: {error}", topology.name));
        RouteTable::clone(&table)
    }

    #[test]
    fn every_shipped_topology_publishes_a_table() {
        let files = shipped();
        assert!(files.len() >= 4, "{files:?}");
        for file in files {
            let topology = load(&file);
            let table = published(&topology);
            let clb_nodes: usize = topology.regions.values().map(|r| r.clb_nodes.len()).sum();
            let nodes = topology.pops.len() + clb_nodes + topology.hosts.len();
            assert_eq!(table.nodes.len(), nodes, "{}", file.display());
            let regions = topology.regions.values();
            let meshes = regions.filter(|region| region.clb_nodes.len() > 1).count();
            assert_eq!(
                table.paths.len(),
                topology.links.len() + topology.hosts.len() + meshes
            );
            assert_eq!(table.clbs.len(), topology.clbs.len());
        }
    }

    #[test]
    fn the_smallest_topology_becomes_the_table_that_it_describes() {
        let topology = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("two-pops.toml"));
        let table = published(&topology);
        let node = |name: &str| table.node_named(name).expect("a node of the table");
        let tokyo = &table.nodes[node("pop.tokyo").index()];
        assert_eq!(tokyo.kind, NodeKind::Pop);
        assert_eq!(Some(tokyo.underlay_v4), topology.pops["tokyo"].underlay.v4);
        assert_eq!(table.regions[0].clb_nodes, [node("region.guangzhou.clb-1")]);

        let path = |name: &str| {
            table
                .paths
                .iter()
                .find(|path| path.name == name)
                .expect("a path")
        };
        let backbone = path("tokyo-guangzhou");
        assert_eq!(backbone.rtt, Duration::from_millis(52));
        assert_eq!(
            backbone.inner_mtu(),
            1_464,
            "GRE in UDP over IPv4, 1,500 bytes"
        );
        let fabric = path("host.web-1");
        assert!(matches!(fabric.ends, PathEnds::Fabric { host, .. } if host == node("host.web-1")));
        assert_eq!(table.clbs[0].inner_mtu, 1_464);

        let vip = table
            .vips
            .get(&"203.0.113.10".parse().expect("an address"))
            .expect("the VIP");
        assert_eq!(vip.publishers, [node("pop.frankfurt"), node("pop.tokyo")]);
        let web = table.clbs[0]
            .listeners
            .iter()
            .find(|listener| listener.name == "web");
        let targets = &web.expect("listener web").targets;
        let weights: Vec<(String, u8)> = targets
            .iter()
            .map(|target| (target.address.to_string(), target.weight))
            .collect();
        let expected = [
            ("10.0.0.11", 10),
            ("fd00:a::11", 10),
            ("10.0.0.12", 20),
            ("fd00:a::12", 20),
        ];
        assert_eq!(
            weights,
            expected.map(|(address, weight)| (address.to_owned(), weight))
        );
    }

    #[test]
    fn targets_that_are_not_there_are_refused_by_name() {
        let mut topology = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("two-pops.toml"));
        topology.targets.clear();
        let error = author(&topology, KEY).expect_err("the listeners have no targets");
        assert_eq!(
            error.to_string(),
            "listener `gz-main/tick` refers to targets `web`, which does not exist"
        );
    }
}
