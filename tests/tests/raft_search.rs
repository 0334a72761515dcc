//! Safety of Raft, searched: thousands of small groups whose network, disks and clocks fail, each by its seed.
//!
//! Replicas, their messages (as bytes) and their logs (on simulated disks that lose what was not synced) are the real
//! ones; the world around them is as small as can be. A checker per property looks at everything that happens,
//! clients' histories must be linearizable, and once all is healed everybody has to be served. See docs/raft.md.
//!
//! One seed: `ANYEDGE_SEED=N cargo test -p anyedge-tests --test raft_search one_seed`.

#[path = "raft_search/client.rs"]
mod client;
#[path = "raft_search/election_safety.rs"]
mod election_safety;
#[path = "raft_search/faults.rs"]
mod faults;
#[path = "raft_search/leader_completeness.rs"]
mod leader_completeness;
#[path = "raft_search/log_matching.rs"]
mod log_matching;
#[path = "raft_search/member.rs"]
mod member;
#[path = "raft_search/register.rs"]
mod register;
#[path = "raft_search/state_machine_safety.rs"]
mod state_machine_safety;
#[path = "raft_search/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::fs;

use anyedge_ccn::raft::Planted;
use anyedge_tests::dataset;
use anyedge_tests::linearizability::{etcd_history, is_linearizable};

use world::{Outcome, play};

/// Seeds of the search.
const SEEDS: u64 = 2_000;

/// A checker for each property.
#[derive(Default)]
struct Checkers {
    election_safety: election_safety::ElectionSafety,
    log_matching: log_matching::LogMatching,
    leader_completeness: leader_completeness::LeaderCompleteness,
    state_machine_safety: state_machine_safety::StateMachineSafety,
}

#[test]
#[expect(
    clippy::print_stdout,
    reason = "what the search went through is what it tells"
)]
fn no_seed_is_unsafe_and_every_seed_recovers() {
    let outcomes = play_all(SEEDS / 2, 2, None);
    let failures: Vec<String> = outcomes
        .iter()
        .filter_map(|(seed, outcome)| {
            let failure = outcome.verdict.as_ref().err()?;
            Some(format!("ANYEDGE_SEED={seed}: {failure}"))
        })
        .collect();
    let sum = |of: fn(&Outcome) -> u64| outcomes.values().map(of).sum::<u64>();
    let (elections, answers) = (
        sum(|outcome| outcome.elections as u64),
        sum(|outcome| outcome.successes),
    );
    let crashes = sum(|outcome| outcome.crashes);
    println!("{SEEDS} seeds: {elections} elections, {crashes} crashes, {answers} answers");
    assert!(
        failures.is_empty(),
        "{} seeds:\n{}",
        failures.len(),
        failures.join("\n")
    );
    // The search is worth something only where something happens.
    assert!(elections > 2 * SEEDS && crashes > SEEDS && answers > 30 * SEEDS);
}

#[test]
fn answering_before_the_sync_is_found() {
    assert_found(Planted::AnswerBeforeSync);
}

#[test]
fn forgetting_the_vote_is_found() {
    assert_found(Planted::ForgetVote);
}

#[test]
fn skipping_read_index_is_found() {
    assert_found(Planted::SkipReadIndex);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        assert_eq!(
            play(seed, None).digest,
            play(seed, None).digest,
            "seed {seed}"
        );
    }
    assert_ne!(play(1, None).digest, play(2, None).digest);
}

#[test]
fn one_seed() {
    let seed = std::env::var("ANYEDGE_SEED").map_or(Ok(0), |seed| seed.parse());
    let seed = seed.expect("ANYEDGE_SEED is a number");
    assert_eq!(play(seed, None).verdict, Ok(()));
}

/// The checker says of etcd's histories what is known of them.
#[test]
fn the_checker_of_linearizability_agrees_on_etcds_histories() {
    let Some(folder) = dataset::folder() else {
        return;
    };
    let folder = folder.join("cases/linearizability");
    let verdicts = fs::read_to_string(folder.join("verdicts.csv")).expect("the verdicts are there");
    let mut count = 0;
    for line in verdicts.lines() {
        let (number, verdict) = line.split_once(',').expect("number, verdict");
        let (Ok(number), Ok(verdict)) = (number.parse::<u32>(), verdict.trim().parse::<bool>())
        else {
            continue;
        };
        let path = folder.join(format!("etcd_{number:03}.log"));
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let history = etcd_history(&text).expect("a Jepsen log");
        assert_eq!(is_linearizable(&history), verdict, "history {number}");
        count += 1;
    }
    assert_eq!(count, 50);
}

/// Some seed of the search shows the bug, by an unsafe run and not by one that only stands still.
#[expect(
    clippy::print_stdout,
    reason = "how soon a bug is found is what the test tells"
)]
fn assert_found(bug: Planted) {
    let found = (0..SEEDS).find_map(|seed| {
        let failure = play(seed, Some(bug)).verdict.err()?;
        (!failure.starts_with("no progress")).then_some((seed, failure))
    });
    println!("{bug:?}: {found:?}");
    assert!(found.is_some(), "{bug:?} is not found in {SEEDS} seeds");
}

/// Plays `each` seeds on each of so many threads.
fn play_all(each: u64, threads: u64, planted: Option<Planted>) -> BTreeMap<u64, Outcome> {
    std::thread::scope(|scope| {
        let play_some = |first| {
            move || {
                (first..first + each)
                    .map(|seed| (seed, play(seed, planted)))
                    .collect::<Vec<_>>()
            }
        };
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(play_some(thread * each)))
            .collect();
        let all = running.into_iter();
        all.flat_map(|thread| thread.join().expect("no seed ends the process"))
            .collect()
    })
}
