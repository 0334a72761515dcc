//! Tags of POPs: how entries name the POP that a flow entered by, between nodes of different revisions.
//!
//! A tag is 16 bits of a hash of the POP's name. Where two POPs of one route table share a tag, neither is
//! meant by it: an answer then leaves by the publisher that is reached at least cost, until the client's next
//! packet says where it enters.

use anyedge_net::flow::HashKey;
use anyedge_net::id::NodeId;
use anyedge_net::route_table::{NodeKind, RouteTable};

use super::renumber::GONE_NODE;

/// A POP's tag.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct PopTag(pub(super) u16);

impl PopTag {
    /// Straight from the Internet.
    const INTERNET: PopTag = PopTag(0);
    /// A POP that is not known.
    const NOBODY: PopTag = PopTag(1);

    fn of_name(name: &str) -> PopTag {
        // Names are no secret, so the key is none.
        const KEY: HashKey = HashKey::new([0; 16]);
        PopTag((KEY.hash_bytes(name.as_bytes()) as u16).max(2))
    }
}

/// The tags of the POPs of one route table.
#[derive(Default)]
pub(super) struct PopTags {
    /// By node; `NOBODY` for what is no POP.
    tags: Vec<PopTag>,
    /// By tag, without those that two POPs share.
    nodes: Vec<(PopTag, NodeId)>,
}

impl PopTags {
    /// The tags of the POPs of `table`.
    pub(super) fn of(table: &RouteTable) -> PopTags {
        let tag_of = |node: &anyedge_net::route_table::Node| match node.kind {
            NodeKind::Pop => PopTag::of_name(&node.name),
            NodeKind::ClbNode(_) | NodeKind::Host(_) => PopTag::NOBODY,
        };
        let tags: Vec<PopTag> = table.nodes.iter().map(tag_of).collect();
        let pops = (0..).map(NodeId).zip(tags.iter().copied());
        let mut nodes: Vec<(PopTag, NodeId)> = pops
            .filter(|(_, tag)| *tag != PopTag::NOBODY)
            .map(|(node, tag)| (tag, node))
            .collect();
        nodes.sort();
        let shared = |tag: PopTag, nodes: &[(PopTag, NodeId)]| {
            nodes.iter().filter(|(other, _)| *other == tag).count() > 1
        };
        let all = nodes.clone();
        nodes.retain(|(tag, _)| !shared(*tag, &all));
        PopTags { tags, nodes }
    }

    /// The tag of the POP that a flow entered by.
    pub(super) fn tag(&self, pop: NodeId) -> PopTag {
        if pop == NodeId::UNKNOWN {
            return PopTag::INTERNET;
        }
        self.tags
            .get(pop.index())
            .copied()
            .unwrap_or(PopTag::NOBODY)
    }

    /// The POP of a tag; for one that no POP has alone, a node that no table has.
    pub(super) fn node(&self, tag: PopTag) -> NodeId {
        if tag == PopTag::INTERNET {
            return NodeId::UNKNOWN;
        }
        match self.nodes.binary_search_by_key(&tag, |(tag, _)| *tag) {
            Ok(at) => self.nodes[at].1,
            Err(_) => GONE_NODE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::{CLB_NODE, FRANKFURT, TOKYO, routes};

    #[test]
    fn a_tag_means_the_same_pop_in_a_table_with_other_numbers() {
        let ours = PopTags::of(&routes());
        let mut table = routes();
        table.nodes.swap(0, 1);
        let theirs = PopTags::of(&table);
        assert_eq!(theirs.node(ours.tag(TOKYO)), FRANKFURT);
        assert_eq!(theirs.node(ours.tag(FRANKFURT)), TOKYO);
    }

    #[test]
    fn straight_from_the_internet_stays_so_and_what_is_no_pop_is_nobody() {
        let tags = PopTags::of(&routes());
        assert_eq!(tags.node(tags.tag(NodeId::UNKNOWN)), NodeId::UNKNOWN);
        for nobody in [CLB_NODE, GONE_NODE] {
            assert_eq!(tags.node(tags.tag(nobody)), GONE_NODE);
        }
    }

    #[test]
    fn two_pops_of_one_tag_are_both_nobody() {
        let mut table = routes();
        let twin = table.nodes[0].clone();
        table.nodes.push(twin);
        let tags = PopTags::of(&table);
        assert_eq!(tags.node(tags.tag(TOKYO)), GONE_NODE);
        assert_eq!(tags.node(tags.tag(FRANKFURT)), FRANKFURT);
    }
}
