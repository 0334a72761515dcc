//! Connections in memory: two pipes of bytes, each byte readable when it has arrived.
//!
//! No segments, no loss; but an end, a reset, a bounded buffer with back-pressure, and the rule that
//! dropping a stream with unread bytes resets it.

use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use anyedge_net::host::{Host, TcpListener, TcpStream};
use anyedge_net::time::Instant;
use futures_io::{AsyncRead, AsyncWrite};

use super::{Alarm, LoopbackHost, World};

/// Bytes that may be under way or unread in one direction.
const PIPE_BYTES_MAX: usize = 64 * 1024;

/// Connections that wait to be accepted.
#[derive(Default)]
pub(crate) struct Backlog {
    waiting: VecDeque<LoopbackTcp>,
    acceptor: Option<Waker>,
}

/// Listens on one address.
pub(crate) struct LoopbackListener {
    local: SocketAddr,
    backlog: Arc<Mutex<Backlog>>,
}

/// One direction of a connection.
#[derive(Default)]
struct Pipe {
    pieces: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    end: Option<Instant>,
    is_reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    alarm: Alarm,
}

impl Pipe {
    fn wake_both(&mut self) {
        self.reader
            .take()
            .into_iter()
            .chain(self.writer.take())
            .for_each(Waker::wake);
    }
}

/// One end of a connection; it reads pipe `side` and writes the other.
pub(crate) struct LoopbackTcp {
    world: World,
    pipes: Arc<Mutex<[Pipe; 2]>>,
    side: usize,
    local: SocketAddr,
    peer: SocketAddr,
}

pub(super) fn listen(world: &World, local: SocketAddr) -> io::Result<LoopbackListener> {
    let backlog = Arc::<Mutex<Backlog>>::default();
    if world
        .state()
        .backlogs
        .insert(local, backlog.clone())
        .is_some()
    {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    Ok(LoopbackListener { local, backlog })
}

pub(super) async fn connect(
    host: LoopbackHost,
    local: SocketAddr,
    remote: SocketAddr,
) -> io::Result<LoopbackTcp> {
    let world = host.world.clone();
    if world.state().black_holes.contains(&remote.ip()) {
        host.sleep_until(Instant::FAR_FUTURE).await;
    }
    host.sleep_until(world.arrival(remote.ip())).await;
    let (is_unreachable, backlog) = {
        let state = world.state();
        let backlog = state.backlogs.get(&remote).cloned();
        (state.unreachable.contains(&remote.ip()), backlog)
    };
    let answer = world.arrival(local.ip());
    let pipes = Arc::<Mutex<[Pipe; 2]>>::default();
    let end = |side, local, peer| LoopbackTcp {
        world: world.clone(),
        pipes: pipes.clone(),
        side,
        local,
        peer,
    };
    if let Some(backlog) = &backlog {
        let mut backlog = backlog.lock().expect("nothing panics under the lock");
        backlog.waiting.push_back(end(1, remote, local));
        backlog.acceptor.take().into_iter().for_each(Waker::wake);
    }
    host.sleep_until(answer).await;
    match backlog {
        _ if is_unreachable => Err(io::ErrorKind::HostUnreachable.into()),
        None => Err(io::ErrorKind::ConnectionRefused.into()),
        Some(_) => Ok(end(0, local, remote)),
    }
}

impl TcpListener for LoopbackListener {
    type Stream = LoopbackTcp;

    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<LoopbackTcp>> {
        let mut backlog = self.backlog.lock().expect("nothing panics under the lock");
        match backlog.waiting.pop_front() {
            Some(stream) => Poll::Ready(Ok(stream)),
            None => {
                backlog.acceptor = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl LoopbackTcp {
    fn pipes(&self) -> MutexGuard<'_, [Pipe; 2]> {
        self.pipes.lock().expect("nothing panics under the lock")
    }

    fn reset_peer(&self) {
        for pipe in self.pipes().iter_mut() {
            pipe.is_reset = true;
            pipe.wake_both();
        }
    }
}

impl AsyncRead for LoopbackTcp {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let now = self.world.now();
        let mut pipes = self.pipes();
        let pipe = &mut pipes[self.side];
        if pipe.is_reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let next = pipe.pieces.front().map(|(at, _)| *at).or(pipe.end);
        match next {
            Some(at) if at > now => pipe.alarm.set(&self.world, at, context.waker()),
            Some(_) => {
                let Some((_, piece)) = pipe.pieces.front_mut() else {
                    return Poll::Ready(Ok(0));
                };
                let count = piece.len().min(into.len());
                into[..count].copy_from_slice(&piece[..count]);
                piece.drain(..count);
                if piece.is_empty() {
                    pipe.pieces.pop_front();
                }
                pipe.bytes -= count;
                pipe.writer.take().into_iter().for_each(Waker::wake);
                return Poll::Ready(Ok(count));
            }
            None => pipe.reader = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl AsyncWrite for LoopbackTcp {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let arrival = self.world.arrival(self.peer.ip());
        let mut pipes = self.pipes();
        let pipe = &mut pipes[1 - self.side];
        if pipe.is_reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let count = bytes.len().min(PIPE_BYTES_MAX - pipe.bytes);
        if count == 0 {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        pipe.pieces.push_back((arrival, bytes[..count].to_vec()));
        pipe.bytes += count;
        pipe.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let arrival = self.world.arrival(self.peer.ip());
        let pipe = &mut self.pipes()[1 - self.side];
        pipe.end.get_or_insert(arrival);
        pipe.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

impl TcpStream for LoopbackTcp {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// Here nothing waits: what is written is under way.
    fn limit_unsent(&self, _: u32) -> io::Result<()> {
        Ok(())
    }

    fn abort(self) {
        self.reset_peer();
    }
}

impl Drop for LoopbackTcp {
    fn drop(&mut self) {
        let arrival = self.world.arrival(self.peer.ip());
        let mut pipes = self.pipes();
        let has_unread = !pipes[self.side].pieces.is_empty();
        // Whoever writes to a closed end learns it by RST.
        pipes[self.side].is_reset = true;
        pipes[self.side].wake_both();
        let out = &mut pipes[1 - self.side];
        out.end.get_or_insert(arrival);
        out.is_reset |= has_unread;
        out.wake_both();
    }
}
