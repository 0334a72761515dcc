//! Source: where the checks of a node come from, so that the answers find it.
//!
//! The vSwitch sends an answer to the owner of the slot that the check came in, by the tuple of the check. So
//! a node checks in a slot of its own, and from ports of its own: all nodes of a region check from one VIP.

use anyedge_net::flow::Address;
use anyedge_net::id::NodeId;
use anyedge_net::route_table::{ProbeSource, Region};
use anyedge_net::slot::SLOTS;

/// The first port that checks are sent from.
pub const PORT_MIN: u16 = 32_768;
/// How many ports the nodes of a region share.
const PORTS: u16 = 32_768;

/// The ports that one node sends its checks from.
#[derive(Clone, Copy, Default)]
pub(super) struct Ports {
    first: u16,
    count: u16,
    /// The node's place among those of its region.
    place: u16,
}

impl Ports {
    /// The share of a node of `region`.
    pub(super) fn of(region: &Region, own: NodeId) -> Ports {
        let nodes = u16::try_from(region.clb_nodes.len()).unwrap_or(PORTS);
        let count = (PORTS / nodes.clamp(1, PORTS)).max(1);
        let place = region.clb_nodes.iter().position(|node| *node == own);
        let place = (place.unwrap_or(0) % usize::from(PORTS / count)) as u16;
        Ports {
            first: PORT_MIN + place * count,
            count,
            place,
        }
    }

    /// The address that a check for the load balancer of a VIP comes from.
    pub(super) fn source(self, asked: ProbeSource, vip: Address) -> Address {
        asked.address(vip, self.place)
    }

    /// The port of a check, in turn.
    pub(super) const fn of_turn(self, turn: u16) -> u16 {
        match turn.checked_rem(self.count) {
            Some(offset) => self.first + offset,
            None => self.first,
        }
    }
}

/// A slot by whose key the answers of targets come back to `own`: `before` when it still does, else the first
/// that it owns, as its secondary only when it is primary of none.
pub(super) fn own_slot(region: &Region, own: NodeId, before: Option<u16>) -> Option<u16> {
    let is_primary = |slot: &u16| region.slots.owners(*slot).primary == own;
    let is_secondary = |slot: &u16| region.slots.owners(*slot).secondary == own;
    let slots = || 0..SLOTS as u16;
    before
        .filter(is_primary)
        .or_else(|| slots().find(is_primary))
        .or_else(|| slots().find(is_secondary))
}
