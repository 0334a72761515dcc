//! GRE as IP protocol 47: raw sockets, where nothing on the way needs a UDP port (RFC 2784, RFC 2890).
//!
//! The kernel writes the outer IP header and hands up every GRE packet for the node's tunnel addresses, whoever sent
//! it; IPv4 ones with their header. One socket per family does both directions. Outer packets carry DF and TTL 64 and
//! are never fragmented: too large is an error of the send. There are no ports, so that routers on the way spread
//! peers over equal paths and not flows.
//!
//! A key in a GRE header is a label and no secret: peers are known by their outer source address alone, so that the
//! network between them has to keep others from using it.

use std::io::{ErrorKind, IoSliceMut, Result as IoResult};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::wire::{gre, ipv4};
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::mouth::{Side, never_fragment};

/// What the kernel may keep for us while we are busy, in bytes.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Version 4, a header without options: what we write, and all that we take.
const PLAIN_V4: u8 = 0x45;

/// A node's raw sockets. Not for use by several threads at a time.
#[derive(Debug)]
pub struct RawGre {
    v4: Option<RawSocket>,
    v6: Option<RawSocket>,
}

#[derive(Debug)]
struct RawSocket {
    socket: Arc<Socket>,
    is_v4: bool,
    tos: u8,
    control: Vec<u8>,
}

/// A packet that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its bytes from the GRE header on, at the front of the buffer.
    pub len: usize,
    /// It was longer than the buffer.
    pub cut: bool,
    /// The outer source.
    pub from: IpAddr,
    /// DSCP and ECN of the outer header.
    pub tos: u8,
}

impl RawGre {
    /// Opens the sockets on a node's tunnel addresses, those that are given. Needs `CAP_NET_RAW`.
    pub fn open(v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>) -> Result<Self> {
        let open = |address: IpAddr| {
            RawSocket::open(address)
                .with_context(|| format!("cannot open a raw socket for GRE on {address}"))
        };
        Ok(Self {
            v4: v4.map(|address| open(address.into())).transpose()?,
            v6: v6.map(|address| open(address.into())).transpose()?,
        })
    }

    /// What to wait on for arrivals.
    pub fn receivers(&self) -> impl Iterator<Item = (Side, BorrowedFd<'_>)> {
        let side = |socket: &RawSocket| {
            if socket.is_v4 { Side::V4 } else { Side::V6 }
        };
        let sockets = self.v4.iter().chain(&self.v6);
        sockets.map(move |socket| (side(socket), socket.socket.as_fd()))
    }

    /// The sockets by which it arrives.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &Arc<Socket>> {
        self.v4.iter().chain(&self.v6).map(|own| &own.socket)
    }

    /// The next packet of that side, from its GRE header on; `None` when none waits. One whose outer header is none
    /// that a node writes comes as an empty one.
    pub fn recv(&mut self, side: Side, into: &mut [u8]) -> IoResult<Option<Arrived>> {
        let socket = match side {
            Side::V4 => self.v4.as_mut(),
            Side::V6 => self.v6.as_mut(),
        };
        socket.map_or(Ok(None), |socket| socket.recv(into))
    }

    /// Sends a packet that starts with its GRE header. The reason, when the kernel does not take it.
    pub fn send(&mut self, packet: &[u8], to: IpAddr, tos: u8) -> Result<(), DropReason> {
        let socket = if to.is_ipv4() {
            self.v4.as_mut()
        } else {
            self.v6.as_mut()
        };
        socket.ok_or(DropReason::NoRoute)?.send(packet, to, tos)
    }
}

impl RawSocket {
    fn open(address: IpAddr) -> IoResult<Self> {
        let at = SocketAddr::new(address, 0);
        let protocol = Protocol::from(i32::from(gre::PROTOCOL));
        let socket = Socket::new(Domain::for_address(at), Type::RAW, Some(protocol))?;
        socket.set_nonblocking(true)?;
        never_fragment(&socket, address.is_ipv4())?;
        if address.is_ipv6() {
            socket.set_recv_tclass_v6(true)?;
        }
        // As much as the system allows; less only loses more under load.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        socket.bind(&SockAddr::from(at))?;
        Ok(Self {
            socket: Arc::new(socket),
            is_v4: address.is_ipv4(),
            tos: 0,
            control: nix::cmsg_space!(libc::c_int),
        })
    }

    fn recv(&mut self, into: &mut [u8]) -> IoResult<Option<Arrived>> {
        let mut header = [0; ipv4::HEADER_LEN];
        let header_len = if self.is_v4 { header.len() } else { 0 };
        let mut parts = [
            IoSliceMut::new(&mut header[..header_len]),
            IoSliceMut::new(into),
        ];
        let fd = self.socket.as_raw_fd();
        let (control, flags) = (Some(self.control.as_mut_slice()), MsgFlags::empty());
        let message = match recvmsg::<SockaddrStorage>(fd, &mut parts, control, flags) {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let from = message.address.as_ref().and_then(ip_of);
        let mut arrived = Arrived {
            len: message.bytes.saturating_sub(header_len),
            cut: message.flags.contains(MsgFlags::MSG_TRUNC),
            from: from.ok_or(ErrorKind::InvalidData)?,
            tos: 0,
        };
        for part in message.cmsgs()? {
            if let ControlMessageOwned::Ipv6TClass(tos) = part {
                arrived.tos = tos as u8;
            }
        }
        if self.is_v4 {
            arrived.tos = header[1];
            if header[0] != PLAIN_V4 {
                arrived.len = 0;
            }
        }
        Ok(Some(arrived))
    }

    fn send(&mut self, packet: &[u8], to: IpAddr, tos: u8) -> Result<(), DropReason> {
        if self.tos != tos {
            let set = if self.is_v4 {
                self.socket.set_tos_v4(u32::from(tos))
            } else {
                self.socket.set_tclass_v6(u32::from(tos))
            };
            set.map_err(|_| DropReason::SendFailed)?;
            self.tos = tos;
        }
        let to = SockAddr::from(SocketAddr::new(to, 0));
        match self.socket.send_to(packet, &to) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(DropReason::QueueFull),
            Err(error) => Err(match error.raw_os_error() {
                Some(libc::ENOBUFS) => DropReason::QueueFull,
                Some(libc::EMSGSIZE) => DropReason::LinkMtu,
                _ => DropReason::SendFailed,
            }),
        }
    }
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}
