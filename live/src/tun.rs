//! A plain TUN device in the namespace of the thread that opens it: IP packets in and out, one per call.
//!
//! Opened without packet information and without offloads, so the kernel hands over whole packets with finished
//! checksums, none larger than the MTU. Never blocks: an empty queue is `None`, a full one is `false`. The device
//! goes when it is dropped.

use std::io::{ErrorKind, Result as IoResult};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use anyhow::{Context, Result};
use tun_tap::{Iface, Mode};

use crate::netlink::{INTERFACE_LEN_MAX, Netlink, Route, set_sysctl};
use crate::prefix::Prefix;

/// How a device shall be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunPlan {
    /// Interface name, at most 15 bytes.
    pub interface: String,
    /// The largest packet in bytes, 1,280 or more where IPv6 is used.
    pub mtu: u32,
    /// Addresses that the kernel shall hold as its own on this device.
    pub addresses: Vec<Prefix>,
    /// Destinations whose packets the kernel shall hand to the device.
    pub routes: Vec<Prefix>,
}

/// An open device.
#[derive(Debug)]
pub struct Tun {
    device: Iface,
}

impl Tun {
    /// Opens the device in the calling thread's namespace, gives it addresses and MTU, brings it up and routes to it.
    /// Must not be called from an async task.
    pub fn open(plan: &TunPlan) -> Result<Self> {
        let name = &plan.interface;
        anyhow::ensure!(
            !name.is_empty() && name.len() <= INTERFACE_LEN_MAX,
            "an interface name has 1 to {INTERFACE_LEN_MAX} bytes: `{name}`"
        );
        let device = Iface::without_packet_info(name, Mode::Tun).with_context(|| {
            format!("cannot open the TUN device {name} (this needs root and /dev/net/tun)")
        })?;
        device
            .set_non_blocking()
            .with_context(|| format!("cannot make {name} non-blocking"))?;
        let netlink = Netlink::open()?;
        // Packets with any source come out of a forwarder: none is a martian.
        set_sysctl(&format!("ipv4/conf/{name}/rp_filter"), "0")?;
        // No link-local address, hence no solicitations of the kernel's own among the packets.
        set_sysctl(&format!("ipv6/conf/{name}/addr_gen_mode"), "1")?;
        netlink.set_mtu(name, plan.mtu)?;
        for address in &plan.addresses {
            netlink.add_address(name, *address)?;
        }
        netlink.set_up(name)?;
        plan.addresses
            .iter()
            .try_for_each(|address| netlink.await_address(*address))?;
        for destination in &plan.routes {
            netlink.add_route(&Route {
                destination: *destination,
                via: None,
                interface: Some(name.clone()),
                source: None,
            })?;
        }
        Ok(Self { device })
    }

    /// The next packet's length, its bytes at the front of `buffer`; `None` when none waits. A packet longer than
    /// `buffer` is cut, so the buffer must hold the MTU.
    pub fn recv(&self, buffer: &mut [u8]) -> IoResult<Option<usize>> {
        match self.device.recv(buffer) {
            Ok(len) => Ok(Some(len)),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Hands one packet to the kernel; `false` when it has no room. A packet that is neither IPv4 nor IPv6 is an error.
    pub fn send(&self, packet: &[u8]) -> IoResult<bool> {
        match self.device.send(packet) {
            Ok(_) => Ok(true),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(false)
            }
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The interface's name.
    pub fn interface(&self) -> &str {
        self.device.name()
    }
}

impl AsFd for Tun {
    #[expect(unsafe_code, reason = "the device's crate is older than AsFd")]
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the device owns the descriptor and lives as long as the borrow of `self`.
        unsafe { BorrowedFd::borrow_raw(self.device.as_raw_fd()) }
    }
}

/// The prefixes that lead one address each to a device.
pub fn host_routes(addresses: impl IntoIterator<Item = IpAddr>) -> Vec<Prefix> {
    addresses.into_iter().map(Prefix::host).collect()
}
