//! The client of the control API: finds the leader among the controllers, and repeats what may be repeated.
//!
//! A controller that does not lead says who does, and the client goes there; one that does not answer is left for the
//! next one, after a pause with seeded jitter. Every write has a request id, so that repeating it applies it once. What
//! is refused is not repeated: only `UNAVAILABLE`, a call that took too long, and `RequestLimitExceeded` are.
//!
//! Channels are kept, one for each controller.

mod calls;
mod request_ids;

use core::future::Future;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyedge_net::host::Host;
use anyedge_net::rng::Rng;
use anyedge_net::time::Instant;
use tonic::{Code, Response, Status};

use super::{leader_of, refusal_of};
use crate::rpc::{Channel, ClientSecurity, Limits, until};
use crate::table::refusal::Reason;
pub use anyedge_proto::control::v1::Member;
use request_ids::RequestIds;

/// Channels that are kept: controllers may tell of others than were named.
const CHANNELS_MAX: usize = 16;
/// Times that one call goes where it is sent at once; after that it pauses, in case two members send it to each other.
const HOPS_MAX: u32 = 3;

/// Calls to the controllers. Clones share channels, and who leads.
pub struct Client<H: Host> {
    shared: Arc<Shared<H>>,
    patience: Duration,
}

struct Shared<H: Host> {
    host: H,
    servers: Vec<SocketAddr>,
    security: ClientSecurity,
    limits: Limits,
    ids: RequestIds,
    inner: Mutex<Inner<H>>,
}

struct Inner<H: Host> {
    channels: BTreeMap<SocketAddr, Channel<H>>,
    /// Who answered last.
    preferred: SocketAddr,
    jitter: Rng,
}

impl<H: Host> Clone for Client<H> {
    fn clone(&self) -> Self {
        Client {
            shared: Arc::clone(&self.shared),
            patience: self.patience,
        }
    }
}

impl<H: Host> Client<H> {
    /// How long a call is repeated unless [`Client::within`] says otherwise.
    pub const PATIENCE: Duration = Duration::from_secs(10);
    /// How long one controller may take to answer.
    const ATTEMPT_MAX: Duration = Duration::from_secs(3);
    /// Between attempts: half of it to all of it.
    const PAUSE: Duration = Duration::from_millis(100);

    /// A client of the controllers at `servers`, of which there is at least one. Of two clients on one host that are
    /// made at the same time, each needs its own [`Client::named`].
    pub fn new(host: &H, servers: Vec<SocketAddr>, security: ClientSecurity) -> Client<H> {
        Client::named(host, "client", servers, security)
    }

    /// As [`Client::new`]; `name` sets apart its randomness and its request ids.
    pub fn named(
        host: &H,
        name: &str,
        servers: Vec<SocketAddr>,
        security: ClientSecurity,
    ) -> Client<H> {
        assert!(!servers.is_empty(), "a client needs a controller to ask");
        let mut jitter = host.rng(&format!("api client {name}"));
        let first = jitter.below(servers.len() as u64) as usize;
        let limits = Limits {
            handshake_max: Self::ATTEMPT_MAX,
            ping_every: Self::ATTEMPT_MAX,
            ping_wait: Self::ATTEMPT_MAX,
            retry_max: Self::PAUSE,
            ..Limits::default()
        };
        let inner = Inner {
            channels: BTreeMap::new(),
            preferred: servers[first],
            jitter,
        };
        Client {
            shared: Arc::new(Shared {
                host: host.clone(),
                ids: RequestIds::new(host, name),
                servers,
                security,
                limits,
                inner: Mutex::new(inner),
            }),
            patience: Self::PATIENCE,
        }
    }

    /// The same client, whose calls end after `patience`.
    pub fn within(&self, patience: Duration) -> Client<H> {
        Client {
            shared: Arc::clone(&self.shared),
            patience,
        }
    }

    /// A request id that nobody else uses.
    pub fn request_id(&self) -> String {
        self.shared.ids.next()
    }

    /// Asks with `ask`, which is given a channel to one controller after another, until one answers or refuses. What is
    /// asked must bear being repeated: a read, or a write with a request id.
    ///
    /// # Errors
    /// The refusal, or what went wrong last when the time is over.
    pub async fn call<T, F>(&self, ask: impl Fn(Channel<H>) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let host = &self.shared.host;
        let over = host.now() + self.patience;
        let mut at = self.inner().preferred;
        let mut hops = 0;
        loop {
            let attempt_ends = over.min(host.now() + Self::ATTEMPT_MAX);
            let channel = self.channel(at);
            let status = match until(host, attempt_ends, ask(channel)).await {
                Some(Ok(response)) => {
                    self.inner().preferred = at;
                    return Ok(response.into_inner());
                }
                Some(Err(status)) if !is_repeatable(&status) => return Err(status),
                Some(Err(status)) => status,
                None => Status::unavailable(format!("{at} does not answer")),
            };
            match leader_of(&status) {
                Some(leader) if leader != at && hops < HOPS_MAX => {
                    hops += 1;
                    at = leader;
                }
                told => {
                    hops = 0;
                    at = told.unwrap_or_else(|| self.after(at));
                    if !self.pause(over).await {
                        return Err(status);
                    }
                }
            }
        }
    }

    /// As [`Client::call`], with a request that is the same for each.
    ///
    /// # Errors
    /// As for [`Client::call`].
    pub async fn send<Q, T, F>(
        &self,
        request: Q,
        ask: impl Fn(Channel<H>, Q) -> F,
    ) -> Result<T, Status>
    where
        Q: Clone,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.call(|channel| ask(channel, request.clone())).await
    }

    /// A channel to one controller, whether it leads or not: to ask just that one.
    pub fn channel(&self, server: SocketAddr) -> Channel<H> {
        let Shared {
            host,
            security,
            limits,
            ..
        } = &*self.shared;
        let mut inner = self.inner();
        if inner.channels.len() >= CHANNELS_MAX && !inner.channels.contains_key(&server) {
            inner.channels.clear();
        }
        let channel = inner.channels.entry(server);
        channel
            .or_insert_with(|| Channel::new(host, server, security.clone(), *limits))
            .clone()
    }

    /// The controllers that it was told of.
    pub fn servers(&self) -> &[SocketAddr] {
        &self.shared.servers
    }

    /// Who is asked after `server`: the next of the list.
    fn after(&self, server: SocketAddr) -> SocketAddr {
        let servers = &self.shared.servers;
        let known = servers.iter().position(|known| *known == server);
        servers[known.map_or(0, |known| (known + 1) % servers.len())]
    }

    /// Waits a little; whether time is left.
    async fn pause(&self, over: Instant) -> bool {
        let host = &self.shared.host;
        let half = Self::PAUSE / 2;
        let at = host.now() + half + self.inner().jitter.up_to(half);
        if at >= over {
            return false;
        }
        host.sleep_until(at).await;
        true
    }

    fn inner(&self) -> MutexGuard<'_, Inner<H>> {
        // Nothing panics with it half changed.
        self.shared
            .inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the same call may succeed, there or elsewhere.
fn is_repeatable(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => true,
        Code::ResourceExhausted => refusal_of(status).is_none_or(|it| it.reason == Reason::Busy),
        _ => false,
    }
}
