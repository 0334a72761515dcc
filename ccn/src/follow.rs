//! A node's follower: the state that controllers keep, as this node knows it.
//!
//! It asks any controller that answers, takes a snapshot, then deltas, and hands on each state that it comes to. When its
//! controller is lost or silent it goes on with the next one from the revision that it has. When none answers, the
//! last state stays: controllers being away withdraws nothing. Nobody but the follower changes its mirror.

use core::net::SocketAddr;
use core::time::Duration;

use anyedge_net::host::Host;
use anyedge_proto::control::v1::nodes_client::NodesClient;
use anyedge_proto::control::v1::watch_reply::Event;
use anyedge_proto::control::v1::{SnapshotChunk, WatchRequest};
use anyedge_proto::table::v1::Delta;
use futures_util::future::{Either, select};
use tonic::Status;

use crate::controller::Unreadable;
use crate::rpc::{Channel, ClientSecurity, Limits};

/// Bytes of one event: a delta may name more than its command.
const EVENT_BYTES_MAX: usize = 64 << 20;

/// What follows: knows no rule, only snapshots and deltas.
pub trait Mirror: Default + Send + 'static {
    /// The revision that it has; 0: none.
    fn revision(&self) -> u64;

    /// Becomes what these bytes are a snapshot of.
    ///
    /// # Errors
    /// When they are none.
    fn restore(bytes: &[u8]) -> Result<Self, Unreadable>;

    /// Takes a delta that is newer than it.
    ///
    /// # Errors
    /// When it cannot be read, or does not follow.
    fn replay(&mut self, delta: &Delta) -> Result<(), Unreadable>;
}

/// Whom to follow, and how patiently.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where controllers are.
    pub controllers: Vec<SocketAddr>,
    /// How to call them.
    pub security: ClientSecurity,
    /// Of the connection.
    pub limits: Limits,
    /// A bookmark is asked for this often.
    pub bookmark_every: Duration,
    /// A controller that tells nothing for so long is left for another.
    pub silence_max: Duration,
    /// Before the next controller is asked: half of it to all of it.
    pub pause: Duration,
    /// Bytes of a snapshot.
    pub snapshot_bytes_max: usize,
}

impl Config {
    /// Follows any of `controllers`, and leaves one that is silent for 3 s.
    pub fn new(controllers: Vec<SocketAddr>) -> Config {
        Config {
            controllers,
            security: ClientSecurity::Plain,
            limits: Limits {
                handshake_max: Duration::from_secs(3),
                ..Limits::default()
            },
            bookmark_every: Duration::from_secs(1),
            silence_max: Duration::from_secs(3),
            pause: Duration::from_millis(200),
            snapshot_bytes_max: 1 << 30,
        }
    }
}

/// Follows as long as the host runs: `publish` is given each state that controllers say is whole.
pub async fn follow<H: Host, M: Mirror>(host: H, config: Config, publish: impl FnMut(&M) + Send) {
    follow_from(host, config, M::default(), publish).await;
}

/// As [`follow`], from a state that the node has already and `publish` is not told of.
pub async fn follow_from<H: Host, M: Mirror>(
    host: H,
    config: Config,
    mut mirror: M,
    mut publish: impl FnMut(&M) + Send,
) {
    let mut published = mirror.revision();
    let mut jitter = host.rng("follow");
    let count = config.controllers.len() as u64;
    // Nodes that all start with the first would leave the others idle.
    let mut at = jitter.below(count) as usize;
    while let Some(controller) = config.controllers.get(at) {
        let session = Session {
            host: &host,
            config: &config,
            mirror: &mut mirror,
            published: &mut published,
            snapshot: Vec::new(),
        };
        // Whatever ended it, the next controller may do better; what was taken stays.
        let _ended = session.run(*controller, &mut publish).await;
        at = (at + 1) % config.controllers.len();
        let pause = config.pause / 2 + jitter.up_to(config.pause / 2);
        host.sleep_until(host.now() + pause).await;
    }
}

/// What goes on with one controller.
struct Session<'f, H, M> {
    host: &'f H,
    config: &'f Config,
    mirror: &'f mut M,
    /// The revision that was handed on last.
    published: &'f mut u64,
    /// As much of a snapshot as has come.
    snapshot: Vec<u8>,
}

impl<H: Host, M: Mirror> Session<'_, H, M> {
    async fn run(
        mut self,
        controller: SocketAddr,
        publish: &mut (impl FnMut(&M) + Send),
    ) -> Result<(), Status> {
        let Config {
            security, limits, ..
        } = self.config.clone();
        let channel = Channel::new(self.host, controller, security, limits);
        let revision = self.mirror.revision();
        let request = WatchRequest {
            // A node without anything asks for everything.
            from_revision: if revision == 0 { 0 } else { revision + 1 },
            bookmark_every_ns: self.config.bookmark_every.as_nanos() as u64,
        };
        let client = NodesClient::new(channel);
        let mut client = client.max_decoding_message_size(EVENT_BYTES_MAX);
        let answer = self.patiently(client.follow(request)).await??;
        let mut events = answer.into_inner();
        loop {
            let reply = self.patiently(events.message()).await??;
            let Some(event) = reply.and_then(|reply| reply.event) else {
                return Ok(());
            };
            let is_whole = self.take(event)?;
            if is_whole && self.mirror.revision() != *self.published {
                *self.published = self.mirror.revision();
                publish(self.mirror);
            }
        }
    }

    /// Whether all that there is has come.
    fn take(&mut self, event: Event) -> Result<bool, Status> {
        match event {
            Event::Snapshot(chunk) => self.take_chunk(&chunk)?,
            Event::Delta(delta) => {
                let is_news = delta.revision > self.mirror.revision();
                if is_news && let Err(error) = self.mirror.replay(&delta) {
                    // From the beginning, by a snapshot. What was handed on stays until then.
                    *self.mirror = M::default();
                    return Err(unreadable(error));
                }
            }
            Event::Bookmark(_) => return Ok(true),
            // A snapshot follows.
            Event::Compacted(_) => self.snapshot.clear(),
        }
        Ok(false)
    }

    fn take_chunk(&mut self, chunk: &SnapshotChunk) -> Result<(), Status> {
        if self.snapshot.len() + chunk.bytes.len() > self.config.snapshot_bytes_max {
            return Err(Status::resource_exhausted("the snapshot is too large"));
        }
        self.snapshot.extend_from_slice(&chunk.bytes);
        if chunk.last {
            let bytes = core::mem::take(&mut self.snapshot);
            let snapshot = M::restore(&bytes).map_err(unreadable)?;
            // A controller that lags behind is no reason to go back.
            if snapshot.revision() > self.mirror.revision() {
                *self.mirror = snapshot;
            }
        }
        Ok(())
    }

    async fn patiently<T>(&self, what: impl Future<Output = T>) -> Result<T, Status> {
        let silent = self.host.now() + self.config.silence_max;
        let silence = core::pin::pin!(self.host.sleep_until(silent));
        match select(core::pin::pin!(what), silence).await {
            Either::Left((what, _)) => Ok(what),
            Either::Right(_) => Err(Status::deadline_exceeded("the controller is silent")),
        }
    }
}

fn unreadable(error: Unreadable) -> Status {
    Status::data_loss(error.0)
}
