//! Unbinding, from end to end: a machine leaves its listeners while clients download from it.
//!
//! With the default both ends hear at once; with `unbind_drain` what runs may end; without `rst_on_unbind` clients
//! find out by themselves. Each test plays the same network and changes one line of it. Tables are static, so that
//! nodes learn of it one after the other.

use anyedge_net::rng::Seed;
use anyedge_sim::report::Report;
use anyedge_sim::run::Options;
use anyedge_tests::story;

/// One POP, two CLB nodes, two machines: the first one is unbound at 8 s, amid downloads of 10 s.
const NETWORK: &str = r#"
schema = 1
name = "unbind"
duration = "20s"
drain = "60s"
convergence = "1s"
table_delay = "200ms"

[defaults]
routes = "static"
flows_max = 4096

[vip.game]
address = "203.0.113.10"
clb = "main"

[pop.west]
lat = 39
lon = -9

[region.home]
lat = 50
lon = 9
clb_nodes = 2

[link.west-home]
between = ["pop.west", "region.home"]
rtt = "20ms"

[clb.main]
region = "home"
#CLB
listener.web = { port = "tcp/80", scheduler = "wrr", targets = "web", health = { interval = "3s", timeout = "2s", unhealthy = 2, healthy = 2 } }

[targets.web]
port = 8080
servers = [
    { ip = "10.0.0.1", host = "web-1" },
    { ip = "10.0.0.2", host = "web-2" },
]

[client.near]
count = 8
public = { west = "8ms" }
load = [
    { kind = "download", rate = "4/s", size = "100KiB", pace = "10KiB/s", arrivals = "fixed", start = "2s", stop = "7s", timeout = "20s", to = "game:web" },
    { kind = "request", rate = "20/s", size = "2KiB", start = "2s", timeout = "5s", to = "game:web" },
]

[[fault]]
at = "8s"
#FOR
unbind = "host.web-1"
"#;

/// Downloads that begin from 2 s to 7 s, 4 a second.
const DOWNLOADS: u64 = 20;

fn play(clb: &str, lasts: &str) -> Report {
    let text = NETWORK.replace("#CLB", clb).replace("#FOR", lasts);
    let options = Options {
        seed: Some(Seed(3)),
        ..Options::default()
    };
    story::play(&text, &options)
}

/// Downloads that failed for `cause`, and for others.
fn failed(report: &Report, cause: &str) -> (u64, u64) {
    let downloads = &report.clients[0].loads[0].service.requests;
    assert_eq!(downloads.sent, DOWNLOADS);
    let of_cause = downloads.failed.get(cause).copied().unwrap_or_default();
    let all: u64 = downloads.failed.values().sum();
    (of_cause, all - of_cause)
}

/// Requests last 40 ms: those in flight on the machine when it is unbound may fail, no later one.
fn requests_failed(report: &Report) -> u64 {
    let requests = &report.clients[0].loads[1].service.requests;
    assert!(requests.ok > 300);
    requests.failed.values().sum()
}

/// What the fault at that place of the report did to flows: established, kept.
fn flows(report: &Report, fault: usize) -> (u64, u64) {
    let fault = &report.faults[fault];
    (fault.flows_established, fault.flows_kept)
}

#[test]
fn an_unbound_machines_downloads_are_reset_at_once_and_no_other_is_touched() {
    let report = play("", "");
    let (reset, otherwise) = failed(&report, "reset");
    assert!((8..=12).contains(&reset), "about half are its: {reset}");
    assert_eq!(otherwise, 0);
    let (established, kept) = flows(&report, 0);
    assert_eq!(established - kept, reset);
    assert!(requests_failed(&report) <= 1);
}

#[test]
fn with_a_drain_that_is_long_enough_every_download_of_an_unbound_machine_ends_well() {
    let report = play("unbind_drain = \"30s\"", "");
    assert_eq!(failed(&report, "reset"), (0, 0));
    let (established, kept) = flows(&report, 0);
    assert_eq!(established, kept);
    assert_eq!(requests_failed(&report), 0);
}

#[test]
fn a_drain_that_is_too_short_ends_with_resets() {
    let (at_once, _) = failed(&play("", ""), "reset");
    // The first of them ended before the drain did.
    let drained = play("unbind_drain = \"5s\"", "");
    let (reset, otherwise) = failed(&drained, "reset");
    assert!((1..at_once).contains(&reset), "{reset} of {at_once}");
    assert_eq!((otherwise, requests_failed(&drained)), (0, 0));
}

#[test]
fn a_machine_bound_again_within_its_drain_keeps_its_downloads() {
    let report = play("unbind_drain = \"3s\"", "for = \"2s\"");
    assert_eq!(failed(&report, "reset"), (0, 0));
    let happened = report.faults.iter().map(|fault| fault.what.as_str());
    assert!(happened.eq(["unbind host.web-1", "bind host.web-1"]));
    assert_ne!(failed(&play("unbind_drain = \"3s\"", ""), "reset"), (0, 0));
}

#[test]
fn without_the_reset_clients_of_an_unbound_machine_wait_in_vain() {
    let (at_once, _) = failed(&play("", ""), "reset");
    let (timed_out, otherwise) = failed(&play("rst_on_unbind = false", ""), "timeout");
    assert_eq!(timed_out + otherwise, at_once);
    assert!(timed_out > otherwise, "{timed_out}, {otherwise}");
}
