//! Typed events: what a node tells its services, the report, the trace digest and the tests.
//!
//! Events are values, not strings: the digest hashes them, tests match on them, reports count them.

use core::fmt;
use core::time::Duration;

use crate::flow::{Address, FlowKey};
use crate::id::{ClbId, NodeId, PathId, Revision};

/// Why a flow left the connection table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FlowEnd {
    /// Both sides closed it (FIN), or UDP fell silent: the normal end.
    Finished,
    /// One side reset it.
    Reset,
    /// The handshake never completed.
    HandshakeTimeout,
    /// Established, then silent for the idle timeout.
    IdleTimeout,
    /// The client opened a fresh flow with the same tuple.
    Replaced,
    /// Its target was unbound.
    Unbound,
    /// Another owner of its slot holds it now.
    HandedOver,
    /// The security groups of its load balancer no longer accept it.
    Refused,
}

/// What a node's own probes say of a target.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Health {
    /// New, not yet probed often enough: no traffic.
    Detecting,
    /// Answers: traffic.
    Healthy,
    /// Does not answer: no new flow, unless all are so.
    Abnormal,
    /// Not probed: traffic.
    Closed,
    /// It refused clients, and passive checks block it for a while: no new flow, unless all are so.
    Blocked,
}

/// Something a service, a report or a test may want to know.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// A new revision of the route table is in force.
    TableApplied(Revision),
    /// A path changed state, and the forwarder acts on it.
    PathState {
        /// Which path.
        path: PathId,
        /// Whether it carries packets.
        up: bool,
    },
    /// A session of path probes came up or went down (RFC 5880 §6.8).
    PeerState {
        /// Which path.
        path: PathId,
        /// The node at its other end.
        peer: NodeId,
        /// Whether it answers.
        up: bool,
    },
    /// A path to a peer began or ceased to lose more probes than it may.
    PathGrey {
        /// Which path.
        path: PathId,
        /// The node at its other end.
        peer: NodeId,
        /// Whether it loses too many.
        grey: bool,
    },
    /// A POP is to announce a VIP, or to withdraw it.
    Announcement {
        /// Its address.
        vip: Address,
        /// Whether it is to be announced.
        announced: bool,
    },
    /// A POP is to send its clients away before it withdraws, or is not to any more.
    Drains {
        /// Whether it is so.
        begins: bool,
    },
    /// A CLB node's own probes changed their mind about a target.
    TargetHealth {
        /// The target's address.
        target: Address,
        /// The target's port.
        target_port: u16,
        /// What it is now.
        health: Health,
    },
    /// All targets of a listener that could take flows are abnormal, and all take flows; or no longer.
    AllTargetsAbnormal {
        /// Its load balancer.
        clb: ClbId,
        /// Its place among the load balancer's listeners.
        listener: u16,
        /// Whether it is so.
        begins: bool,
    },
    /// A listener's clients must prove their address from now on, or no longer.
    SynGate {
        /// Its load balancer.
        clb: ClbId,
        /// Its place among the load balancer's listeners.
        listener: u16,
        /// Whether the gate is shut.
        shut: bool,
    },
    /// A node forwards a flow that another opened: from its replica, or handed over after a hop.
    FlowTakenOver {
        /// Client to VIP.
        flow: FlowKey,
    },
    /// The flows of slots that moved have been sent to owners that had not got them: until then a fault of
    /// this node would have ended them.
    SlotsResynced {
        /// Entries sent.
        flows: u64,
        /// Time since the slots moved.
        took: Duration,
    },
    /// A flow was given to a target.
    FlowOpened {
        /// Client to VIP.
        flow: FlowKey,
        /// The chosen target's address.
        target: Address,
        /// The chosen target's port.
        target_port: u16,
        /// The POP that it entered by; `UNKNOWN` when it came straight from the Internet.
        pop: NodeId,
    },
    /// The handshake of a TCP flow completed.
    FlowEstablished {
        /// Client to VIP.
        flow: FlowKey,
    },
    /// A flow now enters by another POP.
    FlowMoved {
        /// Client to VIP.
        flow: FlowKey,
        /// The POP that it enters by.
        pop: NodeId,
    },
    /// A flow left the table.
    FlowClosed {
        /// Client to VIP.
        flow: FlowKey,
        /// Why.
        end: FlowEnd,
    },
    /// A segment had no room for the option that its listener tells clients by: the target knows its source alone.
    SourceUntold {
        /// Client to VIP.
        flow: FlowKey,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
