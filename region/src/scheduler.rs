//! Schedulers: which target a new flow goes to. What they have in common is one question and one answer.
//!
//! A listener has one schedule per family, since a flow takes only targets of its own. Weighted round robin
//! keeps a position, which outlives a new version of the routes, and least connections keeps the same for its ties.
//! Maglev keeps nothing, its tables come built with the routes, and goes on to the next place that is open; by the
//! client's address it does not, and a client whose target is down has none. Weight 0 is never chosen by any, nor a
//! target that is not open.
//!
//! Invariant: the answer is an index into the listener's targets.

mod open_targets;
mod smooth_wrr;

use anyedge_net::flow::Family;
use anyedge_net::maglev::Maglev;
use anyedge_net::rng::Rng;
use anyedge_net::route_table::{Listener, Scheduler, Target};
use anyedge_net::switch;

use crate::loads::Servers;
pub(crate) use open_targets::OpenTargets;
use smooth_wrr::SmoothWrr;

/// How one listener's next flow finds its target.
#[derive(Debug)]
pub(crate) enum Schedule {
    /// A round over the targets of each family: of all, or of those with the least load.
    Round { v4: SmoothWrr, v6: SmoothWrr },
    /// The listener's own tables, by a hash of the flow or of its client.
    Table,
}

/// A flow that needs a target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newcomer {
    pub(crate) family: Family,
    /// Of the flow, or of its client where the listener spreads clients ([`hashes_clients`]).
    pub(crate) hash: u64,
}

/// Whether a listener's new flows are spread by a hash of their client alone.
pub(crate) fn hashes_clients(listener: &Listener) -> bool {
    matches!(listener.scheduler, Scheduler::IpHash { .. }) && switch::is_on("P-LB03")
}

/// Whether the load of a listener's targets matters.
pub(crate) fn counts_loads(listener: &Listener) -> bool {
    matches!(listener.scheduler, Scheduler::WeightedLeastConnections)
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
        match (listener.scheduler.tables(), before) {
            (Some(_), _) => Schedule::Table,
            (None, Some(Schedule::Round { mut v4, mut v6 })) => {
                v4.set_targets(&listener.targets, Family::V4, open);
                v6.set_targets(&listener.targets, Family::V6, open);
                Schedule::Round { v4, v6 }
            }
            (None, Some(Schedule::Table) | None) => {
                let mut rng = stream();
                let (at_v4, at_v6) = (rng.bits(), rng.bits());
                let v4 = SmoothWrr::starting_at(at_v4, &listener.targets, Family::V4, open);
                let v6 = SmoothWrr::starting_at(at_v6, &listener.targets, Family::V6, open);
                Schedule::Round { v4, v6 }
            }
        }
    }

    /// The target of a new flow; `None` when no target may take it. `loads` are those of the listener's targets, where
    /// it [counts](counts_loads) them.
    pub(crate) fn pick<'a>(
        &mut self,
        listener: &'a Listener,
        open: &OpenTargets,
        newcomer: Newcomer,
        loads: Option<&Servers>,
    ) -> Option<&'a Target> {
        let Newcomer { family, hash } = newcomer;
        let index = match (self, listener.scheduler.tables()) {
            (Schedule::Round { v4, v6 }, _) => {
                let round = if family == Family::V4 { v4 } else { v6 };
                round.keep_to(&listener.targets, family, open);
                match loads.filter(|_| switch::is_on("P-LB02")) {
                    Some(loads) => round.pick_least(|target| loads.load_of(target))?,
                    None => round.pick()?,
                }
            }
            (Schedule::Table, Some((v4, v6))) => {
                let table = if family == Family::V4 { v4 } else { v6 };
                if hashes_clients(listener) {
                    let index = table.lookup(hash)?;
                    open.takes(usize::from(index), family).then_some(index)?
                } else {
                    open_place(table, open, family, hash)?
                }
            }
            (Schedule::Table, None) => return None,
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
