//! Messages and entries between our own types and the `raft` crate's, field by field, and what is no message.
//!
//! The crate trusts its peers: a message that no correct peer sends can end the process. What can be seen of
//! that without the log is refused here, the rest by [`Replica::step`](super::Replica::step).

use anyedge_proto::raft as proto;
use proto::{EntryKind, MessageKind};
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, Entry,
    EntryType, HardState, Message, MessageType, Snapshot,
};

/// Terms and places beyond this are nobody's: there is always a next one.
const NUMBER_MAX: u64 = 1 << 60;
/// Members of every kind.
pub(crate) const MEMBERS_MAX: usize = 64;

/// Why bytes or a message are not what a correct peer sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsound {
    /// It has no such kind.
    Kind,
    /// It is for another replica, or from nobody.
    Address,
    /// A term or a place that cannot be.
    Number,
    /// Its entries have gaps or terms that run back.
    Entries,
    /// Its snapshot is none.
    Snapshot,
    /// It contradicts what this replica knows to be committed.
    Contradiction,
    /// Who sent it is no member.
    Stranger,
}

pub(super) fn entry(entry: Entry) -> proto::Entry {
    let kind = match entry.get_entry_type() {
        EntryType::EntryNormal => EntryKind::Normal,
        EntryType::EntryConfChange => EntryKind::ConfChange,
        EntryType::EntryConfChangeV2 => EntryKind::ConfChangeV2,
    };
    proto::Entry {
        kind: kind.into(),
        term: entry.term,
        index: entry.index,
        data: entry.data,
        context: entry.context,
    }
}

pub(super) fn entry_of_raft(entry: proto::Entry) -> Result<Entry, Unsound> {
    let kind = match EntryKind::try_from(entry.kind) {
        Ok(EntryKind::Normal) => EntryType::EntryNormal,
        Ok(EntryKind::ConfChangeV2) => EntryType::EntryConfChangeV2,
        // Nobody here writes the older form.
        Ok(EntryKind::ConfChange) | Err(_) => return Err(Unsound::Entries),
    };
    if entry.term > NUMBER_MAX || entry.index > NUMBER_MAX {
        return Err(Unsound::Number);
    }
    let mut into = Entry::default();
    into.set_entry_type(kind);
    into.term = entry.term;
    into.index = entry.index;
    into.data = entry.data;
    into.context = entry.context;
    Ok(into)
}

pub(super) fn hard_state(state: &HardState) -> proto::HardState {
    proto::HardState {
        term: state.term,
        vote: state.vote,
        commit: state.commit,
    }
}

pub(super) fn hard_state_of_raft(state: &proto::HardState) -> HardState {
    HardState {
        term: state.term,
        vote: state.vote,
        commit: state.commit,
        ..HardState::default()
    }
}

pub(super) fn members(state: &ConfState) -> proto::Members {
    // The crate gives them in the order of its hash tables.
    let sorted = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    proto::Members {
        voters: sorted(&state.voters),
        learners: sorted(&state.learners),
        outgoing: sorted(&state.voters_outgoing),
        learners_next: sorted(&state.learners_next),
        auto_leave: state.auto_leave,
    }
}

pub(super) fn members_of_raft(members: proto::Members) -> Result<ConfState, Unsound> {
    let sets = [
        &members.voters,
        &members.learners,
        &members.outgoing,
        &members.learners_next,
    ];
    let count: usize = sets.iter().map(|set| set.len()).sum();
    let repeats = |set: &Vec<u64>| {
        set.iter()
            .enumerate()
            .any(|(at, id)| set[..at].contains(id))
    };
    let listens_and_votes = members
        .learners
        .iter()
        .any(|id| members.voters.contains(id) || members.outgoing.contains(id));
    let next_did_not_vote = members
        .learners_next
        .iter()
        .any(|id| !members.outgoing.contains(id) || members.voters.contains(id));
    let is_wrong = count > MEMBERS_MAX
        || sets.iter().any(|set| repeats(set) || set.contains(&0))
        || listens_and_votes
        || next_did_not_vote
        || (members.voters.is_empty() && count > 0)
        || (members.outgoing.is_empty() && members.auto_leave);
    if is_wrong {
        return Err(Unsound::Snapshot);
    }
    Ok(ConfState {
        voters: members.voters,
        learners: members.learners,
        voters_outgoing: members.outgoing,
        learners_next: members.learners_next,
        auto_leave: members.auto_leave,
        ..ConfState::default()
    })
}

pub(super) fn snapshot(mut snapshot: Snapshot) -> proto::Snapshot {
    let mut at = snapshot.take_metadata();
    proto::Snapshot {
        index: at.index,
        term: at.term,
        members: Some(members(&at.take_conf_state())),
        state: snapshot.data,
    }
}

pub(super) fn snapshot_of_raft(snapshot: proto::Snapshot) -> Result<Snapshot, Unsound> {
    if snapshot.index > NUMBER_MAX || snapshot.term > NUMBER_MAX {
        return Err(Unsound::Number);
    }
    let mut into = Snapshot::default();
    let at = into.mut_metadata();
    at.index = snapshot.index;
    at.term = snapshot.term;
    at.set_conf_state(members_of_raft(snapshot.members.unwrap_or_default())?);
    into.data = snapshot.state;
    Ok(into)
}

/// A change of members, as an entry's data has it.
pub(super) fn change_of_raft(change: &proto::MembersChange) -> Option<ConfChangeV2> {
    let mut into = ConfChangeV2::default();
    into.set_transition(match change.transition {
        0 => ConfChangeTransition::Auto,
        1 => ConfChangeTransition::Implicit,
        2 => ConfChangeTransition::Explicit,
        _ => return None,
    });
    for one in &change.changes {
        let mut single = ConfChangeSingle::default();
        single.set_change_type(match proto::ChangeKind::try_from(one.kind).ok()? {
            proto::ChangeKind::AddVoter => ConfChangeType::AddNode,
            proto::ChangeKind::Remove => ConfChangeType::RemoveNode,
            proto::ChangeKind::AddLearner => ConfChangeType::AddLearnerNode,
        });
        single.node_id = one.id;
        into.mut_changes().push(single);
    }
    Some(into)
}

/// For the network; `None` for what stays inside: requests are made to the leader's own replica only.
pub(super) fn message(mut from: Message) -> Option<proto::Message> {
    let kind = match from.get_msg_type() {
        MessageType::MsgAppend => MessageKind::Append,
        MessageType::MsgAppendResponse => MessageKind::AppendResponse,
        MessageType::MsgRequestVote => MessageKind::RequestVote,
        MessageType::MsgRequestVoteResponse => MessageKind::RequestVoteResponse,
        MessageType::MsgSnapshot => MessageKind::Snapshot,
        MessageType::MsgHeartbeat => MessageKind::Heartbeat,
        MessageType::MsgHeartbeatResponse => MessageKind::HeartbeatResponse,
        MessageType::MsgTimeoutNow => MessageKind::TimeoutNow,
        MessageType::MsgRequestPreVote => MessageKind::RequestPreVote,
        MessageType::MsgRequestPreVoteResponse => MessageKind::RequestPreVoteResponse,
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgTransferLeader
        | MessageType::MsgReadIndex
        | MessageType::MsgReadIndexResp
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum => return None,
    };
    let has_snapshot = kind == MessageKind::Snapshot;
    Some(proto::Message {
        kind: kind.into(),
        to: from.to,
        from: from.from,
        term: from.term,
        log_term: from.log_term,
        index: from.index,
        entries: from.take_entries().into_iter().map(entry).collect(),
        commit: from.commit,
        commit_term: from.commit_term,
        snapshot: has_snapshot.then(|| snapshot(from.take_snapshot())),
        request_snapshot: from.request_snapshot,
        reject: from.reject,
        reject_hint: from.reject_hint,
        context: from.context,
        priority: from.priority,
    })
}

/// From the network, for replica `to`.
pub(super) fn message_of_raft(from: proto::Message, to: u64) -> Result<Message, Unsound> {
    let kind = match MessageKind::try_from(from.kind) {
        Ok(MessageKind::Append) => MessageType::MsgAppend,
        Ok(MessageKind::AppendResponse) => MessageType::MsgAppendResponse,
        Ok(MessageKind::RequestVote) => MessageType::MsgRequestVote,
        Ok(MessageKind::RequestVoteResponse) => MessageType::MsgRequestVoteResponse,
        Ok(MessageKind::Snapshot) => MessageType::MsgSnapshot,
        Ok(MessageKind::Heartbeat) => MessageType::MsgHeartbeat,
        Ok(MessageKind::HeartbeatResponse) => MessageType::MsgHeartbeatResponse,
        Ok(MessageKind::TimeoutNow) => MessageType::MsgTimeoutNow,
        Ok(MessageKind::RequestPreVote) => MessageType::MsgRequestPreVote,
        Ok(MessageKind::RequestPreVoteResponse) => MessageType::MsgRequestPreVoteResponse,
        Ok(MessageKind::Unspecified) | Err(_) => return Err(Unsound::Kind),
    };
    if from.to != to || from.from == 0 || from.from == to {
        return Err(Unsound::Address);
    }
    let numbers = [
        from.term,
        from.log_term,
        from.index,
        from.commit,
        from.commit_term,
        from.reject_hint,
        from.request_snapshot,
    ];
    // To the crate, term 0 is a message of its own.
    if numbers.iter().any(|number| *number > NUMBER_MAX) || from.term == 0 {
        return Err(Unsound::Number);
    }
    check_entries(kind, &from)?;
    let mut into = Message::default();
    into.set_msg_type(kind);
    into.to = from.to;
    into.from = from.from;
    into.term = from.term;
    into.log_term = from.log_term;
    into.index = from.index;
    let entries: Result<Vec<_>, _> = from.entries.into_iter().map(entry_of_raft).collect();
    into.set_entries(entries?.into());
    into.commit = from.commit;
    into.commit_term = from.commit_term;
    if kind == MessageType::MsgSnapshot {
        let carried = snapshot_of_raft(from.snapshot.ok_or(Unsound::Snapshot)?)?;
        let at = carried.get_metadata();
        let has_voters = !at.get_conf_state().voters.is_empty();
        if at.index == 0 || at.term == 0 || at.term > from.term || !has_voters {
            return Err(Unsound::Snapshot);
        }
        into.set_snapshot(carried);
    }
    into.request_snapshot = from.request_snapshot;
    into.reject = from.reject;
    into.reject_hint = from.reject_hint;
    into.context = from.context;
    into.priority = from.priority;
    Ok(into)
}

/// Appended entries follow each other; nothing else has any.
fn check_entries(kind: MessageType, from: &proto::Message) -> Result<(), Unsound> {
    let is_sound = match kind {
        MessageType::MsgAppend => {
            let (mut index, mut term) = (from.index, from.log_term);
            from.entries.iter().all(|entry| {
                let follows = entry.index == index + 1 && entry.term >= term;
                (index, term) = (entry.index, entry.term);
                follows && term > 0 && term <= from.term
            }) && (from.index == 0) == (from.log_term == 0)
        }
        _ => from.entries.is_empty(),
    };
    is_sound.then_some(()).ok_or(Unsound::Entries)
}
