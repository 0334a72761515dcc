//! Following a controller's state: a snapshot where one is needed, then every delta, once and in order.
//!
//! Nothing is queued for a watcher: it takes from the history as fast as it reads, and one that falls behind
//! the history gets a snapshot again. One that never reads is cut off by its connection's limits.

use core::future::{Future as _, poll_fn};
use core::pin::Pin;
use core::task::Poll;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyedge_net::host::Host;
use anyedge_proto::control::v1::nodes_server::{Nodes, NodesServer};
use anyedge_proto::control::v1::watch_reply::Event;
use anyedge_proto::control::v1::{SnapshotChunk, WatchReply, WatchRequest};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tonic::{Request, Response, Status as RpcStatus};

use super::engine::locked;
use super::machine::StateMachine;
use super::seat::Seat;
use super::shared_snapshot::SharedSnapshot;
use super::status::Status;
use crate::rpc::{Latest, LatestReader, Peer, Role};

/// Bytes of a snapshot in one message.
const CHUNK_BYTES: usize = 256 << 10;
/// Deltas that are taken from the history together.
const TOGETHER_MAX: usize = 64;
/// Between two bookmarks for a watcher who does not say.
const BOOKMARK_EVERY: Duration = Duration::from_secs(1);
/// A watcher may not ask for more than that.
const BOOKMARK_EVERY_MIN: Duration = Duration::from_millis(10);

/// What a watcher is told.
pub(crate) type Told = Pin<Box<dyn Stream<Item = Result<WatchReply, RpcStatus>> + Send>>;

/// Serves those who follow. Clones count their watchers together.
pub struct Watch<H: Host, M> {
    host: H,
    seat: Arc<Mutex<Seat<M>>>,
    snapshots: Arc<SharedSnapshot<M>>,
    backups: Arc<SharedSnapshot<M>>,
    news: Latest<u64>,
    status: Latest<Status>,
    watchers: Arc<AtomicUsize>,
    watchers_max: usize,
}

impl<H: Host, M> Clone for Watch<H, M> {
    fn clone(&self) -> Self {
        Watch {
            host: self.host.clone(),
            seat: Arc::clone(&self.seat),
            snapshots: Arc::clone(&self.snapshots),
            backups: Arc::clone(&self.backups),
            news: self.news.clone(),
            status: self.status.clone(),
            watchers: Arc::clone(&self.watchers),
            watchers_max: self.watchers_max,
        }
    }
}

impl<H: Host, M: StateMachine> Watch<H, M> {
    pub(super) fn new(
        host: &H,
        (seat, news, status): (Arc<Mutex<Seat<M>>>, Latest<u64>, Latest<Status>),
        watchers_max: usize,
    ) -> Watch<H, M> {
        Watch {
            host: host.clone(),
            snapshots: Arc::new(SharedSnapshot::new(Arc::clone(&seat), M::snapshot)),
            backups: Arc::new(SharedSnapshot::new(Arc::clone(&seat), M::backup)),
            seat,
            news,
            status,
            watchers: Arc::new(AtomicUsize::new(0)),
            watchers_max,
        }
    }

    /// The service by which nodes follow, with secrets.
    pub fn service(&self) -> NodesServer<Watch<H, M>> {
        NodesServer::new(self.clone())
    }

    /// All that is asked for, with secrets or without.
    pub(crate) fn told(&self, asked: WatchRequest, with_secrets: bool) -> Result<Told, RpcStatus> {
        let before = self.watchers.fetch_add(1, Ordering::Relaxed);
        let place = Watching(Arc::clone(&self.watchers));
        if before >= self.watchers_max {
            return Err(RpcStatus::resource_exhausted("there are too many watchers"));
        }
        let bookmark_every = match asked.bookmark_every_ns {
            0 => BOOKMARK_EVERY,
            nanos => Duration::from_nanos(nanos).max(BOOKMARK_EVERY_MIN),
        };
        let snapshots = match with_secrets {
            true => &self.snapshots,
            false => &self.backups,
        };
        let watcher = Watcher {
            host: self.host.clone(),
            seat: Arc::clone(&self.seat),
            snapshots: Arc::clone(snapshots),
            news: self.news.reader(),
            status: self.status.clone(),
            sent: asked.from_revision.checked_sub(1),
            is_marked: false,
            with_secrets,
            bookmark_every,
            waiting: VecDeque::new(),
            _place: place,
        };
        let events = stream::unfold(Some(watcher), |watcher| async move {
            let mut watcher = watcher?;
            match watcher.next().await {
                Ok(event) => Some((Ok(WatchReply { event: Some(event) }), Some(watcher))),
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Box::pin(events))
    }
}

/// A place among the watchers.
struct Watching(Arc<AtomicUsize>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One who follows.
struct Watcher<H: Host, M> {
    host: H,
    seat: Arc<Mutex<Seat<M>>>,
    snapshots: Arc<SharedSnapshot<M>>,
    news: LatestReader<u64>,
    status: Latest<Status>,
    /// All up to this revision was sent; `None`: nothing was.
    sent: Option<u64>,
    /// Whether a bookmark has said so.
    is_marked: bool,
    with_secrets: bool,
    bookmark_every: Duration,
    waiting: VecDeque<Event>,
    _place: Watching,
}

impl<H: Host, M: StateMachine> Watcher<H, M> {
    /// What it is told next.
    ///
    /// # Errors
    /// When this member hears no leader: others may know more.
    async fn next(&mut self) -> Result<Event, RpcStatus> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(event);
            }
            if !self.gather() {
                self.begin().await;
            }
            if !self.waiting.is_empty() {
                continue;
            }
            let sent = self.sent.expect("a snapshot came first");
            if !self.is_marked {
                self.is_marked = true;
                return Ok(Event::Bookmark(sent));
            }
            let mut sleep = Box::pin(self.host.sleep_until(self.host.now() + self.bookmark_every));
            let news = &mut self.news;
            self.is_marked = poll_fn(|context| {
                if news.poll_next(context, |_| ()).is_ready() {
                    return Poll::Ready(true);
                }
                sleep.as_mut().poll(context).map(|()| false)
            })
            .await;
            if !self.is_marked && self.status.with(|status| status.leader.is_none()) {
                return Err(RpcStatus::unavailable("this member hears no leader"));
            }
        }
    }

    /// Takes what there is, up to a limit; whether the history reaches back so far.
    fn gather(&mut self) -> bool {
        let seat = locked(&self.seat);
        let Some(sent) = self.sent else {
            return false;
        };
        let Some(deltas) = seat.history.after(sent, TOGETHER_MAX) else {
            let since = seat.history.since();
            self.waiting.push_back(Event::Compacted(since));
            return false;
        };
        if let Some(last) = deltas.last() {
            self.sent = Some(last.revision);
            self.is_marked = false;
        }
        let with_secrets = self.with_secrets;
        self.waiting.extend(deltas.iter().map(|delta| {
            let mut delta = (**delta).clone();
            if !with_secrets {
                M::hide_secrets(&mut delta);
            }
            Event::Delta(delta)
        }));
        true
    }

    /// Begins with a snapshot.
    async fn begin(&mut self) {
        let (revision, bytes) = self.snapshots.get(&self.host).await;
        self.sent = Some(revision);
        self.is_marked = false;
        self.waiting
            .extend(chunks_of(revision, bytes).map(Event::Snapshot));
    }
}

/// A snapshot in pieces that fit into messages.
pub(crate) fn chunks_of(revision: u64, bytes: Bytes) -> impl Iterator<Item = SnapshotChunk> {
    let count = bytes.len().div_ceil(CHUNK_BYTES).max(1);
    (0..count).map(move |number| {
        let from = number * CHUNK_BYTES;
        let to = bytes.len().min(from + CHUNK_BYTES);
        SnapshotChunk {
            revision,
            bytes: bytes.slice(from..to),
            last: number + 1 == count,
        }
    })
}

#[tonic::async_trait]
impl<H: Host, M: StateMachine> Nodes for Watch<H, M> {
    type FollowStream = Told;

    async fn follow(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::FollowStream>, RpcStatus> {
        Peer::of(&request)?.require(&[Role::Node])?;
        let told = self.told(request.into_inner(), true)?;
        Ok(Response::new(told))
    }
}
