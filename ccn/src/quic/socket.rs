//! A host's UDP socket as quinn wants it.
//!
//! One datagram at a time, as the host has them. What a host cannot send is lost, as on the way: quinn would end the
//! connection for it, and a route that is missing for a moment is no reason. ECN is quinn's own, for its congestion
//! control; DSCP is 0.

use core::fmt;
use core::net::SocketAddr;
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll};
use std::io::{self, ErrorKind, IoSliceMut};
use std::sync::Arc;

use anyedge_net::host::{DatagramMeta, UdpSocket};
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

/// A socket, and how many datagrams came in.
pub(super) struct Socket<U> {
    udp: U,
    received: AtomicU64,
}

impl<U: UdpSocket> Socket<U> {
    pub(super) const fn new(udp: U) -> Socket<U> {
        Socket {
            udp,
            received: AtomicU64::new(0),
        }
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.udp.local_addr()
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl<U: UdpSocket> fmt::Debug for Socket<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Socket").field(&self.local()).finish()
    }
}

impl<U: UdpSocket> AsyncUdpSocket for Socket<U> {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Always)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let meta = DatagramMeta {
            local: transmit.src_ip,
            tos: transmit.ecn.map_or(0, |ecn| ecn as u8),
            ..DatagramMeta::to(transmit.destination)
        };
        let sent = self.udp.send(transmit.contents, meta);
        if sent.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
            // That was about an earlier datagram, and this one was not sent for it.
            let _ = self.udp.send(transmit.contents, meta);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let places_max = buffers.len().min(metas.len());
        let mut taken = 0;
        while taken < places_max {
            let buffer = &mut buffers[taken];
            let (len, from) = match self.udp.poll_recv(context, buffer) {
                Poll::Ready(Ok(datagram)) => datagram,
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Poll::Ready(Err(error)) if taken == 0 => return Poll::Ready(Err(error)),
                Poll::Pending if taken == 0 => return Poll::Pending,
                _ => break,
            };
            self.received.fetch_add(1, Ordering::Relaxed);
            // Longer than any packet of ours, and cut.
            if len > buffer.len() {
                continue;
            }
            metas[taken] = RecvMeta {
                addr: from.peer,
                len,
                stride: len,
                ecn: EcnCodepoint::from_bits(from.tos),
                dst_ip: from.local,
            };
            taken += 1;
        }
        Poll::Ready(Ok(taken))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local())
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

/// A host's socket takes a datagram at any time, and loses it where it has no room.
#[derive(Debug)]
struct Always;

impl UdpPoller for Always {
    fn poll_writable(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
