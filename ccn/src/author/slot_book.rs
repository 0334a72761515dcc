//! The author's book of a region's slots: who served them in the last revision, and what they do in the next.
//!
//! A map is made anew only when somebody's part in it changed; otherwise the next table shares the last one.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyedge_net::id::NodeId;
use anyedge_net::slot::{SlotMap, SlotMember};
use anyedge_net::time::Instant;

use super::TableAuthor;
use super::ground::Ground;
use super::membership::{Membership, Part};

/// The books of all regions, by name.
#[derive(Clone, Default, Debug)]
pub(super) struct SlotBooks(BTreeMap<String, SlotBook>);

#[derive(Clone, Debug)]
struct SlotBook {
    parts: Vec<(NodeId, String, Part)>,
    map: Arc<SlotMap>,
}

impl SlotBooks {
    /// The books of the next revision, whose maps go into `ground`'s regions.
    pub(super) fn next(
        &self,
        ground: &mut Ground,
        author: &TableAuthor,
        _now: Instant,
    ) -> SlotBooks {
        let mut books = SlotBooks::default();
        for region in &mut ground.regions {
            let part = |id: &NodeId| {
                let name = ground.nodes.get(id.0).name.clone();
                let part = author.parts.of(&name);
                (*id, name, part)
            };
            let parts: Vec<_> = region.clb_nodes.iter().map(part).collect();
            let before = self.0.get(&region.name);
            let same = before.filter(|book| book.parts == parts);
            let map = same.map_or_else(|| fill(&parts), |book| Arc::clone(&book.map));
            region.slots = Arc::clone(&map);
            books.0.insert(region.name.clone(), SlotBook { parts, map });
        }
        books
    }
}

fn fill(parts: &[(NodeId, String, Part)]) -> Arc<SlotMap> {
    let members = parts
        .iter()
        .filter(|(_, _, part)| part.membership == Membership::In)
        .map(|(node, name, part)| SlotMember {
            node: *node,
            name,
            weight: part.weight,
        });
    Arc::new(SlotMap::fill_weighted(&members.collect::<Vec<_>>()))
}
