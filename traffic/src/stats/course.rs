//! How a load fared over time: requests that became due in each interval, and how many of those were answered in the end.
//!
//! Intervals are [`COURSE_EVERY`] long at first. When there are more than [`INTERVALS_MAX`], each two become one, so that
//! a run of any length costs as much: two counts for each of some hundreds of intervals.

use core::time::Duration;

use anyedge_net::time::{Instant, nanos};

/// How long an interval is at first; later it is twice as long, and so on.
pub const COURSE_EVERY: Duration = Duration::from_millis(100);

/// Intervals at most.
pub const INTERVALS_MAX: usize = 400;

/// An interval's requests.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Interval {
    /// That became due in it.
    pub due: u64,
    /// Of those, answered, whenever that was.
    pub ok: u64,
}

/// A load over time, from the run's beginning on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Course {
    every_nanos: u64,
    intervals: Vec<Interval>,
}

impl Default for Course {
    fn default() -> Course {
        Course {
            every_nanos: nanos(COURSE_EVERY),
            intervals: Vec::new(),
        }
    }
}

impl Course {
    /// How long each interval is: [`COURSE_EVERY`] times a power of two.
    pub const fn every(&self) -> Duration {
        Duration::from_nanos(self.every_nanos)
    }

    /// The intervals up to the last one in which a request was due.
    pub fn intervals(&self) -> &[Interval] {
        &self.intervals
    }

    /// Makes intervals longer until they are as long as `every`, which is [`COURSE_EVERY`] times a power of two.
    pub fn coarsen_to(&mut self, every: Duration) {
        while self.every_nanos < nanos(every) {
            self.coarsen();
        }
    }

    /// Adds another load's, of which either may have the longer intervals.
    pub fn merge(&mut self, other: &Course) {
        let mut other = other.clone();
        other.coarsen_to(self.every());
        self.coarsen_to(other.every());
        if self.intervals.len() < other.intervals.len() {
            self.intervals
                .resize(other.intervals.len(), Interval::default());
        }
        for (mine, theirs) in self.intervals.iter_mut().zip(&other.intervals) {
            mine.due += theirs.due;
            mine.ok += theirs.ok;
        }
    }

    pub(super) fn on_due(&mut self, count: u64, at: Instant) {
        self.interval(at).due += count;
    }

    pub(super) fn on_ok(&mut self, due_at: Instant) {
        self.interval(due_at).ok += 1;
    }

    fn interval(&mut self, at: Instant) -> &mut Interval {
        while at.as_nanos() / self.every_nanos >= INTERVALS_MAX as u64 {
            self.coarsen();
        }
        let place = (at.as_nanos() / self.every_nanos) as usize;
        if self.intervals.len() <= place {
            self.intervals.resize(place + 1, Interval::default());
        }
        &mut self.intervals[place]
    }

    fn coarsen(&mut self) {
        self.every_nanos = self.every_nanos.saturating_mul(2);
        let pairs = self.intervals.chunks(2);
        self.intervals = pairs
            .map(|pair| Interval {
                due: pair.iter().map(|one| one.due).sum(),
                ok: pair.iter().map(|one| one.ok).sum(),
            })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn an_answer_counts_where_its_request_was_due() {
        let mut course = Course::default();
        course.on_due(3, at(120));
        course.on_due(1, at(399));
        course.on_ok(at(120));
        let wanted = [(0, 0), (3, 1), (0, 0), (1, 0)].map(|(due, ok)| Interval { due, ok });
        assert_eq!(course.intervals(), wanted);
    }

    #[test]
    fn a_long_load_has_longer_intervals_and_no_more_of_them_and_loses_no_request() {
        let mut course = Course::default();
        for second in 0..3_600 {
            course.on_due(5, at(second * 1_000));
            course.on_ok(at(second * 1_000));
        }
        assert_eq!(course.every(), Duration::from_millis(12_800));
        assert_eq!(course.intervals().len(), 282);
        let due: u64 = course.intervals().iter().map(|one| one.due).sum();
        assert_eq!(due, 5 * 3_600);
        course.on_due(1, Instant::FAR_FUTURE);
        assert!(course.intervals().len() <= INTERVALS_MAX);
    }

    #[test]
    fn loads_of_different_intervals_add_up_either_way_round() {
        let (mut short, mut long) = (Course::default(), Course::default());
        short.on_due(2, at(150));
        long.on_due(1, at(0));
        long.on_due(4, at(50_000));
        let mut one = short.clone();
        one.merge(&long);
        long.merge(&short);
        assert_eq!(one, long);
        assert_eq!(one.every(), Duration::from_millis(200));
        assert_eq!(one.intervals()[0], Interval { due: 3, ok: 0 });
    }
}
