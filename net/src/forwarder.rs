//! The fast-path contract: a pure, synchronous state machine over packets and time.
//!
//! POP, CLB node and vSwitch implement it; the simulator and the live data plane drive it. A forwarder
//! has no clock, no socket, no lock and makes no allocation per packet. Order of calls, for any driver:
//! `handle_*` and `apply` in the order things happened, each with the time it happened at, never an
//! earlier time than the call before; then drain the outbox; then ask `poll_timeout`, and call
//! `handle_timeout` no earlier than it says.
//!
//! Conservation, asserted by [`crate::ledger::Ledger`] after every call:
//! `in + originated = transmitted + delivered locally + dropped + change of held`.

use std::sync::Arc;

use crate::drop_reason::DropReason;
use crate::id::PathId;
use crate::outbox::Outbox;
use crate::packet::Packet;
use crate::route_table::RouteTable;
use crate::time::{Deadline, Instant};

/// Packets a driver hands over at most in one call.
pub const BATCH_MAX: usize = 32;

/// What a node's own services found out and its forwarder acts upon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LocalEvent {
    /// A path was found up or down.
    PathState {
        /// Which path.
        path: PathId,
        /// Whether it carries packets.
        up: bool,
    },
}

/// The per-packet work of one node, or of one shard of it.
pub trait Forwarder {
    /// Packets arrived, each with its port in `meta.port`. Takes all of `batch`, at most [`BATCH_MAX`].
    fn handle_packets(&mut self, now: Instant, batch: &mut Vec<Packet>, out: &mut Outbox);

    /// A deadline that [`Forwarder::poll_timeout`] asked for has come. Calling it early is harmless.
    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox);

    /// A service of the node found something out.
    fn handle_event(&mut self, now: Instant, event: LocalEvent, out: &mut Outbox);

    /// A new version of the routes is in force from here on.
    fn apply(&mut self, now: Instant, table: Arc<RouteTable>, out: &mut Outbox);

    /// When to call [`Forwarder::handle_timeout`], and what for. `None`: nothing is pending.
    fn poll_timeout(&self) -> Option<Deadline>;

    /// Packets kept inside: fragments, shapers. Part of the conservation law.
    fn held(&self) -> usize;

    /// Drops what is kept inside, for `reason`: the node crashed, or the run is over.
    fn let_go(&mut self, reason: DropReason, out: &mut Outbox) {
        let _ = (reason, out);
        debug_assert_eq!(self.held(), 0, "who holds packets lets them go");
    }
}
