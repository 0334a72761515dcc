//! Flow table: bounded storage of flows that expire, under the connection table and the vSwitch alike.
//!
//! Entries stand in one vector, reserved at construction, under numbers that the expiry wheel hands out.
//! Finding an entry is the owner's affair (`flow_index`). An entry lives until its deadline exactly:
//! the owner asks `is_alive`; the memory comes back a little later, in bounded portions.
//!
//! Invariant: the flows in use never exceed `flows_max`, and none leaves to make room for another.

use std::hint::black_box;

use anyedge_net::time::Instant;

use crate::expiry::{Expiry, is_due};
use crate::flow_life::FlowLife;

/// Entries looked at in one call of a node's `handle_timeout`; the rest follow in the next, asked for at once.
pub const EXPIRED_PER_CALL_MAX: usize = 256;

/// What a table of flows can hold.
pub(crate) trait Entry: Copy {
    /// Where the flow stands.
    fn life(&self) -> &FlowLife;

    /// Something of each of its cache lines.
    fn of_each_line(&self) -> u32;
}

/// A bounded store of `E`.
pub(crate) struct FlowTable<E> {
    entries: Vec<E>,
    expiry: Expiry,
    generation: u64,
}

impl<E: Entry> FlowTable<E> {
    /// A table of at most `flows_max` entries.
    pub(crate) fn new(flows_max: usize) -> FlowTable<E> {
        FlowTable {
            entries: Vec::with_capacity(flows_max),
            expiry: Expiry::new(flows_max),
            generation: 0,
        }
    }

    /// Entries in use, those included whose deadline has passed but whose memory has not come back.
    pub(crate) const fn len(&self) -> usize {
        self.expiry.len()
    }

    /// Entries that it may hold.
    pub(crate) const fn flows_max(&self) -> usize {
        self.expiry.entries_max()
    }

    /// Whether no entry can be added.
    pub(crate) const fn is_full(&self) -> bool {
        self.expiry.is_full()
    }

    /// Changes with every entry added or removed: numbers found earlier hold as long as it stays the same.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// The entry of that number.
    #[inline]
    pub(crate) fn entry(&self, id: u32) -> &E {
        &self.entries[id as usize]
    }

    /// The entry of that number, to be changed. A deadline made nearer wants [`FlowTable::shortened`].
    #[inline]
    pub(crate) fn entry_mut(&mut self, id: u32) -> &mut E {
        &mut self.entries[id as usize]
    }

    /// Fetches these entries: loads that do not wait for each other.
    #[inline]
    pub(crate) fn fetch(&self, ids: impl Iterator<Item = u32>) {
        let lines = ids.map(|id| self.entry(id).of_each_line());
        black_box(lines.fold(0, |all, some| all ^ some));
    }

    /// Whether the deadline of an entry is still to come.
    #[inline]
    pub(crate) fn is_alive(&self, id: u32, now: Instant) -> bool {
        now < self.entry(id).life().deadline()
    }

    /// Adds an entry and returns its number; `None` when the table is full.
    pub(crate) fn insert(&mut self, now: Instant, entry: E) -> Option<u32> {
        let id = self.expiry.claim(now, entry.life().deadline())?;
        self.generation += 1;
        match self.entries.get_mut(id as usize) {
            Some(place) => *place = entry,
            None => self.entries.push(entry),
        }
        Some(id)
    }

    /// Removes an entry and returns it.
    pub(crate) fn remove(&mut self, id: u32) -> E {
        self.expiry.release(id);
        self.generation += 1;
        *self.entry(id)
    }

    /// Notes that an entry's deadline came nearer.
    pub(crate) fn shortened(&mut self, id: u32) {
        let deadline = self.entry(id).life().deadline();
        self.expiry.shorten(id, deadline);
    }

    /// The next entry to be collected, which the caller removes at once; `None` when nothing more is due or
    /// `looks`, which counts down the entries looked at, is used up.
    pub(crate) fn next_expired(&mut self, now: Instant, looks: &mut usize) -> Option<u32> {
        while *looks > 0 {
            *looks -= 1;
            let id = self.expiry.pop_due(now)?;
            let deadline = self.entry(id).life().deadline();
            if is_due(deadline, now) {
                return Some(id);
            }
            self.expiry.arm(id, deadline);
        }
        None
    }

    /// Numbers that were ever used: all entries in use have one below.
    pub(crate) const fn numbers(&self) -> u32 {
        self.entries.len() as u32
    }

    /// Whether the entry of that number is in use.
    pub(crate) fn is_in_use(&self, id: u32) -> bool {
        self.expiry.is_armed(id)
    }

    /// The numbers of all entries in use.
    pub(crate) fn in_use(&self) -> impl Iterator<Item = u32> + '_ {
        self.expiry.armed()
    }

    /// When something is due next.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.expiry.wake_at()
    }
}
