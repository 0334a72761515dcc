//! Who of a region's CLB nodes takes part in its slots, and with what weight.
//!
//! A node's id and its place in `Region::clb_nodes` never change by it: paths, probes and flows in progress
//! refer to nodes that are lost or drained. Only the slots are shared out anew.

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
pub(crate) struct Part {
    pub(crate) membership: Membership,
    /// 0-100, relative to the other nodes.
    pub(crate) weight: u8,
}
