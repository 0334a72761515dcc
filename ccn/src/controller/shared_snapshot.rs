//! The snapshot that those who begin to follow are given: made once for all that come together.
//!
//! One that is a few deltas behind still serves, since the deltas that follow are in the history. A thousand nodes
//! that start at once so cost one snapshot. It is encoded where it may block, while the engine goes on.

use std::sync::{Arc, Mutex};

use anyedge_net::host::Host;
use bytes::Bytes;
use tokio::sync::Mutex as Turn;

use super::engine::locked;
use super::machine::StateMachine;
use super::seat::Seat;

/// So many deltas are rather sent than another snapshot made.
const BEHIND_MAX: usize = 64;

/// The last one that was made. Whoever needs another waits for its turn to make it.
pub(super) struct SharedSnapshot<M> {
    seat: Arc<Mutex<Seat<M>>>,
    /// How it is written: with secrets, or without.
    write: fn(&M) -> Vec<u8>,
    last: Turn<Option<(u64, Bytes)>>,
}

impl<M: StateMachine> SharedSnapshot<M> {
    pub(super) fn new(seat: Arc<Mutex<Seat<M>>>, write: fn(&M) -> Vec<u8>) -> SharedSnapshot<M> {
        let last = Turn::new(None);
        SharedSnapshot { seat, write, last }
    }

    /// The state at a revision from which the history goes on.
    pub(super) async fn get<H: Host>(&self, host: &H) -> (u64, Bytes) {
        let mut last = self.last.lock().await;
        let machine = {
            let seat = locked(&self.seat);
            if let Some((revision, bytes)) = &*last {
                let behind = seat.history.after(*revision, BEHIND_MAX + 1);
                if behind.is_some_and(|deltas| deltas.len() <= BEHIND_MAX) {
                    return (*revision, bytes.clone());
                }
            }
            seat.machine.clone()
        };
        let revision = machine.revision();
        let write = self.write;
        let bytes = host.run_blocking(move || Bytes::from(write(&machine)));
        let bytes = bytes.await;
        *last = Some((revision, bytes.clone()));
        (revision, bytes)
    }
}
