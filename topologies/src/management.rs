//! The management network: how controllers, POPs, CLB nodes and backends' hosts reach each other for control.
//!
//! Every one of them has an address of its own there, and is at a spot: a POP, a region, or a city for controllers
//! that are at neither. Between two spots packets take the best way over the backbone's links, whatever these carry
//! beside; spots that no links of the file join are as far apart as the great circle x 2.05 at 204 km/ms, and no
//! link can cut them off from each other. Within a spot the way takes what the way to a backend's host takes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::addresses::{AddressPair, Space};
use crate::book::{Book, FILE};
use crate::cities;
use crate::defaults::Routes;
use crate::diagnostic::Wrong;
use crate::link::LinkEnds;
use crate::names::Kind;
use crate::place::Coordinates;
use crate::topology::Topology;

/// The operator's machine: no object of the file, and so nobody else's name.
pub const OPERATOR: &str = "operator";

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spot {
    /// Beside a POP.
    Pop(String),
    /// In a region.
    Region(String),
    /// In a city that has neither.
    City(String),
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spot::Pop(name) => f.write_str(&Kind::Pop.object(name)),
            Spot::Region(name) => f.write_str(&Kind::Region.object(name)),
            Spot::City(name) => write!(f, "city.{name}"),
        }
    }
}

/// A node of the management network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Managed {
    /// Full name: `controller.a`, `pop.tokyo`, `region.guangzhou.clb-1`, `host.web-1`.
    pub name: String,
    /// Where it is.
    pub spot: Spot,
    /// Its addresses there. Both families are always there.
    pub address: AddressPair,
    /// When a fault adds it; `None` if it is there from the beginning.
    pub added_at: Option<Duration>,
}

/// The home region of the first VIP, by name.
pub(crate) fn home(topology: &Topology) -> Option<String> {
    let vip = topology.vips.values().next()?;
    Some(topology.clbs.get(&vip.clb)?.region.clone())
}

/// Where the operator sits: in the home region of the first VIP, else with the first controller. Nobody has to be
/// told anything where tables are static.
fn operator(topology: &Topology) -> Option<Spot> {
    if topology.defaults.routes == Routes::Static {
        return None;
    }
    let home = home(topology).map(Spot::Region);
    home.or_else(|| Some(topology.controllers.values().next()?.at.clone()))
}

/// Every node of the management network, by kind and name.
pub(crate) fn nodes(topology: &Topology) -> Vec<Managed> {
    let node = |name, spot, address| Managed {
        name,
        spot,
        address,
        added_at: None,
    };
    let mut nodes = Vec::new();
    for controller in topology.controllers.values() {
        let spot = controller.at.clone();
        nodes.push(node(controller.object(), spot, controller.management));
    }
    for pop in topology.pops.values() {
        let spot = Spot::Pop(pop.name.clone());
        nodes.push(node(Kind::Pop.object(&pop.name), spot, pop.management));
    }
    for region in topology.regions.values() {
        nodes.extend(region.clb_nodes.iter().map(|clb| Managed {
            added_at: clb.added_at,
            ..node(
                clb.name.clone(),
                Spot::Region(region.name.clone()),
                clb.management,
            )
        }));
    }
    for host in topology.hosts.values() {
        let spot = Spot::Region(host.region.clone());
        nodes.push(node(Kind::Host.object(&host.name), spot, host.management));
    }
    if let Some(spot) = operator(topology) {
        nodes.push(node(OPERATOR.to_owned(), spot, topology.operator));
    }
    nodes
}

/// Gives every node its address; CLB nodes that faults add come last, so that they move nobody else's.
pub(crate) fn give_addresses(book: &Book<'_>, topology: &mut Topology) {
    let mut space = Space::management();
    let mut give = |name: String, to: &mut AddressPair| match space.give(&name, 1) {
        Some(address) => *to = address,
        None => book.report(
            FILE,
            "",
            Wrong::bare("more nodes than management addresses"),
        ),
    };
    for controller in topology.controllers.values_mut() {
        give(controller.object(), &mut controller.management);
    }
    for pop in topology.pops.values_mut() {
        give(Kind::Pop.object(&pop.name), &mut pop.management);
    }
    for host in topology.hosts.values_mut() {
        give(Kind::Host.object(&host.name), &mut host.management);
    }
    give(OPERATOR.to_owned(), &mut topology.operator);
    for added in [false, true] {
        let regions = topology.regions.values_mut();
        let clb_nodes = regions.flat_map(|region| &mut region.clb_nodes);
        for clb in clb_nodes.filter(|clb| clb.added_at.is_some() == added) {
            give(clb.name.clone(), &mut clb.management);
        }
    }
}

/// The spots of a topology and the ways between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ways {
    spots: Vec<Spot>,
    coordinates: Vec<Option<Coordinates>>,
    edges: Vec<Edge>,
    within: Duration,
}

/// A backbone link, by the positions of its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Edge {
    link: String,
    ends: [usize; 2],
    rtt: Duration,
}

impl Ways {
    /// The ways of `topology`, whose spots are sorted.
    #[must_use]
    pub fn of(topology: &Topology) -> Self {
        let mut places = BTreeMap::new();
        for pop in topology.pops.values() {
            places.insert(Spot::Pop(pop.name.clone()), pop.place.coordinates);
        }
        for region in topology.regions.values() {
            places.insert(Spot::Region(region.name.clone()), region.place.coordinates);
        }
        for controller in topology.controllers.values() {
            if let Spot::City(city) = &controller.at {
                places.insert(controller.at.clone(), cities::coordinates(city));
            }
        }
        let (spots, coordinates): (Vec<_>, Vec<_>) = places.into_iter().unzip();
        let position = |spot: Spot| spots.binary_search(&spot).ok();
        let edges = topology.links.values().filter_map(|link| {
            let [one, other] = match &link.ends {
                LinkEnds::Ccn { pop, region } => {
                    [Spot::Pop(pop.clone()), Spot::Region(region.clone())]
                }
                LinkEnds::Backbone { regions } => {
                    regions.each_ref().map(|name| Spot::Region(name.clone()))
                }
            };
            Some(Edge {
                link: link.name.clone(),
                ends: [position(one)?, position(other)?],
                rtt: link.rtt,
            })
        });
        Self {
            edges: edges.collect(),
            spots,
            coordinates,
            within: topology.defaults.host_rtt,
        }
    }

    /// Every spot, sorted.
    #[must_use]
    pub fn spots(&self) -> &[Spot] {
        &self.spots
    }

    /// The position of a spot among [`Ways::spots`].
    #[must_use]
    pub fn position(&self, spot: &Spot) -> Option<usize> {
        self.spots.binary_search(spot).ok()
    }

    /// The round trip between two spots by their positions, while the links in `cut` carry nothing; `None` when
    /// there is no way.
    #[must_use]
    pub fn rtt(&self, from: usize, to: usize, cut: &BTreeSet<String>) -> Option<Duration> {
        if from == to {
            return Some(self.within);
        }
        let over_links = self.backbone(from, to, cut);
        if over_links.is_some() || self.backbone(from, to, &BTreeSet::new()).is_some() {
            return over_links;
        }
        let [one, other] = [from, to].map(|at| self.coordinates.get(at).copied().flatten());
        Some(one?.round_trip(other?).max(self.within))
    }

    /// The least sum of round trips over links that are not in `cut` (Dijkstra 1959).
    fn backbone(&self, from: usize, to: usize, cut: &BTreeSet<String>) -> Option<Duration> {
        let mut settled = BTreeSet::new();
        let mut reached = BTreeSet::from([(Duration::ZERO, from)]);
        while let Some((so_far, at)) = reached.pop_first() {
            if at == to {
                return Some(so_far);
            }
            if !settled.insert(at) {
                continue;
            }
            let open = self.edges.iter().filter(|edge| !cut.contains(&edge.link));
            for edge in open {
                let [one, other] = edge.ends;
                if one == at || other == at {
                    let next = if one == at { other } else { one };
                    reached.insert((so_far + edge.rtt, next));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
