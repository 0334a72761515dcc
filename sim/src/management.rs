//! The management network of a world: which node has which address there, and the links between their places.
//!
//! Nodes at one place share that place's links to the others, one for each direction, made when a packet first takes
//! it. Its delay is half of the round trip over the best way that is left over the backbone; when that changes, so
//! does the link, and what is on a way that ends or grows longer is lost. A hop is one event, as on every link.
//!
//! Invariant: a link's rank follows from the two places alone, so that who speaks first changes nobody's order.

mod partitions;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use anyedge_net::flow::Address;
use anyedge_topologies::{Line, Managed, Topology, Ways};

use crate::executor::HostId;
use crate::link::LinkSpec;
use crate::lookup::{AddressMap, At};
use crate::world::LinkId;

use partitions::Partitions;
pub(crate) use partitions::{Cut, Member};

/// From a place to a place, by their positions.
pub(crate) type Leg = (usize, usize);

/// Who is where on the management network.
pub(crate) struct Management {
    ways: Ways,
    line: Line,
    /// Ranks of its links begin here.
    first_rank: usize,
    /// Backbone links that carry nothing.
    cut: BTreeSet<String>,
    /// Each host's place.
    places: BTreeMap<HostId, usize>,
    names: BTreeMap<String, HostId>,
    /// Lookups only, never iterated: its order cannot show.
    addresses: AddressMap<HostId>,
    links: BTreeMap<Leg, LinkId>,
    pub(crate) partitions: Partitions,
}

impl Management {
    /// The network of `topology` before anybody is on it.
    pub(crate) fn of(topology: &Topology, first_rank: usize) -> Management {
        Management {
            ways: Ways::of(topology),
            line: topology.defaults.management,
            first_rank,
            cut: BTreeSet::new(),
            places: BTreeMap::new(),
            names: BTreeMap::new(),
            addresses: AddressMap::default(),
            links: BTreeMap::new(),
            partitions: Partitions::default(),
        }
    }

    /// Ranks that its links may have.
    pub(crate) fn ranks(topology: &Topology) -> usize {
        let places = Ways::of(topology).spots().len();
        places * places
    }

    pub(crate) fn add(&mut self, host: HostId, node: &Managed) {
        let place = self.ways.position(&node.spot);
        let place = place.expect("every node of the file is at one of its places");
        self.places.insert(host, place);
        self.names.insert(node.name.clone(), host);
        self.partitions.add(host, &node.name);
        for address in node.address.iter() {
            self.addresses.insert(At(address.into()), host);
        }
    }

    /// The host with that address.
    pub(crate) fn host_at(&self, address: Address) -> Option<HostId> {
        self.addresses.get(&At(address)).copied()
    }

    /// The host of the node of that full name.
    pub(crate) fn host_named(&self, name: &str) -> Option<HostId> {
        self.names.get(name).copied()
    }

    /// The leg between two hosts' places.
    pub(crate) fn leg(&self, from: HostId, to: HostId) -> Option<Leg> {
        Some((*self.places.get(&from)?, *self.places.get(&to)?))
    }

    /// The link of a leg, if a packet took it before.
    pub(crate) fn link(&self, leg: Leg) -> Option<LinkId> {
        self.links.get(&leg).copied()
    }

    /// What the link of `leg` is when nothing is cut, and its rank; `None` when no way leads there.
    pub(crate) fn plan(&self, leg: Leg) -> Option<(LinkSpec, usize)> {
        let rtt = self.ways.rtt(leg.0, leg.1, &BTreeSet::new())?;
        let spots = self.ways.spots();
        let name = format!("management/{}>{}", spots[leg.0], spots[leg.1]);
        let spec = self.line.spec(name, rtt);
        Some((spec, self.first_rank + leg.0 * spots.len() + leg.1))
    }

    pub(crate) fn add_link(&mut self, leg: Leg, link: LinkId) {
        self.links.insert(leg, link);
    }

    /// How long the way of `leg` takes; `None` while there is none.
    pub(crate) fn delay(&self, leg: Leg) -> Option<Duration> {
        Some(self.ways.rtt(leg.0, leg.1, &self.cut)? / 2)
    }

    /// The backbone link of that name carries again, or no longer.
    pub(crate) fn set_backbone(&mut self, link: &str, carries: bool) {
        if carries {
            self.cut.remove(link);
        } else {
            self.cut.insert(link.to_owned());
        }
    }

    /// Every link that there is, with its leg.
    pub(crate) fn links(&self) -> impl Iterator<Item = (Leg, LinkId)> {
        self.links.iter().map(|(leg, link)| (*leg, *link))
    }
}

#[cfg(test)]
mod tests;
