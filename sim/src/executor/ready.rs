//! The ready queue and the wakers that fill it.
//!
//! A waker knows its task by index and generation and the queue by reference, nothing of the world. Its flag
//! keeps a task from standing in the queue twice, however often it is woken before its poll.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Wake;

use anyedge_net::fetch::Place;

/// A task: a slot and the count of tasks that had it before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TaskId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl TaskId {
    fn to_number(self) -> u64 {
        (u64::from(self.generation) << 32) | u64::from(self.index)
    }

    fn from_number(number: u64) -> TaskId {
        TaskId {
            index: number as u32,
            generation: (number >> 32) as u32,
        }
    }
}

/// Tasks that are queued without a lock.
const FIRST_MAX: usize = 64;
/// Where a task's future begins, and what of it is fetched before it is polled: more than most have.
pub(super) type TaskPlace = Place<448>;

/// Woken tasks in the order of their wake-ups.
///
/// One thread runs the world. Everything here may be shared because wakers must be, and the usual few tasks are kept in
/// atomics that are only loaded and stored, which costs no more than memory does.
pub(super) struct ReadyQueue {
    first: [AtomicU64; FIRST_MAX],
    /// How many there are, those in `rest` included.
    len: AtomicUsize,
    /// Those that `first` had no room for.
    rest: Mutex<Vec<TaskId>>,
}

impl Default for ReadyQueue {
    fn default() -> ReadyQueue {
        ReadyQueue {
            first: std::array::from_fn(|_| AtomicU64::new(0)),
            len: AtomicUsize::new(0),
            rest: Mutex::default(),
        }
    }
}

impl ReadyQueue {
    /// Queues a task that does not stand in the queue.
    #[inline]
    pub(super) fn push(&self, id: TaskId) {
        let len = self.len.load(Ordering::Relaxed);
        match self.first.get(len) {
            Some(place) => place.store(id.to_number(), Ordering::Relaxed),
            None => self.rest().push(id),
        }
        self.len.store(len + 1, Ordering::Relaxed);
    }

    /// Moves all to `batch`, which is empty.
    #[inline]
    pub(super) fn drain_into(&self, batch: &mut Vec<TaskId>) {
        debug_assert!(batch.is_empty());
        let len = self.len.load(Ordering::Relaxed);
        self.len.store(0, Ordering::Relaxed);
        let first = self.first.iter().take(len);
        batch.extend(first.map(|place| TaskId::from_number(place.load(Ordering::Relaxed))));
        if len > FIRST_MAX {
            batch.append(&mut self.rest());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    fn rest(&self) -> MutexGuard<'_, Vec<TaskId>> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands behind the `Waker` of one task.
pub(super) struct TaskWaker {
    id: TaskId,
    queued: AtomicBool,
    ready: Arc<ReadyQueue>,
    /// Where its future lies.
    place: OnceLock<TaskPlace>,
}

impl TaskWaker {
    pub(super) fn new(id: TaskId, ready: &Arc<ReadyQueue>) -> Arc<TaskWaker> {
        Arc::new(TaskWaker {
            id,
            queued: AtomicBool::new(false),
            ready: Arc::clone(ready),
            place: OnceLock::new(),
        })
    }

    pub(super) const fn id(&self) -> TaskId {
        self.id
    }

    /// The task's future lies there, until it ends.
    pub(super) fn lies_at(&self, place: TaskPlace) {
        self.place.get_or_init(|| place);
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
            // It will be polled soon, and has slept since something else was.
            if let Some(place) = self.place.get() {
                place.fetch();
            }
        }
    }
}
