//! Round trip: what probes say that a path takes, and what it is therefore held to cost.
//!
//! Each probe carries its sender's time, and the time of the last probe heard with how long that one lay there; so
//! either end knows the round trip without an echo and without a common clock. What is measured is smoothed as
//! TCP smooths it (RFC 6298 §2.3). The cost follows with a margin: up at once, down only after it has lasted, so
//! that a path whose delay comes and goes is left once and not at every turn.

use core::time::Duration;

use anyedge_net::time::Instant;

use super::heard::is_before;
use super::message::{Message, NOT_HELD};
use crate::exits::{SETTLE_AFTER, margin};

/// Round trips that are measured before they are believed.
pub(super) const SAMPLES_MIN: u8 = 8;
/// A probe that lay for longer says nothing about a round trip, and a longer one is none.
const LONGEST_US: u32 = 60_000_000;

/// One end's measure of a path.
#[derive(Clone, Debug)]
pub(super) struct RoundTrip {
    /// What the table says.
    declared: Duration,
    cost: Duration,
    /// The peer's clock in the last probe, and when that was heard.
    heard: Option<(u32, Instant)>,
    smoothed_us: u32,
    samples: u8,
    /// Since when what is measured is less than the cost.
    less_since: Option<Instant>,
}

impl RoundTrip {
    /// Nothing is measured: the cost is what the table says.
    pub(super) const fn declared(declared: Duration) -> RoundTrip {
        RoundTrip {
            declared,
            cost: declared,
            heard: None,
            smoothed_us: 0,
            samples: 0,
            less_since: None,
        }
    }

    /// What is measured counts no more if the table says another round trip, or that it is not to count.
    pub(super) fn retune(&mut self, declared: Duration, is_measured: bool) {
        if self.declared != declared || !is_measured {
            *self = RoundTrip {
                heard: self.heard,
                ..RoundTrip::declared(declared)
            };
        }
    }

    /// Measures begin anew, as after an outage; the cost stays until they are believed.
    pub(super) const fn restart(&mut self) {
        self.samples = 0;
        self.less_since = None;
    }

    /// What the path is held to cost: a round-trip time.
    pub(super) const fn cost(&self) -> Duration {
        self.cost
    }

    /// What a probe sent now says: our clock, the peer's in the last probe heard, how long ago that was.
    pub(super) fn says(&self, now: Instant) -> (u32, u32, u32) {
        let held = self.heard.and_then(|(echo_us, at)| {
            let held_us = u32::try_from((now - at).as_micros()).ok()?;
            (held_us <= LONGEST_US).then_some((echo_us, held_us))
        });
        let (echo_us, held_us) = held.unwrap_or((0, NOT_HELD));
        (clock_us(now), echo_us, held_us)
    }

    /// Takes a probe of the peer in; `counts` says whether what it tells is to change the cost.
    pub(super) fn hear(&mut self, now: Instant, message: &Message, counts: bool) {
        self.heard = Some((message.sent_us, now));
        let took = clock_us(now).wrapping_sub(message.echo_us);
        let sample_us = took.wrapping_sub(message.held_us);
        if counts && message.held_us <= LONGEST_US && sample_us <= LONGEST_US {
            self.smooth(sample_us);
            if self.samples >= SAMPLES_MIN {
                self.follow(now);
            }
        }
    }

    /// Whether the peer said that later than what was heard last.
    pub(super) fn is_news(&self, message: &Message) -> bool {
        let known = self.heard;
        known.is_none_or(|(said_us, _)| is_before(said_us, message.sent_us))
    }

    fn smooth(&mut self, sample_us: u32) {
        self.smoothed_us = match self.samples {
            0 => sample_us,
            _ => self.smoothed_us - self.smoothed_us / 8 + sample_us / 8,
        };
        self.samples = self.samples.saturating_add(1);
    }

    /// Brings the cost after what is measured, if that is off by the margin.
    fn follow(&mut self, now: Instant) {
        let measured = Duration::from_micros(u64::from(self.smoothed_us));
        if measured >= self.cost + margin(self.cost) {
            self.cost = measured;
            self.less_since = None;
        } else if measured + margin(self.cost) <= self.cost {
            let since = *self.less_since.get_or_insert(now);
            if now - since >= SETTLE_AFTER {
                self.cost = measured;
                self.less_since = None;
            }
        } else {
            self.less_since = None;
        }
    }
}

/// The low half of our clock in microseconds.
const fn clock_us(now: Instant) -> u32 {
    (now.as_nanos() / 1_000) as u32
}

#[cfg(test)]
mod tests;
