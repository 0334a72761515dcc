//! Wakers that wait for a time, by id.
//!
//! The world keeps the times; here is only who is to be woken. An id has a generation, so cancelling is free:
//! the world's entry stays in its queue and finds a slot that has moved on.

use std::task::Waker;

/// A timer: a slot and the count of timers that had it before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

#[derive(Default)]
pub(super) struct Timers {
    slots: Vec<(u32, Option<Waker>)>,
    free: Vec<u32>,
}

impl Timers {
    pub(super) fn add(&mut self, waker: &Waker) -> TimerId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            u32::try_from(self.slots.len() - 1).expect("timers are far fewer than 2^32")
        });
        let (generation, slot) = &mut self.slots[index as usize];
        *slot = Some(waker.clone());
        TimerId {
            index,
            generation: *generation,
        }
    }

    pub(super) fn renew(&mut self, timer: TimerId, waker: &Waker) -> bool {
        let (generation, slot) = &mut self.slots[timer.index as usize];
        match slot {
            Some(old) if *generation == timer.generation => {
                old.clone_from(waker);
                true
            }
            _ => false,
        }
    }

    /// Ends a timer; `None` when it has ended before.
    pub(super) fn take(&mut self, timer: TimerId) -> Option<Waker> {
        let (generation, slot) = &mut self.slots[timer.index as usize];
        if *generation != timer.generation {
            return None;
        }
        let waker = slot.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(timer.index);
        Some(waker)
    }
}
