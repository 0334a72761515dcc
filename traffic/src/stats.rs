//! What became of a load: every request in exactly one outcome, and how long the answered ones took.
//!
//! Intended latency runs from the time at which the schedule wanted the request sent, actual latency from
//! the time at which it was. They differ when the client could not keep up, and the difference is what
//! closed-loop tools hide ("coordinated omission", G. Tene). Only answered requests have a latency.
//!
//! Flows are judged one by one: a [`Mark`] says what became of those that a moment found established.
//!
//! Invariant: `sent = ok + failed + in flight` always, and `in flight = 0` once closed.

use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard};

use anyedge_net::time::{Instant, nanos};
use hdrhistogram::Histogram;

use crate::failure::Failure;
use crate::receipt::Silence;

mod answers;
mod course;
mod flow_watch;
mod mark;
mod window;

pub use answers::ANSWERS_EVERY;
use answers::Answers;
pub use course::{COURSE_EVERY, Course, INTERVALS_MAX, Interval};
pub(crate) use flow_watch::FlowWatch;
use mark::Marks;
pub use mark::{MARKS_MAX, Mark};
use window::Windows;
pub use window::{Span, WINDOWS_MAX, Window};

/// The shortest latency told apart from others, in ns.
pub const LATENCY_NANOS_MIN: u64 = 1_000;

/// The longest latency told apart from others, in ns: one hour; longer ones count as this.
pub const LATENCY_NANOS_MAX: u64 = 3_600_000_000_000;

const SIGNIFICANT_DIGITS: u8 = 3;

/// What became of a load.
#[derive(Clone, Debug)]
pub struct Stats {
    sent: u64,
    ok: u64,
    syns: u64,
    failed: [u64; Failure::ALL.len()],
    broken_flows: u64,
    intended: Histogram<u64>,
    actual: Histogram<u64>,
    answers: Answers,
    course: Course,
    silent_since: Option<Instant>,
    longest_gap: Duration,
    longest_gap_from: Option<Instant>,
    gaps_within_flows: bool,
    marks: Marks,
    windows: Windows,
    closed: bool,
}

/// An account of latencies without an entry.
fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(LATENCY_NANOS_MIN, LATENCY_NANOS_MAX, SIGNIFICANT_DIGITS)
        .expect("the bounds are in order and the digits in 0..=5")
}

impl Default for Stats {
    fn default() -> Stats {
        let histogram = latencies();
        Stats {
            sent: 0,
            ok: 0,
            syns: 0,
            failed: [0; Failure::ALL.len()],
            broken_flows: 0,
            intended: histogram.clone(),
            actual: histogram,
            answers: Answers::default(),
            course: Course::default(),
            silent_since: None,
            longest_gap: Duration::ZERO,
            longest_gap_from: None,
            gaps_within_flows: false,
            marks: Marks::default(),
            windows: Windows::default(),
            closed: false,
        }
    }
}

impl Stats {
    /// Arrivals that have become due, whether or not their turn has come.
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Those that got the answer they asked for, in time.
    pub const fn ok(&self) -> u64 {
        self.ok
    }

    /// Those that failed for `cause`.
    pub const fn failed(&self, cause: Failure) -> u64 {
        self.failed[cause as usize]
    }

    /// All that failed.
    pub fn failed_total(&self) -> u64 {
        self.failed.iter().sum()
    }

    /// SYNs of a flood, which are no requests and have no outcome.
    pub const fn syns(&self) -> u64 {
        self.syns
    }

    /// Those without an outcome yet.
    pub fn unfinished(&self) -> u64 {
        self.sent - self.ok - self.failed_total()
    }

    /// Flows that were established and then cut: connections that died before the answer was complete, and
    /// ticks of one socket that another backend began to answer or that nobody answered any more.
    pub const fn broken_flows(&self) -> u64 {
        self.broken_flows
    }

    /// Latency of answered requests from their intended time, in ns.
    pub const fn intended(&self) -> &Histogram<u64> {
        &self.intended
    }

    /// Latency of answered requests from the time at which they were really started, in ns.
    pub const fn actual(&self) -> &Histogram<u64> {
        &self.actual
    }

    /// Answers by the [`ANSWERS_EVERY`] in which they came, from the run's beginning on.
    pub fn answers(&self) -> &[u32] {
        self.answers.counts()
    }

    /// The longest time without an answer: between two answers, from the last one to the end of the load,
    /// or, when none ever came, from the first request on. Of long flows, the longest time that one of them
    /// wanted bytes and got none; what the run cuts off is not in it.
    pub const fn longest_gap(&self) -> Duration {
        self.longest_gap
    }

    /// When the longest gap began; `None` when there was none.
    pub const fn longest_gap_from(&self) -> Option<Instant> {
        self.longest_gap_from
    }

    /// Requests by when they were due, and which of them were answered.
    pub const fn course(&self) -> &Course {
        &self.course
    }

    /// What became of the flows that were established at each mark, by time; settled once closed.
    pub fn marks(&self) -> &[Mark] {
        self.marks.all()
    }

    /// What became of the load within parts of the run, by their times; settled once closed.
    pub fn windows(&self) -> &[Window] {
        self.windows.all()
    }

    /// The flows of this load are long: a gap is what one of them goes through, not the time between two.
    pub(crate) const fn judge_gaps_within_flows(&mut self) {
        self.gaps_within_flows = true;
    }

    /// A flow begins its handshake.
    pub(crate) fn on_connecting(&mut self, now: Instant) {
        if !self.closed {
            self.marks.on_connecting(now);
        }
    }

    /// A handshake failed.
    pub(crate) fn on_not_connected(&mut self, now: Instant) {
        if !self.closed {
            self.marks.on_not_connected(now);
        }
    }

    /// A handshake is complete; the flow wants bytes from now on.
    pub(crate) fn on_established(&mut self, now: Instant) -> FlowWatch {
        let watch = self.marks.on_established(now);
        watch.within(self.windows.spans())
    }

    /// A flow is over: for `cause`, or as it should be.
    pub(crate) fn on_flow_over(
        &mut self,
        now: Instant,
        mut watch: FlowWatch,
        cause: Option<Failure>,
    ) {
        if self.closed {
            return;
        }
        if cause.is_some() {
            watch.on_end(now);
        }
        self.marks.on_over(now, &watch, cause);
        if self.gaps_within_flows {
            self.note_gap(watch.longest());
            self.windows.on_gaps(watch.longest_within());
        }
        if cause.is_some_and(Failure::breaks_flow) {
            self.broken_flows += 1;
            self.windows.on_broken(now);
        }
    }

    /// Arrivals have become due, the first of them at `first`.
    pub(crate) fn on_sent(&mut self, count: u64, first: Instant) {
        if !self.closed && count > 0 {
            self.sent += count;
            self.course.on_due(count, first);
            if !self.gaps_within_flows {
                self.silent_since.get_or_insert(first);
            }
        }
    }

    /// Arrivals have become due, at these times: what windows count, beside [`Stats::on_sent`].
    pub(crate) fn on_due(&mut self, intended: &[Instant]) {
        if !self.closed {
            self.windows.on_due(intended);
        }
    }

    /// A flood sent a SYN.
    pub(crate) const fn on_syn(&mut self) {
        if !self.closed {
            self.syns += 1;
        }
    }

    pub(crate) fn on_ok(&mut self, intended: Instant, started: Instant, now: Instant) {
        if self.closed {
            return;
        }
        if self.ok > 0 || self.gaps_within_flows {
            self.end_gap(now);
        } else {
            self.silent_since = Some(now);
        }
        self.ok += 1;
        self.answers.on_answer(now);
        self.course.on_ok(intended);
        self.windows.on_ok(intended, now);
        self.intended.saturating_record(nanos(now - intended));
        self.actual.saturating_record(nanos(now - started));
    }

    pub(crate) fn on_failed(&mut self, cause: Failure, count: u64) {
        if !self.closed {
            self.failed[cause as usize] += count;
        }
    }

    /// Ends the account at `now`: what is unfinished failed as [`Failure::RunEnded`], and what comes later
    /// is not counted. The last gap ends here, or at `stop` (the load's) when that was earlier.
    pub fn close(&mut self, now: Instant, stop: Instant) {
        if self.closed {
            return;
        }
        self.on_failed(Failure::RunEnded, self.unfinished());
        self.end_gap(now.min(stop));
        self.marks.close(now);
        self.closed = true;
        assert_eq!(
            self.sent,
            self.ok + self.failed_total(),
            "a request without an outcome, or with two"
        );
    }

    /// Whether [`Stats::close`] was called.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Adds another population's account; gaps are not added, the longer one stays. Marks are added to those
    /// at the same time.
    pub fn merge(&mut self, other: &Stats) {
        self.sent += other.sent;
        self.ok += other.ok;
        self.syns += other.syns;
        for (mine, theirs) in self.failed.iter_mut().zip(other.failed) {
            *mine += theirs;
        }
        self.broken_flows += other.broken_flows;
        self.intended
            .add(&other.intended)
            .expect("all histograms have the same bounds");
        self.actual
            .add(&other.actual)
            .expect("all histograms have the same bounds");
        self.answers.merge(&other.answers);
        self.course.merge(&other.course);
        if other.longest_gap > self.longest_gap {
            self.longest_gap = other.longest_gap;
            self.longest_gap_from = other.longest_gap_from;
        }
        self.marks.merge(&other.marks);
        self.windows.merge(&other.windows);
    }

    fn end_gap(&mut self, now: Instant) {
        if let Some(since) = self.silent_since {
            let silence = Silence {
                from: since,
                until: now.max(since),
            };
            self.note_gap(silence);
            self.windows.on_silence(silence);
            self.silent_since = Some(now.max(since));
        }
    }

    fn note_gap(&mut self, gap: Silence) {
        if gap.length() > self.longest_gap {
            self.longest_gap = gap.length();
            self.longest_gap_from = Some(gap.from);
        }
    }
}

/// The account of a load, shared by the hosts of its population.
#[derive(Clone, Default)]
pub struct SharedStats(Arc<Mutex<Stats>>);

impl SharedStats {
    /// An account that also judges flows at `marks`: sorted, each time once, the first [`MARKS_MAX`] of them.
    pub fn with_marks(marks: Vec<Instant>) -> SharedStats {
        SharedStats::watching(marks, Vec::new())
    }

    /// The same, which also keeps apart what happens within `spans`: each once, the first [`WINDOWS_MAX`] of them.
    pub fn watching(marks: Vec<Instant>, spans: Vec<Span>) -> SharedStats {
        let stats = Stats {
            marks: Marks::at(marks),
            windows: Windows::of(spans),
            ..Stats::default()
        };
        SharedStats(Arc::new(Mutex::new(stats)))
    }

    /// The account itself. Hold it shortly: the load waits, and a second `lock` in one expression waits
    /// for ever.
    pub fn lock(&self) -> MutexGuard<'_, Stats> {
        self.0
            .lock()
            .expect("no holder of the account panics, except when a run is void")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn closing_gives_every_open_request_an_outcome_and_ends_the_account() {
        let mut stats = Stats::default();
        stats.on_sent(5, at(0));
        stats.on_ok(at(0), at(1), at(10));
        stats.on_failed(Failure::Reset, 1);
        stats.on_connecting(at(10));
        let watch = stats.on_established(at(10));
        stats.on_flow_over(at(20), watch, Some(Failure::Reset));
        assert_eq!(stats.unfinished(), 3);
        stats.close(at(100), at(100));
        assert_eq!(
            (stats.unfinished(), stats.failed(Failure::RunEnded)),
            (0, 3)
        );
        stats.on_ok(at(0), at(0), at(200));
        stats.on_sent(1, at(200));
        stats.on_failed(Failure::Timeout, 1);
        assert_eq!(
            (
                stats.sent(),
                stats.ok(),
                stats.failed_total(),
                stats.broken_flows()
            ),
            (5, 1, 4, 1)
        );
    }

    #[test]
    fn intended_and_actual_latency_are_kept_apart_and_saturate() {
        let mut stats = Stats::default();
        stats.on_sent(2, at(0));
        stats.on_ok(at(0), at(900), at(1_000));
        assert_eq!(stats.intended().max() / 1_000_000, 1_000);
        assert_eq!(stats.actual().max() / 1_000_000, 100);
        stats.on_ok(at(0), at(0), at(4_000_000_000));
        assert!(stats.intended().max() >= LATENCY_NANOS_MAX);
    }

    #[test]
    fn the_longest_gap_counts_from_the_first_answer_to_the_end_of_the_load() {
        let mut stats = Stats::default();
        stats.on_sent(9, at(0));
        for answered in [5_000, 5_100, 5_900, 6_000] {
            stats.on_ok(at(0), at(0), at(answered));
        }
        assert_eq!(stats.longest_gap(), Duration::from_millis(800));
        assert_eq!(stats.longest_gap_from(), Some(at(5_100)));
        stats.close(at(60_000), at(7_000));
        assert_eq!(stats.longest_gap(), Duration::from_millis(1_000));
    }

    #[test]
    fn a_load_that_is_never_answered_is_one_long_gap() {
        let mut stats = Stats::default();
        stats.on_sent(1, at(2_000));
        stats.on_sent(1, at(3_000));
        stats.close(at(10_000), at(9_000));
        assert_eq!(stats.longest_gap(), Duration::from_secs(7));
        let mut idle = Stats::default();
        idle.close(at(10_000), at(9_000));
        assert_eq!(idle.longest_gap(), Duration::ZERO);
        assert_eq!(idle.longest_gap_from(), None);
    }

    #[test]
    fn merging_adds_everything_but_the_gaps() {
        let mut one = Stats::default();
        one.on_sent(1, at(0));
        one.on_ok(at(0), at(0), at(10));
        one.close(at(20), at(20));
        let mut two = Stats::default();
        two.on_sent(2, at(0));
        two.on_ok(at(0), at(0), at(30));
        two.close(at(100), at(100));
        one.merge(&two);
        assert_eq!(
            (one.sent(), one.ok(), one.failed(Failure::RunEnded)),
            (3, 2, 1)
        );
        assert_eq!(one.intended().len(), 2);
        assert_eq!(one.longest_gap(), Duration::from_millis(70));
    }
}
