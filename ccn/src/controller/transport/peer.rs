//! The way to one other member: a bounded queue, a stream that empties it, and a place for one snapshot.
//!
//! The stream is opened when there is something to say, and again after it broke, with a pause and an empty queue:
//! what waited while nobody was there is old by then.

use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyedge_net::host::Host;
use anyedge_net::rng::Rng;
use anyedge_proto::raft::Message;
use anyedge_proto::raft::raft_client::RaftClient;
use futures_util::stream::Stream;
use tokio::sync::mpsc;
use tonic::Request;

use super::super::config::Config;
use super::super::input::Input;
use super::snapshot::pieces;
use crate::rpc::Channel;

/// Where a member is, and what is on its way there. Dropping it ends the way.
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    messages: mpsc::Sender<Message>,
    snapshots: mpsc::Sender<Message>,
    snapshot_bytes_max: usize,
}

impl Peer {
    pub(super) fn new<H: Host>(
        host: &H,
        config: &Config,
        (id, address): (u64, SocketAddr),
        inputs: &mpsc::WeakSender<Input>,
    ) -> Peer {
        let (messages, queue) = mpsc::channel(config.messages_max);
        let (snapshots, waiting) = mpsc::channel(1);
        let channel = Channel::new(host, address, config.security.clone(), config.limits);
        let way = Way {
            host: host.clone(),
            id,
            channel,
            inputs: inputs.clone(),
            pause: config.limits.retry_max,
            snapshot_time_max: config.snapshot_time_max,
        };
        let jitter = host.rng(&format!("raft to {id}"));
        host.spawn(way.clone().send_messages(Outbox::new(queue), jitter));
        host.spawn(way.send_snapshots(waiting));
        Peer {
            address,
            messages,
            snapshots,
            snapshot_bytes_max: config.snapshot_bytes_max,
        }
    }

    /// Whether there was room for it.
    pub(super) fn send(&self, message: Message, is_snapshot: bool) -> bool {
        if !is_snapshot {
            return self.messages.try_send(message).is_ok();
        }
        let snapshot = message.snapshot.as_ref();
        let bytes = snapshot.map_or(0, |snapshot| snapshot.state.len());
        bytes <= self.snapshot_bytes_max && self.snapshots.try_send(message).is_ok()
    }
}

#[derive(Clone)]
struct Way<H: Host> {
    host: H,
    id: u64,
    channel: Channel<H>,
    inputs: mpsc::WeakSender<Input>,
    pause: Duration,
    snapshot_time_max: Duration,
}

impl<H: Host> Way<H> {
    async fn send_messages(self, outbox: Outbox, mut jitter: Rng) {
        let mut client = RaftClient::new(self.channel.clone());
        while outbox.fill().await {
            let stream = outbox.stream();
            // It ends when the connection does, or when the member stops.
            let _ended = client.step(stream).await;
            self.tell(Input::Unreachable(self.id)).await;
            let pause = self.pause / 2 + jitter.up_to(self.pause / 2);
            self.host.sleep_until(self.host.now() + pause).await;
            outbox.empty();
        }
    }

    async fn send_snapshots(self, mut waiting: mpsc::Receiver<Message>) {
        let mut client = RaftClient::new(self.channel.clone());
        while let Some(message) = waiting.recv().await {
            let mut request = Request::new(pieces(message));
            request.set_timeout(self.snapshot_time_max);
            let arrived = client.install(request).await.is_ok();
            self.tell(Input::SnapshotSent(self.id, arrived)).await;
        }
    }

    async fn tell(&self, input: Input) {
        if let Some(inputs) = self.inputs.upgrade() {
            // An engine that has stopped needs no news.
            let _stopped = inputs.send(input).await;
        }
    }
}

/// A queue that one stream after another empties.
#[derive(Clone)]
struct Outbox(Arc<Mutex<Inner>>);

struct Inner {
    queue: mpsc::Receiver<Message>,
    /// Taken from the queue, to see whether there is anything.
    first: Option<Message>,
    /// Which stream may take; older ones are over.
    stream: u64,
}

/// One stream of it.
struct OutboxStream {
    outbox: Outbox,
    number: u64,
}

impl Outbox {
    fn new(queue: mpsc::Receiver<Message>) -> Outbox {
        Outbox(Arc::new(Mutex::new(Inner {
            queue,
            first: None,
            stream: 0,
        })))
    }

    /// Waits until there is something to say; false when there never will be.
    async fn fill(&self) -> bool {
        poll_fn(|context| {
            let mut inner = self.locked();
            if inner.first.is_some() {
                return Poll::Ready(true);
            }
            inner.queue.poll_recv(context).map(|message| {
                inner.first = message;
                inner.first.is_some()
            })
        })
        .await
    }

    /// The next stream: the one before is over.
    fn stream(&self) -> OutboxStream {
        let mut inner = self.locked();
        inner.stream += 1;
        OutboxStream {
            outbox: self.clone(),
            number: inner.stream,
        }
    }

    fn empty(&self) {
        let mut inner = self.locked();
        inner.stream += 1;
        inner.first = None;
        while inner.queue.try_recv().is_ok() {}
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream for OutboxStream {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        let mut inner = self.outbox.locked();
        if inner.stream != self.number {
            return Poll::Ready(None);
        }
        if let Some(first) = inner.first.take() {
            return Poll::Ready(Some(first));
        }
        inner.queue.poll_recv(context)
    }
}
