//! The CCN's own objects: what is attached to it, and the routes that it learns.

use core::fmt;

use anyedge_net::flow::{Address, Family};

/// A range of addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Network {
    /// Its first address.
    pub address: Address,
    /// Bits that all its addresses have in common.
    pub length: u32,
}

impl Network {
    /// Bits of an address of its family.
    const fn bits(&self) -> u32 {
        match self.address.family() {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    /// The address as a number, in the upper bits.
    fn number(address: &Address) -> u128 {
        let octets = address.octets();
        let mut bytes = [0; 16];
        bytes[..octets.len()].copy_from_slice(octets);
        u128::from_be_bytes(bytes)
    }

    fn mask(&self) -> u128 {
        u128::MAX
            .checked_shl(128 - self.length.min(128))
            .unwrap_or(0)
    }

    /// Whether the length fits the family, and the address is the first one.
    pub fn is_valid(&self) -> bool {
        self.length <= self.bits() && Self::number(&self.address) & !self.mask() == 0
    }

    /// Whether the address is in it.
    pub fn contains(&self, address: &Address) -> bool {
        address.family() == self.address.family()
            && (Self::number(address) ^ Self::number(&self.address)) & self.mask() == 0
    }

    /// Whether any address is in both.
    pub fn overlaps(&self, other: &Network) -> bool {
        self.contains(&other.address) || other.contains(&self.address)
    }

    /// Its addresses that a VIP may have, from the first on: not the network's own and, in IPv4, not the
    /// broadcast address.
    pub fn usable(&self) -> impl Iterator<Item = Address> {
        let free = self.bits() - self.length.min(self.bits());
        let count = 1_u128.checked_shl(free).unwrap_or(u128::MAX);
        let (first, last) = match (free, self.address.family()) {
            (0, _) => (0, 1),
            (_, Family::V4) => (1, count - 1),
            (_, Family::V6) => (1, count),
        };
        let (base, family) = (Self::number(&self.address), self.address.family());
        (first..last).map(move |offset| match family {
            Family::V4 => Address::v4((((base >> 96) as u32) | offset as u32).to_be_bytes()),
            Family::V6 => Address::v6((base | offset).to_be_bytes()),
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// Addresses to allocate VIPs from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prefix {
    /// Bare name.
    pub name: String,
    /// The addresses.
    pub network: Network,
}

/// A backbone instance that networks are attached to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ccn {
    /// Bare name.
    pub name: String,
}

/// What is attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AttachmentKind {
    /// A VPC; its name is the network's.
    #[default]
    Vpc,
    /// A direct-connect gateway: the way to an on-premises network.
    DirectConnect,
    /// A VPN gateway.
    Vpn,
    /// An SD-WAN edge.
    SdWanEdge,
}

/// A range that an attachment brings into its CCN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LearnedRoute {
    /// The range.
    pub network: Network,
    /// ASNs that the route has passed, 30 at most; 0: static.
    pub as_path_len: u32,
}

/// A network's place in a CCN.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// The CCN.
    pub ccn: String,
    /// The network's or gateway's name.
    pub name: String,
    /// What it is.
    pub kind: AttachmentKind,
    /// Subnets, or what its gateway has learned.
    pub routes: Vec<LearnedRoute>,
}

impl Attachment {
    /// `backbone/vpc-main`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.ccn, self.name)
    }
}

/// A route of a CCN: the table makes it, an operator turns it on and off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CcnRoute {
    /// The CCN.
    pub ccn: String,
    /// Where it leads.
    pub network: Network,
    /// Over what.
    pub attachment: String,
    /// Whether packets take it.
    pub enabled: bool,
    /// ASNs that it has passed.
    pub as_path_len: u32,
}

impl CcnRoute {
    /// `backbone/10.0.0.0/20/vpc-main`.
    pub fn full_name(&self) -> String {
        format!("{}/{}/{}", self.ccn, self.network, self.attachment)
    }
}
