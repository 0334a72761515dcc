//! What a run is written down as for other tools, two runs side by side, and completions.

use std::fs;

use anyedge_tests::binary::{Profile, run};
use anyedge_tests::labs::text;
use anyedge_tests::two_machines::Scratch;
use serde_json::Value;

const FILE: &str = "topologies/two-pops.toml";
const FAR: &str = "client.osaka.public.tokyo=300ms";
const WANTED: &str = "slo.0.expect=[\"p50 < 300ms\"]";

#[test]
fn a_run_is_written_as_csv_junit_and_percentiles_whatever_its_verdict() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path()).expect("a folder of our own");
    let path = |name: &str| scratch.path().join(name).display().to_string();
    let (csv, junit, hgrm) = (path("f.csv"), path("s.xml"), path("h"));
    let broken = "slo.0.expect=[\"success >= 70%\", \"p50 < 40ms\"]";
    let ran = run(
        Profile::Release,
        &[
            "sim",
            FILE,
            "-q",
            "--duration",
            "2s",
            "--set",
            broken,
            "--json",
            "-",
            "--csv",
            &csv,
            "--junit",
            &junit,
            "--hgrm",
            &hgrm,
        ],
    );
    assert_eq!(ran.status.code(), Some(1), "{}", text(&ran.stderr));
    let report: Value = serde_json::from_slice(&ran.stdout).expect("the report");

    let rows = fs::read_to_string(&csv).expect("it was written");
    let mut rows = rows.lines();
    let header = "topology,topology_hash,version,seed,digest,object,metric,value";
    assert_eq!(rows.next(), Some(header));
    let told = |key: &str| report[key].as_str().expect("a text").to_owned();
    let own = format!(
        "two-pops,{},{},1,{},",
        told("topology_hash"),
        told("version"),
        told("digest")
    );
    let rows: Vec<&str> = rows.filter_map(|row| row.strip_prefix(&own)).collect();
    let hops = format!("run,packet_hops,{}", report["packet_hops"]);
    assert!(rows.contains(&hops.as_str()), "no {hops}");
    let sent = report["clients"][1]["loads"][0]["requests"]["sent"].to_string();
    let sent = format!("client.osaka load 0,requests.sent,{sent}");
    assert!(rows.contains(&sent.as_str()), "no {sent}");

    let cases = fs::read_to_string(&junit).expect("it was written");
    assert!(cases.contains("failures=\"1\""), "{cases}");
    assert!(cases.contains("client.osaka p50 &lt; 40ms"), "{cases}");
    assert!(cases.contains(&told("digest")), "{cases}");

    for name in ["osaka.0.hgrm", "osaka.0.actual.hgrm", "berlin.1.hgrm"] {
        let file = scratch.path().join("h").join(name);
        let percentiles = fs::read_to_string(&file).expect("one of each load");
        assert!(percentiles.contains("#[Max"), "{name}: {percentiles}");
    }
}

#[test]
fn what_cannot_be_written_is_said_and_the_rest_is_written() {
    let scratch = Scratch::new();
    let junit = scratch.path().display().to_string();
    let ran = run(
        Profile::Release,
        &[
            "sim",
            FILE,
            "-q",
            "--duration",
            "1s",
            "--csv",
            "no/such/folder.csv",
            "--junit",
            &junit,
        ],
    );
    assert_eq!(ran.status.code(), Some(3));
    assert!(text(&ran.stderr).contains("no/such/folder.csv: "));
    fs::remove_file(scratch.path()).expect("it was written");
}

#[test]
fn two_topologies_side_by_side_are_judged_by_what_the_change_breaks() {
    let diff = |more: &[&str]| {
        let words = [&["diff", FILE, "-q", "--duration", "2s"], more].concat();
        let ran = run(Profile::Release, &words);
        (ran.status.code(), text(&ran.stdout), text(&ran.stderr))
    };
    let (code, told, _) = diff(&[]);
    assert_eq!(code, Some(0));
    assert!(told.contains("the same to the packet"), "{told}");

    let (code, told, _) = diff(&["--set", FAR, "--set", WANTED]);
    assert_eq!(code, Some(1), "{told}");
    for wanted in [
        "tokyo       frankfurt",
        "enter where they did: 1.",
        "BROKEN",
    ] {
        assert!(told.contains(wanted), "no `{wanted}` in {told}");
    }
    let (_, told, _) = diff(&["--set", FAR, "--json"]);
    let all: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(all["clients"][1]["pop"][1], "frankfurt");

    let (code, _, told) = diff(&["--set", "client.osaka.public.tokio=9ms"]);
    assert_eq!(code, Some(2), "{told}");
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(Profile::Release, &["completions", shell]);
        assert_eq!(ran.status.code(), Some(0));
        for command in ["compare", "completions", "diff"] {
            assert!(text(&ran.stdout).contains(command), "{shell}: no {command}");
        }
    }
}
