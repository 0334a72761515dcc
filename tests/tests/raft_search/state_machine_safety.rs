//! State machine safety: all apply the same at the same place, and what was acknowledged stays (Ongaro, figure 3.2).

use std::collections::BTreeMap;

use super::register::Registers;

#[derive(Default)]
pub(crate) struct StateMachineSafety {
    /// By place: the term applied there, and the state afterwards.
    applied: BTreeMap<u64, (u64, Registers)>,
    acknowledged: BTreeMap<u64, u64>,
}

impl StateMachineSafety {
    /// A replica has applied the entry of `term` at `index`, or restored a snapshot of there.
    pub(crate) fn applied(
        &mut self,
        index: u64,
        term: u64,
        state: Registers,
    ) -> Result<(), String> {
        match *self.applied.entry(index).or_insert((term, state)) {
            first if first == (term, state) => Ok(()),
            first => Err(format!(
                "state machine safety: at {index} {first:?} and {:?}",
                (term, state)
            )),
        }
    }

    /// A client was told that its command is done.
    pub(crate) fn acknowledged(&mut self, index: u64, term: u64) {
        self.acknowledged.insert(index, term);
    }

    /// Every acknowledged command is what all have at its place.
    pub(crate) fn nothing_is_lost(&self) -> Result<(), String> {
        let lost = self.acknowledged.iter();
        let lost =
            lost.filter(|(index, term)| self.applied.get(index).map(|of| of.0) != Some(**term));
        match lost.count() {
            0 => Ok(()),
            count => Err(format!("{count} acknowledged commands are lost")),
        }
    }

    /// The farthest place.
    pub(crate) fn end(&self) -> u64 {
        self.applied.keys().next_back().copied().unwrap_or(0)
    }
}
