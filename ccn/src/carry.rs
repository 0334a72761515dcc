//! CCN links that are connections with certificates: gRPC streams, here, and QUIC datagrams, by [`Caller`] and
//! [`Answerer`].
//!
//! A gRPC stream takes packets in batches over one TCP connection, for where nothing else gets through.
//! TCP loses nothing and delivers in order, so a lost segment holds up all packets behind it, and a slow path
//! makes them wait. What waits here is bounded in bytes and in time, and the *oldest* goes first: a packet that
//! nobody waits for any more is worth less than the one that has just come. One node dials ([`dial`]) and calls
//! again when the stream ends; the other answers ([`TunnelService`]). See docs/ccn.md.

mod datagrams;
mod ends;
mod inlet;
mod queue;
mod service;

use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Arc;

use anyedge_net::host::Host;
use anyedge_proto::tunnel::tunnel_client::TunnelClient;
use anyedge_proto::tunnel::{Frame as WireFrame, Frames};
use bytes::Bytes;
use futures_util::Stream;

use crate::rpc::{Channel, Limits};

pub use datagrams::{Answerer, Caller, QUIC_PORT};
pub use ends::{PORT, call, calls, serve};
pub use inlet::Inlet;
pub use service::{Ports, TunnelService};

/// The largest message that is taken: one batch and one frame more than it should be, with room to spare.
const MESSAGE_BYTES_MAX: usize = 256 << 10;

/// One packet, from the GRE header inwards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Its bytes.
    pub gre: Bytes,
    /// DSCP and ECN of the outer header that it does not have.
    pub tos: u8,
}

impl Frame {
    /// A frame with a copy of `gre`.
    #[must_use]
    pub fn copied(gre: &[u8], tos: u8) -> Frame {
        Frame {
            gre: Bytes::copy_from_slice(gre),
            tos,
        }
    }
}

/// What waits at most, and how much goes at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CarryLimits {
    /// Bytes that wait; the oldest frames make room.
    pub queue_bytes_max: usize,
    /// For as long; older frames are dropped instead of sent.
    pub wait_max: Duration,
    /// Bytes in one message, unless a single frame is larger.
    pub batch_bytes_max: usize,
    /// Between two calls, after a stream has ended.
    pub redial: Duration,
}

impl Default for CarryLimits {
    fn default() -> CarryLimits {
        CarryLimits {
            queue_bytes_max: 512 << 10,
            wait_max: Duration::from_millis(500),
            batch_bytes_max: 16 << 10,
            redial: Duration::from_millis(250),
        }
    }
}

impl CarryLimits {
    /// The limits of a channel or a server for such streams: below the queue as little as possible waits, since what
    /// waits there cannot be dropped any more, and no probe overtakes it.
    pub fn rpc() -> Limits {
        Limits {
            send_bytes_max: 8 << 10,
            unsent_bytes_max: Some(8 << 10),
            ping_every: Duration::from_secs(2),
            ping_wait: Duration::from_secs(4),
            ..Limits::default()
        }
    }
}

/// What became of a port's frames.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CarryCounts {
    /// Given to the port.
    pub offered: u64,
    /// Handed to a stream. They may still be lost with its connection.
    pub sent: u64,
    /// Dropped to make room.
    pub dropped_full: u64,
    /// Dropped since they had waited too long.
    pub dropped_late: u64,
    /// Came in.
    pub received: u64,
    /// Came in and were no frames.
    pub malformed: u64,
    /// Streams that began.
    pub streams: u64,
}

impl CarryCounts {
    /// Frames that neither went nor were dropped.
    #[must_use]
    pub const fn waiting(&self) -> u64 {
        self.offered - self.sent - self.dropped_full - self.dropped_late
    }
}

type Deliver = Box<dyn Fn(Frame) + Send + Sync>;

/// One node's end of a link.
pub struct Port<H> {
    host: H,
    limits: CarryLimits,
    inlet: Inlet,
    deliver: Deliver,
    received: AtomicU64,
    malformed: AtomicU64,
}

impl<H: Host> Port<H> {
    /// An end that gives what comes in to `deliver`.
    pub fn new(
        host: &H,
        limits: CarryLimits,
        deliver: impl Fn(Frame) + Send + Sync + 'static,
    ) -> Arc<Port<H>> {
        Port::behind(Inlet::new(limits), host, limits, deliver)
    }

    /// An end that sends what is put into `inlet`, and gives what comes in to `deliver`.
    pub fn behind(
        inlet: Inlet,
        host: &H,
        limits: CarryLimits,
        deliver: impl Fn(Frame) + Send + Sync + 'static,
    ) -> Arc<Port<H>> {
        Arc::new(Port {
            host: host.clone(),
            limits,
            inlet,
            deliver: Box::new(deliver),
            received: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
        })
    }

    /// Sends `frame` when the stream takes it, or never: see [`CarryCounts`]. Frames beyond the size of an IP
    /// packet and its GRE header are dropped as those that found no room.
    pub fn send(&self, frame: Frame) {
        self.inlet.send(self.host.now(), frame);
    }

    /// Ends the stream that this port has now, if it has one; the node that dials calls again.
    pub fn hang_up(&self) {
        let waker = self.inlet.queue().end_current();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the stream that this port has now, and has none any more.
    pub fn close(&self) {
        let waker = self.inlet.queue().close();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What became of the frames so far.
    pub fn counts(&self) -> CarryCounts {
        let mut counts = self.inlet.counts();
        counts.received = self.received.load(Ordering::Relaxed);
        counts.malformed = self.malformed.load(Ordering::Relaxed);
        counts
    }

    fn take_in(&self, frames: Frames) {
        for frame in frames.frames {
            let tos = u8::try_from(frame.tos).ok();
            match tos {
                Some(tos) => self.take_frame(Frame {
                    gre: frame.gre,
                    tos,
                }),
                None => self.count_malformed(),
            }
        }
    }

    fn take_frame(&self, frame: Frame) {
        if frame.gre.is_empty() {
            return self.count_malformed();
        }
        self.received.fetch_add(1, Ordering::Relaxed);
        (self.deliver)(frame);
    }

    fn count_malformed(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }

    /// Another stream begins, and the one before it ends: its number.
    fn begin_stream(&self) -> u64 {
        let (stream, waker) = self.inlet.queue().begin_stream();
        if let Some(waker) = waker {
            waker.wake();
        }
        stream
    }

    /// The frames that wait and those to come, in batches; ends an earlier one.
    fn batches(self: &Arc<Self>) -> Batches<H> {
        Batches {
            port: Arc::clone(self),
            stream: self.begin_stream(),
        }
    }
}

/// What a port has to send, as a gRPC stream takes it.
struct Batches<H> {
    port: Arc<Port<H>>,
    stream: u64,
}

impl<H: Host> Stream for Batches<H> {
    type Item = Frames;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Frames>> {
        let port = &self.port;
        let now = port.host.now();
        let batch =
            port.inlet
                .queue()
                .poll_batch(context, self.stream, now, port.limits.batch_bytes_max);
        batch.map(|batch| {
            let frames = batch?.into_iter().map(|frame| WireFrame {
                gre: frame.gre,
                tos: frame.tos.into(),
            });
            Some(Frames {
                frames: frames.collect(),
            })
        })
    }
}

/// Joins `port` with the node behind `channel`, again and again until `port` is closed or dropped.
pub fn dial<H: Host>(port: &Arc<Port<H>>, channel: Channel<H>) {
    let host = port.host.clone();
    let redial = port.limits.redial;
    let port = Arc::downgrade(port);
    host.clone().spawn(async move {
        let client = TunnelClient::new(channel);
        let client = client.max_decoding_message_size(MESSAGE_BYTES_MAX);
        loop {
            let Some(open) = port.upgrade() else {
                return;
            };
            if open.inlet.queue().is_closed() {
                return;
            }
            let batches = open.batches();
            drop(open);
            if let Ok(answer) = client.clone().carry(batches).await {
                let mut frames = answer.into_inner();
                while let Ok(Some(frames)) = frames.message().await {
                    let Some(open) = port.upgrade() else {
                        return;
                    };
                    open.take_in(frames);
                }
            }
            host.sleep_until(host.now() + redial).await;
        }
    });
}
