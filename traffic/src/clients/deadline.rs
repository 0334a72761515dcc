//! Until when a flow must have made progress.
//!
//! A request has one deadline; each bit of a long flow's progress moves its own. One timer per flow: it is
//! not moved by progress, but looks at the deadline when it fires and sleeps on if that has moved.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use anyedge_net::host::Host;
use anyedge_net::time::Instant;

/// One flow's deadline.
pub(super) struct Deadline {
    at_nanos: AtomicU64,
    patience: Duration,
}

impl Deadline {
    /// At `at`; progress is waited for no longer than `patience`.
    pub(super) const fn new(at: Instant, patience: Duration) -> Deadline {
        Deadline {
            at_nanos: AtomicU64::new(at.as_nanos()),
            patience,
        }
    }

    /// Progress is due a patience after `from`.
    pub(super) fn await_from(&self, from: Instant) {
        let at = from + self.patience;
        self.at_nanos.store(at.as_nanos(), Ordering::Relaxed);
    }

    /// Completes when it has passed.
    pub(super) async fn passed<H: Host>(&self, host: &H) {
        loop {
            let now = host.now();
            let at = Instant::from_nanos(self.at_nanos.load(Ordering::Relaxed));
            if at <= now {
                return;
            }
            // It may come nearer again after a rest, but no nearer than a patience from now.
            host.sleep_until(at.min(now + self.patience)).await;
        }
    }
}
