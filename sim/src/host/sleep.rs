//! Waiting for a time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyedge_net::time::Instant;

use super::Shared;
use crate::executor::{HostId, TimerId, WakerId};

/// Completes at a time. Dropped before, its timer is forgotten.
pub struct Sleep {
    shared: Arc<Shared>,
    host: HostId,
    by: By,
    at: Instant,
    timer: Option<TimerId>,
    /// Whom the timer wakes, and when at the earliest.
    armed: (WakerId, Instant),
}

/// Whose clock a time is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum By {
    /// The machine's, which may run wrong.
    Host,
    /// The world's, which its devices keep.
    World,
}

impl Sleep {
    pub(super) fn new(shared: &Arc<Shared>, host: HostId, by: By, at: Instant) -> Sleep {
        Sleep {
            shared: Arc::clone(shared),
            host,
            by,
            at,
            timer: None,
            armed: (WakerId::default(), Instant::ZERO),
        }
    }
}

impl Future for Sleep {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let sleep = &mut *self;
        // Often somebody else woke the task; while no clock was ever set, the timer is where it was.
        let (whom, due) = sleep.armed;
        if sleep.shared.time.shown().is_some_and(|now| now < due)
            && whom == WakerId::of(context.waker())
        {
            return Poll::Pending;
        }
        let mut world = sleep.shared.world();
        let at = match sleep.by {
            By::Host => world.shown_at(sleep.host, sleep.at),
            By::World => sleep.at,
        };
        if world.now() >= at {
            return Poll::Ready(());
        }
        let tasks = &sleep.shared.tasks;
        let is_fresh = tasks.arm_timer(sleep.host, &mut sleep.timer, context.waker());
        // What never comes needs no place on the calendar.
        if is_fresh
            && at < Instant::FAR_FUTURE
            && let Some(timer) = sleep.timer
        {
            world.schedule_timer(at, timer);
        }
        sleep.armed = (WakerId::of(context.waker()), at);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.shared.tasks.cancel_timer(timer);
        }
    }
}
