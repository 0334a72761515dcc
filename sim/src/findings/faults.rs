//! What came of each fault: when it was noticed, acted upon and over, and the flows that it met.
//!
//! Four times, counted from the beginning of the entry, of which none is earlier than the one before: noticed,
//! withdrawn, moved, recovered. Their differences are the failover budget, and add up to the last. Signs come
//! from the world ([`crate::budget`]), flows from the accounts of the loads, marked at the same moment.

use core::time::Duration;
use std::collections::BTreeMap;

use anyedge_net::time::Instant;
use anyedge_topologies::Topology;
use anyedge_traffic::failure::Failure;
use anyedge_traffic::stats::Mark;

use crate::budget::Entry;
use crate::report::FaultReport;
use crate::run::LoadAccount;
use crate::world::World;

/// The cause of resets after the region that a flow's backend was in is lost.
const REGION_LOST: &str = "region_lost";

/// What came of each fault's beginning and end, as far as the run got to it.
pub(super) fn report(
    topology: &Topology,
    world: &World,
    accounts: &[LoadAccount],
    now: Instant,
) -> Vec<FaultReport> {
    let entries = world.budget.entries().iter();
    let happened = entries.filter(|entry| entry.at <= now);
    happened
        .map(|entry| {
            let flows = Flows::of(entry, topology, accounts);
            let parts = Parts::of(entry, flows.recovered_at).ordered();
            let seconds = |part: Option<Duration>| part.map(|part| part.as_secs_f64());
            FaultReport {
                fault: entry.fault,
                begins: entry.begins,
                at_s: entry.at.as_secs_f64(),
                what: entry.what.clone(),
                detected_s: seconds(parts.detected),
                router_s: seconds(entry.router.map(|at| at.since(entry.at))),
                withdrawn_s: seconds(parts.withdrawn),
                moved_s: seconds(parts.moved),
                recovered_s: seconds(parts.recovered),
                flows_handshaking: flows.handshaking,
                flows_established: flows.established,
                flows_kept: flows.kept,
                flows_broken: flows.broken,
                gap_max_s: flows.gap_max.map(|gap| gap.as_secs_f64()),
                refused: entry.refused.clone(),
            }
        })
        .collect()
}

/// The flows that an entry met.
#[derive(Default)]
struct Flows {
    handshaking: u64,
    established: u64,
    kept: u64,
    broken: BTreeMap<&'static str, u64>,
    gap_max: Option<Duration>,
    recovered_at: Option<Instant>,
}

impl Flows {
    fn of(entry: &Entry, topology: &Topology, accounts: &[LoadAccount]) -> Flows {
        let mut flows = Flows::default();
        for account in accounts.iter().filter(|account| !account.direct) {
            let load = &topology.clients[&account.client].loads[account.number];
            let home = &topology.home_region(&load.vip).name;
            let home_is_lost = entry.lost_region.as_ref() == Some(home);
            let stats = account.stats.lock();
            let marks = stats.marks().iter();
            for mark in marks.filter(|mark| mark.at == entry.at) {
                flows.add(mark, home_is_lost);
            }
        }
        flows
    }

    fn add(&mut self, mark: &Mark, home_is_lost: bool) {
        self.handshaking += mark.handshaking;
        self.established += mark.established;
        self.kept += mark.kept;
        for (cause, count) in Failure::ALL.into_iter().zip(mark.broken) {
            let name = match cause {
                Failure::Reset if home_is_lost => REGION_LOST,
                _ => cause.name(),
            };
            if count > 0 {
                *self.broken.entry(name).or_default() += count;
            }
        }
        let longest = (Some(mark.gap_max), mark.recovered_at);
        if mark.kept > 0 && longest > (self.gap_max, self.recovered_at) {
            (self.gap_max, self.recovered_at) = longest;
        }
    }
}

/// The parts of the budget, each from the beginning of the entry to its end.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Parts {
    detected: Option<Duration>,
    withdrawn: Option<Duration>,
    moved: Option<Duration>,
    recovered: Option<Duration>,
}

impl Parts {
    fn of(entry: &Entry, recovered_at: Option<Instant>) -> Parts {
        let after = |sign: Option<Instant>| Some(sign?.since(entry.at));
        Parts {
            detected: after(entry.detected),
            withdrawn: after(entry.withdrawn),
            moved: after(entry.moved),
            recovered: after(recovered_at),
        }
    }

    /// The same with each part no earlier than the one before. Populations that heard of a withdrawal after the
    /// last flow had moved had no flow to move; who acted before a node told that it noticed had noticed; and
    /// nothing is over before the last part of it is.
    fn ordered(self) -> Parts {
        let no_later = |part: Option<Duration>, limit: Option<Duration>| match (part, limit) {
            (Some(part), Some(limit)) => Some(part.min(limit)),
            (part, _) => part,
        };
        let withdrawn = no_later(self.withdrawn, self.moved);
        let acted = withdrawn.or(self.moved);
        let detected = no_later(self.detected, acted);
        let last = self.moved.or(withdrawn).or(detected);
        Parts {
            detected,
            withdrawn,
            moved: self.moved,
            recovered: self.recovered.map(|own| own.max(last.unwrap_or_default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(times: [Option<u64>; 4]) -> Parts {
        let [detected, withdrawn, moved, recovered] =
            times.map(|time| time.map(Duration::from_millis));
        Parts {
            detected,
            withdrawn,
            moved,
            recovered,
        }
    }

    #[test]
    fn parts_in_order_stay_as_they_are() {
        for times in [
            [Some(300), Some(3_000), Some(3_010), Some(3_020)],
            [Some(300), None, None, Some(900)],
            [None, None, None, None],
            [None, Some(10_000), None, None],
        ] {
            assert_eq!(parts(times).ordered(), parts(times));
        }
    }

    #[test]
    fn no_part_is_earlier_than_the_one_before_it() {
        let of = |times| parts(times).ordered();
        assert_eq!(
            of([Some(300), Some(120_000), Some(9_000), Some(9_100)]),
            parts([Some(300), Some(9_000), Some(9_000), Some(9_100)]),
            "the last to hear had no flow to move"
        );
        assert_eq!(
            of([Some(300), Some(0), None, None]),
            parts([Some(0), Some(0), None, None]),
            "the Internet noticed first"
        );
        assert_eq!(
            of([None, Some(4_000), Some(9_000), Some(200)]),
            parts([None, Some(4_000), Some(9_000), Some(9_000)]),
            "a drain is over when the last flow has moved"
        );
        for times in [
            [Some(9), Some(8), Some(7), Some(6)],
            [Some(9), None, Some(7), Some(8)],
            [Some(9), None, None, Some(8)],
            [Some(9), Some(10), None, Some(1)],
        ] {
            let Parts {
                detected,
                withdrawn,
                moved,
                recovered,
            } = of(times);
            let there: Vec<Duration> = [detected, withdrawn, moved, recovered]
                .into_iter()
                .flatten()
                .collect();
            assert!(there.is_sorted(), "{times:?} became {there:?}");
        }
    }
}
