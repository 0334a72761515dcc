//! The second contract: what an async service may ask of the machine it runs on.
//!
//! Load clients, demo backends and, later, controllers, health checkers and BGP speakers are ordinary
//! async Rust, generic over [`Host`]. `live` implements it with tokio and the kernel, `sim` with a
//! single-threaded executor in virtual time and simulated TCP. All futures are `Send`. Errors are
//! `std::io::Error` with the kinds a kernel would give (`ConnectionRefused`, `ConnectionReset`,
//! `TimedOut`, `AddrInUse`, ..); the conformance suite in `tests/` runs the same cases on both.
//!
//! A stream's `poll_close` sends FIN and leaves reading open (half-close). Dropping a stream closes it;
//! with unread data it resets (RFC 9293 §3.6.1 and what Linux does).

mod durable_file;
mod echo_socket;

use core::future::{Future, poll_fn};
use core::net::{IpAddr, SocketAddr};
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

use futures_io::{AsyncRead, AsyncWrite};

use crate::rng::Rng;
use crate::time::Instant;

pub use durable_file::{DurableFile, NAME_BYTES_MAX, check_name};
pub use echo_socket::{EchoMeta, EchoSocket};

/// A machine with a clock, timers, tasks, randomness, TCP, UDP, ICMP echoes and a disk. Cloning gives another handle to it.
pub trait Host: Clone + Send + Sync + 'static {
    /// A TCP connection.
    type Tcp: TcpStream;
    /// A TCP listener.
    type Listener: TcpListener<Stream = Self::Tcp>;
    /// A UDP socket.
    type Udp: UdpSocket;
    /// A series of ICMP echoes.
    type Echo: EchoSocket;
    /// A file that outlives crashes.
    type File: DurableFile;

    /// The host's own name, such as `client.osaka` or `host.web-1`.
    fn name(&self) -> &str;

    /// The time.
    fn now(&self) -> Instant;

    /// The clock on the wall: time since 1970, as the machine has it. It may jump, and is for being told to others
    /// alone. Simulated machines began at 1970 and are never wrong.
    fn unix_time(&self) -> Duration {
        self.now().since(Instant::ZERO)
    }

    /// Completes at `at`, or at once when that has passed.
    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + Send + 'static;

    /// Runs `task` beside the caller until it completes or the host stops.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);

    /// The host's randomness for `purpose`, from the start of its stream at every call.
    fn rng(&self, purpose: &str) -> Rng;

    /// Where keys and nonces for `purpose` come from: `None` for the operating system, as it must be wherever
    /// somebody else can reach the host; a seeded stream in the simulator, where a run must repeat.
    fn secrets(&self, purpose: &str) -> Option<Rng> {
        let _ = purpose;
        None
    }

    /// Opens a connection from `local` (its port may be 0: any; its address may be one that is not the
    /// host's own, where the host is set up for foreign sources) or, with `None`, from the host's own
    /// address of `remote`'s family.
    fn tcp_connect(
        &self,
        local: Option<SocketAddr>,
        remote: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::Tcp>> + Send + 'static;

    /// Listens on `local` (port 0: any). At most `backlog` connections wait for `accept`, further SYNs
    /// are ignored meanwhile.
    fn tcp_listen(&self, local: SocketAddr, backlog: usize) -> io::Result<Self::Listener>;

    /// Binds a UDP socket (port 0: any).
    fn udp_bind(&self, local: SocketAddr) -> io::Result<Self::Udp>;

    /// Begins a series of ICMP echoes from `local`; the unspecified address of a family stands for the host's own.
    /// `PermissionDenied` where the machine lets not everybody ping.
    fn echo_bind(&self, local: IpAddr) -> io::Result<Self::Echo>;

    /// Opens the file `name`, which is made when there is none. `InvalidInput` for what [`check_name`]
    /// refuses, `ResourceBusy` when the file is open already, `Unsupported` on a host without a disk.
    fn open_file(&self, name: &str) -> io::Result<Self::File>;

    /// Gives the file `from` the name `to`; a file that had that name is gone. All of it or nothing of it
    /// outlives a crash. `NotFound` when there is no `from`.
    fn rename_file(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes the file `name`. `NotFound` when there is none.
    fn remove_file(&self, name: &str) -> io::Result<()>;

    /// Runs `work`, which may block its thread as files do, and gives what it returns when it is done.
    fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static;
}

/// A [`Host`] that also sends packets with any source, as the machines behind a flood do. Only simulated hosts are:
/// a lab does not spoof.
pub trait RawHost: Host {
    /// Sends an IP packet as it is, by the host's own way out.
    fn send_packet(&self, packet: &[u8]);
}

/// A TCP connection of a [`Host`].
pub trait TcpStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Our end.
    fn local_addr(&self) -> SocketAddr;

    /// The other end.
    fn peer_addr(&self) -> SocketAddr;

    /// The client that a TOA option of the SYN told of ([`crate::wire::toa`]), of a connection that was accepted;
    /// `None` without one, and where the machine does not keep SYNs.
    fn told_by_toa(&self) -> Option<SocketAddr> {
        None
    }

    /// From here on a write waits while as many `bytes` wait that were never sent, and what is to be said next can be
    /// decided late. Without it the machine takes what its buffer holds.
    fn limit_unsent(&self, bytes: u32) -> io::Result<()>;

    /// Ends the connection with RST; unsent data is lost.
    fn abort(self);
}

/// A TCP listener of a [`Host`]. A cancelled `accept` loses no connection.
pub trait TcpListener: Send + 'static {
    /// What `accept` gives.
    type Stream: TcpStream;

    /// Where it listens.
    fn local_addr(&self) -> SocketAddr;

    /// The next connection whose handshake has completed.
    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Self::Stream>>;

    /// The next connection whose handshake has completed.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Stream>> + Send
    where
        Self: Sized,
    {
        poll_fn(|context| self.poll_accept(context))
    }
}

/// How a datagram travels beside its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DatagramMeta {
    /// The other end: where it came from or goes to.
    pub peer: SocketAddr,
    /// Our address that it came to; when sending, `None` lets the host choose.
    pub local: Option<IpAddr>,
    /// TTL or hop limit, as received or to be sent.
    pub ttl: u8,
    /// DSCP and ECN, as received or to be sent.
    pub tos: u8,
}

impl DatagramMeta {
    /// To `peer` with the usual TTL 64 and nothing special.
    pub const fn to(peer: SocketAddr) -> DatagramMeta {
        DatagramMeta {
            peer,
            local: None,
            ttl: 64,
            tos: 0,
        }
    }
}

/// A UDP socket of a [`Host`].
pub trait UdpSocket: Send + Sync + 'static {
    /// Where it is bound.
    fn local_addr(&self) -> SocketAddr;

    /// From here on no datagram of this socket is cut to pieces: one that is larger than its path is known to take is
    /// refused by `send`, and one that turns out so is lost.
    fn never_fragment(&self) -> io::Result<()>;

    /// Sends one datagram. A full device queue loses it silently, as UDP does; errors are about the
    /// socket and the address. A port-unreachable that came back earlier gives `ConnectionRefused` once.
    fn send(&self, payload: &[u8], meta: DatagramMeta) -> io::Result<()>;

    /// The next datagram, cut to `into`; its whole length is given.
    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<(usize, DatagramMeta)>>;

    /// The next datagram, cut to `into`; its whole length is given.
    fn recv(
        &self,
        into: &mut [u8],
    ) -> impl Future<Output = io::Result<(usize, DatagramMeta)>> + Send
    where
        Self: Sized,
    {
        poll_fn(move |context| self.poll_recv(context, into))
    }
}
