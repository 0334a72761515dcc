//! What a change of slots means for their flows: who has them not yet, and where older ones may be elsewhere.
//!
//! An owner that was one before has a slot's flows. To one that is new they are sent by the other owner, if that
//! was one before, else by whichever old owner is left.

use core::time::Duration;

use anyedge_net::id::{NodeId, Revision};
use anyedge_net::route_table::RouteTable;
use anyedge_net::slot::{Owners, SLOTS, SlotMap};
use anyedge_net::time::Instant;

use crate::clb_node::renumber::moves;
use crate::flow_life::UDP_TIMEOUT;

const PRIMARY: u8 = 1;
const SECONDARY: u8 = 2;

/// The owners of a region's slots in the routes before, by their numbers in the new ones.
pub(super) struct Before<'a> {
    slots: Option<&'a SlotMap>,
    /// New number of each old node; `UNKNOWN` when it is gone.
    numbers: Vec<NodeId>,
    /// No node has another number now.
    pub(super) are_numbers_alike: bool,
}

impl Before<'_> {
    /// The slots of the region of that name in `old`, for use beside `new`.
    pub(super) fn of<'a>(old: &'a RouteTable, new: &RouteTable, region: &str) -> Before<'a> {
        let slots = old.regions.iter().find(|other| other.name == region);
        let numbers = moves(
            old.nodes.iter().map(|node| &node.name),
            new.nodes.iter().map(|node| &node.name),
        );
        let number = |moved: Option<u16>| moved.map_or(NodeId::UNKNOWN, NodeId);
        let stays = |(old, new): (usize, &Option<u16>)| *new == Some(old as u16);
        Before {
            slots: slots.map(|region| &*region.slots),
            are_numbers_alike: numbers.iter().enumerate().all(stays),
            numbers: numbers.into_iter().map(number).collect(),
        }
    }

    fn owners(&self, slot: u16) -> Owners {
        let renumber = |node: NodeId| {
            let number = self.numbers.get(node.index());
            number.copied().unwrap_or(NodeId::UNKNOWN)
        };
        let owners = self.slots.map(|slots| slots.owners(slot));
        Owners {
            primary: owners.map_or(NodeId::UNKNOWN, |owners| renumber(owners.primary)),
            secondary: owners.map_or(NodeId::UNKNOWN, |owners| renumber(owners.secondary)),
        }
    }
}

/// The owners of slots that this node is to send the slots' flows to.
#[derive(Default)]
pub(super) struct Missing(Box<[u8]>);

impl Missing {
    /// Takes the owners in `slots` for those of `before`; whom the last change left without is still so.
    /// Returns whether there is anything to send.
    pub(super) fn apply(&mut self, before: &Before<'_>, slots: &SlotMap, own: NodeId) -> bool {
        let mut misses = false;
        let mut marks = vec![0; SLOTS as usize].into_boxed_slice();
        for (slot, mark) in (0..).zip(&mut marks) {
            let [no_primary, no_secondary] = self.of(slot);
            let old = before.owners(slot);
            let had = [(old.primary, no_primary), (old.secondary, no_secondary)];
            *mark = mark_of(had, slots.owners(slot), own);
            misses |= *mark != 0;
        }
        self.0 = marks;
        misses
    }

    /// Takes `peer` to be without the flows of the slots that it shares with `own`. Returns whether there are any.
    pub(super) fn add(&mut self, slots: &SlotMap, own: NodeId, peer: NodeId) -> bool {
        let mut misses = false;
        for (slot, mark) in (0..).zip(&mut self.0) {
            let Owners { primary, secondary } = slots.owners(slot);
            let bit = match (primary == peer, secondary == peer) {
                (true, _) if secondary == own => PRIMARY,
                (_, true) if primary == own => SECONDARY,
                _ => continue,
            };
            *mark |= bit;
            misses = true;
        }
        misses
    }

    /// Whether the primary and the secondary of a slot miss its flows.
    pub(super) fn of(&self, slot: u16) -> [bool; 2] {
        let mark = self.0.get(usize::from(slot)).copied().unwrap_or(0);
        [mark & PRIMARY != 0, mark & SECONDARY != 0]
    }

    /// All have got what they missed.
    pub(super) fn clear(&mut self) {
        self.0.fill(0);
    }
}

/// Whom of the `new` owners this node sends to. `old` has the old owners, and whether each was still without.
fn mark_of(old: [(NodeId, bool); 2], new: Owners, own: NodeId) -> u8 {
    let has = |node: NodeId| old.contains(&(node, false));
    let was = |node: NodeId| has(node) && node != NodeId::UNKNOWN;
    let sends_to = |node: NodeId, other: NodeId| {
        let is_new = node != NodeId::UNKNOWN && node != own && !was(node);
        let sends = if was(other) { other == own } else { was(own) };
        is_new && sends
    };
    let mark = |sends, bit| if sends { bit } else { 0 };
    mark(sends_to(new.primary, new.secondary), PRIMARY)
        | mark(sends_to(new.secondary, new.primary), SECONDARY)
}

/// Slots that became this node's so lately that flows without handshake may be older.
#[derive(Default)]
pub(super) struct MovedLately {
    slots: Vec<u64>,
    until: Instant,
}

impl MovedLately {
    /// For as long as a UDP flow may be silent, all that is older shows up.
    const SPAN: Duration = UDP_TIMEOUT;

    /// Takes the owners in `slots` for those of `before`. A node that has just begun has all its slots newly,
    /// unless the routes themselves have just begun.
    pub(super) fn apply(
        &mut self,
        now: Instant,
        before: &Before<'_>,
        slots: &SlotMap,
        (own, revision): (NodeId, Revision),
    ) {
        if self.until <= now {
            self.slots.clear();
        }
        if before.slots.is_none() && revision <= Revision(1) {
            return;
        }
        let moved = (0..SLOTS as u16).filter(|slot| {
            slots.owners(*slot).primary == own && before.owners(*slot).primary != own
        });
        for slot in moved {
            self.add(now, slot);
        }
    }

    /// Takes all slots that `own` owns, in whichever place, for newly its own.
    pub(super) fn add_all(&mut self, now: Instant, slots: &SlotMap, own: NodeId) {
        for slot in 0..SLOTS as u16 {
            let Owners { primary, secondary } = slots.owners(slot);
            if [primary, secondary].contains(&own) {
                self.add(now, slot);
            }
        }
    }

    fn add(&mut self, now: Instant, slot: u16) {
        self.slots.resize(SLOTS as usize / 64 + 1, 0);
        self.slots[usize::from(slot) / 64] |= 1 << (slot % 64);
        self.until = now + MovedLately::SPAN;
    }

    /// Whether the slot came to this node lately.
    pub(super) fn has_moved(&self, now: Instant, slot: u16) -> bool {
        let word = self.slots.get(usize::from(slot) / 64).copied().unwrap_or(0);
        now < self.until && word & 1 << (slot % 64) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);
    const D: NodeId = NodeId(4);
    const NOBODY: NodeId = NodeId::UNKNOWN;

    /// Who sends to whom when a slot's owners change, both old ones having its flows.
    fn senders(old: [NodeId; 2], new: [NodeId; 2]) -> Vec<(NodeId, NodeId)> {
        let owners = Owners {
            primary: new[0],
            secondary: new[1],
        };
        let of = |own: NodeId| {
            let mark = mark_of(old.map(|node| (node, false)), owners, own);
            let to = [(PRIMARY, new[0]), (SECONDARY, new[1])];
            to.into_iter()
                .filter(move |(bit, _)| mark & bit != 0)
                .map(move |(_, to)| (own, to))
        };
        [A, B, C, D].into_iter().flat_map(of).collect()
    }

    #[test]
    fn an_owner_that_is_new_gets_a_slots_flows_from_the_other() {
        assert_eq!(senders([A, B], [B, C]), [(B, C)], "the primary was lost");
        assert_eq!(senders([A, B], [A, C]), [(A, C)], "the secondary was lost");
        assert_eq!(senders([A, B], [D, A]), [(A, D)], "a node was added");
        assert_eq!(senders([A, B], [B, A]), [], "both have them");
        assert_eq!(senders([A, B], [A, B]), []);
        assert_eq!(senders([A, NOBODY], [A, B]), [(A, B)]);
        assert_eq!(senders([NOBODY, NOBODY], [A, B]), [], "nobody has any");
        assert_eq!(senders([A, B], [B, NOBODY]), []);
    }

    #[test]
    fn when_both_owners_are_new_either_old_one_sends_to_both() {
        assert_eq!(senders([A, B], [C, D]), [(A, C), (A, D), (B, C), (B, D)]);
    }

    #[test]
    fn a_peer_that_was_silent_misses_the_slots_that_it_shares_and_no_others() {
        let of = |slot: u16| match slot % 4 {
            0 => [A, B],
            1 => [B, A],
            2 => [A, C],
            _ => [C, B],
        };
        let slots = SlotMap::from_fn(|slot| {
            let [primary, secondary] = of(slot);
            Owners { primary, secondary }
        });
        let mut missing = Missing(vec![0; SLOTS as usize].into_boxed_slice());
        assert!(missing.add(&slots, A, B));
        assert_eq!(
            [0, 1, 2, 3].map(|slot| missing.of(slot)),
            [[false, true], [true, false], [false; 2], [false; 2]]
        );
        assert!(!missing.add(&slots, A, D), "they share none");
        missing.clear();
        assert_eq!(missing.of(0), [false; 2]);
    }

    #[test]
    fn an_owner_that_was_still_without_is_no_source_and_is_sent_to_again() {
        let old = [(B, false), (C, true)];
        let new = Owners {
            primary: B,
            secondary: C,
        };
        assert_eq!(mark_of(old, new, B), SECONDARY);
        assert_eq!(mark_of(old, new, C), 0);
    }
}
