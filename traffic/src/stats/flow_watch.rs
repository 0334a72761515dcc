//! One flow under watch: when it wanted bytes and got none.
//!
//! A flow is silent from the moment it wants bytes until the next new one. A flow that rests wants nothing,
//! and its rest is no silence. Kept until the flow is over: its longest silence, and the longest one within
//! the time of each mark that it lived through, so a flow costs some bytes per mark and nothing afterwards.

use core::time::Duration;
use std::sync::Arc;

use anyedge_net::time::Instant;

use super::window::Span;
use crate::receipt::Silence;

/// What is remembered of a flow while it lives.
pub(crate) struct FlowWatch {
    marks: Arc<[Instant]>,
    /// The first mark that came after the flow was established.
    first_mark: usize,
    wants_since: Option<Instant>,
    longest: Silence,
    /// The longest silence within the time of mark `first_mark + index`.
    by_mark: Vec<Option<Silence>>,
    spans: Arc<[Span]>,
    /// The longest part of a silence that is in each span.
    by_span: Vec<Duration>,
}

impl FlowWatch {
    /// A flow that is established, before `marks[first_mark..]`, and wants bytes from `now` on.
    pub(super) fn new(marks: Arc<[Instant]>, first_mark: usize, now: Instant) -> FlowWatch {
        FlowWatch {
            marks,
            first_mark,
            wants_since: Some(now),
            longest: Silence {
                from: now,
                until: now,
            },
            by_mark: Vec::new(),
            spans: Arc::default(),
            by_span: Vec::new(),
        }
    }

    /// The same flow, which also remembers its silences within `spans`.
    pub(super) fn within(self, spans: Arc<[Span]>) -> FlowWatch {
        FlowWatch { spans, ..self }
    }

    /// It wants bytes, now if not before.
    pub(crate) fn wants(&mut self, now: Instant) {
        self.wants_since.get_or_insert(now);
    }

    /// It wants nothing until it is said to.
    pub(crate) const fn rests(&mut self) {
        self.wants_since = None;
    }

    /// A new byte came, and more are wanted.
    pub(crate) fn on_byte(&mut self, now: Instant) {
        if let Some(from) = self.wants_since.replace(now) {
            self.on_silence(Silence { from, until: now });
        }
    }

    /// It ends as it is, mostly in silence.
    pub(super) fn on_end(&mut self, now: Instant) {
        if self.wants_since.is_some() {
            self.on_byte(now);
        }
    }

    /// It was silent so, whoever saw it.
    pub(crate) fn on_silence(&mut self, silence: Silence) {
        if silence.length() > self.longest.length() {
            self.longest = silence;
        }
        if !self.spans.is_empty() {
            self.by_span.resize(self.spans.len(), Duration::ZERO);
            for (longest, span) in self.by_span.iter_mut().zip(&*self.spans) {
                *longest = span.part_of(silence).max(*longest);
            }
        }
        let marks = &self.marks[self.first_mark..];
        for (index, at) in marks.iter().enumerate() {
            if silence.until <= *at {
                return;
            }
            if marks
                .get(index + 1)
                .is_some_and(|next| *next <= silence.from)
            {
                continue;
            }
            if self.by_mark.len() <= index {
                self.by_mark.resize(index + 1, None);
            }
            let longest = &mut self.by_mark[index];
            if longest.is_none_or(|longest| longest.length() <= silence.length()) {
                *longest = Some(silence);
            }
        }
    }

    pub(super) const fn first_mark(&self) -> usize {
        self.first_mark
    }

    pub(super) const fn longest(&self) -> Silence {
        self.longest
    }

    /// The longest part of a silence within each span; none while it was never silent.
    pub(super) fn longest_within(&self) -> &[Duration] {
        &self.by_span
    }

    /// The longest silence that overlaps the time from `mark` to the next.
    pub(super) fn at_mark(&self, mark: usize) -> Option<Silence> {
        let index = mark.checked_sub(self.first_mark)?;
        *self.by_mark.get(index)?
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn a_silence_belongs_to_every_mark_whose_time_it_overlaps_and_a_rest_to_none() {
        let marks: Arc<[Instant]> = [1_000, 2_000, 3_000].map(at).into();
        let mut watch = FlowWatch::new(marks, 0, at(100));
        watch.on_byte(at(900));
        watch.on_byte(at(1_000));
        assert!(watch.at_mark(0).is_none(), "it was over at the mark");
        watch.on_byte(at(2_200));
        watch.on_byte(at(2_300));
        let long = Some(Silence {
            from: at(1_000),
            until: at(2_200),
        });
        assert_eq!((watch.at_mark(0), watch.at_mark(1)), (long, long));
        watch.rests();
        watch.wants(at(60_000));
        watch.wants(at(60_010));
        watch.on_byte(at(60_050));
        let late = Some(Silence {
            from: at(60_000),
            until: at(60_050),
        });
        assert_eq!((watch.at_mark(2), watch.at_mark(3)), (late, None));
        assert_eq!(watch.longest().length(), Duration::from_millis(1_200));
    }
}
