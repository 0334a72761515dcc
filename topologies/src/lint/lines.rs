//! A POP's lines: its backbone links that lead towards a region, directly or over one other region.

use crate::link::{Link, LinkEnds};
use crate::topology::Topology;

/// The links of a POP over which a region can be reached.
pub(super) fn lines<'t>(
    topology: &'t Topology,
    pop: &'t str,
    region: &'t str,
) -> impl Iterator<Item = &'t Link> {
    topology
        .links
        .values()
        .filter(move |link| match &link.ends {
            LinkEnds::Ccn {
                pop: near,
                region: far,
            } => near == pop && (far == region || are_beside(topology, far, region)),
            LinkEnds::Backbone { .. } => false,
        })
}

/// Whether a link joins two regions.
fn are_beside(topology: &Topology, one: &str, other: &str) -> bool {
    let mut links = topology.links.values();
    links.any(|link| {
        matches!(link.ends, LinkEnds::Backbone { .. })
            && link.ends.has_region(one)
            && link.ends.has_region(other)
    })
}
