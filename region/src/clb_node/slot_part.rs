//! The part of a listener's limits that one node has: by the slots that it serves, as primary.
//!
//! Limits hold for all nodes of a region together, which do not ask each other with every flow. Each has its part, rounded
//! so that the parts of all nodes make exactly the whole: a node with the slots from `before` on, counted in the order of
//! the nodes, has what lies between both ends.
//!
//! Invariant: over the nodes of a region the parts of a limit sum to the limit.

use anyedge_net::id::NodeId;
use anyedge_net::route_table::Region;
use anyedge_net::slot::SLOTS;

/// Which part of all slots a node serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct SlotPart {
    before: u32,
    own: u32,
}

impl SlotPart {
    /// The part of `node` in `region`.
    pub(super) fn of_node(region: &Region, node: NodeId) -> SlotPart {
        let mut part = SlotPart::default();
        let place = |id: NodeId| region.clb_nodes.iter().position(|one| *one == id);
        let own = place(node);
        let mut counts = vec![0; region.clb_nodes.len()];
        for slot in 0..SLOTS as u16 {
            if let Some(place) = place(region.slots.owners(slot).primary) {
                counts[place] += 1;
            }
        }
        if let Some(own) = own {
            part.before = counts[..own].iter().sum();
            part.own = counts[own];
        }
        part
    }

    /// The node's part of a limit.
    pub(super) fn of(self, limit: u32) -> u32 {
        let below = |slots: u32| u64::from(slots) * u64::from(limit) / u64::from(SLOTS);
        (below(self.before + self.own) - below(self.before)) as u32
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use anyedge_net::slot::SlotMap;

    use super::*;

    #[test]
    fn the_parts_of_all_nodes_make_the_whole() {
        let nodes: Vec<NodeId> = (0..7).map(NodeId).collect();
        let names: Vec<String> = nodes.iter().map(|node| format!("clb-{}", node.0)).collect();
        let members: Vec<(NodeId, &str)> = nodes
            .iter()
            .zip(&names)
            .map(|(node, name)| (*node, name.as_str()))
            .collect();
        let region = Region {
            name: "guangzhou".to_owned(),
            clb_nodes: nodes.clone(),
            slots: Arc::new(SlotMap::fill(&members)),
        };
        let parts: Vec<SlotPart> = nodes
            .iter()
            .map(|node| SlotPart::of_node(&region, *node))
            .collect();
        for limit in [1, 2, 6, 7, 8, 100, 50_000, u32::MAX] {
            let sum: u64 = parts.iter().map(|part| u64::from(part.of(limit))).sum();
            assert_eq!(sum, u64::from(limit));
        }
        let stranger = SlotPart::of_node(&region, NodeId(99));
        assert_eq!(stranger.of(1_000), 0);
    }
}
