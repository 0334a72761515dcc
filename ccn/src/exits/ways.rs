//! Ways: all that may lead from a node to another, by its own links and on detours.
//!
//! A detour goes over one CLB node of a third region: from a POP to the CLB nodes of a region that it has no path
//! to, and from a CLB node to a POP. Its second leg is that node's own affair; whether there is one that lives, its
//! probes say. A detour has exactly one node on the way, which sends on over its own paths only, so none goes in
//! circles.

use core::time::Duration;
use std::collections::BTreeMap;

use anyedge_net::id::{NodeId, RegionId};
use anyedge_net::port::PortId;
use anyedge_net::route_table::{NodeKind, PathEnds, RouteTable};
use anyedge_net::time::{Instant, nanos};

use super::link::{Link, LinkName, Tells, pop_places};
use super::{Exit, NONE};
use crate::probe::Standing;

/// CLB nodes of a third region that a detour to one node considers: each node begins at another of them, so that
/// detours spread.
pub const DETOUR_NODES_MAX: usize = 4;

/// A way to a node.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// Which node.
    pub(super) to: NodeId,
    /// The same in every revision: its link, and the node that it leads to.
    pub(super) name: (LinkName, String),
    /// The link that it begins with.
    pub(super) link: usize,
    pub(super) exit: Exit,
    /// What it costs: the round trip of its link, and on a detour of its second leg as the table says.
    pub(super) rtt_ns: u64,
    /// The second leg's part of that.
    pub(super) leg_ns: u64,
    pub(super) is_detour: bool,
    /// The bit of the link's `reaches` that says whether the second leg lives.
    pub(super) reach_bit: Option<u32>,
    /// Whether it does, as far as the node on the way last said in numbers of a revision that both have.
    pub(super) leg_is_live: bool,
    /// Whether it carried packets at the last choice.
    pub(super) live: bool,
    /// Since when; `None`: for as long as anybody knows.
    pub(super) live_since: Option<Instant>,
    pub(super) chosen: bool,
}

impl Way {
    /// Takes in what its link says. Returns whether it carries packets. Beyond the last bit that a probe has,
    /// a second leg is taken to live.
    pub(super) fn hear(&mut self, links: &[Link]) -> bool {
        let bit = self.reach_bit.and_then(|bit| 1_u128.checked_shl(bit));
        if let (Some(bit), Some(reaches)) = (bit, links[self.link].reaches) {
            self.leg_is_live = reaches & bit != 0;
        }
        self.standing(links) != Standing::Down
    }

    /// What its link says of it, with the second leg of a detour.
    pub(super) fn standing(&self, links: &[Link]) -> Standing {
        let link = &links[self.link];
        if link.is_live() && self.leg_is_live {
            link.standing
        } else {
            Standing::Down
        }
    }
}

/// The second legs of detours: cost and what fits, by where they begin and where they end.
type Legs<End> = BTreeMap<(RegionId, End), (Duration, u16)>;

/// All ways of `own`, by (node, round-trip time, path name, nodes on the way).
pub(super) fn ways(table: &RouteTable, own: NodeId, links: &[Link]) -> Vec<Way> {
    let mut ways = Vec::new();
    for (index, link) in links.iter().enumerate() {
        ways.push((0, way(table, index, link, link.peer)));
    }
    let kind = table.nodes.get(own.index()).map(|node| node.kind);
    match kind.filter(|_| table.mechanisms.detour) {
        Some(NodeKind::Pop) => detours_to_regions(table, links, &mut ways),
        Some(NodeKind::ClbNode(_)) => detours_to_pops(table, links, &mut ways),
        Some(NodeKind::Host(_)) | None => {}
    }
    ways.sort_by(|(a_turn, a), (b_turn, b)| {
        let a = (a.to, a.rtt_ns, &a.name.0.path, a_turn, a.exit.peer);
        a.cmp(&(b.to, b.rtt_ns, &b.name.0.path, b_turn, b.exit.peer))
    });
    ways.into_iter().map(|(_, way)| way).collect()
}

fn detours_to_regions(table: &RouteTable, links: &[Link], ways: &mut Vec<(usize, Way)>) {
    let mut legs: Legs<RegionId> = BTreeMap::new();
    for path in &table.paths {
        if let PathEnds::Backbone { regions: [a, b] } = path.ends {
            add_leg(&mut legs, (a, b), path.rtt, path.inner_mtu());
            add_leg(&mut legs, (b, a), path.rtt, path.inner_mtu());
        }
    }
    for (index, link) in links.iter().enumerate() {
        let Some(via) = link.region else { continue };
        for ((_, region), leg) in legs.range((via, RegionId(0))..=(via, RegionId(u16::MAX))) {
            let ends = table.regions.get(region.index());
            for to in ends.map_or(&[][..], |region| &region.clb_nodes) {
                let bit = u32::from(region.0);
                ways.extend(detour(table, (index, link), *to, *leg, bit));
            }
        }
    }
}

fn detours_to_pops(table: &RouteTable, links: &[Link], ways: &mut Vec<(usize, Way)>) {
    let mut legs: Legs<NodeId> = BTreeMap::new();
    for path in &table.paths {
        if let PathEnds::Ccn { pop, region } = path.ends {
            add_leg(&mut legs, (region, pop), path.rtt, path.inner_mtu());
        }
    }
    let places = pop_places(table);
    for (index, link) in links.iter().enumerate() {
        let Some(via) = link.region.filter(|_| matches!(link.tells, Tells::Pops)) else {
            continue;
        };
        for ((_, pop), leg) in legs.range((via, NodeId(0))..=(via, NodeId(u16::MAX))) {
            let bit = places.get(pop).copied().unwrap_or(u32::MAX);
            ways.extend(detour(table, (index, link), *pop, *leg, bit));
        }
    }
}

fn add_leg<End: Ord>(legs: &mut Legs<End>, ends: (RegionId, End), rtt: Duration, inner_mtu: u16) {
    let leg = legs.entry(ends).or_insert((rtt, inner_mtu));
    *leg = (leg.0.min(rtt), leg.1.min(inner_mtu));
}

/// The detour over the far end of a link to `to`, and its turn among the nodes of that region; `None` when it is
/// not that node's turn.
fn detour(
    table: &RouteTable,
    (index, link): (usize, &Link),
    to: NodeId,
    (rtt, inner_mtu): (Duration, u16),
    reach_bit: u32,
) -> Option<(usize, Way)> {
    let region = table.regions.get(link.region?.index())?;
    let place = region
        .clb_nodes
        .iter()
        .position(|node| *node == link.peer)?;
    let count = region.clb_nodes.len();
    let turn = (place + count - to.index() % count) % count;
    let direct = way(table, index, link, to);
    let detour = Way {
        rtt_ns: direct.rtt_ns.saturating_add(nanos(rtt)),
        leg_ns: nanos(rtt),
        exit: Exit {
            inner_mtu: link.inner_mtu.min(inner_mtu),
            ..direct.exit
        },
        is_detour: true,
        reach_bit: Some(reach_bit),
        ..direct
    };
    (turn < DETOUR_NODES_MAX).then_some((turn, detour))
}

fn way(table: &RouteTable, index: usize, link: &Link, to: NodeId) -> Way {
    let name = table.nodes.get(to.index()).map(|node| node.name.clone());
    Way {
        to,
        name: (link.name.clone(), name.unwrap_or_default()),
        link: index,
        exit: Exit {
            port: if link.is_plain {
                PortId::VPC
            } else {
                PortId::tunnel(link.path)
            },
            peer: link.peer,
            inner_mtu: link.inner_mtu,
        },
        rtt_ns: nanos(link.declared()),
        leg_ns: 0,
        is_detour: false,
        reach_bit: None,
        leg_is_live: true,
        live: false,
        live_since: None,
        chosen: false,
    }
}

/// No way at all.
pub(super) fn exit_of(way: Option<&Way>) -> Exit {
    way.map_or(NONE, |way| way.exit)
}
