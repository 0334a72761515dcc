//! The UDP handle.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyedge_net::host::{DatagramMeta, UdpSocket};

use super::Shared;
use crate::executor::{HostId, Waits};
use crate::stack::UdpId;

/// A UDP socket of a simulated host. One task at a time waits for datagrams: the one that asked last.
pub struct SimUdpSocket {
    shared: Arc<Shared>,
    host: HostId,
    id: UdpId,
    local: SocketAddr,
    waits: Arc<Waits>,
}

impl SimUdpSocket {
    pub(super) fn new(
        shared: &Arc<Shared>,
        (host, id, local): (HostId, UdpId, SocketAddr),
        waits: Arc<Waits>,
    ) -> SimUdpSocket {
        SimUdpSocket {
            shared: Arc::clone(shared),
            host,
            id,
            local,
            waits,
        }
    }
}

impl UdpSocket for SimUdpSocket {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn never_fragment(&self) -> io::Result<()> {
        self.shared
            .world()
            .with_stack(self.host, |stack, _| stack.udp_never_fragment(self.id))
    }

    fn send(&self, payload: &[u8], meta: DatagramMeta) -> io::Result<()> {
        self.shared.world().with_stack(self.host, |stack, io| {
            stack.udp_send(self.id, payload, &meta, io)
        })
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<(usize, DatagramMeta)>> {
        if self.waits.is(context.waker()) {
            return Poll::Pending;
        }
        self.shared.world().read_stack(self.host, |stack, pool| {
            stack.udp_poll_recv(self.id, context, into, pool)
        })
    }
}

impl Drop for SimUdpSocket {
    fn drop(&mut self) {
        self.shared
            .world()
            .with_stack(self.host, |stack, io| stack.udp_close(self.id, io.pool));
    }
}
