//! The ready queue and the wakers that fill it.
//!
//! A waker knows its task by index and generation and the queue by reference, nothing of the world. Its flag
//! keeps a task from standing in the queue twice, however often it is woken before its poll.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

/// A task: a slot and the count of tasks that had it before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TaskId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// Woken tasks in the order of their wake-ups.
#[derive(Default)]
pub(super) struct ReadyQueue {
    woken: Mutex<Vec<TaskId>>,
    /// Whether `woken` holds anything: asked after every event, so without the lock.
    filled: AtomicBool,
}

impl ReadyQueue {
    /// Queues a task that does not stand in the queue.
    pub(super) fn push(&self, id: TaskId) {
        self.woken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(id);
        self.filled.store(true, Ordering::Relaxed);
    }

    /// Moves all to `batch`, which is empty.
    pub(super) fn drain_into(&self, batch: &mut Vec<TaskId>) {
        debug_assert!(batch.is_empty());
        if self.is_empty() {
            return;
        }
        self.filled.store(false, Ordering::Relaxed);
        std::mem::swap(
            &mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner),
            batch,
        );
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.filled.load(Ordering::Relaxed)
    }
}

/// What stands behind the `Waker` of one task.
pub(super) struct TaskWaker {
    id: TaskId,
    queued: AtomicBool,
    ready: Arc<ReadyQueue>,
}

impl TaskWaker {
    pub(super) fn new(id: TaskId, ready: &Arc<ReadyQueue>) -> Arc<TaskWaker> {
        Arc::new(TaskWaker {
            id,
            queued: AtomicBool::new(false),
            ready: Arc::clone(ready),
        })
    }

    pub(super) const fn id(&self) -> TaskId {
        self.id
    }

    /// The task left the queue.
    pub(super) fn dequeued(&self) {
        self.queued.store(false, Ordering::Relaxed);
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // One thread runs the world; the flag is atomic because a waker must be `Sync`, not for a race.
        if !self.queued.load(Ordering::Relaxed) {
            self.queued.store(true, Ordering::Relaxed);
            self.ready.push(self.id);
        }
    }
}
