//! Route tables on their way to a data plane's thread, which goes on forwarding while one is made and stops only to
//! put it in force.
//!
//! One place: a table that comes while another waits takes its place, since only the newest matters. A bell (an event
//! counter of the kernel) wakes the thread, also when it shall end.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

use anyedge_net::id::NodeId;
use anyedge_net::route_table::RouteTable;
use anyhow::{Context, Result};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::moving::Move;

/// Where a data plane finds its next table. Clones lead to the same one.
#[derive(Clone, Debug)]
pub struct Inbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Option<Delivery>>,
    bell: EventFd,
}

/// What a data plane finds.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) table: Arc<RouteTable>,
    /// The id that the node has in it.
    pub(super) own: NodeId,
    /// Sockets on other tunnel addresses, for each worker, oldest first.
    pub(super) moves: Vec<Vec<Move>>,
}

impl Inbox {
    pub(super) fn new() -> Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let bell = EventFd::from_flags(flags).context("cannot make a bell for tables")?;
        let waiting = Mutex::new(None);
        Ok(Self(Arc::new(Shared { waiting, bell })))
    }

    /// Hands over a table, in which the node has the id `own`.
    pub fn put(&self, table: Arc<RouteTable>, own: NodeId) {
        self.put_moving(table, own, None);
    }

    /// The same, with sockets on the tunnel addresses that it gives the node, one move for each worker. They are taken even
    /// if another table takes this one's place.
    pub fn put_moving(&self, table: Arc<RouteTable>, own: NodeId, moves: Option<Vec<Move>>) {
        let mut waiting = self.waiting();
        let before = waiting.take().map(|before| before.moves);
        let moves = before.into_iter().flatten().chain(moves).collect();
        *waiting = Some(Delivery { table, own, moves });
        drop(waiting);
        self.ring();
    }

    /// Wakes the data plane, to look whether it shall stop.
    pub fn ring(&self) {
        // A counter that is full has not been looked at yet.
        let _ = self.0.bell.write(1);
    }

    /// What to wait on.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.0.bell.as_fd()
    }

    /// What waits, if anything does.
    pub(super) fn take(&self) -> Option<Delivery> {
        let _ = self.0.bell.read();
        self.waiting().take()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Option<Delivery>> {
        let waiting = self.0.waiting.lock();
        waiting.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use anyedge_net::id::Revision;

    use super::*;

    #[test]
    fn the_newest_table_is_the_one_that_is_taken() {
        let inbox = Inbox::new().expect("a bell");
        assert!(inbox.take().is_none());
        for revision in [1, 2] {
            let table = RouteTable {
                revision: Revision(revision),
                ..RouteTable::empty()
            };
            inbox.clone().put(Arc::new(table), NodeId(7));
        }
        let taken = inbox.take().map(|it| (it.table.revision, it.own));
        assert_eq!(taken, Some((Revision(2), NodeId(7))));
        assert!(inbox.take().is_none());
    }
}
