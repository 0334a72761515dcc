//! The handle of a series of ICMP echoes.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyedge_net::host::{EchoMeta, EchoSocket};

use super::Shared;
use crate::executor::HostId;
use crate::stack::EchoId;

/// A series of echoes of a simulated host.
pub struct SimEchoSocket {
    shared: Arc<Shared>,
    host: HostId,
    id: EchoId,
}

impl SimEchoSocket {
    pub(super) fn new(shared: &Arc<Shared>, host: HostId, id: EchoId) -> SimEchoSocket {
        SimEchoSocket {
            shared: Arc::clone(shared),
            host,
            id,
        }
    }
}

impl EchoSocket for SimEchoSocket {
    fn send(&self, to: IpAddr, sequence: u16, payload: &[u8]) -> io::Result<()> {
        self.shared.world().with_stack(self.host, |stack, io| {
            stack.echo_send(self.id, to, (sequence, payload), io)
        })
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<(usize, EchoMeta)>> {
        self.shared.world().with_stack(self.host, |stack, _| {
            stack.echo_poll_recv(self.id, context, into)
        })
    }
}

impl Drop for SimEchoSocket {
    fn drop(&mut self) {
        self.shared
            .world()
            .with_stack(self.host, |stack, _| stack.echo_close(self.id));
    }
}
