//! Partitions of the management network: who cannot reach whom, in which direction, and how badly.
//!
//! A packet meets a partition when it is sent; one that was under way when all between two nodes was cut is lost when
//! it arrives. Each pair of nodes draws from a stream of its own, in each direction. Several partitions may hold at a
//! time: a packet has to pass them all.

use std::collections::{BTreeMap, BTreeSet};

use anyedge_net::rng::Seed;
use anyedge_topologies::{Loss, units};

use crate::executor::HostId;
use crate::link::Losses;

const ALL: Loss = Loss::Share(units::PPM_WHOLE);

/// A partition as the scenario has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cut {
    /// The number of its fault.
    pub(crate) fault: usize,
    pub(crate) nodes: Vec<Member>,
    /// The other side; `None`: every other node.
    pub(crate) against: Option<Vec<Member>>,
    pub(crate) outwards: Loss,
    pub(crate) inwards: Loss,
}

/// One of a side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Member {
    Host(HostId),
    /// Whoever leads when it begins.
    Leader,
}

/// Every partition that holds.
#[derive(Default)]
pub(crate) struct Partitions {
    holding: BTreeMap<usize, Sides>,
    draws: BTreeMap<(HostId, HostId), Losses>,
    names: BTreeMap<HostId, String>,
}

struct Sides {
    nodes: BTreeSet<HostId>,
    against: Option<BTreeSet<HostId>>,
    outwards: Loss,
    inwards: Loss,
}

impl Sides {
    /// What is lost from one host to another.
    fn loss(&self, from: HostId, to: HostId) -> Loss {
        if self.is_between(from, to) {
            self.outwards
        } else if self.is_between(to, from) {
            self.inwards
        } else {
            Loss::NONE
        }
    }

    fn is_between(&self, node: HostId, other: HostId) -> bool {
        self.nodes.contains(&node)
            && match &self.against {
                Some(against) => against.contains(&other),
                None => !self.nodes.contains(&other),
            }
    }
}

impl Partitions {
    /// A host goes by that name in its draws.
    pub(super) fn add(&mut self, host: HostId, name: &str) {
        self.names.insert(host, name.to_owned());
    }

    pub(crate) fn begin(&mut self, cut: &Cut, leader: Option<HostId>) {
        let side = |members: &Vec<Member>| {
            let hosts = members.iter().filter_map(|member| match member {
                Member::Host(host) => Some(*host),
                Member::Leader => leader,
            });
            hosts.collect::<BTreeSet<HostId>>()
        };
        let sides = Sides {
            nodes: side(&cut.nodes),
            against: cut.against.as_ref().map(side),
            outwards: cut.outwards,
            inwards: cut.inwards,
        };
        self.holding.insert(cut.fault, sides);
    }

    pub(crate) fn end(&mut self, fault: usize) {
        self.holding.remove(&fault);
    }

    /// Whether a packet that is sent now is lost.
    pub(crate) fn takes(&mut self, from: HostId, to: HostId, seed: Seed) -> bool {
        for sides in self.holding.values() {
            let loss = sides.loss(from, to);
            if loss == ALL {
                return true;
            }
            if loss == Loss::NONE {
                continue;
            }
            let name = || {
                let of = |host| self.names.get(host).map_or("", String::as_str);
                format!("partition/{}>{}", of(&from), of(&to))
            };
            let draws = self.draws.entry((from, to));
            let draws = draws.or_insert_with(|| Losses::new(&name(), seed));
            if draws.takes(&name(), loss) {
                return true;
            }
        }
        false
    }

    /// Whether nothing gets through between them.
    pub(crate) fn parts(&self, from: HostId, to: HostId) -> bool {
        let mut holding = self.holding.values();
        holding.any(|sides| sides.loss(from, to) == ALL)
    }
}
