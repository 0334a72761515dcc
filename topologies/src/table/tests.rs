//! What of a topology is in the table that its author publishes.

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
fn what_the_file_says_of_standby_checks_and_probes_is_in_the_table() {
    let topology = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/standby.toml"));
    let table = published(&topology);

    let probing = table.probing.expect("probing is on");
    assert_eq!(
        (probing.interval, probing.multiplier),
        (Duration::from_millis(50), 5)
    );
    let clb = |name: &str| {
        table
            .clbs
            .iter()
            .find(|clb| clb.name == name)
            .expect("a CLB")
    };
    let main = clb("gz-main");
    assert_eq!(
        (main.rst_on_unbind, main.unbind_drain, main.fail_open),
        (false, Some(Duration::from_secs(30)), false)
    );
    let checks = |name: &str| -> Vec<Option<Duration>> {
        let listeners = clb(name).listeners.iter();
        listeners
            .map(|listener| listener.health.as_ref().map(|check| check.interval))
            .collect()
    };
    assert_eq!(
        checks("gz-main"),
        [None, Some(Duration::from_secs(3))],
        "tick, web"
    );
    assert_eq!(checks("sg"), [None, None]);
    let backbone = table
        .paths
        .iter()
        .find(|path| path.name == "singapore-guangzhou")
        .expect("the link");
    assert!(matches!(backbone.ends, PathEnds::Backbone { .. }));

    let guangzhou = &table.regions[0];
    assert_eq!(
        guangzhou.clb_nodes.len(),
        2,
        "the added one has an id from the beginning"
    );
    let owner = |slot| guangzhou.slots.owners(slot).primary;
    let first = table
        .node_named("region.guangzhou.clb-1")
        .expect("the first");
    assert!((0..1_000).all(|slot| owner(slot) == first));
    let mesh = table
        .paths
        .iter()
        .any(|path| path.name == "region.guangzhou");
    assert!(mesh, "and a way to the other");
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
