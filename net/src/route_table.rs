//! The route table: one immutable version of everything the forwarders act upon.
//!
//! Its author (`ccn`) makes it, nodes get it as an `Arc` and never change it. Heavy parts (slot maps,
//! Maglev tables) are built by the author, off the fast path, and all that stays is [`Shared`] between versions. Ids
//! are indices into its vectors and mean nothing outside their version; names do.

mod health_check;
mod listener;
mod security;
mod shared;
mod snat;
mod source_told;

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::flow::{Address, Family, HashKey};
use crate::id::{ClbId, NodeId, PathId, RegionId, Revision};
use crate::slot::SlotMap;
use crate::wire::outer::{self, Encap};

pub use health_check::{
    DAMPING_S, EXCHANGE_BYTES, Exchange, HealthCheck, INTERVAL_S, Method, OutOfRange,
    PASSIVE_BLOCK, PASSIVE_FAILURES, ProbeSource, THRESHOLD, TIMEOUT_S,
};
pub use listener::{FlowLimits, IDLE_TIMEOUT_S, Listener, RescheduleOn, Scheduler, Target};
pub use security::{ClbSecurity, Security};
pub use shared::Shared;
pub use snat::{SNAT_BLOCK_PORTS, Snat, SnatBlock};
pub use source_told::SourceTold;

/// One version of the routes.
#[derive(Clone, Debug)]
pub struct RouteTable {
    /// Which version.
    pub revision: Revision,
    /// Key of the flow hash, shared by all nodes; never shown.
    pub hash_key: HashKey,
    /// POPs, CLB nodes and hosts, by [`NodeId`].
    pub nodes: Shared<Vec<Node>>,
    /// Regions, by [`RegionId`].
    pub regions: Shared<Vec<Region>>,
    /// Paths, by [`PathId`].
    pub paths: Shared<Vec<Path>>,
    /// Regional load balancers, by [`ClbId`].
    pub clbs: Vec<Shared<Clb>>,
    /// VIP address to VIP.
    pub vips: Shared<BTreeMap<Address, Arc<Vip>>>,
    /// How nodes watch their paths; `None`: a path is up until a service says otherwise.
    pub probing: Option<Probing>,
    /// When a POP announces the VIPs that it publishes.
    pub announcing: Announcing,
    /// What of the forwarders' mechanisms is on: all of it, except in tests that show what each is for.
    pub mechanisms: Mechanisms,
    /// Who may open flows to backends.
    pub security: Shared<Security>,
}

/// How nodes watch their paths, in band (RFC 5880 §6.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probing {
    /// Time between two probes of one session, before its jitter of -25 % to 0.
    pub interval: Duration,
    /// Intervals of silence after which a session is down.
    pub multiplier: u8,
    /// Share of probes lost in either direction above which a path is grey, in millionths.
    pub grey_loss_ppm: u32,
}

impl Default for Probing {
    fn default() -> Probing {
        Probing {
            interval: Duration::from_millis(100),
            multiplier: 3,
            grey_loss_ppm: 50_000,
        }
    }
}

/// When a POP announces the VIPs that it publishes, and when it withdraws them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announcing {
    /// How long no live path leads to a VIP's region before the POP withdraws it.
    pub withdraw_after: Duration,
    /// How long one leads there again before the POP announces it again.
    pub readvertise_after: Duration,
    /// A POP announces on although no path leads on: the fault is kept, for study.
    pub blackhole: bool,
}

impl Default for Announcing {
    fn default() -> Announcing {
        Announcing {
            withdraw_after: Duration::from_secs(1),
            readvertise_after: Duration::from_secs(5),
            blackhole: false,
        }
    }
}

/// What of the forwarders' mechanisms is on. Only tests turn one off, to show which story it carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mechanisms {
    /// A CLB node sends each flow's entry to the slot's other owner with the first packet.
    pub replication: bool,
    /// Entries are sent in bulk to the new owner of a slot that moved, and again from time to time.
    pub bulk_sync: bool,
    /// A packet that misses makes one hop to the slot's other owner.
    pub second_chance: bool,
    /// A slot whose primary a node's own probes find dead goes to its secondary at once.
    pub fallback: bool,
    /// The old primary of a slot that moved stays as its secondary.
    pub slot_history: bool,
    /// An answer whose POP is out of reach leaves by another.
    pub return_pop: bool,
    /// Over a third region when the direct paths are down.
    pub detour: bool,
    /// Loss of probes makes a path grey, not only their silence down.
    pub grey: bool,
    /// A share of probes is as large as the largest packet of its path.
    pub full_size_probes: bool,
    /// A path costs the round trip that probes measure, not the one that the table expects.
    pub measured_cost: bool,
    /// A miss is answered with a RST.
    pub reset_on_miss: bool,
    /// Targets are probed, and abnormal ones get no new flow.
    pub health: bool,
    /// With all targets abnormal, all get flows.
    pub fail_open: bool,
    /// The MSS of SYNs is lowered to what every path carries.
    pub mss_clamp: bool,
    /// Packets that are too big, and those whose TTL ends, are answered with ICMP errors.
    pub icmp_errors: bool,
    /// Fragments are carried.
    pub fragments: bool,
    /// Clients must prove their address during a SYN flood.
    pub syn_gate: bool,
}

impl Mechanisms {
    /// Everything on.
    pub const ALL: Mechanisms = Mechanisms {
        replication: true,
        bulk_sync: true,
        second_chance: true,
        fallback: true,
        slot_history: true,
        return_pop: true,
        detour: true,
        grey: true,
        full_size_probes: true,
        measured_cost: true,
        reset_on_miss: true,
        health: true,
        fail_open: true,
        mss_clamp: true,
        icmp_errors: true,
        fragments: true,
        syn_gate: true,
    };
}

impl Default for Mechanisms {
    fn default() -> Mechanisms {
        Mechanisms::ALL
    }
}

/// A node with a tunnel mouth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Full object name, such as `pop.tokyo`, `region.guangzhou.clb-1` or `host.web-1`.
    pub name: String,
    /// What it does.
    pub kind: NodeKind,
    /// Its tunnel address over IPv4.
    pub underlay_v4: Ipv4Addr,
    /// Its tunnel address over IPv6.
    pub underlay_v6: Ipv6Addr,
    /// A POP that is to get rid of its clients before it stops: it withdraws its VIPs and forwards on.
    pub draining: bool,
}

/// What a node does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeKind {
    /// An edge node.
    Pop,
    /// A load-balancing node of a region.
    ClbNode(RegionId),
    /// A host with backends and a vSwitch.
    Host(RegionId),
}

/// A region and the owners of its slots.
#[derive(Clone, Debug)]
pub struct Region {
    /// Bare name, such as `guangzhou`.
    pub name: String,
    /// Its CLB nodes, by name.
    pub clb_nodes: Vec<NodeId>,
    /// Which CLB node serves which slot.
    pub slots: Arc<SlotMap>,
}

/// A tunnelled way between two ends of the private network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Path {
    /// Its link's name, such as `tokyo-guangzhou`.
    pub name: String,
    /// What it joins.
    pub ends: PathEnds,
    /// How packets are wrapped on it.
    pub encap: Encap,
    /// Family of the outer header.
    pub underlay: Family,
    /// Largest outer packet, in bytes.
    pub mtu: u16,
    /// Expected round-trip time: the lower, the better the path.
    pub rtt: Duration,
    /// It is to be emptied: used only where nothing else leads.
    pub draining: bool,
}

/// What a path joins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathEnds {
    /// Backbone: a POP and the CLB nodes of a region.
    Ccn {
        /// The edge end.
        pop: NodeId,
        /// The region end; any of its CLB nodes may be the peer.
        region: RegionId,
    },
    /// Inside a region: its CLB nodes and a host.
    Fabric {
        /// The region.
        region: RegionId,
        /// The host whose vSwitch ends the tunnel.
        host: NodeId,
    },
    /// Inside a region: its CLB nodes among themselves.
    Mesh {
        /// The region.
        region: RegionId,
    },
    /// Backbone: the CLB nodes of two regions, a detour for either.
    Backbone {
        /// The two, in the order of their ids.
        regions: [RegionId; 2],
    },
}

impl Path {
    /// Largest inner packet that the path carries, in bytes.
    pub fn inner_mtu(&self) -> u16 {
        outer::inner_mtu(self.encap, self.underlay, self.mtu)
    }
}

/// A VIP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vip {
    /// Bare name, such as `game`.
    pub name: String,
    /// Its load balancer.
    pub clb: ClbId,
    /// POPs that announce it.
    pub publishers: Vec<NodeId>,
}

/// A regional load balancer.
#[derive(Clone, Debug)]
pub struct Clb {
    /// Bare name, such as `gz-main`.
    pub name: String,
    /// Where its nodes are.
    pub region: RegionId,
    /// Smallest inner MTU over all candidate paths of its flows, from CCN with its detours to fabric and mesh:
    /// what MSS is clamped to.
    pub inner_mtu: u16,
    /// Flows are hashed on (source, destination) only.
    pub client_affinity: bool,
    /// Flows of a target that is unbound are cut by a RST to both ends, and not merely forgotten.
    pub rst_on_unbind: bool,
    /// How long flows of a target that is unbound go on; `None`: not at all.
    pub unbind_drain: Option<Duration>,
    /// Over how long flows that are to be cut are, each at a time of its own; zero: all at once.
    pub unbind_spread: Duration,
    /// With all of a listener's targets abnormal, all get new flows, and not none.
    pub fail_open: bool,
    /// How many flows it may have over all of its listeners.
    pub limits: FlowLimits,
    /// Who may open flows to it.
    pub security: ClbSecurity,
    /// What its targets see in the place of clients, if that is not the clients themselves.
    pub snat: Shared<Snat>,
    /// Protocol and port to listener.
    pub listeners: Vec<Arc<Listener>>,
}

impl RouteTable {
    /// A table of nothing, in force before the first revision arrives.
    pub fn empty() -> RouteTable {
        RouteTable {
            revision: Revision(0),
            hash_key: HashKey::new([0; 16]),
            nodes: Shared::default(),
            regions: Shared::default(),
            paths: Shared::default(),
            clbs: Vec::new(),
            vips: Shared::default(),
            probing: None,
            announcing: Announcing::default(),
            mechanisms: Mechanisms::ALL,
            security: Shared::default(),
        }
    }

    /// Whether both versions have the very same nodes, regions with their slots, and paths.
    #[inline]
    pub fn has_ground_of(&self, other: &RouteTable) -> bool {
        self.nodes.is(&other.nodes)
            && self.regions.is(&other.regions)
            && self.paths.is(&other.paths)
    }

    /// The node of that full name.
    pub fn node_named(&self, name: &str) -> Option<NodeId> {
        self.nodes
            .iter()
            .position(|node| node.name == name)
            .map(|index| NodeId(index as u16))
    }

    /// The node with that tunnel address; what a tunnel port asks about an outer source.
    pub fn node_at(&self, underlay: core::net::IpAddr) -> Option<NodeId> {
        let has = |node: &&Node| match underlay {
            core::net::IpAddr::V4(address) => node.underlay_v4 == address,
            core::net::IpAddr::V6(address) => node.underlay_v6 == address,
        };
        self.nodes
            .iter()
            .position(|node| has(&node))
            .map(|index| NodeId(index as u16))
    }

    /// The nodes at the other end of `path` as `own` sees it, by id; none when it does not end there.
    pub fn peers_over(&self, path: &Path, own: NodeId) -> Vec<NodeId> {
        let clb_nodes = |region: RegionId| {
            let region = self.regions.get(region.index());
            region.map_or(&[][..], |region| &region.clb_nodes)
        };
        let between = |edge: NodeId, region: RegionId| {
            if edge == own {
                clb_nodes(region).to_vec()
            } else if clb_nodes(region).contains(&own) {
                vec![edge]
            } else {
                Vec::new()
            }
        };
        match path.ends {
            PathEnds::Ccn { pop, region } => between(pop, region),
            PathEnds::Fabric { region, host } => between(host, region),
            PathEnds::Mesh { region } if clb_nodes(region).contains(&own) => {
                let others = clb_nodes(region).iter().filter(|node| **node != own);
                others.copied().collect()
            }
            PathEnds::Backbone { regions: [a, b] } if clb_nodes(a).contains(&own) => {
                clb_nodes(b).to_vec()
            }
            PathEnds::Backbone { regions: [a, b] } if clb_nodes(b).contains(&own) => {
                clb_nodes(a).to_vec()
            }
            PathEnds::Mesh { .. } | PathEnds::Backbone { .. } => Vec::new(),
        }
    }

    /// Paths with their ids.
    pub fn paths(&self) -> impl Iterator<Item = (PathId, &Path)> {
        self.paths
            .iter()
            .enumerate()
            .map(|(index, path)| (PathId(index as u16), path))
    }
}
