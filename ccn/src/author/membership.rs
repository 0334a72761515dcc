//! Who of a region's CLB nodes takes part in its slots, and with what weight.
//!
//! A node's id and its place in `Region::clb_nodes` never change by it: paths, probes and flows in progress
//! refer to nodes that are lost or drained. Only the slots are shared out anew.

use std::collections::BTreeMap;

/// Weight of a CLB node until it is given another.
pub const NODE_WEIGHT: u8 = 10;

/// Whether a CLB node takes part in the slots of its region.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Membership {
    /// It serves.
    #[default]
    In,
    /// It is alive and holds flows, and shall get no more of them.
    Drained,
    /// It is dead: whatever it held is gone.
    Lost,
    /// It does not exist yet, or no longer.
    Absent,
}

impl Membership {
    /// Whether the node still has the flows that it had.
    pub const fn is_alive(self) -> bool {
        matches!(self, Membership::In | Membership::Drained)
    }
}

/// How a CLB node takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    pub(super) membership: Membership,
    /// 0-100, relative to the other nodes.
    pub(super) weight: u8,
}

impl Part {
    const WHOLE: Part = Part {
        membership: Membership::In,
        weight: NODE_WEIGHT,
    };
}

/// The parts of all CLB nodes, by full name; whoever is not here is in.
#[derive(Clone, Default, Debug)]
pub(super) struct Parts(BTreeMap<String, Part>);

impl Parts {
    pub(super) fn of(&self, clb_node: &str) -> Part {
        self.0.get(clb_node).copied().unwrap_or(Part::WHOLE)
    }

    pub(super) fn of_mut(&mut self, clb_node: &str) -> &mut Part {
        self.0.entry(clb_node.to_owned()).or_insert(Part::WHOLE)
    }
}
