//! The log in memory, as the `raft` crate reads it: entries since the last truncation, and a snapshot.
//!
//! It mirrors what the store was told to write and is never read back from there but at the start. It is bounded
//! by who calls [`Log::compact`] when it grows.
//!
//! Invariant: entries are contiguous from the place after `truncated`, which is at or before the snapshot's.

use core::cell::Cell;
use std::collections::VecDeque;

use anyedge_proto::raft as proto;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use super::message;
use super::work::Kept;

/// What an entry takes beside its data, in bytes, about.
const ENTRY_BYTES: u64 = 48;

/// The log.
pub(super) struct Log {
    /// Place and term of what lies before the first entry.
    truncated: (u64, u64),
    entries: VecDeque<Entry>,
    hard_state: HardState,
    snapshot: Snapshot,
    bytes: u64,
    /// Somebody needs a snapshot that is newer than ours.
    wants_snapshot: Cell<bool>,
}

impl Log {
    pub(super) fn new(
        hard_state: HardState,
        truncated: (u64, u64),
        snapshot: Snapshot,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Log {
        let mut log = Log {
            truncated,
            entries: VecDeque::new(),
            hard_state,
            snapshot,
            bytes: 0,
            wants_snapshot: Cell::new(false),
        };
        log.append(entries);
        log
    }

    /// Entries that it has.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What they take, in bytes, about.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The last snapshot's place.
    pub(super) fn snapshot_index(&self) -> u64 {
        self.snapshot.get_metadata().index
    }

    /// Takes new entries, which overwrite those at and behind the first one's place.
    pub(super) fn append(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            let position = entry.index - self.truncated.0 - 1;
            while self.entries.len() as u64 > position {
                let gone = self.entries.pop_back().expect("it is longer than that");
                self.bytes -= bytes_of(&gone);
            }
            assert_eq!(self.entries.len() as u64, position, "the log has no gaps");
            self.bytes += bytes_of(&entry);
            self.entries.push_back(entry);
        }
    }

    /// Whether somebody needed a newer snapshot since this was last asked.
    pub(super) fn take_wants_snapshot(&self) -> bool {
        self.wants_snapshot.take()
    }

    pub(super) fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// The log begins anew behind a leader's snapshot.
    pub(super) fn restore(&mut self, snapshot: Snapshot) {
        let at = snapshot.get_metadata();
        self.truncated = (at.index, at.term);
        self.entries.clear();
        self.bytes = 0;
        self.snapshot = snapshot;
    }

    /// Takes a snapshot of our own and lets go of all entries before it but the last that are `kept`.
    pub(super) fn compact(&mut self, snapshot: Snapshot, kept: Kept) {
        let at = snapshot.get_metadata().index;
        let until = at.saturating_sub(kept.entries);
        let later = self
            .entries
            .iter()
            .rev()
            .take_while(|entry| entry.index > at);
        let mut before = self.bytes - later.map(bytes_of).sum::<u64>();
        while self.truncated.0 < until || (self.truncated.0 < at && before > kept.bytes) {
            let gone = self.entries.pop_front().expect("it was applied from here");
            self.bytes -= bytes_of(&gone);
            before -= bytes_of(&gone);
            self.truncated = (gone.index, gone.term);
        }
        self.snapshot = snapshot;
    }

    /// All of it, as a record that a log on disk may begin with.
    pub(super) fn whole(&self) -> proto::Record {
        proto::Record {
            hard_state: Some(message::hard_state(&self.hard_state)),
            entries: self.entries.iter().cloned().map(message::entry).collect(),
            foundation: Some(proto::Foundation {
                snapshot: Some(message::snapshot(self.snapshot.clone())),
                index: self.truncated.0,
                term: self.truncated.1,
            }),
            incarnation: 0,
        }
    }

    fn end(&self) -> u64 {
        self.truncated.0 + self.entries.len() as u64
    }
}

fn bytes_of(entry: &Entry) -> u64 {
    ENTRY_BYTES + (entry.data.len() + entry.context.len()) as u64
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let members: ConfState = self.snapshot.get_metadata().get_conf_state().clone();
        Ok(RaftState::new(self.hard_state.clone(), members))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.truncated.0 {
            return Err(StorageError::Compacted.into());
        }
        assert!(high <= self.end() + 1, "asked for what is not there");
        let mut room = max_size.into().unwrap_or(u64::MAX);
        let start = (low - self.truncated.0 - 1) as usize;
        let range = start..(high - self.truncated.0 - 1) as usize;
        let mut taken = Vec::new();
        for entry in self.entries.range(range) {
            let bytes = bytes_of(entry);
            if !taken.is_empty() && bytes > room {
                break;
            }
            room = room.saturating_sub(bytes);
            taken.push(entry.clone());
        }
        Ok(taken)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.truncated.0 {
            return Ok(self.truncated.1);
        }
        let at = self.snapshot.get_metadata();
        if index < self.truncated.0 {
            return Err(StorageError::Compacted.into());
        }
        let entry = self.entries.get((index - self.truncated.0 - 1) as usize);
        match entry {
            Some(entry) => Ok(entry.term),
            None if index == at.index => Ok(at.term),
            None => Err(StorageError::Unavailable.into()),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.truncated.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.end())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let at = self.snapshot.get_metadata();
        let members = at.get_conf_state();
        // A replica takes no snapshot in which it is no member.
        let knows = [&members.voters, &members.learners, &members.voters_outgoing];
        if at.index < request_index || !knows.iter().any(|ids| ids.contains(&to)) {
            self.wants_snapshot.set(true);
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        Ok(self.snapshot.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(entries: u64, bytes: usize) -> Log {
        let state = (HardState::default(), Snapshot::default());
        let entry = |index| Entry {
            index,
            term: 1,
            data: vec![0; bytes].into(),
            ..Entry::default()
        };
        Log::new(state.0, (0, 0), state.1, (1..=entries).map(entry))
    }

    fn snapshot(index: u64) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.mut_metadata().index = index;
        snapshot
    }

    #[test]
    fn entries_stay_behind_a_snapshot_as_long_as_they_are_few_and_small() {
        let small = Kept {
            entries: 4,
            bytes: 1 << 20,
        };
        let mut few = log(20, 10);
        few.compact(snapshot(15), small);
        assert_eq!((few.truncated.0, few.len()), (11, 9));
        let mut large = log(20, 1_000);
        let room = Kept {
            entries: 100,
            bytes: 2 * (1_000 + ENTRY_BYTES),
        };
        large.compact(snapshot(15), room);
        assert_eq!(
            (large.truncated.0, large.len()),
            (13, 7),
            "what is newer stays"
        );
        assert_eq!(large.bytes(), 7 * (1_000 + ENTRY_BYTES));
    }
}
