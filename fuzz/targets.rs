//! Fuzz targets: everything that takes bytes of others, one target for each family of reader.
//!
//! A target is a test. Under `cargo test` it replays its corpus, `__fuzz__/TARGET/corpus` beside this file, and some
//! inputs drawn at random; under `cargo bolero test` an engine grows that corpus by what it covers. A target asserts what
//! its reader promises, not only that it does not panic. docs/fuzzing.md says how to run them and what came of it.

#[path = "targets/bfd.rs"]
mod bfd;
#[path = "targets/bgp.rs"]
mod bgp;
#[path = "targets/forwarders.rs"]
mod forwarders;
#[path = "targets/fragments.rs"]
mod fragments;
#[path = "targets/gml.rs"]
mod gml;
#[path = "targets/hosts.rs"]
mod hosts;
#[path = "targets/input.rs"]
mod input;
#[path = "targets/language.rs"]
mod language;
#[path = "targets/measurements.rs"]
mod measurements;
#[path = "targets/nat64.rs"]
mod nat64;
#[path = "targets/raft.rs"]
mod raft;
#[path = "targets/raft_log.rs"]
mod raft_log;
#[path = "targets/sealing.rs"]
mod sealing;
#[path = "targets/streams.rs"]
mod streams;
#[path = "targets/super_packets.rs"]
mod super_packets;
#[path = "targets/table.rs"]
mod table;
#[path = "targets/topology.rs"]
mod topology;
#[path = "targets/tunnel.rs"]
mod tunnel;
#[path = "targets/wire.rs"]
mod wire;

/// Random inputs after those of the corpus, under `cargo test`.
const ITERATIONS: usize = 64;
/// As long as that may take, for slow machines: what is left then is not replayed.
const TIME_MAX: core::time::Duration = core::time::Duration::from_secs(600);

macro_rules! targets {
    ($($name:ident)*) => {
        const TARGETS: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                bolero::check!(name = stringify!($name))
                    .with_iterations(ITERATIONS)
                    .with_test_time(TIME_MAX)
                    .for_each(|bytes: &[u8]| $name::check(bytes));
            }
        )*
    };
}

targets! {
    bfd
    bgp
    forwarders
    fragments
    gml
    hosts
    language
    measurements
    nat64
    raft
    raft_log
    streams
    super_packets
    table
    topology
    tunnel
    wire
}

#[test]
fn every_target_has_its_corpus() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("__fuzz__");
    for target in TARGETS {
        let corpus = folder.join(target).join("corpus");
        let entries = std::fs::read_dir(&corpus)
            .unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
        let count = entries.count();
        assert!(count > 0, "{} is empty", corpus.display());
    }
}
