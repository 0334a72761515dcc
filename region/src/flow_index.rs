//! Flow index: from a flow's hash to its entry, in one cache line as a rule.
//!
//! Open addressing with linear probing over 8-byte cells (32 bits of hash, 32 of entry number), at most half
//! full. Removal shifts the cells behind it back, so there are no tombstones: the cost of a flow does not depend on
//! how many came before it. With more entries than it was laid out for it is laid out anew, twice as large; a
//! forwarder of real packets has it laid out for all it may hold, so that none ever waits for that.
//! Flooding one cell takes the secret key of the flow hash.
//!
//! Invariant: between an entry's home cell and the cell it is in, no cell is empty.
//! Reference: D. Knuth, "The Art of Computer Programming", vol. 3, §6.4, algorithms L and R.

use std::hint::black_box;

/// An empty cell. Entry numbers are stored plus one, so no cell in use is 0.
const EMPTY: u64 = 0;

/// A map from 32-bit hashes to entry numbers; the same hash may be there more than once.
#[derive(Debug)]
pub(crate) struct FlowIndex {
    cells: Box<[u64]>,
    mask: usize,
    entries: usize,
}

impl FlowIndex {
    /// Laid out for `entries`: no memory is asked for up to there. Pages are touched when first used.
    pub(crate) fn new(entries: usize) -> FlowIndex {
        let cells = (entries.max(1) * 2).next_power_of_two();
        FlowIndex {
            cells: vec![EMPTY; cells].into_boxed_slice(),
            mask: cells - 1,
            entries: 0,
        }
    }

    /// The entry with this hash for which `is_it` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = hash as usize & self.mask;
        loop {
            let cell = self.cells[at];
            if cell == EMPTY {
                return None;
            }
            if hash_in(cell) == hash && is_it(entry_in(cell)) {
                return Some(entry_in(cell));
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Fetches the home cells of `hashes`: loads that do not wait for each other, so that a batch waits for memory
    /// once and not once a packet.
    #[inline]
    pub(crate) fn fetch(&self, hashes: impl Iterator<Item = u32>) {
        let cells = hashes.map(|hash| self.cells[hash as usize & self.mask]);
        black_box(cells.fold(0, |all, cell| all ^ cell));
    }

    /// The entry in the home cell of this hash, which is the one that is looked for as a rule.
    #[inline]
    pub(crate) fn guess(&self, hash: u32) -> Option<u32> {
        let cell = self.cells[hash as usize & self.mask];
        (cell != EMPTY && hash_in(cell) == hash).then(|| entry_in(cell))
    }

    /// Adds an entry.
    pub(crate) fn insert(&mut self, hash: u32, entry: u32) {
        if self.entries * 2 >= self.cells.len() {
            self.double();
        }
        self.entries += 1;
        self.put(u64::from(hash) << 32 | (u64::from(entry) + 1));
    }

    fn put(&mut self, cell: u64) {
        let mut at = hash_in(cell) as usize & self.mask;
        while self.cells[at] != EMPTY {
            at = (at + 1) & self.mask;
        }
        self.cells[at] = cell;
    }

    #[cold]
    fn double(&mut self) {
        let twice = vec![EMPTY; self.cells.len() * 2].into_boxed_slice();
        self.mask = twice.len() - 1;
        for cell in std::mem::replace(&mut self.cells, twice) {
            if cell != EMPTY {
                self.put(cell);
            }
        }
    }

    /// Takes an entry out that was inserted with `hash`.
    pub(crate) fn remove(&mut self, hash: u32, entry: u32) {
        let mut hole = hash as usize & self.mask;
        while self.cells[hole] != EMPTY && entry_in(self.cells[hole]) != entry {
            hole = (hole + 1) & self.mask;
        }
        debug_assert_ne!(self.cells[hole], EMPTY, "what is removed was inserted");
        self.entries -= 1;
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask;
            let cell = self.cells[at];
            if cell == EMPTY {
                break;
            }
            let home = hash_in(cell) as usize & self.mask;
            let from_home = at.wrapping_sub(home) & self.mask;
            let from_hole = at.wrapping_sub(hole) & self.mask;
            if from_home >= from_hole {
                self.cells[hole] = cell;
                hole = at;
            }
        }
        self.cells[hole] = EMPTY;
    }

    /// Forgets all entries.
    pub(crate) fn clear(&mut self) {
        self.cells.fill(EMPTY);
        self.entries = 0;
    }
}

#[inline]
const fn hash_in(cell: u64) -> u32 {
    (cell >> 32) as u32
}

#[inline]
const fn entry_in(cell: u64) -> u32 {
    (cell as u32).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Few different hashes, so that runs of cells meet and wrap around the end.
    fn any_steps() -> impl Strategy<Value = Vec<(u32, bool)>> {
        let hash = prop_oneof![0_u32..6, 58_u32..70, any::<u32>()];
        proptest::collection::vec((hash, any::<bool>()), 1..200)
    }

    proptest! {
        #[test]
        fn it_finds_exactly_what_a_list_of_pairs_holds(steps in any_steps(), laid_out in 0_usize..=32) {
            let mut index = FlowIndex::new(laid_out);
            let mut list: Vec<(u32, u32)> = Vec::new();
            for (number, (hash, add)) in steps.into_iter().enumerate() {
                let entry = number as u32;
                if add && list.len() < 32 {
                    index.insert(hash, entry);
                    list.push((hash, entry));
                } else if !list.is_empty() {
                    let (hash, entry) = list.swap_remove(hash as usize % list.len());
                    index.remove(hash, entry);
                    prop_assert_eq!(index.find(hash, |found| found == entry), None);
                }
                for (hash, entry) in &list {
                    prop_assert_eq!(index.find(*hash, |found| found == *entry), Some(*entry));
                }
                let used = index.cells.iter().filter(|cell| **cell != EMPTY).count();
                prop_assert_eq!(used, list.len());
            }
        }
    }
}
