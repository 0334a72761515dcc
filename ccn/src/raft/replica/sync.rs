//! From the crate's `Ready` to [`Work`]: what is written, what waits for the write, what is applied.

use anyedge_proto::raft::{ChangeKind, Members, MembersChange, Record};
use prost::Message as _;
use raft::Ready;
use raft::eraftpb::{Entry, EntryType};

use super::super::log::Log;
use super::super::message;
use super::super::store::Recovered;
use super::super::work::{Apply, Work, Write, absorb};
use super::{Refused, Replica, Waiting, step};

impl Replica {
    /// Takes one of the crate's wishes, and tells it that the log in memory has the entries.
    pub(super) fn take_ready(&mut self, work: &mut Work) {
        let mut ready = self.node.ready();
        self.number = ready.number();
        let messages = ready.take_messages().into_iter();
        work.messages.extend(messages.filter_map(message::message));
        for read in ready.take_read_states() {
            let ticket = step::ticket_of(&read.request_ctx, self.config.id, self.incarnation);
            work.reads.extend(ticket.map(|ticket| (ticket, read.index)));
        }
        self.take_record(&mut ready, work);
        let waiting = Waiting {
            number: ready.number(),
            needs_sync: ready.must_sync(),
            messages: ready.take_persisted_messages(),
        };
        let committed = ready.take_committed_entries();
        self.node.advance_append_async(ready);
        self.must_write |= waiting.needs_sync;
        self.waiting.push_back(waiting);
        // What waits for nothing is done at once.
        self.persisted(self.planted_persisted());
        work.messages.append(&mut self.released);
        for entry in committed {
            self.take_committed(entry, work);
        }
        self.tell_applied();
    }

    /// The crate counts as applied only what is durable; a snapshot is applied before.
    pub(super) fn tell_applied(&mut self) {
        let log = &self.node.raft.raft_log;
        let applied = self.applied.min(log.persisted).min(log.committed);
        if applied > log.applied {
            self.node.advance_apply_to(applied);
        }
    }

    /// What of it is to be written.
    fn take_record(&mut self, ready: &mut Ready, work: &mut Work) {
        let mut record = Record::default();
        if let Some(state) = ready.hs() {
            record.hard_state = Some(message::hard_state(state));
            self.node.mut_store().set_hard_state(state.clone());
        }
        let snapshot = ready.snapshot().clone();
        let restores = !snapshot.is_empty();
        if restores {
            self.node.mut_store().restore(snapshot.clone());
            let snapshot = message::snapshot(snapshot);
            self.members = snapshot.members.clone().unwrap_or_default();
            self.give(Apply::Restore(snapshot), work);
        }
        let entries = ready.take_entries();
        self.node.mut_store().append(entries.iter().cloned());
        if restores {
            record = self.node.store().whole();
        } else {
            record.entries = entries.into_iter().map(message::entry).collect();
        }
        absorb(&mut self.unwritten, record);
    }

    fn take_committed(&mut self, entry: Entry, work: &mut Work) {
        let (index, term) = (entry.index, entry.term);
        let apply = match entry.get_entry_type() {
            EntryType::EntryNormal if entry.data.is_empty() && entry.context.is_empty() => {
                Apply::Nothing {
                    index,
                    term,
                    members: None,
                }
            }
            EntryType::EntryNormal => Apply::Command {
                index,
                term,
                data: entry.data,
                context: entry.context,
            },
            EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                let members = self.change_of(&entry.data);
                Apply::Nothing {
                    index,
                    term,
                    members,
                }
            }
        };
        self.give(apply, work);
    }

    /// Carries out a committed change of members; one that cannot be is nothing, everywhere alike.
    fn change_of(&mut self, data: &[u8]) -> Option<Members> {
        let change = MembersChange::decode(data).ok()?;
        let change = message::change_of_raft(&change)?;
        let state = self.node.apply_conf_change(&change).ok()?;
        self.members = message::members(&state);
        let votes = [&self.members.voters, &self.members.outgoing];
        if self.must_lead().is_ok() && !votes.iter().any(|ids| ids.contains(&self.config.id)) {
            // The crate lets it lead on, and ends the process when it is no member at all.
            let term = self.node.raft.term;
            self.node.raft.become_follower(term, raft::INVALID_ID);
            self.draw_timeout();
        }
        Some(self.members.clone())
    }

    #[cfg(not(feature = "planted-bugs"))]
    pub(super) const fn planted_write(&self, write: Write) -> Write {
        write
    }

    /// The number up to which nothing is durable for a reason.
    #[cfg(not(feature = "planted-bugs"))]
    const fn planted_persisted(&self) -> u64 {
        0
    }
}

#[cfg(feature = "planted-bugs")]
impl Replica {
    /// From here on it has this bug.
    pub const fn plant(&mut self, bug: super::Planted) {
        self.planted = Some(bug);
    }

    pub(super) fn planted_write(&self, mut write: Write) -> Write {
        if self.planted == Some(super::Planted::ForgetVote) {
            let state = write.record.hard_state.as_mut();
            state.into_iter().for_each(|state| state.vote = 0);
        }
        write
    }

    fn planted_persisted(&self) -> u64 {
        match self.planted {
            Some(super::Planted::AnswerBeforeSync) => u64::MAX,
            _ => 0,
        }
    }
}

/// The log in memory of what a store kept.
pub(super) fn log_of(recovered: Recovered) -> Result<Log, Refused> {
    let foundation = recovered.foundation;
    let snapshot = foundation.snapshot.unwrap_or_default();
    let snapshot = message::snapshot_of_raft(snapshot).map_err(Refused::Message)?;
    let entries: Result<Vec<_>, _> = recovered
        .entries
        .into_iter()
        .map(message::entry_of_raft)
        .collect();
    let entries = entries.map_err(Refused::Message)?;
    let (at, first) = (snapshot.get_metadata().index, foundation.index);
    let follow = |(position, entry): (usize, &Entry)| entry.index == first + 1 + position as u64;
    let last = first + entries.len() as u64;
    if !entries.iter().enumerate().all(follow) || first > at || at > last {
        return Err(Refused::Unsound);
    }
    let mut state = message::hard_state_of_raft(&recovered.hard_state);
    if state.commit > last {
        return Err(Refused::Unsound);
    }
    state.commit = state.commit.max(at);
    state.term = state.term.max(snapshot.get_metadata().term);
    Ok(Log::new(state, (first, foundation.term), snapshot, entries))
}

/// Whether somebody votes after the change, and members are not too many.
pub(super) fn leaves_voters(members: &Members, change: &MembersChange) -> bool {
    let mut voters = members.voters.clone();
    for one in &change.changes {
        voters.retain(|voter| *voter != one.id);
        if one.kind == i32::from(ChangeKind::AddVoter) {
            voters.push(one.id);
        }
    }
    let ids = change.changes.iter().map(|one| one.id);
    let count = voters.len() + members.learners.len() + change.changes.len();
    !voters.is_empty() && count <= message::MEMBERS_MAX && ids.clone().all(|id| id != 0)
}
