//! Who is at the other end of a tunnel: the first question to every packet that comes out of one.
//!
//! The port names the node whose underlay address sent the packet. What a packet may do follows from that
//! node's kind in the routes, never from the packet itself.

use anyedge_net::id::NodeId;
use anyedge_net::route_table::{NodeKind, RouteTable};

/// What the route table says about a tunnel's other end; `None` for an address that no node has.
#[inline]
pub(crate) fn kind_of(routes: &RouteTable, peer: NodeId) -> Option<NodeKind> {
    routes.nodes.get(peer.index()).map(|node| node.kind)
}
