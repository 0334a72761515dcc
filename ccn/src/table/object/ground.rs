//! What load balancers and VIPs stand on: nodes, regions, interfaces, and the paths between them.
//!
//! Nodes go by their full names (`pop.tokyo`, `region.guangzhou.clb-1`, `host.web-1`), regions and paths by their
//! bare ones.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use anyedge_net::flow::{Address, Family};
use anyedge_net::wire::outer::Encap;

use crate::table::membership::Membership;

/// Where a node's tunnels end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Underlay {
    /// Over IPv4; `0.0.0.0` when it has none.
    pub v4: Ipv4Addr,
    /// Over IPv6; `::` when it has none.
    pub v6: Ipv6Addr,
}

impl Underlay {
    /// Whether it has an address of that family.
    pub const fn has(&self, family: Family) -> bool {
        match family {
            Family::V4 => !self.v4.is_unspecified(),
            Family::V6 => !self.v6.is_unspecified(),
        }
    }
}

/// A region.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Region {
    /// Bare name.
    pub name: String,
}

/// An edge node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pop {
    /// Full name.
    pub name: String,
    /// Where its tunnels end.
    pub underlay: Underlay,
    /// It is to get rid of its clients.
    pub draining: bool,
}

/// A load-balancing node of a region.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClbNode {
    /// Full name.
    pub name: String,
    /// The region.
    pub region: String,
    /// Where its tunnels end.
    pub underlay: Underlay,
    /// Whether it takes part in the region's slots.
    pub membership: Membership,
    /// 0-100, relative to the region's others.
    pub weight: i32,
    /// Of one that is lost: it was drained before, and is drained when it is back.
    pub returns_drained: bool,
}

/// Whether a host may take targets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HostState {
    /// It may.
    #[default]
    Normal,
    /// Its owner has been cut off.
    Isolated,
    /// Its term is over.
    Expired,
    /// Its bandwidth peak is 0.
    NoBandwidth,
}

/// A host of backends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// Full name.
    pub name: String,
    /// The region that it is in.
    pub region: String,
    /// Where its vSwitch's tunnels end.
    pub underlay: Underlay,
    /// Availability zone; may be empty.
    pub zone: String,
    /// The VPC; empty: the region's default one. `basic` is the basic network.
    pub network: String,
    /// Whether it may take targets.
    pub state: HostState,
    /// Its security groups, in order.
    pub security_groups: Vec<String>,
}

/// An elastic network interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Eni {
    /// Bare name.
    pub name: String,
    /// Availability zone.
    pub zone: String,
    /// The VPC.
    pub network: String,
    /// The host that it is attached to; empty: none.
    pub host: String,
    /// It is the host's primary interface, whose first address is the host's own.
    pub primary: bool,
    /// Its addresses, the primary one first.
    pub addresses: Vec<Address>,
}

/// A tunnelled way between two ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Path {
    /// Its link's name.
    pub name: String,
    /// What it joins.
    pub ends: Ends,
    /// How packets are wrapped on it.
    pub encap: Encap,
    /// Family of the outer header.
    pub underlay: Family,
    /// Largest outer packet, in bytes.
    pub mtu: u32,
    /// Expected round-trip time.
    pub rtt: Duration,
    /// It is used only where nothing else leads.
    pub draining: bool,
}

/// What a path joins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ends {
    /// A POP and the CLB nodes of a region.
    Ccn {
        /// The POP's full name.
        pop: String,
        /// The region.
        region: String,
    },
    /// The CLB nodes of a host's region and the host.
    Fabric {
        /// The host's full name.
        host: String,
    },
    /// The CLB nodes of a region among themselves.
    Mesh {
        /// The region.
        region: String,
    },
    /// The CLB nodes of two regions.
    Backbone {
        /// The two, in any order.
        regions: [String; 2],
    },
}
