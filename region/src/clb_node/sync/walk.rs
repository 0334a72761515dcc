//! The walk over the table: bulk sync after a change of slots, and the refresh that goes round.
//!
//! Both visit the entries by number, so many in a step and so many microseconds between steps, that a table of
//! 262,144 flows is sent in half a second while packets pass in between. A refresh sends a flow again when a
//! third of the silence that its state allows has passed since it was last sent: a replica hears of a flow that
//! lives before it would give it up, also when one message is lost.

use core::time::Duration;

use anyedge_net::time::Instant;

/// Time between two steps.
pub const STEP_EVERY: Duration = Duration::from_micros(100);
/// Entries sent in a step at most.
pub const ENTRIES_PER_STEP_MAX: usize = 64;
/// Places of the table visited in a step at most.
pub const VISITS_PER_STEP_MAX: usize = 512;
/// Time between the beginnings of two rounds of refresh.
pub const REFRESH_EVERY: Duration = Duration::from_secs(10);
/// How often a flow is sent again within the silence that its state allows.
pub const REFRESHES_PER_TIMEOUT: u32 = 3;

/// Where the walks are.
#[derive(Clone, Copy, Default, Debug)]
pub(in crate::clb_node) struct Walk {
    pub(in crate::clb_node) bulk: Option<Bulk>,
    /// The next visit of the refresh, and when; `None`: there is nobody to tell.
    pub(in crate::clb_node) refresh: Option<(u32, Instant)>,
}

/// A bulk sync under way.
#[derive(Clone, Copy, Debug)]
pub(in crate::clb_node) struct Bulk {
    /// The next number to visit.
    pub(in crate::clb_node) next: u32,
    /// When to go on.
    pub(in crate::clb_node) at: Instant,
    /// When the slots changed.
    pub(in crate::clb_node) began: Instant,
    /// Entries sent.
    pub(in crate::clb_node) flows: u64,
}

impl Walk {
    /// Begins a bulk sync, from the first entry when one is under way.
    pub(super) fn begin(&mut self, now: Instant) {
        let flows = self.bulk.map_or(0, |bulk| bulk.flows);
        let began = self.bulk.map_or(now, |bulk| bulk.began);
        self.bulk = Some(Bulk {
            next: 0,
            at: now,
            began,
            flows,
        });
    }

    /// Sets whether flows are refreshed; a round under way goes on.
    pub(super) fn refresh(&mut self, now: Instant, wanted: bool) {
        self.refresh = match self.refresh {
            under_way @ Some(_) if wanted => under_way,
            _ => wanted.then_some((0, now + REFRESH_EVERY)),
        };
    }

    /// Ends both.
    pub(super) fn stop(&mut self) {
        *self = Walk::default();
    }

    /// When the bulk sync goes on.
    pub(in crate::clb_node) fn bulk_at(&self) -> Option<Instant> {
        self.bulk.map(|bulk| bulk.at)
    }

    /// When the refresh goes on, in a table that holds something.
    pub(in crate::clb_node) fn refresh_at(&self) -> Option<Instant> {
        self.refresh.map(|(_, at)| at)
    }
}
