//! Links, addresses, routes and sysctls of the namespace that the calling thread is in.
//!
//! A netlink socket belongs for ever to the namespace it was opened in, so a [`Netlink`] is opened on a thread that
//! has entered its namespace ([`crate::netns::Namespace::run`]). Calls block, each for at most [`REPLY_MAX`]. They
//! drive a small runtime of their own and must not be made from an async task.
//!
//! Reference: rtnetlink(7).

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteType};
use nix::net::if_::{if_indextoname, if_nametoindex};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};
use tokio::runtime::Runtime;

use crate::netns::Namespace;
use crate::prefix::Prefix;

/// The longest wait for the kernel's answer to one request.
pub const REPLY_MAX: Duration = Duration::from_secs(2);
/// How often an address that is not usable yet is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// The longest interface name, in bytes (IFNAMSIZ less the terminating zero).
pub const INTERFACE_LEN_MAX: usize = 15;

/// One end of a wire: an interface of this name in that namespace.
#[derive(Clone, Copy, Debug)]
pub struct WireEnd<'a> {
    /// Where the end shall be.
    pub namespace: &'a Namespace,
    /// Its name there, at most [`INTERFACE_LEN_MAX`] bytes.
    pub interface: &'a str,
}

/// A static route: through a gateway, out of an interface, or through a gateway on that interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub destination: Prefix,
    /// Through which gateway, on a connected network.
    pub via: Option<IpAddr>,
    /// Out of which interface.
    pub interface: Option<String>,
    /// The node's own address that its packets have where nothing else says so; `None` lets the kernel choose.
    pub source: Option<IpAddr>,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route to {}", self.destination)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        if let Some(interface) = &self.interface {
            write!(f, " dev {interface}")?;
        }
        Ok(())
    }
}

/// A conversation with the kernel about one namespace.
#[derive(Debug)]
pub struct Netlink {
    runtime: Runtime,
    handle: Handle,
}

impl Netlink {
    /// Opens a socket in the calling thread's namespace.
    pub fn open() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start a runtime for netlink")?;
        let (connection, handle, _) = {
            let _inside = runtime.enter();
            rtnetlink::new_connection().context("cannot open a netlink socket")?
        };
        runtime.spawn(connection);
        Ok(Self { runtime, handle })
    }

    /// Makes a veth pair with its ends in the two namespaces from the start, so that names never meet elsewhere.
    pub fn add_wire(&self, near: WireEnd<'_>, far: WireEnd<'_>, mtu: u32) -> Result<()> {
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(checked_interface(far.interface)?)
            .mtu(mtu)
            .setns_by_fd(far.namespace.handle().as_raw_fd())
            .build();
        let pair = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Veth)
            .name(checked_interface(near.interface)?)
            .mtu(mtu)
            .setns_by_fd(near.namespace.handle().as_raw_fd())
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build();
        self.ask(self.handle.link().add(pair).execute())
            .with_context(|| {
                let (near_name, far_name) = (near.namespace.name(), far.namespace.name());
                format!(
                    "cannot lay a wire from {} in {near_name} to {} in {far_name}",
                    near.interface, far.interface
                )
            })
    }

    /// Brings an interface up.
    pub fn set_up(&self, interface: &str) -> Result<()> {
        let link = LinkMessageBuilder::<LinkUnspec>::new()
            .index(index_of(interface)?)
            .up()
            .build();
        self.ask(self.handle.link().set(link).execute())
            .with_context(|| format!("cannot bring {interface} up"))
    }

    /// Takes an interface down: the kernel forgets its routes and its IPv6 addresses.
    pub fn set_down(&self, interface: &str) -> Result<()> {
        let link = LinkMessageBuilder::<LinkUnspec>::new()
            .index(index_of(interface)?)
            .down()
            .build();
        self.ask(self.handle.link().set(link).execute())
            .with_context(|| format!("cannot take {interface} down"))
    }

    /// Sets the largest packet that an interface takes, in bytes.
    pub fn set_mtu(&self, interface: &str, mtu: u32) -> Result<()> {
        let link = LinkMessageBuilder::<LinkUnspec>::new()
            .index(index_of(interface)?)
            .mtu(mtu)
            .build();
        self.ask(self.handle.link().set(link).execute())
            .with_context(|| format!("cannot set {interface} to MTU {mtu}"))
    }

    /// Sets how many packets may wait for an interface.
    pub fn set_queue_len(&self, interface: &str, packets: u32) -> Result<()> {
        let link = LinkMessageBuilder::<LinkUnspec>::new()
            .index(index_of(interface)?)
            .append_extra_attribute(LinkAttribute::TxQueueLen(packets))
            .build();
        self.ask(self.handle.link().set(link).execute())
            .with_context(|| format!("cannot have {packets} packets wait for {interface}"))
    }

    /// Gives an interface an address, without duplicate detection. An IPv6 address takes packets a moment after its
    /// interface came up: see [`Netlink::await_address`].
    pub fn add_address(&self, interface: &str, address: Prefix) -> Result<()> {
        let mut request =
            self.handle
                .address()
                .add(index_of(interface)?, address.ip(), address.len());
        if address.ip().is_ipv6() {
            let message = request.message_mut();
            message.header.flags |= AddressHeaderFlags::Nodad;
            message
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        self.ask(request.execute())
            .with_context(|| format!("cannot give {interface} the address {address}"))
    }

    /// Waits until packets to an IPv6 address of this namespace are taken in. The kernel adds that route from a work
    /// queue, also for an address without duplicate detection, some time after its interface came up; until then it
    /// would drop them. IPv4 addresses need no wait.
    pub fn await_address(&self, address: Prefix) -> Result<()> {
        let IpAddr::V6(ip) = address.ip() else {
            return Ok(());
        };
        let started = Instant::now();
        loop {
            let question = RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(ip, 128)
                .build();
            let mut answers = Box::pin(self.handle.route().get(question).execute());
            let mut kind = None;
            self.ask(async {
                // Where there is no way at all yet, the answer is an error.
                kind = answers
                    .next()
                    .await
                    .and_then(Result::ok)
                    .map(|route| route.header.kind);
                Ok(())
            })?;
            if kind == Some(RouteType::Local) {
                return Ok(());
            }
            if started.elapsed() > REPLY_MAX {
                bail!("the address {ip} did not become usable within {REPLY_MAX:?}");
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The interface by which packets to `to` leave; `None` where they leave by none.
    pub fn way_out(&self, to: IpAddr) -> Result<Option<String>> {
        let message = match to {
            IpAddr::V4(ip) => RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(ip, 32)
                .build(),
            IpAddr::V6(ip) => RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(ip, 128)
                .build(),
        };
        let mut answers = Box::pin(self.handle.route().get(message).execute());
        let mut found = None;
        self.ask(async {
            // Where there is no way, the answer is an error.
            found = answers.next().await.and_then(Result::ok);
            Ok(())
        })?;
        let Some(route) = found.filter(|route| route.header.kind == RouteType::Unicast) else {
            return Ok(None);
        };
        let index = route
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                RouteAttribute::Oif(index) => Some(*index),
                _ => None,
            });
        let name = index.and_then(|index| if_indextoname(index).ok());
        Ok(name.and_then(|name| name.into_string().ok()))
    }

    /// Adds a static route.
    pub fn add_route(&self, route: &Route) -> Result<()> {
        let message = route_message(route).with_context(|| format!("cannot add the {route}"))?;
        let added = self.ask(self.handle.route().add(message).execute());
        added.with_context(|| format!("cannot add the {route}"))
    }

    /// Removes a static route.
    pub fn remove_route(&self, route: &Route) -> Result<()> {
        let message = route_message(route).with_context(|| format!("cannot remove the {route}"))?;
        let removed = self.ask(self.handle.route().del(message).execute());
        removed.with_context(|| format!("cannot remove the {route}"))
    }

    fn ask(&self, request: impl Future<Output = Result<(), rtnetlink::Error>>) -> Result<()> {
        let bounded = async { tokio::time::timeout(REPLY_MAX, request).await };
        match self.runtime.block_on(bounded) {
            Ok(reply) => reply.map_err(anyhow::Error::from),
            Err(_) => bail!("the kernel did not answer within {REPLY_MAX:?}"),
        }
    }
}

/// Writes a `net` sysctl of the calling thread's namespace, such as `ipv4/ip_forward`.
pub fn set_sysctl(key: &str, value: &str) -> Result<()> {
    fs::write(format!("/proc/sys/net/{key}"), value)
        .with_context(|| format!("cannot set sysctl net/{key} to {value}"))
}

/// The kernel's number of an interface in the calling thread's namespace.
fn index_of(interface: &str) -> Result<u32> {
    if_nametoindex(interface).with_context(|| format!("there is no interface `{interface}`"))
}

fn checked_interface(name: &str) -> Result<String> {
    if name.is_empty() || name.len() > INTERFACE_LEN_MAX {
        bail!(
            "an interface name has 1 to {INTERFACE_LEN_MAX} bytes, `{name}` has {}",
            name.len()
        );
    }
    Ok(name.to_owned())
}

fn route_message(route: &Route) -> Result<RouteMessage> {
    let index = route.interface.as_deref().map(index_of).transpose()?;
    if route.via.is_none() && index.is_none() {
        bail!("a route needs a gateway or an interface");
    }
    let to = route.destination.network();
    let mut message = match to.ip() {
        IpAddr::V4(ip) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(ip, to.len())
            .build(),
        IpAddr::V6(ip) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(ip, to.len())
            .build(),
    };
    let given = [route.via, route.source];
    if let Some(other) = given
        .iter()
        .flatten()
        .find(|ip| ip.is_ipv4() != to.ip().is_ipv4())
    {
        bail!("{other} is of the other address family");
    }
    let attributes = &mut message.attributes;
    attributes.extend(route.via.map(|via| RouteAttribute::Gateway(via.into())));
    attributes.extend(
        route
            .source
            .map(|source| RouteAttribute::PrefSource(source.into())),
    );
    attributes.extend(index.map(RouteAttribute::Oif));
    Ok(message)
}
