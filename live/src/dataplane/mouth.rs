//! The tunnel mouth: the UDP sockets through which GRE packets come and go (RFC 8086).
//!
//! Packets come in on port 4754 of the node's tunnel addresses. They leave from one of [`SOURCES`] sockets per family,
//! chosen by the flow's entropy, so that routers on the way spread flows over equal paths; a socket has one source
//! port. Outer DSCP and ECN are a socket option that is set when it changes, which costs no allocation. Outer packets
//! are never fragmented: too large is an error of the send.

use std::io::{ErrorKind, IoSliceMut, Result as IoResult};
use std::mem::size_of_val;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use anyedge_net::drop_reason::DropReason;
use anyedge_net::wire::udp;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::sockopt::{Ipv4RecvTtl, Ipv6RecvHopLimit};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Source ports in use per family.
pub const SOURCES: usize = 8;
/// The first port for entropy (RFC 8086 §3.2.1: the ephemeral range).
const ENTROPY_PORT_MIN: u16 = 49_152;
/// Ports that each source socket may choose from.
const PORTS_PER_SOURCE: u16 = 16_384 / SOURCES as u16;
/// What the kernel may keep for us while we are busy, in bytes.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// A node's tunnel sockets. Not for use by several threads at a time.
#[derive(Debug)]
pub struct Mouth {
    v4: Option<FamilyMouth>,
    v6: Option<FamilyMouth>,
}

#[derive(Debug)]
struct FamilyMouth {
    receiver: Socket,
    sources: Vec<Source>,
    control: Vec<u8>,
}

#[derive(Debug)]
struct Source {
    socket: Socket,
    tos: u8,
}

/// A datagram that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Its bytes, at the front of the buffer.
    pub len: usize,
    /// It was longer than the buffer.
    pub cut: bool,
    /// The outer source.
    pub from: IpAddr,
    /// DSCP and ECN of the outer header.
    pub tos: u8,
    /// TTL or hop limit of the outer header.
    pub ttl: u8,
}

/// Which of the two receiving sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Outer IPv4.
    V4,
    /// Outer IPv6.
    V6,
}

impl Mouth {
    /// Opens the sockets on a node's tunnel addresses, those that it has.
    pub fn open(v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>) -> Result<Self> {
        Ok(Self {
            v4: v4
                .map(|address| FamilyMouth::open(address.into()))
                .transpose()?,
            v6: v6
                .map(|address| FamilyMouth::open(address.into()))
                .transpose()?,
        })
    }

    /// What to wait on for arrivals.
    pub fn receivers(&self) -> impl Iterator<Item = (Side, BorrowedFd<'_>)> {
        let v4 = self
            .v4
            .iter()
            .map(|family| (Side::V4, family.receiver.as_fd()));
        v4.chain(
            self.v6
                .iter()
                .map(|family| (Side::V6, family.receiver.as_fd())),
        )
    }

    /// The next datagram of that side; `None` when none waits.
    pub fn recv(&mut self, side: Side, into: &mut [u8]) -> IoResult<Option<Datagram>> {
        let family = match side {
            Side::V4 => self.v4.as_mut(),
            Side::V6 => self.v6.as_mut(),
        };
        family.map_or(Ok(None), |family| family.recv(into))
    }

    /// Sends a packet that starts with its GRE header. The reason, when the kernel does not take it.
    pub fn send(
        &mut self,
        packet: &[u8],
        to: SocketAddr,
        entropy: u16,
        tos: u8,
    ) -> Result<(), DropReason> {
        let family = if to.is_ipv4() {
            self.v4.as_mut()
        } else {
            self.v6.as_mut()
        };
        let Some(family) = family else {
            return Err(DropReason::NoRoute);
        };
        let index = (usize::from(entropy) * SOURCES) >> 16;
        let source = &mut family.sources[index];
        if source.tos != tos {
            let set = if to.is_ipv4() {
                source.socket.set_tos_v4(u32::from(tos))
            } else {
                source.socket.set_tclass_v6(u32::from(tos))
            };
            set.map_err(|_| DropReason::SendFailed)?;
            source.tos = tos;
        }
        match source.socket.send_to(packet, &SockAddr::from(to)) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(DropReason::QueueFull),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Err(DropReason::QueueFull),
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => Err(DropReason::LinkMtu),
            Err(_) => Err(DropReason::SendFailed),
        }
    }
}

impl FamilyMouth {
    fn open(address: IpAddr) -> Result<Self> {
        let receiver = bind(SocketAddr::new(address, udp::PORT_GRE)).with_context(|| {
            format!(
                "cannot open the tunnel mouth on {address} port {}",
                udp::PORT_GRE
            )
        })?;
        // As much as the system allows; less only loses more under load.
        let _ = receiver.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        if address.is_ipv4() {
            receiver
                .set_recv_tos_v4(true)
                .context("cannot ask for outer TOS")?;
            setsockopt(&receiver, Ipv4RecvTtl, &true).context("cannot ask for outer TTL")?;
        } else {
            receiver
                .set_recv_tclass_v6(true)
                .context("cannot ask for the outer traffic class")?;
            setsockopt(&receiver, Ipv6RecvHopLimit, &true)
                .context("cannot ask for the outer hop limit")?;
        }
        let sources = (0..SOURCES)
            .map(|index| Source::open(address, index))
            .collect::<Result<_>>()?;
        Ok(Self {
            receiver,
            sources,
            control: nix::cmsg_space!(libc::c_int, libc::c_int),
        })
    }

    fn recv(&mut self, into: &mut [u8]) -> IoResult<Option<Datagram>> {
        let mut parts = [IoSliceMut::new(into)];
        let fd = self.receiver.as_raw_fd();
        let message = match recvmsg::<SockaddrStorage>(
            fd,
            &mut parts,
            Some(&mut self.control),
            MsgFlags::empty(),
        ) {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let from = message
            .address
            .as_ref()
            .and_then(ip_of)
            .ok_or(ErrorKind::InvalidData)?;
        let mut datagram = Datagram {
            len: message.bytes,
            cut: message.flags.contains(MsgFlags::MSG_TRUNC),
            from,
            tos: 0,
            ttl: 0,
        };
        for part in message.cmsgs()? {
            match part {
                ControlMessageOwned::Ipv4Tos(tos) => datagram.tos = tos,
                ControlMessageOwned::Ipv6TClass(tos) => datagram.tos = tos as u8,
                ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => {
                    datagram.ttl = ttl as u8
                }
                _ => {}
            }
        }
        Ok(Some(datagram))
    }
}

impl Source {
    /// A socket on the first free port of its share of the entropy range.
    fn open(address: IpAddr, index: usize) -> Result<Self> {
        let first = ENTROPY_PORT_MIN + index as u16 * PORTS_PER_SOURCE;
        let mut last_error = None;
        for port in first..=first + (PORTS_PER_SOURCE - 1) {
            match bind(SocketAddr::new(address, port)) {
                Ok(socket) => {
                    // Nothing is ever read here; what strangers send may pile up no further than this.
                    let _ = socket.set_recv_buffer_size(0);
                    return Ok(Self { socket, tos: 0 });
                }
                Err(error) if error.kind() == ErrorKind::AddrInUse => last_error = Some(error),
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("cannot bind a tunnel source on {address}"));
                }
            }
        }
        Err(last_error.unwrap_or_else(|| ErrorKind::AddrInUse.into()))
            .with_context(|| format!("no port from {first} on is free on {address}"))
    }
}

/// A non-blocking socket whose packets carry DF and are refused when they exceed the path's MTU.
fn bind(address: SocketAddr) -> IoResult<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_nonblocking(true)?;
    if address.is_ipv4() {
        set_int_option(
            &socket,
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_DO,
        )?;
    } else {
        socket.set_only_v6(true)?;
        set_int_option(
            &socket,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_DO,
        )?;
    }
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

#[expect(unsafe_code, reason = "no safe crate sets MTU discovery")]
fn set_int_option(
    socket: &Socket,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> IoResult<()> {
    // SAFETY: the descriptor is open for the whole call, and the kernel reads `value`'s own size from its address.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(&value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if code == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}
