//! Service levels of parts of a run, of listeners and of faults, each held at what was measured and not beyond; and loads
//! whose sizes, service times and pauses are drawn, whose answers have the distribution that the file asks for.

#[path = "levels/drawn.rs"]
mod drawn;

use std::time::Duration;

use anyedge_sim::report::{FaultReport, Report, SloReport};
use anyedge_sim::run::{Options, run};
use anyedge_tests::story::play;
use anyedge_topologies::Topology;

const NETWORK: &str = r#"
schema = 1
name = "levels"
duration = "12s"
seed = 3
convergence = "1s"
withdraw_after = "300ms"
readvertise_after = "500ms"
publish_after = "500ms"

[vip.game]
address = "203.0.113.10"
publish = ["tokyo", "seoul"]
clb = "main"

[pop.tokyo]
[pop.seoul]

[region.guangzhou]
clb_nodes = 3

[link.tokyo-guangzhou]
between = ["pop.tokyo", "region.guangzhou"]
rtt = "52ms"

[link.seoul-guangzhou]
between = ["pop.seoul", "region.guangzhou"]
rtt = "40ms"

[clb.main]
region = "guangzhou"
listener.web = { port = "tcp/80", scheduler = "wrr", targets = "web" }
listener.tick = { port = "udp/7000", scheduler = "wrr", targets = "web" }

[targets.web]
port = 8080
servers = [{ ip = "10.0.0.11" }, { ip = "10.0.0.12" }]

[client.osaka]
public = { tokyo = "9ms", seoul = "30ms" }
load = [
    { kind = "request", rate = "40/s", size = "4KiB", to = "game:web", timeout = "3s" },
    { kind = "tick", rate = "40/s", size = "200B", to = "game:tick" },
]
"#;
const DOWN: &str = "at = \"3s\"\nfor = \"4s\"\ndown = \"pop.tokyo\"";

/// Runs the network with a POP that is down from 3 s to 7 s, and levels, each without its header.
fn judged(levels: &[&str]) -> Report {
    let mut text = format!("{NETWORK}\n[[fault]]\n{DOWN}\n");
    for level in levels {
        text += &format!("\n[[slo]]\n{level}\n");
    }
    play(&text, &Options::default())
}

/// Each expectation with what was measured, and whether it was kept.
fn told(report: &Report) -> Vec<String> {
    let told = |slo: &SloReport| {
        let kept = if slo.kept { "kept" } else { "BROKEN" };
        format!("{}: {} ({}) {kept}", slo.of, slo.expect, slo.measured)
    };
    report.slos.iter().map(told).collect()
}

fn all_are(report: &Report, kept: bool) {
    assert!(!report.slos.is_empty());
    let wrong = report.slos.iter().filter(|slo| slo.kept != kept).count();
    assert_eq!(wrong, 0, "{}", told(report).join("\n"));
}

#[test]
fn a_time_without_the_fault_is_judged_without_it() {
    let before = "of = \"clients\"\nto = \"2500ms\"\nexpect = [\"success == 100%\", \"failed == 0\", \"gap < 300ms\", \"max < 1s\", \"broken_flows == 0\"]";
    let after = "of = \"client.osaka\"\nfrom = \"10s\"\nexpect = [\"success == 100%\", \"gap < 300ms\", \"p99 < 1s\"]";
    all_are(&judged(&[before, after]), true);
    let during = "of = \"clients\"\nfrom = \"3s\"\nto = \"4s\"\nexpect = [\"success > 60%\", \"gap < 400ms\", \"failed < 10\"]";
    all_are(&judged(&[during]), false);
}

#[test]
fn the_counts_of_parts_add_up_to_those_of_the_whole() {
    let parts = [(0, 3), (3, 7), (7, 12)];
    let levels: Vec<String> = parts
        .iter()
        .map(|(from, to)| {
            format!("of = \"clients\"\nfrom = \"{from}s\"\nto = \"{to}s\"\nexpect = [\"sent > 0\", \"failed >= 0\", \"broken_flows >= 0\"]")
        })
        .chain(["of = \"clients\"\nexpect = [\"sent > 0\", \"failed >= 0\", \"broken_flows >= 0\"]".to_owned()])
        .collect();
    let levels: Vec<&str> = levels.iter().map(String::as_str).collect();
    let report = judged(&levels);
    let count = |index: usize| -> u64 { report.slos[index].measured.parse().expect("a count") };
    for metric in 0..3 {
        let sum: u64 = (0..3).map(|part| count(part * 3 + metric)).sum();
        assert_eq!(sum, count(9 + metric), "{}", told(&report).join("\n"));
    }
    assert!(count(4) > 0, "what the crash cost is in its own part");
}

#[test]
fn a_listeners_levels_are_of_its_new_flows() {
    let report = judged(&[
        "of = \"main/web\"\nexpect = [\"share 10.0.0.11:8080 > 40%\", \"share 10.0.0.12 < 60%\", \"imbalance < 20%\", \"opened > 100\"]",
    ]);
    all_are(&report, true);
    let listener = &report.listeners.iter().find(|it| it.listener == "main/web");
    let opened = listener.expect("it had flows").opened;
    assert_eq!(report.slos[3].measured, opened.to_string());
    let level = "of = \"main/web\"\nexpect = [\"share 10.0.0.11:8080 > 60%\", \"opened > 100000\"]";
    all_are(&judged(&[level]), false);
    let first = "of = \"main/web\"\nto = \"1s\"\nexpect = \"opened < 80\"";
    let whole = "of = \"main/web\"\nexpect = \"opened < 80\"";
    let both = judged(&[first, whole]);
    assert_eq!(
        (both.slos[0].kept, both.slos[1].kept),
        (true, false),
        "{:?}",
        told(&both)
    );
}

#[test]
fn a_faults_levels_are_its_parts() {
    let level = |of: &str, times: [&str; 4]| {
        let [detected, withdrawn, failover, recovery] = times;
        format!(
            "of = \"{of}\"\nexpect = [\"detected < {detected}\", \"withdrawn < {withdrawn}\", \"failover < {failover}\", \"recovery < {recovery}\"]"
        )
    };
    let report = judged(&[&level("fault.0", ["2s", "3s", "8s", "9s"])]);
    let down = fault(&report, "down pop.tokyo");
    let measured = |index: usize| report.slos[index].measured.clone();
    let told_as = |seconds: Option<f64>| match seconds {
        Some(seconds) if seconds < 1.0 => format!("{:.1}ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.2}s"),
        None => "none".to_owned(),
    };
    assert_eq!(measured(0), told_as(down.detected_s));
    assert_eq!(measured(1), told_as(down.withdrawn_s));
    all_are(
        &judged(&[&level("faults", ["10ms", "100ms", "1ms", "1ms"])]),
        false,
    );
}

#[test]
fn a_fault_that_comes_after_the_end_of_the_run_keeps_no_level() {
    let text = format!(
        "{NETWORK}\n[[fault]]\n{DOWN}\n\n[[slo]]\nof = \"fault.0\"\nexpect = \"detected < 5s\"\n"
    );
    let topology = Topology::parse("levels.toml", &text).expect("no mistake");
    let options = Options {
        duration: Some(Duration::from_secs(1)),
        ..Options::default()
    };
    let report = run(&topology, &options, &mut |_| {}).expect("the topology builds");
    assert_eq!(
        told(&report),
        ["fault.0: detected < 5s (did not happen) BROKEN"]
    );
}

fn fault<'r>(report: &'r Report, what: &str) -> &'r FaultReport {
    let found = report.faults.iter().find(|fault| fault.what == what);
    found.unwrap_or_else(|| panic!("no `{what}` in {:?}", report.faults))
}
