//! Slots over time: nodes are lost, drained, added, returned and re-weighted, one after the other.
//!
//! Nodes are numbered; their names are `clb-0`, `clb-1`, .. Slots settle after 10 s. What must hold after any
//! history at all is in `any_history`.

use super::super::membership::NODE_WEIGHT;
use super::*;

mod any_history;

const SETTLE: Duration = Duration::from_secs(10);
const RULES: Rules = Rules {
    history: true,
    settle: SETTLE,
};
use Membership::{Absent, Drained, In, Lost};

fn at(secs: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(secs)
}

/// A region of CLB nodes and its book.
#[derive(Clone)]
struct Region {
    rules: Rules,
    parts: Vec<Part>,
    book: SlotBook,
}

impl Region {
    fn new(memberships: &[Membership]) -> Region {
        let part = |membership: &Membership| Part {
            membership: *membership,
            weight: NODE_WEIGHT,
        };
        let parts: Vec<Part> = memberships.iter().map(part).collect();
        Region {
            rules: RULES,
            book: SlotBook::open(named(&parts), RULES),
            parts,
        }
    }

    /// Publishes at `now`; the map before and after.
    fn publish(&mut self, now: Instant) -> [Arc<SlotMap>; 2] {
        let before = Arc::clone(&self.book.actual);
        self.book.advance(named(&self.parts), self.rules, now);
        [before, Arc::clone(&self.book.actual)]
    }

    /// Publishes after one node's membership changed.
    fn publish_with(
        &mut self,
        now: Instant,
        node: usize,
        membership: Membership,
    ) -> [Arc<SlotMap>; 2] {
        self.parts[node].membership = membership;
        self.publish(now)
    }

    fn settles_at(&self) -> Option<Instant> {
        let books = [("guangzhou".to_owned(), self.book.clone())];
        SlotBooks(books.into()).settles_at()
    }

    /// The map of these nodes had nothing ever happened.
    fn fresh(&self) -> SlotMap {
        SlotMap::clone(&SlotBook::open(named(&self.parts), RULES).actual)
    }
}

fn named(parts: &[Part]) -> Parts {
    let part = |(id, part): (usize, &Part)| (NodeId(id as u16), format!("clb-{id}"), *part);
    parts.iter().enumerate().map(part).collect()
}

fn pairs([before, after]: &[Arc<SlotMap>; 2]) -> impl Iterator<Item = (Owners, Owners)> {
    (0..SLOTS as u16).map(|slot| (before.owners(slot), after.owners(slot)))
}

/// How many slots have `node` as primary.
fn share(map: &SlotMap, node: u16) -> usize {
    let primaries = (0..SLOTS as u16).map(|slot| map.owners(slot).primary);
    primaries.filter(|primary| *primary == NodeId(node)).count()
}

#[test]
fn a_lost_nodes_slots_go_to_those_who_have_their_flows_and_hardly_another_moves() {
    let mut region = Region::new(&[In; 3]);
    let maps = region.publish_with(at(1), 1, Lost);
    let mut needless = 0;
    for (before, after) in pairs(&maps) {
        assert!(![after.primary, NodeId(1), NodeId::UNKNOWN].contains(&after.secondary));
        if before.primary == NodeId(1) {
            assert_eq!(after.primary, before.secondary);
        } else if before.primary != after.primary {
            assert_eq!(after.secondary, before.primary);
            needless += 1;
        }
    }
    assert!(needless <= 20, "Maglev moves a few more: {needless}");
}

#[test]
fn a_returned_node_comes_second_at_once_and_first_when_its_slots_have_settled() {
    let mut region = Region::new(&[In; 3]);
    let original = SlotMap::clone(&region.book.actual);
    let [_, bereft] = region.publish_with(at(1), 1, Lost);
    let returned = region.publish_with(at(2), 1, In);
    for (slot, (before, after)) in (0..).zip(pairs(&returned)) {
        assert_eq!(after.primary, before.primary, "nothing moves so soon");
        if original.owners(slot).primary == NodeId(1) {
            assert_eq!(after.secondary, NodeId(1));
        }
    }
    assert_eq!(region.settles_at(), Some(at(11)));
    let [_, settled] = region.publish(at(11));
    for slot in 0..SLOTS as u16 {
        let (was, is) = (bereft.owners(slot), settled.owners(slot));
        assert_eq!(is.primary, original.owners(slot).primary);
        assert!(is.primary == was.primary || is.secondary == was.primary);
    }
    assert_eq!(region.settles_at(), Some(at(21)), "old primaries step back");
    let [_, last] = region.publish(at(21));
    assert_eq!((&*last, region.settles_at()), (&original, None));
}

#[test]
fn a_drained_node_stays_second_until_its_slots_have_settled() {
    let mut region = Region::new(&[In; 3]);
    let maps = region.publish_with(at(1), 1, Drained);
    for (before, after) in pairs(&maps) {
        if before.primary == NodeId(1) {
            assert_ne!(after.primary, NodeId(1));
            assert_eq!(after.secondary, NodeId(1));
        } else {
            assert_ne!(after.secondary, NodeId(1), "it gets no new entries");
        }
    }
    let [before, after] = region.publish(at(11));
    assert_ne!(before, after);
    assert_eq!((*after).clone(), region.fresh());
    assert_eq!(region.settles_at(), None);
}

#[test]
fn a_drained_node_that_then_dies_is_nobodys_second() {
    let mut region = Region::new(&[In; 3]);
    region.publish_with(at(1), 1, Drained);
    let maps = region.publish_with(at(2), 1, Absent);
    for (before, after) in pairs(&maps) {
        assert_eq!(after.primary, before.primary);
        assert_ne!(after.secondary, NodeId(1));
    }
}

#[test]
fn an_added_node_gets_its_share_at_once_with_the_old_primaries_second() {
    let mut region = Region::new(&[In, In, In, Absent]);
    let maps = region.publish_with(at(1), 3, In);
    for (before, after) in pairs(&maps) {
        if after.primary != before.primary {
            assert_eq!(after.secondary, before.primary);
        }
    }
    assert!((16_380..=16_381).contains(&share(&maps[1], 3)));
    region.publish(at(11));
    assert_eq!((*region.book.actual).clone(), region.fresh());
}

#[test]
fn a_weight_moves_slots_once_in_a_settle_time() {
    let mut region = Region::new(&[In; 2]);
    region.parts[0].weight = 3 * NODE_WEIGHT;
    let [_, heavy] = region.publish(at(1));
    assert!(
        (49_140..=49_142).contains(&share(&heavy, 0)),
        "three quarters"
    );
    region.parts[0].weight = 0;
    let maps = region.publish(at(2));
    let moved_again = pairs(&maps).zip(0..).filter(|((before, after), slot)| {
        let fresh_out = heavy.owners(*slot) != region.book.wanted.owners(*slot);
        before.primary != after.primary && !fresh_out
    });
    assert_eq!(moved_again.count(), 0);
    assert!(
        (16_380..=16_381).contains(&share(&maps[1], 0)),
        "those that moved stay"
    );
    let [_, after] = region.publish(at(11));
    assert_eq!(share(&after, 0), 0);
}

#[test]
fn without_history_the_second_is_who_is_wanted_at_once() {
    let mut region = Region::new(&[In, In, In, Absent]);
    region.rules.history = false;
    region.parts[3].membership = In;
    region.publish(at(1));
    assert_eq!((*region.book.actual).clone(), region.fresh());
    assert_eq!(region.settles_at(), None);
}

#[test]
fn with_both_owners_lost_a_slot_starts_afresh() {
    let mut region = Region::new(&[In; 4]);
    region.parts[0].membership = Lost;
    let maps = region.publish_with(at(1), 1, Lost);
    let gone = [NodeId(0), NodeId(1)];
    for (before, after) in pairs(&maps) {
        assert!(!gone.contains(&after.primary) && !gone.contains(&after.secondary));
        if !gone.contains(&before.secondary) && gone.contains(&before.primary) {
            assert_eq!(after.primary, before.secondary);
        }
    }
}

#[test]
fn a_region_without_anybody_keeps_its_map_and_drained_nodes_serve_for_want_of_others() {
    let mut region = Region::new(&[In; 2]);
    let [before, after] = region.publish_with(at(1), 0, Lost);
    assert_ne!(before, after);
    let [before, after] = region.publish_with(at(2), 1, Drained);
    assert!(
        Arc::ptr_eq(&before, &after),
        "a drain never empties a region"
    );
    let [before, after] = region.publish_with(at(3), 1, Lost);
    assert!(Arc::ptr_eq(&before, &after));
    let [before, after] = region.publish_with(at(4), 1, In);
    assert_eq!(before, after, "whoever returns finds its slots");
}

#[test]
fn a_node_that_comes_before_the_others_by_name_shifts_ids_and_moves_no_more_than_its_share() {
    let whole = Part {
        membership: In,
        weight: NODE_WEIGHT,
    };
    let parts = |names: &[&str]| -> Parts {
        let named = names.iter().zip(5..);
        named
            .map(|(name, id)| (NodeId(id), (*name).to_owned(), whole))
            .collect()
    };
    let mut book = SlotBook::open(parts(&["b", "c"]), RULES);
    let before = Arc::clone(&book.actual);
    book.advance(parts(&["a", "b", "c"]), RULES, at(1));
    let mut stayed = 0;
    for slot in 0..SLOTS as u16 {
        let (was, is) = (before.owners(slot).primary, book.actual.owners(slot));
        let was = NodeId(was.0 + 1);
        assert!(is.primary == was || is.secondary == was);
        stayed += u32::from(is.primary == was);
    }
    assert!((43_600..=43_700).contains(&stayed), "two thirds: {stayed}");
}

#[test]
fn nothing_new_is_published_while_nothing_changes() {
    let mut region = Region::new(&[In; 3]);
    let [before, after] = region.publish(at(1));
    assert!(Arc::ptr_eq(&before, &after));
    region.publish_with(at(2), 0, Drained);
    for secs in [3, 7, 11] {
        let [before, after] = region.publish(at(secs));
        assert!(Arc::ptr_eq(&before, &after), "{secs}");
    }
    let [before, after] = region.publish(at(12));
    assert!(!Arc::ptr_eq(&before, &after));
}
