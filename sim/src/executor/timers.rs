//! Wakers that wait for a time, by id.
//!
//! The world keeps the times; here is only who is to be woken. An id has a generation, so cancelling is free:
//! the world's entry stays in its queue and finds a slot that has moved on. A slot keeps its last waker: it is likely to be
//! used by the same task again, which then needs no other.

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
    waits: bool,
    waker: Waker,
}

impl Slot {
    fn is(&self, timer: TimerId) -> bool {
        self.waits && self.generation == timer.generation
    }

    fn end(&mut self) {
        self.waits = false;
        self.generation = self.generation.wrapping_add(1);
    }
}

impl Timers {
    /// Has `waker` wait under the id in `timer`, if that still waits, else under a new one; whether it is new.
    pub(super) fn arm(&mut self, host: HostId, timer: &mut Option<TimerId>, waker: &Waker) -> bool {
        if let Some(timer) = timer {
            let slot = &mut self.slots[timer.index as usize];
            if slot.is(*timer) {
                slot.waker.clone_from(waker);
                return false;
            }
        }
        *timer = Some(self.add(host, waker));
        true
    }

    fn add(&mut self, host: HostId, waker: &Waker) -> TimerId {
        let Some(index) = self.free.pop() else {
            self.slots.push(Slot {
                generation: 0,
                host,
                waits: true,
                waker: waker.clone(),
            });
            let index = u32::try_from(self.slots.len() - 1);
            return TimerId {
                index: index.expect("timers are far fewer than 2^32"),
                generation: 0,
            };
        };
        let slot = &mut self.slots[index as usize];
        slot.host = host;
        slot.waits = true;
        slot.waker.clone_from(waker);
        TimerId {
            index,
            generation: slot.generation,
        }
    }

    /// Ends every timer of `host`, in the order of their slots.
    pub(super) fn take_all_of(&mut self, host: HostId) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for (slot, index) in self.slots.iter_mut().zip(0..) {
            if slot.host == host && slot.waits {
                slot.end();
                self.free.push(index);
                wakers.push(slot.waker.clone());
            }
        }
        wakers
    }

    /// Ends a timer; who waits for it, unless it has ended before.
    pub(super) fn take(&mut self, timer: TimerId) -> Option<&Waker> {
        let slot = &mut self.slots[timer.index as usize];
        if !slot.is(timer) {
            return None;
        }
        slot.end();
        self.free.push(timer.index);
        Some(&slot.waker)
    }
}
