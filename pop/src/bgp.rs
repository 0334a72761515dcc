//! BGP-4 (RFC 4271): how a POP tells its routers which VIPs it takes, and hears routes from them.
//!
//! [`Session`] is one peering as a pure state machine: time, TCP events and bytes in; bytes, events and a deadline
//! out. [`speaker::run`] drives one over a [`Host`](anyedge_net::host::Host). What is wanted is a set of
//! [`Offer`]s: the session sends the difference between it and what the peer has been told.
//!
//! The values in messages are read and written by `netgauze-bgp-pkt`; lengths, the boundaries of attributes, NLRI
//! and errors are judged here, since RFC 7606 needs to know exactly what is wrong with which part.

pub mod adj_rib_in;
pub mod attributes;
pub mod notification;
pub mod offer;
pub mod open;
pub mod session;
pub mod speaker;

mod advertise;
mod frame;
mod nlri;
mod update;

pub use adj_rib_in::AdjRibIn;
pub use attributes::Attributes;
pub use ipnet::IpNet;
pub use notification::{Code, Notification};
pub use offer::{GRACEFUL_SHUTDOWN, Offer};
pub use session::{Config, Event, Output, Session, Side, State};

use ipnet::{Ipv4Net, Ipv6Net};
use netgauze_iana::address_family::AddressType;

/// A family of unicast routes (RFC 4760: AFI 1 or 2, SAFI 1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// IPv4 unicast.
    V4,
    /// IPv6 unicast.
    V6,
}

impl Family {
    /// Both of them.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    /// The family of a prefix.
    pub const fn of(prefix: &IpNet) -> Family {
        match prefix {
            IpNet::V4(_) => Family::V4,
            IpNet::V6(_) => Family::V6,
        }
    }

    /// The family of an AFI and SAFI, when it is one of ours.
    pub(crate) const fn from_wire(afi: u16, safi: u8) -> Option<Family> {
        match (afi, safi) {
            (1, 1) => Some(Family::V4),
            (2, 1) => Some(Family::V6),
            _ => None,
        }
    }

    /// Its AFI.
    pub(crate) const fn afi(self) -> u16 {
        match self {
            Family::V4 => 1,
            Family::V6 => 2,
        }
    }

    /// The longest prefix it has.
    pub(crate) const fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    pub(crate) const fn address_type(self) -> AddressType {
        match self {
            Family::V4 => AddressType::Ipv4Unicast,
            Family::V6 => AddressType::Ipv6Unicast,
        }
    }

    pub(crate) fn of_address_type(address_type: AddressType) -> Option<Family> {
        Family::ALL
            .into_iter()
            .find(|family| family.address_type() == address_type)
    }
}

/// The prefix of `length` bits that starts with `bytes`, its other bits zero; `None` when it is too long.
pub(crate) fn prefix(family: Family, bytes: &[u8], length: u8) -> Option<IpNet> {
    let mut address = [0u8; 16];
    address.get_mut(..bytes.len())?.copy_from_slice(bytes);
    let net = match family {
        Family::V4 => {
            let [a, b, c, d, ..] = address;
            IpNet::V4(Ipv4Net::new([a, b, c, d].into(), length).ok()?)
        }
        Family::V6 => IpNet::V6(Ipv6Net::new(address.into(), length).ok()?),
    };
    Some(net.trunc())
}
