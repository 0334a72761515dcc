//! The tunnel mouth: the UDP sockets through which GRE packets come and go (RFC 8086).
//!
//! Packets come in on port 4754 of the node's tunnel addresses. They leave from up to [`SOURCES`] sockets per family,
//! as many as `spread` says, chosen by the flow's entropy, so that routers on the way spread flows over equal paths; a
//! socket has one source port. Both ways many datagrams go with one call, in trains where they are alike: `inlet`,
//! `outlet`. Outer packets are never fragmented: too large is an error of the send.

mod inlet;
mod outlet;
mod spread;

use std::io::{ErrorKind, Result as IoResult};
use std::mem::size_of_val;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::packet::Packet;
use anyedge_net::time::Instant;
use anyedge_net::wire::udp;
use anyhow::{Context, Result};
use nix::libc;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{RcvBufForce, SndBufForce, UdpGroSegment};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use self::inlet::Inlet;
use self::outlet::{Outlet, Way};
use self::spread::Spread;

pub use self::inlet::Message;

/// Source ports per family; a power of two.
pub const SOURCES: usize = 8;
/// The first port for entropy (RFC 8086 §3.2.1: the ephemeral range).
const ENTROPY_PORT_MIN: u16 = 49_152;
/// Ports that each source socket may choose from.
const PORTS_PER_SOURCE: u16 = 16_384 / SOURCES as u16;
/// What the kernel may keep for us while we are busy, in bytes, and what of ours it may have on its way.
const BUFFER_BYTES: usize = 8 << 20;

/// A node's tunnel sockets, or a share of them.
#[derive(Debug)]
pub struct Mouth {
    v4: Option<FamilyMouth>,
    v6: Option<FamilyMouth>,
}

#[derive(Debug)]
struct FamilyMouth {
    address: IpAddr,
    receiver: Arc<Socket>,
    sources: Arc<Sources>,
}

/// What a family's packets leave by, whichever share of the mouth they leave from.
#[derive(Debug)]
struct Sources {
    sockets: Vec<Socket>,
    spread: Spread,
}

/// Buffers for what comes and what goes by a mouth, whichever it is: one thread's, and always the same ones, so that they
/// stay in its cache.
#[derive(Debug)]
pub struct Trains {
    inlet: Inlet,
    outlet: Outlet,
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
        Self::open_with(v4, v6, false)
    }

    /// The same in `count` shares: each has a receiver of its own, among which the kernel shares arrivals out by outer
    /// addresses and ports, so that a flow's come by one. The ports that packets leave from are common to all.
    pub fn open_shared(
        v4: Option<Ipv4Addr>,
        v6: Option<Ipv6Addr>,
        count: usize,
    ) -> Result<Vec<Self>> {
        let first = Self::open_with(v4, v6, count > 1)?;
        let mut all = vec![first];
        for _ in 1..count {
            let beside = |family: &Option<FamilyMouth>| {
                let family = family.as_ref().map(FamilyMouth::beside);
                family.transpose()
            };
            all.push(Self {
                v4: beside(&all[0].v4)?,
                v6: beside(&all[0].v6)?,
            });
        }
        Ok(all)
    }

    fn open_with(v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>, shared: bool) -> Result<Self> {
        let open = |address| FamilyMouth::open(address, shared);
        Ok(Self {
            v4: v4.map(|address| open(address.into())).transpose()?,
            v6: v6.map(|address| open(address.into())).transpose()?,
        })
    }

    /// Takes the sockets of `other` in the place of its own, of those of IPv4 and IPv6 that `families` says.
    pub(super) fn take_over(&mut self, other: Mouth, [v4, v6]: [bool; 2]) {
        if v4 {
            self.v4 = other.v4;
        }
        if v6 {
            self.v6 = other.v6;
        }
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

    /// The sockets by which it arrives.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &Arc<Socket>> {
        let both = self.v4.iter().chain(&self.v6);
        both.map(|family| &family.receiver)
    }

    /// Takes what waits on that side: how many messages, and whether there may be more.
    pub fn recv(&self, side: Side, into: &mut Trains) -> IoResult<(usize, bool)> {
        let Some(family) = self.family(side) else {
            return Ok((0, false));
        };
        into.inlet.recv(family.receiver.as_fd())
    }

    /// So many datagrams of what was taken, together so long, go to the account of the load.
    pub(super) fn received(&self, side: Side, datagrams: usize, bytes: usize) {
        if let Some(family) = self.family(side) {
            family.sources.spread.received(datagrams, bytes);
        }
    }

    /// Takes in a packet for `to` that starts with its GRE header; `false` if nothing leaves for that family here. It has
    /// left after [`Mouth::flush`] at the latest. `refused` hears why the kernel did not take datagrams, and how many: a
    /// super-packet is as many as it has segments.
    pub fn put(
        &self,
        packet: &Packet,
        to: SocketAddr,
        trains: &mut Trains,
        mut refused: impl FnMut(DropReason, u64),
    ) -> bool {
        let exits = self.exits();
        let way = exits.way(to, packet.meta.entropy, packet.meta.tos);
        if let Some(way) = way {
            trains.outlet.put((exits, way), packet, &mut refused);
        }
        way.is_some()
    }

    /// Sends the trains that are open. Behind it the number of source ports follows the load: no train is open then.
    pub fn flush(
        &self,
        trains: &mut Trains,
        now: Instant,
        mut refused: impl FnMut(DropReason, u64),
    ) {
        trains.outlet.flush(self.exits(), &mut refused);
        for family in self.v4.iter().chain(&self.v6) {
            family.sources.spread.follow(now);
        }
    }

    /// Sends one datagram by itself, from the port of `entropy`.
    ///
    /// # Errors
    /// Why the kernel did not take it.
    pub fn send(
        &self,
        bytes: &[u8],
        to: SocketAddr,
        entropy: u16,
        tos: u8,
    ) -> Result<(), DropReason> {
        let exits = self.exits();
        let way = exits.way(to, entropy, tos).ok_or(DropReason::NoRoute)?;
        Outlet::send_one(exits, way, bytes)
    }

    fn family(&self, side: Side) -> Option<&FamilyMouth> {
        match side {
            Side::V4 => self.v4.as_ref(),
            Side::V6 => self.v6.as_ref(),
        }
    }

    fn exits(&self) -> Exits<'_> {
        let Self { v4, v6 } = self;
        Exits { v4, v6 }
    }
}

impl Trains {
    /// Empty ones.
    pub fn new() -> Self {
        Self {
            inlet: Inlet::new(),
            outlet: Outlet::new(),
        }
    }

    /// Whether datagrams wait for company, or for [`Mouth::flush`].
    pub(super) fn are_open(&self) -> bool {
        self.outlet.is_open()
    }

    /// Message `index` of those that the last [`Mouth::recv`] took; `None` if its source is no IP address.
    pub fn message(&self, index: usize) -> Option<Message> {
        self.inlet.message(index)
    }

    /// Its bytes.
    pub fn bytes(&self, index: usize) -> &[u8] {
        self.inlet.bytes(index)
    }
}

impl Default for Trains {
    fn default() -> Self {
        Self::new()
    }
}

impl FamilyMouth {
    fn open(address: IpAddr, shared: bool) -> Result<Self> {
        let receiver = Arc::new(receiver(address, shared)?);
        let sockets = (0..SOURCES).map(|index| source(address, index));
        let sources = Sources {
            sockets: sockets.collect::<Result<_>>()?,
            spread: Spread::new(),
        };
        Ok(Self {
            address,
            receiver,
            sources: Arc::new(sources),
        })
    }

    /// Another receiver for what comes, beside the same ports to send from.
    fn beside(&self) -> Result<Self> {
        Ok(Self {
            address: self.address,
            receiver: Arc::new(receiver(self.address, true)?),
            sources: Arc::clone(&self.sources),
        })
    }
}

/// The sockets that packets leave by.
#[derive(Clone, Copy)]
struct Exits<'a> {
    v4: &'a Option<FamilyMouth>,
    v6: &'a Option<FamilyMouth>,
}

impl<'a> Exits<'a> {
    /// The way of a flow to a peer, if anything leaves for its family.
    fn way(self, to: SocketAddr, entropy: u16, tos: u8) -> Option<Way> {
        let source = self.sources(to)?.spread.source_of(entropy);
        Some(Way { to, tos, source })
    }

    /// Those for a peer's family.
    fn sources(self, to: SocketAddr) -> Option<&'a Sources> {
        let family = if to.is_ipv4() { self.v4 } else { self.v6 };
        Some(&family.as_ref()?.sources)
    }
}

/// A socket on which tunnelled packets come; `shared`, if others do the same.
fn receiver(address: IpAddr, shared: bool) -> Result<Socket> {
    let receiver = bind(SocketAddr::new(address, udp::PORT_GRE), shared).with_context(|| {
        format!(
            "cannot open the tunnel mouth on {address} port {}",
            udp::PORT_GRE
        )
    })?;
    // Trains of datagrams as one message, where the kernel can.
    let _ = setsockopt(&receiver, UdpGroSegment, &true);
    // As much as the system allows; less only loses more under load.
    if setsockopt(&receiver, RcvBufForce, &BUFFER_BYTES).is_err() {
        let _ = receiver.set_recv_buffer_size(BUFFER_BYTES);
    }
    if address.is_ipv4() {
        receiver
            .set_recv_tos_v4(true)
            .context("cannot ask for outer TOS")?;
    } else {
        receiver
            .set_recv_tclass_v6(true)
            .context("cannot ask for the outer traffic class")?;
    }
    Ok(receiver)
}

/// A socket on the first free port of its share of the entropy range.
fn source(address: IpAddr, index: usize) -> Result<Socket> {
    let first = ENTROPY_PORT_MIN + index as u16 * PORTS_PER_SOURCE;
    let mut last_error = None;
    for port in first..=first + (PORTS_PER_SOURCE - 1) {
        match bind(SocketAddr::new(address, port), false) {
            Ok(socket) => {
                // Nothing is ever read here; what strangers send may pile up no further than this.
                let _ = socket.set_recv_buffer_size(0);
                if setsockopt(&socket, SndBufForce, &BUFFER_BYTES).is_err() {
                    let _ = socket.set_send_buffer_size(BUFFER_BYTES);
                }
                return Ok(socket);
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

/// A non-blocking socket whose packets carry DF and are refused when they exceed the path's MTU.
fn bind(address: SocketAddr, shared: bool) -> IoResult<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    never_fragment(&socket, address.is_ipv4())?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// Has what leaves `socket` carry DF, and refused when it exceeds the path's MTU.
pub(crate) fn never_fragment(socket: &Socket, is_v4: bool) -> IoResult<()> {
    let (level, name, value) = if is_v4 {
        (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_DO,
        )
    } else {
        (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_DO,
        )
    };
    set_int_option(socket, level, name, value)
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
