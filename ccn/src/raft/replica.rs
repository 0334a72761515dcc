//! One member: the `raft` crate's `RawNode` behind calls that cannot be made in a wrong order.
//!
//! Call [`Replica::tick`] when [`Replica::poll_timeout`] says, [`Replica::step`] for each message, and after any
//! call, or several questions, [`Replica::ready`], whose [`Work`] is to be done whole. Messages that promise something durable (a vote,
//! an answer to an append) stay here until [`Replica::persisted`] tells that their write is.
//!
//! Invariant: writes are persisted in the order in which they were given, and told so in that order.

mod refused;
mod step;
mod sync;

use std::collections::VecDeque;

use anyedge_net::rng::Rng;
use anyedge_net::time::Instant;
use anyedge_proto::raft::{Entry, MemberChange, Members, MembersChange, Message, Record, Snapshot};
use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb::{EntryType, MessageType};
use raft::{ProgressState, RawNode, SnapshotStatus, StateRole};
use slog::{Discard, Logger, o};

use super::config::Config;
use super::election_timeout::ElectionTimeout;
use super::log::Log;
use super::message;
use super::store::Recovered;
use super::work::{Apply, Kept, Leadership, Point, ReadTicket, Role, Work, Write};

#[cfg(feature = "planted-bugs")]
pub use refused::Planted;
pub use refused::{Place, Refused};

/// One member of the group.
pub struct Replica {
    node: RawNode<Log>,
    config: Config,
    timeout: ElectionTimeout,
    campaigns: u64,
    ticks: u64,
    /// Members to whom a snapshot was on its way when that was last looked at, and of which place.
    snapshots: Vec<(u64, u64)>,
    next_tick: Instant,
    /// What the next write has to hold, and whether anything waits for it to be durable.
    unwritten: Record,
    must_write: bool,
    /// The newest of the crate's own numbers of what it wants done.
    number: u64,
    /// What was given to be written, or waits behind it, in order.
    waiting: VecDeque<Waiting>,
    /// Released since the last `ready`.
    released: Vec<Message>,
    applied: u64,
    members: Members,
    incarnation: u64,
    reads: u64,
    ready_reads: Vec<(ReadTicket, u64)>,
    told: Option<Leadership>,
    #[cfg(feature = "planted-bugs")]
    planted: Option<Planted>,
}

/// Messages that may leave when a write is durable.
struct Waiting {
    number: u64,
    needs_sync: bool,
    messages: Vec<raft::eraftpb::Message>,
}

impl Replica {
    /// A member with what its store kept. The state machine starts from the recovered foundation's snapshot;
    /// everything after it comes as [`Work`]. `rng` draws the election timeouts.
    ///
    /// # Errors
    /// [`Refused::Unsound`] when what was recovered fits together badly, or the configuration does.
    pub fn new(
        config: Config,
        recovered: Recovered,
        rng: Rng,
        now: Instant,
    ) -> Result<Replica, Refused> {
        let incarnation = recovered.incarnation;
        let log = sync::log_of(recovered)?;
        let applied = log.snapshot_index();
        let raft_config = config.of_raft(applied);
        let logger = Logger::root(Discard, o!());
        let node = RawNode::new(&raft_config, log, &logger).map_err(|_| Refused::Unsound)?;
        let members = message::members(&node.raft.prs().conf().to_conf_state());
        let timeout =
            ElectionTimeout::new(rng, config.election_ticks_min, config.election_ticks_max);
        let mut replica = Replica {
            node,
            timeout,
            campaigns: 0,
            ticks: 0,
            snapshots: Vec::new(),
            next_tick: now + config.tick,
            config,
            unwritten: Record::default(),
            must_write: false,
            number: 0,
            waiting: VecDeque::new(),
            released: Vec::new(),
            applied,
            members,
            incarnation,
            reads: 0,
            ready_reads: Vec::new(),
            told: None,
            #[cfg(feature = "planted-bugs")]
            planted: None,
        };
        replica.draw_timeout();
        Ok(replica)
    }

    /// Its number among the members.
    pub const fn id(&self) -> u64 {
        self.config.id
    }

    /// What it is and who leads, as far as it knows.
    pub fn leadership(&self) -> Leadership {
        let raft = &self.node.raft;
        Leadership {
            role: match raft.state {
                StateRole::Follower => Role::Follower,
                StateRole::PreCandidate => Role::PreCandidate,
                StateRole::Candidate => Role::Candidate,
                StateRole::Leader => Role::Leader,
            },
            term: raft.term,
            leader: Some(raft.leader_id).filter(|leader| *leader != raft::INVALID_ID),
        }
    }

    /// The members, as of what was applied.
    pub const fn members(&self) -> &Members {
        &self.members
    }

    /// The place up to which entries were given to be applied.
    pub const fn applied(&self) -> u64 {
        self.applied
    }

    /// The place up to which a majority has the log, as far as it knows.
    pub fn committed(&self) -> u64 {
        self.node.raft.raft_log.committed
    }

    /// Entries in memory and what they take, in bytes: when it is much, take a snapshot.
    pub fn log_size(&self) -> (usize, u64) {
        let log = self.node.store();
        (log.len(), log.bytes())
    }

    /// Place, term and data of every entry that it holds, for tests and for who looks after it.
    pub fn entries(&self) -> Vec<Entry> {
        self.node.store().whole().entries
    }

    /// When to call [`Replica::tick`] at the latest.
    pub const fn poll_timeout(&self) -> Instant {
        self.next_tick
    }

    /// The time is `now`. After a jump forward at most one election timeout passes, after one backward none.
    pub fn tick(&mut self, now: Instant) {
        if self.next_tick > now + self.config.tick {
            self.next_tick = now + self.config.tick;
        }
        for _ in 0..self.config.election_ticks_max {
            if self.next_tick > now {
                return;
            }
            self.next_tick += self.config.tick;
            self.tick_once();
        }
        if self.next_tick <= now {
            self.next_tick = now + self.config.tick;
        }
    }

    fn tick_once(&mut self) {
        if self.node.raft.state != StateRole::Leader && self.cannot_campaign() {
            return;
        }
        self.node.tick();
        if self.node.raft.election_elapsed == 0 && self.node.raft.state != StateRole::Leader {
            self.campaigns += 1;
        }
        self.ticks += 1;
        if self.ticks.is_multiple_of(self.config.snapshot_ticks) {
            self.give_up_snapshots();
        }
        self.draw_timeout();
    }

    /// Whether the crate would end the process over a campaign: it looks at entries behind what it counts as
    /// applied, and wants a leader's log durable at once when there are no others to ask.
    fn cannot_campaign(&self) -> bool {
        let is_alone = self.members.voters == [self.config.id] && self.members.outgoing.is_empty();
        let applied = self.node.raft.raft_log.applied;
        applied < self.applied || (is_alone && !self.waiting.is_empty())
    }

    /// A snapshot that was lost on its way would be waited for until the next leader.
    fn give_up_snapshots(&mut self) {
        let members = self.node.raft.prs().iter();
        let sending = members.filter(|(_, member)| member.state == ProgressState::Snapshot);
        let mut sending: Vec<_> = sending
            .map(|(id, member)| (*id, member.pending_snapshot))
            .collect();
        sending.sort_unstable();
        for (id, _) in sending.iter().filter(|one| self.snapshots.contains(one)) {
            self.node.report_snapshot(*id, SnapshotStatus::Failure);
        }
        self.snapshots = sending;
    }

    /// Appends a command to the log, as the leader. It is done when it comes to be applied at the place that
    /// is given, with that term; another term there means that it is lost.
    ///
    /// # Errors
    /// [`Refused::NotLeader`], or [`Refused::Busy`] when too much waits or leadership is being handed over.
    pub fn propose(&mut self, data: Bytes, context: Bytes) -> Result<Place, Refused> {
        self.must_lead()?;
        if data.len() + context.len() > self.config.entry_bytes_max {
            return Err(Refused::TooLarge);
        }
        self.append(EntryType::EntryNormal, data, context)
    }

    /// Changes the members, as the leader: one at a time simply, several at once by way of both sets.
    ///
    /// # Errors
    /// As [`Replica::propose`]; [`Refused::Busy`] also while another change is under way.
    pub fn change_members(&mut self, changes: Vec<MemberChange>) -> Result<Place, Refused> {
        self.must_lead()?;
        let raft = &self.node.raft;
        if raft.pending_conf_index > raft.raft_log.applied || !self.members.outgoing.is_empty() {
            return Err(Refused::Busy);
        }
        let change = MembersChange {
            transition: 0,
            changes,
            context: Bytes::new(),
        };
        let is_known = message::change_of_raft(&change).is_some();
        if change.changes.is_empty() || !is_known || !sync::leaves_voters(&self.members, &change) {
            return Err(Refused::NoVoters);
        }
        let data = change.encode_to_vec().into();
        self.append(EntryType::EntryConfChangeV2, data, Bytes::new())
    }

    fn append(&mut self, kind: EntryType, data: Bytes, context: Bytes) -> Result<Place, Refused> {
        let mut entry = raft::eraftpb::Entry::default();
        entry.set_entry_type(kind);
        entry.data = data;
        entry.context = context;
        let mut proposal = raft::eraftpb::Message::default();
        proposal.set_msg_type(MessageType::MsgPropose);
        proposal.from = self.config.id;
        proposal.mut_entries().push(entry);
        self.node.step(proposal).map_err(|_| Refused::Busy)?;
        let raft = &self.node.raft;
        Ok(Place {
            index: raft.raft_log.last_index(),
            term: raft.term,
        })
    }

    /// Asks from where on a read is not stale. [`Work::reads`] gives the ticket back, with the place that the
    /// state machine must have come to; after a change of leadership it may never come.
    ///
    /// # Errors
    /// [`Refused::NotLeader`], or [`Refused::Busy`] while a new leader has committed nothing, or when too many wait.
    pub fn read_index(&mut self) -> Result<ReadTicket, Refused> {
        self.must_lead()?;
        let raft = &self.node.raft;
        if !raft.commit_to_current_term() || raft.pending_read_count() >= self.config.reads_max {
            return Err(Refused::Busy);
        }
        self.reads += 1;
        let ticket = ReadTicket(self.reads);
        #[cfg(feature = "planted-bugs")]
        if self.planted == Some(Planted::SkipReadIndex) {
            self.ready_reads.push((ticket, self.applied));
            return Ok(ticket);
        }
        let context = step::read_context(self.config.id, self.incarnation, ticket);
        self.node.read_index(context);
        Ok(ticket)
    }

    /// Hands leadership to another voter, as the leader.
    ///
    /// # Errors
    /// [`Refused::NotLeader`], or [`Refused::Unsound`] when that is no other voter.
    pub fn transfer(&mut self, to: u64) -> Result<(), Refused> {
        self.must_lead()?;
        if to == self.config.id || !self.members.voters.contains(&to) {
            return Err(Refused::Unsound);
        }
        self.node.transfer_leader(to);
        self.draw_timeout();
        Ok(())
    }

    /// A message to this peer could not be sent: the leader tries again more carefully.
    pub fn unreachable(&mut self, peer: u64) {
        self.node.report_unreachable(peer);
    }

    /// A snapshot that was sent to this peer arrived, or did not.
    pub fn snapshot_sent(&mut self, peer: u64, arrived: bool) {
        let status = if arrived {
            SnapshotStatus::Finish
        } else {
            SnapshotStatus::Failure
        };
        self.node.report_snapshot(peer, status);
    }

    /// Where the state machine is now, to be given back with its state. `None`: there is a snapshot of that already.
    pub fn point(&self) -> Option<Point> {
        let index = self.applied;
        let term = self.node.raft.raft_log.term(index).ok()?;
        let is_new = index > self.node.store().snapshot_index();
        is_new.then(|| Point {
            index,
            term,
            members: self.members.clone(),
        })
    }

    /// The state machine was `state` at `point`: the log before it goes, but for what slow followers may want. The
    /// next [`Work`] writes it. Nothing happens when there is a newer snapshot by now.
    pub fn compact(&mut self, point: Point, state: Bytes, kept: Kept) {
        if point.index <= self.node.store().snapshot_index() {
            return;
        }
        let snapshot = Snapshot {
            index: point.index,
            term: point.term,
            members: Some(point.members),
            state,
        };
        let snapshot = message::snapshot_of_raft(snapshot).expect("our own members are sound");
        self.node.mut_store().compact(snapshot, kept);
        self.unwritten = self.node.store().whole();
        self.must_write = true;
    }

    /// What to do now. To be called after every other call, and done whole before the next; but proposals and reads
    /// may follow each other, and then share a message to each member.
    pub fn ready(&mut self) -> Work {
        let mut work = Work {
            messages: std::mem::take(&mut self.released),
            reads: std::mem::take(&mut self.ready_reads),
            ..Work::default()
        };
        while self.node.has_ready() {
            self.take_ready(&mut work);
        }
        if self.must_write {
            self.must_write = false;
            let record = std::mem::take(&mut self.unwritten);
            work.write = Some(self.planted_write(Write {
                number: self.number,
                record,
            }));
        }
        work.wants_snapshot = self.node.store().take_wants_snapshot();
        let leadership = self.leadership();
        if self.told != Some(leadership) {
            self.told = Some(leadership);
            work.leadership = Some(leadership);
        }
        self.draw_timeout();
        work
    }

    /// Everything up to the write of this number is durable.
    pub fn persisted(&mut self, number: u64) {
        let mut last = None;
        while let Some(first) = self.waiting.front() {
            if first.needs_sync && first.number > number {
                break;
            }
            let done = self.waiting.pop_front().expect("it is there");
            last = Some(done.number);
            let messages = done.messages.into_iter().filter_map(message::message);
            self.released.extend(messages);
        }
        if let Some(last) = last {
            self.node.on_persist_ready(last);
            self.tell_applied();
            self.draw_timeout();
        }
    }

    const fn must_lead(&self) -> Result<(), Refused> {
        if matches!(self.node.raft.r.state, StateRole::Leader) {
            return Ok(());
        }
        Err(Refused::NotLeader)
    }

    /// Replaces what the crate drew from the operating system.
    fn draw_timeout(&mut self) {
        let ticks = self.timeout.of(self.node.raft.term, self.campaigns);
        self.node.raft.set_randomized_election_timeout(ticks);
    }

    fn give(&mut self, apply: Apply, work: &mut Work) {
        self.applied = apply.index();
        work.apply.push(apply);
    }
}

#[cfg(test)]
mod tests;
