//! Tunnels that are gRPC streams or QUIC connections, as the world sees them: hosts on the links, and inlets for the
//! forwarders' packets. What is said of streams goes for both.
//!
//! Each end of such a path is a host of its own, with the node's tunnel address, on the path's own link: its TCP or UDP has
//! the link's delay, loss and queue, and nothing else of the node uses it. A packet that a forwarder sends becomes a
//! frame in an inlet and its slot goes back to the pool; what comes out of a stream is a packet again. Between the
//! two it is on no link, so that these accounts stand for it.
//!
//! Invariant: `offered = sent + dropped + waiting` over all inlets there ever were, and `came_out <= sent`.

use std::collections::BTreeMap;

use anyedge_ccn::carry::{CarryCounts, CarryLimits, Inlet};
use anyedge_net::drop_reason::{DropCounts, DropReason};
use anyedge_net::id::{NodeId, PathId, RegionId};
use anyedge_net::route_table::{NodeKind, PathEnds, RouteTable};

use crate::executor::HostId;

/// One node's end of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StreamEnd {
    pub(crate) node: NodeId,
    pub(crate) path: PathId,
    /// The nodes that it has a stream with; each with an inlet.
    pub(crate) peers: Vec<NodeId>,
    /// Whether it calls them, or is called.
    pub(crate) calls: bool,
}

/// The ends of all such paths, by path and node. CLB nodes that are added later have theirs from the beginning.
pub(crate) fn ends_of(table: &RouteTable) -> Vec<StreamEnd> {
    let clb_nodes = |region: RegionId| -> Vec<NodeId> {
        let nodes = (0..).map(NodeId).zip(&table.nodes);
        let own = nodes.filter(|(_, node)| node.kind == NodeKind::ClbNode(region));
        own.map(|(id, _)| id).collect()
    };
    let mut ends = Vec::new();
    let streams = table.paths().filter(|(_, path)| path.encap.is_connection());
    for (id, path) in streams {
        let (callers, called) = match path.ends {
            PathEnds::Ccn { pop, region } => (vec![pop], clb_nodes(region)),
            PathEnds::Backbone { regions: [a, b] } => (clb_nodes(a), clb_nodes(b)),
            // Inside of a region nothing is in the way of packets.
            PathEnds::Fabric { .. } | PathEnds::Mesh { .. } => continue,
        };
        let sides = [(&callers, &called, true), (&called, &callers, false)];
        for (own, peers, calls) in sides {
            ends.extend(own.iter().map(|node| StreamEnd {
                node: *node,
                path: id,
                peers: peers.clone(),
                calls,
            }));
        }
    }
    ends
}

/// What the world keeps of the streams.
#[derive(Default)]
pub(crate) struct Streams {
    hosts: BTreeMap<(NodeId, PathId), HostId>,
    inlets: BTreeMap<(NodeId, PathId, NodeId), Inlet>,
    /// Of inlets whose node stopped.
    gone: Accounts,
    pub(crate) came_out: u64,
}

#[derive(Clone, Copy, Default)]
struct Accounts {
    sent: u64,
    full: u64,
    late: u64,
}

impl Accounts {
    const fn add(&mut self, counts: &CarryCounts) {
        self.sent += counts.sent;
        self.full += counts.dropped_full;
        self.late += counts.dropped_late;
    }
}

impl Streams {
    pub(crate) fn add(&mut self, end: &StreamEnd, host: HostId) {
        self.hosts.insert((end.node, end.path), host);
        for peer in &end.peers {
            let inlet = Inlet::new(CarryLimits::default());
            self.inlets.insert((end.node, end.path, *peer), inlet);
        }
    }

    /// The host of a node at its end of a path.
    pub(crate) fn host(&self, node: NodeId, path: PathId) -> Option<HostId> {
        self.hosts.get(&(node, path)).copied()
    }

    /// All hosts of a node, by path.
    pub(crate) fn hosts_of(&self, node: NodeId) -> Vec<HostId> {
        let own = self.hosts.iter().filter(|((at, _), _)| *at == node);
        own.map(|(_, host)| *host).collect()
    }

    pub(crate) fn inlet(&self, node: NodeId, path: PathId, peer: NodeId) -> Option<&Inlet> {
        self.inlets.get(&(node, path, peer))
    }

    /// The node stops: what waits in its inlets is gone, and it begins again with empty ones. How much waited.
    pub(crate) fn forget(&mut self, node: NodeId) -> u64 {
        let mut waited = 0;
        for ((at, ..), inlet) in &mut self.inlets {
            if *at == node {
                let counts = inlet.counts();
                waited += counts.waiting();
                self.gone.add(&counts);
                *inlet = Inlet::new(CarryLimits::default());
            }
        }
        waited
    }

    /// The run is over: what still waits, and what was in streams and never came out.
    ///
    /// # Panics
    /// When more came out than went in.
    pub(crate) fn close(&self) -> (u64, u64) {
        let waiting = self.inlets.values().map(|inlet| inlet.counts().waiting());
        let all = self.accounts();
        assert!(
            self.came_out <= all.sent,
            "streams gave {} packets and took {}",
            self.came_out,
            all.sent
        );
        (waiting.sum(), all.sent - self.came_out)
    }

    /// What the queues dropped.
    pub(crate) fn drops(&self) -> DropCounts {
        let all = self.accounts();
        let mut drops = DropCounts::default();
        drops.add_many(DropReason::StreamFull, all.full);
        drops.add_many(DropReason::StreamLate, all.late);
        drops
    }

    fn accounts(&self) -> Accounts {
        let mut all = self.gone;
        for inlet in self.inlets.values() {
            all.add(&inlet.counts());
        }
        all
    }
}
