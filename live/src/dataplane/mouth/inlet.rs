//! Receiving: up to [`MESSAGES_MAX`] messages a call, each one datagram or a whole train of them (UDP_GRO).
//!
//! The buffers are made once and the kernel is told of them once; a call touches only what it fills. Each message comes
//! with its source and, by ancillary data, the outer TOS and the length of a train's datagrams. The outer TTL, which decides
//! nothing, is not asked for: each kind of ancillary data costs something a datagram.

use std::io::Result as IoResult;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

/// Messages taken in one call.
pub(super) const MESSAGES_MAX: usize = 32;
/// After a call that brought a train: as many are plenty, and stay in the cache.
const TRAINS_MAX: usize = 2;
/// The longest train: what a UDP datagram can be.
const MESSAGE_LEN_MAX: usize = 65_535;
/// From buffer to buffer: an odd number of cache lines more than the longest train, so that their beginnings do not
/// compete for the same places of a cache.
const STRIDE: usize = 65_536 + 33 * 64;
/// Room for TOS and the length of a train's datagrams.
const CONTROL_LEN: usize = 128;

/// Ancillary data, aligned as its headers want it.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct Control([u8; CONTROL_LEN]);

/// Buffers for messages, and those of the last call.
pub(super) struct Inlet {
    buffers: Box<[u8]>,
    controls: Box<[Control]>,
    names: Box<[libc::sockaddr_storage]>,
    parts: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    ask: usize,
}

/// One datagram, or several of one source and one length that came together; the last may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Bytes of all.
    pub len: usize,
    /// The length of each but the last, never 0.
    pub datagram_len: usize,
    /// It was longer than its buffer.
    pub cut: bool,
    /// The outer source.
    pub from: IpAddr,
    /// DSCP and ECN of the outer header.
    pub tos: u8,
}

// SAFETY: the pointers inside lead only into the boxes beside them, which move with them.
#[expect(unsafe_code, reason = "the kernel's structures hold pointers")]
unsafe impl Send for Inlet {}

impl std::fmt::Debug for Inlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inlet")
    }
}

impl Inlet {
    pub(super) fn new() -> Self {
        #[expect(unsafe_code, reason = "all-zero is how these are made empty")]
        // SAFETY: plain structures of the kernel's, for which all zeros is valid.
        let (name, part, header) = unsafe { (zeroed(), zeroed(), zeroed()) };
        let mut inlet = Self {
            buffers: vec![0; STRIDE * MESSAGES_MAX].into_boxed_slice(),
            controls: vec![Control([0; CONTROL_LEN]); MESSAGES_MAX].into_boxed_slice(),
            names: vec![name; MESSAGES_MAX].into_boxed_slice(),
            parts: vec![part; MESSAGES_MAX].into_boxed_slice(),
            headers: vec![header; MESSAGES_MAX].into_boxed_slice(),
            ask: MESSAGES_MAX,
        };
        let buffers = inlet.buffers.chunks_exact_mut(STRIDE);
        for (index, buffer) in buffers.enumerate() {
            inlet.parts[index].iov_base = buffer.as_mut_ptr().cast();
            inlet.parts[index].iov_len = MESSAGE_LEN_MAX;
            let header = &mut inlet.headers[index].msg_hdr;
            header.msg_name = (&raw mut inlet.names[index]).cast();
            header.msg_iov = &raw mut inlet.parts[index];
            header.msg_iovlen = 1;
            header.msg_control = inlet.controls[index].0.as_mut_ptr().cast();
        }
        inlet
    }

    /// Takes what waits: how many messages, and whether there may be more.
    pub(super) fn recv(&mut self, socket: BorrowedFd<'_>) -> IoResult<(usize, bool)> {
        for header in &mut self.headers[..self.ask] {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
            header.msg_hdr.msg_controllen = CONTROL_LEN as _;
            header.msg_hdr.msg_flags = 0;
        }
        #[expect(
            unsafe_code,
            reason = "no safe crate receives many at once without allocating"
        )]
        // SAFETY: every header leads to a name, a buffer and a control area of the lengths it says, all of which
        // live in this structure and are borrowed mutably for the call.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.ask as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        match Errno::result(count) {
            Ok(count) => {
                let (count, asked) = (count as usize, self.ask);
                let any_train = self.headers[..count]
                    .iter()
                    .any(|header| header.msg_len as usize > MESSAGE_LEN_MAX / 8);
                self.ask = if any_train { TRAINS_MAX } else { MESSAGES_MAX };
                Ok((count, count == asked))
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok((0, false)),
            Err(error) => Err(error.into()),
        }
    }

    /// Message `index` of the last call; `None` if its source is neither IPv4 nor IPv6.
    pub(super) fn message(&self, index: usize) -> Option<Message> {
        let header = &self.headers[index];
        let len = (header.msg_len as usize).min(MESSAGE_LEN_MAX);
        let mut message = Message {
            len,
            datagram_len: len.max(1),
            cut: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            from: source(&self.names[index])?,
            tos: 0,
        };
        let control = &self.controls[index].0;
        let filled = header.msg_hdr.msg_controllen.min(CONTROL_LEN);
        read_control(&control[..filled], &mut message);
        Some(message)
    }

    /// Its bytes.
    pub(super) fn bytes(&self, index: usize) -> &[u8] {
        let len = self.headers[index].msg_len as usize;
        let buffer = &self.buffers[index * STRIDE..];
        &buffer[..len.min(MESSAGE_LEN_MAX)]
    }
}

/// Ancillary data: a header of 16 bytes (length, level, type), the value, padding to 8.
fn read_control(mut control: &[u8], message: &mut Message) {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    while let Some((header, _)) = control.split_first_chunk::<HEADER>() {
        let word = |at: usize| {
            let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            i32::from_ne_bytes(bytes)
        };
        let len = header
            .first_chunk()
            .map_or(0, |len| usize::from_ne_bytes(*len));
        let Some(value) = control.get(HEADER..len) else {
            return;
        };
        let number = match *value {
            [byte] => i32::from(byte),
            [a, b, c, d, ..] => i32::from_ne_bytes([a, b, c, d]),
            _ => 0,
        };
        match (word(8), word(12)) {
            (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                message.tos = number as u8;
            }
            (libc::SOL_UDP, libc::UDP_GRO) if number > 0 => message.datagram_len = number as usize,
            _ => {}
        }
        control = control.get(len.next_multiple_of(8)..).unwrap_or(&[]);
    }
}

#[expect(
    unsafe_code,
    reason = "the kernel's address structures share one place"
)]
fn source(name: &libc::sockaddr_storage) -> Option<IpAddr> {
    let at = std::ptr::from_ref(name);
    match i32::from(name.ss_family) {
        // SAFETY: the kernel filled in a structure of the family that it named, and the place is large and aligned
        // enough for either.
        libc::AF_INET => {
            let name = unsafe { *at.cast::<libc::sockaddr_in>() };
            Some(Ipv4Addr::from_bits(u32::from_be(name.sin_addr.s_addr)).into())
        }
        // SAFETY: as above.
        libc::AF_INET6 => {
            let name = unsafe { *at.cast::<libc::sockaddr_in6>() };
            Some(Ipv6Addr::from(name.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}
