//! The run over time: how many packets entered where, and how many were lost, by the ends of equal intervals.
//!
//! What is counted anyway is taken down at the end of each interval, so that a packet costs nothing by it, no event is
//! added and nothing is drawn. Intervals are a tenth of a second at first. When there are too many, every second one is
//! forgotten, as it stands in the next: a run of any length has some hundreds.

use core::time::Duration;
use std::collections::BTreeMap;

use anyedge_net::drop_reason::DropCounts;
use anyedge_net::time::Instant;
use anyedge_traffic::stats::{COURSE_EVERY, INTERVALS_MAX};

use crate::internet::SiteId;

/// What has passed between clients and a site.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Passed {
    /// Packets that entered.
    pub(crate) packets: u64,
    pub(crate) from_clients_bytes: u64,
    pub(crate) to_clients_bytes: u64,
}

/// How everything stands: all since the beginning.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Standing {
    pub(crate) sites: BTreeMap<SiteId, Passed>,
    pub(crate) drops: DropCounts,
}

/// How everything stood at the end of each interval.
pub(crate) struct Timeline {
    every: Duration,
    next: Instant,
    standings: Vec<Standing>,
}

impl Default for Timeline {
    fn default() -> Timeline {
        Timeline {
            every: COURSE_EVERY,
            next: Instant::ZERO + COURSE_EVERY,
            standings: Vec::new(),
        }
    }
}

impl Timeline {
    /// Whether an interval is over when it is `at`.
    pub(crate) fn is_due(&self, at: Instant) -> bool {
        at >= self.next
    }

    /// Everything stood like `standing` at the end of each interval that is over by `at` and was not before.
    pub(crate) fn sample(&mut self, at: Instant, standing: &Standing) {
        while self.next <= at {
            self.standings.push(standing.clone());
            if self.standings.len() == INTERVALS_MAX {
                self.coarsen();
            }
            self.next += self.every;
        }
    }

    /// The run is over; the interval that it is in ends here.
    pub(crate) fn end(&mut self, now: Instant, standing: Standing) {
        self.sample(now, &standing);
        if self.standings.last() != Some(&standing) {
            self.standings.push(standing);
        }
        self.next = Instant::FAR_FUTURE;
    }

    /// How long each interval is.
    pub(crate) const fn every(&self) -> Duration {
        self.every
    }

    /// How everything stood at the end of each.
    pub(crate) fn standings(&self) -> &[Standing] {
        &self.standings
    }

    fn coarsen(&mut self) {
        self.every *= 2;
        let mut number = 0;
        self.standings.retain(|_| {
            number += 1;
            number % 2 == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn standing(packets: u64) -> Standing {
        let passed = Passed {
            packets,
            ..Passed::default()
        };
        Standing {
            sites: [(SiteId(0), passed)].into(),
            drops: DropCounts::default(),
        }
    }

    fn packets(timeline: &Timeline) -> Vec<u64> {
        let all = timeline.standings().iter();
        all.map(|one| one.sites[&SiteId(0)].packets).collect()
    }

    #[test]
    fn each_interval_ends_with_what_was_before_the_first_event_after_it() {
        let mut timeline = Timeline::default();
        assert!(!timeline.is_due(at(99)));
        timeline.sample(at(100), &standing(3));
        timeline.sample(at(350), &standing(4));
        assert!(!timeline.is_due(at(399)));
        timeline.end(at(420), standing(9));
        assert_eq!(packets(&timeline), [3, 4, 4, 9]);
        assert!(!timeline.is_due(at(9_999)));
    }

    #[test]
    fn a_long_run_has_longer_intervals_that_end_where_two_did() {
        let mut timeline = Timeline::default();
        for second in 1..=3_600 {
            timeline.sample(at(second * 1_000), &standing(second));
        }
        assert_eq!(timeline.every(), Duration::from_millis(12_800));
        let packets = packets(&timeline);
        assert!(packets.len() < INTERVALS_MAX, "{}", packets.len());
        for (number, packets) in packets.iter().enumerate() {
            let ends = 12.8 * (number + 1) as f64;
            assert!(
                (*packets as f64 - ends).abs() <= 1.0,
                "{number}: {packets} at {ends}"
            );
        }
    }
}
