//! Who waits for what: proposals for their place to be applied, reads for a place to be known and come to.
//!
//! Invariant: every question that is taken here gets exactly one answer, at the latest when leadership ends.

use std::collections::BTreeMap;

use anyedge_net::time::Instant;
use bytes::Bytes;

use super::commits::OnCommit;
use super::input::{Answer, Applied, Failure};
use super::status::CommitLatency;
use crate::raft::{Place, ReadTicket};

/// Questions without an answer yet.
#[derive(Default)]
pub(super) struct Waiting {
    proposals: BTreeMap<u64, Proposal>,
    reads: BTreeMap<ReadTicket, Answer<u64>>,
    /// Reads whose place is known, by that place.
    placed: BTreeMap<u64, Vec<Answer<u64>>>,
}

struct Proposal {
    term: u64,
    since: Instant,
    answer: Answer<Applied>,
}

/// Gives an answer. Who asked may be gone.
pub(super) fn answer<T>(to: Answer<T>, what: Result<T, Failure>) {
    drop(to.send(what));
}

impl Waiting {
    pub(super) fn count(&self) -> usize {
        self.proposals.len() + self.reads.len() + self.placed.values().map(Vec::len).sum::<usize>()
    }

    pub(super) fn propose(&mut self, at: Place, since: Instant, to: Answer<Applied>) {
        let Place { index, term } = at;
        let proposal = Proposal {
            term,
            since,
            answer: to,
        };
        self.proposals.insert(index, proposal);
    }

    pub(super) fn read(&mut self, ticket: ReadTicket, to: Answer<u64>) {
        self.reads.insert(ticket, to);
    }

    /// The place of a read is known.
    pub(super) fn place(&mut self, ticket: ReadTicket, index: u64) {
        if let Some(to) = self.reads.remove(&ticket) {
            self.placed.entry(index).or_default().push(to);
        }
    }

    /// A place was applied, with this answer.
    pub(super) fn applied(
        &mut self,
        place: Place,
        outcome: Bytes,
        now: Instant,
        (latency, on_commit): (&mut CommitLatency, Option<&OnCommit>),
    ) {
        let Some(proposal) = self.proposals.remove(&place.index) else {
            return;
        };
        let what = if proposal.term == place.term {
            let took = now.since(proposal.since);
            latency.add(took);
            let applied = Applied {
                place,
                answer: outcome,
            };
            on_commit
                .into_iter()
                .for_each(|own| own.tell(&applied, took));
            Ok(applied)
        } else {
            Err(Failure::Lost)
        };
        answer(proposal.answer, what);
    }

    /// The state machine has come to this place: reads up to it are answered.
    pub(super) fn come_to(&mut self, applied: u64) {
        while let Some(first) = self.placed.first_entry() {
            if *first.key() > applied {
                return;
            }
            for to in first.remove() {
                answer(to, Ok(applied));
            }
        }
    }

    /// This member leads no more: reads may be asked elsewhere, and of proposals nothing is known.
    pub(super) fn give_up(&mut self, reads: &Failure) {
        for (_, proposal) in std::mem::take(&mut self.proposals) {
            answer(proposal.answer, Err(Failure::Unknown));
        }
        let placed = std::mem::take(&mut self.placed).into_values().flatten();
        let unplaced = std::mem::take(&mut self.reads).into_values();
        for to in unplaced.chain(placed) {
            answer(to, Err(reads.clone()));
        }
    }
}
