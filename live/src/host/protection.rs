//! What protects a TCP session with one neighbour: a key that signs every segment, and packets that have crossed no
//! router.
//!
//! TCP MD5 (RFC 2385) is the kernel's: a segment without the right signature never reaches the socket. GTSM (RFC 5082)
//! sends with a TTL of 255 and takes nothing below it, which nobody farther than one hop can forge. TCP-AO (RFC 5925)
//! is not there: the kernels that we run on are built without it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::libc;
use socket2::Socket;

/// The TTL that no forwarded packet has any more.
const TTL: u32 = 255;
/// `struct sockaddr_storage`.
const ADDRESS_BYTES: usize = 128;
/// The address, flags and lengths, the interface, and the key.
const OPTION_BYTES: usize = ADDRESS_BYTES + 8 + Protection::KEY_BYTES_MAX;

/// What is asked of a connection to one neighbour.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Protection {
    /// The key of TCP MD5, at most [`Protection::KEY_BYTES_MAX`] bytes.
    pub md5: Option<String>,
    /// Whether packets that crossed a router are refused.
    pub gtsm: bool,
}

impl Protection {
    /// The longest key that the kernel takes.
    pub const KEY_BYTES_MAX: usize = 80;

    /// Puts it on a socket that is not connected yet.
    ///
    /// # Errors
    /// When the kernel has it not, or the key is too long.
    pub(super) fn put_on(&self, socket: &Socket, peer: SocketAddr) -> io::Result<()> {
        if self.gtsm {
            if peer.is_ipv4() {
                socket.set_ttl_v4(TTL)?;
                set(socket, libc::IPPROTO_IP, libc::IP_MINTTL, &TTL)?;
            } else {
                socket.set_unicast_hops_v6(TTL)?;
                set(socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, &TTL)?;
            }
        }
        let Some(key) = &self.md5 else {
            return Ok(());
        };
        if key.len() > Self::KEY_BYTES_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let signed = md5_option(key.as_bytes(), peer);
        set(socket, libc::IPPROTO_TCP, libc::TCP_MD5SIG, &signed)
    }
}

/// The option that signs segments to and from `peer`: `struct tcp_md5sig` of linux/tcp.h, byte by byte.
fn md5_option(key: &[u8], peer: SocketAddr) -> [u8; OPTION_BYTES] {
    let mut option = [0; OPTION_BYTES];
    let mut put = |at: usize, bytes: &[u8]| option[at..at + bytes.len()].copy_from_slice(bytes);
    // The peer's address without its port, as `struct sockaddr_in` or `sockaddr_in6`.
    match peer.ip() {
        IpAddr::V4(ip) => {
            put(0, &(libc::AF_INET as u16).to_ne_bytes());
            put(4, &ip.octets());
        }
        IpAddr::V6(ip) => {
            put(0, &(libc::AF_INET6 as u16).to_ne_bytes());
            put(8, &ip.octets());
        }
    }
    let length = u16::try_from(key.len()).expect("it was compared with the longest");
    put(ADDRESS_BYTES + 2, &length.to_ne_bytes());
    put(ADDRESS_BYTES + 8, key);
    option
}

#[expect(unsafe_code, reason = "std and socket2 have no such options")]
fn set<T>(socket: &Socket, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).expect("options are small");
    // SAFETY: the pointer and the length are those of `value`, which outlives the call.
    let done = unsafe {
        let value: *const T = value;
        libc::setsockopt(socket.as_raw_fd(), level, name, value.cast(), length)
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
