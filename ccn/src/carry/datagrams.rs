//! A CCN link as a QUIC connection: a packet in each datagram (RFC 9221), for where nothing but UDP of a few ports gets
//! through, or where the way between the nodes is anybody's.
//!
//! Datagrams are lost alone and hold up nobody. What the congestion window does not take waits in the port's queue, which
//! drops its oldest, and what has waited for too long, as those of gRPC streams do. One node calls ([`Caller`]) and calls
//! again when the connection ends; the other answers ([`Answerer`]) those whom it knows by address, and admits those whom it
//! knows by certificate. See docs/ccn.md.

use core::future::{Future, poll_fn};
use core::net::{IpAddr, SocketAddr};
use core::pin::pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::Poll;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use anyedge_net::flow::Family;
use anyedge_net::host::Host;
use anyedge_net::wire::gre;
use anyedge_net::wire::outer::{Encap, inner_mtu};
use futures_util::future::select;
use quinn::{Connection, ConnectionError, Incoming};

use super::{Frame, Port, Ports};
use crate::quic::Endpoint;
use crate::rpc::refusals::{NO_LINK, NO_NODE, NO_PLACE, SILENT};
use crate::rpc::{Role, Tls, shown};

/// The UDP port of nodes that answer.
pub const QUIC_PORT: u16 = 4756;

/// Callers that show their certificates at one time; of more, the next are not answered.
const HANDSHAKES_MAX: usize = 64;
/// The first error code of QUIC that is an alert of TLS.
const ALERTS_BEGIN: u64 = 0x100;
/// Calls in a row that came to nothing make the wait for the next one twice as long, as often.
const DOUBLINGS_MAX: u32 = 3;

/// Where a node calls from: one socket for all of its calls from one address.
pub struct Caller<H: Host> {
    host: H,
    endpoint: Arc<Endpoint<H>>,
}

impl<H: Host> Caller<H> {
    /// Calls from `own`, over paths whose packets have at most `mtu_max` bytes.
    ///
    /// # Errors
    /// When `own` is no address of the host's.
    pub fn open(host: &H, own: IpAddr, tls: &Tls, mtu_max: u16) -> io::Result<Caller<H>> {
        let at = SocketAddr::new(own, 0);
        let endpoint = Endpoint::open(host, at, tls, mtu_max, false)?;
        Ok(Caller {
            host: host.clone(),
            endpoint: Arc::new(endpoint),
        })
    }

    /// Joins `port` with the node of that name at `address`, over a path whose packets have at most `mtu` bytes, again and
    /// again until `port` is closed or dropped.
    pub fn call(&self, port: &Arc<Port<H>>, address: SocketAddr, name: &str, mtu: u16) {
        let (host, endpoint) = (self.host.clone(), Arc::clone(&self.endpoint));
        let (port, name) = (Arc::downgrade(port), name.to_owned());
        self.host.spawn(async move {
            let mut failures = 0;
            while let Some(open) = port.upgrade() {
                if open.inlet.queue().is_closed() {
                    return;
                }
                let stream = open.begin_stream();
                let redial = open.limits.redial * (1 << failures);
                failures = (failures + 1).min(DOUBLINGS_MAX);
                if let Ok(connecting) = endpoint.connect(address, &name, mtu)
                    && let Ok(connection) = connecting.await
                    && takes_packets(&connection, mtu)
                {
                    let before = open.counts().received;
                    carry(&open, stream, &connection).await;
                    if open.counts().received > before {
                        failures = 0;
                    }
                }
                drop(open);
                host.sleep_until(host.now() + redial).await;
            }
        });
    }
}

/// Answers nodes that call, until it is dropped, and ends their connections then.
pub struct Answerer<H: Host> {
    endpoint: Arc<Endpoint<H>>,
    admitted: Arc<Admitted>,
}

impl<H: Host> Answerer<H> {
    /// Answers at `local`, over paths whose packets have at most `mtu_max` bytes, those of `ports` that
    /// [come from an address](Ports::admit_from).
    ///
    /// # Errors
    /// When the address is not there or its port is taken.
    pub fn open(
        host: &H,
        local: SocketAddr,
        ports: impl Into<Ports<H>>,
        tls: &Tls,
        mtu_max: u16,
    ) -> io::Result<Answerer<H>> {
        let endpoint = Arc::new(Endpoint::open(host, local, tls, mtu_max, true)?);
        let admitted = Arc::new(Admitted::default());
        let quinn = endpoint.inner().clone();
        let hall = Hall {
            host: host.clone(),
            tls: tls.clone(),
            ports: ports.into(),
            admitted: Arc::clone(&admitted),
            handshakes: Arc::new(AtomicUsize::new(0)),
        };
        let settings = Arc::downgrade(&endpoint);
        host.spawn(async move {
            while let Some(incoming) = quinn.accept().await {
                let Some(endpoint) = settings.upgrade() else {
                    return;
                };
                hall.look_at(&endpoint, incoming);
            }
        });
        Ok(Answerer { endpoint, admitted })
    }

    /// Where it answers.
    pub fn local_addr(&self) -> SocketAddr {
        self.endpoint.local_addr()
    }

    /// Datagrams that belonged to no node: garbage, attempts of whoever was not admitted, and what came for a connection
    /// that was over.
    pub fn strangers(&self) -> u64 {
        // In this order, so that a datagram that comes meanwhile is nobody's stranger.
        let received = self.endpoint.received();
        received.saturating_sub(self.admitted.datagrams())
    }
}

/// Connections of nodes, and how many datagrams those had that are over.
#[derive(Default)]
struct Admitted {
    open: Mutex<(u64, BTreeMap<usize, Connection>)>,
}

impl Admitted {
    fn add(&self, connection: &Connection) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.1.insert(connection.stable_id(), connection.clone());
    }

    fn remove(&self, connection: &Connection) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.1.remove(&connection.stable_id());
        open.0 += datagrams_of(connection);
    }

    fn datagrams(&self) -> u64 {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.0 + open.1.values().map(datagrams_of).sum::<u64>()
    }
}

/// Those that a caller has sent; quinn does not count the first one.
fn datagrams_of(connection: &Connection) -> u64 {
    connection.stats().udp_rx.datagrams + 1
}

/// Where callers wait until they have shown who they are.
struct Hall<H> {
    host: H,
    tls: Tls,
    ports: Ports<H>,
    admitted: Arc<Admitted>,
    handshakes: Arc<AtomicUsize>,
}

impl<H: Host> Hall<H> {
    fn look_at(&self, endpoint: &Endpoint<H>, incoming: Incoming) {
        let from = incoming.remote_address().ip();
        let Some(mtu) = self.ports.mtu_from(from) else {
            self.ports.refusals().count(NO_NODE);
            return incoming.ignore();
        };
        if self.handshakes.load(Ordering::Relaxed) >= HANDSHAKES_MAX {
            self.ports.refusals().count(NO_PLACE);
            return incoming.ignore();
        }
        let config = endpoint.answer_config(from, mtu);
        let connecting = match self.tls.scope(|| incoming.accept_with(config)) {
            Ok(connecting) => connecting,
            Err(error) => return self.ports.refusals().count(stranger(&error)),
        };
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        let (ports, admitted) = (self.ports.clone(), Arc::clone(&self.admitted));
        let handshakes = Arc::clone(&self.handshakes);
        self.host.spawn(async move {
            let connected = connecting.await;
            handshakes.fetch_sub(1, Ordering::Relaxed);
            let connection = match connected {
                Ok(connection) => connection,
                Err(error) => return ports.refusals().count(stranger(&error)),
            };
            let port = caller_of(&connection, &ports, from);
            match port.filter(|_| takes_packets(&connection, mtu)) {
                Some(port) => {
                    admitted.add(&connection);
                    let stream = port.begin_stream();
                    carry(&port, stream, &connection).await;
                    admitted.remove(&connection);
                }
                None => {
                    ports.refusals().count(NO_LINK);
                    connection.close(1_u32.into(), NO_LINK.as_bytes());
                }
            }
        });
    }
}

/// What becomes of a caller that has not shown who it is: an alert of TLS says why (RFC 9001 §4.8, RFC 8446 §6).
fn stranger(error: &ConnectionError) -> &'static str {
    let ConnectionError::TransportError(error) = error else {
        return match error {
            ConnectionError::TimedOut => SILENT,
            _ => "it went away before it was known who it is",
        };
    };
    let Some(alert) = u64::from(error.code).checked_sub(ALERTS_BEGIN) else {
        return "it breaks the rules of QUIC";
    };
    match alert {
        42..=44 | 46 => "its certificate is none",
        45 => "its certificate has expired",
        48 | 51 => "its certificate is of another authority",
        116 => "it shows no certificate",
        120 => "it speaks another protocol",
        _ => "it does not speak TLS 1.3 as we do",
    }
}

/// The port for the node that the peer's certificate names, if it may call from there.
fn caller_of<H: Host>(
    connection: &Connection,
    ports: &Ports<H>,
    from: IpAddr,
) -> Option<Arc<Port<H>>> {
    let (name, role) = shown(connection.peer_identity())?;
    let may = matches!(role, Role::Node | Role::Operator);
    ports.of_caller(&name, from).filter(|_| may)
}

/// Whether a datagram has room for the largest packet of a path.
fn takes_packets(connection: &Connection, mtu: u16) -> bool {
    let family = match connection.remote_address() {
        SocketAddr::V4(_) => Family::V4,
        SocketAddr::V6(_) => Family::V6,
    };
    let largest = usize::from(inner_mtu(Encap::Quic, family, mtu)) + gre::HEADER_LEN;
    let fits = connection.max_datagram_size() >= Some(largest);
    if !fits {
        connection.close(2_u32.into(), b"no room for the packets of this path");
    }
    fits
}

/// Packets both ways, until the connection ends or another stream of `port` begins.
async fn carry<H: Host>(port: &Arc<Port<H>>, stream: u64, connection: &Connection) {
    let send = pin!(send(port, stream, connection));
    let receive = pin!(receive(port, stream, connection));
    select(send, receive).await;
    connection.close(0_u32.into(), b"");
    let waker = port.inlet.queue().end_stream(stream);
    if let Some(waker) = waker {
        waker.wake();
    }
}

async fn send<H: Host>(port: &Arc<Port<H>>, stream: u64, connection: &Connection) {
    loop {
        // No more than quinn takes now, so that the rest can still be dropped.
        let room = connection.datagram_send_buffer_space();
        let bytes_max = room.min(port.limits.batch_bytes_max);
        let batch = poll_fn(|context| {
            let now = port.host.now();
            let mut queue = port.inlet.queue();
            queue.poll_batch(context, stream, now, bytes_max)
        });
        let Some(batch) = batch.await else {
            return;
        };
        for frame in batch {
            let mut sending = pin!(connection.send_datagram_wait(frame.gre));
            let sent = poll_fn(|context| {
                if port.inlet.queue().poll_ended(context, stream).is_ready() {
                    return Poll::Ready(None);
                }
                sending.as_mut().poll(context).map(Some)
            });
            match sent.await {
                // One that is too large is lost, as on any link: forwarders send none.
                Some(Ok(()) | Err(quinn::SendDatagramError::TooLarge)) => {}
                Some(Err(_)) | None => return,
            }
        }
    }
}

async fn receive<H: Host>(port: &Arc<Port<H>>, stream: u64, connection: &Connection) {
    while let Ok(gre) = connection.read_datagram().await {
        if !port.inlet.queue().is_current(stream) {
            return;
        }
        // The outer header is quinn's, and what it said is not known any more.
        port.take_frame(Frame { gre, tos: 0 });
    }
}
