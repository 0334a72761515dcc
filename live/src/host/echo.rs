//! ICMP echoes of the kernel under the [`Host`](anyedge_net::host::Host) contract.
//!
//! Linux lets a user whose group is in `net.ipv4.ping_group_range` ping without any right: a datagram socket of which the
//! kernel chooses the identifier and gives it the replies alone. Where it does not, a raw socket does the same for who has
//! CAP_NET_RAW; it sees every ICMP message of the machine, so the identifier is chosen and looked at here.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicU16, Ordering};
use std::task::{Context, Poll, ready};

use anyedge_net::flow::{Address, Family};
use anyedge_net::host::{EchoMeta, EchoSocket};
use anyedge_net::wire::icmp::{Echo, HEADER_LEN, V4_ECHO_REPLY, V6_ECHO_REPLY, fill_checksum};
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Room for the TTL of either family, in bytes.
const CONTROL_BYTES: usize = 64;
/// An IPv4 header without options, which a raw socket shows.
const IPV4_HEADER_BYTES: usize = 20;
/// The most that one call sends: the largest message of either family.
const MESSAGE_BYTES_MAX: usize = 65_535;

/// Identifiers of raw sockets, counted on from the process's number.
static NEXT_IDENT: AtomicU16 = AtomicU16::new(0);

/// A series of echoes.
pub struct KernelEcho {
    /// A socket as any other, for what tokio does with it.
    socket: UdpSocket,
    family: Family,
    local: IpAddr,
    /// Of a raw socket; the kernel knows that of another.
    own_ident: Option<u16>,
}

impl KernelEcho {
    /// Begins a series. Must be called inside a runtime.
    pub(super) fn bind(local: IpAddr) -> io::Result<Self> {
        let family = Address::from(local).family();
        let (domain, protocol) = match family {
            Family::V4 => (Domain::IPV4, Protocol::ICMPV4),
            Family::V6 => (Domain::IPV6, Protocol::ICMPV6),
        };
        let (socket, own_ident) = match Socket::new(domain, Type::DGRAM, Some(protocol)) {
            Ok(socket) => (socket, None),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
                (socket, Some(fresh_ident()))
            }
            Err(error) => return Err(error),
        };
        socket.set_nonblocking(true)?;
        match family {
            Family::V4 => setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?,
            Family::V6 => setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?,
        }
        socket.bind(&SockAddr::from(SocketAddr::new(local, 0)))?;
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Self {
            socket,
            family,
            local,
            own_ident,
        })
    }

    /// Bytes of a message before those of the echo.
    const fn head_bytes(&self) -> usize {
        match (self.family, self.own_ident) {
            (Family::V4, Some(_)) => IPV4_HEADER_BYTES + HEADER_LEN,
            _ => HEADER_LEN,
        }
    }

    /// The next message; `None` for one that is no reply of this series.
    fn recv_once(&self, into: &mut [u8]) -> Result<Option<(usize, EchoMeta)>, Errno> {
        let mut head = [0; IPV4_HEADER_BYTES + HEADER_LEN];
        let head = &mut head[..self.head_bytes()];
        let mut control = [0; CONTROL_BYTES];
        let mut parts = [IoSliceMut::new(head), IoSliceMut::new(into)];
        // With MSG_TRUNC the kernel tells the whole length, however much of it fits.
        let message = recvmsg::<SockaddrStorage>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_TRUNC,
        )?;
        let (address, bytes) = (message.address, message.bytes);
        let mut ttl = 0;
        for part in message.cmsgs()? {
            if let ControlMessageOwned::Ipv4Ttl(own) | ControlMessageOwned::Ipv6HopLimit(own) = part
            {
                ttl = own as u8;
            }
        }
        let Some(payload_len) = bytes.checked_sub(head.len()) else {
            return Ok(None);
        };
        let peer = address.as_ref().and_then(super::udp::socket_addr_of);
        let reply = self.sequence_of(head).zip(peer);
        Ok(reply.map(|(sequence, peer)| {
            let peer = peer.ip();
            let meta = EchoMeta {
                peer,
                sequence,
                ttl,
            };
            (payload_len, meta)
        }))
    }

    /// The number of a reply of this series.
    fn sequence_of(&self, head: &[u8]) -> Option<u16> {
        let (before, icmp) = head.split_at(head.len() - HEADER_LEN);
        // One with options is longer, and what follows is no ICMP header.
        let is_plain = before.first().is_none_or(|first| first & 0x0f == 5);
        let reply = match self.family {
            Family::V4 => V4_ECHO_REPLY,
            Family::V6 => V6_ECHO_REPLY,
        };
        let ident = u16::from_be_bytes([icmp[4], icmp[5]]);
        let is_ours = self.own_ident.is_none_or(|own| own == ident);
        (is_plain && icmp[0] == reply && is_ours).then(|| u16::from_be_bytes([icmp[6], icmp[7]]))
    }
}

impl EchoSocket for KernelEcho {
    fn send(&self, to: IpAddr, sequence: u16, payload: &[u8]) -> io::Result<()> {
        let too_long = payload.len() > MESSAGE_BYTES_MAX - IPV4_HEADER_BYTES - HEADER_LEN;
        if Address::from(to).family() != self.family || too_long {
            return Err(ErrorKind::InvalidInput.into());
        }
        let request = Echo {
            request: true,
            ident: self.own_ident.unwrap_or_default(),
            sequence,
        };
        let mut message = request.header(self.family).to_vec();
        message.extend_from_slice(payload);
        // Of ICMPv6, and of a datagram socket, the kernel fills the checksum itself.
        if self.family == Family::V4 {
            fill_checksum(&mut message, self.local.into(), to.into());
        }
        let to = SockaddrStorage::from(SocketAddr::new(to, 0));
        let parts = [IoSlice::new(&message)];
        let fd = self.socket.as_raw_fd();
        match sendmsg(fd, &parts, &[], MsgFlags::empty(), Some(&to)) {
            Ok(_) | Err(Errno::EAGAIN | Errno::ENOBUFS) => Ok(()),
            Err(Errno::EMSGSIZE) => Err(ErrorKind::InvalidInput.into()),
            Err(error) => Err(error.into()),
        }
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<(usize, EchoMeta)>> {
        loop {
            ready!(self.socket.poll_recv_ready(context))?;
            let mut received = Err(Errno::EAGAIN);
            // Its own result says no more than ours; what matters is that it learns that nothing is left.
            let _ = self.socket.try_io(Interest::READABLE, || {
                received = self.recv_once(into);
                received.map(drop).map_err(io::Error::from)
            });
            match received {
                Ok(Some(reply)) => return Poll::Ready(Ok(reply)),
                Ok(None) | Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

/// An identifier that no other socket of this process has.
fn fresh_ident() -> u16 {
    let process = std::process::id() as u16;
    process.wrapping_add(NEXT_IDENT.fetch_add(1, Ordering::Relaxed).wrapping_mul(257))
}
