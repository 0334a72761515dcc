//! Replicas that hand each other messages by hand, with a disk that is always quick, or never.

use std::collections::BTreeMap;
use std::time::Duration;

use anyedge_net::rng::Seed;
use anyedge_proto::raft::{ChangeKind, Entry, MessageKind};
use proptest::prelude::*;

use super::super::store::{fresh, joining};
use super::*;

const TIMEOUT: Duration = Duration::from_millis(150);

/// Replicas by number; what one says reaches the others at once, unless it is cut off.
struct Group {
    replicas: BTreeMap<u64, Replica>,
    applied: BTreeMap<u64, Vec<Apply>>,
    cut: Vec<u64>,
    loses_snapshots: bool,
    now: Instant,
}

fn recovered(foundation: anyedge_proto::raft::Foundation) -> Recovered {
    let hard_state = anyedge_proto::raft::HardState {
        term: foundation.term,
        vote: 0,
        commit: foundation.index,
    };
    Recovered {
        hard_state,
        foundation,
        entries: Vec::new(),
        incarnation: 1,
    }
}

/// Takes a snapshot and keeps nothing behind it.
fn compact(replica: &mut Replica, state: &'static str) {
    let kept = Kept {
        entries: 0,
        bytes: 0,
    };
    if let Some(point) = replica.point() {
        replica.compact(point, state.into(), kept);
    }
}

fn replica(id: u64, kept: Recovered) -> Replica {
    let rng = Seed(id).stream("test", "elections");
    Replica::new(Config::new(id, TIMEOUT), kept, rng, Instant::ZERO).expect("it is sound")
}

impl Group {
    fn new(voters: &[u64]) -> Group {
        let members = voters.iter();
        let replicas = members.map(|id| (*id, replica(*id, recovered(fresh(voters)))));
        Group {
            replicas: replicas.collect(),
            applied: BTreeMap::new(),
            cut: Vec::new(),
            loses_snapshots: false,
            now: Instant::ZERO,
        }
    }

    /// Lets everything be said and written that is to be.
    fn settle(&mut self) {
        loop {
            let mut said = Vec::new();
            for (id, replica) in &mut self.replicas {
                let work = replica.ready();
                if work.wants_snapshot {
                    compact(replica, "the state after a");
                }
                if let Some(write) = &work.write {
                    replica.persisted(write.number);
                    said.extend(replica.ready_messages());
                }
                self.applied.entry(*id).or_default().extend(work.apply);
                said.extend(work.messages);
            }
            if said.is_empty() {
                return;
            }
            for message in said {
                let is_cut = self.cut.contains(&message.to)
                    || self.cut.contains(&message.from)
                    || (self.loses_snapshots && message.kind() == MessageKind::Snapshot);
                if let Some(to) = self.replicas.get_mut(&message.to).filter(|_| !is_cut) {
                    let _ = to.step(message);
                }
            }
        }
    }

    /// Lets time pass.
    fn wait(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.now < until {
            self.now += Duration::from_millis(3);
            for replica in self.replicas.values_mut() {
                replica.tick(self.now);
            }
            self.settle();
        }
    }

    fn leader(&mut self) -> u64 {
        for _ in 0..20 {
            self.wait(TIMEOUT);
            let leads = |replica: &&Replica| {
                replica.leadership().role == Role::Leader && !self.cut.contains(&replica.id())
            };
            if let Some(leader) = self.replicas.values().find(leads) {
                return leader.id();
            }
        }
        panic!("nobody is elected");
    }

    fn propose(&mut self, data: &'static str) {
        let leader = self.leader();
        let leader = self.replicas.get_mut(&leader).expect("it leads");
        leader.propose(data.into(), Bytes::new()).expect("it leads");
        self.settle();
        self.wait(TIMEOUT);
    }

    fn commands(&self, id: u64) -> Vec<Bytes> {
        let applied = self.applied[&id].iter();
        let commands = applied.filter_map(|apply| match apply {
            Apply::Command { data, .. } => Some(data.clone()),
            _ => None,
        });
        commands.collect()
    }
}

impl Replica {
    /// What the replica says since a write is durable, for tests that need nothing else of its work.
    fn ready_messages(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.released)
    }
}

#[test]
fn three_replicas_elect_a_leader_and_apply_the_same_commands() {
    let mut group = Group::new(&[1, 2, 3]);
    group.propose("a");
    group.propose("b");
    for id in 1..=3 {
        assert_eq!(group.commands(id), ["a", "b"], "replica {id}");
    }
    let leader = group.leader();
    let follower = group
        .replicas
        .values_mut()
        .find(|replica| replica.id() != leader);
    let refused = follower
        .expect("there are three")
        .propose("c".into(), Bytes::new());
    assert_eq!(refused, Err(Refused::NotLeader));
}

#[test]
fn the_rest_elects_another_leader_and_the_old_one_steps_down() {
    let mut group = Group::new(&[1, 2, 3]);
    let old = group.leader();
    group.cut = vec![old];
    let new = group.leader();
    assert_ne!(old, new);
    group.wait(4 * TIMEOUT);
    assert_ne!(
        group.replicas[&old].leadership().role,
        Role::Leader,
        "nobody answers it"
    );
    group.propose("while it was away");
    group.cut.clear();
    group.wait(4 * TIMEOUT);
    assert_eq!(group.commands(old), ["while it was away"]);
}

#[test]
fn no_answer_leaves_before_its_write_is_durable() {
    let mut group = Group::new(&[1, 2, 3]);
    let leader = group.leader();
    let follower = *group
        .replicas
        .keys()
        .find(|id| **id != leader)
        .expect("three");
    let leading = group.replicas.get_mut(&leader).expect("it leads");
    leading.propose("x".into(), Bytes::new()).expect("it leads");
    let work = leading.ready();
    let append = work
        .messages
        .into_iter()
        .find(|message| message.to == follower);
    let following = group.replicas.get_mut(&follower).expect("it follows");
    following
        .step(append.expect("the leader sends before its own disk is done"))
        .expect("sound");
    let work = following.ready();
    let write = work.write.expect("an entry is to be written");
    assert_eq!(work.messages, [], "not yet");
    assert_eq!(following.ready().messages, [], "and not by asking again");
    following.persisted(write.number);
    let kinds: Vec<_> = following
        .ready()
        .messages
        .iter()
        .map(Message::kind)
        .collect();
    assert_eq!(kinds, [MessageKind::AppendResponse]);
}

#[test]
fn a_vote_leaves_when_it_is_durable() {
    let mut voter = replica(2, recovered(fresh(&[1, 2, 3])));
    let ask = |term, from| Message {
        kind: MessageKind::RequestVote.into(),
        to: 2,
        from,
        term,
        index: 1,
        log_term: 1,
        ..Message::default()
    };
    voter.step(ask(7, 1)).expect("sound");
    let work = voter.ready();
    assert_eq!(work.messages, []);
    let write = work.write.expect("a vote is to be written");
    assert_eq!(write.record.hard_state.expect("changed").vote, 1);
    voter.persisted(write.number);
    assert!(!voter.ready().messages[0].reject);
    voter.step(ask(7, 3)).expect("sound");
    assert!(voter.ready().messages[0].reject, "one vote in a term");
}

#[test]
fn a_read_waits_for_a_majority() {
    let mut group = Group::new(&[1, 2, 3]);
    group.propose("a");
    let leader = group.leader();
    let leading = group.replicas.get_mut(&leader).expect("it leads");
    let ticket = leading.read_index().expect("it leads");
    let asked = leading.ready();
    assert_eq!(asked.reads, [], "it may lead no more");
    let ask = asked
        .messages
        .into_iter()
        .next()
        .expect("it asks the others");
    let follower = group.replicas.get_mut(&ask.to).expect("a member");
    follower.step(ask).expect("sound");
    let answers = follower.ready().messages;
    let leading = group.replicas.get_mut(&leader).expect("it leads");
    for answer in answers {
        leading.step(answer).expect("sound");
    }
    let reads = leading.ready().reads;
    assert_eq!(reads, [(ticket, leading.committed())]);
}

#[test]
fn leadership_is_handed_over() {
    let mut group = Group::new(&[1, 2, 3]);
    let old = group.leader();
    let to = *group.replicas.keys().find(|id| **id != old).expect("three");
    let leading = group.replicas.get_mut(&old).expect("it leads");
    assert_eq!(leading.transfer(9), Err(Refused::Unsound));
    leading.transfer(to).expect("it leads");
    group.settle();
    assert_eq!(group.replicas[&to].leadership().role, Role::Leader);
}

#[test]
fn a_joining_replica_gets_a_snapshot_listens_and_then_votes() {
    let mut group = Group::new(&[1, 2, 3]);
    group.propose("a");
    let leader = group.leader();
    let leading = group.replicas.get_mut(&leader).expect("it leads");
    compact(leading, "too old for who joins later");
    group.replicas.insert(4, replica(4, recovered(joining())));
    for kind in [ChangeKind::AddLearner, ChangeKind::AddVoter] {
        let leader = group.leader();
        let leading = group.replicas.get_mut(&leader).expect("it leads");
        let change = MemberChange {
            kind: kind.into(),
            id: 4,
        };
        leading
            .change_members(vec![change])
            .expect("none is under way");
        group.settle();
        group.wait(2 * TIMEOUT);
    }
    assert!(matches!(
        &group.applied[&4][0],
        Apply::Restore(snapshot) if snapshot.state == "the state after a"
    ));
    let members = group.replicas[&4].members();
    assert_eq!(
        (&members.voters[..], &members.learners[..]),
        (&[1, 2, 3, 4][..], &[][..])
    );
    group.propose("b");
    assert_eq!(group.commands(4), ["b"]);
}

#[test]
fn two_of_three_are_replaced_at_once_by_way_of_both_sets() {
    let mut group = Group::new(&[1, 2, 3]);
    group.propose("a");
    let leader = group.leader();
    let gone: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    for id in [4, 5] {
        group.replicas.insert(id, replica(id, recovered(joining())));
    }
    let change = |kind: ChangeKind, id| MemberChange {
        kind: kind.into(),
        id,
    };
    let changes = vec![
        change(ChangeKind::AddVoter, 4),
        change(ChangeKind::AddVoter, 5),
        change(ChangeKind::Remove, gone[0]),
        change(ChangeKind::Remove, gone[1]),
    ];
    let leading = group.replicas.get_mut(&leader).expect("it leads");
    leading.change_members(changes).expect("none is under way");
    let again = leading.change_members(vec![change(ChangeKind::Remove, 4)]);
    assert_eq!(again, Err(Refused::Busy));
    group.wait(4 * TIMEOUT);
    group.cut = gone;
    group.propose("b");
    let members = group.replicas[&leader].members().clone();
    assert_eq!(
        (members.voters, members.outgoing),
        (vec![leader, 4, 5], vec![])
    );
    assert_eq!(group.commands(5), ["b"], "a came with the snapshot");
}

#[test]
fn a_leader_that_removes_itself_steps_down() {
    let mut group = Group::new(&[1, 2, 3]);
    let old = group.leader();
    let remove = MemberChange {
        kind: ChangeKind::Remove.into(),
        id: old,
    };
    let leading = group.replicas.get_mut(&old).expect("it leads");
    leading.change_members(vec![remove]).expect("others stay");
    leading
        .propose("behind it".into(), Bytes::new())
        .expect("it still leads");
    group.settle();
    group.wait(4 * TIMEOUT);
    assert_ne!(group.leader(), old);
    assert_ne!(group.replicas[&old].leadership().role, Role::Leader);
    group.propose("without it");
}

#[test]
fn a_snapshot_that_was_lost_is_sent_again() {
    let mut group = Group::new(&[1, 2, 3]);
    let leader = group.leader();
    let away = *group
        .replicas
        .keys()
        .find(|id| **id != leader)
        .expect("three");
    group.cut = vec![away];
    group.propose("a");
    let leading = group.replicas.get_mut(&leader).expect("it leads");
    compact(leading, "the state after a");
    group.settle();
    group.cut.clear();
    group.loses_snapshots = true;
    group.wait(4 * TIMEOUT);
    assert!(group.commands(away).is_empty());
    group.loses_snapshots = false;
    group.wait(30 * TIMEOUT);
    assert!(matches!(
        group.applied[&away].last(),
        Some(Apply::Restore(_))
    ));
}

#[test]
fn a_late_answer_to_a_leader_that_crashed_is_no_contradiction() {
    // It led in term 1, and its own entries up to 5 were not durable when it crashed.
    let mut back = replica(1, recovered(fresh(&[1, 2, 3])));
    let late = Message {
        kind: MessageKind::AppendResponse.into(),
        to: 1,
        from: 2,
        term: 1,
        index: 5,
        ..Message::default()
    };
    assert_eq!(back.step(late), Ok(()));
    assert_eq!(back.ready().messages, []);
}

#[test]
fn nobody_campaigns_before_its_snapshot_is_durable() {
    let mut behind = replica(2, recovered(fresh(&[1, 2, 3])));
    let snapshot = Snapshot {
        index: 9,
        term: 2,
        members: Some(behind.members().clone()),
        state: Bytes::new(),
    };
    let from_leader = |kind: MessageKind, snapshot| Message {
        kind: kind.into(),
        to: 2,
        from: 1,
        term: 2,
        snapshot,
        ..Message::default()
    };
    behind
        .step(from_leader(MessageKind::Snapshot, Some(snapshot)))
        .expect("sound");
    let write = behind.ready().write.expect("a snapshot is written");
    behind
        .step(from_leader(MessageKind::TimeoutNow, None))
        .expect("sound");
    behind.tick(Instant::ZERO + Duration::from_secs(10));
    assert_eq!(behind.leadership().role, Role::Follower);
    behind.persisted(write.number);
    behind
        .step(from_leader(MessageKind::TimeoutNow, None))
        .expect("sound");
    assert_eq!(behind.leadership().role, Role::Candidate);
}

#[test]
fn the_last_voter_is_not_removed() {
    let mut group = Group::new(&[1]);
    let leader = group.leader();
    let alone = group.replicas.get_mut(&leader).expect("it leads");
    let remove = MemberChange {
        kind: ChangeKind::Remove.into(),
        id: 1,
    };
    assert_eq!(alone.change_members(vec![remove]), Err(Refused::NoVoters));
    assert_eq!(alone.change_members(vec![]), Err(Refused::NoVoters));
}

#[test]
fn a_clock_that_jumps_passes_one_timeout_forward_and_none_backward() {
    let mut one = replica(1, recovered(fresh(&[1, 2, 3])));
    one.tick(Instant::ZERO + Duration::from_secs(3_600));
    assert_eq!(one.campaigns, 1);
    assert!(one.poll_timeout() > Instant::ZERO + Duration::from_secs(3_600));
    one.tick(Instant::ZERO);
    assert!(
        one.poll_timeout() <= Instant::ZERO + TIMEOUT,
        "it does not wait for an hour"
    );
    assert_eq!(one.campaigns, 1);
}

fn any_message() -> impl Strategy<Value = Message> {
    let number = prop_oneof![4 => 0..12u64, 1 => Just(u64::MAX), 1 => Just(1 << 60)];
    let entry = (0..3i32, 0..6u64, 0..12u64).prop_map(|(kind, term, index)| Entry {
        kind,
        term,
        index,
        data: Bytes::from_static(b"\x0a\x01"),
        context: Bytes::new(),
    });
    let ids = prop::collection::vec(0..6u64, 0..4);
    let members = (ids.clone(), ids.clone(), ids, any::<bool>());
    let snapshot = (0..12u64, 0..6u64, members).prop_map(|(index, term, members)| Snapshot {
        index,
        term,
        members: Some(Members {
            voters: members.0,
            learners: members.1,
            outgoing: members.2,
            learners_next: Vec::new(),
            auto_leave: members.3,
        }),
        state: Bytes::new(),
    });
    let numbers = prop::collection::vec(number, 7);
    let entries = prop::collection::vec(entry, 0..4);
    (
        0..20i32,
        0..5u64,
        0..6u64,
        numbers,
        entries,
        prop::option::of(snapshot),
        any::<bool>(),
    )
        .prop_map(
            |(kind, to, from, numbers, entries, snapshot, reject)| Message {
                kind,
                to: if to == 0 { 2 } else { 1 },
                from,
                term: numbers[0],
                log_term: numbers[1],
                index: numbers[2],
                entries,
                commit: numbers[3],
                commit_term: numbers[4],
                snapshot,
                request_snapshot: numbers[5],
                reject,
                reject_hint: numbers[6],
                ..Message::default()
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// A peer that says anything at all takes nobody down: messages are refused or mean something.
    #[test]
    fn no_message_ends_the_process(
        messages in prop::collection::vec(any_message(), 1..40),
        leads in any::<bool>(),
    ) {
        let mut group = Group::new(if leads { &[1] } else { &[1, 2, 3] });
        if leads {
            group.propose("a");
        }
        let one = group.replicas.get_mut(&1).expect("a member");
        for (position, message) in messages.into_iter().enumerate() {
            let _ = one.step(message);
            if position % 3 == 0 {
                one.tick(group.now + Duration::from_millis(50 * position as u64));
            }
            if let Some(write) = one.ready().write {
                one.persisted(write.number);
            }
        }
    }
}
