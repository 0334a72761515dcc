//! The engine: one task that owns the replica and drives it.
//!
//! It waits for three things, the clock, its disk and its inputs, and after each does all of the replica's work:
//! messages leave, writes are queued, what is committed is applied, who waits is answered. Inputs that are there
//! already are taken together before the next write begins, so that they share it.

use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Poll;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyedge_net::host::Host;
use anyedge_net::time::Instant;
use anyedge_proto::raft::{ChangeKind, Foundation, MemberChange};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::StartError;
use super::addresses::Addresses;
use super::compaction::Compaction;
use super::config::Config;
use super::input::{Answer, Applied, Failure, Input, Leader, Question};
use super::machine::{StateMachine, Unreadable};
use super::seat::Seat;
use super::status::Status;
use super::transport::Peers;
use super::waiting::{Waiting, answer};
use super::writer::Writer;
use crate::raft::{
    Apply, Kept, Leadership, Place, Point, Refused, Replica, Role, Store, StoreError, founded,
    fresh, joining,
};
use crate::rpc::Latest;

/// Inputs that are taken together at most, so that the clock and the disk have their turn.
const TOGETHER_MAX: usize = 256;
/// Members that are remembered to have been heard.
const HEARD_MAX: usize = 1_024;

/// A member that runs.
pub(super) struct Engine<H: Host, M> {
    host: H,
    config: Config,
    replica: Replica,
    seat: Arc<Mutex<Seat<M>>>,
    news: Latest<u64>,
    addresses: Addresses,
    writer: Writer<H>,
    compaction: Compaction,
    inputs: mpsc::Receiver<Input>,
    peers: Peers<H>,
    waiting: Waiting,
    told: Latest<Status>,
    status: Status,
    sleep: (Instant, Pin<Box<dyn Future<Output = ()> + Send>>),
}

enum Event {
    Written(Result<u64, StoreError>),
    Snapshot(Point, Bytes),
    Tick,
    Input(Option<Input>),
}

impl<H: Host, M: StateMachine> Engine<H, M> {
    /// Opens the log and brings the state machine to its snapshot.
    pub(super) async fn open(
        host: &H,
        config: Config,
        (seat, news, told): (Arc<Mutex<Seat<M>>>, Latest<u64>, Latest<Status>),
        (inputs, back): (mpsc::Receiver<Input>, mpsc::WeakSender<Input>),
    ) -> Result<Engine<H, M>, StartError> {
        let foundation = if config.is_founder {
            foundation::<M>(&config).map_err(StartError::Machine)?
        } else {
            joining()
        };
        let files = host.clone();
        let opened = host.run_blocking(move || Store::open(files, foundation));
        let (store, recovered) = opened.await.map_err(StartError::Store)?;
        let mut addresses = Addresses::new(config.peers.clone());
        let snapshot = recovered.foundation.snapshot.as_ref();
        if let Some(snapshot) = snapshot.filter(|snapshot| !snapshot.state.is_empty()) {
            let restored = addresses.restore(&snapshot.state);
            locked(&seat).restore(restored.map_err(StartError::Machine)?);
        }
        let mut status = told.with(Status::clone);
        status.addresses = addresses.known();
        let rng = host.rng("elections");
        let replica = Replica::new(config.raft.clone(), recovered, rng, host.now());
        let replica = replica.map_err(StartError::Replica)?;
        let at = replica.poll_timeout();
        Ok(Engine {
            host: host.clone(),
            replica,
            seat,
            news,
            addresses,
            writer: Writer::new(host, store, (config.disk_retry, config.shortest())),
            compaction: Compaction::default(),
            inputs,
            peers: Peers::new(host, &config, back),
            waiting: Waiting::default(),
            status,
            told,
            sleep: (at, Box::pin(host.sleep_until(at))),
            config,
        })
    }

    /// Takes part until nobody needs it, or its disk fails.
    pub(super) async fn run(mut self) {
        let ended = self.serve().await;
        self.inputs.close();
        self.waiting.give_up(&Failure::Stopped);
        self.status.role = Role::Follower;
        self.status.leader = None;
        self.status.stopped = Some(ended.err().unwrap_or_else(|| "it was let go".to_owned()));
        self.tell();
    }

    async fn serve(&mut self) -> Result<(), String> {
        self.work()?;
        loop {
            self.tell();
            self.writer.begin();
            match self.next().await {
                Event::Written(Ok(number)) => {
                    self.status.syncs = self.writer.syncs;
                    self.replica.persisted(number);
                }
                Event::Written(Err(error)) => return Err(error.to_string()),
                Event::Snapshot(point, state) => {
                    let snapshots = &mut self.status.snapshots;
                    snapshots.made += 1;
                    (snapshots.index, snapshots.bytes) = (point.index(), state.len());
                    self.replica.compact(point, state, self.kept());
                }
                Event::Tick => self.replica.tick(self.host.now()),
                Event::Input(None) => return Ok(()),
                Event::Input(Some(input)) => self.take_all(input)?,
            }
            self.work()?;
        }
    }

    async fn next(&mut self) -> Event {
        let at = self.replica.poll_timeout();
        if self.sleep.0 != at {
            self.sleep = (at, Box::pin(self.host.sleep_until(at)));
        }
        poll_fn(|context| {
            if let Poll::Ready(written) = self.writer.poll_written(context) {
                return Poll::Ready(Event::Written(written));
            }
            if self.sleep.1.as_mut().poll(context).is_ready() {
                return Poll::Ready(Event::Tick);
            }
            if let Poll::Ready((point, state)) = self.compaction.poll(context) {
                return Poll::Ready(Event::Snapshot(point, state));
            }
            self.inputs.poll_recv(context).map(Event::Input)
        })
        .await
    }

    /// Takes `first` and what else is there. The replica's work is done between any two inputs but questions, which
    /// share a message to each member.
    fn take_all(&mut self, first: Input) -> Result<(), String> {
        let mut first = Some(first);
        let mut was_question = true;
        for _ in 0..TOGETHER_MAX {
            let Some(input) = first.take().or_else(|| self.inputs.try_recv().ok()) else {
                break;
            };
            let is_question = matches!(input, Input::Question(_));
            if !(was_question && is_question) {
                self.work()?;
            }
            was_question = is_question;
            self.take(input);
        }
        Ok(())
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Message(message) => {
                let from = message.from;
                if !self.status.heard.contains(&from) && self.status.heard.len() < HEARD_MAX {
                    self.status.heard.insert(from);
                }
                if self.replica.step(*message).is_err() {
                    self.status.refused_messages += 1;
                }
            }
            Input::Unreachable(peer) => self.replica.unreachable(peer),
            Input::SnapshotSent(peer, arrived) => self.replica.snapshot_sent(peer, arrived),
            Input::Question(question) => self.consider(question),
        }
    }

    fn consider(&mut self, question: Question) {
        let is_full = self.waiting.count() >= self.config.waiting_max;
        match question {
            Question::Propose(command, to) => {
                let placed = match (is_full, command.is_empty()) {
                    (true, _) => Err(Refused::Busy),
                    // To the log it is the same as no command.
                    (false, true) => Err(Refused::Unsound),
                    (false, false) => self.replica.propose(command, Bytes::new()),
                };
                self.await_place(placed, to);
            }
            Question::Address(member, address, to) => {
                let context = Addresses::context(member, address);
                let placed = self.replica.propose(Bytes::new(), context);
                self.await_place(placed, to);
            }
            Question::Change((add, remove), to) => {
                let change = |kind: ChangeKind| {
                    move |id| MemberChange {
                        kind: kind.into(),
                        id,
                    }
                };
                let added = add.into_iter().map(change(ChangeKind::AddVoter));
                let removed = remove.into_iter().map(change(ChangeKind::Remove));
                let placed = self.replica.change_members(added.chain(removed).collect());
                self.await_place(placed, to);
            }
            Question::Read(to) if is_full => answer(to, Err(Failure::Busy)),
            Question::Read(to) => match self.replica.read_index() {
                Ok(ticket) => self.waiting.read(ticket, to),
                Err(refused) => answer(to, Err(self.failure(refused))),
            },
            Question::Transfer(member, to) => {
                let begun = self.replica.transfer(member);
                answer(to, begun.map_err(|refused| self.failure(refused)));
            }
        }
    }

    fn await_place(&mut self, placed: Result<Place, Refused>, to: Answer<Applied>) {
        match placed {
            Ok(place) => self.waiting.propose(place, self.host.now(), to),
            Err(refused) => answer(to, Err(self.failure(refused))),
        }
    }

    fn failure(&self, refused: Refused) -> Failure {
        Failure::of(refused, self.leader())
    }

    fn leader(&self) -> Option<Leader> {
        let id = self.replica.leadership().leader?;
        let address = self.addresses.get(id);
        Some(Leader { id, address })
    }

    /// Does all that the replica wants done.
    fn work(&mut self) -> Result<(), String> {
        let mut work = self.replica.ready();
        for message in work.messages.drain(..) {
            let to = message.to;
            let address = self.addresses.get(to);
            self.peers.send(message, address, &mut self.replica);
        }
        work.write
            .take()
            .into_iter()
            .for_each(|write| self.writer.add(write));
        for apply in work.apply.drain(..) {
            self.apply(apply)?;
        }
        let revision = locked(&self.seat).machine.revision();
        self.news
            .change(|told| core::mem::replace(told, revision) != revision);
        for (ticket, index) in work.reads.drain(..) {
            self.waiting.place(ticket, index);
        }
        self.waiting.come_to(self.replica.applied());
        if let Some(leadership) = work.leadership {
            self.on_leadership(leadership);
        }
        let is_wanted = work.wants_snapshot || self.has_long_log();
        if is_wanted
            && !self.compaction.is_under_way()
            && let Some(point) = self.replica.point()
        {
            let state = (locked(&self.seat).machine.clone(), self.addresses.clone());
            self.compaction.begin(&self.host, point, state);
        }
        Ok(())
    }

    fn apply(&mut self, apply: Apply) -> Result<(), String> {
        let (place, outcome) = match apply {
            Apply::Restore(snapshot) => {
                let snapshots = &mut self.status.snapshots;
                snapshots.received += 1;
                (snapshots.index, snapshots.bytes) = (snapshot.index, snapshot.state.len());
                let restored = self.addresses.restore(&snapshot.state);
                self.status.addresses = self.addresses.known();
                locked(&self.seat).restore(restored.map_err(|error| error.to_string())?);
                return Ok(());
            }
            Apply::Command {
                index,
                term,
                data,
                context,
            } => {
                let outcome = if context.is_empty() {
                    locked(&self.seat).apply(index, &data)
                } else {
                    self.addresses.apply(&context);
                    self.status.addresses = self.addresses.known();
                    Bytes::new()
                };
                (Place { index, term }, outcome)
            }
            Apply::Nothing { index, term, .. } => (Place { index, term }, Bytes::new()),
        };
        let told = (
            &mut self.status.commit_latency,
            self.config.on_commit.as_ref(),
        );
        self.waiting.applied(place, outcome, self.host.now(), told);
        Ok(())
    }

    fn on_leadership(&mut self, leadership: Leadership) {
        let Leadership { role, term, leader } = leadership;
        let known = self.status.leader.map(|leader| leader.id);
        if leader.is_some() && (term, leader) != (self.status.term, known) {
            self.status.elections += 1;
        }
        self.status.role = role;
        self.status.term = term;
        if role != Role::Leader {
            let leader = self.leader();
            self.waiting.give_up(&Failure::NotLeader(leader));
        }
    }

    /// What stays in the log behind a snapshot. Half of what makes it too long, so that the next is some way off.
    const fn kept(&self) -> Kept {
        Kept {
            entries: self.config.entries_kept,
            bytes: self.config.log_bytes_max / 2,
        }
    }

    fn has_long_log(&self) -> bool {
        let (entries, bytes) = self.replica.log_size();
        let is_long = entries as u64 >= self.config.entries_kept.saturating_mul(2);
        is_long || bytes >= self.config.log_bytes_max && entries > 1
    }

    fn tell(&mut self) {
        let status = &mut self.status;
        status.committed = self.replica.committed();
        status.applied = self.replica.applied();
        status.disk = self.writer.disk();
        if status.members != *self.replica.members() {
            status.members = self.replica.members().clone();
        }
        let leader = self.replica.leadership().leader;
        if status.stopped.is_none() {
            status.leader = leader.map(|id| Leader {
                id,
                address: self.addresses.get(id),
            });
        }
        let status = &self.status;
        self.told.change(|told| {
            let changed = told != status;
            if changed {
                told.clone_from(status);
            }
            changed
        });
    }
}

/// What founders begin with.
fn foundation<M: StateMachine>(config: &Config) -> Result<Foundation, Unreadable> {
    let voters: Vec<u64> = config.peers.keys().copied().collect();
    if config.founding.is_empty() {
        return Ok(fresh(&voters));
    }
    let machine = M::restore(&config.founding)?;
    // A place makes a revision, so the log goes on behind the one that there is.
    let place = machine.revision().max(1);
    let state = Addresses::new(BTreeMap::new()).state(config.founding.clone());
    Ok(founded(&voters, place, state))
}

pub(super) fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while it is held ends the process or the run.
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
