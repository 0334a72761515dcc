//! Leader completeness: what was committed is in the log of every later leader (Ongaro, figure 3.2).

use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct LeaderCompleteness {
    /// Term of each committed place, and the term in which it was first known to be committed.
    committed: BTreeMap<u64, (u64, u64)>,
}

impl LeaderCompleteness {
    /// A replica of term `known_in` gives `(index, term)` to be applied.
    pub(crate) fn committed(&mut self, index: u64, term: u64, known_in: u64) {
        self.committed.entry(index).or_insert((term, known_in));
    }

    /// A leader of `term` is elected, whose log lies behind `truncated` and has these terms.
    pub(crate) fn elected(
        &self,
        term: u64,
        truncated: u64,
        log: &BTreeMap<u64, u64>,
    ) -> Result<(), String> {
        for (index, (of, known_in)) in self.committed.range(truncated + 1..) {
            if *known_in < term && log.get(index) != Some(of) {
                let has = log.get(index);
                return Err(format!(
                    "leader completeness: the leader of term {term} has {has:?} at {index}, committed is term {of}"
                ));
            }
        }
        Ok(())
    }
}
