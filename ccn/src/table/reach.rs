//! Who reaches whom over which paths, and the largest inner packet that all of these ways carry.
//!
//! A POP reaches a region over its own backbone paths, and on a detour over those to another region and on from
//! there. A packet may take any of them, one after the other as paths fail, so the least of all ways counts. So
//! does the path among a region's CLB nodes, over which a packet makes its hop to a slot's other owner.
//! It follows from the table's paths, and is made anew when one of them changes.

use std::collections::BTreeMap;

use anyedge_net::wire::outer;

use super::object::{Ends, Path};
use super::objects::Objects;

/// From one end to the other: the least inner MTU of the paths between them.
type Ways = BTreeMap<String, BTreeMap<String, u16>>;

/// The least inner MTU of all paths between two ends.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Reach {
    /// POP to region.
    ccn: Ways,
    /// Region to region, both ways.
    backbone: Ways,
    fabric: BTreeMap<String, u16>,
    mesh: BTreeMap<String, u16>,
}

impl Path {
    /// Largest inner packet that the path carries, in bytes.
    pub fn inner_mtu(&self) -> u16 {
        let mtu = u16::try_from(self.mtu).unwrap_or(u16::MAX);
        outer::inner_mtu(self.encap, self.underlay, mtu)
    }
}

impl Reach {
    pub(crate) fn new(objects: &Objects) -> Reach {
        let mut reach = Reach::default();
        for path in objects.all::<Path>() {
            let inner_mtu = path.inner_mtu();
            match &path.ends {
                Ends::Ccn { pop, region } => join(&mut reach.ccn, pop, region, inner_mtu),
                Ends::Fabric { host } => lower(&mut reach.fabric, host, inner_mtu),
                Ends::Mesh { region } => lower(&mut reach.mesh, region, inner_mtu),
                Ends::Backbone { regions: [a, b] } => {
                    join(&mut reach.backbone, a, b, inner_mtu);
                    join(&mut reach.backbone, b, a, inner_mtu);
                }
            }
        }
        reach
    }

    /// Over all paths of `pop` to `region`, straight and over one other region; `None` without any.
    pub(crate) fn pop_mtu(&self, pop: &str, region: &str) -> Option<u16> {
        let ways = self.ccn.get(pop)?.iter().filter_map(|(first, mtu)| {
            if first == region {
                return Some(*mtu);
            }
            let onward = self.backbone.get(first)?.get(region)?;
            Some(*mtu.min(onward))
        });
        ways.min()
    }

    /// Over all paths between `host` and its region; `None` without any.
    pub(crate) fn host_mtu(&self, host: &str) -> Option<u16> {
        self.fabric.get(host).copied()
    }

    /// Over all paths among the CLB nodes of `region`; `None` without any.
    pub(crate) fn mesh_mtu(&self, region: &str) -> Option<u16> {
        self.mesh.get(region).copied()
    }
}

fn join(ways: &mut Ways, from: &str, to: &str, inner_mtu: u16) {
    lower(ways.entry(from.to_owned()).or_default(), to, inner_mtu);
}

fn lower(least: &mut BTreeMap<String, u16>, key: &str, inner_mtu: u16) {
    let known = least.entry(key.to_owned()).or_insert(inner_mtu);
    *known = inner_mtu.min(*known);
}
