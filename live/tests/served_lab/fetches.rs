//! The calm lab: every client of the shipped topology is served, and its own address is what the backend sees.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyedge_live::lab::{self, status::LabStatus};
use anyedge_topologies::Topology;

use crate::stage::Lab;

/// Five seconds are the promise, for a machine that does nothing else (docs/lab.md); tests run beside each other.
const UP_MAX: Duration = Duration::from_secs(20);

/// What the backends wrote about their requests.
fn backend_logs(status: &LabStatus) -> String {
    let processes = status.nodes.iter().flat_map(|node| &node.processes);
    let backends = processes.filter(|process| process.name.starts_with("backend."));
    backends
        .map(|backend| fs::read_to_string(&backend.log).expect("a log"))
        .collect()
}

pub(crate) fn a_client_fetches_through_all_three_forwarders() {
    every_client_is_served("served", &[]);
}

pub(crate) fn a_client_fetches_through_streams() {
    every_client_is_served("streams", &["defaults.ccn.encap=grpc".to_owned()]);
}

pub(crate) fn a_client_fetches_through_plain_gre() {
    every_client_is_served("gre", &["defaults.ccn.encap=gre".to_owned()]);
}

pub(crate) fn a_client_fetches_through_datagrams() {
    every_client_is_served("quic", &["defaults.ccn.encap=quic".to_owned()]);
}

fn every_client_is_served(word: &str, overrides: &[String]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies/two-pops.toml");
    let topology = Topology::load_with(&file, overrides).expect("a shipped topology");
    let lab = Lab::named(word);
    let started = Instant::now();
    let status = lab::up(&file, &topology, &lab.name).expect("the lab comes up");
    assert!(
        started.elapsed() < UP_MAX,
        "up took {:?}",
        started.elapsed()
    );
    assert!(status.is_healthy(), "{status:?}");

    for (client, vip) in [("osaka", "203.0.113.10"), ("berlin", "[2001:db8:113::10]")] {
        let node = format!("client.{client}");
        for _ in 0..3 {
            lab.fetch(&node, &format!("http://{vip}/"));
        }
        // Far more than a window and a segment: MSS clamping and the way back hold.
        assert_eq!(
            lab.fetch(&node, &format!("http://{vip}/bytes/3000000"))
                .len(),
            3_000_000
        );
        let (v4, v6) = topology.clients[client].address(0);
        let own = if vip.starts_with('[') {
            format!("[{v6}]:")
        } else {
            format!("{v4}:")
        };
        let logs = backend_logs(&status);
        assert_eq!(
            logs.lines().filter(|line| line.contains(&own)).count(),
            4,
            "from {own}\n{logs}"
        );
    }
    let no_listener = ["curl", "-s", "--max-time", "1", "http://203.0.113.10:81/"];
    assert_ne!(lab.exec("client.osaka", &no_listener), 0);
    every_forwarder_carried_packets(&lab::status(&lab.name).expect("the lab is up"));
}

fn every_forwarder_carried_packets(status: &LabStatus) {
    assert!(status.is_healthy(), "{status:?}");
    for name in [
        "pop.tokyo",
        "pop.frankfurt",
        "region.guangzhou.clb-1",
        "host.web-1",
        "host.web-2",
    ] {
        let mut processes = status.nodes.iter().flat_map(|node| &node.processes);
        let process = processes
            .find(|process| process.name == name)
            .expect("a process of the lab");
        let is_idle = process.summary.contains(" 0 out");
        assert!(!is_idle, "{name}: {}", process.summary);
    }
}
