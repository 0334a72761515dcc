//! The route table as what controllers replicate and nodes follow.
//!
//! A command of the log is a `Command` of `anyedge.table.v1`, its place is the revision that it makes, and its answer
//! is an [`Answer`]: the outcome or the refusal. Bytes that are no command are refused like any other.

use anyedge_proto::table::v1 as pb;
use anyedge_proto::table::v1::answer::What;
use bytes::Bytes;
use pb::Answer;
use prost::Message as _;

use super::machine::{Effect, StateMachine, Unreadable};
use crate::follow::Mirror;
use crate::table::Table;
use crate::table::change::Command;
use crate::table::delta::{Delta, Outcome};
use crate::table::refusal::{Reason, Refusal};

/// What came of a command, from the answer of its [`Applied`](super::Applied): the outcome, and whether the request
/// had been applied before.
///
/// # Errors
/// The refusal.
pub fn outcome_of(answer: &[u8]) -> Result<(Outcome, bool), Refusal> {
    let internal = |what: &str| Reason::Internal.because(what);
    let answer = Answer::decode(answer).map_err(|_| internal("an answer that cannot be read"))?;
    match answer.what {
        Some(What::Outcome(outcome)) => Ok(((&outcome).try_into()?, answer.repeated_request)),
        Some(What::Refusal(refusal)) => Err((&refusal).try_into()?),
        None => Err(internal("an answer that says nothing")),
    }
}

/// The bytes of a command, to be proposed.
pub fn bytes_of(command: &Command) -> Bytes {
    pb::Command::from(command).encode_to_vec().into()
}

fn apply(table: &mut Table, revision: u64, command: &[u8]) -> Result<Delta, Refusal> {
    let command = pb::Command::decode(command);
    let command = command.map_err(|_| Reason::Format.because("a command that cannot be read"))?;
    table.apply(revision, &Command::try_from(&command)?)
}

impl StateMachine for Table {
    fn apply(&mut self, index: u64, command: &[u8]) -> Effect {
        let (what, repeated_request, delta) = match apply(self, index, command) {
            Ok(delta) => {
                let changed = (!delta.repeated).then(|| pb::Delta::from(&delta));
                let outcome = What::Outcome((&delta.outcome).into());
                (outcome, delta.repeated, changed)
            }
            Err(refusal) => (What::Refusal((&refusal).into()), false, None),
        };
        let answer = Answer {
            what: Some(what),
            repeated_request,
        };
        Effect {
            answer: answer.encode_to_vec().into(),
            delta,
        }
    }

    fn revision(&self) -> u64 {
        Table::revision(self)
    }

    fn snapshot(&self) -> Vec<u8> {
        Table::snapshot(self)
    }

    fn backup(&self) -> Vec<u8> {
        Table::backup(self)
    }

    fn hide_secrets(delta: &mut pb::Delta) {
        delta.changes.retain(|changed| {
            let key = changed.key.as_ref();
            key.is_none_or(|key| key.kind != pb::Kind::Secret as i32)
        });
    }

    fn restore(bytes: &[u8]) -> Result<Table, Unreadable> {
        Table::restore(bytes).map_err(|error| Unreadable(error.to_string()))
    }
}

impl Mirror for Table {
    fn revision(&self) -> u64 {
        Table::revision(self)
    }

    fn restore(bytes: &[u8]) -> Result<Table, Unreadable> {
        StateMachine::restore(bytes)
    }

    fn replay(&mut self, delta: &pb::Delta) -> Result<(), Unreadable> {
        let delta = Delta::try_from(delta);
        let replayed = delta.and_then(|delta| Table::replay(self, &delta));
        replayed.map_err(|refusal| Unreadable(refusal.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::change::Change;
    use anyedge_net::time::Instant;

    fn settle(request_id: &str) -> Command {
        let mut command = Command::new(Instant::from_nanos(5), Change::Settle);
        command.request_id = request_id.to_owned();
        command
    }

    #[test]
    fn a_command_makes_the_revision_of_its_place_and_a_mirror_follows_to_the_same_table() {
        let mut table = Table::new();
        let mut mirror = Table::new();
        let effect = StateMachine::apply(&mut table, 7, &bytes_of(&settle("a")));
        let (outcome, repeated) = outcome_of(&effect.answer).expect("it is accepted");
        assert_eq!((outcome.revision, repeated), (7, false));
        let delta = effect.delta.expect("a revision was made");
        Mirror::replay(&mut mirror, &delta).expect("it follows");
        assert_eq!(mirror, table);
        let restored = <Table as Mirror>::restore(&Table::snapshot(&table));
        assert_eq!(restored, Ok(table));
    }

    #[test]
    fn a_repeated_request_is_answered_as_before_and_bytes_that_are_none_are_refused() {
        let mut table = Table::new();
        for (index, expected) in [(7, false), (9, true)] {
            let effect = StateMachine::apply(&mut table, index, &bytes_of(&settle("a")));
            let (outcome, repeated) = outcome_of(&effect.answer).expect("it is accepted");
            assert_eq!((outcome.revision, repeated), (7, expected));
            assert_eq!(effect.delta.is_none(), expected);
        }
        let effect = StateMachine::apply(&mut table, 11, &[0xff; 9]);
        let refusal = outcome_of(&effect.answer).expect_err("it is no command");
        assert_eq!(refusal.reason, Reason::Format);
        assert_eq!((effect.delta, Table::revision(&table)), (None, 7));
    }
}
