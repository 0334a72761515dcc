//! What a member of the group says, whether it is one or has lost its mind: nothing ends this replica, and what was given
//! to be applied at a place is never another thing afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use anyedge_ccn::raft::{Apply, Config, Replica, Store, fresh};
use anyedge_net::rng::Seed;
use anyedge_net::time::Instant;
use anyedge_proto::raft::{Entry, EntryKind, Message, MessageKind};
use bytes::Bytes;
use prost::Message as _;

use crate::input::Input;
use crate::raft_log::shelf::Shelf;

/// Steps of one input.
const STEPS_MAX: usize = 64;

const KINDS: [MessageKind; 10] = [
    MessageKind::Append,
    MessageKind::AppendResponse,
    MessageKind::RequestVote,
    MessageKind::RequestVoteResponse,
    MessageKind::Snapshot,
    MessageKind::Heartbeat,
    MessageKind::HeartbeatResponse,
    MessageKind::TimeoutNow,
    MessageKind::RequestPreVote,
    MessageKind::RequestPreVoteResponse,
];

/// The replica and what came of it.
struct Member {
    replica: Replica,
    store: Store<Shelf>,
    now: Instant,
    applied: BTreeMap<u64, String>,
    unpersisted: Option<u64>,
}

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (store, kept) = Store::open(Shelf::default(), fresh(&[1, 2, 3])).expect("a fresh disk");
    let config = Config::new(1, Duration::from_millis(150));
    let rng = Seed(1).stream("fuzzed", "elections");
    let replica = Replica::new(config, kept, rng, Instant::ZERO).expect("a fresh log");
    let mut member = Member {
        replica,
        store,
        now: Instant::ZERO,
        applied: BTreeMap::new(),
        unpersisted: None,
    };
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        let choice = input.byte();
        member.step(choice % 8, &mut input);
        member.work(choice & 16 != 0);
    }
}

impl Member {
    fn step(&mut self, choice: u8, input: &mut Input<'_>) {
        match choice {
            0 => {
                if let Ok(message) = Message::decode(input.counted()) {
                    let _ = self.replica.step(message);
                }
            }
            1 => {
                self.now += Duration::from_millis(u64::from(input.u16()));
                self.replica.tick(self.now);
            }
            2 => {
                let data = Bytes::copy_from_slice(&input.take::<2>());
                let _ = self.replica.propose(data, Bytes::new());
            }
            3 => {
                let _ = self.replica.read_index();
            }
            4 => self.replica.unreachable(2 + u64::from(input.byte() & 1)),
            _ => {
                let _ = self.replica.step(message(input));
            }
        }
    }

    /// Does what the replica wants, its writes at once or with a later one.
    fn work(&mut self, persists: bool) {
        let work = self.replica.ready();
        if let Some(write) = work.write {
            self.store
                .write(&write.record)
                .expect("the disk takes everything");
            self.unpersisted = Some(write.number);
        }
        for apply in work.apply {
            self.apply(&apply);
        }
        if persists && let Some(number) = self.unpersisted.take() {
            self.replica.persisted(number);
        }
    }

    fn apply(&mut self, apply: &Apply) {
        let index = apply.index();
        if matches!(apply, Apply::Restore(_)) {
            self.applied.clear();
            return;
        }
        let last = self.applied.last_key_value().map(|(last, _)| *last);
        assert!(
            last.is_none_or(|last| index == last + 1),
            "{last:?}, then {index}"
        );
        let earlier = self.applied.insert(index, format!("{apply:?}"));
        assert_eq!(earlier, None, "applied again at {index}");
    }
}

/// A message with small numbers, which hit upon each other.
fn message(input: &mut Input<'_>) -> Message {
    let kind = KINDS[usize::from(input.byte()) % KINDS.len()];
    let [flags, term, log_term, index, commit, commit_term, hint] = input.take::<7>();
    let count = u64::from(flags >> 4) % 4;
    let [own_index, entry_term] = [index, log_term].map(u64::from);
    let entry = |at: u64, input: &mut Input<'_>| {
        let [more, first, second] = input.take::<3>();
        Entry {
            kind: EntryKind::Normal.into(),
            term: entry_term.max(1) + u64::from(more & 3),
            index: own_index + 1 + at,
            data: Bytes::copy_from_slice(&[first, second]),
            context: Bytes::new(),
        }
    };
    let has_entries = kind == MessageKind::Append;
    let entries = (0..count).filter(|_| has_entries);
    let entries = entries.map(|at| entry(at, input)).collect();
    let state = Bytes::copy_from_slice(&[flags]);
    let snapshot = fresh(&[1, 2, 3])
        .snapshot
        .map(|snapshot| anyedge_proto::raft::Snapshot {
            index: own_index,
            term: entry_term,
            state,
            ..snapshot
        });
    Message {
        kind: kind.into(),
        to: 1,
        from: 2 + u64::from(flags & 1),
        term: u64::from(term),
        log_term: entry_term,
        index: own_index,
        entries,
        commit: u64::from(commit),
        commit_term: u64::from(commit_term),
        snapshot: snapshot.filter(|_| kind == MessageKind::Snapshot),
        request_snapshot: 0,
        reject: flags & 2 != 0,
        reject_hint: u64::from(hint),
        context: Bytes::new(),
        priority: 0,
    }
}
