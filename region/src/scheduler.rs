//! Schedulers: which target a new flow goes to. What they have in common is one question and one answer.
//!
//! A listener has one schedule per family, since a flow takes only targets of its own. Weighted round robin
//! keeps a position, which outlives a new version of the routes; Maglev keeps nothing, its tables come built
//! with the routes. Weight 0 is never chosen by either.
//!
//! Invariant: the answer is an index into the listener's targets.

mod smooth_wrr;

use anyedge_net::flow::Family;
use anyedge_net::rng::Rng;
use anyedge_net::route_table::{Listener, Scheduler, Target};

use smooth_wrr::SmoothWrr;

/// How one listener's next flow finds its target.
#[derive(Debug)]
pub(crate) enum Schedule {
    /// Smooth weighted round robin over the targets of each family.
    WeightedRoundRobin { v4: SmoothWrr, v6: SmoothWrr },
    /// The listener's own tables, by the hash of the flow.
    Maglev,
}

impl Schedule {
    /// The schedule of `listener`, going on where `before`, the one of its last version, stood.
    /// `stream` gives the place where a new round starts.
    pub(crate) fn of(
        listener: &Listener,
        before: Option<Schedule>,
        stream: impl FnOnce() -> Rng,
    ) -> Schedule {
        match (&listener.scheduler, before) {
            (Scheduler::Maglev { .. }, _) => Schedule::Maglev,
            (
                Scheduler::WeightedRoundRobin,
                Some(Schedule::WeightedRoundRobin { mut v4, mut v6 }),
            ) => {
                v4.set_targets(&listener.targets, Family::V4);
                v6.set_targets(&listener.targets, Family::V6);
                Schedule::WeightedRoundRobin { v4, v6 }
            }
            (Scheduler::WeightedRoundRobin, Some(Schedule::Maglev) | None) => {
                let mut rng = stream();
                let v4 = SmoothWrr::starting_at(rng.bits(), &listener.targets, Family::V4);
                let v6 = SmoothWrr::starting_at(rng.bits(), &listener.targets, Family::V6);
                Schedule::WeightedRoundRobin { v4, v6 }
            }
        }
    }

    /// The target of a new flow of `family` whose hash is `hash`; `None` when no target may take it.
    pub(crate) fn pick<'a>(
        &mut self,
        listener: &'a Listener,
        family: Family,
        hash: u64,
    ) -> Option<&'a Target> {
        let index = match (self, &listener.scheduler, family) {
            (Schedule::WeightedRoundRobin { v4, .. }, _, Family::V4) => v4.pick()?,
            (Schedule::WeightedRoundRobin { v6, .. }, _, Family::V6) => v6.pick()?,
            (Schedule::Maglev, Scheduler::Maglev { v4, .. }, Family::V4) => v4.lookup(hash)?,
            (Schedule::Maglev, Scheduler::Maglev { v6, .. }, Family::V6) => v6.lookup(hash)?,
            (Schedule::Maglev, Scheduler::WeightedRoundRobin, _) => return None,
        };
        listener.targets.get(usize::from(index))
    }
}
