//! How long a connection may keep a backend waiting.
//!
//! A head must be complete by a fixed time, however slowly its bytes drip in (the "slowloris" attack);
//! afterwards every bit of progress buys `idle_timeout`. One timer per connection: it is not moved by each
//! progress, but looks at the deadline when it fires and sleeps on if that has moved.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;

use anyedge_net::host::Host;
use anyedge_net::time::Instant;

/// The deadline of one connection.
pub(super) struct Patience<H> {
    host: H,
    deadline_nanos: AtomicU64,
    is_answering: AtomicBool,
    head_timeout: Duration,
    idle_timeout: Duration,
}

impl<H: Host> Patience<H> {
    /// For a connection whose first head is expected from `host.now()` on.
    pub(super) fn new(host: H, head_timeout: Duration, idle_timeout: Duration) -> Patience<H> {
        let deadline_nanos = AtomicU64::new((host.now() + head_timeout).as_nanos());
        Patience {
            host,
            deadline_nanos,
            is_answering: AtomicBool::new(false),
            head_timeout,
            idle_timeout,
        }
    }

    /// The host whose clock it goes by.
    pub(super) const fn host(&self) -> &H {
        &self.host
    }

    /// Something moved.
    pub(super) fn on_progress(&self) {
        self.set(self.host.now() + self.idle_timeout);
    }

    /// The client announced that it will be silent for as long.
    pub(super) fn on_announced(&self, silence: Duration) {
        self.set(self.host.now() + silence + self.idle_timeout);
    }

    /// A head is complete: an answer begins.
    pub(super) fn on_request(&self) {
        self.is_answering.store(true, Ordering::Relaxed);
        self.on_progress();
    }

    /// The answer is out, but for what waits in buffers; the next head is awaited.
    pub(super) fn on_answered(&self) {
        self.is_answering.store(false, Ordering::Relaxed);
        self.await_head();
    }

    /// The client's side took some bytes.
    pub(super) fn on_written(&self) {
        if self.is_answering.load(Ordering::Relaxed) {
            self.on_progress();
        } else {
            self.await_head();
        }
    }

    /// Completes when the deadline has passed.
    pub(super) async fn exhausted(&self) {
        loop {
            let now = self.host.now();
            let deadline = Instant::from_nanos(self.deadline_nanos.load(Ordering::Relaxed));
            if deadline <= now {
                return;
            }
            // The deadline may move forward to a head's: look again no later than that could be.
            self.host
                .sleep_until(deadline.min(now + self.head_timeout))
                .await;
        }
    }

    fn await_head(&self) {
        self.set(self.host.now() + self.head_timeout);
    }

    fn set(&self, deadline: Instant) {
        self.deadline_nanos
            .store(deadline.as_nanos(), Ordering::Relaxed);
    }
}
