//! Waiting for a time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyedge_net::time::Instant;

use super::Shared;
use crate::executor::TimerId;

/// Completes at a time. Dropped before, its timer is forgotten.
pub struct Sleep {
    shared: Arc<Shared>,
    at: Instant,
    timer: Option<TimerId>,
}

impl Sleep {
    pub(super) fn new(shared: &Arc<Shared>, at: Instant) -> Sleep {
        Sleep {
            shared: Arc::clone(shared),
            at,
            timer: None,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let sleep = &mut *self;
        let mut world = sleep.shared.world();
        if world.now() >= sleep.at {
            return Poll::Ready(());
        }
        let tasks = &sleep.shared.tasks;
        if !sleep
            .timer
            .is_some_and(|timer| tasks.renew_timer(timer, context.waker()))
        {
            let timer = tasks.add_timer(context.waker());
            sleep.timer = Some(timer);
            // Never comes: it needs no place on the calendar.
            if sleep.at < Instant::FAR_FUTURE {
                world.schedule_timer(sleep.at, timer);
            }
        }
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
