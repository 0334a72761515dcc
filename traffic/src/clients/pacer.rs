//! Arrivals between their time and their turn.
//!
//! An arrival is due when the schedule says so, and counts as sent from then on. Mostly its turn comes at
//! once; when too many are in flight it waits here, and one that has waited for the whole timeout has
//! failed without being started. So a client that cannot keep up neither forgets arrivals nor catches up
//! with ones that nobody waits for any more.
//!
//! At most [`WAITING_MAX`] wait. One more, and the one that waits longest, which is nearest to its timeout,
//! makes room.

use core::time::Duration;
use std::collections::VecDeque;

use anyedge_net::time::Instant;

use crate::failure::Failure;
use crate::schedule::Schedule;
use crate::stats::SharedStats;

/// How many arrivals of one host may wait for their turn.
pub(super) const WAITING_MAX: usize = 1 << 20;

/// The arrivals of one host: those to come and those that wait.
pub(super) struct Pacer {
    schedule: Schedule,
    next: Option<Instant>,
    waiting: VecDeque<Instant>,
    /// Those that became due just now.
    due: Vec<Instant>,
    timeout: Duration,
}

impl Pacer {
    pub(super) fn new(mut schedule: Schedule, timeout: Duration) -> Pacer {
        let next = schedule.next();
        Pacer {
            schedule,
            next,
            waiting: VecDeque::new(),
            due: Vec::new(),
            timeout,
        }
    }

    /// Moves arrivals that are due by `now` to those that wait, and fails those that waited too long.
    pub(super) fn advance(&mut self, now: Instant, stats: &SharedStats) {
        self.due.clear();
        let mut late = 0;
        let first = self.next.unwrap_or(now);
        while let Some(intended) = self.next.filter(|intended| *intended <= now) {
            if self.waiting.len() == WAITING_MAX {
                self.waiting.pop_front();
                late += 1;
            }
            self.waiting.push_back(intended);
            self.next = self.schedule.next();
            self.due.push(intended);
        }
        while self
            .waiting
            .front()
            .is_some_and(|intended| *intended + self.timeout <= now)
        {
            self.waiting.pop_front();
            late += 1;
        }
        let due = self.due.len() as u64;
        if due + late > 0 {
            let mut stats = stats.lock();
            stats.on_sent(due, first);
            stats.on_due(&self.due);
            stats.on_failed(Failure::Timeout, late);
        }
    }

    /// The intended time of the arrival whose turn it is.
    pub(super) fn take(&mut self) -> Option<Instant> {
        self.waiting.pop_front()
    }

    /// Whether some are due and wait.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether nothing waits and nothing will come.
    pub(super) fn is_over(&self) -> bool {
        self.next.is_none() && self.waiting.is_empty()
    }

    /// When [`Pacer::advance`] next has something to do; far away once all is over.
    pub(super) fn next_wake(&self) -> Instant {
        let due = self.next.unwrap_or(Instant::FAR_FUTURE);
        let late = self
            .waiting
            .front()
            .map_or(Instant::FAR_FUTURE, |intended| *intended + self.timeout);
        due.min(late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Arrivals, Load, LoadKind, Rate, Share};
    use anyedge_net::rng::Seed;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn pacer(rate: u64, timeout: Duration) -> Pacer {
        let load = Load {
            stream: "test".into(),
            kind: LoadKind::Tick,
            rate: Rate {
                count: rate,
                per: Duration::from_secs(1),
            },
            arrivals: Arrivals::Fixed,
            size: 16,
            sizes: None,
            bursts: None,
            request_size: 0,
            to: ([203, 0, 113, 10], 1).into(),
            timeout,
            start: at(0),
            stop: at(10_000),
            in_flight_max: 1,
        };
        Pacer::new(
            Schedule::new(&load, Share::WHOLE, |purpose| {
                Seed(1).stream("test", purpose)
            }),
            timeout,
        )
    }

    fn counts(stats: &SharedStats) -> (u64, u64) {
        let stats = stats.lock();
        (stats.sent(), stats.failed(Failure::Timeout))
    }

    #[test]
    fn an_arrival_that_waits_for_its_whole_timeout_fails_unstarted() {
        let stats = SharedStats::default();
        let mut pacer = pacer(10, Duration::from_millis(250));
        pacer.advance(at(0), &stats);
        assert_eq!((pacer.take(), pacer.take()), (Some(at(0)), None));
        assert_eq!(pacer.next_wake(), at(100));
        pacer.advance(at(200), &stats);
        assert_eq!(pacer.next_wake(), at(300));
        pacer.advance(at(350), &stats);
        assert_eq!(counts(&stats), (4, 1));
        assert_eq!(pacer.take(), Some(at(200)));
    }

    #[test]
    fn a_full_queue_gives_up_those_that_waited_longest_and_counts_them() {
        let stats = SharedStats::default();
        let mut pacer = pacer(200_000, Duration::from_secs(60));
        pacer.advance(at(10_000), &stats);
        let (sent, late) = counts(&stats);
        assert_eq!((sent, late), (2_000_000, 2_000_000 - WAITING_MAX as u64));
        assert_eq!(pacer.waiting.len(), WAITING_MAX);
        assert_eq!(
            pacer.waiting.back(),
            Some(&(at(9_999) + Duration::from_micros(995)))
        );
        assert!(!pacer.is_over());
    }
}
