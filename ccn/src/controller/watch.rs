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

/// Serves those who follow.
pub struct Watch<H: Host, M> {
    host: H,
    seat: Arc<Mutex<Seat<M>>>,
    snapshots: Arc<SharedSnapshot<M>>,
    news: Latest<u64>,
    status: Latest<Status>,
    watchers: Arc<AtomicUsize>,
    watchers_max: usize,
}

impl<H: Host, M: StateMachine> Watch<H, M> {
    pub(super) fn service(
        host: &H,
        (seat, news, status): (Arc<Mutex<Seat<M>>>, Latest<u64>, Latest<Status>),
        watchers_max: usize,
    ) -> NodesServer<Watch<H, M>> {
        NodesServer::new(Watch {
            host: host.clone(),
            snapshots: Arc::new(SharedSnapshot::new(Arc::clone(&seat))),
            seat,
            news,
            status,
            watchers: Arc::new(AtomicUsize::new(0)),
            watchers_max,
        })
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
        let deltas = deltas.iter().map(|delta| Event::Delta((**delta).clone()));
        self.waiting.extend(deltas);
        true
    }

    /// Begins with a snapshot.
    async fn begin(&mut self) {
        let (revision, mut bytes) = self.snapshots.get(&self.host).await;
        self.sent = Some(revision);
        self.is_marked = false;
        let mut is_over = false;
        while !is_over {
            let part = bytes.split_to(bytes.len().min(CHUNK_BYTES));
            is_over = bytes.is_empty();
            self.waiting.push_back(Event::Snapshot(SnapshotChunk {
                revision,
                bytes: part,
                last: is_over,
            }));
        }
    }
}

#[tonic::async_trait]
impl<H: Host, M: StateMachine> Nodes for Watch<H, M> {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<WatchReply, RpcStatus>> + Send>>;

    async fn follow(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::FollowStream>, RpcStatus> {
        Peer::of(&request)?.require(&[Role::Node])?;
        let before = self.watchers.fetch_add(1, Ordering::Relaxed);
        let place = Watching(Arc::clone(&self.watchers));
        if before >= self.watchers_max {
            return Err(RpcStatus::resource_exhausted("there are too many watchers"));
        }
        let WatchRequest {
            from_revision,
            bookmark_every_ns,
        } = request.into_inner();
        let bookmark_every = match bookmark_every_ns {
            0 => BOOKMARK_EVERY,
            asked => Duration::from_nanos(asked).max(BOOKMARK_EVERY_MIN),
        };
        let watcher = Watcher {
            host: self.host.clone(),
            seat: Arc::clone(&self.seat),
            snapshots: Arc::clone(&self.snapshots),
            news: self.news.reader(),
            status: self.status.clone(),
            sent: from_revision.checked_sub(1),
            is_marked: false,
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
        Ok(Response::new(Box::pin(events)))
    }
}
