//! The author's book of each region's slots: where they are wanted, where they are, and since when.
//!
//! *Wanted* is what Maglev makes of the nodes that are in. *Actual* is what the table says; it starts as
//! wanted and follows by the rules of [`step`], which keep established flows findable. A slot that moved stays
//! for `slot_settle`, so the two differ for a while; [`SlotBooks::settles_at`] says when they next may meet.
//! Maps are made anew only when somebody's part changed or a slot settles, and are shared otherwise. A region
//! without anybody alive keeps its map: nobody would be better, and whoever returns finds its slots.
//!
//! Invariant: a slot that has settled is where it is wanted. Cost: 4 bytes a slot, beside the two maps.

mod step;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use anyedge_net::id::NodeId;
use anyedge_net::slot::{Owners, SLOTS, SlotMap, SlotMember};
use anyedge_net::time::Instant;

use super::TableAuthor;
use super::ground::Ground;
use super::membership::{Membership, Part};
use step::{Moved, Roles, Slot};

/// The books of all regions, by name.
#[derive(Clone, Default, Debug)]
pub(super) struct SlotBooks(BTreeMap<String, SlotBook>);

/// Everybody's part in a region's slots, by id and name.
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

/// What of the author's settings decides about moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Rules {
    history: bool,
    settle: Duration,
}

/// The moves that have not settled, in the order of time.
#[derive(Clone, Debug)]
struct Moves {
    /// The number of the first of `list`; 0 is no move.
    first: u32,
    list: VecDeque<Move>,
}

/// All slots that moved at one time for one kind of reason.
#[derive(Clone, Debug)]
struct Move {
    at: Instant,
    why: Moved,
    /// Whether any of these slots changes when it settles.
    pending: bool,
}

impl SlotBooks {
    /// Brings the books to `now` and puts their maps into the regions of `ground`.
    pub(super) fn advance(&mut self, ground: &mut Ground, author: &TableAuthor, now: Instant) {
        let rules = Rules {
            history: author.mechanisms.slot_history,
            settle: author.slot_settle,
        };
        let mut before = core::mem::take(&mut self.0);
        for region in &mut ground.regions {
            let part = |id: &NodeId| {
                let name = ground.nodes.get(id.0).name.clone();
                let part = author.parts.of(&name);
                (*id, name, part)
            };
            let parts: Parts = region.clb_nodes.iter().map(part).collect();
            let book = match before.remove(&region.name) {
                Some(mut book) => {
                    book.advance(parts, rules, now);
                    book
                }
                None => SlotBook::open(parts, rules),
            };
            region.slots = Arc::clone(&book.actual);
            self.0.insert(region.name.clone(), book);
        }
    }

    /// When the next slot settles that will change by it.
    pub(super) fn settles_at(&self) -> Option<Instant> {
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
