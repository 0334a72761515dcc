//! Backbone links as gRPC streams and as QUIC connections: every shipped topology over them, and what a loss costs.

use anyedge_net::drop_reason::DropReason;
use anyedge_sim::report::Report;
use anyedge_sim::run::{Options, run};
use anyedge_tests::binary::root;
use anyedge_topologies::Topology;

const STREAMS: &str = "defaults.ccn.encap=grpc";
const DATAGRAMS: &str = "defaults.ccn.encap=quic";
const LINUX_LIKE: &str = "defaults.tcp=linux-like";
/// The drills that keep their service levels over both.
const DRILLS: [&str; 10] = [
    "clb-node-added.toml",
    "clb-node-down.toml",
    "controllers-down.toml",
    "global-14.toml",
    "grey-link.toml",
    "link-down.toml",
    "pop-down.toml",
    "pop-drain.toml",
    "region-down.toml",
    "syn-flood.toml",
];

fn ran(name: &str, overrides: &[&str]) -> Report {
    let file = root().join("topologies").join(name);
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    let topology = Topology::load_with(&file, &overrides)
        .unwrap_or_else(|mistakes| panic!("{name}: {}", mistakes[0]));
    run(&topology, &Options::default(), &mut |_| {}).expect("it builds")
}

fn dropped(report: &Report, reason: DropReason) -> u64 {
    report.drops.get(reason.name()).copied().unwrap_or(0)
}

fn missed(report: &Report) -> Vec<(&str, &str)> {
    let missed = report.slos.iter().filter(|slo| !slo.kept);
    missed
        .map(|slo| (slo.of.as_str(), slo.expect.as_str()))
        .collect()
}

/// What a lab of packets promises holds over streams as well, but for one promise: smoltcp's congestion window opens from
/// two segments, so that at first probes wait for it too, Frankfurt has no path for a moment, and two of Berlin's ticks are lost.
#[test]
fn every_shipped_topology_runs_over_streams_and_keeps_its_service_levels_but_one() {
    for name in DRILLS {
        let report = ran(name, &[STREAMS]);
        assert_eq!(missed(&report), [], "{name}");
    }
    let report = ran("two-pops.toml", &[STREAMS]);
    assert_eq!(missed(&report), [("client.berlin", "success >= 99.9%")]);
    assert!(
        dropped(&report, DropReason::StreamLost) > 0,
        "{:?}",
        report.drops
    );
}

#[test]
fn every_shipped_topology_runs_over_datagrams_and_keeps_its_service_levels() {
    for name in DRILLS.into_iter().chain(["two-pops.toml"]) {
        let report = ran(name, &[DATAGRAMS]);
        assert_eq!(missed(&report), [], "{name}");
    }
}

/// Ten segments at once, of which the tunnel's window takes a part: what waits for it holds up no probe.
#[test]
fn a_burst_into_a_link_that_has_just_begun_leaves_its_path_alive() {
    for kind in [STREAMS, DATAGRAMS] {
        let report = ran("two-pops.toml", &[kind, LINUX_LIKE]);
        assert_eq!(missed(&report), [], "{kind}");
        assert_eq!(dropped(&report, DropReason::NoPath), 0, "{kind}");
    }
}

/// A CLB node dies and comes back while clients' packets travel in streams; controllers find out and write both tables,
/// with certificates on either network or without.
#[test]
fn controllers_write_the_tables_of_a_run_over_streams() {
    for tls in [
        "defaults.management.tls=false",
        "defaults.management.tls=true",
    ] {
        let report = ran("clb-node-down.toml", &[STREAMS, tls]);
        assert_eq!(missed(&report), [], "{tls}");
        let control = report.control.expect("controllers give out its tables");
        assert_eq!((control.controllers, control.elections), (3, 1));
        assert_eq!((control.revisions, control.not_in_force), (2, 0), "{tls}");
        assert!(control.stopped.is_empty(), "{control:?}");
    }
}

#[test]
fn the_benchmarks_run_over_streams() {
    for name in ["bench/dumbbell-tcp.toml", "bench/dumbbell-udp.toml"] {
        // A stream takes three round trips to begin, and as many again until its window is open.
        let calm = ["client.load.load.rate=100/s", "client.load.load.start=1s"];
        let report = ran(name, &[calm.as_slice(), &[STREAMS, "duration=4s"]].concat());
        assert_eq!(missed(&report), [], "{name}");
    }
}

#[test]
fn the_benchmarks_run_over_datagrams() {
    for name in ["bench/dumbbell-tcp.toml", "bench/dumbbell-udp.toml"] {
        let calm = ["client.load.load.rate=100/s", "client.load.load.start=1s"];
        let report = ran(
            name,
            &[calm.as_slice(), &[DATAGRAMS, "duration=4s"]].concat(),
        );
        assert_eq!(missed(&report), [], "{name}");
    }
}

#[test]
fn runs_over_streams_and_datagrams_are_the_same_each_time() {
    let digest = |overrides: &[&str]| ran("two-pops.toml", overrides).digest;
    for kind in [STREAMS, DATAGRAMS] {
        let first = digest(&[kind]);
        assert_eq!(first, digest(&[kind]), "{kind}");
        assert_ne!(first, digest(&[kind, "seed=2"]), "{kind}");
    }
}

/// The comparison of docs/ccn.md, at a loss of 0.1 %.
#[test]
fn a_stream_loses_nothing_on_a_lossy_link_and_makes_packets_wait() {
    let ticks = |encap: &str| {
        let encap = format!("defaults.ccn.encap={encap}");
        let lossy = ["link.west-east.loss=0.1%", encap.as_str()];
        let report = ran("bench/encapsulations.toml", &lossy);
        let game = report.clients.iter().find(|client| client.name == "game");
        let service = &game.expect("it is there").service;
        let latency = service.latency_ms.as_ref().expect("most are answered");
        let failed: u64 = service.requests.failed.values().sum();
        (failed, latency.p50, latency.p99, latency.p999)
    };
    // After a loss QUIC sends less for a while, and some packets wait for their turn: for less than a round trip.
    for (packets, wait_ms) in [("gre", 1.0), ("gre-udp", 1.0), ("quic", 52.0)] {
        let (lost, p50, _, p999) = ticks(packets);
        assert!(lost > 0, "every thousandth packet is");
        assert!(p999 < p50 + wait_ms, "{packets}: {p50} {p999}");
    }
    let (lost, p50, p99, _) = ticks("grpc");
    assert_eq!(lost, 0, "TCP sends again");
    assert!(p50 < 61.0, "{p50}");
    assert!(p99 > p50 + 50.0, "what comes behind waits for it: {p99}");
}

#[test]
fn what_a_narrow_link_does_not_take_is_dropped_by_the_streams_queue() {
    let narrow = ["link.tokyo-guangzhou.rate=500Kbps", "fault=[]", "slo=[]"];
    let report = ran("two-pops.toml", &[narrow.as_slice(), &[STREAMS]].concat());
    let (full, late) = (
        dropped(&report, DropReason::StreamFull),
        dropped(&report, DropReason::StreamLate),
    );
    assert!(full + late > 0, "{:?}", report.drops);
    assert_eq!(dropped(&report, DropReason::QueueFull), 0);
}
