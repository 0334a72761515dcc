//! UDP of the kernel under the [`Host`](anyedge_net::host::Host) contract: TTL, DSCP and ECN, and the local address
//! of every datagram, and port-unreachable as an error.
//!
//! The kernel reports an ICMP error of an unconnected socket only with `IP_RECVERR`, once as the error of the next
//! call and once in the socket's error queue; the queue is emptied then. Of these errors only port-unreachable is
//! shown, as the contract says. An error does not make a socket readable to tokio, so the reader waits
//! for one beside the next datagram.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use anyedge_net::host::{DatagramMeta, UdpSocket};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg,
};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::io::Interest;

use crate::dataplane::mouth::never_fragment;

/// Room for TTL, TOS and packet information of either family, in bytes.
const CONTROL_BYTES: usize = 128;
/// Room for one entry of the error queue besides: the error and the address of who reported it.
const ERROR_CONTROL_BYTES: usize = 256;

/// Completes when an error has come in. Holds a share of the socket, which it is kept beside.
type NextError = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A UDP socket.
pub struct KernelUdp {
    socket: Arc<tokio::net::UdpSocket>,
    local: SocketAddr,
    next_error: Mutex<NextError>,
}

impl KernelUdp {
    /// Binds a socket. Must be called inside a runtime.
    pub(super) fn bind(local: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if local.is_ipv4() {
            socket.set_recv_tos_v4(true)?;
            setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
            setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
        } else {
            socket.set_only_v6(true)?;
            socket.set_recv_tclass_v6(true)?;
            setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
        }
        socket.bind(&SockAddr::from(local))?;
        let socket = tokio::net::UdpSocket::from_std(socket.into())?;
        let local = socket.local_addr()?;
        let socket = Arc::new(socket);
        let next_error = Mutex::new(next_error(&socket));
        Ok(Self {
            socket,
            local,
            next_error,
        })
    }

    /// What it sends and receives by.
    pub(super) const fn socket(&self) -> &Arc<tokio::net::UdpSocket> {
        &self.socket
    }

    fn send_once(&self, payload: &[u8], meta: DatagramMeta) -> Result<(), Errno> {
        let fd = self.socket.as_raw_fd();
        let to = SockaddrStorage::from(meta.peer);
        let parts = [IoSlice::new(payload)];
        let (ttl, tos) = (i32::from(meta.ttl), meta.tos);
        let send = |control: &[ControlMessage<'_>]| {
            sendmsg(fd, &parts, control, MsgFlags::empty(), Some(&to)).map(drop)
        };
        match (meta.peer, meta.local) {
            (SocketAddr::V4(_), None) => {
                send(&[ControlMessage::Ipv4Ttl(&ttl), ControlMessage::Ipv4Tos(&tos)])
            }
            (SocketAddr::V4(_), Some(IpAddr::V4(local))) => send(&[
                ControlMessage::Ipv4Ttl(&ttl),
                ControlMessage::Ipv4Tos(&tos),
                ControlMessage::Ipv4PacketInfo(&libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr {
                        s_addr: u32::from_ne_bytes(local.octets()),
                    },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                }),
            ]),
            (SocketAddr::V6(_), None) => send(&[
                ControlMessage::Ipv6HopLimit(&ttl),
                ControlMessage::Ipv6TClass(&i32::from(tos)),
            ]),
            (SocketAddr::V6(_), Some(IpAddr::V6(local))) => send(&[
                ControlMessage::Ipv6HopLimit(&ttl),
                ControlMessage::Ipv6TClass(&i32::from(tos)),
                ControlMessage::Ipv6PacketInfo(&libc::in6_pktinfo {
                    ipi6_ifindex: 0,
                    ipi6_addr: libc::in6_addr {
                        s6_addr: local.octets(),
                    },
                }),
            ]),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Empties the error queue, so that it reports no error twice.
    fn forget_errors(&self) {
        let mut control = [0; ERROR_CONTROL_BYTES];
        let mut nothing = [IoSliceMut::new(&mut [])];
        let fd = self.socket.as_raw_fd();
        while recvmsg::<SockaddrStorage>(
            fd,
            &mut nothing,
            Some(&mut control),
            MsgFlags::MSG_ERRQUEUE,
        )
        .is_ok()
        {}
    }

    /// Whether an error came in since the last look; if not, `context` is woken by the next.
    fn has_error(&self, context: &mut Context<'_>) -> bool {
        let mut waiting = self
            .next_error
            .lock()
            .expect("nobody panics while waiting for an error");
        let came = waiting.as_mut().poll(context).is_ready();
        if came {
            *waiting = next_error(&self.socket);
        }
        came
    }

    fn recv_once(&self, into: &mut [u8]) -> Result<(usize, DatagramMeta), Errno> {
        let mut control = [0; CONTROL_BYTES];
        let mut parts = [IoSliceMut::new(into)];
        // With MSG_TRUNC the kernel tells the whole length, however much of it fits.
        let fd = self.socket.as_raw_fd();
        let message =
            recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), MsgFlags::MSG_TRUNC)?;
        let peer = message
            .address
            .as_ref()
            .and_then(socket_addr_of)
            .ok_or(Errno::EPROTO)?;
        let mut meta = DatagramMeta {
            peer,
            local: None,
            ttl: 0,
            tos: 0,
        };
        for part in message.cmsgs()? {
            match part {
                ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => {
                    meta.ttl = ttl as u8
                }
                ControlMessageOwned::Ipv4Tos(tos) => meta.tos = tos,
                ControlMessageOwned::Ipv6TClass(tos) => meta.tos = tos as u8,
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    meta.local = Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    meta.local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                _ => {}
            }
        }
        Ok((message.bytes, meta))
    }
}

impl UdpSocket for KernelUdp {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn never_fragment(&self) -> io::Result<()> {
        never_fragment(&SockRef::from(&*self.socket), self.local.is_ipv4())
    }

    fn send(&self, payload: &[u8], meta: DatagramMeta) -> io::Result<()> {
        if meta.peer.is_ipv4() != self.local.is_ipv4() {
            return Err(ErrorKind::InvalidInput.into());
        }
        let mut sent = self.send_once(payload, meta);
        if let Err(error) = sent {
            // An error that came back earlier is shown by this call, which then sent nothing.
            self.forget_errors();
            if error == Errno::ECONNREFUSED {
                return Err(error.into());
            }
            sent = self.send_once(payload, meta);
        }
        match sent {
            Ok(()) | Err(Errno::EAGAIN | Errno::ENOBUFS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<(usize, DatagramMeta)>> {
        loop {
            let received = if self.has_error(context) {
                self.recv_once(into)
            } else {
                ready!(self.socket.poll_recv_ready(context))?;
                let mut received = Err(Errno::EAGAIN);
                // Its own result says no more than ours; what matters is that it learns that nothing is left.
                let _ = self.socket.try_io(Interest::READABLE, || {
                    received = self.recv_once(into);
                    received.map(drop).map_err(io::Error::from)
                });
                received
            };
            match received {
                Ok(received) => return Poll::Ready(Ok(received)),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                // Reports about one datagram that was lost, not about the socket.
                Err(Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::EMSGSIZE | Errno::EPROTO) => {
                    self.forget_errors()
                }
                Err(error) => {
                    self.forget_errors();
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
    }
}

fn next_error(socket: &Arc<tokio::net::UdpSocket>) -> NextError {
    let socket = Arc::clone(socket);
    Box::pin(async move {
        if socket.ready(Interest::ERROR).await.is_err() {
            // The runtime has ended; the reader learns it from its own wait.
            std::future::pending::<()>().await;
        }
        // Readiness is an edge: it is taken back here and returns with the next error.
        let _ = socket.try_io(Interest::ERROR, || {
            io::Result::<()>::Err(ErrorKind::WouldBlock.into())
        });
    })
}

pub(super) fn socket_addr_of(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address
        .as_sockaddr_in()
        .map(|v4| SocketAddr::from((v4.ip(), v4.port())));
    v4.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|v6| SocketAddr::from((v6.ip(), v6.port())))
    })
}
