//! Who reaches whom over which paths, and the largest inner packet that all of these ways carry.
//!
//! A POP reaches a region over its own backbone paths, and on a detour over those to another region and on from
//! there. A packet may take any of them, one after the other as paths fail, so the least of all ways counts. So
//! does the path among a region's CLB nodes, over which a packet makes its hop to a slot's other owner.

use std::collections::BTreeMap;

use anyedge_net::id::{NodeId, RegionId};
use anyedge_net::route_table::{Path, PathEnds};

/// The least inner MTU of all paths between two ends.
#[derive(Debug)]
pub(super) struct Reach {
    ccn: BTreeMap<(NodeId, RegionId), u16>,
    /// Both ways.
    backbone: BTreeMap<(RegionId, RegionId), u16>,
    fabric: BTreeMap<NodeId, u16>,
    mesh: BTreeMap<RegionId, u16>,
}

impl Reach {
    pub(super) fn new(paths: &[Path]) -> Reach {
        let mut reach = Reach {
            ccn: BTreeMap::new(),
            backbone: BTreeMap::new(),
            fabric: BTreeMap::new(),
            mesh: BTreeMap::new(),
        };
        for path in paths {
            let inner_mtu = path.inner_mtu();
            match path.ends {
                PathEnds::Ccn { pop, region } => lower(&mut reach.ccn, (pop, region), inner_mtu),
                PathEnds::Fabric { host, .. } => lower(&mut reach.fabric, host, inner_mtu),
                PathEnds::Mesh { region } => lower(&mut reach.mesh, region, inner_mtu),
                PathEnds::Backbone { regions: [a, b] } => {
                    lower(&mut reach.backbone, (a, b), inner_mtu);
                    lower(&mut reach.backbone, (b, a), inner_mtu);
                }
            }
        }
        reach
    }

    /// Over all paths of `pop` to `region`, straight and over one other region; `None` without any.
    pub(super) fn pop_mtu(&self, pop: NodeId, region: RegionId) -> Option<u16> {
        let of_pop = (pop, RegionId(0))..=(pop, RegionId(u16::MAX));
        let ways = self.ccn.range(of_pop).filter_map(|((_, first), mtu)| {
            if *first == region {
                return Some(*mtu);
            }
            let onward = self.backbone.get(&(*first, region))?;
            Some(*mtu.min(onward))
        });
        ways.min()
    }

    /// Over all paths between `host` and its region; `None` without any.
    pub(super) fn host_mtu(&self, host: NodeId) -> Option<u16> {
        self.fabric.get(&host).copied()
    }

    /// Over all paths among the CLB nodes of `region`; `None` without any.
    pub(super) fn mesh_mtu(&self, region: RegionId) -> Option<u16> {
        self.mesh.get(&region).copied()
    }
}

fn lower<K: Ord>(least: &mut BTreeMap<K, u16>, key: K, inner_mtu: u16) {
    let known = least.entry(key).or_insert(inner_mtu);
    *known = inner_mtu.min(*known);
}
