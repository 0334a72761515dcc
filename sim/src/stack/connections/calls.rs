//! What services ask of TCP: connect, listen, accept, read, write, close.
//!
//! Calls change only their connection and mark it touched; what they lead to on the wire comes with the next
//! flush. Half-close, reset and unread data behave as in a kernel (RFC 9293 §3.6, §3.10).

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use anyedge_net::flow::Address;
use anyedge_net::time::Instant;

use super::super::flow::{FlowId, Role};
use super::super::listeners::ListenerId;
use super::super::port_range::PortRange;
use super::super::tcp::Phase;
use super::super::time_wait::{REUSE_AFTER, TimeWait};
use super::super::tuple::{Bound, Tuple};
use super::super::waiter::Waiter;
use super::super::{HostStack, LocalAddresses, unspecified};
use super::Connections;

impl Connections {
    fn connect(
        &mut self,
        bound: Option<SocketAddr>,
        remote: SocketAddr,
        local: &LocalAddresses,
        now: Instant,
    ) -> io::Result<FlowId> {
        let peer = Address::from(remote.ip());
        let any = unspecified(peer.family());
        let source = local.source(bound.map_or(any, |bound| bound.ip().into()), peer)?;
        if remote.port() == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if self.is_full() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let mut tuple = Tuple {
            local: source,
            remote: peer,
            local_port: 0,
            remote_port: remote.port(),
        };
        match bound.map_or(0, |bound| bound.port()) {
            0 => {
                tuple.local_port = self
                    .ephemeral(tuple, now)
                    .ok_or(io::ErrorKind::AddrNotAvailable)?
            }
            port => {
                tuple.local_port = port;
                if self.is_taken(&tuple, now) {
                    return Err(io::ErrorKind::AddrInUse.into());
                }
            }
        }
        let index = self.open(tuple, Role::Connecting, now);
        let flow = &mut self.flows[index as usize];
        self.engine.connect(&mut flow.endpoint, &tuple, now);
        self.touch(index);
        Ok(self.id_of(index))
    }

    fn ephemeral(&mut self, tuple: Tuple, now: Instant) -> Option<u16> {
        // The rotation moves while the table is looked at.
        let mut ports = std::mem::replace(&mut self.ports, PortRange::new(0));
        let port = ports.take(|local_port| {
            self.is_taken(
                &Tuple {
                    local_port,
                    ..tuple
                },
                now,
            ) || self.listeners.is_taken(Bound {
                address: tuple.local,
                port: local_port,
            })
        });
        self.ports = ports;
        port
    }

    fn is_taken(&self, tuple: &Tuple, now: Instant) -> bool {
        let waits = |record: &TimeWait| now < record.since + REUSE_AFTER;
        self.table.contains_key(tuple) || self.time_waits.get(tuple).is_some_and(waits)
    }

    fn listen(&mut self, local: SocketAddr, backlog: usize) -> io::Result<ListenerId> {
        let address = Address::from(local.ip());
        let port = match local.port() {
            0 => {
                let mut ports = std::mem::replace(&mut self.ports, PortRange::new(0));
                let port = ports.take(|port| self.listeners.is_taken(Bound { address, port }));
                self.ports = ports;
                port.ok_or(io::ErrorKind::AddrNotAvailable)?
            }
            port => port,
        };
        self.listeners.open(Bound { address, port }, backlog)
    }

    fn poll_accept(&mut self, id: ListenerId, context: &Context<'_>) -> Poll<io::Result<FlowId>> {
        let Some(listener) = self.listeners.get(id) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let Some(index) = listener.waiting.pop_front() else {
            listener.acceptor.wait(context.waker());
            return Poll::Pending;
        };
        self.flows[index as usize].role = Role::Owned;
        Poll::Ready(Ok(self.id_of(index)))
    }

    /// Connections that nobody will accept are reset.
    fn close_listener(&mut self, id: ListenerId) {
        let Some(listener) = self.listeners.close(id) else {
            return;
        };
        let belongs = |role| role == Role::HalfOpen(id);
        let half_open: Vec<u32> = match listener.half_open {
            0 => Vec::new(),
            _ => (0..self.flows.len() as u32)
                .filter(|index| belongs(self.flows[*index as usize].role))
                .collect(),
        };
        for index in listener.waiting.into_iter().chain(half_open) {
            let flow = &mut self.flows[index as usize];
            flow.role = Role::Orphan;
            if flow.attached {
                flow.endpoint.abort();
                self.touch(index);
            } else {
                self.end(index);
            }
        }
    }

    fn poll_connect(&mut self, id: FlowId, context: &Context<'_>) -> Poll<io::Result<()>> {
        let flow = self.flow(id)?;
        if let Some(failure) = flow.failure {
            return Poll::Ready(Err(failure.into()));
        }
        if flow.attached && flow.role == Role::Connecting {
            flow.writer.wait(context.waker());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(
        &mut self,
        id: FlowId,
        context: &Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let flow = self.flow(id)?;
        if into.is_empty() {
            return Poll::Ready(Ok(0));
        }
        match flow.endpoint.read(into) {
            // An end that timed out has a machine that still hopes.
            None if flow.attached => {
                flow.reader.wait(context.waker());
                Poll::Pending
            }
            None | Some(0) => {
                Poll::Ready(flow.failure.map_or(Ok(0), |failure| Err(failure.into())))
            }
            Some(count) => {
                self.touch(id.index);
                Poll::Ready(Ok(count))
            }
        }
    }

    fn poll_write(
        &mut self,
        id: FlowId,
        context: &Context<'_>,
        data: &[u8],
        now: Instant,
    ) -> Poll<io::Result<usize>> {
        let flow = self.flow(id)?;
        if let Some(failure) = flow.failure {
            return Poll::Ready(Err(failure.into()));
        }
        let waited = flow.endpoint.is_outstanding();
        match flow.write(data) {
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Some(0) if !data.is_empty() => {
                flow.writer.wait(context.waker());
                Poll::Pending
            }
            Some(count) => {
                if !waited {
                    flow.heard_at = now;
                }
                self.touch(id.index);
                Poll::Ready(Ok(count))
            }
        }
    }

    fn limit_unsent(&mut self, id: FlowId, bytes: u32) -> io::Result<()> {
        self.flow(id)?.limit_unsent(bytes);
        Ok(())
    }

    fn close(&mut self, id: FlowId, now: Instant) -> io::Result<()> {
        let flow = self.flow(id)?;
        if let Some(failure) = flow.failure {
            return Err(failure.into());
        }
        if !flow.endpoint.is_outstanding() {
            flow.heard_at = now;
        }
        flow.endpoint.close();
        self.touch(id.index);
        Ok(())
    }

    fn release(&mut self, id: FlowId, now: Instant, abort: bool) {
        let Ok(flow) = self.flow(id) else {
            return;
        };
        if flow.role == Role::Orphan {
            return;
        }
        flow.role = Role::Orphan;
        flow.reader = Waiter::default();
        flow.writer = Waiter::default();
        if !flow.attached {
            self.end(id.index);
            return;
        }
        if flow.endpoint.phase() == Phase::Opening {
            self.detach(id.index);
            return;
        }
        if !flow.endpoint.is_outstanding() {
            flow.heard_at = now;
        }
        if abort || flow.endpoint.unread() > 0 {
            flow.endpoint.abort();
        } else {
            flow.endpoint.close();
        }
        self.touch(id.index);
    }
}

/// TCP as services see it. An id that has ended gives `NotConnected`.
impl HostStack {
    /// Starts a connection from `local` (port 0: any; `None`: the host's own address of the family).
    ///
    /// # Errors
    /// `AddrNotAvailable` for a source that is not the host's or when all ports are taken, `AddrInUse` for a
    /// tuple in use, `NetworkUnreachable` without an address of the family, `InvalidInput` for mixed families,
    /// `OutOfMemory` at `flows_max`.
    pub fn tcp_connect(
        &mut self,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        now: Instant,
    ) -> io::Result<FlowId> {
        self.tcp.connect(local, remote, &self.local, now)
    }

    /// Ready when the handshake is complete: or `ConnectionRefused`, or `TimedOut`.
    pub fn tcp_poll_connect(
        &mut self,
        flow: FlowId,
        context: &Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.tcp.poll_connect(flow, context)
    }

    /// Our end and the other end.
    ///
    /// # Errors
    /// `NotConnected` when the connection has ended and its slot is free.
    pub fn tcp_addresses(&mut self, flow: FlowId) -> io::Result<(SocketAddr, SocketAddr)> {
        let flow = self.tcp.flow(flow)?;
        Ok((flow.tuple.local_addr(), flow.tuple.remote_addr()))
    }

    /// The client that the SYN of an accepted connection told of by TOA.
    pub fn tcp_toa(&mut self, flow: FlowId) -> Option<SocketAddr> {
        self.tcp.flow(flow).ok()?.toa
    }

    /// Listens on `local` (port 0: any). Handshakes and waiting connections together are at most `backlog`.
    ///
    /// # Errors
    /// `AddrInUse`, or `AddrNotAvailable` for an address that is not the host's.
    pub fn tcp_listen(
        &mut self,
        local: SocketAddr,
        backlog: usize,
    ) -> io::Result<(ListenerId, SocketAddr)> {
        self.local.check_bind(local.ip().into())?;
        let id = self.tcp.listen(local, backlog)?;
        let listener = self.tcp.listeners.get(id).expect("it was just opened");
        Ok((id, listener.local_addr()))
    }

    /// The oldest connection whose handshake is complete.
    pub fn tcp_poll_accept(
        &mut self,
        listener: ListenerId,
        context: &Context<'_>,
    ) -> Poll<io::Result<FlowId>> {
        self.tcp.poll_accept(listener, context)
    }

    /// Stops listening; connections that were not accepted are reset.
    pub fn tcp_close_listener(&mut self, listener: ListenerId) {
        self.tcp.close_listener(listener);
    }

    /// Received bytes; 0 at the other end's FIN.
    pub fn tcp_poll_read(
        &mut self,
        flow: FlowId,
        context: &Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.tcp.poll_read(flow, context, into)
    }

    /// Takes as many bytes as the buffer has room for.
    pub fn tcp_poll_write(
        &mut self,
        flow: FlowId,
        context: &Context<'_>,
        data: &[u8],
        now: Instant,
    ) -> Poll<io::Result<usize>> {
        self.tcp.poll_write(flow, context, data, now)
    }

    /// From here on no more than so many bytes wait that were never sent.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn tcp_limit_unsent(&mut self, flow: FlowId, bytes: u32) -> io::Result<()> {
        self.tcp.limit_unsent(flow, bytes)
    }

    /// Sends FIN behind what was written; reading goes on.
    ///
    /// # Errors
    /// Why the connection has ended before.
    pub fn tcp_close(&mut self, flow: FlowId, now: Instant) -> io::Result<()> {
        self.tcp.close(flow, now)
    }

    /// The stream is dropped: FIN, or RST when data is unread or `abort` is set. The id ends.
    pub fn tcp_release(&mut self, flow: FlowId, now: Instant, abort: bool) {
        self.tcp.release(flow, now, abort);
    }
}
