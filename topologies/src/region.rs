//! `[region.NAME]`: where load balancers and backends are.
//!
//! A region has `clb_nodes` CLB nodes, named `region.NAME.clb-1` and on. All of them serve every CLB of the
//! region.

use crate::addresses::{AddressPair, Space};
use crate::diagnostic::Wrong;
use crate::names::Kind;
use crate::place::Place;
use crate::reader::Reader;

/// A region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Name without its kind: `guangzhou`.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// Its CLB nodes, 1 to 16, in the order of their numbers.
    pub clb_nodes: Vec<ClbNode>,
}

/// A node that runs the region's load balancers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClbNode {
    /// Full name: `region.guangzhou.clb-1`.
    pub name: String,
    /// Its own addresses, the end of the tunnels. Both families are always there.
    pub underlay: AddressPair,
}

impl Region {
    pub(crate) fn read(name: String, mut reader: Reader<'_>, space: &mut Space) -> Self {
        let place = Place::read(&mut reader, &name);
        let count = reader.integer("clb_nodes", 1..=16).unwrap_or(1);
        let clb_nodes: Vec<ClbNode> = (1..=count)
            .map(|number| {
                let node = format!("{}.clb-{number}", Kind::Region.object(&name));
                let underlay = space.give(&node, 1);
                if underlay.is_none() {
                    reader.wrong(Wrong::bare("no underlay address is left"));
                }
                ClbNode {
                    name: node,
                    underlay: underlay.unwrap_or_default(),
                }
            })
            .collect();
        reader.finish();
        Self {
            name,
            place,
            clb_nodes,
        }
    }
}
