//! The single-threaded executor: async services in virtual time, in one order for one seed.
//!
//! Tasks lie in a slab and run when they were woken, first in first out. The [`Handle`] (ready queue, new
//! tasks, timers) stands apart from the world: a waker may fire while the world is open, and a future is
//! polled and dropped while it is not. The executor knows no time; the world calls [`Handle::fire`] when a
//! timer that it was asked to keep is due. A host may hang: its tasks are then kept aside when their turn comes.
//!
//! Invariant: a task is in the ready queue at most once, and a waker of an ended task wakes nothing.

mod ready;
mod timers;
mod waker_id;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use ready::{ReadyQueue, TaskId, TaskPlace, TaskWaker};
use timers::Timers;

use crate::one_thread::OneThread;

pub use timers::TimerId;
pub use waker_id::{Waits, WakerId};

/// A host of the simulated world: its position in the world's list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostId(pub u32);

impl HostId {
    /// The position in the world's list of hosts.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What services and the world hold of the executor. Cloning gives another handle to the same one.
#[derive(Clone, Default)]
pub struct Handle(Arc<Queues>);

#[derive(Default)]
struct Queues {
    ready: Arc<ReadyQueue>,
    spawned: OneThread<Vec<(HostId, Task)>>,
    /// Whether `spawned` holds anything: asked after every poll, so without opening it.
    has_spawned: AtomicBool,
    timers: OneThread<Timers>,
}

impl Handle {
    /// Queues a task of `host` behind everything that is ready.
    pub fn spawn(&self, host: HostId, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawned.open().push((host, Box::pin(task)));
        self.0.has_spawned.store(true, Ordering::Relaxed);
    }

    /// Remembers `waker` of `host` for [`fire`](Handle::fire): in the place of the one before where `timer` has not fired,
    /// else under a fresh id. Whether it is a fresh one.
    pub fn arm_timer(&self, host: HostId, timer: &mut Option<TimerId>, waker: &Waker) -> bool {
        self.0.timers.open().arm(host, timer, waker)
    }

    /// The clock of `host` changed: wakes all that wait for a time there, who look again.
    pub fn wake_sleepers(&self, host: HostId) {
        let wakers = self.0.timers.open().take_all_of(host);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Forgets a timer. The world's entry for it stays and will find nothing.
    pub fn cancel_timer(&self, timer: TimerId) {
        self.0.timers.open().take(timer);
    }

    /// The timer is due: wakes who waits for it, unless it was cancelled.
    #[inline]
    pub fn fire(&self, timer: TimerId) {
        // Wakers note that a task is ready and do no more: they have no timers.
        if let Some(waker) = self.0.timers.open().take(timer) {
            waker.wake_by_ref();
        }
    }

    /// Whether [`Executor::run_ready`] would poll anything.
    pub fn is_idle(&self) -> bool {
        self.0.ready.is_empty() && !self.0.has_spawned.load(Ordering::Relaxed)
    }
}

/// Owns all tasks and polls them.
#[derive(Default)]
pub struct Executor {
    handle: Handle,
    slots: Vec<Slot>,
    free: Vec<u32>,
    batch: Vec<TaskId>,
    fresh: Vec<(HostId, Task)>,
    /// Hosts whose tasks do not run, and those of their tasks that were woken meanwhile.
    hanging: BTreeSet<HostId>,
    kept_aside: Vec<TaskId>,
    alive: usize,
    polls: u64,
}

struct Slot {
    task: Option<Task>,
    host: HostId,
    wake: Arc<TaskWaker>,
    waker: Waker,
}

impl Executor {
    /// An executor without tasks.
    pub fn new() -> Executor {
        Executor::default()
    }

    /// The handle that services and the world share.
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Polls woken tasks in the order of their wake-ups until none is left; returns how many polls it took.
    /// Tasks that are woken or spawned meanwhile come behind those that already were.
    ///
    /// The caller has nothing open that a service may open.
    pub fn run_ready(&mut self) -> u64 {
        let before = self.polls;
        loop {
            self.admit();
            let mut batch = std::mem::take(&mut self.batch);
            self.handle.0.ready.drain_into(&mut batch);
            if batch.is_empty() {
                self.batch = batch;
                return self.polls - before;
            }
            for id in batch.drain(..) {
                self.poll_task(id);
                self.admit();
            }
            self.batch = batch;
        }
    }

    /// Drops all tasks of `host` and returns their number. The host's state in the world goes first, so that
    /// sockets find nobody to say goodbye to.
    pub fn kill_host(&mut self, host: HostId) -> usize {
        let spawned: Vec<_> = self
            .handle
            .0
            .spawned
            .open()
            .extract_if(.., |(owner, _)| *owner == host)
            .collect();
        let mut killed = spawned.len();
        drop(spawned);
        self.release_host(host);
        for index in 0..self.slots.len() {
            if self.slots[index].host == host && self.slots[index].task.is_some() {
                self.end(index as u32);
                killed += 1;
            }
        }
        killed
    }

    /// From here on the tasks of `host` do not run, though they may be woken and new ones spawned.
    pub fn hang_host(&mut self, host: HostId) {
        self.hanging.insert(host);
    }

    /// The tasks of `host` run again: those that were woken meanwhile queue up in that order.
    pub fn release_host(&mut self, host: HostId) {
        self.hanging.remove(&host);
        for id in std::mem::take(&mut self.kept_aside) {
            if self.slots[id.index as usize].host == host {
                self.handle.0.ready.push(id);
            } else {
                self.kept_aside.push(id);
            }
        }
    }

    /// Drops every task, those included that are spawned by dropping others.
    pub fn finish(&mut self) {
        loop {
            for index in 0..self.slots.len() {
                if self.slots[index].task.is_some() {
                    self.end(index as u32);
                }
            }
            self.handle.0.has_spawned.store(false, Ordering::Relaxed);
            let late = std::mem::take(&mut *self.handle.0.spawned.open());
            if late.is_empty() {
                return;
            }
            drop(late);
        }
    }

    /// Tasks that have not ended.
    pub const fn alive(&self) -> usize {
        self.alive
    }

    /// Polls since the start.
    pub const fn polls(&self) -> u64 {
        self.polls
    }

    /// Gives new tasks their slots and queues them, in the order in which they were spawned.
    #[inline]
    fn admit(&mut self) {
        let queues = &self.handle.0;
        if !queues.has_spawned.load(Ordering::Relaxed) {
            return;
        }
        let mut fresh = std::mem::take(&mut self.fresh);
        queues.has_spawned.store(false, Ordering::Relaxed);
        std::mem::swap(&mut fresh, &mut *queues.spawned.open());
        for (host, task) in fresh.drain(..) {
            let index = self.free_slot(host);
            let slot = &mut self.slots[index as usize];
            slot.wake.lies_at(TaskPlace::of(&*task));
            slot.task = Some(task);
            slot.host = host;
            slot.waker.wake_by_ref();
            self.alive += 1;
        }
        self.fresh = fresh;
    }

    fn free_slot(&mut self, host: HostId) -> u32 {
        if let Some(index) = self.free.pop() {
            return index;
        }
        let index = u32::try_from(self.slots.len()).expect("tasks are far fewer than 2^32");
        let wake = TaskWaker::new(
            TaskId {
                index,
                generation: 0,
            },
            &self.handle.0.ready,
        );
        let waker = Waker::from(Arc::clone(&wake));
        self.slots.push(Slot {
            task: None,
            host,
            wake,
            waker,
        });
        index
    }

    #[inline]
    fn poll_task(&mut self, id: TaskId) {
        let slot = &mut self.slots[id.index as usize];
        if slot.wake.id() != id {
            return;
        }
        if self.hanging.contains(&slot.host) {
            // It still counts as queued, so that no wake-up queues it a second time.
            return self.kept_aside.push(id);
        }
        // From here on a wake-up queues the task again, also one that comes during the poll.
        slot.wake.dequeued();
        let Some(task) = &mut slot.task else {
            return;
        };
        self.polls += 1;
        if let Poll::Ready(()) = task.as_mut().poll(&mut Context::from_waker(&slot.waker)) {
            self.end(id.index);
        }
    }

    /// Frees the slot, then drops the task: its destructors may wake others and open the world.
    fn end(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        let task = slot.task.take();
        // Wakers of the old task may live on anywhere: they keep the old generation.
        let next = TaskId {
            index,
            generation: slot.wake.id().generation.wrapping_add(1),
        };
        slot.wake = TaskWaker::new(next, &self.handle.0.ready);
        slot.waker = Waker::from(Arc::clone(&slot.wake));
        self.free.push(index);
        self.alive -= 1;
        drop(task);
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests;
