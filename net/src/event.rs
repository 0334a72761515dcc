//! Typed events: what a node tells its services, the report, the trace digest and the tests.
//!
//! Events are values, not strings: the digest hashes them, tests match on them, reports count them.

use core::fmt;

use crate::flow::{Address, FlowKey};
use crate::id::{NodeId, PathId, Revision};

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
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
