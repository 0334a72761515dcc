//! Requests and long flows over TCP: each a task of its own, on a connection of its own or on one that was kept.
//!
//! One is complete with the last byte of its answer. One that fails resets its connection, so that
//! nothing on the path or at the server goes on serving it. Of kept connections the one used last is used next.

use core::future::poll_fn;
use core::pin::pin;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::Poll;
use std::sync::{Arc, Mutex, MutexGuard};

use anyedge_net::host::{Host, TcpStream};
use anyedge_net::rng::Rng;
use anyedge_net::time::Instant;
use anyedge_topologies::Drawn;
use futures_util::future::{Either, select};
use futures_util::task::AtomicWaker;

use super::deadline::Deadline;
use super::pacer::Pacer;
use super::talk::{self, Talk};
use crate::failure::Failure;
use crate::load::{Load, LoadKind};
use crate::scratch::Scratch;
use crate::stats::{FlowWatch, SharedStats};

/// What all requests of one host share.
struct Client<H: Host> {
    host: H,
    load: Load,
    /// What each of them begins with, unless sizes are drawn.
    opening: Vec<u8>,
    /// What sizes are drawn from.
    sizes: Option<Mutex<(Drawn, Rng)>>,
    scratch: Scratch,
    in_flight: InFlight,
    /// Connections that wait for their next request.
    kept: Mutex<Vec<Connection<H>>>,
    stats: SharedStats,
}

/// An established connection and what was seen of it.
struct Connection<H: Host> {
    stream: H::Tcp,
    watch: FlowWatch,
}

struct InFlight {
    count: AtomicU32,
    /// The sender, while it waits for one to end.
    waits: AtomicWaker,
}

/// One request's place among those in flight.
struct Place<H: Host>(Arc<Client<H>>);

impl<H: Host> Drop for Place<H> {
    fn drop(&mut self) {
        self.0.in_flight.count.fetch_sub(1, Ordering::AcqRel);
        self.0.in_flight.waits.wake();
    }
}

/// Connections that are kept to the end are over as they should be.
impl<H: Host> Drop for Client<H> {
    fn drop(&mut self) {
        let kept = self.kept.get_mut().map(core::mem::take).unwrap_or_default();
        let now = self.host.now();
        for connection in kept {
            let mut stats = self.stats.lock();
            stats.on_flow_over(now, connection.watch, None);
        }
    }
}

/// How a request failed.
struct Failed {
    cause: Failure,
    /// What was seen of the flow, if it was established.
    flow: Option<FlowWatch>,
}

/// Sends the arrivals of `pacer`, each in a task; ends when the last one has been started.
pub(super) fn run<H: Host>(
    host: H,
    load: &Load,
    mut pacer: Pacer,
    stats: SharedStats,
) -> impl Future<Output = ()> + Send + 'static {
    let rng = || host.rng(&format!("sizes {}", load.stream));
    let sizes = load.sizes.clone().map(|sizes| Mutex::new((sizes, rng())));
    let client = Arc::new(Client {
        host,
        load: load.clone(),
        opening: talk::opening(load, load.size),
        sizes,
        scratch: Scratch::new(),
        in_flight: InFlight {
            count: AtomicU32::new(0),
            waits: AtomicWaker::new(),
        },
        kept: Mutex::default(),
        stats,
    });
    async move {
        while !pacer.is_over() {
            pacer.advance(client.host.now(), &client.stats);
            start_waiting(&client, &mut pacer);
            if pacer.is_over() {
                return;
            }
            let mut sleep = pin!(client.host.sleep_until(pacer.next_wake()));
            poll_fn(|context| {
                if pacer.has_waiting() {
                    client.in_flight.waits.register(context.waker());
                    if client.has_room() {
                        return Poll::Ready(());
                    }
                }
                sleep.as_mut().poll(context)
            })
            .await;
        }
    }
}

/// Starts those that wait, as many as there is room for.
fn start_waiting<H: Host>(client: &Arc<Client<H>>, pacer: &mut Pacer) {
    while client.has_room() {
        let Some(intended) = pacer.take() else {
            return;
        };
        client.in_flight.count.fetch_add(1, Ordering::AcqRel);
        let place = Place(client.clone());
        // Drawn in the order of the arrivals, whichever task runs first.
        let drawn = client.draw();
        client
            .host
            .spawn(async move { place.0.request(intended, drawn).await });
    }
}

impl<H: Host> Client<H> {
    fn lock_kept(&self) -> MutexGuard<'_, Vec<Connection<H>>> {
        self.kept.lock().expect("no holder of the list panics")
    }

    async fn connect(&self) -> Result<Connection<H>, Failure> {
        self.stats.lock().on_connecting(self.host.now());
        let connected = self.host.tcp_connect(None, self.load.to).await;
        let stream = connected.map_err(|error| Failure::of(&error))?;
        let watch = self.stats.lock().on_established(self.host.now());
        Ok(Connection { stream, watch })
    }

    /// Only the sender adds to those in flight, so room that is seen stays.
    fn has_room(&self) -> bool {
        self.in_flight.count.load(Ordering::Acquire) < self.load.in_flight_max
    }

    /// The size of the next request, if it is another each time.
    fn draw(&self) -> Option<u64> {
        let mut sizes = self.sizes.as_ref()?.lock().expect("no holder panics");
        let (sizes, rng) = &mut *sizes;
        Some(sizes.draw(rng))
    }

    async fn request(&self, intended: Instant, drawn: Option<u64>) {
        let started = self.host.now();
        let outcome = self.exchange(intended + self.load.timeout, drawn).await;
        let now = self.host.now();
        let mut stats = self.stats.lock();
        match outcome {
            Ok(mut connection) => {
                stats.on_ok(intended, started, now);
                if self.load.kind == LoadKind::KeepAlive {
                    connection.watch.rests();
                    self.lock_kept().push(connection);
                } else {
                    stats.on_flow_over(now, connection.watch, None);
                }
            }
            Err(Failed { cause, flow }) => {
                stats.on_failed(cause, 1);
                match flow {
                    Some(watch) => stats.on_flow_over(now, watch, Some(cause)),
                    None => stats.on_not_connected(now),
                }
            }
        }
    }

    async fn exchange(
        &self,
        deadline: Instant,
        drawn: Option<u64>,
    ) -> Result<Connection<H>, Failed> {
        let size = drawn.unwrap_or(self.load.size);
        let drawn = drawn.map(|size| talk::opening(&self.load, size));
        let opening = drawn.as_deref().unwrap_or(&self.opening);
        let deadline = Deadline::new(deadline, self.load.timeout);
        let mut late = pin!(deadline.passed(&self.host));
        let kept = self.lock_kept().pop();
        let Connection {
            mut stream,
            mut watch,
        } = match kept {
            Some(mut kept) => {
                kept.watch.wants(self.host.now());
                kept
            }
            None => match select(pin!(self.connect()), late.as_mut()).await {
                Either::Left((connected, _)) => {
                    connected.map_err(|cause| Failed { cause, flow: None })?
                }
                Either::Right(_) => {
                    return Err(Failed {
                        cause: Failure::Timeout,
                        flow: None,
                    });
                }
            },
        };
        let outcome = {
            let talk = Talk {
                host: &self.host,
                load: &self.load,
                is_long: self.load.kind.long_flow(0).is_some(),
                size,
                opening,
                scratch: &self.scratch,
                deadline: &deadline,
                stream: &mut stream,
                watch: &mut watch,
            };
            match select(pin!(talk.hold()), late).await {
                Either::Left((outcome, _)) => outcome,
                Either::Right(_) => Err(Failure::Timeout),
            }
        };
        match outcome {
            Ok(()) => Ok(Connection { stream, watch }),
            Err(cause) => {
                stream.abort();
                Err(Failed {
                    cause,
                    flow: Some(watch),
                })
            }
        }
    }
}
