//! A TUN device in the namespace of the thread that opens it: IP packets in and out, one per call.
//!
//! With offload (`IFF_VNET_HDR`) a packet may be a super-packet of up to 64 KB, and checksums may be left to
//! the other side: [`vnet`] is the header that says so. The plain driver (tun-tap) hands over whole packets with
//! finished checksums, none larger than the MTU; it is also what is used where the kernel refuses offload. Either takes
//! any packet: what it cannot carry as it is goes out segment by segment.
//!
//! Of a device with several queues each is one of these. Never blocks: an empty queue is `None`, a full one is `false`. The device goes
//! when the last of them is dropped.

mod offload;
pub mod vnet;

use std::io::{Error, ErrorKind, IoSlice, Result as IoResult};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use anyedge_net::packet::{HEADROOM, LARGE_SLOT, Meta, Offload, Packet, Pool, SMALL_SLOT};
use anyedge_net::wire::segments::Segments;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::uio::writev;
use tun_tap::{Iface, Mode};

use crate::dataplane::pieces;
use crate::netlink::{INTERFACE_LEN_MAX, Netlink, Route, set_sysctl};
use crate::prefix::Prefix;

/// What an ordinary slot holds.
const SMALL: usize = SMALL_SLOT - HEADROOM;
/// What a slot for super-packets holds.
const LARGE: usize = LARGE_SLOT - HEADROOM;

/// Packets that the kernel keeps for us while we are busy. With 1,000, as many as for a network card, four connections of
/// plain 1,500-byte packets lost 2 to 10 % of them here.
const WAITING_MAX: u32 = 2_000;

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
    /// Super-packets and unfinished checksums, where the kernel can.
    pub offload: bool,
}

/// An open device, or one queue of it.
#[derive(Debug)]
pub struct Tun {
    interface: String,
    device: Device,
    /// The last packet was a super-packet, so the next may be one.
    large: bool,
    /// Room for any packet, with what the device says about it.
    scratch: Box<[u8]>,
}

enum Device {
    Plain(Iface),
    Offload(offload::Offload),
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "plain",
            Self::Offload(_) => "offload",
        })
    }
}

impl Device {
    /// Bytes in front of each packet.
    fn header_len(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Offload(_) => vnet::HEADER_LEN,
        }
    }

    fn plain(name: &str) -> Result<Device> {
        let device = Iface::without_packet_info(name, Mode::Tun).with_context(|| {
            format!("cannot open the TUN device {name} (this needs root and /dev/net/tun)")
        })?;
        device
            .set_non_blocking()
            .with_context(|| format!("cannot make {name} non-blocking"))?;
        Ok(Device::Plain(device))
    }
}

impl AsFd for Device {
    #[expect(unsafe_code, reason = "the device's crate is older than AsFd")]
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            // SAFETY: the device owns the descriptor and lives as long as the borrow of `self`.
            Self::Plain(device) => unsafe { BorrowedFd::borrow_raw(device.as_raw_fd()) },
            Self::Offload(device) => device.fd.as_fd(),
        }
    }
}

impl Tun {
    /// Opens the device in the calling thread's namespace, gives it addresses and MTU, brings it up and routes to it.
    /// Must not be called from an async task.
    pub fn open(plan: &TunPlan) -> Result<Self> {
        let mut queues = Self::open_queues(plan, 1)?;
        Ok(queues.pop().expect("a device has a queue"))
    }

    /// The same with several queues, each for a thread of its own; a flow's packets come by one of them. There is one
    /// alone where the kernel gives no offload.
    pub fn open_queues(plan: &TunPlan, count: usize) -> Result<Vec<Self>> {
        let name = &plan.interface;
        let many = count > 1;
        anyhow::ensure!(
            !name.is_empty() && name.len() <= INTERFACE_LEN_MAX,
            "an interface name has 1 to {INTERFACE_LEN_MAX} bytes: `{name}`"
        );
        let offload = plan.offload.then(|| offload::open(name, many));
        let mut devices = vec![match offload {
            Some(Ok(device)) => Device::Offload(device),
            Some(Err(error)) => {
                tracing::warn!(%error, "no offload on {name}: every packet goes by itself");
                Device::plain(name)?
            }
            None => Device::plain(name)?,
        }];
        while devices.len() < count && matches!(devices[0], Device::Offload(_)) {
            let queue = offload::open(name, many);
            let queue = queue.with_context(|| format!("cannot open another queue of {name}"))?;
            devices.push(Device::Offload(queue));
        }
        let netlink = Netlink::open()?;
        // Packets with any source come out of a forwarder: none is a martian.
        set_sysctl(&format!("ipv4/conf/{name}/rp_filter"), "0")?;
        // No link-local address, hence no solicitations of the kernel's own among the packets.
        set_sysctl(&format!("ipv6/conf/{name}/addr_gen_mode"), "1")?;
        netlink.set_mtu(name, plan.mtu)?;
        netlink.set_queue_len(name, WAITING_MAX)?;
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
        let queue = |device| Self {
            interface: name.clone(),
            device,
            large: false,
            scratch: vec![0; LARGE].into_boxed_slice(),
        };
        Ok(devices.into_iter().map(queue).collect())
    }

    /// The next packet, in a slot of `pool`; `None` when none waits, or no slot is free. One that is no IP packet of
    /// the kernel's making comes empty.
    ///
    /// Behind a super-packet the next is read to where it shall be. Any other goes by way of memory that has room for whatever
    /// comes: its copy costs less than the kernel takes for a vector of several places.
    pub fn recv(&mut self, pool: &mut Pool, meta: Meta) -> IoResult<Option<Packet>> {
        let headers = self.device.header_len();
        let room = if self.large { LARGE } else { SMALL };
        let Some(mut packet) = pool.lend(room, meta) else {
            return Ok(None);
        };
        let into = if self.large {
            packet.bytes_mut()
        } else {
            &mut self.scratch[..]
        };
        let len = match read(&self.device, into) {
            Ok(Some(len)) if len >= headers => len - headers,
            nothing => {
                pool.take_back(packet);
                return nothing.map(|_| None);
            }
        };
        let mut header = vnet::Header::default();
        header[..headers].copy_from_slice(&into[..headers]);
        if self.large {
            packet.pop_front(headers);
        } else {
            if len > SMALL {
                pool.take_back(packet);
                let longer = pool.lend(len, meta);
                packet = longer.expect("the slot that came back is free");
            }
            let read = &self.scratch[headers..headers + len];
            packet.bytes_mut()[..len].copy_from_slice(read);
        }
        packet.truncate(len);
        self.large = len > SMALL;
        match vnet::read(header, packet.bytes_mut()) {
            Some(offload) => packet.meta.offload = offload,
            None => packet.truncate(0),
        }
        Ok(Some(packet))
    }

    /// Hands one packet to the kernel; `false` when it has no room. A packet that is neither IPv4 nor IPv6 is an error.
    pub fn send(&mut self, packet: &mut Packet) -> IoResult<bool> {
        let offload = packet.meta.offload;
        let segments = match offload {
            Offload::NONE => None,
            _ => Segments::of(packet.bytes(), offload),
        };
        match (&self.device, segments) {
            (Device::Offload(device), Some(segments))
                if segments.is_tcp() || segments.count() == 1 || device.udp =>
            {
                let header = vnet::write(&segments, packet.bytes_mut());
                write_whole(&self.device, &header, packet)
            }
            (_, Some(_)) => {
                let (device, scratch) = (&self.device, &mut self.scratch);
                let mut all = Ok(true);
                pieces::each(packet, 0, scratch, |piece| {
                    if matches!(all, Ok(true)) {
                        all = write(device, &vnet::Header::default(), piece);
                    }
                });
                all
            }
            (_, None) => write_whole(&self.device, &vnet::Header::default(), packet),
        }
    }

    /// Whether the kernel gives and takes super-packets here.
    pub fn has_offload(&self) -> bool {
        matches!(self.device, Device::Offload(_))
    }

    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.interface
    }
}

/// Reads one packet, what the device says about it in front; how many bytes that is, if there is one.
fn read(device: &Device, into: &mut [u8]) -> IoResult<Option<usize>> {
    match nix::unistd::read(device, into) {
        Ok(len) => Ok(Some(len)),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes one packet; a device with offload wants `header` in front of it, for which there mostly is room.
fn write_whole(device: &Device, header: &vnet::Header, packet: &mut Packet) -> IoResult<bool> {
    match (device, packet.push_front(device.header_len())) {
        (Device::Offload(_), Some(front)) => {
            front.copy_from_slice(header);
            let written = nix::unistd::write(device, packet.bytes());
            packet.pop_front(header.len());
            taken(written)
        }
        _ => write(device, header, packet.bytes()),
    }
}

/// The same of bytes that have no room in front.
fn write(device: &Device, header: &vnet::Header, packet: &[u8]) -> IoResult<bool> {
    taken(match device {
        Device::Plain(_) => nix::unistd::write(device, packet),
        Device::Offload(_) => {
            let parts = [IoSlice::new(header), IoSlice::new(packet)];
            writev(device, &parts)
        }
    })
}

/// Whether the kernel took what was written.
fn taken(written: Result<usize, Errno>) -> IoResult<bool> {
    match written {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EINTR | Errno::ENOBUFS) => Ok(false),
        Err(Errno::EINVAL) => Err(Error::from(ErrorKind::InvalidInput)),
        Err(error) => Err(error.into()),
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// The prefixes that lead one address each to a device.
pub fn host_routes(addresses: impl IntoIterator<Item = IpAddr>) -> Vec<Prefix> {
    addresses.into_iter().map(Prefix::host).collect()
}
