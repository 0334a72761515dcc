//! Exits: by which port a node reaches another node now.
//!
//! A node sees some of the table's paths: those that end at it. Each is a link to every peer at its far end, and a
//! link is a way to that peer, and on a detour also to nodes behind it. Of the live ways to a node one is chosen by
//! the rules of `choice`, when a table, a link's standing or the time changes, so that asking is one indexed load
//! for each packet. docs/paths.md tells the rules and why.
//!
//! Invariant: `best[n]` is the exit of the way that is chosen to node `n`. Ids mean nothing in another revision:
//! what is known about links is carried over by the names of path and peer.

mod choice;
mod link;
mod ways;

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::Event;
use anyedge_net::forwarder::LocalEvent;
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::outbox::Outbox;
use anyedge_net::port::PortId;
use anyedge_net::route_table::{Mechanisms, Node, Path, Region, RouteTable, Shared};
use anyedge_net::slot::Owners;
use anyedge_net::time::{Deadline, Instant};

use crate::probe::Standing;
use choice::Verdict;
use link::Tells;
use ways::Way;

pub use choice::SETTLE_AFTER;
pub(crate) use choice::margin;
pub use link::{Link, LinkName};
pub use ways::DETOUR_NODES_MAX;

/// The port towards a peer and what fits through it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exit {
    /// A tunnel port, or that of the region's own network for a host without a vSwitch.
    pub port: PortId,
    /// Who takes the packet out of a tunnel: the node itself, or on a detour a node on the way.
    pub peer: NodeId,
    /// Largest inner packet, in bytes; on a detour the least along it.
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
    /// The same for owners of slots: nodes that are reached directly and are not passed over.
    serving: Vec<Exit>,
    /// The exit to each node by a way that is no detour.
    direct: Vec<Exit>,
    verdicts: Vec<Verdict>,
    /// By (path, peer).
    links: Vec<Link>,
    /// By (node, round-trip time, path name, ..): the order in which ways of one rank are preferred.
    ways: Vec<Way>,
    /// The ways to node `n` are `ways[first[n]..first[n + 1]]`.
    first: Vec<u32>,
    own_paths: BTreeMap<PathId, OwnPath>,
    ground: Ground,
    /// Another number whenever the links were laid anew.
    laid: u64,
    fallback: bool,
    reaches_regions: u128,
    reaches_pops: u128,
    /// Something changed since the last choice.
    is_stale: bool,
    changes: u64,
    /// A better way will have proved itself then.
    settled_at: Option<Instant>,
}

/// All of a route table that links and ways follow from.
#[derive(Clone)]
struct Ground {
    nodes: Shared<Vec<Node>>,
    regions: Shared<Vec<Region>>,
    paths: Shared<Vec<Path>>,
    mechanisms: Mechanisms,
    own: NodeId,
}

impl Default for Ground {
    fn default() -> Ground {
        Ground::of(&RouteTable::empty(), NodeId::UNKNOWN)
    }
}

impl Ground {
    fn of(table: &RouteTable, own: NodeId) -> Ground {
        Ground {
            nodes: table.nodes.clone(),
            regions: table.regions.clone(),
            paths: table.paths.clone(),
            mechanisms: table.mechanisms,
            own,
        }
    }

    /// Whether it is the very same.
    fn is(&self, other: &Ground) -> bool {
        self.nodes.is(&other.nodes)
            && self.regions.is(&other.regions)
            && self.paths.is(&other.paths)
            && (self.mechanisms, self.own) == (other.mechanisms, other.own)
    }
}

impl fmt::Debug for Ground {
    /// Without the table's parts: 65,521 slots a region say little.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ground of {:?}", self.own)
    }
}

#[derive(Clone, Debug)]
struct OwnPath {
    name: String,
    up: bool,
}

impl Exits {
    /// The exits of `own`, every path taken to be up. A node that is not in the table has none.
    pub fn new(table: &RouteTable, own: NodeId) -> Exits {
        Exits::default().renewed(Instant::ZERO, table, own)
    }

    /// Takes another revision, in which the node is `own`: what is known of links stays known, by their names, and
    /// ways in use stay in use by the same rules as ever. Nodes that were passed over get their slots back. Where nodes
    /// and paths are the very same, nothing is laid anew.
    pub fn renew(&mut self, now: Instant, table: &RouteTable, own: NodeId) {
        if self.ground.is(&Ground::of(table, own)) {
            self.go_on(now);
        } else {
            *self = self.renewed(now, table, own);
        }
    }

    /// What [`Exits::renewed`] comes to on the same ground.
    fn go_on(&mut self, now: Instant) {
        for link in &mut self.links {
            link.reaches = None;
        }
        for verdict in &mut self.verdicts {
            verdict.forget();
        }
        self.is_stale = true;
        self.refresh(now);
    }

    fn renewed(&self, now: Instant, table: &RouteTable, own: NodeId) -> Exits {
        let down_paths = self.own_paths.values().filter(|path| !path.up);
        let down: Vec<&str> = down_paths.map(|path| path.name.as_str()).collect();
        let mut own_paths = BTreeMap::new();
        for (id, path) in table.paths() {
            if !table.peers_over(path, own).is_empty() {
                let name = path.name.clone();
                let up = !down.contains(&name.as_str());
                own_paths.insert(id, OwnPath { name, up });
            }
        }
        let mut links = link::links(table, own);
        let known: BTreeMap<_, _> = self.links.iter().map(|link| (&link.name, link)).collect();
        for link in &mut links {
            if let Some(known) = known.get(&link.name) {
                (link.standing, link.is_proven) = (known.standing, known.is_proven);
                if known.declared() == link.declared() {
                    link.rtt = known.rtt;
                }
            }
            link.is_up = own_paths.get(&link.path).is_some_and(|path| path.up);
        }
        let mut ways = ways::ways(table, own, &links);
        let known: BTreeMap<_, _> = self.ways.iter().map(|way| (&way.name, way)).collect();
        for way in &mut ways {
            if let Some(known) = known.get(&way.name) {
                (way.live, way.live_since) = (known.live, known.live_since);
                (way.leg_is_live, way.chosen) = (known.leg_is_live, known.chosen);
            } else {
                // A way that is new to the table need not prove itself.
                way.live = true;
            }
        }
        let nodes = table.nodes.len();
        let first =
            (0..=nodes).map(|node| ways.partition_point(|way| way.to.index() < node) as u32);
        let mut exits = Exits {
            best: vec![NONE; nodes],
            serving: vec![NONE; nodes],
            direct: vec![NONE; nodes],
            verdicts: table.nodes.iter().map(Verdict::fresh).collect(),
            links,
            first: first.collect(),
            ways,
            own_paths,
            ground: Ground::of(table, own),
            laid: self.laid + 1,
            fallback: table.mechanisms.fallback,
            is_stale: true,
            changes: self.changes,
            ..Exits::default()
        };
        exits.refresh(now);
        exits
    }

    /// Takes in what a service of the node found out about paths, and tells of it when that is news.
    pub fn handle_event(&mut self, now: Instant, event: LocalEvent, out: &mut Outbox) {
        match event {
            LocalEvent::PathState { path, up } => {
                if self.set_state(now, path, up) {
                    out.event(Event::PathState { path, up });
                }
            }
        }
    }

    /// Notes that `path` was found up or down and chooses anew where it matters. A service's word is taken at
    /// once: the path need not prove itself. Returns whether that is news: false for a path of other nodes and
    /// for a state that was known.
    pub fn set_state(&mut self, now: Instant, path: PathId, up: bool) -> bool {
        let Some(own) = self.own_paths.get_mut(&path) else {
            return false;
        };
        if own.up == up {
            return false;
        }
        own.up = up;
        for (index, link) in self.links.iter_mut().enumerate() {
            if link.path == path {
                link.is_up = up;
                for way in self.ways.iter_mut().filter(|way| way.link == index) {
                    way.live = up;
                    way.live_since = None;
                }
            }
        }
        self.is_stale = true;
        self.refresh(now);
        true
    }

    /// Notes what probes say of a link, and whom its peer reaches itself if that is known in numbers of this
    /// revision. In force at the next [`Exits::refresh`].
    pub fn set_standing(&mut self, link: usize, standing: Standing, reaches: Option<u128>) {
        let link = &mut self.links[link];
        if (link.standing, link.reaches) != (standing, reaches) {
            (link.standing, link.reaches) = (standing, reaches);
            self.is_stale = true;
        }
    }

    /// Notes the round trip that a link is held to have. In force at the next [`Exits::refresh`].
    pub fn set_cost(&mut self, link: usize, rtt: Duration) {
        let link = &mut self.links[link];
        if link.rtt != rtt {
            link.rtt = rtt;
            self.is_stale = true;
        }
    }

    /// Notes that the peer of a link answers probes: from then on its silence is its loss.
    pub fn set_proven(&mut self, link: usize) {
        let link = &mut self.links[link];
        self.is_stale |= !link.is_proven;
        link.is_proven = true;
    }

    /// Another number whenever the links may be others than before.
    pub(crate) const fn laid(&self) -> u64 {
        self.laid
    }

    /// The links of this node, by path and peer.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The place of a link among [`Exits::links`].
    pub fn link(&self, path: PathId, peer: NodeId) -> Option<usize> {
        let key = |link: &Link| (link.path, link.peer);
        self.links.binary_search_by_key(&(path, peer), key).ok()
    }

    /// Whom this node reaches itself, for the peer of a link to know: bit by bit a region to a POP, a POP to
    /// a CLB node of another region.
    pub fn tells(&self, link: usize) -> u128 {
        match self.links[link].tells {
            Tells::Regions => self.reaches_regions,
            Tells::Pops => self.reaches_pops,
            Tells::Nothing => 0,
        }
    }

    /// The way to `peer` that is chosen; `None` when no live way leads there.
    #[inline]
    pub fn to(&self, peer: NodeId) -> Option<Exit> {
        is_some(self.best.get(peer.index()))
    }

    /// The way to `peer` over a path that ends there, no detour.
    #[inline]
    pub fn direct_to(&self, peer: NodeId) -> Option<Exit> {
        is_some(self.direct.get(peer.index()))
    }

    /// The owner of a slot to send to, and the way there: the primary, or the secondary when no path of this
    /// node reaches the primary. Only when neither is reached directly, a detour leads to the primary.
    ///
    /// A primary that was reached and is lost, while others of its region are reached, is passed over until the
    /// next revision: back from the dead, it has yet to get its flows.
    ///
    /// # Errors
    /// [`DropReason::NoSlotOwner`] when the slot has no primary, [`DropReason::NoPath`] when neither is reached.
    #[inline]
    pub fn owner(&self, owners: Owners) -> Result<(NodeId, Exit), DropReason> {
        let Owners { primary, secondary } = owners;
        if let Some(exit) = is_some(self.serving.get(primary.index())) {
            return Ok((primary, exit));
        }
        self.other_owner(primary, secondary)
    }

    #[cold]
    fn other_owner(
        &self,
        primary: NodeId,
        secondary: NodeId,
    ) -> Result<(NodeId, Exit), DropReason> {
        if primary == NodeId::UNKNOWN {
            return Err(DropReason::NoSlotOwner);
        }
        let secondary = if self.fallback {
            secondary
        } else {
            NodeId::UNKNOWN
        };
        if let Some(exit) = is_some(self.serving.get(secondary.index())) {
            return Ok((secondary, exit));
        }
        let by_any = |node: NodeId| self.to(node).map(|exit| (node, exit));
        by_any(primary)
            .or_else(|| by_any(secondary))
            .ok_or(DropReason::NoPath)
    }

    /// The one of `peers` to send to, and how: one that does not drain and is reached by a path that loses
    /// little before others, then the one at least cost; ties go to the lower id. `None` when no live way leads
    /// to any of them.
    pub fn cheapest(&self, peers: &[NodeId]) -> Option<(NodeId, Exit)> {
        let reached = peers
            .iter()
            .filter_map(|peer| Some((*peer, self.to(*peer)?)));
        reached.min_by_key(|(peer, _)| (self.verdicts.get(peer.index()).map(Verdict::cost), *peer))
    }

    /// The same over paths that end at the peers, no detour.
    pub fn cheapest_direct(&self, peers: &[NodeId]) -> Option<(NodeId, Exit)> {
        let reached = peers
            .iter()
            .filter_map(|peer| Some((*peer, self.direct_to(*peer)?)));
        let cost = |peer: &NodeId| self.verdicts.get(peer.index()).map(Verdict::direct_cost);
        reached.min_by_key(|(peer, _)| (cost(peer), *peer))
    }

    /// Whether all that leads to `peer` loses too many probes or is to be emptied.
    #[inline]
    pub fn is_poor(&self, peer: NodeId) -> bool {
        self.verdicts
            .get(peer.index())
            .is_some_and(Verdict::is_poor)
    }

    /// Expected round-trip time of the way that [`Exits::to`] gives.
    pub fn rtt(&self, peer: NodeId) -> Option<Duration> {
        self.to(peer)?;
        let verdict = self.verdicts.get(peer.index())?;
        Some(Duration::from_nanos(verdict.rtt_ns))
    }

    /// The node's own paths in the order of their ids, and whether each is up as far as services say.
    pub fn paths(&self) -> impl Iterator<Item = (PathId, bool)> + '_ {
        self.own_paths.iter().map(|(id, path)| (*id, path.up))
    }

    /// A number that is another one whenever ways were chosen anew.
    #[inline]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// When to call [`Exits::refresh`] next: a better way will then have lasted long enough.
    #[inline]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let reason = "a better path has lasted";
        self.settled_at.map(|at| Deadline { at, reason })
    }
}

#[inline]
fn is_some(exit: Option<&Exit>) -> Option<Exit> {
    exit.copied().filter(|exit| exit.port != PortId::LOCAL)
}

#[cfg(test)]
mod tests;
