//! The shipped topologies are drills: each keeps the service levels that its file promises, and would not keep harder ones.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyedge_sim::report::Report;
use anyedge_sim::run::{Options, run};
use anyedge_tests::binary::root;
use anyedge_topologies::{Comparison, Expectation, Threshold, Topology};

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
fn every_shipped_topology_keeps_its_service_levels_and_would_miss_harder_ones() {
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
        bitten += bites(topology, &report);
    }
    assert!(
        bitten >= 40,
        "{bitten} levels have a figure that can be missed"
    );
}
