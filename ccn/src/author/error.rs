//! Why a set of plans makes no route table. Each error names the object, so that it can be found and mended.
//!
//! A refused publication changes nothing: the revision in force stays, and so does its number.

use core::fmt;
use core::time::Duration;

use anyedge_net::route_table::OutOfRange;

/// Why a table was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthorError {
    /// A plan refers to something that is not there.
    Unknown {
        /// Who refers to it.
        by: String,
        /// The kind of object wanted.
        kind: &'static str,
        /// The name given.
        name: String,
    },
    /// Something is there twice.
    Duplicate {
        /// What, and where.
        object: String,
    },
    /// More objects of one kind than ids.
    TooMany {
        /// The kind.
        kind: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        count_max: usize,
    },
    /// A weight above 100.
    WeightTooHigh {
        /// The target or CLB node.
        target: String,
        /// Its weight.
        weight: u8,
    },
    /// Port 0.
    PortZero {
        /// The listener or target.
        object: String,
    },
    /// A listener's protocol is neither TCP nor UDP.
    BadProtocol {
        /// The listener.
        listener: String,
        /// The IP protocol.
        protocol: u8,
    },
    /// A value of a health check is outside its range.
    BadHealthCheck {
        /// The listener.
        listener: String,
        /// Which, and what would be right.
        what: OutOfRange,
    },
    /// A listener whose targets cannot be checked by a TCP handshake asks for that.
    HealthCheckNotTcp {
        /// The listener.
        listener: String,
    },
    /// Flows of targets that are unbound would go on for too long.
    DrainTooLong {
        /// The load balancer.
        clb: String,
        /// For how long.
        drain: Duration,
        /// For how long they may.
        drain_max: Duration,
    },
    /// A VIP without any address.
    NoAddresses {
        /// The VIP.
        vip: String,
    },
    /// A VIP that no POP announces.
    NoPublishers {
        /// The VIP.
        vip: String,
    },
    /// A drain, or the plan itself, leaves a VIP fewer POPs than it needs.
    TooFewPublishers {
        /// The VIP.
        vip: String,
        /// POPs that do not drain.
        left: usize,
        /// How many it needs.
        publishers_min: u16,
    },
    /// A publisher has no path to the region of the VIP's load balancer.
    NoPathToRegion {
        /// The VIP.
        vip: String,
        /// The publisher.
        pop: String,
        /// The region.
        region: String,
    },
    /// No path leads from the region's CLB nodes to the host of a target.
    NoPathToHost {
        /// The target.
        target: String,
        /// The host.
        host: String,
    },
    /// A target's host is in another region than the load balancer.
    HostElsewhere {
        /// The target.
        target: String,
        /// The host.
        host: String,
        /// The load balancer's region.
        region: String,
    },
    /// A node at the end of a path has no tunnel address of the path's family.
    NoUnderlay {
        /// The path.
        path: String,
        /// The node.
        node: String,
    },
    /// A path or all paths of a load balancer together carry too small packets.
    MtuTooSmall {
        /// The path or the VIP.
        object: String,
        /// What is left for an inner packet, in bytes.
        inner_mtu: u16,
        /// What is needed, in bytes.
        inner_mtu_min: u16,
    },
}

impl fmt::Display for AuthorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { by, kind, name } => {
                write!(f, "{by} refers to {kind} `{name}`, which does not exist")
            }
            Self::Duplicate { object } => write!(f, "{object} is there twice"),
            Self::TooMany {
                kind,
                count,
                count_max,
            } => {
                write!(
                    f,
                    "{count} objects of kind {kind}, and at most {count_max} have an id"
                )
            }
            Self::NoAddresses { vip } => write!(f, "{vip} has no address"),
            Self::NoPublishers { vip } => write!(f, "{vip} is published by no POP"),
            Self::TooFewPublishers {
                vip,
                left,
                publishers_min,
            } => {
                write!(
                    f,
                    "{vip} would have {left} POPs that do not drain; it needs {publishers_min}"
                )
            }
            Self::NoPathToRegion { vip, pop, region } => {
                write!(
                    f,
                    "{vip} is published by `{pop}`, which has no path to region `{region}`"
                )
            }
            Self::NoPathToHost { target, host } => {
                write!(
                    f,
                    "{target} is on `{host}`, to which its region has no path"
                )
            }
            Self::HostElsewhere {
                target,
                host,
                region,
            } => {
                write!(
                    f,
                    "{target} is on `{host}`, which is not in region `{region}`"
                )
            }
            Self::NoUnderlay { path, node } => {
                write!(
                    f,
                    "{path} ends at `{node}`, which has no tunnel address of the path's family"
                )
            }
            _ => self.say_value(f),
        }
    }
}

impl AuthorError {
    /// Says which value of an object is none that it may have.
    fn say_value(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WeightTooHigh { target, weight } => {
                write!(f, "{target} has weight {weight}; a weight is 0 to 100")
            }
            Self::PortZero { object } => write!(f, "{object} has port 0; a port is 1 to 65535"),
            Self::BadProtocol { listener, protocol } => {
                write!(
                    f,
                    "{listener} has IP protocol {protocol}; a listener has 6 (TCP) or 17 (UDP)"
                )
            }
            Self::BadHealthCheck { listener, what } => {
                write!(f, "{listener} has a health check with {what}")
            }
            Self::HealthCheckNotTcp { listener } => {
                write!(
                    f,
                    "{listener} has a health check, which is a TCP handshake; a UDP listener has none"
                )
            }
            Self::DrainTooLong {
                clb,
                drain,
                drain_max,
            } => {
                write!(
                    f,
                    "{clb} drains unbound targets for {drain:?}; {drain_max:?} is the most"
                )
            }
            Self::MtuTooSmall {
                object,
                inner_mtu,
                inner_mtu_min,
            } => {
                write!(
                    f,
                    "{object} carries inner packets of {inner_mtu} bytes; {inner_mtu_min} are needed"
                )
            }
            _ => Ok(()),
        }
    }
}

impl core::error::Error for AuthorError {}
