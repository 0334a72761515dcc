//! The command as a user meets it: exit codes, the JSON, mistakes in a file, and the promises of a report.

#[path = "command/explain.rs"]
mod explain;
#[path = "command/language.rs"]
mod language;
#[path = "command/lint.rs"]
mod lint;
#[path = "command/loads.rs"]
mod loads;
#[path = "command/results.rs"]
mod results;
#[path = "command/sweep.rs"]
mod sweep;

use std::fs;
use std::path::PathBuf;

use anyedge_tests::binary::{Profile, root, run, simulate};
use serde_json::Value;

/// A file of this test's own, gone when it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn with(name: &str, text: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("anyedge-{}-{name}", std::process::id()));
        fs::write(&path, text).expect("the temporary folder can be written");
        Scratch(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("our own name is UTF-8")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn two_pops() -> String {
    fs::read_to_string(root().join("topologies/two-pops.toml")).expect("the shipped file exists")
}

fn total(of: &Value) -> u64 {
    of.as_object()
        .map_or(0, |causes| causes.values().filter_map(Value::as_u64).sum())
}

#[test]
fn a_run_that_keeps_its_service_levels_exits_0_and_prints_a_verdict() {
    let output = run(
        Profile::Release,
        &["sim", "--quiet", "topologies/two-pops.toml"],
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for expected in [
        "osaka",
        "tokyo",
        "fewest networks, then lowest RTT (ideal)",
        "Verdict: all",
        "Digest",
        "smoltcp",
        "down pop.tokyo",
    ] {
        assert!(text.contains(expected), "no `{expected}` in:\n{text}");
    }
}

#[test]
fn a_broken_service_level_exits_1() {
    let strict = two_pops().replace("p50 < 1s", "p50 < 40ms");
    let file = Scratch::with("strict.toml", &strict);
    let output = run(
        Profile::Release,
        &["sim", "--quiet", "--duration", "3s", file.path()],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("BROKEN"));
}

#[test]
fn a_mistake_exits_2_with_its_place_and_what_would_be_right() {
    let wrong = two_pops().replace(
        "publish = [\"tokyo\", \"frankfurt\"]",
        "publish = [\"tokio\", \"frankfurt\"]",
    );
    let line = wrong
        .lines()
        .position(|line| line.contains("tokio"))
        .expect("just put there")
        + 1;
    let file = Scratch::with("wrong.toml", &wrong);
    for command in ["sim", "check"] {
        let output = run(Profile::Release, &[command, file.path()]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(
            text.contains(&format!("{}:{line}:12", file.path())),
            "no place in:\n{text}"
        );
        assert!(text.contains("tokyo"), "no hint in:\n{text}");
    }
    let nothing = run(Profile::Release, &["sim", "no-such-file.toml"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert_eq!(run(Profile::Release, &["simulate"]).status.code(), Some(2));
    assert_eq!(run(Profile::Release, &["--help"]).status.code(), Some(0));
    let node = ["node", "--topology", "none.toml", "--name", "pop.tokyo"];
    let impatient = run(
        Profile::Release,
        &[&node[..], &["--busy-poll", "11ms"]].concat(),
    );
    let text = String::from_utf8_lossy(&impatient.stderr).into_owned();
    assert_eq!(impatient.status.code(), Some(2), "{text}");
    assert!(text.contains("\"0ns\" to \"10ms\""), "{text}");
}

#[test]
fn every_shipped_topology_checks_also_by_a_glob_that_takes_in_other_tools_files() {
    let files = [
        "Cargo.toml",
        "clippy.toml",
        "global-14.toml",
        "two-pops.toml",
    ]
    .map(|name| format!("topologies/{name}"));
    let args: Vec<&str> = ["check"]
        .into_iter()
        .chain(files.iter().map(String::as_str))
        .collect();
    let output = run(Profile::Release, &args);
    assert_eq!(output.status.code(), Some(0));
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        told.lines().filter(|line| line.contains(": ok: ")).count(),
        2
    );
    assert_eq!(
        told.matches("probed every 100ms, down after 3").count(),
        2,
        "what holds by default is told too: {told}"
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 2);
}

#[test]
fn the_report_has_its_promised_fields_and_its_sums_agree() {
    let report = simulate(Profile::Release, &["topologies/two-pops.toml"]);
    for field in [
        "schema",
        "topology",
        "seed",
        "digest",
        "virtual_s",
        "wall_s",
        "memory_peak_bytes",
        "events",
        "packet_hops",
        "drops",
    ] {
        assert!(!report[field].is_null(), "no {field}");
    }
    assert_eq!(
        (report["schema"].as_u64(), report["seed"].as_u64()),
        (Some(1), Some(1))
    );
    let links = report["links"].as_array().expect("a list");
    let delivered: u64 = links
        .iter()
        .filter_map(|link| link["delivered"].as_u64())
        .sum();
    assert_eq!(report["packet_hops"].as_u64(), Some(delivered));
    for client in report["clients"].as_array().expect("a list") {
        let requests = &client["requests"];
        let sent = requests["sent"].as_u64().expect("a count");
        assert_eq!(
            Some(sent - total(&requests["failed"])),
            requests["ok"].as_u64()
        );
        assert!(sent > 100, "{client}");
        for latency in ["latency_ms", "actual_ms", "direct_ms"] {
            let of = |percentile: &str| client[latency][percentile].as_f64().expect("a figure");
            let ordered = ["p50", "p90", "p99", "p999", "max"].map(of);
            assert!(
                ordered.is_sorted() && ordered[0] > 0.0,
                "{latency}: {ordered:?}"
            );
        }
    }
    let faults: Vec<&str> = report["faults"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|f| f["what"].as_str())
        .collect();
    assert_eq!(faults, ["down pop.tokyo", "up pop.tokyo"]);
    assert!(
        report["drops"]["PopDown"]
            .as_u64()
            .is_some_and(|lost| lost > 0),
        "a crash loses packets"
    );
    let flows = &report["flows"];
    let ended = total(&flows["closed"]) + flows["still_open"].as_u64().expect("a count");
    assert_eq!(flows["opened"].as_u64(), Some(ended));
}

#[test]
fn the_main_job_serves_60_cities_from_14_pops_and_keeps_its_service_levels() {
    let report = simulate(Profile::Release, &["topologies/global-14.toml"]);
    let clients = report["clients"].as_array().expect("a list");
    assert!(clients.len() >= 60, "{} cities", clients.len());
    let sent: u64 = clients
        .iter()
        .filter_map(|client| client["requests"]["sent"].as_u64())
        .sum();
    assert!(sent >= 5_000, "{sent} requests");
    assert!(
        report["virtual_s"]
            .as_f64()
            .is_some_and(|seconds| seconds >= 60.0)
    );
    assert!(clients.iter().all(|client| {
        client["direct_ms"]["p50"]
            .as_f64()
            .is_some_and(|p50| p50 > 0.0)
    }));
    let broken: Vec<&Value> = report["slos"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|slo| slo["kept"] != true)
        .collect();
    assert!(broken.is_empty(), "{broken:?}");
    let assumed = report["assumed_links"].as_array().expect("a list");
    assert!(
        assumed
            .iter()
            .any(|link| link["name"] == "moscow-guangzhou")
    );
    let moscow: Vec<&Value> = clients
        .iter()
        .filter(|client| client["pop"] == "moscow")
        .collect();
    assert!(!moscow.is_empty() && moscow.iter().all(|client| client["gain_assumed"] == true));
}

#[test]
fn a_key_set_on_the_command_line_changes_the_run_and_is_named_in_its_report() {
    let report = |set: &[&str]| {
        let mut words = vec!["sim", "topologies/two-pops.toml", "--duration", "1s"];
        words.extend(["--quiet", "--json", "-"]);
        words.extend(set.iter().flat_map(|text| ["--set", *text]));
        let output = run(Profile::Debug, &words);
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        report
    };
    let lossy = report(&["link.tokyo-guangzhou.loss=5%"]);
    assert_eq!(lossy["overrides"][0], "link.tokyo-guangzhou.loss=5%");
    let plain = report(&[]);
    assert_eq!(plain["overrides"], Value::Array(Vec::new()));
    assert_ne!(lossy["digest"], plain["digest"]);
    let output = run(
        Profile::Debug,
        &["check", "topologies/two-pops.toml", "--set", "sed=3"],
    );
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = [
        "--set sed=3: file: `sed` is no known",
        "did you mean `seed`?",
    ];
    for expected in expected {
        assert!(text.contains(expected), "no `{expected}` in:\n{text}");
    }
}
