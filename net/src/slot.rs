//! Slots: how every POP sends a flow to the same CLB node without asking anybody.
//!
//! A region's flows fall into [`SLOTS`] slots by a keyed hash of their 5-tuple. The route table, never a
//! POP's own opinion, maps each slot to a primary and a secondary CLB node, filled by Maglev over the
//! members' names. A flow therefore survives the loss of its POP: any other POP computes the same slot.

use crate::id::NodeId;
use crate::maglev::{Maglev, Member};

/// Slots of a region: a prime, as Maglev needs, and small enough for the 16 bits of the GRE key.
pub const SLOTS: u32 = 65_521;

/// The slot of a flow whose keyed hash is `hash`.
pub const fn of_hash(hash: u64) -> u16 {
    (hash % SLOTS as u64) as u16
}

/// Who serves a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owners {
    /// Gets the slot's packets. `NodeId::UNKNOWN` when the region has no CLB node.
    pub primary: NodeId,
    /// Takes over when the primary is lost; `UNKNOWN` with fewer than two nodes.
    pub secondary: NodeId,
}

impl Owners {
    /// Nobody at all.
    pub const NOBODY: Owners = Owners {
        primary: NodeId::UNKNOWN,
        secondary: NodeId::UNKNOWN,
    };
}

/// A CLB node that takes part in the slots of its region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotMember<'a> {
    /// Which node.
    pub node: NodeId,
    /// Its full name, which decides its places.
    pub name: &'a str,
    /// Its share, relative to the others.
    pub weight: u8,
}

/// The owners of all slots of a region.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotMap(Box<[Owners]>);

impl SlotMap {
    /// Fills the slots over nodes of equal weight, by id and name.
    pub fn fill(members: &[(NodeId, &str)]) -> SlotMap {
        let equal = |&(node, name)| SlotMember {
            node,
            name,
            weight: 1,
        };
        SlotMap::fill_weighted(&members.iter().map(equal).collect::<Vec<_>>())
    }

    /// Fills the slots by Maglev over `members`. The secondary of a slot is who comes second there: the owner,
    /// as a rule, in the table that the others would make without the primary. With no positive weight at all,
    /// all weigh the same.
    pub fn fill_weighted(members: &[SlotMember<'_>]) -> SlotMap {
        let weightless = members.iter().all(|member| member.weight == 0);
        let members: Vec<Member<'_>> = members
            .iter()
            .map(|member| Member {
                id: member.node.0,
                name: member.name,
                weight: u32::from(member.weight) + u32::from(weightless),
            })
            .collect();
        let primaries = Maglev::build(&members, SLOTS);
        let secondaries = primaries.seconds(&members);
        SlotMap::from_fn(|slot| {
            let slot = usize::from(slot);
            let secondary = secondaries.get(slot).copied().flatten();
            Owners {
                primary: primaries
                    .places()
                    .get(slot)
                    .map_or(NodeId::UNKNOWN, |id| NodeId(*id)),
                secondary: secondary.map_or(NodeId::UNKNOWN, NodeId),
            }
        })
    }

    /// The map that gives each slot the owners that `owners` says.
    pub fn from_fn(owners: impl FnMut(u16) -> Owners) -> SlotMap {
        SlotMap((0..SLOTS as u16).map(owners).collect())
    }

    /// The owners of `slot`; nobody for a number that is no slot, which only a forged key can hold.
    pub fn owners(&self, slot: u16) -> Owners {
        let owners = self.0.get(usize::from(slot));
        owners.copied().unwrap_or(Owners::NOBODY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: u16) -> Vec<(NodeId, String)> {
        (0..count)
            .map(|n| (NodeId(n), format!("region.guangzhou.clb-{}", n + 1)))
            .collect()
    }

    fn map(count: u16) -> SlotMap {
        let members = members(count);
        SlotMap::fill(
            &members
                .iter()
                .map(|(node, name)| (*node, name.as_str()))
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn slots_spread_evenly_and_have_two_different_owners() {
        let map = map(3);
        for node in 0..3 {
            let share = (0..SLOTS as u16)
                .filter(|slot| map.owners(*slot).primary == NodeId(node))
                .count();
            assert!((21_500..22_200).contains(&share), "{share}");
        }
        assert!((0..SLOTS as u16).all(|slot| {
            let owners = map.owners(slot);
            owners.primary != owners.secondary && owners.secondary != NodeId::UNKNOWN
        }));
    }

    #[test]
    fn one_node_has_no_secondary_and_no_node_owns_nothing() {
        assert_eq!(
            map(1).owners(7),
            Owners {
                primary: NodeId(0),
                secondary: NodeId::UNKNOWN
            }
        );
        assert_eq!(map(0).owners(7).primary, NodeId::UNKNOWN);
        assert_eq!(map(3).owners(u16::MAX).primary, NodeId::UNKNOWN);
    }

    #[test]
    fn a_slot_is_the_same_for_every_pop() {
        assert_eq!(of_hash(u64::from(SLOTS) + 9), 9);
    }
}
