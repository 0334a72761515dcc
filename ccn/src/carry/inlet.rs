//! The near side of a port: where a forwarder's driver puts packets, without waiting and without a host.
//!
//! A driver is synchronous and has its own time, and may be locked while it sends. An inlet outlives the port behind it:
//! what is put into it meanwhile waits for the next one, within the limits of the queue.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyedge_net::time::Instant;

use super::queue::Queue;
use super::{CarryCounts, CarryLimits, Frame};

/// Takes frames for a stream. Clones are the same inlet.
#[derive(Clone)]
pub struct Inlet(Arc<Mutex<Queue>>);

impl Inlet {
    /// An empty one.
    #[must_use]
    pub fn new(limits: CarryLimits) -> Inlet {
        let queue = Queue::new(limits.queue_bytes_max, limits.wait_max);
        Inlet(Arc::new(Mutex::new(queue)))
    }

    /// Sends `frame` when a stream takes it, or never: see [`CarryCounts`].
    pub fn send(&self, now: Instant, frame: Frame) {
        let waker = self.queue().push(now, frame);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What became of the frames so far, but for those that came in.
    #[must_use]
    pub fn counts(&self) -> CarryCounts {
        self.queue().counts()
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing foreign runs while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
