//! Restoring a backup: its pieces are gathered, read, and become one command.
//!
//! A backup is one entry of the log and its objects may be as large as one: 15 MiB, which is about 200,000 targets and so
//! all that a command may hold. What comes is bounded before it is read. Requests and slots in a backup are not taken:
//! the table's own go on.

use core::time::Duration;
use std::sync::Arc;

use anyedge_net::host::Host;
use anyedge_proto::control::v1::{RestoreRequest, WriteOptions};
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Status, Streaming};

use super::Api;
use super::refused::refused;
use super::write::{Written, missing};
use crate::rpc::until;
use crate::table::Table;
use crate::table::change::Change;
use crate::table::refusal::Reason;

/// Bytes of a backup, with what is not taken of it.
const BACKUP_BYTES_MAX: usize = 64 << 20;
/// For all pieces to come.
const GATHER_MAX: Duration = Duration::from_secs(60);

impl<H: Host> Api<H> {
    /// Restores what `pieces` bring.
    pub(super) async fn restore_from(&self, pieces: Streaming<RestoreRequest>) -> Written {
        let place = self.large_place()?;
        let host = &self.shared.host;
        let gathered = until(host, host.now() + GATHER_MAX, gather(pieces)).await;
        let late = || Status::deadline_exceeded("the backup did not come in time");
        let (options, bytes) = gathered.ok_or_else(late)??;
        let backup = Table::restore(&bytes);
        let backup = backup.map_err(|error| refused(&Reason::Format.because(error)))?;
        drop(bytes);
        let at = backup.at();
        let change = Change::Restore(backup.restorable());
        let written = self.write_at(options, vec![change], at).await;
        drop(place);
        written
    }

    /// A place among the calls that hold a whole table.
    pub(super) fn large_place(&self) -> Result<OwnedSemaphorePermit, Status> {
        let place = Arc::clone(&self.shared.large).try_acquire_owned();
        place.map_err(|_| refused(&Reason::Busy.because("other whole tables are on their way")))
    }
}

async fn gather(
    mut pieces: Streaming<RestoreRequest>,
) -> Result<(Option<WriteOptions>, Vec<u8>), Status> {
    let mut options = None;
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.message().await? {
        options = options.or(piece.options);
        let Some(chunk) = piece.chunk else {
            continue;
        };
        if bytes.len() + chunk.bytes.len() > BACKUP_BYTES_MAX {
            return Err(refused(&Reason::Length.because(format_args!(
                "a backup has at most {BACKUP_BYTES_MAX} bytes"
            ))));
        }
        bytes.extend_from_slice(&chunk.bytes);
        if chunk.last {
            return Ok((options, bytes));
        }
    }
    Err(missing("the last piece of a backup"))
}
