//! The matrix: what crashes, returns, drains and additions do to flows of every pattern.
//!
//! A run strikes one thing (a POP, a backbone link, a CLB node) in one way, while clients download, upload,
//! fall silent for a minute and speak again, download on half-closed connections, and tick over UDP. So a run
//! gives five cells, and every cell demands the same: no flow breaks, every byte is right, and no flow waits
//! longer than detection, convergence and two of the sender's timeouts. All flows are established when the
//! fault comes, so none is in its handshake.
//!
//! Ten seeds a cell by default. All of it, 200 seeds and 1,200 flows and more a cell:
//! `ANYEDGE_MATRIX_SEEDS=200 cargo test --release -p anyedge-tests --test matrix -- --nocapture`.

#![allow(
    clippy::print_stdout,
    reason = "who plays all seeds wants to see each cell"
)]

use std::collections::BTreeMap;
use std::env;

use anyedge_net::rng::Seed;
use anyedge_net::route_table::Mechanisms;
use anyedge_sim::report::{ClientReport, LoadReport, Report};
use anyedge_sim::run::Options;
use anyedge_tests::story;

/// Seconds until a node's own probes find another dead: 100 ms x 3, and one more for what was on its way.
const DETECTION_S: f64 = 0.4;
/// Until a POP's router misses it: three packets of BFD at 300 ms.
const MISSED_S: f64 = 0.9;
/// Seconds until the Internet has heard of a POP, as the file says.
const CONVERGENCE_S: f64 = 3.0;
/// Seconds between two pieces of a paced transfer, at the very most.
const PACE_S: f64 = 0.2;
/// The least retransmission timeout of the simulated hosts, in seconds (RFC 6298 §2.4).
const RTO_MIN_S: f64 = 1.0;

/// Three POPs, three CLB nodes, ten targets under WRR. Everybody's flows begin between 5 s and 9 s.
fn network(fault: &str) -> String {
    let servers: Vec<String> = (1..=10)
        .map(|n| format!("    {{ ip = \"10.0.0.{n}\", host = \"web-{n}\" }},"))
        .collect();
    let link = |name: &str, from: &str, rtt: u32| {
        format!("[link.{name}]\nbetween = [\"{from}\", \"region.home\"]\nrtt = \"{rtt}ms\"\n")
    };
    let links = [
        link("west-home", "pop.west", 20),
        link("west-home-spare", "pop.west", 27),
        link("mid-home", "pop.mid", 30),
        link("east-home", "pop.east", 50),
    ];
    let kinds = [
        "{ kind = \"download\", rate = \"2/s\", size = \"240KiB\", pace = \"8KiB/s\"",
        "{ kind = \"upload\", rate = \"2/s\", size = \"240KiB\", pace = \"8KiB/s\"",
        "{ kind = \"idle\", rate = \"2/s\", idle = \"60s\"",
        "{ kind = \"half-closed\", rate = \"2/s\", size = \"240KiB\", pace = \"8KiB/s\"",
    ];
    let tcp: Vec<String> = kinds
        .iter()
        .map(|kind| format!("    {kind}, start = \"5s\", stop = \"9s\", timeout = \"60s\", to = \"game:web\" }},"))
        .collect();
    let tick = "    { kind = \"tick\", rate = \"30/s\", size = \"100B\", start = \"5s\", stop = \"40s\", to = \"game:tick\" },";
    let client = |name: &str, rtts: [u32; 3]| {
        let [west, mid, east] = rtts;
        format!(
            "[client.{name}]\ncount = 6\npublic = {{ west = \"{west}ms\", mid = \"{mid}ms\", east = \"{east}ms\" }}\nload = [\n{}\n{tick}\n]\n",
            tcp.join("\n")
        )
    };
    format!(
        "schema = 1\nname = \"matrix\"\nduration = \"40s\"\ndrain = \"80s\"\nconvergence = \"3s\"\nslot_settle = \"5s\"\n\
         [defaults]\nflows_max = 2048\n\
         [vip.game]\naddress = [\"203.0.113.10\"]\nclb = \"main\"\n\
         [pop.west]\nlat = 39\nlon = -9\n[pop.mid]\nlat = 48\nlon = 16\n[pop.east]\nlat = 41\nlon = 29\n\
         [region.home]\nlat = 50\nlon = 9\nclb_nodes = 3\n{}\
         [clb.main]\nregion = \"home\"\n\
         listener.web = {{ port = \"tcp/80\", scheduler = \"wrr\", targets = \"web\" }}\n\
         listener.tick = {{ port = \"udp/7000\", scheduler = \"wrr\", targets = \"web\" }}\n\
         [targets.web]\nport = 8080\nservers = [\n{}\n]\n{}{}\
         [[fault]]\n{fault}\n",
        links.concat(),
        servers.join("\n"),
        client("near", [8, 40, 70]),
        client("far", [60, 12, 35]),
    )
}

fn play(network: &str, seed: u64, mechanisms: Mechanisms) -> Report {
    let options = Options {
        seed: Some(Seed(seed)),
        mechanisms,
        ..Options::default()
    };
    story::play(network, &options)
}

fn seeds() -> u64 {
    match env::var("ANYEDGE_MATRIX_SEEDS") {
        Ok(text) => text.parse().expect("ANYEDGE_MATRIX_SEEDS is a number"),
        Err(_) => 10,
    }
}

/// The longest that a flow may wait for its next byte when it is cut off for `outage` seconds: the sender's
/// timeouts double from the first one on, and the one that runs when the way is open again may run twice.
fn gap_allowed(outage: f64) -> f64 {
    let (mut waited, mut rto) = (0.0, RTO_MIN_S);
    while waited + rto <= outage {
        waited += rto;
        rto *= 2.0;
    }
    outage + 2.0 * rto + PACE_S
}

fn loads(report: &Report) -> impl Iterator<Item = (&ClientReport, &LoadReport)> {
    let clients = report.clients.iter();
    clients.flat_map(|client| client.loads.iter().map(move |load| (client, load)))
}

/// What a cell has seen in all of its runs.
#[derive(Default)]
struct Cell {
    flows: u64,
    gap_s: f64,
}

/// Plays `fault` with every seed and judges the five cells that it gives.
fn no_flow_breaks(what: &str, fault: &str, outage: f64) {
    let mut cells: BTreeMap<&str, Cell> = BTreeMap::new();
    let allowed = gap_allowed(outage);
    for seed in 1..=seeds() {
        let report = play(&network(fault), seed, Mechanisms::ALL);
        for (client, load) in loads(&report) {
            let place = format!("{what}, seed {seed}: {} of {}", load.kind, client.name);
            let requests = &load.service.requests;
            assert_eq!(load.broken_flows, 0, "{place}: {requests:?}");
            if load.kind != "tick" {
                assert!(requests.failed.is_empty(), "{place}: {requests:?}");
            }
            assert!(
                load.gap_s <= allowed,
                "{place}: {} s without a byte, {allowed} s allowed",
                load.gap_s
            );
            let cell = cells.entry(load.kind).or_default();
            // Six hosts tick, each from one socket.
            cell.flows += if load.kind == "tick" {
                6
            } else {
                requests.sent
            };
            cell.gap_s = cell.gap_s.max(load.gap_s);
        }
    }
    assert_eq!(cells.len(), 5, "a pattern is missing");
    for (kind, cell) in &cells {
        assert!(cell.flows >= 5 * seeds(), "{what}: {kind}");
        println!(
            "{what:<24} {kind:<12} {:>6} flows, none broken, longest gap {:.2} s of {allowed:.1}",
            cell.flows, cell.gap_s
        );
    }
}

/// Broken TCP flows among all, over every seed.
fn broken_share(fault: &str, mechanisms: Mechanisms) -> (u64, u64) {
    let mut counts = (0, 0);
    // From controllers a table reaches POPs by the network, and bulk sync is mostly done before they use it.
    let network = network(fault).replace("[defaults]\n", "[defaults]\nroutes = \"static\"\n");
    for seed in 1..=seeds() {
        let report = play(&network, seed, mechanisms);
        for (_, load) in loads(&report).filter(|(_, load)| load.kind != "tick") {
            counts.0 += load.broken_flows;
            counts.1 += load.service.requests.sent;
        }
    }
    counts
}

const NODE_CRASH: &str = "at = \"20s\"\ndown = \"region.home.clb-2\"";
const NODE_RETURN: &str = "at = \"12s\"\nfor = \"8s\"\ndown = \"region.home.clb-2\"";

#[test]
fn flows_survive_a_pop_that_crashes() {
    let fault = "at = \"20s\"\ndown = \"pop.west\"";
    no_flow_breaks("POP crash", fault, MISSED_S + CONVERGENCE_S);
}

#[test]
fn flows_survive_a_pop_that_returns() {
    let fault = "at = \"12s\"\nfor = \"8s\"\ndown = \"pop.west\"";
    no_flow_breaks("POP return", fault, MISSED_S + CONVERGENCE_S);
}

#[test]
fn flows_survive_a_pop_that_is_drained() {
    no_flow_breaks("POP drain", "at = \"20s\"\ndrain = \"pop.west\"", 0.0);
}

#[test]
fn flows_survive_a_pop_that_is_added() {
    let fault = "at = \"0s\"\nfor = \"20s\"\ndown = \"pop.west\"";
    no_flow_breaks("POP added", fault, 0.0);
}

#[test]
fn flows_survive_a_link_that_crashes() {
    let fault = "at = \"20s\"\ndown = \"link.west-home\"";
    no_flow_breaks("link crash", fault, DETECTION_S);
}

#[test]
fn flows_survive_a_link_that_returns() {
    let fault = "at = \"12s\"\nfor = \"8s\"\ndown = \"link.west-home\"";
    no_flow_breaks("link return", fault, DETECTION_S);
}

#[test]
fn flows_survive_a_link_that_is_drained() {
    no_flow_breaks(
        "link drain",
        "at = \"20s\"\ndrain = \"link.west-home\"",
        0.0,
    );
}

#[test]
fn flows_survive_a_link_that_is_added() {
    let fault = "at = \"0s\"\nfor = \"20s\"\ndown = \"link.west-home\"";
    no_flow_breaks("link added", fault, 0.0);
}

#[test]
fn flows_survive_a_clb_node_that_crashes() {
    no_flow_breaks("CLB node crash", NODE_CRASH, DETECTION_S);
}

#[test]
fn flows_survive_a_clb_node_that_returns() {
    no_flow_breaks("CLB node return", NODE_RETURN, DETECTION_S);
}

/// Each CLB node crashes for so many tenths of a second, and the next one so many after it is back.
fn in_turn(down: u32, rest: u32) -> String {
    let fault = |(nth, node): (u32, u32)| {
        let (at, down) = (120 + nth * (down + rest), down);
        format!(
            "at = \"{}ms\"\nfor = \"{}ms\"\ndown = \"region.home.clb-{node}\"\n",
            at * 100,
            down * 100
        )
    };
    let faults: Vec<String> = (0..).zip([2, 1, 3, 2]).map(fault).collect();
    faults.join("[[fault]]\n")
}

#[test]
fn flows_survive_all_clb_nodes_that_crash_in_turn() {
    // Too short for a table to change, as long as that takes, and longer.
    for (down, rest) in [(5, 10), (10, 30), (20, 30)] {
        let what = format!("CLB nodes in turn, {down}00 ms");
        // A second outage may come before a sender's timeout has passed that the first one began.
        let outage = if rest < 30 { RTO_MIN_S } else { DETECTION_S };
        no_flow_breaks(&what, &in_turn(down, rest), outage);
    }
}

#[test]
fn without_bulk_sync_the_crash_of_one_clb_node_after_the_other_breaks_flows() {
    let without = Mechanisms {
        bulk_sync: false,
        ..Mechanisms::ALL
    };
    let (broken, flows) = broken_share(&in_turn(5, 10), without);
    println!("without bulk sync: {broken} of {flows} flows broken");
    assert!(broken > 0, "of {flows}");
}

#[test]
fn flows_survive_a_clb_node_that_is_drained() {
    let fault = "at = \"20s\"\ndrain = \"region.home.clb-2\"";
    no_flow_breaks("CLB node drain", fault, 0.0);
}

#[test]
fn flows_survive_a_clb_node_that_is_added() {
    let fault = "at = \"20s\"\nadd = \"region.home.clb-4\"";
    no_flow_breaks("CLB node added", fault, 0.0);
}

#[test]
fn without_replication_a_crash_of_a_clb_node_breaks_a_fifth_of_all_flows_and_more() {
    let without = Mechanisms {
        replication: false,
        bulk_sync: false,
        ..Mechanisms::ALL
    };
    let (broken, flows) = broken_share(NODE_CRASH, without);
    println!("without replication: {broken} of {flows} flows broken");
    assert!(broken * 5 >= flows, "{broken} of {flows}");
}

#[test]
fn without_the_second_chance_the_return_of_a_clb_node_breaks_flows() {
    let without = Mechanisms {
        second_chance: false,
        ..Mechanisms::ALL
    };
    let (broken, flows) = broken_share(NODE_RETURN, without);
    println!("without the second chance: {broken} of {flows} flows broken");
    assert!(broken > 0, "of {flows}");
}
