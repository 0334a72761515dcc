//! How much may be under way: Reno (RFC 5681) from ten segments (RFC 6928), recovery by what arrives (PRR, RFC 9937).
//!
//! ```text
//!            loss seen                     all acknowledged that was sent before
//!   Open ---------------> Repairing ----------------------------------------------> Open
//!     \                      |  timeout                                              ^
//!      `-- timeout --> Restarting (one segment, slow start) -------------------------'
//! ```

use super::sequence::Seq;

/// Segments that may be under way at first (RFC 6928 §2).
const FIRST_SEGMENTS: u32 = 10;
/// Bytes that they may have together.
const FIRST_BYTES: u32 = 14_600;
/// A window that nothing limits.
const ANY: u32 = u32::MAX / 4;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Open,
    /// Losses that others told of are repaired, until this is acknowledged.
    Repairing(Seq),
    /// A timeout has shown all to be lost, until this is acknowledged.
    Restarting(Seq),
}

/// The congestion window of a connection, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Congestion {
    segment: u32,
    window: u32,
    /// Where slow start ends.
    threshold: u32,
    mode: Mode,
    /// What was under way when repairing began.
    flight: u32,
    /// What arrived since, and what was sent.
    arrived: u32,
    sent: u32,
    /// Acknowledged towards the next segment that is added.
    credit: u32,
}

impl Congestion {
    /// A connection that begins; `cautious` when its SYN was lost more than once (RFC 6928 §2: one segment then).
    pub(super) fn new(segment: u32, cautious: bool) -> Congestion {
        Congestion {
            segment,
            window: if cautious {
                segment
            } else {
                first_window(segment)
            },
            threshold: ANY,
            mode: Mode::Open,
            flight: 0,
            arrived: 0,
            sent: 0,
            credit: 0,
        }
    }

    /// Bytes that may be under way.
    #[inline]
    pub(super) const fn window(&self) -> u32 {
        self.window
    }

    /// Whether losses are being repaired, of whatever kind.
    #[inline]
    pub(super) fn is_repairing(&self) -> bool {
        self.mode != Mode::Open
    }

    /// The path takes segments of so many bytes.
    pub(super) const fn set_segment(&mut self, segment: u32) {
        self.segment = segment;
    }

    /// So many bytes were sent.
    #[inline]
    pub(super) fn on_sent(&mut self, bytes: u32) {
        if matches!(self.mode, Mode::Repairing(_)) {
            self.sent = self.sent.saturating_add(bytes);
        }
    }

    /// Losses were seen; `flight` is unacknowledged, up to `until`, and of that `in_flight` is not lost. While others are being repaired they cost nothing more.
    pub(super) fn on_loss(&mut self, (flight, in_flight): (u32, u32), until: Seq) {
        if self.mode == Mode::Open {
            self.threshold = (flight / 2).max(2 * self.segment);
            self.mode = Mode::Repairing(until);
            (self.flight, self.arrived, self.sent) = (flight.max(1), 0, 0);
            // The first repair waits for nothing, the others for what arrives.
            self.window = in_flight.saturating_add(self.segment).min(ANY);
        }
    }

    /// Nothing was heard for too long (RFC 5681 §3.1). A timeout of what a timeout sent halves nothing once more.
    pub(super) fn on_timeout(&mut self, flight: u32, until: Seq) {
        if !matches!(self.mode, Mode::Restarting(_)) {
            self.threshold = (flight / 2).max(2 * self.segment);
        }
        self.window = self.segment;
        self.credit = 0;
        self.mode = Mode::Restarting(until);
    }

    /// A probe has repaired the loss of the last segment (RFC 8985 §7.4): the path was too full all the same.
    pub(super) fn on_tail_repaired(&mut self, flight: u32) {
        if self.mode == Mode::Open {
            self.threshold = (flight / 2).max(2 * self.segment);
            self.window = self.threshold;
        }
    }

    /// Nothing was under way for longer than a timeout (RFC 5681 §4.1): what the path holds is not known any more.
    pub(super) fn on_idle(&mut self) {
        if self.mode == Mode::Open {
            self.threshold = self.threshold.max(self.window / 4 * 3);
            self.window = self.window.min(first_window(self.segment));
        }
    }

    /// An acknowledgement told of `delivered` new bytes, when `before` were under way, and `in_flight` are still; all before
    /// `una` has arrived. `news`: it moved on and showed no further loss. `limited`: more would have been sent if it might.
    pub(super) fn on_ack(
        &mut self,
        delivered: u32,
        (before, in_flight): (u32, u32),
        una: Seq,
        news: bool,
        limited: bool,
    ) {
        match self.mode {
            Mode::Repairing(until) if !una.is_before(until) => {
                self.mode = Mode::Open;
                self.window = self.threshold;
            }
            Mode::Repairing(_) => self.repair(delivered, in_flight, news),
            Mode::Restarting(until) => {
                if !una.is_before(until) {
                    self.mode = Mode::Open;
                }
                self.grow(delivered);
            }
            Mode::Open => {
                let slow_start = self.window < self.threshold;
                // A window that was not used says nothing of the path (RFC 7661; Linux `tcp_is_cwnd_limited`).
                if limited || (slow_start && self.window < before.saturating_mul(2)) {
                    self.grow(delivered);
                }
            }
        }
    }

    /// Slow start by what was acknowledged, then a segment for each window (RFC 5681 §3.1, RFC 3465).
    fn grow(&mut self, delivered: u32) {
        let slow = delivered.min(self.threshold.saturating_sub(self.window));
        self.window = self.window.saturating_add(slow).min(ANY);
        if self.window < self.threshold {
            return;
        }
        self.credit = self.credit.saturating_add(delivered - slow);
        if self.credit >= self.window {
            self.credit -= self.window;
            self.window = self.window.saturating_add(self.segment).min(ANY);
        }
    }

    /// What may be sent in place of what arrived (RFC 9937 §6).
    fn repair(&mut self, delivered: u32, in_flight: u32, news: bool) {
        self.arrived = self.arrived.saturating_add(delivered);
        let count = if in_flight > self.threshold {
            let share = u64::from(self.arrived) * u64::from(self.threshold);
            let share = share.div_ceil(u64::from(self.flight));
            u32::try_from(share)
                .unwrap_or(ANY)
                .saturating_sub(self.sent)
        } else {
            let mut limit = self.arrived.saturating_sub(self.sent).max(delivered);
            if news {
                limit = limit.saturating_add(self.segment);
            }
            (self.threshold - in_flight).min(limit)
        };
        // The first thing that a repair sends waits for nothing.
        let least = if self.sent == 0 { self.segment } else { 0 };
        self.window = in_flight.saturating_add(count.max(least)).min(ANY);
    }
}

fn first_window(segment: u32) -> u32 {
    (FIRST_SEGMENTS * segment).min(FIRST_BYTES.max(2 * segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_000;

    fn acked(congestion: &mut Congestion, bytes: u32, before: u32, una: u32) {
        congestion.on_ack(bytes, (before, before - bytes), Seq(una), true, true);
    }

    #[test]
    fn it_begins_with_ten_segments_and_doubles_in_a_round_trip() {
        let mut congestion = Congestion::new(MSS, false);
        assert_eq!(congestion.window(), 10_000);
        (1..=5).for_each(|n| acked(&mut congestion, 2_000, 10_000, n * 2_000));
        assert_eq!(congestion.window(), 20_000);
        assert_eq!(Congestion::new(1_460, false).window(), 14_600);
        assert_eq!(Congestion::new(8_960, false).window(), 17_920);
        assert_eq!(Congestion::new(MSS, true).window(), MSS);
    }

    #[test]
    fn a_window_that_is_not_used_does_not_grow() {
        let mut congestion = Congestion::new(MSS, false);
        congestion.on_ack(2_000, (2_000, 0), Seq(2_000), true, false);
        assert_eq!(congestion.window(), 10_000);
    }

    #[test]
    fn a_loss_halves_and_what_is_sent_meanwhile_follows_what_arrives() {
        let mut congestion = Congestion::new(MSS, false);
        let mut in_flight = 16_000;
        congestion.on_loss((20_000, in_flight), Seq(20_000));
        assert_eq!(congestion.window(), 17_000, "one segment at once");
        congestion.on_loss((20_000, in_flight), Seq(30_000));
        let mut sent = 0;
        // One lost and three arrived before; each of the other sixteen tells of itself.
        for _ in 0..16 {
            in_flight -= MSS;
            congestion.on_ack(MSS, (in_flight + MSS, in_flight), Seq(0), false, true);
            while in_flight + MSS <= congestion.window() {
                in_flight += MSS;
                sent += 1;
                congestion.on_sent(MSS);
            }
        }
        assert_eq!(
            (in_flight, sent),
            (10_000, 10),
            "half of what was under way"
        );
        congestion.on_ack(MSS, (in_flight, in_flight), Seq(20_000), true, true);
        assert_eq!(
            (congestion.window(), congestion.is_repairing()),
            (10_000, false)
        );
        // Then a segment for each window.
        (0..10).for_each(|_| acked(&mut congestion, MSS, 10_000, 21_000));
        assert_eq!(congestion.window(), 11_000);
    }

    #[test]
    fn a_timeout_begins_with_one_segment_and_halves_once() {
        let mut congestion = Congestion::new(MSS, false);
        congestion.on_timeout(16_000, Seq(16_000));
        congestion.on_timeout(16_000, Seq(16_000));
        assert_eq!(congestion.window(), MSS);
        acked(&mut congestion, MSS, MSS, 1_000);
        assert_eq!(congestion.window(), 2 * MSS);
        acked(&mut congestion, 10_000, 14_000, 16_000);
        assert!(!congestion.is_repairing());
        assert_eq!(congestion.window(), 8_000, "where slow start ends");
        acked(&mut congestion, 4_000, 8_000, 20_000);
        assert_eq!(
            congestion.window(),
            9_000,
            "with the 4,000 of before, a window"
        );
    }

    #[test]
    fn idleness_and_a_repaired_tail_make_it_smaller() {
        let mut congestion = Congestion::new(MSS, false);
        acked(&mut congestion, 30_000, 30_000, 30_000);
        congestion.on_idle();
        assert_eq!(congestion.window(), 10_000);
        congestion.on_tail_repaired(8_000);
        assert_eq!(congestion.window(), 4_000);
    }
}
