//! The SYN that opened a connection, which the kernel keeps for who asks: where a TOA option is found.
//!
//! `TCP_SAVE_SYN` on a listener keeps the headers of each SYN, some 60 bytes, until they are fetched once from the
//! connection or it is closed. A socket shows no options otherwise. Reference: tcp(7) of Linux 4.2.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use anyedge_net::wire::{self, toa};
use nix::libc;
use socket2::Socket;

/// IPv6 with some extension headers, and all options of TCP.
const HEADERS_MAX: usize = 256;

/// Has the kernel keep the SYNs of a listener's connections; one that cannot is left alone.
#[expect(unsafe_code, reason = "socket2 has no such option")]
pub(super) fn keep(listener: &Socket) {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).expect("options are small");
    // SAFETY: the pointer and the length are those of `on`, which outlives the call.
    let done = unsafe {
        let value = (&raw const on).cast();
        let level = libc::IPPROTO_TCP;
        libc::setsockopt(
            listener.as_raw_fd(),
            level,
            libc::TCP_SAVE_SYN,
            value,
            length,
        )
    };
    if done != 0 {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "the kernel keeps no SYNs, so TOA is not seen");
    }
}

/// The client that the SYN of an accepted connection told of. The kernel gives the SYN once.
#[expect(unsafe_code, reason = "socket2 has no such option")]
pub(super) fn toa(stream: &tokio::net::TcpStream) -> Option<SocketAddr> {
    let mut headers = [MaybeUninit::<u8>::uninit(); HEADERS_MAX];
    let mut length = libc::socklen_t::try_from(HEADERS_MAX).expect("headers are small");
    // SAFETY: the pointer and the length are those of `headers`, which outlives the call.
    let done = unsafe {
        let value = headers.as_mut_ptr().cast();
        let level = libc::IPPROTO_TCP;
        libc::getsockopt(
            stream.as_raw_fd(),
            level,
            libc::TCP_SAVED_SYN,
            value,
            &raw mut length,
        )
    };
    let written = headers.get(..usize::try_from(length).ok()?)?;
    if done != 0 || written.is_empty() {
        return None;
    }
    // SAFETY: the kernel wrote as many bytes as it says.
    let headers =
        unsafe { std::slice::from_raw_parts(written.as_ptr().cast::<u8>(), written.len()) };
    client_in(headers)
}

/// The client that the headers of a SYN tell of. Their lengths may speak of data that was not kept.
fn client_in(headers: &[u8]) -> Option<SocketAddr> {
    let parsed = wire::parse(headers).ok()?;
    toa::read(headers, &parsed)
}
