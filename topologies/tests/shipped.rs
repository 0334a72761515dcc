//! Every topology that is shipped is read without a mistake, and says what its page says.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyedge_net::route_table::Probing;
use anyedge_topologies::{
    Convergence, Encap, LoadKind, Loss, Metric, Routes, Spot, Threshold, Topology,
};

/// All `*.toml` of this folder and of `bench`.
fn shipped() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = [root.to_owned(), root.join("bench")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).expect("the folder is there"))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name != "Cargo.toml" && name != "clippy.toml")
        })
        .collect();
    files.sort();
    files
}

fn load(name: &str) -> Topology {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    Topology::load(&path).unwrap_or_else(|mistakes| {
        let text: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        panic!("{}", text.join("\n"))
    })
}

#[test]
fn every_shipped_topology_loads_and_opens_with_a_comment() {
    let files = shipped();
    assert!(files.len() >= 11, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).expect("readable");
        assert!(
            text.starts_with("# "),
            "{} says what it shows",
            file.display()
        );
        assert!(Topology::load(&file).is_ok(), "{:?}", Topology::load(&file));
    }
}

#[test]
fn the_example_of_the_format_has_the_times_that_it_leaves_out() {
    let topology = load("tests/sample.toml");
    assert_eq!(
        (topology.duration, topology.drain),
        (Duration::from_secs(60), Duration::from_secs(10))
    );
    assert_eq!(
        (topology.seed, &topology.convergence),
        (1, &Convergence::default())
    );
    assert_eq!(topology.probing, Some(Probing::default()));
    let times = [
        (topology.announcing.withdraw_after, 1_000),
        (topology.announcing.readvertise_after, 5_000),
        (topology.publish_after, 1_000),
        (topology.table_delay, 50),
        (topology.slot_settle, 900_000),
    ];
    for (time, ms) in times {
        assert_eq!(time, Duration::from_millis(ms));
    }
}

#[test]
fn a_file_without_controllers_has_three_in_the_home_region() {
    let topology = load("tests/sample.toml");
    let controllers: Vec<(String, Spot)> = topology
        .controllers
        .values()
        .map(|controller| (controller.object(), controller.at.clone()))
        .collect();
    let home = || Spot::Region("guangzhou".to_owned());
    let expected = ["controller.a", "controller.b", "controller.c"];
    assert_eq!(
        controllers,
        expected.map(|name| (name.to_owned(), home())).to_vec()
    );
    assert_eq!(topology.election_timeout, Duration::from_secs(1));
    assert_eq!(topology.defaults.routes, Routes::Raft);
}

#[test]
fn controllers_give_every_shipped_topology_its_routes_but_the_benchmarks() {
    for file in shipped() {
        let topology = Topology::load(&file).expect("a shipped file has no mistake");
        let folder = file.parent().and_then(Path::file_name);
        let routes = match folder.and_then(|name| name.to_str()) {
            Some("bench") => Routes::Static,
            _ => Routes::Raft,
        };
        assert_eq!(topology.defaults.routes, routes, "{}", file.display());
    }
}

#[test]
fn the_election_timeout_is_ten_round_trips_between_the_farthest_controllers_or_as_given() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sample.toml");
    let text = fs::read_to_string(path).expect("readable");
    let apart = text.clone()
        + "[controller.x]\nat = \"tokyo\"\n[controller.y]\nat = \"frankfurt\"\n[controller.z]\nat = \"osaka\"\n";
    let read = |text: &str| Topology::parse("x.toml", text).expect("good");
    // Tokyo and Frankfurt are 52 + 178 ms apart; Osaka and Frankfurt 9,265 km, so 93.1 ms.
    assert_eq!(
        read(&apart).election_timeout,
        Duration::from_millis(10 * 230)
    );
    let given = apart.replace("[defaults]\n", "[defaults]\nelection_timeout = \"500ms\"\n");
    assert_eq!(read(&given).election_timeout, Duration::from_millis(500));
}

#[test]
fn the_example_of_the_format_gives_every_default() {
    let topology = load("tests/sample.toml");
    assert_eq!(topology.name, "sample");
    let link = topology
        .link_between("tokyo", "guangzhou")
        .expect("one link");
    assert_eq!(
        (link.rtt, link.line.loss, link.encap),
        (Duration::from_millis(52), Loss::Share(10), Encap::GreUdp)
    );
    let hosts: Vec<&str> = topology.hosts.keys().map(String::as_str).collect();
    assert_eq!(hosts, ["web-1", "web-2"]);
    assert!(
        topology
            .hosts
            .values()
            .all(|host| host.region == "guangzhou")
    );
    let weights: Vec<u8> = topology.targets["web"]
        .servers
        .iter()
        .map(|server| server.weight)
        .collect();
    assert_eq!(weights, [10, 20]);
    let load = &topology.clients["osaka"].loads[0];
    assert_eq!(
        load.kind,
        LoadKind::Request {
            request_bytes: 1_024,
            answer_bytes: 10_240
        }
    );
    assert!(
        load.direct,
        "a round trip to the home region asks for the direct path"
    );
    assert_eq!(
        (load.listener.as_str(), load.timeout),
        ("web", Duration::from_secs(5))
    );
    assert_eq!(topology.faults[0].to_string(), "down pop.tokyo");
    let expected = &topology.slos[0].expect[0];
    assert_eq!(expected.metric, Metric::P99);
    assert_eq!(
        expected.value,
        Threshold::Duration(Duration::from_millis(250))
    );
    let nodes: Vec<&str> = topology
        .home_region("game")
        .clb_nodes
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    assert_eq!(
        nodes,
        [
            "region.guangzhou.clb-1",
            "region.guangzhou.clb-2",
            "region.guangzhou.clb-3"
        ]
    );
}
