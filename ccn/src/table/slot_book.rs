//! The table's book of each region's slots: where they are wanted, where they are, and since when.
//!
//! *Wanted* is what Maglev makes of the nodes that are in. *Actual* is what the table says; it starts as
//! wanted and follows by the rules of [`step`], which keep established flows findable. A slot that moved stays
//! for `slot_settle`, so the two differ for a while; [`SlotBooks::settles_at`] says when they next may meet.
//! Maps are made anew only when somebody's part changed or a slot settles, and are shared otherwise. A region
//! without anybody alive keeps its map: nobody would be better, and whoever returns finds its slots.
//!
//! Invariant: a slot that has settled is where it is wanted. Cost: 4 bytes a slot, beside the two maps.

mod record;
mod step;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use anyedge_net::id::NodeId;
use anyedge_net::slot::{Owners, SLOTS, SlotMap, SlotMember};
use anyedge_net::time::Instant;

use super::membership::{Membership, Part};
use super::object::{ClbNode, Region, Settings};
use super::objects::Objects;
use step::{Moved, Roles, Slot};

/// The books of all regions, by name.
#[derive(Clone, PartialEq, Default, Debug)]
pub(crate) struct SlotBooks(BTreeMap<String, SlotBook>);

/// Everybody's part in a region's slots, by place among its nodes and name. The id is that place: those of
/// revisions of the route table are given by whoever makes one.
type Parts = Vec<(NodeId, String, Part)>;

#[derive(Clone, Debug)]
struct SlotBook {
    parts: Parts,
    rules: Rules,
    wanted: Arc<SlotMap>,
    actual: Arc<SlotMap>,
    /// Slot to the number of its last move; 0 and numbers before `moves` have settled.
    moved: Vec<u32>,
    moves: Moves,
}

/// What of the settings decides about moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Rules {
    history: bool,
    settle: Duration,
}

/// The moves that have not settled, in the order of time.
#[derive(Clone, PartialEq, Debug)]
struct Moves {
    /// The number of the first of `list`; 0 is no move.
    first: u32,
    list: VecDeque<Move>,
}

/// All slots that moved at one time for one kind of reason.
#[derive(Clone, PartialEq, Debug)]
struct Move {
    at: Instant,
    why: Moved,
    /// Whether any of these slots changes when it settles.
    pending: bool,
}

impl PartialEq for SlotBook {
    /// All but where slots are wanted, which follows from the parts once anybody serves.
    fn eq(&self, other: &SlotBook) -> bool {
        let of = |book: &SlotBook| (book.rules, Arc::clone(&book.actual));
        of(self) == of(other)
            && self.parts == other.parts
            && self.moved == other.moved
            && self.moves == other.moves
    }
}

impl SlotBooks {
    /// Brings the books to `now`, by the nodes and settings of the table.
    pub(crate) fn advance(&mut self, objects: &Objects, settings: &Settings, now: Instant) {
        let rules = Rules {
            history: settings.mechanisms.slot_history,
            settle: settings.slot_settle,
        };
        let mut before = core::mem::take(&mut self.0);
        for region in objects.all::<Region>() {
            let nodes = objects.all::<ClbNode>();
            let nodes = nodes.filter(|node| node.region == region.name);
            let parts: Parts = nodes.enumerate().map(part).collect();
            let book = match before.remove(&region.name) {
                Some(mut book) => {
                    book.advance(parts, rules, now);
                    book
                }
                None => SlotBook::open(parts, rules),
            };
            self.0.insert(region.name.clone(), book);
        }
    }

    /// Who owns the slots of a region: by places of its CLB nodes, sorted by name.
    pub(crate) fn map(&self, region: &str) -> Option<&Arc<SlotMap>> {
        self.0.get(region).map(|book| &book.actual)
    }

    /// When the next slot settles that will change by it.
    pub(crate) fn settles_at(&self) -> Option<Instant> {
        let due = |book: &SlotBook| {
            let pending = book.moves.list.iter().find(|moves| moves.pending)?;
            Some(pending.at + book.rules.settle)
        };
        self.0.values().filter_map(due).min()
    }
}

impl SlotBook {
    /// The book of a region that had none: everything is where it is wanted.
    fn open(parts: Parts, rules: Rules) -> SlotBook {
        let wanted = wanted(&parts);
        SlotBook {
            parts,
            rules,
            actual: Arc::clone(&wanted),
            wanted,
            moved: vec![0; SLOTS as usize],
            moves: Moves {
                first: 1,
                list: VecDeque::new(),
            },
        }
    }

    fn advance(&mut self, parts: Parts, rules: Rules, now: Instant) {
        let settled = self.moves.settle(now, rules.settle);
        let (same_parts, same_rules) = (self.parts == parts, self.rules == rules);
        if same_parts && same_rules && !settled {
            return;
        }
        self.rules = rules;
        self.rename(&parts);
        self.parts = parts;
        if serving(&self.parts).next().is_none() {
            return;
        }
        if !same_parts {
            self.wanted = wanted(&self.parts);
        }
        self.step(now);
    }

    /// Follows ids that moved; nodes that are gone own nothing.
    fn rename(&mut self, parts: &Parts) {
        let same = |(old, new): (&(NodeId, String, Part), &(NodeId, String, Part))| {
            (old.0, &old.1) == (new.0, &new.1)
        };
        if self.parts.len() == parts.len() && self.parts.iter().zip(parts).all(same) {
            return;
        }
        let find = |name: &String| parts.iter().find(|part| part.1 == *name);
        let renamed: BTreeMap<NodeId, NodeId> = self
            .parts
            .iter()
            .filter_map(|(old, name, _)| Some((*old, find(name)?.0)))
            .collect();
        let id = |old: NodeId| renamed.get(&old).copied().unwrap_or(NodeId::UNKNOWN);
        let actual = &self.actual;
        self.actual = Arc::new(SlotMap::from_fn(|slot| {
            let owners = actual.owners(slot);
            Owners {
                primary: id(owners.primary),
                secondary: id(owners.secondary),
            }
        }));
    }

    /// Moves what has to move, and what may and is wanted elsewhere.
    fn step(&mut self, now: Instant) {
        let roles = Roles::new(&self.parts, self.rules.history);
        let (wanted, actual) = (&self.wanted, &self.actual);
        let (moved, moves) = (&mut self.moved, &mut self.moves);
        moves
            .list
            .iter_mut()
            .for_each(|earlier| earlier.pending = false);
        let next = SlotMap::from_fn(|slot| {
            let number = &mut moved[usize::from(slot)];
            let state = Slot {
                actual: actual.owners(slot),
                wanted: wanted.owners(slot),
                unsettled: moves.get(*number).map(|earlier| earlier.why),
            };
            let (owners, new_move) = state.step(&roles);
            if let Some(why) = new_move {
                *number = moves.number(now, why);
            }
            if owners != state.wanted
                && let Some(last) = moves.get(*number)
            {
                last.pending = true;
            }
            owners
        });
        if next != **actual {
            self.actual = Arc::new(next);
        }
    }
}

impl Moves {
    /// Forgets moves that are `settle` ago at `now`; whether there were any that matter.
    fn settle(&mut self, now: Instant, settle: Duration) -> bool {
        let mut pending = false;
        while self
            .list
            .front()
            .is_some_and(|first| first.at + settle <= now)
        {
            pending |= self.list.pop_front().is_some_and(|first| first.pending);
            self.first += 1;
        }
        pending
    }

    fn get(&mut self, number: u32) -> Option<&mut Move> {
        let index = number.checked_sub(self.first)?;
        self.list.get_mut(index as usize)
    }

    /// The number of the move at `now` for that reason.
    fn number(&mut self, now: Instant, why: Moved) -> u32 {
        let is_it = |of: &Move| of.at == now && of.why == why;
        // At most one move of each kind has this time, and both are last.
        let index = match self.list.iter().rev().take(2).position(is_it) {
            Some(back) => self.list.len() - 1 - back,
            None => {
                self.list.push_back(Move {
                    at: now,
                    why,
                    pending: false,
                });
                self.list.len() - 1
            }
        };
        self.first + index as u32
    }
}

/// The part of the node at that place.
fn part((place, node): (usize, &ClbNode)) -> (NodeId, String, Part) {
    let part = Part {
        membership: node.membership,
        weight: u8::try_from(node.weight).unwrap_or(0),
    };
    (NodeId(place as u16), node.name.clone(), part)
}

/// Who serves: those that are in, and with nobody in those that are drained, for they are alive.
fn serving(parts: &Parts) -> impl Iterator<Item = &(NodeId, String, Part)> {
    let is = |wanted: Membership| move |part: &&(NodeId, String, Part)| part.2.membership == wanted;
    let nobody_in = !parts.iter().any(|part| is(Membership::In)(&part));
    let membership = if nobody_in {
        Membership::Drained
    } else {
        Membership::In
    };
    parts.iter().filter(is(membership))
}

/// Where the slots are wanted.
fn wanted(parts: &Parts) -> Arc<SlotMap> {
    let members = serving(parts).map(|(node, name, part)| SlotMember {
        node: *node,
        name,
        weight: part.weight,
    });
    Arc::new(SlotMap::fill_weighted(&members.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests;
