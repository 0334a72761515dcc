//! Who wants to know of every command that came through, such as a simulator that draws up a report.
//!
//! The engine calls it between two inputs: it has to be quick, and to ask the controller nothing.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use super::input::Applied;

type Tell = dyn Fn(&Applied, Duration) + Send + Sync;

/// Is told of a command that was proposed to this member: what it was told itself, and how long that took.
#[derive(Clone)]
pub struct OnCommit(Arc<Tell>);

impl OnCommit {
    /// Tells `tell`.
    pub fn new(tell: impl Fn(&Applied, Duration) + Send + Sync + 'static) -> OnCommit {
        OnCommit(Arc::new(tell))
    }

    pub(super) fn tell(&self, applied: &Applied, latency: Duration) {
        (self.0)(applied, latency);
    }
}

impl fmt::Debug for OnCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnCommit")
    }
}
