//! When a read may be answered: what its answer must know.
//!
//! By itself a read knows all that anybody was told before it was asked, which the leader alone can promise. One
//! that names a revision may be answered by any member that has come to it, and a stale one by any at once.

use anyedge_net::host::Host;
use anyedge_net::time::Instant;
use anyedge_proto::control::v1::ReadOptions;
use tonic::Status;

use super::refused::{failed, refused};
use super::{Api, PATIENCE};
use crate::rpc::until;
use crate::table::refusal::Reason;

impl<H: Host> Api<H> {
    /// Waits until the table is as new as `options` ask.
    pub(super) async fn readable(&self, options: Option<&ReadOptions>) -> Result<(), Status> {
        let ReadOptions { min_index, stale } = options.copied().unwrap_or_default();
        let controller = &self.shared.controller;
        if min_index > 0 {
            let patience_ends = self.shared.host.now() + PATIENCE;
            return self.come_to(min_index, patience_ends).await;
        }
        if !stale {
            let index = controller.read_index().await;
            index.map_err(|failure| failed(&failure))?;
        }
        Ok(())
    }

    /// Waits until this member has applied the log up to `index`.
    async fn come_to(&self, index: u64, patience_ends: Instant) -> Result<(), Status> {
        let mut statuses = self.shared.controller.watch_status();
        let arrived = async { while statuses.next(|status| status.applied).await < index {} };
        if until(&self.shared.host, patience_ends, arrived)
            .await
            .is_some()
        {
            return Ok(());
        }
        let applied = self.shared.controller.with_status(|status| status.applied);
        Err(refused(&Reason::StaleRead.because(format_args!(
            "this member has come to {applied}, and {index} was wanted"
        ))))
    }
}
