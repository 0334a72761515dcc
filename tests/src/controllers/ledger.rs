//! The smallest state machine in which nothing that was applied can hide: every command, by its place.

use std::collections::BTreeMap;

use anyedge_ccn::controller::{Effect, StateMachine, Unreadable};
use anyedge_ccn::follow::Mirror;
use anyedge_proto::table::v1::{Delta, Outcome};

/// Commands by the places at which they were applied.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ledger {
    commands: BTreeMap<u64, String>,
}

impl Ledger {
    /// What was applied at that place.
    pub fn at(&self, place: u64) -> Option<&String> {
        self.commands.get(&place)
    }

    /// How many commands there are.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }
}

impl StateMachine for Ledger {
    fn apply(&mut self, index: u64, command: &[u8]) -> Effect {
        let command = String::from_utf8_lossy(command).into_owned();
        let outcome = Outcome {
            request_id: command.clone(),
            ..Outcome::default()
        };
        self.commands.insert(index, command);
        let delta = Delta {
            revision: index,
            outcome: Some(outcome),
            ..Delta::default()
        };
        Effect {
            answer: self.commands.len().to_string().into(),
            delta: Some(delta),
        }
    }

    fn revision(&self) -> u64 {
        let last = self.commands.last_key_value();
        last.map_or(0, |(place, _)| *place)
    }

    fn snapshot(&self) -> Vec<u8> {
        let lines = self.commands.iter();
        let lines = lines.map(|(place, command)| format!("{place} {command}\n"));
        lines.collect::<String>().into_bytes()
    }

    fn restore(bytes: &[u8]) -> Result<Ledger, Unreadable> {
        let text = core::str::from_utf8(bytes).map_err(|error| Unreadable(error.to_string()))?;
        let read = |line: &str| {
            let (place, command) = line.split_once(' ')?;
            Some((place.parse().ok()?, command.to_owned()))
        };
        let commands: Option<BTreeMap<u64, String>> = text.lines().map(read).collect();
        let commands = commands.ok_or_else(|| Unreadable("a line without a place".to_owned()))?;
        Ok(Ledger { commands })
    }
}

impl Mirror for Ledger {
    fn revision(&self) -> u64 {
        StateMachine::revision(self)
    }

    fn restore(bytes: &[u8]) -> Result<Ledger, Unreadable> {
        StateMachine::restore(bytes)
    }

    fn replay(&mut self, delta: &Delta) -> Result<(), Unreadable> {
        let outcome = delta.outcome.as_ref();
        let outcome = outcome.ok_or_else(|| Unreadable("a delta of nothing".to_owned()))?;
        let command = outcome.request_id.clone();
        match self.commands.insert(delta.revision, command) {
            None => Ok(()),
            Some(twice) => Err(Unreadable(format!("{twice} came twice"))),
        }
    }
}
