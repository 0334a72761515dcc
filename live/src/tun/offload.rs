//! Opening a TUN device with offload: super-packets and unfinished checksums in both directions.
//!
//! Two requests of the kernel's, which no crate that is here makes: tun-tap knows no header, and tun-rs brings a netlink
//! stack of its own to read and write by functions that copy every segment. UDP's segments are asked for where
//! the kernel has them (Linux 6.2). Reference: Linux `Documentation/networking/tuntap.rst`, `linux/if_tun.h`.

use std::fs::{File, OpenOptions};
use std::io::Result as IoResult;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::libc;

use crate::netlink::INTERFACE_LEN_MAX;

/// A device, and whether it also takes super-packets of UDP.
pub(super) struct Offload {
    pub(super) fd: OwnedFd,
    pub(super) udp: bool,
}

/// Opens the device `name`, or one queue more of it where it has `many`: non-blocking, with [`super::vnet`]'s header in
/// front of every packet. The kernel hands a flow's packets to one queue, the one by which its answers are written.
pub(super) fn open(name: &str, many: bool) -> IoResult<Offload> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")?;
    attach(&file, name, many)?;
    let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
    let udp = libc::TUN_F_USO4 | libc::TUN_F_USO6;
    let udp = match ask_for(&file, tcp | udp) {
        Ok(()) => true,
        Err(_) => {
            ask_for(&file, tcp)?;
            false
        }
    };
    Ok(Offload {
        fd: file.into(),
        udp,
    })
}

#[expect(unsafe_code, reason = "no safe crate makes this request")]
fn attach(file: &File, name: &str, many: bool) -> IoResult<()> {
    assert!(name.len() <= INTERFACE_LEN_MAX, "the caller has looked");
    // SAFETY: a plain structure of the kernel's, for which all zeros is valid.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (into, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *into = byte as libc::c_char;
    }
    let queues = if many { libc::IFF_MULTI_QUEUE } else { 0 };
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR | queues;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: the descriptor is open for the call, and the request is a whole structure whose name ends with a zero.
    let code = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    Errno::result(code)?;
    Ok(())
}

#[expect(unsafe_code, reason = "no safe crate makes this request")]
fn ask_for(file: &File, features: libc::c_uint) -> IoResult<()> {
    let features = libc::c_ulong::from(features);
    // SAFETY: the descriptor is open for the call; the request takes a number.
    let code = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD, features) };
    Errno::result(code)?;
    Ok(())
}
