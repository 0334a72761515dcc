//! Wakers that wait for a time, by id.
//!
//! The world keeps the times; here is only who is to be woken. An id has a generation, so cancelling is free:
//! the world's entry stays in its queue and finds a slot that has moved on.

use std::task::Waker;

use super::HostId;

/// A timer: a slot and the count of timers that had it before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

#[derive(Default)]
pub(super) struct Timers {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

struct Slot {
    generation: u32,
    host: HostId,
    waker: Option<Waker>,
}

impl Timers {
    pub(super) fn add(&mut self, host: HostId, waker: &Waker) -> TimerId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                host,
                waker: None,
            });
            u32::try_from(self.slots.len() - 1).expect("timers are far fewer than 2^32")
        });
        let slot = &mut self.slots[index as usize];
        slot.host = host;
        slot.waker = Some(waker.clone());
        TimerId {
            index,
            generation: slot.generation,
        }
    }

    /// Ends every timer of `host`, in the order of their slots.
    pub(super) fn take_all_of(&mut self, host: HostId) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for (slot, index) in self.slots.iter_mut().zip(0..) {
            if slot.host == host
                && let Some(waker) = slot.waker.take()
            {
                slot.generation = slot.generation.wrapping_add(1);
                self.free.push(index);
                wakers.push(waker);
            }
        }
        wakers
    }

    pub(super) fn renew(&mut self, timer: TimerId, waker: &Waker) -> bool {
        let slot = &mut self.slots[timer.index as usize];
        match &mut slot.waker {
            Some(old) if slot.generation == timer.generation => {
                old.clone_from(waker);
                true
            }
            _ => false,
        }
    }

    /// Ends a timer; `None` when it has ended before.
    pub(super) fn take(&mut self, timer: TimerId) -> Option<Waker> {
        let slot = &mut self.slots[timer.index as usize];
        if slot.generation != timer.generation {
            return None;
        }
        let waker = slot.waker.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(timer.index);
        Some(waker)
    }
}
