//! Election safety: at most one leader in a term (Ongaro, figure 3.2).

use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct ElectionSafety {
    leaders: BTreeMap<u64, u64>,
}

impl ElectionSafety {
    pub(crate) fn elected(&mut self, term: u64, id: u64) -> Result<(), String> {
        match *self.leaders.entry(term).or_insert(id) {
            first if first == id => Ok(()),
            first => Err(format!(
                "election safety: {first} and {id} lead in term {term}"
            )),
        }
    }

    /// Terms that had a leader.
    pub(crate) fn elections(&self) -> usize {
        self.leaders.len()
    }
}
