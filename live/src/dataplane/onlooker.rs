//! Who is told what a forwarder finds out and which table it acts upon.
//!
//! It is called on the data plane's thread between two batches: it must not wait, neither for a lock that is held long
//! nor for a device.

use std::sync::Arc;

use anyedge_net::event::Event;
use anyedge_net::id::NodeId;
use anyedge_net::route_table::RouteTable;

/// Somebody who watches a forwarder.
pub trait Onlooker: Send {
    /// From here on `table` is in force, and ids in events are of it; the node has the id `own`.
    fn in_force(&mut self, table: &Arc<RouteTable>, own: NodeId);

    /// The forwarder found something out.
    fn saw(&mut self, event: &Event);
}
