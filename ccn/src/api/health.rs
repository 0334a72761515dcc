//! Whether a member can serve: what `grpc.health.v1.Health` is told.
//!
//! The server as a whole (no name) serves as long as it answers. `anyedge.control.v1.Table` serves while this member
//! knows of a leader, itself or another, so that what it says need not be old.

use anyedge_net::host::Host;

use crate::controller::Controller;
use crate::rpc::HealthBook;
use crate::table::Table;

/// What depends on a leader.
const TABLE: &str = "anyedge.control.v1.Table";

/// Keeps `book` until the controller stops.
pub(super) fn keep<H: Host>(host: &H, controller: &Controller<Table>, book: HealthBook) {
    let mut statuses = controller.watch_status();
    host.spawn(async move {
        loop {
            let look = statuses.next(|status| (status.leader.is_some(), status.stopped.is_some()));
            let (has_leader, is_over) = look.await;
            book.set(TABLE, has_leader && !is_over);
            if is_over {
                return book.set("", false);
            }
        }
    });
}
