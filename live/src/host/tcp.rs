//! TCP of the kernel under the [`Host`](anyedge_net::host::Host) contract.
//!
//! Small writes leave at once (no Nagle), as in the simulator. A socket of IPv6 takes no IPv4. A source address that
//! is not the machine's own is bound transparently, which needs the right to administer the network.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyedge_net::host::{TcpListener, TcpStream};
use futures_io::{AsyncRead, AsyncWrite};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpSocket;

use super::protection::Protection;
use super::saved_syn;

/// A connection.
#[derive(Debug)]
pub struct KernelTcp {
    stream: tokio::net::TcpStream,
    local: SocketAddr,
    peer: SocketAddr,
}

/// A listener.
#[derive(Debug)]
pub struct KernelListener {
    listener: tokio::net::TcpListener,
    local: SocketAddr,
}

/// Opens a connection to `remote`, from `local` if given, with what protects it.
pub(super) async fn connect(
    local: Option<SocketAddr>,
    remote: SocketAddr,
    protection: Option<Protection>,
) -> io::Result<KernelTcp> {
    let socket = new_socket(remote)?;
    if let Some(protection) = protection {
        protection.put_on(&socket, remote)?;
    }
    if local.is_some_and(|local| local.is_ipv4() != remote.is_ipv4()) {
        return Err(ErrorKind::InvalidInput.into());
    }
    let chosen_port = local.is_some_and(|local| local.port() != 0);
    if let Some(local) = local {
        // One port may lead to many remotes: what must be unique is the pair of ends.
        socket.set_reuse_address(chosen_port)?;
        bind_also_foreign(&socket, local)?;
    }
    let connecting = TcpSocket::from_std_stream(socket.into()).connect(remote);
    match connecting.await {
        Err(error) if chosen_port && error.kind() == ErrorKind::AddrNotAvailable => {
            Err(ErrorKind::AddrInUse.into())
        }
        connected => KernelTcp::new(connected?),
    }
}

impl KernelTcp {
    fn new(stream: tokio::net::TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            local: stream.local_addr()?,
            peer: stream.peer_addr()?,
            stream,
        })
    }
}

impl TcpStream for KernelTcp {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    fn told_by_toa(&self) -> Option<SocketAddr> {
        saved_syn::toa(&self.stream)
    }

    fn limit_unsent(&self, bytes: u32) -> io::Result<()> {
        SockRef::from(&self.stream).set_tcp_notsent_lowat(bytes)
    }

    fn abort(self) {
        // Closing with a linger time of zero is how a reset is sent. If it cannot be set, the close is an ordinary one.
        if let Err(error) = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "a connection could not be reset and is closed");
        }
    }
}

impl AsyncRead for KernelTcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl AsyncWrite for KernelTcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.stream).poll_shutdown(context)) {
            // The other end has reset it or closing was asked for twice: there is nothing left to close.
            Err(error) if error.kind() == ErrorKind::NotConnected => Poll::Ready(Ok(())),
            closed => Poll::Ready(closed),
        }
    }
}

impl KernelListener {
    /// Listens on `local`. Must be called inside a runtime.
    pub(super) fn open(local: SocketAddr, backlog: usize) -> io::Result<Self> {
        let socket = new_socket(local)?;
        // A port whose last connections still wait out their time can be listened on again.
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(local))?;
        // The kernel lets one connection more wait than it is told.
        let waiting = i32::try_from(backlog.saturating_sub(1)).unwrap_or(i32::MAX);
        saved_syn::keep(&socket);
        socket.listen(waiting)?;
        let listener = tokio::net::TcpListener::from_std(socket.into())?;
        let local = listener.local_addr()?;
        Ok(Self { listener, local })
    }
}

impl TcpListener for KernelListener {
    type Stream = KernelTcp;

    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<KernelTcp>> {
        loop {
            let (stream, _) = ready!(self.listener.poll_accept(context))?;
            match KernelTcp::new(stream) {
                // Reset between handshake and accept: it was never a connection to its user.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::NotConnected | ErrorKind::InvalidInput
                    ) => {}
                accepted => return Poll::Ready(accepted),
            }
        }
    }
}

/// A non-blocking socket of the address's family alone.
fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn bind_also_foreign(socket: &Socket, local: SocketAddr) -> io::Result<()> {
    let address = SockAddr::from(local);
    match socket.bind(&address) {
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {}
        bound => return bound,
    }
    let transparent = match local {
        SocketAddr::V4(_) => socket.set_ip_transparent_v4(true),
        SocketAddr::V6(_) => socket.set_ip_transparent_v6(true),
    };
    // Without the right to do so, the address is simply one that we do not have.
    transparent.map_err(|_| io::Error::from(ErrorKind::AddrNotAvailable))?;
    socket.bind(&address)
}
