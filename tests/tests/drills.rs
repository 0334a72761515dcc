//! The shipped topologies are drills: each keeps the service levels that its file promises.

use std::fs;
use std::path::PathBuf;

use anyedge_sim::run::{Options, run};
use anyedge_tests::binary::root;
use anyedge_topologies::Topology;

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

#[test]
fn every_shipped_topology_keeps_its_service_levels() {
    let files = shipped();
    assert!(files.len() >= 9, "{files:?}");
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
    }
}
