//! A write: what was asked becomes a command, and what came of the command is the answer.
//!
//! Every command has a request id; one that came without is given the member's number, its term and a count, which
//! no other request of the group has. A write that waits in a stage is a command that stages it.

use core::sync::atomic::Ordering;

use anyedge_net::host::Host;
use anyedge_net::time::Instant;
use anyedge_proto::control::v1::{WriteOptions, WriteReply};
use anyedge_proto::table::v1 as pb;
use tonic::{Response, Status};

use super::refused::{failed, refused};
use super::{Api, Shared};
use crate::controller::{Failure, bytes_of, outcome_of};
use crate::raft::Role;
use crate::table::change::{Change, Command, Condition, Stage};
use crate::table::object::Key;
use crate::table::refusal::{Reason, Refusal};

/// What a write is answered with.
pub(super) type Written = Result<Response<WriteReply>, Status>;

impl<H: Host> Api<H> {
    /// Has `change` applied, or staged, and tells what came of it.
    pub(super) async fn write(&self, options: Option<WriteOptions>, change: Change) -> Written {
        self.write_all(options, vec![change]).await
    }

    /// Has all of `changes` applied, or none.
    pub(super) async fn write_all(
        &self,
        options: Option<WriteOptions>,
        changes: Vec<Change>,
    ) -> Written {
        self.write_at(options, changes, Instant::ZERO).await
    }

    /// As [`Api::write_all`], at `earliest` or later by the table's time.
    pub(super) async fn write_at(
        &self,
        options: Option<WriteOptions>,
        mut changes: Vec<Change>,
        earliest: Instant,
    ) -> Written {
        let WriteOptions {
            request_id,
            conditions,
            stage,
        } = options.unwrap_or_default();
        let conditions = conditions.iter().map(Condition::try_from);
        let conditions = conditions.collect::<Result<Vec<Condition>, Refusal>>();
        let change = match (stage.is_empty(), changes.len()) {
            (false, _) => Change::Stage(Stage {
                name: stage,
                changes,
            }),
            // A batch by itself may do part of what it is asked; in a list of changes it may not.
            (true, 1) => changes.remove(0),
            (true, _) => Change::All(changes),
        };
        let request_id = self.request_id(request_id)?;
        let under_way = self.shared.tasks.begin(&request_id);
        let Shared {
            host,
            controller,
            keeper,
            ..
        } = &*self.shared;
        let command = Command {
            request_id,
            at: keeper.time().stamp(host, controller).max(earliest),
            conditions: conditions.map_err(|refusal| refused(&refusal))?,
            change,
        };
        let bytes = bytes_of(&command);
        let bytes_max = controller.entry_bytes_max();
        if bytes.len() > bytes_max {
            let bytes = bytes.len();
            return Err(refused(&Reason::Length.because(format_args!(
                "a command of {bytes} bytes; an entry of the log has at most {bytes_max}"
            ))));
        }
        let applied = controller.propose(bytes).await;
        let applied = applied.map_err(|failure| failed(&failure))?;
        let (outcome, repeated_request) = match outcome_of(&applied.answer) {
            Ok(outcome) => outcome,
            Err(refusal) => {
                let status = refused(&refusal);
                under_way.refused(refusal);
                return Err(status);
            }
        };
        let outcome = pb::Outcome::from(&outcome);
        Ok(Response::new(WriteReply {
            revision: outcome.revision,
            request_id: command.request_id,
            failures: outcome.failures,
            created: outcome.created,
            repeated_request,
        }))
    }

    /// The id of a request, made up if it came with none.
    ///
    /// # Errors
    /// When this member does not lead: it cannot write, and its term is somebody else's.
    fn request_id(&self, asked: String) -> Result<String, Status> {
        let status = self.shared.controller.with_status(|status| {
            if status.role == Role::Leader {
                return Ok((status.id, status.term));
            }
            Err(Failure::NotLeader(status.leader))
        });
        let (id, term) = status.map_err(|failure| failed(&failure))?;
        if !asked.is_empty() {
            return Ok(asked);
        }
        let count = self.shared.ids_given.fetch_add(1, Ordering::Relaxed);
        Ok(format!("member-{id}-{term}-{count}"))
    }
}

/// What came from a client, as the table has it.
pub(super) fn read<'a, A, B>(what: &'a A) -> Result<B, Status>
where
    B: TryFrom<&'a A, Error = Refusal>,
{
    B::try_from(what).map_err(|refusal| refused(&refusal))
}

/// The key that a request needs.
pub(super) fn read_key(key: Option<&pb::Key>) -> Result<Key, Status> {
    let key = key.ok_or_else(|| missing("a key"))?;
    read(key)
}

/// The refusal of a request that lacks something.
pub(super) fn missing(what: &str) -> Status {
    refused(&Reason::Missing.because(what))
}
