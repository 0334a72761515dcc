//! TCP handles: the connection, its opening, and the listener.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use anyedge_net::host::{TcpListener, TcpStream};
use futures_io::{AsyncRead, AsyncWrite};

use super::Shared;
use crate::executor::HostId;
use crate::stack::{FlowId, HostStack, Io, ListenerId};

/// A connection's place: who must be asked about it.
struct Flow {
    shared: Arc<Shared>,
    host: HostId,
    id: FlowId,
}

impl Flow {
    fn with<R>(&self, act: impl FnOnce(&mut HostStack, &mut Io<'_>, FlowId) -> R) -> R {
        self.shared
            .world()
            .with_stack(self.host, |stack, io| act(stack, io, self.id))
    }

    /// The stream of a connection whose handshake is complete.
    fn into_stream(self) -> io::Result<SimTcpStream> {
        let (local, peer) = self.with(|stack, _, id| stack.tcp_addresses(id))?;
        Ok(SimTcpStream {
            flow: self,
            local,
            peer,
        })
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.with(|stack, io, id| stack.tcp_release(id, io.now, false));
    }
}

/// A TCP connection of a simulated host.
pub struct SimTcpStream {
    flow: Flow,
    local: SocketAddr,
    peer: SocketAddr,
}

impl TcpStream for SimTcpStream {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    fn told_by_toa(&self) -> Option<SocketAddr> {
        self.flow.with(|stack, _, id| stack.tcp_toa(id))
    }

    fn limit_unsent(&self, bytes: u32) -> io::Result<()> {
        self.flow
            .with(|stack, _, id| stack.tcp_limit_unsent(id, bytes))
    }

    fn abort(self) {
        // Dropping the handle afterwards finds the connection gone.
        self.flow
            .with(|stack, io, id| stack.tcp_release(id, io.now, true));
    }
}

impl AsyncRead for SimTcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.flow
            .with(|stack, _, id| stack.tcp_poll_read(id, context, into))
    }
}

impl AsyncWrite for SimTcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.flow
            .with(|stack, io, id| stack.tcp_poll_write(id, context, data, io.now))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was written is the transport's to send.
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.flow.with(|stack, io, id| stack.tcp_close(id, io.now)))
    }
}

/// Opens a connection; its SYN leaves at the first poll. Dropped before it is ready, it gives up silently.
pub struct Connect(State);

enum State {
    Fresh {
        shared: Arc<Shared>,
        host: HostId,
        local: Option<SocketAddr>,
        remote: SocketAddr,
    },
    Waiting(Flow),
    Done,
}

impl Connect {
    pub(super) fn new(
        shared: &Arc<Shared>,
        host: HostId,
        local: Option<SocketAddr>,
        remote: SocketAddr,
    ) -> Connect {
        Connect(State::Fresh {
            shared: Arc::clone(shared),
            host,
            local,
            remote,
        })
    }
}

impl Future for Connect {
    type Output = io::Result<SimTcpStream>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<SimTcpStream>> {
        let flow = match std::mem::replace(&mut self.0, State::Done) {
            State::Fresh {
                shared,
                host,
                local,
                remote,
            } => {
                let connect = |stack: &mut HostStack, io: &mut Io<'_>| {
                    stack.tcp_connect(local, remote, io.now)
                };
                let id = shared.world().with_stack(host, connect)?;
                Flow { shared, host, id }
            }
            State::Waiting(flow) => flow,
            State::Done => panic!("a connect is not polled after it is ready"),
        };
        match flow.with(|stack, _, id| stack.tcp_poll_connect(id, context)) {
            Poll::Pending => {
                self.0 = State::Waiting(flow);
                Poll::Pending
            }
            Poll::Ready(result) => Poll::Ready(result.and_then(|()| flow.into_stream())),
        }
    }
}

/// A TCP listener of a simulated host.
pub struct SimListener {
    shared: Arc<Shared>,
    host: HostId,
    id: ListenerId,
    local: SocketAddr,
}

impl SimListener {
    pub(super) fn new(
        shared: &Arc<Shared>,
        host: HostId,
        id: ListenerId,
        local: SocketAddr,
    ) -> SimListener {
        SimListener {
            shared: Arc::clone(shared),
            host,
            id,
            local,
        }
    }
}

impl TcpListener for SimListener {
    type Stream = SimTcpStream;

    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<SimTcpStream>> {
        let accept =
            |stack: &mut HostStack, _: &mut Io<'_>| stack.tcp_poll_accept(self.id, context);
        let id = ready!(self.shared.world().with_stack(self.host, accept))?;
        Poll::Ready(
            Flow {
                shared: Arc::clone(&self.shared),
                host: self.host,
                id,
            }
            .into_stream(),
        )
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let close = |stack: &mut HostStack, _: &mut Io<'_>| stack.tcp_close_listener(self.id);
        self.shared.world().with_stack(self.host, close);
    }
}
