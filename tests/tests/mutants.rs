//! A changed file that the reader accepts is also one that the simulator runs, or refuses in words: never a panic.
//!
//! Lines of the shipped topologies are left out or get another figure. Most of what is still accepted asks for something
//! that nobody wrote on purpose (a link at a thousandth of its rate, a timeout of a day, a region without its last
//! client), and each such network is built and run for some milliseconds.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::time::Duration;

use anyedge_sim::run::{Options, run};
use anyedge_tests::binary::root;
use anyedge_topologies::Topology;

/// Of the accepted ones, one in so many is run.
const RUN_EVERY: usize = 24;

fn shipped() -> Vec<PathBuf> {
    let folders = ["topologies", "topologies/bench"].map(|folder| root().join(folder));
    let entries = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).expect("it is there"));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .filter(|path| !path.ends_with("Cargo.toml") && !path.ends_with("clippy.toml"))
        // A thousand clients: the same lines as in its neighbour.
        .filter(|path| !path.ends_with("dumbbell-tcp.toml"))
        .collect();
    files.sort();
    files
}

/// The line with its first figure changed, or without it.
fn changed(line: &str, turn: usize) -> Option<String> {
    let value = line.find('=')?;
    let digit = |c: char| c.is_ascii_digit();
    let figure = line[value..].find(digit).map(|at| value + at)?;
    Some(match turn % 4 {
        0 => format!("{}9{}", &line[..figure], &line[figure..]),
        1 => format!(
            "{}1{}",
            &line[..figure],
            line[figure..].trim_start_matches(digit)
        ),
        2 => format!(
            "{}0{}",
            &line[..figure],
            line[figure..].trim_start_matches(digit)
        ),
        _ => format!(
            "{}9999{}",
            &line[..figure],
            line[figure..].trim_start_matches(digit)
        ),
    })
}

/// Whether it is accepted; if so and `runs`, it is run.
fn survives(text: &str, runs: bool) -> bool {
    let Ok(mut topology) = Topology::parse("x.toml", text) else {
        return false;
    };
    if runs {
        topology.drain = Duration::from_millis(5);
        let options = Options {
            duration: Some(Duration::from_millis(20)),
            ..Options::default()
        };
        // A network that cannot be built says why.
        if let Err(error) = run(&topology, &options, &mut |_| {}) {
            assert!(!error.to_string().is_empty());
        }
    }
    true
}

#[test]
fn what_the_reader_accepts_the_simulator_runs() {
    let (mut accepted, mut ran) = (0, 0);
    for file in shipped() {
        let text = fs::read_to_string(&file).expect("readable");
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            for turn in [at, at + 1] {
                let change = changed(line, turn).filter(|_| turn == at);
                let mut mutant: Vec<&str> = lines.clone();
                match &change {
                    Some(change) => mutant[at] = change,
                    None => drop(mutant.remove(at)),
                }
                let mutant = mutant.join("\n");
                let runs = accepted % RUN_EVERY == 0;
                let survived = panic::catch_unwind(AssertUnwindSafe(|| survives(&mutant, runs)));
                let survived = survived.unwrap_or_else(|_| {
                    panic!("{}:{}: {:?} panics", file.display(), at + 1, change)
                });
                accepted += usize::from(survived);
                ran += usize::from(survived && runs);
            }
        }
    }
    assert!(accepted > 1_000, "only {accepted} are accepted");
    assert!(ran > 40, "only {ran} are run");
}
