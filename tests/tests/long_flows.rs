//! Long flows from a file: each kind carries its bytes through the edge, a fault shows what it costs them.

use anyedge_sim::report::{ClientReport, Report};
use anyedge_sim::run::Options;
use anyedge_tests::story;

/// One POP, which is patient with its only path, one region, one target; the load begins at once and gives `flows` per second for 5 s.
fn topology(load: &str, rest: &str) -> String {
    format!(
        r#"
schema = 1
name = "long-flows"
duration = "20s"
drain = "80s"
withdraw_after = "10s"

[defaults]
routes = "static"

[vip.game]
address = "203.0.113.10"
clb = "main"

[pop.tokyo]

[region.guangzhou]

[link.tokyo-guangzhou]
between = ["pop.tokyo", "region.guangzhou"]
rtt = "20ms"

[clb.main]
region = "guangzhou"
listener.web = {{ port = "tcp/80", targets = "web" }}
listener.tick = {{ port = "udp/7000", targets = "web" }}

[targets.web]
port = 8080
servers = [{{ ip = "10.0.0.11" }}]

[client.osaka]
public = {{ tokyo = "10ms" }}
load = {{ {load}, stop = "5s", arrivals = "fixed" }}

{rest}
"#
    )
}

fn play(load: &str, rest: &str) -> Report {
    let text = topology(load, rest);
    story::play(&text, &Options::default())
}

fn osaka(report: &Report) -> &ClientReport {
    &report.clients[0]
}

const PACED: &str = r#"rate = "2/s", size = "1MB", pace = "100KB/s", to = "game:web""#;

/// Each kind, and the seconds that one takes.
fn kinds() -> [(String, f64); 4] {
    [
        (format!(r#"kind = "download", {PACED}"#), 9.9),
        (format!(r#"kind = "upload", {PACED}"#), 9.9),
        (format!(r#"kind = "half-closed", {PACED}"#), 9.9),
        (
            r#"kind = "idle", idle = "60s", rate = "2/s", to = "game:web""#.to_owned(),
            60.0,
        ),
    ]
}

#[test]
fn each_kind_carries_its_bytes_through_the_edge_in_its_time() {
    for (load, seconds) in kinds() {
        let report = play(&load, "");
        let osaka = osaka(&report);
        let requests = &osaka.service.requests;
        assert_eq!(
            (requests.sent, requests.ok),
            (10, 10),
            "{load}: {requests:?}"
        );
        assert_eq!(osaka.broken_flows, 0, "{load}");
        let took = osaka.service.latency_ms.expect("all were answered").max / 1e3;
        assert!((seconds..seconds + 0.4).contains(&took), "{load}: {took} s");
        assert!(osaka.gap_s < 0.2, "{load}: {} s", osaka.gap_s);
        assert!(load.contains(&format!("\"{}\"", osaka.loads[0].kind)));
    }
}

#[test]
fn a_flow_that_a_crashed_backend_cuts_is_broken_once_with_its_cause() {
    let crash = "[[fault]]\nat = \"7s\"\ndown = \"host.web-1\"";
    for (load, _) in kinds() {
        let report = play(&load, crash);
        let osaka = osaka(&report);
        let requests = &osaka.service.requests;
        assert_eq!((requests.sent, requests.ok), (10, 0), "{load}");
        assert_eq!(requests.failed.values().sum::<u64>(), 10, "{requests:?}");
        assert_eq!(osaka.broken_flows, 10, "{load}: {requests:?}");
    }
}

#[test]
fn a_backend_that_returns_without_its_connections_resets_them() {
    let crash = "[[fault]]\nat = \"7s\"\nfor = \"1s\"\ndown = \"host.web-1\"";
    let (upload, _) = &kinds()[1];
    let report = play(upload, crash);
    let osaka = osaka(&report);
    assert_eq!(osaka.service.requests.failed["reset"], 10);
    assert_eq!(osaka.broken_flows, 10);
}

#[test]
fn a_cut_that_heals_breaks_no_flow_and_its_length_is_the_gap() {
    let cut = "[[fault]]\nat = \"3s\"\nfor = \"2s\"\ndown = \"link.tokyo-guangzhou\"";
    for (load, seconds) in &kinds()[..3] {
        let report = play(load, cut);
        let osaka = osaka(&report);
        let requests = &osaka.service.requests;
        let established = requests.ok;
        assert!(
            established >= 6 && osaka.broken_flows == 0,
            "{load}: {requests:?}"
        );
        assert!(
            (1.9..8.0).contains(&osaka.gap_s),
            "{load}: {} s",
            osaka.gap_s
        );
        let took = osaka.service.latency_ms.expect("answered").max / 1e3;
        assert!(took < seconds + 8.0, "{load}: {took} s");
    }
}

#[test]
fn service_levels_on_broken_flows_and_gaps_count_long_flows() {
    let slo = "[[slo]]\nof = \"client.osaka\"\nexpect = [\"broken_flows == 0\", \"gap < 1s\"]";
    let (download, _) = &kinds()[0];
    assert!(play(download, slo).kept());
    let crash = format!("[[fault]]\nat = \"7s\"\ndown = \"host.web-1\"\n{slo}");
    let report = play(download, &crash);
    let measured: Vec<(&str, bool)> = report
        .slos
        .iter()
        .map(|slo| (slo.measured.as_str(), slo.kept))
        .collect();
    assert!(
        matches!(measured[..], [("10", false), (_, false)]),
        "{measured:?}"
    );
}

#[test]
fn all_ticks_of_a_host_are_one_flow_of_one_socket() {
    let ticks = r#"kind = "tick", rate = "50/s", to = "game:tick""#;
    let report = play(ticks, "");
    assert_eq!(osaka(&report).service.requests.ok, 250);
    assert_eq!((report.flows.opened, osaka(&report).broken_flows), (1, 0));
    let crash = "[[fault]]\nat = \"3s\"\ndown = \"host.web-1\"";
    assert_eq!(osaka(&play(ticks, crash)).broken_flows, 1);
}
