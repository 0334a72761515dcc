//! Offloads of an interface: what its driver takes off the kernel's hands, and on a veth nobody then does.
//!
//! Packets that a kernel sends by a veth may be larger than its MTU and without checksums, since the other kernel would
//! not mind. Who looks at the frames in between would. Reference: ethtool's ioctl, SIOCETHTOOL.

use std::io;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use nix::libc;
use socket2::{Domain, Socket, Type};

/// ETHTOOL_STXCSUM: checksums of what is sent; without them go segmentation and scattered buffers too.
const SET_TX_CHECKSUMS: u32 = 0x17;

/// ethtool's way to say one number.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Has every packet that `interface` of the calling thread's namespace sends be a real one: of its MTU at most, with its
/// checksums.
///
/// # Errors
/// When there is no such interface, or it does not let itself be told.
pub fn turn_off(interface: &str) -> Result<()> {
    set(interface, SET_TX_CHECKSUMS, 0)
        .with_context(|| format!("cannot turn the offloads of {interface} off"))
}

#[expect(unsafe_code, reason = "no safe crate changes an interface's features")]
fn set(interface: &str, command: u32, data: u32) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    let mut value = Value { command, data };
    let mut name = [0; libc::IFNAMSIZ];
    if interface.len() >= name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (place, byte) in name.iter_mut().zip(interface.bytes()) {
        *place = byte.cast_signed();
    }
    let mut request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_data: std::ptr::from_mut(&mut value).cast(),
        },
    };
    // SAFETY: the descriptor is open, and the request and the value that it points to live for the whole call, which
    // reads no more than the two words that the command has.
    let code = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCETHTOOL,
            std::ptr::from_mut(&mut request),
        )
    };
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
