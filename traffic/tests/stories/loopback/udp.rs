//! Datagrams in memory: a mailbox per bound address.

use core::net::SocketAddr;
use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use anyedge_net::host::{DatagramMeta, UdpSocket};
use anyedge_net::time::Instant;

use super::{Alarm, World};

/// What was sent to one address.
#[derive(Default)]
pub(crate) struct Mailbox {
    letters: VecDeque<(Instant, Vec<u8>, DatagramMeta)>,
    reader: Option<Waker>,
    alarm: Alarm,
}

/// A bound socket.
pub(crate) struct LoopbackUdp {
    world: World,
    local: SocketAddr,
    mailbox: Arc<Mutex<Mailbox>>,
}

pub(super) fn bind(world: &World, local: SocketAddr) -> io::Result<LoopbackUdp> {
    let mailbox = Arc::<Mutex<Mailbox>>::default();
    if world
        .state()
        .mailboxes
        .insert(local, mailbox.clone())
        .is_some()
    {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    Ok(LoopbackUdp {
        world: world.clone(),
        local,
        mailbox,
    })
}

impl UdpSocket for LoopbackUdp {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn never_fragment(&self) -> io::Result<()> {
        Ok(())
    }

    fn send(&self, payload: &[u8], meta: DatagramMeta) -> io::Result<()> {
        if self.world.state().unreachable.contains(&meta.peer.ip()) {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        let arrival = self.world.arrival(meta.peer.ip());
        let mailbox = self.world.state().mailboxes.get(&meta.peer).cloned();
        if let Some(mailbox) = mailbox {
            let mut mailbox = mailbox.lock().expect("nothing panics under the lock");
            let seen = DatagramMeta {
                peer: self.local,
                local: Some(meta.peer.ip()),
                ..meta
            };
            mailbox.letters.push_back((arrival, payload.to_vec(), seen));
            mailbox.reader.take().into_iter().for_each(Waker::wake);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<(usize, DatagramMeta)>> {
        let mut mailbox = self.mailbox.lock().expect("nothing panics under the lock");
        match mailbox.letters.front().map(|(at, _, _)| *at) {
            Some(at) if at > self.world.now() => {
                mailbox.alarm.set(&self.world, at, context.waker());
            }
            Some(_) => {
                let (_, payload, meta) = mailbox.letters.pop_front().expect("there is a first");
                let count = payload.len().min(into.len());
                into[..count].copy_from_slice(&payload[..count]);
                return Poll::Ready(Ok((payload.len(), meta)));
            }
            None => mailbox.reader = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}
