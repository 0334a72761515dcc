//! Exits: by which port a node reaches another node now.
//!
//! A node sees some of the table's paths: those that end at it. Each leads to one or more peers, and the
//! cheapest live one is the exit to that peer: least expected round-trip time, then by path name. Choosing is
//! done when a table or a path's state changes, so that asking is one indexed load for each packet.
//!
//! Invariant: `best[n]` is the exit of the first live candidate of node `n`, in the order of cost.
//! Ids mean nothing in another revision: what is known about a path's state is carried over by its name.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::Event;
use anyedge_net::forwarder::LocalEvent;
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::outbox::Outbox;
use anyedge_net::port::PortId;
use anyedge_net::route_table::RouteTable;
use anyedge_net::slot::Owners;
use anyedge_net::time::nanos;

/// The port towards a peer and what fits through it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exit {
    /// A tunnel port.
    pub port: PortId,
    /// Who takes the packet out of that tunnel: the node itself, or on a detour a node on the way.
    pub peer: NodeId,
    /// Largest inner packet, in bytes.
    pub inner_mtu: u16,
}

/// No exit: a tunnel's port is never the local one.
const NONE: Exit = Exit {
    port: PortId::LOCAL,
    peer: NodeId::UNKNOWN,
    inner_mtu: 0,
};

/// One node's view of the paths that end at it.
#[derive(Clone, Debug, Default)]
pub struct Exits {
    /// The exit to each node, by its id.
    best: Vec<Exit>,
    /// The expected round-trip time of that exit, in nanoseconds.
    rtt_ns: Vec<u64>,
    /// Ways to each peer, by (peer, round-trip time, path name).
    candidates: Vec<Candidate>,
    /// The node's own paths.
    own_paths: BTreeMap<PathId, OwnPath>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    peer: NodeId,
    path: PathId,
    rtt_ns: u64,
    exit: Exit,
}

#[derive(Clone, Debug)]
struct OwnPath {
    name: String,
    up: bool,
}

impl Exits {
    /// The exits of `own`, every path taken to be up. A node that is not in the table has none.
    pub fn new(table: &RouteTable, own: NodeId) -> Exits {
        Exits::default().renewed(table, own)
    }

    /// The exits of `own` in another revision: paths known to be down stay down, by their names.
    pub fn renewed(&self, table: &RouteTable, own: NodeId) -> Exits {
        let down: BTreeSet<&str> = self
            .own_paths
            .values()
            .filter(|path| !path.up)
            .map(|path| path.name.as_str())
            .collect();
        let mut exits = Exits {
            best: vec![NONE; table.nodes.len()],
            rtt_ns: vec![u64::MAX; table.nodes.len()],
            ..Exits::default()
        };
        for (id, path) in table.paths() {
            let peers = table.peers_over(path, own);
            if peers.is_empty() {
                continue;
            }
            let up = !down.contains(path.name.as_str());
            exits.own_paths.insert(
                id,
                OwnPath {
                    name: path.name.clone(),
                    up,
                },
            );
            let exit = |peer: NodeId| Exit {
                port: PortId::tunnel(id),
                peer,
                inner_mtu: path.inner_mtu(),
            };
            let rtt_ns = nanos(path.rtt);
            let candidates = peers.iter().map(|peer| Candidate {
                peer: *peer,
                path: id,
                rtt_ns,
                exit: exit(*peer),
            });
            exits.candidates.extend(candidates);
        }
        let own_paths = &exits.own_paths;
        let name = |candidate: &Candidate| {
            own_paths
                .get(&candidate.path)
                .map(|path| path.name.as_str())
        };
        exits
            .candidates
            .sort_by(|a, b| (a.peer, a.rtt_ns, name(a)).cmp(&(b.peer, b.rtt_ns, name(b))));
        for node in 0..table.nodes.len() {
            exits.choose(NodeId(node as u16));
        }
        exits
    }

    /// Takes in what a service of the node found out about paths, and tells of it when that is news.
    pub fn handle_event(&mut self, event: LocalEvent, out: &mut Outbox) {
        match event {
            LocalEvent::PathState { path, up } => {
                if self.set_state(path, up) {
                    out.event(Event::PathState { path, up });
                }
            }
        }
    }

    /// Notes that `path` was found up or down and chooses anew where it matters. Returns whether that is
    /// news: false for a path of other nodes and for a state that was known.
    pub fn set_state(&mut self, path: PathId, up: bool) -> bool {
        let Some(own) = self.own_paths.get_mut(&path) else {
            return false;
        };
        if own.up == up {
            return false;
        }
        own.up = up;
        let peers: BTreeSet<NodeId> = self
            .candidates
            .iter()
            .filter(|way| way.path == path)
            .map(|way| way.peer)
            .collect();
        for peer in peers {
            self.choose(peer);
        }
        true
    }

    /// The cheapest live way to `peer`; `None` when no live path leads there.
    #[inline]
    pub fn to(&self, peer: NodeId) -> Option<Exit> {
        self.best
            .get(peer.index())
            .copied()
            .filter(|exit| exit.port != PortId::LOCAL)
    }

    /// The owner of a slot to send to, and the way there: the primary, or the secondary when no live path
    /// leads to the primary.
    ///
    /// # Errors
    /// [`DropReason::NoSlotOwner`] when the slot has no primary, [`DropReason::NoPath`] when neither is reached.
    #[inline]
    pub fn owner(&self, owners: Owners) -> Result<(NodeId, Exit), DropReason> {
        if owners.primary == NodeId::UNKNOWN {
            return Err(DropReason::NoSlotOwner);
        }
        if let Some(exit) = self.to(owners.primary) {
            return Ok((owners.primary, exit));
        }
        let exit = self.to(owners.secondary).ok_or(DropReason::NoPath)?;
        Ok((owners.secondary, exit))
    }

    /// The one of `peers` that is reached at least cost, and how; ties go to the lower id. `None` when no
    /// live path leads to any of them.
    pub fn cheapest(&self, peers: &[NodeId]) -> Option<(NodeId, Exit)> {
        let reached = peers
            .iter()
            .filter_map(|peer| Some((*peer, self.to(*peer)?)));
        reached.min_by_key(|(peer, _)| (self.rtt_ns.get(peer.index()), *peer))
    }

    /// Expected round-trip time of the way that [`Exits::to`] gives.
    pub fn rtt(&self, peer: NodeId) -> Option<Duration> {
        self.to(peer)?;
        self.rtt_ns
            .get(peer.index())
            .map(|rtt| Duration::from_nanos(*rtt))
    }

    /// The node's own paths in the order of their ids, and whether each is up.
    pub fn paths(&self) -> impl Iterator<Item = (PathId, bool)> + '_ {
        self.own_paths.iter().map(|(id, path)| (*id, path.up))
    }

    fn choose(&mut self, peer: NodeId) {
        let first = self.candidates.partition_point(|way| way.peer < peer);
        let is_up = |way: &&Candidate| self.own_paths.get(&way.path).is_some_and(|path| path.up);
        let best = self.candidates[first..]
            .iter()
            .take_while(|way| way.peer == peer)
            .find(is_up);
        let (exit, rtt_ns) = best.map_or((NONE, u64::MAX), |way| (way.exit, way.rtt_ns));
        self.best[peer.index()] = exit;
        self.rtt_ns[peer.index()] = rtt_ns;
    }
}

#[cfg(test)]
mod tests;
