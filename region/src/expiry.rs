//! Expiry: which entries of a table are to be looked at, and when, at one list operation per entry and timeout.
//!
//! A timing wheel of coarse ticks that hands out entry numbers. A packet does not touch the wheel: it writes
//! the time into its entry. When the wheel reaches the entry, the table looks at its true deadline and re-arms
//! it if it still lives. Only a deadline that came nearer moves an entry ahead of time.
//!
//! Invariant: a number is free, or in exactly one slot of the wheel, never a later one than its deadline's;
//! only between `pop_due` and the `arm` or `release` that answers it, it is in the caller's hand.
//! Reference: G. Varghese, T. Lauck, "Hashed and hierarchical timing wheels", 1987, scheme 4.

use core::time::Duration;

use anyedge_net::time::{Instant, nanos};

/// Width of a slot: an entry is collected at most this long after its deadline.
pub const TICK: Duration = Duration::from_millis(250);

/// Slots of the wheel: 1,024 s, more than the longest timeout. A later deadline waits in the last slot first.
const SLOTS: usize = 4_096;

/// No number: the end of a list.
const NIL: u32 = u32::MAX;

/// In no slot: free, or in the caller's hand.
const UNARMED: u16 = u16::MAX;

#[derive(Clone, Copy, Debug)]
struct Link {
    previous: u32,
    next: u32,
    slot: u16,
}

/// A wheel over at most a fixed number of entries.
#[derive(Debug)]
pub(crate) struct Expiry {
    links: Vec<Link>,
    entries_max: usize,
    free: u32,
    in_use: usize,
    heads: Box<[u32]>,
    occupied: Occupied,
    /// No armed entry is in a tick before this one.
    base: u64,
}

impl Expiry {
    /// A wheel for numbers below `entries_max`; all memory is reserved here.
    pub(crate) fn new(entries_max: usize) -> Expiry {
        assert!(entries_max < NIL as usize, "entry numbers have 32 bits");
        Expiry {
            links: Vec::with_capacity(entries_max),
            entries_max,
            free: NIL,
            in_use: 0,
            heads: vec![NIL; SLOTS].into_boxed_slice(),
            occupied: Occupied::default(),
            base: 0,
        }
    }

    /// Numbers in use.
    pub(crate) const fn len(&self) -> usize {
        self.in_use
    }

    /// Numbers that there are.
    pub(crate) const fn entries_max(&self) -> usize {
        self.entries_max
    }

    /// Whether no number is left.
    pub(crate) const fn is_full(&self) -> bool {
        self.in_use == self.entries_max
    }

    /// A number for a new entry, armed for `deadline`. Numbers never used come in order from 0.
    /// `None` when all are in use.
    pub(crate) fn claim(&mut self, now: Instant, deadline: Instant) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        if self.in_use == 0 {
            self.base = tick_of(now);
        }
        let id = if self.free == NIL {
            self.links.push(Link {
                previous: NIL,
                next: NIL,
                slot: UNARMED,
            });
            self.links.len() as u32 - 1
        } else {
            let id = self.free;
            self.free = self.links[id as usize].next;
            id
        };
        self.in_use += 1;
        self.arm(id, deadline);
        Some(id)
    }

    /// Gives the number of a removed entry back.
    pub(crate) fn release(&mut self, id: u32) {
        self.unlink(id);
        self.links[id as usize].next = self.free;
        self.free = id;
        self.in_use -= 1;
    }

    /// Puts an entry in hand back on the wheel.
    pub(crate) fn arm(&mut self, id: u32, deadline: Instant) {
        let slot = self.slot_at(self.offset_of(deadline));
        debug_assert_eq!(
            self.links[id as usize].slot, UNARMED,
            "an entry is in one slot only"
        );
        let head = self.heads[slot];
        self.links[id as usize] = Link {
            previous: NIL,
            next: head,
            slot: slot as u16,
        };
        match self.links.get_mut(head as usize) {
            Some(link) => link.previous = id,
            None => self.occupied.set(slot),
        }
        self.heads[slot] = id;
    }

    /// Moves an entry whose deadline came nearer; does nothing when it is looked at early enough anyway.
    pub(crate) fn shorten(&mut self, id: u32, deadline: Instant) {
        let armed = self.offset_of_slot(usize::from(self.links[id as usize].slot));
        if self.offset_of(deadline) < armed {
            self.unlink(id);
            self.arm(id, deadline);
        }
    }

    /// Takes an entry off the wheel whose tick has ended. The caller answers with [`Expiry::arm`] or
    /// [`Expiry::release`]. `None` when nothing more is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let current = tick_of(now).max(self.base);
        let due = self.first_tick().filter(|tick| *tick < current);
        let Some(tick) = due else {
            self.base = current;
            return None;
        };
        self.base = tick;
        let id = self.heads[self.slot_at(0)];
        self.unlink(id);
        Some(id)
    }

    /// When to ask [`Expiry::pop_due`] next: the end of the first tick that holds an entry.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.first_tick().map(tick_end)
    }

    /// Whether the entry of that number is armed.
    pub(crate) fn is_armed(&self, id: u32) -> bool {
        self.links
            .get(id as usize)
            .is_some_and(|link| link.slot != UNARMED)
    }

    /// The numbers of all entries that are armed.
    pub(crate) fn armed(&self) -> impl Iterator<Item = u32> + '_ {
        let links = self.links.iter().enumerate();
        links
            .filter(|(_, link)| link.slot != UNARMED)
            .map(|(id, _)| id as u32)
    }

    fn unlink(&mut self, id: u32) {
        let Link {
            previous,
            next,
            slot,
        } = self.links[id as usize];
        if slot == UNARMED {
            return;
        }
        if let Some(link) = self.links.get_mut(next as usize) {
            link.previous = previous;
        }
        match self.links.get_mut(previous as usize) {
            Some(link) => link.next = next,
            None => {
                self.heads[usize::from(slot)] = next;
                if next == NIL {
                    self.occupied.clear(usize::from(slot));
                }
            }
        }
        self.links[id as usize].slot = UNARMED;
    }

    fn first_tick(&self) -> Option<u64> {
        let slot = self.occupied.first_from(self.slot_at(0))?;
        Some(self.base + self.offset_of_slot(slot) as u64)
    }

    /// Slots from the base to the deadline's, at most to the last one.
    fn offset_of(&self, deadline: Instant) -> usize {
        let offset = tick_of(deadline).saturating_sub(self.base);
        offset.min(SLOTS as u64 - 1) as usize
    }

    fn slot_at(&self, offset: usize) -> usize {
        (self.base as usize + offset) % SLOTS
    }

    fn offset_of_slot(&self, slot: usize) -> usize {
        (slot + SLOTS - self.base as usize % SLOTS) % SLOTS
    }
}

/// Whether an entry with this deadline is to be collected at `now`: once the deadline's tick has ended.
pub(crate) const fn is_due(deadline: Instant, now: Instant) -> bool {
    tick_of(deadline) < tick_of(now)
}

const fn tick_of(at: Instant) -> u64 {
    at.as_nanos() / nanos(TICK)
}

const fn tick_end(tick: u64) -> Instant {
    Instant::from_nanos((tick + 1).saturating_mul(nanos(TICK)))
}

/// Which slots hold entries: one bit each, and one bit for each word of them.
#[derive(Debug)]
struct Occupied {
    words: [u64; SLOTS / 64],
    summary: u64,
}

impl Default for Occupied {
    fn default() -> Occupied {
        Occupied {
            words: [0; SLOTS / 64],
            summary: 0,
        }
    }
}

impl Occupied {
    fn set(&mut self, slot: usize) {
        self.words[slot / 64] |= 1 << (slot % 64);
        self.summary |= 1 << (slot / 64);
    }

    fn clear(&mut self, slot: usize) {
        self.words[slot / 64] &= !(1 << (slot % 64));
        if self.words[slot / 64] == 0 {
            self.summary &= !(1 << (slot / 64));
        }
    }

    /// The first set bit at or behind `from`, going round.
    fn first_from(&self, from: usize) -> Option<usize> {
        let (word, bit) = (from / 64, from % 64);
        let ahead = self.words[word] & (u64::MAX << bit);
        if ahead != 0 {
            return Some(word * 64 + ahead.trailing_zeros() as usize);
        }
        let behind_word = (u64::MAX << word) & !(1 << word);
        let later = self.summary & behind_word;
        let candidates = if later != 0 { later } else { self.summary };
        if candidates == 0 {
            return None;
        }
        let word = candidates.trailing_zeros() as usize;
        Some(word * 64 + self.words[word].trailing_zeros() as usize)
    }
}

#[cfg(test)]
mod tests;
