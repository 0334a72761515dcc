//! A snapshot that is being made beside the engine: bytes of a state take time, and heartbeats do not wait for it.
//!
//! The state machine is cloned where it stands; what encodes the clone runs where it may block. One at a time.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use anyedge_net::host::Host;
use bytes::Bytes;

use super::addresses::Addresses;
use super::machine::StateMachine;
use crate::raft::Point;

type UnderWay = Pin<Box<dyn Future<Output = (Point, Bytes)> + Send>>;

/// The snapshot that is being made, if one is.
#[derive(Default)]
pub(super) struct Compaction {
    under_way: Option<UnderWay>,
}

impl Compaction {
    pub(super) const fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Begins to make one of `machine` and `addresses`, which are those of `point`.
    pub(super) fn begin<H: Host, M: StateMachine>(
        &mut self,
        host: &H,
        point: Point,
        (machine, addresses): (M, Addresses),
    ) {
        let host = host.clone();
        self.under_way = Some(Box::pin(async move {
            let work = host.run_blocking(move || addresses.state(machine.snapshot().into()));
            (point, work.await)
        }));
    }

    /// The snapshot, once it is made.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<(Point, Bytes)> {
        let Some(under_way) = &mut self.under_way else {
            return Poll::Pending;
        };
        let made = under_way.as_mut().poll(context);
        if made.is_ready() {
            self.under_way = None;
        }
        made
    }
}
