//! The state machine and the last of what changed it: what the engine writes and everybody else reads.

use super::history::History;
use super::machine::{Effect, StateMachine};
use bytes::Bytes;

/// Both, as of the same place.
pub(super) struct Seat<M> {
    pub(super) machine: M,
    pub(super) history: History,
}

impl<M: StateMachine> Seat<M> {
    pub(super) fn new(machine: M, deltas_max: usize) -> Seat<M> {
        let mut history = History::new(deltas_max);
        history.begin(machine.revision());
        Seat { machine, history }
    }

    /// Applies a command, and gives its answer.
    pub(super) fn apply(&mut self, index: u64, command: &[u8]) -> Bytes {
        let Effect { answer, delta } = self.machine.apply(index, command);
        delta.into_iter().for_each(|delta| self.history.add(delta));
        answer
    }

    pub(super) fn restore(&mut self, machine: M) {
        self.history.begin(machine.revision());
        self.machine = machine;
    }
}
