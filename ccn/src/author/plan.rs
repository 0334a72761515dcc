//! Plans: what an operator wants, in plain values with names, before anything has an id.
//!
//! Nodes go by their full names (`pop.tokyo`, `region.guangzhou.clb-1`, `host.web-1`); regions, paths,
//! load balancers, listeners and VIPs by their bare ones. A plan may refer to what is added after it, since
//! names are resolved when the table is published. The order of additions never shows in a table.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use anyedge_net::flow::{Address, Family};
use anyedge_net::route_table::{HealthCheck, RescheduleOn, SourceTold};
use anyedge_net::wire::outer::Encap;

pub use crate::table::object::{Protocol, SchedulerKind};

/// A node's name and where its tunnels end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodePlan {
    /// Full name.
    pub name: String,
    /// Tunnel address over IPv4; `0.0.0.0` when it has none.
    pub underlay_v4: Ipv4Addr,
    /// Tunnel address over IPv6; `::` when it has none.
    pub underlay_v6: Ipv6Addr,
}

/// A region with its CLB nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegionPlan {
    /// Bare name.
    pub name: String,
    /// Its CLB nodes, in any order.
    pub clb_nodes: Vec<NodePlan>,
}

/// A host of backends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPlan {
    /// The node.
    pub node: NodePlan,
    /// The region that it is in.
    pub region: String,
    /// Availability zone; may be empty.
    pub zone: String,
    /// Its security groups, in order.
    pub security_groups: Vec<String>,
}

/// A tunnelled way between two ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathPlan {
    /// Its link's name.
    pub name: String,
    /// What it joins.
    pub ends: EndsPlan,
    /// How packets are wrapped on it.
    pub encap: Encap,
    /// Family of the outer header.
    pub underlay: Family,
    /// Largest outer packet, in bytes.
    pub mtu: u16,
    /// Expected round-trip time.
    pub rtt: Duration,
}

/// What a path joins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EndsPlan {
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

/// A regional load balancer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClbPlan {
    /// Bare name.
    pub name: String,
    /// Where its nodes are.
    pub region: String,
    /// All flows of a client to a VIP go to one CLB node.
    pub client_affinity: bool,
    /// Flows of a target that is unbound are cut by a RST to both ends; the product's default is true.
    pub rst_on_unbind: bool,
    /// How long flows of a target that is unbound go on, a day at most; `None`: not at all.
    pub unbind_drain: Option<Duration>,
    /// Over how long flows that are to be cut are, a day at most.
    pub unbind_spread: Duration,
    /// With all of a listener's targets abnormal, all get new flows; the product's default is true.
    pub fail_open: bool,
    /// It is a shared instance, with limits over all of its listeners; of profile `tencent`.
    pub shared: bool,
    /// Who may open flows to it.
    pub security: SecurityPlan,
    /// What its targets see in the place of clients.
    pub snat: SnatPlan,
    /// Its ports.
    pub listeners: Vec<ListenerPlan>,
}

/// What the targets of a load balancer see in the place of clients: by default the clients.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SnatPlan {
    /// Clients of IPv6 get targets of IPv4.
    pub nat64: bool,
    /// Addresses, 10 at most. Their ports are leased to the nodes of the region in equal parts.
    pub addresses: Vec<Ipv4Addr>,
}

/// Who may open flows to a load balancer: by default everybody.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SecurityPlan {
    /// Its security groups, in order.
    pub groups: Vec<String>,
    /// What its groups accept is not asked about again at the backend.
    pub pass_by_default: bool,
    /// Its groups do not take effect.
    pub eip_bypasses: bool,
    /// Its health checks are not asked about at the backend.
    pub probes_exempt: bool,
}

/// A port of a load balancer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenerPlan {
    /// Bare name, unique in its load balancer.
    pub name: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// 1-65535.
    pub port: u16,
    /// How new flows are spread.
    pub scheduler: SchedulerKind,
    /// Seconds that a client stays with its target after its last new flow, 30 to 3600; 0: it does not. WRR alone.
    pub session_expire: u32,
    /// Flows at a time, and new ones within a second; 0: as many as come.
    pub limits: [u32; 2],
    /// Seconds that an established TCP flow may be silent, 10 to 900; 0: 900.
    pub idle_timeout: u32,
    /// What moves flows that are under way to other targets.
    pub reschedule_on: RescheduleOn,
    /// How its targets are checked; `None`: they are not. TCP only.
    pub health: Option<HealthCheck>,
    /// How its targets are told who the client is. TCP only.
    pub source: SourceTold,
    /// Backends, in the order that the scheduler shall see.
    pub targets: Vec<TargetPlan>,
}

/// A backend's port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TargetPlan {
    /// The backend's address.
    pub address: Address,
    /// 1-65535.
    pub port: u16,
    /// 0-100; 0 takes no new flow.
    pub weight: u8,
    /// Full name of the host that has it.
    pub host: String,
}

/// A VIP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VipPlan {
    /// Bare name.
    pub name: String,
    /// Its addresses: at least one.
    pub addresses: Vec<Address>,
    /// Its load balancer, in its home region.
    pub clb: String,
    /// Load balancers in other regions, in the order in which they take over: the first whose region has a
    /// CLB node that is in gets the VIP while the home region has none.
    pub standby: Vec<String>,
    /// Full names of the POPs that announce it: at least one.
    pub publishers: Vec<String>,
    /// POPs that a drain must leave it.
    pub publishers_min: u16,
}
