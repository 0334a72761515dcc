//! The shipped topologies are drills: each keeps the service levels that its file promises, and its levels bite.
//!
//! The same run misses every level that asks for more than it measured; and where nothing more can be asked for, the level breaks
//! when a mechanism that it rests on is switched off.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyedge_net::switch;
use anyedge_sim::report::Report;
use anyedge_sim::run::{Options, run};
use anyedge_tests::binary::{self, Profile, root};
use anyedge_topologies::{Comparison, Expectation, Threshold, Topology};
use serde_json::Value;

/// What the levels rest on of which there is no harder one: a flow keeps its target; whom security groups refuse.
const BEHIND_LEVELS: [&str; 4] = ["S-BE06", "S-SG07", "S-SG09", "S-SG02"];

fn shipped() -> Vec<PathBuf> {
    let folder = fs::read_dir(root().join("topologies")).expect("the folder exists");
    let files = folder.map(|entry| entry.expect("it can be read").path());
    let is_topology = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        path.extension().is_some_and(|end| end == "toml")
            && !matches!(name, Some("Cargo.toml" | "clippy.toml"))
    };
    let mut files: Vec<PathBuf> = files.filter(is_topology).collect();
    files.sort();
    files
}

/// The expectation that a run with this measure misses: half of it where less is better, above it where more is. `None`
/// where there is no such figure, for a measure of 0 or 100 %, and for an equation.
fn missed(expectation: &Expectation, measured: &str) -> Option<Expectation> {
    let figure: f64 = measured
        .trim_end_matches(|end: char| !end.is_ascii_digit())
        .parse()
        .ok()?;
    let unit = measured.trim_start_matches(|digit: char| digit.is_ascii_digit() || digit == '.');
    let wanted = match expectation.comparison {
        Comparison::Below | Comparison::AtMost if figure > 0.0 => figure / 2.0,
        Comparison::Above | Comparison::AtLeast if unit == "%" && figure < 100.0 => {
            (figure + 100.0) / 2.0
        }
        Comparison::Above | Comparison::AtLeast if unit.is_empty() => figure + 1.0,
        Comparison::Below
        | Comparison::AtMost
        | Comparison::Above
        | Comparison::AtLeast
        | Comparison::Equal => return None,
    };
    let value = match (expectation.value, unit) {
        (Threshold::Duration(_), "ms") => {
            Threshold::Duration(Duration::from_secs_f64(wanted / 1e3))
        }
        (Threshold::Duration(_), _) => Threshold::Duration(Duration::from_secs_f64(wanted)),
        (Threshold::SharePpm(_), _) => Threshold::SharePpm((wanted * 1e4) as u32),
        (Threshold::Count(_), _) => Threshold::Count(wanted as u64),
    };
    Some(Expectation {
        value,
        ..expectation.clone()
    })
}

/// Those of a drill's levels that no harder one is made of, by whose they are and what they say.
fn at_their_bound(topology: &Topology, first: &Report) -> BTreeSet<(String, String)> {
    let expectations = topology.slos.iter().flat_map(|slo| &slo.expect);
    let levels = expectations.zip(&first.slos);
    let bound = levels.filter(|(expectation, slo)| missed(expectation, &slo.measured).is_none());
    bound
        .map(|(_, slo)| (slo.of.clone(), slo.expect.clone()))
        .collect()
}

/// Plays a drill without the mechanisms behind such levels, one after the other, until each level was broken.
fn breaks(file: &Path, mut levels: BTreeSet<(String, String)>) {
    for mechanism in BEHIND_LEVELS {
        if levels.is_empty() {
            return;
        }
        let run = Command::new(binary::path(Profile::Debug))
            .args(["sim", "--quiet", "--json", "-"])
            .arg(file)
            .env(switch::VARIABLE, mechanism)
            .output()
            .expect("the command can be run");
        let report: Value = serde_json::from_slice(&run.stdout).expect("the report is JSON");
        let text = |slo: &Value, field: &str| slo[field].as_str().unwrap_or_default().to_owned();
        let slos = report["slos"].as_array().expect("service levels");
        let broken = slos.iter().filter(|slo| slo["kept"] == false);
        let broken: Vec<_> = broken
            .map(|slo| (text(slo, "of"), text(slo, "expect")))
            .collect();
        assert_eq!(run.status.code() == Some(1), !broken.is_empty());
        levels.retain(|level| !broken.contains(level));
    }
    let file = file.display();
    assert!(
        levels.is_empty(),
        "{file}: kept without {BEHIND_LEVELS:?}: {levels:?}"
    );
}

/// Plays a drill again with service levels that its first run would have missed, and says how many there were.
fn bites(mut topology: Topology, first: &Report) -> usize {
    let mut measured = first.slos.iter().map(|slo| slo.measured.as_str());
    for slo in &mut topology.slos {
        let harder = slo.expect.iter().zip(&mut measured);
        slo.expect = harder
            .filter_map(|(expectation, measured)| missed(expectation, measured))
            .collect();
    }
    topology.slos.retain(|slo| !slo.expect.is_empty());
    if topology.slos.is_empty() {
        return 0;
    }
    let report = run(&topology, &Options::default(), &mut |_| {}).expect("it builds");
    let kept: Vec<_> = report.slos.iter().filter(|slo| slo.kept).collect();
    assert!(
        kept.is_empty(),
        "{}: kept all the same: {kept:?}",
        topology.name
    );
    assert!(!report.kept(), "{}: exit code 1", topology.name);
    assert_eq!(
        report.digest, first.digest,
        "levels judge a run and do not change it"
    );
    report.slos.len()
}

#[test]
fn every_shipped_topology_keeps_its_service_levels_and_they_bite() {
    let files = shipped();
    assert!(files.len() >= 9, "{files:?}");
    let mut bitten = 0;
    for file in files {
        let topology = Topology::load(&file).expect("a shipped file has no mistake");
        let report = run(&topology, &Options::default(), &mut |_| {}).expect("it builds");
        let name = file.display();
        assert!(!report.slos.is_empty(), "{name} promises nothing");
        let missed = report.slos.iter().filter(|slo| !slo.kept);
        let missed: Vec<_> = missed
            .map(|slo| (&slo.of, &slo.expect, &slo.measured))
            .collect();
        assert!(missed.is_empty(), "{name}: {missed:?}");
        breaks(&file, at_their_bound(&topology, &report));
        bitten += bites(topology, &report);
    }
    assert!(
        bitten >= 40,
        "{bitten} levels have a figure that can be missed"
    );
}
