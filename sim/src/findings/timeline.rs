//! The run over time: what passed and was lost in each interval, beside the requests that were due in it.

use core::time::Duration;
use std::collections::BTreeMap;

use anyedge_net::drop_reason::DropReason;
use anyedge_traffic::stats::{Course, Interval};

use crate::internet::SiteId;
use crate::report::TimelineReport;
use crate::run::LoadAccount;
use crate::timeline::{Passed, Standing};
use crate::world::World;

/// All loads through the edge, and the network, in intervals of one length.
pub(super) fn report(
    world: &World,
    accounts: &[LoadAccount],
    site_names: &BTreeMap<SiteId, String>,
) -> TimelineReport {
    let mut course = Course::default();
    for account in accounts.iter().filter(|account| !account.direct) {
        course.merge(account.stats.lock().course());
    }
    let every = course.every().max(world.timeline.every());
    course.coarsen_to(every);
    let standings = at_ends(world, every);
    let intervals = standings.len().max(course.intervals().len());
    let requests =
        |pick: fn(&Interval) -> u64| filled(course.intervals().iter().map(pick), intervals);
    let passed = |pick: fn(&Passed) -> u64, only: Option<SiteId>| {
        let sum = |standing: &Standing| {
            let sites = standing.sites.iter();
            let wanted = sites.filter(|(site, _)| only.is_none_or(|only| only == **site));
            wanted.map(|(_, passed)| pick(passed)).sum()
        };
        filled(risen(&standings, sum), intervals)
    };
    let pops = site_names.iter().filter_map(|(site, name)| {
        let packets = passed(|passed| passed.packets, Some(*site));
        let name = name.strip_prefix("pop.")?.to_owned();
        packets
            .iter()
            .any(|count| *count > 0)
            .then_some((name, packets))
    });
    let drops = DropReason::ALL.iter().filter_map(|cause| {
        let lost = filled(
            risen(&standings, |standing| standing.drops.of(*cause)),
            intervals,
        );
        lost.iter()
            .any(|count| *count > 0)
            .then_some((cause.name(), lost))
    });
    TimelineReport {
        every_s: every.as_secs_f64(),
        due: requests(|interval| interval.due),
        ok: requests(|interval| interval.ok),
        from_clients_bytes: passed(|passed| passed.from_clients_bytes, None),
        to_clients_bytes: passed(|passed| passed.to_clients_bytes, None),
        pops: pops.collect(),
        drops: drops.collect(),
    }
}

/// How everything stood at the ends of intervals that may be longer than the timeline's own.
fn at_ends(world: &World, every: Duration) -> Vec<&Standing> {
    let own = world.timeline.standings();
    let step = (every.as_nanos() / world.timeline.every().as_nanos()) as usize;
    own.chunks(step)
        .filter_map(|several| several.last())
        .collect()
}

/// By how much a count rose in each interval.
fn risen(standings: &[&Standing], count: impl Fn(&Standing) -> u64) -> impl Iterator<Item = u64> {
    let mut before = 0;
    standings.iter().map(move |standing| {
        let all = count(standing);
        let more = all.saturating_sub(before);
        before = all;
        more
    })
}

/// The counts of all intervals, of which nothing happened in the last ones.
fn filled(counts: impl Iterator<Item = u64>, intervals: usize) -> Vec<u64> {
    let mut counts: Vec<u64> = counts.collect();
    counts.resize(intervals, 0);
    counts
}
