//! Schedulers: which target a new flow goes to. What they have in common is one question and one answer.
//!
//! A listener has one schedule per family, since a flow takes only targets of its own. Weighted round robin
//! keeps a position, which outlives a new version of the routes; Maglev keeps nothing, its tables come built
//! with the routes, and goes on to the next place that is open. Weight 0 is never chosen by either, and a
//! target that is not open by neither.
//!
//! Invariant: the answer is an index into the listener's targets.

mod open_targets;
mod smooth_wrr;

use anyedge_net::flow::Family;
use anyedge_net::maglev::Maglev;
use anyedge_net::rng::Rng;
use anyedge_net::route_table::{Listener, Scheduler, Target};

pub(crate) use open_targets::OpenTargets;
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
        open: &OpenTargets,
        before: Option<Schedule>,
        stream: impl FnOnce() -> Rng,
    ) -> Schedule {
        match (&listener.scheduler, before) {
            (Scheduler::Maglev { .. }, _) => Schedule::Maglev,
            (
                Scheduler::WeightedRoundRobin,
                Some(Schedule::WeightedRoundRobin { mut v4, mut v6 }),
            ) => {
                v4.set_targets(&listener.targets, Family::V4, open);
                v6.set_targets(&listener.targets, Family::V6, open);
                Schedule::WeightedRoundRobin { v4, v6 }
            }
            (Scheduler::WeightedRoundRobin, Some(Schedule::Maglev) | None) => {
                let mut rng = stream();
                let (at_v4, at_v6) = (rng.bits(), rng.bits());
                let v4 = SmoothWrr::starting_at(at_v4, &listener.targets, Family::V4, open);
                let v6 = SmoothWrr::starting_at(at_v6, &listener.targets, Family::V6, open);
                Schedule::WeightedRoundRobin { v4, v6 }
            }
        }
    }

    /// The target of a new flow of `family` whose hash is `hash`; `None` when no target may take it.
    pub(crate) fn pick<'a>(
        &mut self,
        listener: &'a Listener,
        open: &OpenTargets,
        family: Family,
        hash: u64,
    ) -> Option<&'a Target> {
        let index = match (self, &listener.scheduler) {
            (Schedule::WeightedRoundRobin { v4, v6 }, _) => {
                let sequence = if family == Family::V4 { v4 } else { v6 };
                sequence.keep_to(&listener.targets, family, open);
                sequence.pick()?
            }
            (Schedule::Maglev, Scheduler::Maglev { v4, v6 }) => {
                let table = if family == Family::V4 { v4 } else { v6 };
                open_place(table, open, family, hash)?
            }
            (Schedule::Maglev, Scheduler::WeightedRoundRobin) => return None,
        };
        listener.targets.get(usize::from(index))
    }
}

/// The target at a hash's place, or at the next place whose target is open. Neighbours in the table are
/// strangers, so what a shut target had is spread over all others.
fn open_place(table: &Maglev, open: &OpenTargets, family: Family, hash: u64) -> Option<u16> {
    let first = table.lookup(hash)?;
    if open.takes(usize::from(first), family) {
        return Some(first);
    }
    if !open.any(family) {
        return None;
    }
    let places = table.places();
    let home = (hash % places.len() as u64) as usize;
    let (before, after) = places.split_at(home);
    let mut onwards = after.iter().chain(before);
    onwards
        .find(|index| open.takes(usize::from(**index), family))
        .copied()
}
