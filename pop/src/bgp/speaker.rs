//! A speaker: one session driven over a [`Host`], in the simulator and on the kernel by the same code.
//!
//! It connects, listens, reads and writes as its [`Session`] wants, and follows its [`Orders`]. Only the peer's
//! address may connect. A connection that ends is given a second to take its NOTIFICATION with it. What the session
//! may give to send before bytes have left is bounded, so what waits here is as well.

use core::future::{Future, poll_fn};
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;

use anyedge_net::host::{Host, TcpListener as _, TcpStream as _};
use anyedge_net::time::{Deadline, Instant};
use futures_util::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::{Code, Config, Event, IpNet, Offer, Output, Session, Side};

/// How long a connection that is closed may go on sending.
const LINGER: Duration = Duration::from_secs(1);
/// The most connections at a time, those that are being closed included.
const CONNECTIONS_MAX: usize = 4;
const READ_BYTES: usize = 16 << 10;

/// Where speakers listen (RFC 4271 §8.2.1).
pub const BGP_PORT: u16 = 179;

/// Whom to speak with.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The session.
    pub config: Config,
    /// Where to connect to; only this address may connect to us.
    pub remote: SocketAddr,
    /// Where to connect from; `None` for the host's own address and any port.
    pub local: Option<SocketAddr>,
}

/// What a speaker is to do. Each replaces the one before it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Orders {
    /// What the peer is to know.
    pub offers: BTreeMap<IpNet, Offer>,
    /// Whether all of it is about to go.
    pub drains: bool,
    /// Counted up: the session ends with BFD Down (RFC 9384), and comes back by itself.
    pub bfd_downs: u64,
}

/// Speaks with `peer` until `orders` end: then the session is shut down and the connections are closed.
///
/// Connections that come in are taken from `listener`. `observe` is called with each event, and the session as it
/// is then.
pub async fn run<H: Host>(
    host: H,
    peer: Peer,
    listener: Option<H::Listener>,
    mut orders: mpsc::Receiver<Orders>,
    mut observe: impl FnMut(Instant, &Session, &Event) + Send,
) {
    let rng = host.rng(&format!("bgp {}", peer.remote));
    let mut driver = Driver::<H> {
        session: Session::new(peer.config.clone(), rng),
        host,
        peer,
        listener,
        connecting: None,
        wires: Vec::new(),
        numbers: 0,
        bfd_downs: 0,
        timer: None,
        is_stopped: false,
    };
    let now = driver.host.now();
    driver.session.start(now);
    poll_fn(|context| driver.poll(context, &mut orders, &mut observe)).await;
}

struct Wire<T> {
    number: u32,
    stream: T,
    /// What has not left yet.
    out: Vec<u8>,
    /// It is being closed, and is dropped then.
    until: Option<Instant>,
    has_sent_end: bool,
}

type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;
type Connecting<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

struct Driver<H: Host> {
    host: H,
    peer: Peer,
    session: Session,
    listener: Option<H::Listener>,
    connecting: Option<Connecting<H::Tcp>>,
    wires: Vec<Wire<H::Tcp>>,
    numbers: u32,
    bfd_downs: u64,
    timer: Option<(Instant, Sleep)>,
    is_stopped: bool,
}

impl<H: Host> Driver<H> {
    /// Does all that can be done now.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        orders: &mut mpsc::Receiver<Orders>,
        observe: &mut (impl FnMut(Instant, &Session, &Event) + Send),
    ) -> Poll<()> {
        loop {
            let mut is_busy = self.take_orders(context, orders);
            is_busy |= self.take_connections(context);
            is_busy |= self.move_bytes(context);
            while let Some(output) = self.session.poll(self.host.now()) {
                is_busy = true;
                self.carry_out(output, observe);
            }
            is_busy |= self.keep_time(context);
            if self.is_stopped && self.wires.is_empty() {
                return Poll::Ready(());
            }
            if !is_busy {
                return Poll::Pending;
            }
        }
    }

    fn take_orders(
        &mut self,
        context: &mut Context<'_>,
        orders: &mut mpsc::Receiver<Orders>,
    ) -> bool {
        if self.is_stopped {
            return false;
        }
        let now = self.host.now();
        match orders.poll_recv(context) {
            Poll::Pending => return false,
            Poll::Ready(None) => {
                self.is_stopped = true;
                self.connecting = None;
                self.session.stop(now);
            }
            Poll::Ready(Some(orders)) => {
                self.session.want(&orders.offers, orders.drains);
                if orders.bfd_downs > self.bfd_downs {
                    self.bfd_downs = orders.bfd_downs;
                    self.session.reset(now, Code::BFD_DOWN);
                }
            }
        }
        true
    }

    fn take_connections(&mut self, context: &mut Context<'_>) -> bool {
        let mut is_busy = false;
        if let Some(connecting) = &mut self.connecting
            && let Poll::Ready(outcome) = connecting.as_mut().poll(context)
        {
            is_busy = true;
            self.connecting = None;
            match outcome {
                Ok(stream) => self.add(stream, Side::Outgoing),
                Err(_) => self.session.handle_connect_failed(self.host.now()),
            }
        }
        // After an error it is asked again when anything else happens, a timer at the latest.
        while let Some(listener) = &mut self.listener
            && let Poll::Ready(Ok(stream)) = listener.poll_accept(context)
        {
            is_busy = true;
            let is_peer = stream.peer_addr().ip() == self.peer.remote.ip();
            if is_peer && !self.is_stopped && self.wires.len() < CONNECTIONS_MAX {
                self.add(stream, Side::Incoming);
            } else {
                stream.abort();
            }
        }
        is_busy
    }

    fn add(&mut self, stream: H::Tcp, side: Side) {
        self.numbers += 1;
        self.wires.push(Wire {
            number: self.numbers,
            stream,
            out: Vec::new(),
            until: None,
            has_sent_end: false,
        });
        let now = self.host.now();
        self.session.handle_connected(now, self.numbers, side);
    }

    /// Writes and reads; a connection that is over is dropped.
    fn move_bytes(&mut self, context: &mut Context<'_>) -> bool {
        let now = self.host.now();
        let mut is_busy = false;
        let session = &mut self.session;
        self.wires.retain_mut(|wire| {
            let end = match wire.move_bytes(context, now, session) {
                Ok(moved) => {
                    is_busy |= moved;
                    wire.until.is_some_and(|until| until <= now)
                }
                Err(Ended) => true,
            };
            if end {
                is_busy = true;
                session.handle_closed(now, wire.number);
            }
            !end
        });
        is_busy
    }

    fn carry_out(
        &mut self,
        output: Output,
        observe: &mut (impl FnMut(Instant, &Session, &Event) + Send),
    ) {
        let now = self.host.now();
        match output {
            Output::Connect => {
                let attempt = self.host.tcp_connect(self.peer.local, self.peer.remote);
                self.connecting = Some(Box::pin(attempt));
            }
            Output::Send { connection, bytes } => {
                if let Some(wire) = self.wire(connection) {
                    wire.out.extend(bytes);
                }
            }
            Output::Close { connection } => {
                if let Some(wire) = self.wire(connection) {
                    wire.until = Some(now + LINGER);
                }
            }
            Output::Event(event) => observe(now, &self.session, &event),
        }
    }

    fn wire(&mut self, number: u32) -> Option<&mut Wire<H::Tcp>> {
        self.wires.iter_mut().find(|wire| wire.number == number)
    }

    /// Waits for what is due next, and does it when it is.
    fn keep_time(&mut self, context: &mut Context<'_>) -> bool {
        let lingering = self.wires.iter().filter_map(|wire| wire.until).min();
        let lingering = lingering.map(|at| Deadline {
            at,
            reason: "linger",
        });
        let next = Deadline::earlier(self.session.poll_timeout(), lingering);
        let Some(at) = next.map(|deadline| deadline.at) else {
            self.timer = None;
            return false;
        };
        if self.timer.as_ref().is_none_or(|(due, _)| *due != at) {
            self.timer = Some((at, Box::pin(self.host.sleep_until(at))));
        }
        let is_due = match &mut self.timer {
            Some((_, sleep)) => sleep.as_mut().poll(context).is_ready(),
            None => false,
        };
        if is_due {
            self.timer = None;
            self.session.handle_timeout(self.host.now());
        }
        is_due
    }
}

/// A connection is over.
struct Ended;

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    /// Whether anything moved.
    fn move_bytes(
        &mut self,
        context: &mut Context<'_>,
        now: Instant,
        session: &mut Session,
    ) -> Result<bool, Ended> {
        let mut is_busy = false;
        while !self.out.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, &self.out) {
                Poll::Ready(Ok(0) | Err(_)) => return Err(Ended),
                Poll::Ready(Ok(count)) => {
                    self.out.drain(..count);
                    session.handle_sent(now, self.number, count);
                    is_busy = true;
                }
                Poll::Pending => break,
            }
        }
        if let Poll::Ready(Err(_)) = Pin::new(&mut self.stream).poll_flush(context) {
            return Err(Ended);
        }
        if self.until.is_some() && self.out.is_empty() && !self.has_sent_end {
            match Pin::new(&mut self.stream).poll_close(context) {
                Poll::Ready(Ok(())) => self.has_sent_end = true,
                Poll::Ready(Err(_)) => return Err(Ended),
                Poll::Pending => {}
            }
        }
        let mut buffer = [0; READ_BYTES];
        match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
            Poll::Ready(Ok(0) | Err(_)) => Err(Ended),
            Poll::Ready(Ok(count)) => {
                // What comes after the end means nothing, but keeps the end from becoming a reset.
                if self.until.is_none() {
                    session.handle_bytes(now, self.number, &buffer[..count]);
                }
                Ok(true)
            }
            Poll::Pending => Ok(is_busy),
        }
    }
}
