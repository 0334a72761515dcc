//! A controller: one member of the group that keeps a replicated state machine, as a service on a `Host`.
//!
//! One task, the engine, owns the raft replica and the state machine; everything else gives it inputs and
//! waits for answers. The log is written beside it, one write at a time: what comes meanwhile shares the next sync.
//! Members reach each other by gRPC ([`Controller::raft_service`]). Which state machine it is, [`StateMachine`]
//! leaves open.
//!
//! Invariant: an answer to a proposal says that it is durable at a majority and applied here. See docs/controller.md.

mod addresses;
mod commits;
mod compaction;
mod config;
mod engine;
mod history;
mod input;
mod machine;
mod replicated;
mod seat;
mod shared_snapshot;
mod status;
mod transport;
mod waiting;
mod watch;
mod writer;

use core::fmt;
use core::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyedge_net::host::Host;
use anyedge_proto::control::v1::nodes_server::NodesServer;
use anyedge_proto::raft::raft_server::RaftServer;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::raft::{Refused, StoreError};
use crate::rpc::{Latest, LatestReader};
pub use commits::OnCommit;
pub use config::Config;
use engine::{Engine, locked};
pub use input::{Applied, Failure, Leader};
use input::{Input, Question};
pub use machine::{Effect, StateMachine, Unreadable};
pub use replicated::{bytes_of, outcome_of};
use seat::Seat;
pub use status::{CommitLatency, Disk, Snapshots, Status};
pub use transport::{Transport, remembered_by};
pub use watch::Watch;
pub(crate) use watch::{Told, chunks_of};

/// A member that runs. Clones speak to the same one; it stops when the last is gone.
pub struct Controller<M> {
    inputs: mpsc::Sender<Input>,
    seat: Arc<Mutex<Seat<M>>>,
    news: Latest<u64>,
    watchers_max: usize,
    entry_bytes_max: usize,
    status: Latest<Status>,
}

impl<M> Clone for Controller<M> {
    fn clone(&self) -> Self {
        Controller {
            inputs: self.inputs.clone(),
            seat: Arc::clone(&self.seat),
            news: self.news.clone(),
            watchers_max: self.watchers_max,
            entry_bytes_max: self.entry_bytes_max,
            status: self.status.clone(),
        }
    }
}

/// Why a member cannot start.
#[derive(Debug)]
pub enum StartError {
    /// Its log cannot be opened.
    Store(StoreError),
    /// What its log kept fits together badly, or the configuration does.
    Replica(Refused),
    /// Its snapshot is none of this state machine.
    Machine(Unreadable),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Store(error) => error.fmt(f),
            StartError::Replica(refused) => {
                write!(f, "the log does not fit together: {refused:?}")
            }
            StartError::Machine(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

impl<M: StateMachine> Controller<M> {
    /// Opens the log on `host`'s disk, or begins one, and takes part.
    ///
    /// # Errors
    /// When the disk refuses, and when what it kept cannot be relied upon.
    pub async fn start<H: Host>(
        host: &H,
        config: Config,
        machine: M,
    ) -> Result<Controller<M>, StartError> {
        let (inputs, receiver) = mpsc::channel(config.inputs_max);
        let seat = Arc::new(Mutex::new(Seat::new(machine, config.deltas_max)));
        let news = Latest::new(0);
        let status = Latest::new(Status {
            heard: config.heard.clone(),
            ..Status::of(config.id())
        });
        let controller = Controller {
            inputs,
            seat: Arc::clone(&seat),
            news: news.clone(),
            watchers_max: config.watchers_max,
            entry_bytes_max: config.raft.entry_bytes_max,
            status: status.clone(),
        };
        let back = controller.inputs.downgrade();
        let engine = Engine::open(host, config, (seat, news, status), (receiver, back)).await?;
        host.spawn(engine.run());
        Ok(controller)
    }

    /// Bytes of one command.
    pub const fn entry_bytes_max(&self) -> usize {
        self.entry_bytes_max
    }

    /// The service by which members reach this one: to be served at its address.
    pub fn raft_service(&self) -> RaftServer<Transport> {
        transport::service(self.inputs.downgrade(), self.status.clone())
    }

    /// The service by which nodes follow the state machine.
    pub fn nodes_service<H: Host>(&self, host: &H) -> NodesServer<Watch<H, M>> {
        self.watch(host).service()
    }

    /// What those who follow are told.
    pub fn watch<H: Host>(&self, host: &H) -> Watch<H, M> {
        let state = (
            Arc::clone(&self.seat),
            self.news.clone(),
            self.status.clone(),
        );
        Watch::new(host, state, self.watchers_max)
    }

    /// Has `command` applied everywhere, through the leader: this member or nobody.
    ///
    /// # Errors
    /// [`Failure::NotLeader`] with who leads; [`Failure::Unknown`] when it may or may not be applied later, so that
    /// whoever repeats it must be able to. After every other failure it never will be.
    pub async fn propose(&self, command: Bytes) -> Result<Applied, Failure> {
        self.ask(|answer| Question::Propose(command, answer)).await
    }

    /// Waits until this member, the leader, has applied all that anybody was told to be applied before the call.
    /// The state machine can be read then; the place that it has come to is given.
    ///
    /// # Errors
    /// As for [`Controller::propose`], but a read can always be repeated.
    pub async fn read_index(&self) -> Result<u64, Failure> {
        self.ask(Question::Read).await
    }

    /// Looks at the state machine as it is. It waits meanwhile.
    pub fn read<R>(&self, look: impl FnOnce(&M) -> R) -> R {
        look(&locked(&self.seat).machine)
    }

    /// Hands leadership to another voter. It has begun when this returns: [`Controller::watch_status`] tells the end.
    ///
    /// # Errors
    /// [`Failure::NotLeader`], or [`Failure::Unsound`] when that is no other voter.
    pub async fn transfer(&self, to: u64) -> Result<(), Failure> {
        self.ask(|answer| Question::Transfer(to, answer)).await
    }

    /// Makes known where a member is, before it is added. `None` forgets it.
    ///
    /// # Errors
    /// As for [`Controller::propose`].
    pub async fn set_address(
        &self,
        member: u64,
        address: Option<SocketAddr>,
    ) -> Result<Applied, Failure> {
        self.ask(|answer| Question::Address(member, address, answer))
            .await
    }

    /// Adds voters, removes members: one at a time simply, several at once by way of both sets of voters.
    ///
    /// # Errors
    /// As for [`Controller::propose`]; [`Failure::Unsound`] when nobody would vote.
    pub async fn change_members(&self, add: &[u64], remove: &[u64]) -> Result<Applied, Failure> {
        let changes = (add.to_vec(), remove.to_vec());
        self.ask(|answer| Question::Change(changes, answer)).await
    }

    /// What it is, and how it fares.
    pub fn status(&self) -> Status {
        self.status.with(Status::clone)
    }

    /// What `look` makes of its status, which it need not copy.
    pub fn with_status<R>(&self, look: impl FnOnce(&Status) -> R) -> R {
        self.status.with(look)
    }

    /// Tells each status that follows.
    pub fn watch_status(&self) -> LatestReader<Status> {
        self.status.reader()
    }

    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<Result<T, Failure>>) -> Question,
    ) -> Result<T, Failure> {
        let (sender, answer) = oneshot::channel();
        let input = Input::Question(question(sender));
        if self.inputs.send(input).await.is_err() {
            return Err(Failure::Stopped);
        }
        // An engine that ends meanwhile may have begun what was asked.
        answer.await.unwrap_or(Err(Failure::Unknown))
    }
}
