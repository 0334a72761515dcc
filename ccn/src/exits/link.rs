//! Link: one of the node's own paths, as a way to one of the nodes at its far end.
//!
//! What services and probes say is kept by link; which bits of a probe stand for whom is decided here too.

use core::time::Duration;
use std::collections::BTreeMap;

use anyedge_net::id::{NodeId, PathId, RegionId};
use anyedge_net::route_table::{Node, NodeKind, RouteTable};
use anyedge_net::wire::outer::Encap;

use crate::probe::Standing;

/// A link's name, good in every revision.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LinkName {
    /// The path's name.
    pub path: String,
    /// The full name of the node at its far end.
    pub peer: String,
}

/// A path to a peer.
#[derive(Clone, Debug)]
pub struct Link {
    /// The same in every revision.
    pub name: LinkName,
    /// The path.
    pub path: PathId,
    /// The node at its far end.
    pub peer: NodeId,
    /// The round trip that the table expects of it.
    declared: Duration,
    /// The round trip that it is held to have: its cost.
    pub(super) rtt: Duration,
    /// Largest inner packet that the table says it carries, in bytes.
    pub inner_mtu: u16,
    /// No tunnel: nobody at its far end answers probes, and it is up unless a service says otherwise.
    pub is_plain: bool,
    /// It is to be emptied.
    pub(super) is_draining: bool,
    /// Where the peer is, for a CLB node.
    pub(super) region: Option<RegionId>,
    pub(super) tells: Tells,
    /// As far as services say.
    pub(super) is_up: bool,
    /// The peer has answered probes.
    pub(super) is_proven: bool,
    /// As far as probes say.
    pub(super) standing: Standing,
    /// Whom the peer reaches, as it says in numbers of this revision.
    pub(super) reaches: Option<u128>,
    /// The peer's place among the POPs.
    pub(super) pop_place: Option<u32>,
}

/// What this node tells the peer about whom it reaches.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tells {
    Regions,
    Pops,
    Nothing,
}

impl Link {
    /// The round trip that the table expects of it.
    pub const fn declared(&self) -> Duration {
        self.declared
    }

    /// The round trip that it is held to have: its cost.
    pub const fn rtt(&self) -> Duration {
        self.rtt
    }

    /// Whether it carries packets, as far as anybody knows.
    pub fn is_live(&self) -> bool {
        self.is_up && self.standing != Standing::Down
    }
}

/// The place of each POP among the POPs.
pub(super) fn pop_places(table: &RouteTable) -> BTreeMap<NodeId, u32> {
    let nodes = table.nodes.iter().enumerate();
    let pops = nodes.filter(|(_, node)| node.kind == NodeKind::Pop);
    pops.zip(0..)
        .map(|((id, _), place)| (NodeId(id as u16), place))
        .collect()
}

/// The links of `own`, by path and peer.
pub(super) fn links(table: &RouteTable, own: NodeId) -> Vec<Link> {
    let kind = |node: NodeId| table.nodes.get(node.index()).map(|node: &Node| node.kind);
    let name = |node: NodeId| table.nodes.get(node.index()).map(|node| node.name.clone());
    let places = pop_places(table);
    let mut links = Vec::new();
    for (id, path) in table.paths() {
        for peer in table.peers_over(path, own) {
            let tells = match (kind(own), kind(peer)) {
                (Some(NodeKind::ClbNode(_)), Some(NodeKind::Pop)) => Tells::Regions,
                (Some(NodeKind::ClbNode(own)), Some(NodeKind::ClbNode(peer))) if own != peer => {
                    Tells::Pops
                }
                _ => Tells::Nothing,
            };
            links.push(Link {
                name: LinkName {
                    path: path.name.clone(),
                    peer: name(peer).unwrap_or_default(),
                },
                path: id,
                peer,
                declared: path.rtt,
                rtt: path.rtt,
                inner_mtu: path.inner_mtu(),
                is_plain: path.encap == Encap::Plain,
                is_draining: path.draining,
                region: match kind(peer) {
                    Some(NodeKind::ClbNode(region)) => Some(region),
                    Some(NodeKind::Pop | NodeKind::Host(_)) | None => None,
                },
                tells,
                is_up: true,
                is_proven: false,
                standing: Standing::Up,
                reaches: None,
                pop_place: places.get(&peer).copied(),
            });
        }
    }
    links.sort_by_key(|link| (link.path, link.peer));
    links
}
