//! Same topology, seed and version: same trace digest, in debug and release, in every process; and whatever
//! is different shows.
//!
//! Goldens are renewed by `ANYEDGE_UPDATE_GOLDENS=1 cargo test -p anyedge-tests --test determinism`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyedge_sim::digest::{Change, Perturbation};
use anyedge_sim::run::{Options, run};
use anyedge_tests::binary::{Profile, root, simulate};
use anyedge_topologies::Topology;

/// Every shipped topology, and how long its clients send in this test.
fn shipped() -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    for (folder, duration) in [("topologies", ""), ("topologies/bench", "1s")] {
        for entry in fs::read_dir(root().join(folder)).expect("the folder exists") {
            let name = entry
                .expect("its entries can be read")
                .file_name()
                .to_string_lossy()
                .into_owned();
            if name.ends_with(".toml") && name != "Cargo.toml" && name != "clippy.toml" {
                found.push((format!("{folder}/{name}"), duration));
            }
        }
    }
    found.sort();
    assert!(
        found.len() >= 4,
        "the shipped topologies are somewhere else"
    );
    found
}

fn digest(profile: Profile, file: &str, duration: &str) -> String {
    let mut args = vec![file];
    if !duration.is_empty() {
        args.extend(["--duration", duration]);
    }
    let report = simulate(profile, &args);
    report["digest"]
        .as_str()
        .expect("a report has a digest")
        .to_owned()
}

fn goldens() -> PathBuf {
    root().join("tests/goldens/digests.txt")
}

#[test]
fn every_shipped_topology_has_its_golden_digest() {
    let mut found = BTreeMap::new();
    for (file, duration) in shipped() {
        let release = digest(Profile::Release, &file, duration);
        assert_eq!(
            release,
            digest(Profile::Release, &file, duration),
            "{file}: two processes"
        );
        assert_eq!(
            release,
            digest(Profile::Debug, &file, duration),
            "{file}: debug and release"
        );
        found.insert(file, release);
    }
    let text: String = found
        .iter()
        .map(|(file, digest)| format!("{digest} {file}\n"))
        .collect();
    if std::env::var_os("ANYEDGE_UPDATE_GOLDENS").is_some() {
        fs::write(goldens(), &text).expect("the golden can be written");
    }
    let golden = fs::read_to_string(goldens()).expect("the golden is committed");
    assert_eq!(
        text, golden,
        "behaviour changed; if that is meant, renew the golden (see this file's header)"
    );
}

fn two_pops() -> Topology {
    Topology::load(root().join("topologies/two-pops.toml")).expect("the shipped file reads")
}

fn options() -> Options {
    Options {
        duration: Some(Duration::from_secs(2)),
        ..Options::default()
    }
}

fn digest_of(topology: &Topology, options: &Options) -> String {
    run(topology, options, &mut |_| {})
        .expect("the topology builds")
        .digest
}

#[test]
fn another_seed_gives_another_digest() {
    let topology = two_pops();
    let of = |seed| {
        digest_of(
            &topology,
            &Options {
                seed: Some(anyedge_net::rng::Seed(seed)),
                ..options()
            },
        )
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

#[test]
fn a_nanosecond_a_byte_or_a_swapped_pair_changes_the_digest() {
    let topology = two_pops();
    let base = digest_of(&topology, &options());
    for change in [Change::Nanosecond, Change::Byte, Change::Swap] {
        for delivery in [0, 100, 1_000] {
            let perturbation = Some(Perturbation { delivery, change });
            let changed = digest_of(
                &topology,
                &Options {
                    perturbation,
                    ..options()
                },
            );
            assert_ne!(base, changed, "{change:?} at delivery {delivery}");
        }
    }
    // A change that never happens changes nothing: the hook itself is silent.
    let never = Some(Perturbation {
        delivery: u64::MAX - 1,
        change: Change::Swap,
    });
    assert_eq!(
        base,
        digest_of(
            &topology,
            &Options {
                perturbation: never,
                ..options()
            }
        )
    );
}

#[test]
fn real_sleeps_between_events_change_nothing() {
    let topology = two_pops();
    let base = digest_of(&topology, &options());
    // Two seconds on the wall: longer than any clock that hides in a library is patient.
    let mut sleeps = 0;
    let slow = Options {
        progress_every: 200,
        ..options()
    };
    let report = run(&topology, &slow, &mut |_| {
        sleeps += 1;
        if sleeps <= 40 {
            std::thread::sleep(Duration::from_millis(60));
        }
    });
    assert!(sleeps >= 40, "only {sleeps} sleeps: the run was not slow");
    assert_eq!(base, report.expect("the topology builds").digest);
}

#[test]
fn an_idle_backend_elsewhere_leaves_every_latency_unchanged() {
    let file = root().join("topologies/two-pops.toml");
    let text = fs::read_to_string(file).expect("the shipped file exists");
    let elsewhere = "\n[region.aachen]\n\
        [link.frankfurt-aachen]\nbetween = [\"pop.frankfurt\", \"region.aachen\"]\nrtt = \"5ms\"\n\
        [clb.ac]\nregion = \"aachen\"\nlistener.idle = { port = \"tcp/81\", targets = \"idle\" }\n\
        [targets.idle]\nport = 81\nservers = [{ ip = \"10.9.0.1\" }]\n";
    let latencies = |text: &str| {
        let topology = Topology::parse("two-pops.toml", text).expect("the file reads");
        let report = run(&topology, &options(), &mut |_| {}).expect("the topology builds");
        serde_json::to_value(&report.clients).expect("a report is JSON")
    };
    let alone = latencies(&text);
    assert!(
        alone[0]["latency_ms"]["p50"]
            .as_f64()
            .is_some_and(|p50| p50 > 1.0)
    );
    assert_eq!(alone, latencies(&format!("{text}{elsewhere}")));
}
