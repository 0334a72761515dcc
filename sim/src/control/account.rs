//! The account of the control plane: elections, commands, and how long revisions take to be in force everywhere.
//!
//! A revision is in force everywhere when every POP that is up has it or a later one. Its time counts from when its
//! command came to the leader. While a POP that came back from nothing has no table yet, nothing is.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use anyedge_ccn::raft::Role;
use anyedge_net::time::{Instant, nanos};
use hdrhistogram::Histogram;

/// What latencies are told apart: 1 us to 1 h, three digits.
const NANOS_MIN: u64 = 1_000;
const NANOS_MAX: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;
/// Revisions that may be on their way; the oldest of more are given up.
const PENDING_MAX: usize = 4_096;

/// The account of a run.
pub(crate) struct Account {
    /// What each controller is, and its term.
    members: BTreeMap<String, (Role, u64)>,
    /// Terms with a leader.
    led: BTreeMap<u64, String>,
    pub(crate) term: u64,
    /// Controllers that stopped by themselves, and why.
    pub(crate) stopped: BTreeMap<String, String>,
    pub(crate) commits: Histogram<u64>,
    /// Revisions that anybody was seen to have, from the one on that the run began with.
    seen: BTreeSet<u64>,
    /// Revisions that are not in force everywhere yet, with the time at which each came to the leader.
    pending: BTreeMap<u64, Instant>,
    pub(crate) everywhere: Histogram<u64>,
}

impl Account {
    /// An account of what comes after revision `first`.
    pub(crate) fn new(first: u64) -> Account {
        let latencies = || {
            Histogram::new_with_bounds(NANOS_MIN, NANOS_MAX, DIGITS)
                .expect("sound bounds, by tests")
        };
        Account {
            members: BTreeMap::new(),
            led: BTreeMap::new(),
            term: 0,
            stopped: BTreeMap::new(),
            commits: latencies(),
            seen: BTreeSet::from([first]),
            pending: BTreeMap::new(),
            everywhere: latencies(),
        }
    }

    /// Terms in which somebody led.
    pub(crate) fn elections(&self) -> u64 {
        self.led.len() as u64
    }

    /// The controllers that lead, as they know it, the newest term first.
    pub(crate) fn leading(&self) -> impl Iterator<Item = &str> {
        let leading = self.members.iter();
        let leading = leading.filter(|(_, (role, _))| *role == Role::Leader);
        let mut leading: Vec<(u64, &str)> = leading
            .map(|(name, (_, term))| (*term, name.as_str()))
            .collect();
        leading.sort_unstable_by(|one, other| other.cmp(one));
        leading.into_iter().map(|(_, name)| name)
    }

    /// A controller tells what it is.
    pub(crate) fn stands(&mut self, controller: &str, role: Role, term: u64) {
        self.members.insert(controller.to_owned(), (role, term));
        self.term = self.term.max(term);
        if role == Role::Leader {
            self.led.insert(term, controller.to_owned());
        }
    }

    /// A controller takes part no more until its machine starts anew.
    pub(crate) fn stopped(&mut self, controller: &str, why: &str) {
        self.stopped.insert(controller.to_owned(), why.to_owned());
    }

    /// Revisions that were made.
    pub(crate) fn revisions(&self) -> u64 {
        self.seen.len() as u64 - 1
    }

    /// Somebody has this revision. That of a leader that died before it could answer shows in this way alone.
    pub(crate) fn saw(&mut self, revision: u64) {
        self.seen.insert(revision);
    }

    /// A command came through; `revision`: what it made, if anything.
    pub(crate) fn committed(&mut self, now: Instant, took: Duration, revision: Option<u64>) {
        self.commits.saturating_record(nanos(took));
        let Some(revision) = revision else {
            return;
        };
        self.saw(revision);
        let since = now.as_nanos().saturating_sub(nanos(took));
        self.pending.insert(revision, Instant::from_nanos(since));
        if self.pending.len() > PENDING_MAX {
            self.pending.pop_first();
        }
    }

    /// The oldest revision at any POP that is up is this one; 0: one has none.
    pub(crate) fn in_force(&mut self, now: Instant, oldest: u64) {
        while let Some(first) = self.pending.first_entry() {
            if *first.key() > oldest {
                return;
            }
            let since = first.remove();
            self.everywhere.saturating_record(nanos(now.since(since)));
        }
    }

    /// Revisions that are not in force everywhere.
    pub(crate) fn on_their_way(&self) -> u64 {
        self.pending.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(count)
    }

    #[test]
    fn a_revision_counts_from_its_arrival_at_the_leader_until_the_last_pop_has_it() {
        let mut account = Account::new(1);
        account.committed(ms(110), Duration::from_millis(10), Some(7));
        account.committed(ms(120), Duration::from_millis(10), Some(8));
        account.committed(ms(130), Duration::from_millis(30), None);
        account.in_force(ms(150), 7);
        assert_eq!((account.everywhere.len(), account.on_their_way()), (1, 1));
        account.in_force(ms(210), 9);
        let about = |nanos: u64, ms: u64| nanos.abs_diff(ms * 1_000_000) < ms * 1_000;
        assert!(about(account.everywhere.min(), 50), "100 ms to 150 ms");
        assert!(about(account.everywhere.max(), 100), "110 ms to 210 ms");
        assert_eq!((account.commits.len(), account.revisions()), (3, 2));
    }

    #[test]
    fn each_term_with_a_leader_is_one_election_and_the_newest_leads() {
        let mut account = Account::new(1);
        account.stands("controller.a", Role::Leader, 2);
        account.stands("controller.b", Role::Candidate, 3);
        account.stands("controller.b", Role::Leader, 4);
        account.stands("controller.b", Role::Leader, 4);
        assert_eq!((account.elections(), account.term), (2, 4));
        assert_eq!(
            account.leading().collect::<Vec<_>>(),
            ["controller.b", "controller.a"]
        );
    }
}
