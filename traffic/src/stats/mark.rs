//! A moment at which all flows are looked at, and what became of them.
//!
//! A mark divides the flows of its moment: those in handshake are counted and not judged; those established
//! are kept, or broken for a cause, each once, when they are over. What happens at the very moment of a mark
//! comes after it. A mark's time goes to the next mark, or to the end.
//!
//! Invariant: once the account is closed, `established = kept + sum(broken)`, what was still under way being
//! broken as `RunEnded`.

use core::time::Duration;
use std::sync::Arc;

use anyedge_net::time::Instant;

use super::flow_watch::FlowWatch;
use crate::failure::Failure;

/// The most marks of an account.
pub const MARKS_MAX: usize = 64;

/// A moment, and what became of the flows that it found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The moment.
    pub at: Instant,
    /// Flows that were in handshake.
    pub handshaking: u64,
    /// Flows that were established and not over.
    pub established: u64,
    /// Those of them that went on to their end.
    pub kept: u64,
    /// Those of them that did not, by [`Failure`].
    pub broken: [u64; Failure::ALL.len()],
    /// The longest time that a kept flow wanted bytes and got no new one, of the times that overlap the
    /// mark's. A pace's own pauses are such times, so it is seldom zero.
    pub gap_max: Duration,
    /// When that time ended: the moment at which all were served again, if the mark is a fault's. Of several
    /// that were as long, the last.
    pub recovered_at: Option<Instant>,
}

impl Mark {
    const fn new(at: Instant) -> Mark {
        Mark {
            at,
            handshaking: 0,
            established: 0,
            kept: 0,
            broken: [0; Failure::ALL.len()],
            gap_max: Duration::ZERO,
            recovered_at: None,
        }
    }

    /// Flows that were broken, for whatever cause.
    pub fn broken_total(&self) -> u64 {
        self.broken.iter().sum()
    }

    fn merge(&mut self, other: &Mark) {
        self.handshaking += other.handshaking;
        self.established += other.established;
        self.kept += other.kept;
        for (mine, theirs) in self.broken.iter_mut().zip(other.broken) {
            *mine += theirs;
        }
        self.on_gap(other.gap_max, other.recovered_at);
    }

    fn on_gap(&mut self, length: Duration, until: Option<Instant>) {
        if (length, until) > (self.gap_max, self.recovered_at) {
            self.gap_max = length;
            self.recovered_at = until;
        }
    }
}

/// All marks of an account, and the flows that are under way.
#[derive(Clone, Default, Debug)]
pub(super) struct Marks {
    marks: Vec<Mark>,
    times: Arc<[Instant]>,
    /// How many marks have been passed.
    passed: usize,
    handshaking: u64,
    established: u64,
}

impl Marks {
    pub(super) fn at(mut times: Vec<Instant>) -> Marks {
        times.sort_unstable();
        times.dedup();
        times.truncate(MARKS_MAX);
        Marks {
            marks: times.iter().copied().map(Mark::new).collect(),
            times: times.into(),
            ..Marks::default()
        }
    }

    pub(super) fn all(&self) -> &[Mark] {
        &self.marks
    }

    pub(super) fn on_connecting(&mut self, now: Instant) {
        self.pass(now);
        self.handshaking += 1;
    }

    pub(super) fn on_not_connected(&mut self, now: Instant) {
        self.pass(now);
        self.handshaking -= 1;
    }

    pub(super) fn on_established(&mut self, now: Instant) -> FlowWatch {
        self.on_not_connected(now);
        self.established += 1;
        FlowWatch::new(self.times.clone(), self.passed, now)
    }

    pub(super) fn on_over(&mut self, now: Instant, watch: &FlowWatch, cause: Option<Failure>) {
        self.pass(now);
        self.established -= 1;
        let lived_through = watch.first_mark()..self.passed;
        for (number, mark) in self.marks[lived_through.clone()].iter_mut().enumerate() {
            let Some(cause) = cause else {
                mark.kept += 1;
                if let Some(silence) = watch.at_mark(lived_through.start + number) {
                    mark.on_gap(silence.length(), Some(silence.until));
                }
                continue;
            };
            mark.broken[cause as usize] += 1;
        }
    }

    pub(super) fn close(&mut self, now: Instant) {
        self.pass(now);
        for mark in &mut self.marks {
            let under_way = mark.established - mark.kept - mark.broken_total();
            mark.broken[Failure::RunEnded as usize] += under_way;
        }
    }

    pub(super) fn merge(&mut self, other: &Marks) {
        for theirs in &other.marks {
            match self.marks.binary_search_by_key(&theirs.at, |mark| mark.at) {
                Ok(place) => self.marks[place].merge(theirs),
                Err(place) => self.marks.insert(place, theirs.clone()),
            }
        }
    }

    /// Looks at the flows for every mark that has come by `now`.
    fn pass(&mut self, now: Instant) {
        while let Some(mark) = self.marks.get_mut(self.passed)
            && mark.at <= now
        {
            mark.handshaking = self.handshaking;
            mark.established = self.established;
            self.passed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn flow(marks: &mut Marks, millis: u64) -> FlowWatch {
        marks.on_connecting(at(millis));
        marks.on_established(at(millis))
    }

    #[test]
    fn each_flow_is_judged_once_at_each_mark_that_it_lived_through() {
        let mut marks = Marks::at(vec![at(2_000), at(1_000), at(1_000)]);
        let mut kept = flow(&mut marks, 0);
        let broken = flow(&mut marks, 500);
        let early = flow(&mut marks, 500);
        marks.on_over(at(999), &early, None);
        marks.on_connecting(at(999));
        let late = marks.on_established(at(1_000));
        marks.on_over(at(1_500), &broken, Some(Failure::Reset));
        kept.on_byte(at(900));
        kept.on_byte(at(1_400));
        kept.on_byte(at(2_100));
        marks.on_over(at(2_100), &kept, None);
        marks.on_connecting(at(2_200));
        marks.close(at(9_000));
        let [first, second] = marks.all() else {
            panic!("two moments: {:?}", marks.all());
        };
        assert_eq!(
            (first.handshaking, first.established, first.kept),
            (1, 2, 1)
        );
        assert_eq!(
            (first.broken[Failure::Reset as usize], first.broken_total()),
            (1, 1)
        );
        assert_eq!(first.gap_max, Duration::from_millis(700));
        assert_eq!(first.recovered_at, Some(at(2_100)));
        assert_eq!(
            (second.handshaking, second.established, second.kept),
            (0, 2, 1)
        );
        assert_eq!(second.broken[Failure::RunEnded as usize], 1);
        assert_eq!(second.gap_max, Duration::from_millis(700));
        drop(late);
    }

    #[test]
    fn a_broken_flows_silence_is_not_the_gap_of_those_that_were_kept() {
        let mut marks = Marks::at(vec![at(1_000)]);
        let mut kept = flow(&mut marks, 0);
        let mut broken = flow(&mut marks, 0);
        kept.on_byte(at(1_100));
        broken.on_end(at(30_000));
        marks.on_over(at(1_100), &kept, None);
        marks.on_over(at(30_000), &broken, Some(Failure::Timeout));
        let mark = &marks.all()[0];
        assert_eq!((mark.kept, mark.broken_total()), (1, 1));
        assert_eq!(mark.gap_max, Duration::from_millis(1_100));
    }

    #[test]
    fn merging_adds_flows_and_keeps_the_longer_gap_and_marks_of_both() {
        let account = |gap: u64, times: Vec<Instant>| {
            let mut marks = Marks::at(times);
            let mut watch = flow(&mut marks, 0);
            watch.on_byte(at(gap));
            marks.on_over(at(5_000), &watch, None);
            marks
        };
        let mut one = account(1_500, vec![at(1_000)]);
        one.merge(&account(1_200, vec![at(1_000), at(2_000)]));
        let mark = &one.all()[0];
        assert_eq!((mark.established, mark.kept), (2, 2));
        assert_eq!(
            (mark.gap_max, mark.recovered_at),
            (Duration::from_millis(1_500), Some(at(1_500)))
        );
        assert_eq!(one.all()[1].kept, 1);
    }

    #[test]
    fn marks_are_bounded() {
        let marks = Marks::at((0..1_000).map(at).collect());
        assert_eq!(marks.all().len(), MARKS_MAX);
    }
}
