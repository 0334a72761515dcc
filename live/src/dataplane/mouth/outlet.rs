//! Sending: datagrams to one peer from one port with one TOS leave together, as a train that the kernel or the card
//! cuts (UDP_SEGMENT).
//!
//! A train's datagrams are equally long, but for the last, which may be shorter. Several are open at a time, one a way,
//! since flows come in turns and each has a port of its own; what shares a way keeps its order. A train leaves when it is
//! full, when a datagram comes its way that cannot join it, and with [`Outlet::flush`], at the end of a turn. Super-packets are
//! cut here, as late as possible. Where the kernel refuses a train it goes out one by one.
//!
//! Datagrams are copied behind one another: the kernel takes longer over a vector of 88 parts than such a copy does.

use std::mem::{size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use anyedge_net::drop_reason::DropReason;
use anyedge_net::packet::{LARGE_SLOT, Offload, Packet};
use anyedge_net::wire::gre;
use anyedge_net::wire::segments::Segments;
use nix::errno::Errno;
use nix::libc;
use socket2::SockAddr;

use super::{Exits, SOURCES};

/// Datagrams in a train: what every kernel takes.
const DATAGRAMS_MAX: usize = 64;
/// Bytes of a train, so that it stays one packet for the kernel with all headers around it.
const TRAIN_LEN_MAX: usize = 65_000;
/// Trains that are open at a time: one peer's.
const OPEN_MAX: usize = SOURCES;
/// Room for the length of a train's datagrams and the TOS.
const CONTROL_LEN: usize = 64;

/// Where a datagram goes and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Way {
    /// The peer.
    pub(super) to: SocketAddr,
    /// DSCP and ECN.
    pub(super) tos: u8,
    /// Which of the sockets of the peer's family it leaves by.
    pub(super) source: usize,
}

impl Way {
    /// Whether both leave by one socket to one peer.
    fn is_beside(&self, other: Way) -> bool {
        self.source == other.source && self.to == other.to
    }
}

/// The open trains, oldest first.
#[derive(Debug)]
pub(super) struct Outlet {
    open: Vec<Train>,
    /// Memory for more of them.
    spare: Vec<Box<[u8]>>,
    /// The kernel takes trains.
    trains: bool,
}

#[derive(Debug)]
struct Train {
    way: Way,
    bytes: Box<[u8]>,
    len: usize,
    count: usize,
    /// The length of each but the last.
    datagram_len: usize,
}

impl Train {
    /// Whether a datagram of `len` bytes may be the next.
    fn takes(&self, way: Way, len: usize) -> bool {
        let fits = self.len + len <= TRAIN_LEN_MAX && self.count < DATAGRAMS_MAX;
        self.way == way && fits && len <= self.datagram_len && len > 0
    }

    /// Whether no other datagram of its length may come behind the last, which has `len` bytes.
    fn is_full(&self, len: usize) -> bool {
        len < self.datagram_len || !self.takes(self.way, len)
    }
}

impl Outlet {
    pub(super) fn new() -> Self {
        Self {
            open: Vec::with_capacity(OPEN_MAX),
            spare: Vec::with_capacity(OPEN_MAX),
            trains: true,
        }
    }

    /// Puts a packet into the train of its way, segment by segment. `refused` hears why the kernel did not take datagrams of
    /// trains that left, and how many.
    pub(super) fn put(
        &mut self,
        (exits, way): (Exits<'_>, Way),
        packet: &Packet,
        refused: &mut impl FnMut(DropReason, u64),
    ) {
        let bytes = packet.bytes();
        let inner = bytes
            .get(gre::HEADER_LEN..)
            .filter(|_| packet.meta.offload != Offload::NONE);
        let segments = inner.and_then(|inner| {
            let segments = Segments::of(inner, packet.meta.offload)?;
            Some(segments.cut(inner))
        });
        let Some(cut) = segments else {
            let place = |room: &mut [u8]| room.copy_from_slice(bytes);
            self.put_one((exits, way), bytes.len(), place, refused);
            return;
        };
        let header = &bytes[..gre::HEADER_LEN];
        for index in 0..cut.count() {
            let len = gre::HEADER_LEN + cut.len_of(index);
            let place = |room: &mut [u8]| {
                let (gre, inner) = room.split_at_mut(gre::HEADER_LEN);
                gre.copy_from_slice(header);
                cut.write(index, inner);
            };
            self.put_one((exits, way), len, place, refused);
        }
    }

    /// Whether there are open trains.
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Sends the open trains.
    pub(super) fn flush(&mut self, exits: Exits<'_>, refused: &mut impl FnMut(DropReason, u64)) {
        while !self.open.is_empty() {
            self.send_train(exits, 0, refused);
        }
    }

    /// Sends one datagram.
    pub(super) fn send_one(exits: Exits<'_>, way: Way, bytes: &[u8]) -> Result<(), DropReason> {
        let sources = exits.sources(way.to).ok_or(DropReason::NoRoute)?;
        let socket = sources.sockets[way.source].as_fd();
        send(socket, way, bytes, None).map_err(reason)
    }

    /// Puts one datagram of `len` bytes, which `write` writes, into the train of its way.
    fn put_one(
        &mut self,
        (exits, way): (Exits<'_>, Way),
        len: usize,
        write: impl FnOnce(&mut [u8]),
        refused: &mut impl FnMut(DropReason, u64),
    ) {
        let beside = self.open.iter().position(|open| open.way.is_beside(way));
        let index = match beside {
            Some(index) if self.open[index].takes(way, len) => index,
            beside => {
                if let Some(index) = beside {
                    self.send_train(exits, index, refused);
                } else if self.open.len() == OPEN_MAX {
                    self.send_train(exits, 0, refused);
                }
                self.begin(way, len);
                self.open.len() - 1
            }
        };
        let train = &mut self.open[index];
        write(&mut train.bytes[train.len..train.len + len]);
        train.len += len;
        train.count += 1;
        if train.is_full(len) || !self.trains {
            self.send_train(exits, index, refused);
        }
    }

    /// Opens a train whose datagrams have `datagram_len` bytes.
    fn begin(&mut self, way: Way, datagram_len: usize) {
        let spare = self.spare.pop();
        let bytes = spare.unwrap_or_else(|| vec![0; LARGE_SLOT].into_boxed_slice());
        self.open.push(Train {
            way,
            bytes,
            len: 0,
            count: 0,
            datagram_len,
        });
    }

    /// Sends the open train `index`.
    fn send_train(
        &mut self,
        exits: Exits<'_>,
        index: usize,
        refused: &mut impl FnMut(DropReason, u64),
    ) {
        let Train {
            way,
            bytes,
            len,
            count,
            datagram_len,
        } = self.open.remove(index);
        let whole = &bytes[..len];
        match exits.sources(way.to) {
            Some(sources) => {
                sources.spread.sent(count, len);
                let socket = sources.sockets[way.source].as_fd();
                self.send_whole((socket, way), whole, (count, datagram_len), refused);
            }
            None => refused(DropReason::NoRoute, count as u64),
        }
        self.spare.push(bytes);
    }

    /// Sends `whole`, `count` datagrams of `datagram_len` bytes behind one another, with one call if the kernel takes it.
    fn send_whole(
        &mut self,
        (socket, way): (BorrowedFd<'_>, Way),
        whole: &[u8],
        (count, datagram_len): (usize, usize),
        refused: &mut impl FnMut(DropReason, u64),
    ) {
        let size = (count > 1).then_some(datagram_len as u16);
        match send(socket, way, whole, size) {
            Ok(()) => {}
            // Too long for the wire, or a wire that knows no trains: what can goes by itself.
            Err(error @ (Errno::EMSGSIZE | Errno::EINVAL | Errno::EIO)) if count > 1 => {
                if error == Errno::EIO {
                    tracing::warn!("the kernel refuses trains of datagrams: each goes by itself");
                    self.trains = false;
                }
                for datagram in whole.chunks(datagram_len) {
                    if let Err(error) = send(socket, way, datagram, None) {
                        refused(reason(error), 1);
                    }
                }
            }
            Err(error) => refused(reason(error), count as u64),
        }
    }
}

fn reason(error: Errno) -> DropReason {
    match error {
        Errno::EAGAIN | Errno::ENOBUFS => DropReason::QueueFull,
        Errno::EMSGSIZE => DropReason::LinkMtu,
        _ => DropReason::SendFailed,
    }
}

/// Ancillary data, aligned as its headers want it.
#[repr(align(8))]
struct Control {
    bytes: [u8; CONTROL_LEN],
    len: usize,
}

impl Control {
    /// Adds a value: a header of 16 bytes (length, level, type), the value, padding to 8.
    fn push(&mut self, level: i32, kind: i32, value: &[u8]) {
        const HEADER: usize = size_of::<libc::cmsghdr>();
        let len = HEADER + value.len();
        let into = &mut self.bytes[self.len..];
        into[..8].copy_from_slice(&len.to_ne_bytes());
        into[8..12].copy_from_slice(&level.to_ne_bytes());
        into[12..16].copy_from_slice(&kind.to_ne_bytes());
        into[HEADER..len].copy_from_slice(value);
        self.len += len.next_multiple_of(8);
    }
}

/// Sends `bytes` as one datagram, or as several of `size` bytes each.
fn send(socket: BorrowedFd<'_>, way: Way, bytes: &[u8], size: Option<u16>) -> Result<(), Errno> {
    let mut control = Control {
        bytes: [0; CONTROL_LEN],
        len: 0,
    };
    if let Some(size) = size {
        control.push(libc::SOL_UDP, libc::UDP_SEGMENT, &size.to_ne_bytes());
    }
    if way.tos != 0 {
        let tos = i32::from(way.tos).to_ne_bytes();
        match way.to {
            SocketAddr::V4(_) => control.push(libc::IPPROTO_IP, libc::IP_TOS, &tos),
            SocketAddr::V6(_) => control.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &tos),
        }
    }
    let to = SockAddr::from(way.to);
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    #[expect(
        unsafe_code,
        reason = "no safe crate sends TOS and trains without allocating"
    )]
    // SAFETY: name, bytes and control are borrowed for the call and as long as the message says; the kernel only reads.
    let sent = unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_name = to.as_ptr().cast_mut().cast();
        message.msg_namelen = to.len();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        if control.len > 0 {
            message.msg_control = control.bytes.as_mut_ptr().cast();
            message.msg_controllen = control.len as _;
        }
        libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_DONTWAIT)
    };
    Errno::result(sent).map(|_| ())
}

#[cfg(test)]
mod tests;
