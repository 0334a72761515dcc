//! Raft's messages over gRPC: one stream to each member, snapshots beside it.
//!
//! Nothing waits for a member that is slow or gone: its queue is short, and a message that finds it full is lost,
//! which raft expects. What comes in waits for the engine, and so makes its sender wait.

mod acquaintance;
mod installing;
mod peer;
mod snapshot;

use core::net::SocketAddr;
use std::collections::BTreeMap;

use anyedge_net::host::Host;
use anyedge_proto::raft::raft_server::{Raft, RaftServer};
use anyedge_proto::raft::{MeetReply, MeetRequest, Message, MessageKind, Piece, StepReply};
use futures_util::future::{Either, select};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use super::config::Config;
use super::input::Input;
use crate::raft::Replica;
use crate::rpc::{Latest, Peer as Caller, Role};
pub use acquaintance::remembered_by;
use installing::Installing;
use peer::Peer;

/// Bytes of a message without a snapshot: proposals that come together leave in one, so all that may wait uncommitted
/// (64 MiB), and what else may be with it.
const MESSAGE_BYTES_MAX: usize = 65 << 20;
/// Bytes of a snapshot in one piece.
const PIECE_BYTES: usize = 256 << 10;
/// Bytes of a snapshot that is taken from anybody.
const SNAPSHOT_BYTES_MAX: usize = 1 << 30;

/// The other members, as this one reaches them.
pub(super) struct Peers<H: Host> {
    host: H,
    config: Config,
    inputs: mpsc::WeakSender<Input>,
    known: BTreeMap<u64, Peer>,
}

impl<H: Host> Peers<H> {
    pub(super) fn new(host: &H, config: &Config, inputs: mpsc::WeakSender<Input>) -> Peers<H> {
        Peers {
            host: host.clone(),
            config: config.clone(),
            inputs,
            known: BTreeMap::new(),
        }
    }

    /// Sends a message, or loses it and says so.
    pub(super) fn send(
        &mut self,
        message: Message,
        address: Option<SocketAddr>,
        replica: &mut Replica,
    ) {
        let to = message.to;
        let is_snapshot = message.kind == i32::from(MessageKind::Snapshot);
        let is_sent = address.is_some_and(|address| {
            if self
                .known
                .get(&to)
                .is_none_or(|peer| peer.address != address)
            {
                let peer = Peer::new(&self.host, &self.config, (to, address), &self.inputs);
                self.known.insert(to, peer);
            }
            self.known[&to].send(message, is_snapshot)
        });
        match (is_sent, is_snapshot) {
            (true, _) => {}
            (false, true) => replica.snapshot_sent(to, false),
            (false, false) => replica.unreachable(to),
        }
    }
}

/// Takes messages from other members.
#[derive(Clone)]
pub struct Transport {
    inputs: mpsc::WeakSender<Input>,
    installing: Installing,
    own: Latest<super::Status>,
}

pub(super) fn service(
    inputs: mpsc::WeakSender<Input>,
    own: Latest<super::Status>,
) -> RaftServer<Transport> {
    let transport = Transport {
        inputs,
        own,
        installing: Installing::new(),
    };
    RaftServer::new(transport).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl Transport {
    async fn take(&self, message: Message) -> Result<(), Status> {
        let gone = || Status::unavailable("this member has stopped");
        let inputs = self.inputs.upgrade().ok_or_else(gone)?;
        let sent = inputs.send(Input::Message(Box::new(message))).await;
        sent.map_err(|_| gone())
    }
}

#[tonic::async_trait]
impl Raft for Transport {
    async fn step(
        &self,
        request: Request<Streaming<Message>>,
    ) -> Result<Response<StepReply>, Status> {
        Caller::of(&request)?.require(&[Role::Node])?;
        let mut messages = request.into_inner();
        while let Some(message) = messages.message().await? {
            self.take(message).await?;
        }
        Ok(Response::new(StepReply {}))
    }

    async fn install(
        &self,
        request: Request<Streaming<Piece>>,
    ) -> Result<Response<StepReply>, Status> {
        Caller::of(&request)?.require(&[Role::Node])?;
        let mut pieces = request.into_inner();
        let (message, first) = snapshot::begin(&mut pieces).await?;
        let place = self.installing.begin(message.term);
        let mut place = place.ok_or_else(|| {
            Status::resource_exhausted("the snapshot of a later leader is on its way")
        })?;
        let gathered = core::pin::pin!(snapshot::gather(message, first, pieces));
        let message = match select(gathered, core::pin::pin!(place.lost())).await {
            Either::Left((message, _)) => message?,
            Either::Right(_) => return Err(Status::aborted("another snapshot took its place")),
        };
        self.take(message).await?;
        Ok(Response::new(StepReply {}))
    }

    async fn meet(&self, request: Request<MeetRequest>) -> Result<Response<MeetReply>, Status> {
        Caller::of(&request)?.require(&[Role::Node])?;
        let id = request.into_inner().id;
        let heard = self.own.with(|status| status.heard.contains(&id));
        Ok(Response::new(MeetReply { heard }))
    }
}
