//! Two ways to have bytes echoed: a UDP datagram by a backend, an ICMP echo by whoever has the address.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::task::{Context, Poll};
use std::io;

use anyedge_net::host::{DatagramMeta, EchoSocket, Host, UdpSocket};

/// A socket and where it sends to.
pub(super) trait Way: Send + 'static {
    /// Sends `bytes`, which are number `sequence` of this socket.
    fn send(&self, bytes: &[u8], sequence: u64) -> io::Result<()>;

    /// What comes next, cut to `into`, and its length; `None` for what is not from where it was sent to.
    fn poll_answer(
        &self,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<Option<usize>>>;
}

/// UDP to one address and port.
pub(super) struct Datagrams<U> {
    socket: U,
    to: SocketAddr,
}

/// ICMP echoes to one address.
pub(super) struct Pings<E> {
    socket: E,
    to: IpAddr,
}

const fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

impl<U: UdpSocket> Datagrams<U> {
    pub(super) fn open<H: Host<Udp = U>>(host: &H, to: SocketAddr) -> io::Result<Datagrams<U>> {
        let any = SocketAddr::new(unspecified(to.ip()), 0);
        let socket = host.udp_bind(any)?;
        Ok(Datagrams { socket, to })
    }
}

impl<U: UdpSocket> Way for Datagrams<U> {
    fn send(&self, bytes: &[u8], _: u64) -> io::Result<()> {
        self.socket.send(bytes, DatagramMeta::to(self.to))
    }

    fn poll_answer(
        &self,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<Option<usize>>> {
        let came = self.socket.poll_recv(context, into);
        came.map_ok(|(length, meta)| (meta.peer == self.to).then_some(length))
    }
}

impl<E: EchoSocket> Pings<E> {
    pub(super) fn open<H: Host<Echo = E>>(host: &H, to: IpAddr) -> io::Result<Pings<E>> {
        let socket = host.echo_bind(unspecified(to))?;
        Ok(Pings { socket, to })
    }
}

impl<E: EchoSocket> Way for Pings<E> {
    fn send(&self, bytes: &[u8], sequence: u64) -> io::Result<()> {
        // Ticks are told apart by the number that they carry; the echo's own is for people who read captures.
        self.socket.send(self.to, sequence as u16, bytes)
    }

    fn poll_answer(
        &self,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<Option<usize>>> {
        let came = self.socket.poll_recv(context, into);
        came.map_ok(|(length, meta)| (meta.peer == self.to).then_some(length))
    }
}
