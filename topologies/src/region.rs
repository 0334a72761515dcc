//! `[region.NAME]`: where load balancers and backends are.
//!
//! A region has `clb_nodes` CLB nodes, named `region.NAME.clb-1` and on. All of them serve every CLB of the
//! region. A fault may add further ones, which are there from its time on; their addresses are given after all
//! others, so that adding one moves nobody else's.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::addresses::{AddressPair, Space};
use crate::book::Book;
use crate::diagnostic::Wrong;
use crate::fault::{Fault, FaultVerb};
use crate::names::Kind;
use crate::place::Place;
use crate::reader::Reader;

/// CLB nodes of a region at most.
const NODES_MAX: u64 = 16;

/// A region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Name without its kind: `guangzhou`.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// Its CLB nodes, 1 to 16, in the order of their numbers, also those that a fault adds.
    pub clb_nodes: Vec<ClbNode>,
}

/// A node that runs the region's load balancers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClbNode {
    /// Full name: `region.guangzhou.clb-1`.
    pub name: String,
    /// Its own addresses, the end of the tunnels. Both families are always there.
    pub underlay: AddressPair,
    /// Its addresses on the management network. Both families are always there.
    pub management: AddressPair,
    /// When a fault adds it; `None` if it is there from the beginning.
    pub added_at: Option<Duration>,
}

impl Region {
    pub(crate) fn read(name: String, mut reader: Reader<'_>, space: &mut Space) -> Self {
        let place = Place::read(&mut reader, &name);
        let count = reader.integer("clb_nodes", 1..=NODES_MAX).unwrap_or(1);
        let clb_nodes: Vec<ClbNode> = (1..=count)
            .map(|number| {
                let node = node_name(&name, number);
                let underlay = space.give(&node, 1);
                if underlay.is_none() {
                    reader.wrong(Wrong::bare("no underlay address is left"));
                }
                ClbNode {
                    name: node,
                    underlay: underlay.unwrap_or_default(),
                    management: AddressPair::default(),
                    added_at: None,
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

    /// Its full name: `region.guangzhou`.
    pub(crate) fn object(&self) -> String {
        Kind::Region.object(&self.name)
    }
}

/// Full name of the CLB node of that number.
fn node_name(region: &str, number: u64) -> String {
    format!("{}.clb-{number}", Kind::Region.object(region))
}

/// Region and number of a CLB node's full name.
pub(crate) fn node_number(name: &str) -> Option<(&str, u64)> {
    let (region, digits) = name.strip_prefix("region.")?.rsplit_once(".clb-")?;
    let number = digits.parse().ok().filter(|number| *number > 0)?;
    (node_name(region, number) == name).then_some((region, number))
}

/// Gives regions the CLB nodes that faults add, in the order of their numbers.
pub(crate) fn add_nodes(
    book: &Book<'_>,
    regions: &mut BTreeMap<String, Region>,
    faults: &[Fault],
    space: &mut Space,
) {
    let mut added: Vec<(&str, u64, &Fault)> = faults
        .iter()
        .filter(|fault| fault.verb == FaultVerb::Add)
        .filter_map(|fault| node_number(&fault.object).map(|(name, number)| (name, number, fault)))
        .collect();
    added.sort_by_key(|(name, number, _)| (*name, *number));
    for (name, number, fault) in added {
        let added = match regions.get_mut(name) {
            Some(region) => add_node(region, number, fault, space),
            None => {
                let unknown = book
                    .names
                    .resolve(&Kind::Region.object(name), &[Kind::Region]);
                unknown.map(drop)
            }
        };
        if let Err(Wrong { reason, hint }) = added {
            let reason = format!("`add`: {reason}");
            book.report(&fault.place, "add", Wrong { reason, hint });
        }
    }
}

fn add_node(
    region: &mut Region,
    number: u64,
    fault: &Fault,
    space: &mut Space,
) -> Result<(), Wrong> {
    let next = region.clb_nodes.len() as u64 + 1;
    let object = Kind::Region.object(&region.name);
    if next > NODES_MAX {
        return Err(Wrong::new(
            format!("{object} has {NODES_MAX} CLB nodes already"),
            "that is the most",
        ));
    }
    if number != next {
        let reason = if number < next {
            format!("{} is there already", fault.object)
        } else {
            format!("{object} would have no CLB node {next}")
        };
        let hint = format!("the next one is \"{}\"", node_name(&region.name, next));
        return Err(Wrong::new(reason, hint));
    }
    let underlay = space.give(&fault.object, 1);
    let underlay = underlay.ok_or_else(|| Wrong::bare("no underlay address is left"))?;
    region.clb_nodes.push(ClbNode {
        name: fault.object.clone(),
        underlay,
        management: AddressPair::default(),
        added_at: Some(fault.at),
    });
    Ok(())
}
