//! What a replica wants done: messages to send, a record to write, entries to apply, reads to answer.

use anyedge_proto::raft::{Members, Message, Record, Snapshot};
use bytes::Bytes;

/// Everything that a replica wants done, in this order: the write may begin and messages may leave at once,
/// applying comes before the reads.
#[derive(Default, Debug)]
pub struct Work {
    /// To be sent now. A message may be lost, doubled or late, but not changed.
    pub messages: Vec<Message>,
    /// To be made durable; then [`Replica::persisted`](super::Replica::persisted) is told.
    pub write: Option<Write>,
    /// To be done to the state machine, in this order.
    pub apply: Vec<Apply>,
    /// Reads that may be answered from the state machine as it is after `apply`, if that has come to the place.
    pub reads: Vec<(ReadTicket, u64)>,
    /// A member needs a newer snapshot than there is: [`Replica::compact`](super::Replica::compact) is called soon.
    pub wants_snapshot: bool,
    /// Who leads, when that changed: what waits for an answer from a leader that is none any more waits in vain.
    pub leadership: Option<Leadership>,
}

/// A record for the log on disk.
#[derive(Clone, Debug)]
pub struct Write {
    /// What to tell the replica when it is durable.
    pub number: u64,
    /// What to write.
    pub record: Record,
}

impl Write {
    /// Makes one write of this and the next one: one sync for both.
    pub fn absorb(&mut self, later: Write) {
        self.number = self.number.max(later.number);
        absorb(&mut self.record, later.record);
    }
}

/// Writes `later` over `record`, as a reader of both would.
pub(super) fn absorb(record: &mut Record, later: Record) {
    if later.hard_state.is_some() {
        record.hard_state = later.hard_state;
    }
    if later.foundation.is_some() {
        record.foundation = later.foundation;
        record.entries = later.entries;
        return;
    }
    if let Some(first) = later.entries.first() {
        // What a new leader overwrites never counted.
        let kept = record
            .entries
            .partition_point(|entry| entry.index < first.index);
        record.entries.truncate(kept);
        record.entries.extend(later.entries);
    }
}

/// What a state machine is after everything that was given to be applied: the place, and the members there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Point {
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) members: Members,
}

impl Point {
    /// Its place in the log.
    pub const fn index(&self) -> u64 {
        self.index
    }
}

/// What stays in the log behind a snapshot, for members that are slow: the last entries, as long as neither is
/// exceeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Entries at most.
    pub entries: u64,
    /// Bytes of them at most.
    pub bytes: u64,
}

/// One thing to do to the state machine.
#[derive(Clone, Debug)]
pub enum Apply {
    /// It becomes this, whatever it was.
    Restore(Snapshot),
    /// A command.
    Command {
        /// Its place in the log.
        index: u64,
        /// The term of its leader: with `index` it says which proposal this is.
        term: u64,
        /// What was proposed.
        data: Bytes,
        /// What was proposed with it.
        context: Bytes,
    },
    /// An entry without effect on the state machine: a leader's first one, or the members changed.
    Nothing {
        /// Its place in the log.
        index: u64,
        /// The term of its leader.
        term: u64,
        /// The members from here on, when they changed.
        members: Option<Members>,
    },
}

impl Apply {
    /// The place up to which the state machine has come with this.
    pub fn index(&self) -> u64 {
        match self {
            Apply::Restore(snapshot) => snapshot.index,
            Apply::Command { index, .. } | Apply::Nothing { index, .. } => *index,
        }
    }
}

/// A read that waits until its place is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReadTicket(pub(super) u64);

/// What a replica is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It follows.
    Follower,
    /// It asks whether it would be elected.
    PreCandidate,
    /// It asks to be elected.
    Candidate,
    /// It leads.
    Leader,
}

/// Who leads, as one replica knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leadership {
    /// What the replica itself is.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// The leader of that term.
    pub leader: Option<u64>,
}

#[cfg(test)]
mod tests {
    use anyedge_proto::raft::{Entry, Foundation, HardState};

    use super::*;

    fn record(term: u64, indexes: core::ops::Range<u64>) -> Record {
        let entry = |index| Entry {
            term,
            index,
            ..Entry::default()
        };
        Record {
            entries: indexes.map(entry).collect(),
            ..Record::default()
        }
    }

    fn places(record: &Record) -> Vec<(u64, u64)> {
        let places = record.entries.iter();
        places.map(|entry| (entry.index, entry.term)).collect()
    }

    #[test]
    fn a_later_write_overwrites_the_end_of_an_earlier_one() {
        let mut write = Write {
            number: 1,
            record: record(1, 5..8),
        };
        let mut later = record(2, 6..7);
        later.hard_state = Some(HardState {
            term: 2,
            vote: 3,
            commit: 5,
        });
        write.absorb(Write {
            number: 2,
            record: later,
        });
        assert_eq!(places(&write.record), [(5, 1), (6, 2)]);
        assert_eq!(
            (
                write.number,
                write.record.hard_state.map(|state| state.vote)
            ),
            (2, Some(3))
        );
    }

    #[test]
    fn a_log_that_begins_anew_forgets_what_was_before() {
        let mut first = record(1, 5..8);
        let mut anew = record(2, 20..21);
        anew.foundation = Some(Foundation::default());
        absorb(&mut first, anew);
        assert_eq!(places(&first), [(20, 2)]);
        assert!(first.foundation.is_some());
        absorb(&mut first, record(2, 21..22));
        assert_eq!(places(&first), [(20, 2), (21, 2)]);
    }
}
