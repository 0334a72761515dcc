//! A listener: a port of a load balancer, how new flows are spread over its targets, and how many there may be.
//!
//! Built by the table's author as a whole, so that a forwarder finds all that a new flow needs in one place.
//! What a listener does not ask for is `None`, and costs a packet nothing.

use core::ops::RangeInclusive;
use core::time::Duration;
use std::sync::Arc;

use super::{HealthCheck, SourceTold};
use crate::flow::Address;
use crate::id::NodeId;
use crate::maglev::Maglev;

/// A port of a load balancer and where its flows go.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Bare name, such as `web`.
    pub name: String,
    /// IP protocol: 6 TCP, 17 UDP.
    pub protocol: u8,
    /// 1-65535.
    pub port: u16,
    /// How new flows are spread.
    pub scheduler: Scheduler,
    /// How long after its last new flow a client stays with its target, by its source address; `None`: it does not.
    /// With [`Scheduler::WeightedRoundRobin`] alone.
    pub session_expire: Option<Duration>,
    /// How many flows all nodes of the region may have together.
    pub limits: FlowLimits,
    /// How long an established TCP flow may be silent; `None`: [`IDLE_TIMEOUT_S`]'s longest.
    pub idle_timeout: Option<Duration>,
    /// What moves flows that are under way to other targets.
    pub reschedule_on: RescheduleOn,
    /// How its targets are checked; `None`: they are not, and taken to be alive.
    pub health: Option<HealthCheck>,
    /// How its targets are told who the client is; TCP only.
    pub source: SourceTold,
    /// Candidates, in the file's order. A flow takes only targets of its own family.
    pub targets: Vec<Target>,
}

/// How many flows a listener, or a load balancer, may have. Each node has its part, by the slots that it serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FlowLimits {
    /// At a time; `None`: as many as tables hold.
    pub connections_max: Option<u32>,
    /// New ones within a second.
    pub per_second_max: Option<u32>,
}

/// Seconds that an established TCP flow may be silent: the longest is the default.
pub const IDLE_TIMEOUT_S: RangeInclusive<u32> = 10..=900;

/// What moves flows that are under way to other targets: TCP flows are cut and their clients connect anew, UDP flows go on
/// at another target.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RescheduleOn {
    /// Their target is unbound, whatever the load balancer's drain.
    pub unbind: bool,
    /// Its weight becomes 0.
    pub weight_zero: bool,
    /// It becomes abnormal, while others are not.
    pub unhealthy: bool,
    /// Another target comes: its share of the flows of those that were there.
    pub scale_out: bool,
}

/// How a listener spreads new flows over its targets.
#[derive(Clone, Debug)]
pub enum Scheduler {
    /// Smooth weighted round robin.
    WeightedRoundRobin,
    /// The target with the fewest flows for its weight.
    WeightedLeastConnections,
    /// Weighted consistent hashing of the client's address; one table per family, values are indices into `targets`.
    IpHash {
        /// Over the IPv4 targets.
        v4: Arc<Maglev>,
        /// Over the IPv6 targets.
        v6: Arc<Maglev>,
    },
    /// Weighted consistent hashing of the flow; as above.
    Maglev {
        /// Over the IPv4 targets.
        v4: Arc<Maglev>,
        /// Over the IPv6 targets.
        v6: Arc<Maglev>,
    },
}

/// A backend's port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// The backend's address.
    pub address: Address,
    /// The backend's port.
    pub port: u16,
    /// 0-100; 0 takes no new flow.
    pub weight: u8,
    /// The host whose vSwitch delivers to it.
    pub host: NodeId,
}

impl Scheduler {
    /// The tables that it looks a hash up in, IPv4 and IPv6.
    pub const fn tables(&self) -> Option<(&Arc<Maglev>, &Arc<Maglev>)> {
        match self {
            Scheduler::IpHash { v4, v6 } | Scheduler::Maglev { v4, v6 } => Some((v4, v6)),
            Scheduler::WeightedRoundRobin | Scheduler::WeightedLeastConnections => None,
        }
    }
}
