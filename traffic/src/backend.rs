//! The demo backend: the server end of every flow.
//!
//! On each of its addresses it listens with TCP and UDP. A TCP connection that starts with the magic byte is
//! a raw [`exchange`](crate::exchange) or a [`long_flow`](crate::long_flow), any other is HTTP/1.1; a datagram is echoed. It stores nothing and
//! trusts nobody: the number of connections, the time for a request's head and the time without progress
//! are bounded. Every accepted connection ends in exactly one [`Ending`].
//!
//! An [`Observer`] is told of each request with the client's address as the backend sees it, which is what
//! shows whether a load balancer kept it, and as TOA or a PROXY header tell it. It takes such a header from anybody, which
//! only a server for tests may.

mod answer;
mod connection;
mod echo;
mod hyper_io;
mod long;
mod observer;
mod opening;
mod patience;
mod service;
mod stats;
mod web;

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use anyedge_net::host::{Host, TcpListener, TcpStream};
use anyedge_topologies::Service;

use crate::scratch::Scratch;
pub use observer::{Observer, Seen, Told, Unobserved, What};
use service::Desks;
use stats::Seat;
pub use stats::{BackendStats, Ending, SharedBackendStats};

/// How many connections are served at a time by default.
pub const CONNECTIONS_MAX: usize = 16_384;

/// The longest body that `/bytes/N` answers.
pub const BODY_BYTES_MAX: u64 = 1 << 30;

/// Connections per listener that may wait for `accept`.
const BACKLOG: usize = 4_096;

/// Rest after an `accept` that failed (no file descriptor left, say), so as not to spin.
const ACCEPT_REST: Duration = Duration::from_millis(10);

/// Where a demo backend listens, and how patient it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackendConfig {
    /// TCP and UDP are served on each of these.
    pub addresses: Vec<SocketAddr>,
    /// A connection above this number is reset.
    pub connections_max: usize,
    /// A request's head must be complete this long after the connection, or the previous answer.
    pub head_timeout: Duration,
    /// A connection without any progress for this long is reset.
    pub idle_timeout: Duration,
    /// How long a raw exchange takes before its answer, by the address that it came to; others are answered at once.
    pub services: Vec<(SocketAddr, Service)>,
}

impl BackendConfig {
    /// On `addresses`, with the usual limits: 20 s for a head, 60 s without progress.
    pub const fn on(addresses: Vec<SocketAddr>) -> BackendConfig {
        BackendConfig {
            addresses,
            connections_max: CONNECTIONS_MAX,
            head_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(60),
            services: Vec::new(),
        }
    }
}

/// What all connections of a backend share.
struct Backend<H> {
    host: H,
    config: BackendConfig,
    observer: Arc<dyn Observer>,
    stats: SharedBackendStats,
    scratch: Scratch,
    desks: Desks,
}

/// Listens on every address of `config` and serves until the host stops. An error is about an address;
/// nothing is served then.
pub fn serve<H: Host>(
    host: &H,
    config: BackendConfig,
    observer: Arc<dyn Observer>,
) -> io::Result<SharedBackendStats> {
    let stats = SharedBackendStats::default();
    let mut listeners = Vec::new();
    let mut sockets = Vec::new();
    for address in &config.addresses {
        listeners.push(host.tcp_listen(*address, BACKLOG)?);
        sockets.push(host.udp_bind(*address)?);
    }
    let backend = Arc::new(Backend {
        desks: Desks::of(host, &config.services),
        host: host.clone(),
        config,
        observer,
        stats: stats.clone(),
        scratch: Scratch::new(),
    });
    for listener in listeners {
        host.spawn(accept(backend.clone(), listener));
    }
    for socket in sockets {
        host.spawn(echo::run(backend.clone(), socket));
    }
    Ok(stats)
}

async fn accept<H: Host>(backend: Arc<Backend<H>>, mut listener: H::Listener) {
    loop {
        let Ok(stream) = listener.accept().await else {
            backend.stats.lock().on_accept_error();
            let host = &backend.host;
            host.sleep_until(host.now() + ACCEPT_REST).await;
            continue;
        };
        match Seat::take(&backend.stats, backend.config.connections_max) {
            Some(seat) => backend
                .host
                .spawn(connection::serve(backend.clone(), stream, seat)),
            None => stream.abort(),
        }
    }
}
