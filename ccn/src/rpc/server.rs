//! A gRPC server on a host: connections, their calls, and the end of both.
//!
//! One task accepts, one drives each connection, one answers each call. A peer that stops answering loses its
//! connection, a reader that stops reading loses its call, one connection or call too many is refused; nobody
//! else notices. [`Server::stop`] lets calls that have begun end.

mod call;

use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll};
use std::future::poll_fn;
use std::sync::Arc;

use anyedge_net::host::{Host, TcpListener as _, TcpStream as _};
use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::service::Routes;

use super::deadline::until;
use super::failure::stranger;
use super::keepalive::Keepalive;
use super::latest::{Latest, LatestReader};
use super::limits::Limits;
use super::peer::Peer;
use super::permits::Permits;
use super::refusals::{NO_PLACE, NOT_HTTP, Refusals, SILENT};
use super::security::ServerSecurity;
use super::stream_io::StreamIo;
use super::{RESET_REMEMBERED, RESETS_REMEMBERED_MAX};

/// A server that runs. Dropping it stops it.
pub struct Server {
    counts: Arc<Counts>,
    strangers: Latest<Strangers>,
    refusals: Refusals,
    stop: Latest<bool>,
}

/// Callers that were not let in, since it was not known who they are.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Strangers {
    /// How many there were.
    pub total: u64,
    /// Where the last one called from, and why it is not known.
    pub last: Option<(SocketAddr, &'static str)>,
}

/// What a server has seen so far, and what it has now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerCounts {
    /// Connections that are open.
    pub connections: usize,
    /// Calls that are being answered.
    pub calls: usize,
    /// Calls that were begun.
    pub calls_total: u64,
    /// Connections and calls that found no place.
    pub refused_total: u64,
    /// Connections that ended before it was known who calls.
    pub unknown_total: u64,
    /// Connections that were cut since nothing came back on them.
    pub silent_total: u64,
    /// Calls that were cut since nobody read their answers.
    pub stalled_total: u64,
    /// Calls whose deadline passed.
    pub late_total: u64,
}

struct Counts {
    connections: Permits,
    calls: Permits,
    begun: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    silent: AtomicU64,
    stalled: AtomicU64,
    late: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What all connections of a server share.
#[derive(Clone)]
struct Shared<H: Host> {
    host: H,
    routes: Routes,
    security: ServerSecurity,
    limits: Limits,
    counts: Arc<Counts>,
    strangers: Latest<Strangers>,
    refusals: Refusals,
    stop: Latest<bool>,
}

impl Server {
    /// Answers calls to `routes` on every connection that `listener` accepts.
    pub fn serve<H: Host>(
        host: &H,
        listener: H::Listener,
        routes: Routes,
        security: ServerSecurity,
        limits: Limits,
    ) -> Server {
        let counts = Arc::new(Counts {
            connections: Permits::new(limits.connections_max),
            calls: Permits::new(limits.calls_max),
            begun: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            silent: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            late: AtomicU64::new(0),
        });
        let stop = Latest::new(false);
        let strangers = Latest::new(Strangers::default());
        let refusals = Refusals::default();
        let shared = Shared {
            host: host.clone(),
            routes: routes.prepare(),
            security,
            limits,
            counts: Arc::clone(&counts),
            strangers: strangers.clone(),
            refusals: refusals.clone(),
            stop: stop.clone(),
        };
        host.spawn(accept(shared, listener));
        Server {
            counts,
            strangers,
            refusals,
            stop,
        }
    }

    /// Connections that it did not take, or broke off, by cause.
    pub fn refusals(&self) -> Refusals {
        self.refusals.clone()
    }

    /// What it has seen so far.
    pub fn counts(&self) -> ServerCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &*self.counts;
        ServerCounts {
            connections: counts.connections.taken(),
            calls: counts.calls.taken(),
            calls_total: read(&counts.begun),
            refused_total: read(&counts.refused),
            unknown_total: read(&counts.unknown),
            silent_total: read(&counts.silent),
            stalled_total: read(&counts.stalled),
            late_total: read(&counts.late),
        }
    }

    /// Tells of those whom it did not let in.
    pub fn watch_strangers(&self) -> LatestReader<Strangers> {
        self.strangers.reader()
    }

    /// Accepts no more connections and calls; calls that have begun go on to their end.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.change(|stop| !core::mem::replace(stop, true));
    }
}

async fn accept<H: Host>(shared: Shared<H>, mut listener: H::Listener) {
    let mut stop = shared.stop.reader();
    loop {
        let accepted = poll_fn(|context| {
            if is_stopped(&mut stop, context) {
                return Poll::Ready(None);
            }
            listener.poll_accept(context).map(Some)
        })
        .await;
        let stream = match accepted {
            None => return,
            Some(Ok(stream)) => stream,
            // The connection ended while it waited, or the machine has no more of something: others may do.
            Some(Err(_)) => continue,
        };
        let Some(permit) = shared.counts.connections.take() else {
            count(&shared.counts.refused);
            shared.refusals.count(NO_PLACE);
            stream.abort();
            continue;
        };
        let connection = shared.clone();
        shared.host.spawn(async move {
            connection.welcome(stream).await;
            drop(permit);
        });
    }
}

fn is_stopped(stop: &mut LatestReader<bool>, context: &mut Context<'_>) -> bool {
    matches!(stop.poll_next(context, |stop| *stop), Poll::Ready(true))
        // The first value is news, but not the end: this leaves a waker.
        || matches!(stop.poll_next(context, |stop| *stop), Poll::Ready(true))
}

/// What a connection gives its driver.
enum Event {
    Call(Box<Request<h2::RecvStream>>, SendResponse<Bytes>),
    Stopped,
    Idle,
    Silent,
    Over(Option<h2::Error>),
}

impl<H: Host> Shared<H> {
    /// Finds out who calls, then serves.
    async fn welcome(self, stream: H::Tcp) {
        let address = stream.peer_addr();
        if let Some(bytes) = self.limits.unsent_bytes_max
            && stream.limit_unsent(bytes).is_err()
        {
            // It was reset before anybody looked at it.
            return;
        }
        let patience_ends = self.host.now() + self.limits.handshake_max;
        match self.security.clone() {
            ServerSecurity::Plain(role) => {
                let name = None;
                let peer = Peer {
                    address,
                    name,
                    role,
                };
                self.speak(StreamIo(stream), peer, patience_ends).await;
            }
            ServerSecurity::Tls(tls) => {
                match until(&self.host, patience_ends, tls.accept(stream)).await {
                    Some(Ok((stream, name, role))) => {
                        let name = Some(name);
                        let peer = Peer {
                            address,
                            name,
                            role,
                        };
                        self.speak(StreamIo(stream), peer, patience_ends).await;
                    }
                    Some(Err(error)) => {
                        let why = stranger(&error);
                        count(&self.counts.unknown);
                        self.refusals.count(why);
                        self.strangers.change(|strangers| {
                            strangers.total += 1;
                            strangers.last = Some((address, why));
                            true
                        });
                    }
                    None => self.is_silent(),
                }
            }
        }
    }

    async fn speak<T>(self, io: T, peer: Peer, patience_ends: anyedge_net::time::Instant)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = Builder::new();
        builder
            .reset_stream_duration(RESET_REMEMBERED)
            .max_concurrent_reset_streams(RESETS_REMEMBERED_MAX)
            .max_concurrent_streams(self.limits.streams_max)
            .max_header_list_size(self.limits.header_bytes_max)
            .initial_window_size(self.limits.window_bytes)
            .initial_connection_window_size(self.limits.connection_window_bytes)
            .max_send_buffer_size(self.limits.send_bytes_max);
        let handshake = builder.handshake(io);
        match until(&self.host, patience_ends, handshake).await {
            Some(Ok(connection)) => self.drive(connection, peer).await,
            Some(Err(error)) => self.is_over(&error),
            None => self.is_silent(),
        }
    }

    /// A connection is cut since nothing came on it.
    fn is_silent(&self) {
        count(&self.counts.silent);
        self.refusals.count(SILENT);
    }

    /// A connection ended by an error; one that was lost is no fault of the peer's.
    fn is_over(&self, error: &h2::Error) {
        if error.is_library() {
            self.refusals.count(NOT_HTTP);
        }
    }

    /// Takes calls until the connection ends.
    async fn drive<T>(self, mut connection: Connection<T, Bytes>, peer: Peer)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let pings = connection.ping_pong().expect("it is asked for once");
        let Limits {
            ping_every,
            ping_wait,
            idle_max,
            ..
        } = self.limits;
        let mut keepalive = Keepalive::new(&self.host, pings, ping_every, ping_wait);
        let own = Permits::new(usize::MAX);
        let mut stop = self.stop.reader();
        let mut idle = Box::pin(self.host.sleep_until(self.host.now() + idle_max));
        let mut is_leaving = false;
        loop {
            let event = poll_fn(|context| {
                if keepalive.poll_dead(context).is_ready() {
                    return Poll::Ready(Event::Silent);
                }
                if !is_leaving && is_stopped(&mut stop, context) {
                    return Poll::Ready(Event::Stopped);
                }
                if !is_leaving && idle.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Event::Idle);
                }
                connection.poll_accept(context).map(|next| match next {
                    Some(Ok((request, respond))) => Event::Call(Box::new(request), respond),
                    Some(Err(error)) => Event::Over(Some(error)),
                    None => Event::Over(None),
                })
            })
            .await;
            match event {
                Event::Call(request, respond) => {
                    let permit = own.take();
                    let call = call::answer(self.clone(), *request, respond, peer.clone());
                    self.host.spawn(async move {
                        call.await;
                        drop(permit);
                    });
                }
                Event::Idle if own.taken() > 0 => {
                    idle = Box::pin(self.host.sleep_until(self.host.now() + idle_max));
                }
                Event::Stopped | Event::Idle => {
                    is_leaving = true;
                    connection.graceful_shutdown();
                }
                Event::Silent => return self.is_silent(),
                Event::Over(error) => return error.iter().for_each(|error| self.is_over(error)),
            }
        }
    }
}
