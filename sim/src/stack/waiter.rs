//! Who waits for something of a socket: one task at a time, the one that asked last.
//!
//! Its waker stays when it was woken, since the same task is likely to wait here again: to keep it and to wake by it
//! costs nothing, while to take a new one each time costs two counts that the processor must do one after the other.

use std::sync::Arc;
use std::task::Waker;

use crate::executor::{Waits, WakerId};

/// A task that may wait.
#[derive(Default)]
pub(super) struct Waiter {
    waker: Option<Waker>,
    waits: bool,
}

impl Waiter {
    /// The task of that waker waits from now on.
    #[inline]
    pub(super) fn wait(&mut self, current: &Waker) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(current),
            None => self.waker = Some(current.clone()),
        }
        self.waits = true;
    }

    /// Whether anybody waits.
    #[inline]
    pub(super) const fn waits(&self) -> bool {
        self.waits
    }

    /// Wakes who waits.
    #[inline]
    pub(super) fn wake(&mut self) {
        if std::mem::take(&mut self.waits)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }
}

/// A waiter that the socket's handle may ask for. It waits for nothing more once it is dropped.
#[derive(Default)]
pub(super) struct SeenWaiter {
    waiter: Waiter,
    seen: Arc<Waits>,
}

impl SeenWaiter {
    /// What the handle asks.
    pub(super) const fn seen(&self) -> &Arc<Waits> {
        &self.seen
    }

    /// The task of that waker waits from now on.
    #[inline]
    pub(super) fn wait(&mut self, current: &Waker) {
        self.waiter.wait(current);
        self.seen.set(WakerId::of(current));
    }

    /// Wakes who waits.
    #[inline]
    pub(super) fn wake(&mut self) {
        self.seen.set(WakerId::default());
        self.waiter.wake();
    }
}

impl Drop for SeenWaiter {
    fn drop(&mut self) {
        self.seen.set(WakerId::default());
    }
}
