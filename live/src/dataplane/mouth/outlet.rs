//! Sending: datagrams to one peer from one port with one TOS leave together, as a train that the kernel or the card
//! cuts (UDP_SEGMENT).
//!
//! A train's datagrams are equally long, but for the last, which may be shorter. Those of one way are put behind one
//! another first, since flows come in turns and each has a port of its own; what shares a way keeps its order.
//! Super-packets are cut here, as late as possible: each segment gets headers of its own, and its payload is taken from
//! where it lies. Where the kernel refuses a train it goes out one by one.

use std::mem::{size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use anyedge_net::drop_reason::DropReason;
use anyedge_net::packet::{Offload, Packet};
use anyedge_net::wire::gre;
use anyedge_net::wire::segments::{HEADER_LEN_MAX, Segments};
use nix::errno::Errno;
use nix::libc;
use socket2::SockAddr;

/// Datagrams in a train: what every kernel takes.
const DATAGRAMS_MAX: usize = 64;
/// Bytes of a train, so that it stays one packet for the kernel with all headers around it.
const TRAIN_LEN_MAX: usize = 65_000;
/// Fewer packets than this are not worth sorting: they leave as they came.
const SORTED_MIN: usize = 16;
/// Packets that are sorted by their way at a time.
const SORTED_MAX: usize = 128;
/// Room for the length of a train's datagrams and the TOS.
const CONTROL_LEN: usize = 64;
const HEADERS: usize = gre::HEADER_LEN + HEADER_LEN_MAX;

/// Where a train goes and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Way<'a> {
    /// The peer.
    pub(super) to: SocketAddr,
    /// DSCP and ECN.
    pub(super) tos: u8,
    /// The socket that it leaves by.
    pub(super) socket: SocketFd<'a>,
}

impl Way<'_> {
    /// Whether both leave by one socket to one peer.
    fn is_beside(&self, other: Way<'_>) -> bool {
        self.socket == other.socket && self.to == other.to
    }
}

/// A borrowed socket that can be compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct SocketFd<'a>(pub(super) BorrowedFd<'a>);

impl PartialEq for SocketFd<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_raw_fd() == other.0.as_raw_fd()
    }
}

impl Eq for SocketFd<'_> {}

/// What trains are made in.
pub(super) struct Outlet {
    headers: Box<[[u8; HEADERS]; DATAGRAMS_MAX]>,
    parts: Vec<libc::iovec>,
    /// Where each datagram's parts end.
    ends: Vec<usize>,
    /// The kernel takes trains.
    trains: bool,
}

// SAFETY: `parts` holds pointers only while `send_all` runs.
#[expect(unsafe_code, reason = "the kernel's structures hold pointers")]
unsafe impl Send for Outlet {}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outlet")
    }
}

/// The open train.
#[derive(Clone, Copy)]
struct Train<'a> {
    way: Way<'a>,
    datagram_len: usize,
    len: usize,
    closed: bool,
}

impl Outlet {
    pub(super) fn new() -> Self {
        Self {
            headers: Box::new([[0; HEADERS]; DATAGRAMS_MAX]),
            parts: Vec::with_capacity(2 * DATAGRAMS_MAX),
            ends: Vec::with_capacity(DATAGRAMS_MAX),
            trains: true,
        }
    }

    /// Sends all packets that have a way. `refused` hears why the kernel did not take datagrams, and how many.
    pub(super) fn send_all<'a>(
        &mut self,
        packets: &'a [Packet],
        way: impl Fn(&Packet) -> Option<Way<'a>>,
        mut refused: impl FnMut(DropReason, u64),
    ) {
        let mut train = None;
        for packets in packets.chunks(SORTED_MAX) {
            let mut ways = [None; SORTED_MAX];
            for (place, packet) in ways.iter_mut().zip(packets) {
                *place = way(packet);
            }
            let worth = packets.len() >= SORTED_MIN;
            for first in 0..packets.len() {
                let Some(way) = ways[first] else {
                    continue;
                };
                let reach = if worth { packets.len() } else { first + 1 };
                for (packet, other) in packets[..reach].iter().zip(&mut ways).skip(first) {
                    if let Some(own) = other.take_if(|other| other.is_beside(way)) {
                        self.put(&mut train, own, packet, &mut refused);
                    }
                }
            }
        }
        self.flush(&mut train, &mut refused);
    }

    /// Puts one packet into the open train, segment by segment.
    fn put<'a>(
        &mut self,
        train: &mut Option<Train<'a>>,
        way: Way<'a>,
        packet: &Packet,
        refused: &mut impl FnMut(DropReason, u64),
    ) {
        let bytes = packet.bytes();
        let inner = bytes
            .get(gre::HEADER_LEN..)
            .filter(|_| packet.meta.offload != Offload::NONE);
        let segments = inner.and_then(|inner| {
            let segments = Segments::of(inner, packet.meta.offload)?;
            Some((inner, segments))
        });
        let Some((inner, segments)) = segments else {
            self.make_room(train, way, bytes.len(), refused);
            self.parts.push(part(bytes));
            self.ends.push(self.parts.len());
            return;
        };
        for index in 0..segments.count() {
            let payload = &inner[segments.payload(index)];
            let headers_len = gre::HEADER_LEN + segments.header_len();
            let len = headers_len + payload.len();
            let place = self.make_room(train, way, len, refused);
            let headers = &mut self.headers[place];
            headers[..gre::HEADER_LEN].copy_from_slice(&bytes[..gre::HEADER_LEN]);
            segments.write_header(inner, index, &mut headers[gre::HEADER_LEN..]);
            self.parts.push(part(&headers[..headers_len]));
            if !payload.is_empty() {
                self.parts.push(part(payload));
            }
            self.ends.push(self.parts.len());
        }
    }

    /// Sends one datagram.
    pub(super) fn send_one(way: Way<'_>, bytes: &[u8]) -> Result<(), DropReason> {
        send(way, &SockAddr::from(way.to), &mut [part(bytes)], None).map_err(reason)
    }

    /// Sees to it that the open train can take a datagram of `len` bytes that goes `way`; its place in the train.
    fn make_room<'a>(
        &mut self,
        train: &mut Option<Train<'a>>,
        way: Way<'a>,
        len: usize,
        refused: &mut impl FnMut(DropReason, u64),
    ) -> usize {
        let fits = |train: &Train<'a>, count: usize, trains: bool| {
            trains
                && train.way == way
                && !train.closed
                && len <= train.datagram_len
                && train.len + len <= TRAIN_LEN_MAX
                && count < DATAGRAMS_MAX
        };
        match train {
            Some(open) if fits(open, self.ends.len(), self.trains) => {
                open.len += len;
                open.closed = len < open.datagram_len;
            }
            _ => {
                self.flush(train, refused);
                *train = Some(Train {
                    way,
                    datagram_len: len,
                    len,
                    closed: len == 0,
                });
            }
        }
        self.ends.len()
    }

    /// Sends the open train.
    fn flush(&mut self, train: &mut Option<Train<'_>>, refused: &mut impl FnMut(DropReason, u64)) {
        let Some(Train {
            way, datagram_len, ..
        }) = train.take()
        else {
            return;
        };
        let to = SockAddr::from(way.to);
        let count = self.ends.len();
        let size = (count > 1).then_some(datagram_len as u16);
        match send(way, &to, &mut self.parts, size) {
            Ok(()) => {}
            // Too long for the wire, or a wire that knows no trains: what can goes by itself.
            Err(error @ (Errno::EMSGSIZE | Errno::EINVAL | Errno::EIO)) if count > 1 => {
                if error == Errno::EIO {
                    tracing::warn!("the kernel refuses trains of datagrams: each goes by itself");
                    self.trains = false;
                }
                let mut from = 0;
                for end in self.ends.drain(..) {
                    if let Err(error) = send(way, &to, &mut self.parts[from..end], None) {
                        refused(reason(error), 1);
                    }
                    from = end;
                }
            }
            Err(error) => refused(reason(error), count as u64),
        }
        self.parts.clear();
        self.ends.clear();
    }
}

fn reason(error: Errno) -> DropReason {
    match error {
        Errno::EAGAIN | Errno::ENOBUFS => DropReason::QueueFull,
        Errno::EMSGSIZE => DropReason::LinkMtu,
        _ => DropReason::SendFailed,
    }
}

fn part(bytes: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
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

/// Sends `parts` as one datagram, or as several of `size` bytes each.
fn send(
    way: Way<'_>,
    to: &SockAddr,
    parts: &mut [libc::iovec],
    size: Option<u16>,
) -> Result<(), Errno> {
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
    #[expect(
        unsafe_code,
        reason = "no safe crate sends TOS and trains without allocating"
    )]
    // SAFETY: name, parts and control are borrowed for the call and as long as the message says; the kernel only reads.
    let sent = unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_name = to.as_ptr().cast_mut().cast();
        message.msg_namelen = to.len();
        message.msg_iov = parts.as_mut_ptr();
        message.msg_iovlen = parts.len() as _;
        if control.len > 0 {
            message.msg_control = control.bytes.as_mut_ptr().cast();
            message.msg_controllen = control.len as _;
        }
        libc::sendmsg(way.socket.0.as_raw_fd(), &message, libc::MSG_DONTWAIT)
    };
    Errno::result(sent).map(|_| ())
}
