//! A part of the run that is judged by itself, for service levels that hold from one time to another.
//!
//! A request is in the window in which it was due, whenever its answer comes; a flow that breaks is in the window in
//! which it does; and of a silence that part counts which is in the window. A window costs two counts for a request in
//! it and nothing for others, and there is none unless a service level asks.
//!
//! Invariant: once the account is closed, what was due in a window and not answered in time has failed.

use core::time::Duration;
use std::sync::Arc;

use anyedge_net::time::{Instant, nanos};
use hdrhistogram::Histogram;

use super::latencies;
use crate::receipt::Silence;

/// The most windows of an account.
pub const WINDOWS_MAX: usize = 64;

/// From one time to another, which is no longer in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Span {
    /// Its beginning.
    pub from: Instant,
    /// Its end.
    pub to: Instant,
}

impl Span {
    /// Whether a moment is in it.
    pub fn contains(self, at: Instant) -> bool {
        (self.from..self.to).contains(&at)
    }

    /// How much of a silence is in it.
    pub(super) fn part_of(self, silence: Silence) -> Duration {
        let (from, until) = (silence.from.max(self.from), silence.until.min(self.to));
        if from < until {
            until - from
        } else {
            Duration::ZERO
        }
    }
}

/// What became of a load within a span.
#[derive(Clone, Debug)]
pub struct Window {
    /// Of which time.
    pub span: Span,
    /// Requests that were due in it.
    pub sent: u64,
    /// Those of them that were answered in time.
    pub ok: u64,
    /// Flows that broke in it.
    pub broken_flows: u64,
    /// Latency of its answered requests from their intended time, in ns.
    pub intended: Histogram<u64>,
    /// The longest time in it without an answer; of long flows, without a byte that one of them wanted.
    pub longest_gap: Duration,
}

/// All windows of an account.
#[derive(Clone, Default, Debug)]
pub(super) struct Windows {
    windows: Vec<Window>,
    spans: Arc<[Span]>,
}

impl Windows {
    pub(super) fn of(mut spans: Vec<Span>) -> Windows {
        spans.sort_unstable();
        spans.dedup();
        spans.truncate(WINDOWS_MAX);
        let window = |span: &Span| Window {
            span: *span,
            sent: 0,
            ok: 0,
            broken_flows: 0,
            intended: latencies(),
            longest_gap: Duration::ZERO,
        };
        Windows {
            windows: spans.iter().map(window).collect(),
            spans: spans.into(),
        }
    }

    pub(super) fn all(&self) -> &[Window] {
        &self.windows
    }

    /// The spans alone, for flows to remember their silences by.
    pub(super) fn spans(&self) -> Arc<[Span]> {
        self.spans.clone()
    }

    pub(super) fn on_due(&mut self, intended: &[Instant]) {
        for window in &mut self.windows {
            let own = intended.iter().filter(|at| window.span.contains(**at));
            window.sent += own.count() as u64;
        }
    }

    pub(super) fn on_ok(&mut self, intended: Instant, now: Instant) {
        for window in self
            .windows
            .iter_mut()
            .filter(|it| it.span.contains(intended))
        {
            window.ok += 1;
            window.intended.saturating_record(nanos(now - intended));
        }
    }

    pub(super) fn on_broken(&mut self, now: Instant) {
        for window in self.windows.iter_mut().filter(|it| it.span.contains(now)) {
            window.broken_flows += 1;
        }
    }

    /// Nobody was answered for so long.
    pub(super) fn on_silence(&mut self, silence: Silence) {
        for window in &mut self.windows {
            window.longest_gap = window.longest_gap.max(window.span.part_of(silence));
        }
    }

    /// A long flow that is over was silent in each window for at most so long.
    pub(super) fn on_gaps(&mut self, longest: &[Duration]) {
        for (window, longest) in self.windows.iter_mut().zip(longest) {
            window.longest_gap = window.longest_gap.max(*longest);
        }
    }

    /// Adds another account's windows to those of the same time.
    pub(super) fn merge(&mut self, other: &Windows) {
        for theirs in &other.windows {
            match self
                .windows
                .binary_search_by_key(&theirs.span, |it| it.span)
            {
                Ok(place) => self.windows[place].merge(theirs),
                Err(place) => self.windows.insert(place, theirs.clone()),
            }
        }
        self.spans = self.windows.iter().map(|window| window.span).collect();
    }
}

impl Window {
    fn merge(&mut self, other: &Window) {
        self.sent += other.sent;
        self.ok += other.ok;
        self.broken_flows += other.broken_flows;
        self.intended
            .add(&other.intended)
            .expect("all histograms have the same bounds");
        self.longest_gap = self.longest_gap.max(other.longest_gap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn span(from: u64, to: u64) -> Span {
        Span {
            from: at(from),
            to: at(to),
        }
    }

    #[test]
    fn a_request_is_in_the_window_in_which_it_was_due_and_its_end_is_not() {
        let mut windows = Windows::of(vec![span(100, 200), span(0, 1_000), span(100, 200)]);
        assert_eq!(windows.all().len(), 2, "each once");
        windows.on_due(&[at(50), at(100), at(150), at(200)]);
        windows.on_ok(at(50), at(150));
        windows.on_ok(at(150), at(900));
        windows.on_ok(at(200), at(210));
        let counts = |window: &Window| (window.sent, window.ok, window.intended.len());
        assert_eq!(counts(&windows.all()[0]), (4, 3, 3));
        assert_eq!(counts(&windows.all()[1]), (2, 1, 1));
        assert_eq!(windows.all()[1].intended.max() / 1_000_000, 750);
        windows.on_broken(at(199));
        windows.on_broken(at(200));
        assert_eq!(windows.all()[1].broken_flows, 1);
    }

    #[test]
    fn of_a_silence_the_part_in_the_window_counts() {
        let mut windows = Windows::of(vec![span(100, 200)]);
        let silence = |from, until| Silence {
            from: at(from),
            until: at(until),
        };
        windows.on_silence(silence(0, 90));
        assert_eq!(windows.all()[0].longest_gap, Duration::ZERO);
        windows.on_silence(silence(0, 130));
        windows.on_silence(silence(190, 900));
        assert_eq!(windows.all()[0].longest_gap, Duration::from_millis(30));
        let mut sum = Windows::default();
        sum.merge(&windows);
        windows.on_silence(silence(0, 900));
        sum.merge(&windows);
        assert_eq!(sum.all()[0].longest_gap, Duration::from_millis(100));
        assert_eq!(sum.all().len(), 1);
    }
}
