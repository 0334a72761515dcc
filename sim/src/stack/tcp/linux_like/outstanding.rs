//! What was sent and is not acknowledged, segment by segment: who has it, what is lost, what is under way.
//!
//! The other end tells what it has beyond a gap (RFC 2018). What was sent before something that arrived is lost, at once
//! when three segments behind it arrived and otherwise after a quarter of a round trip; that holds for segments that were
//! sent again too (RACK, RFC 8985 §6.2).
//!
//! Invariant: segments are in order and without gaps, `in_flight` is the bytes of those that are on their way.

use std::collections::VecDeque;
use std::time::Duration;

use anyedge_net::time::Instant;

use super::reassembly::Range;
use super::sequence::Seq;

/// Segments behind one that arrived: then it is not merely late (RFC 5681 §3.2, DupThresh).
const LATER_MAX: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    UnderWay,
    Arrived,
    Lost,
}

/// A segment: where it begins, and its bytes, SYN and FIN among them.
#[derive(Clone, Copy, Debug)]
struct Sent {
    from: Seq,
    len: u32,
    fate: Fate,
    /// It was sent more than once.
    again: bool,
    /// When it was sent last.
    at: Instant,
}

impl Sent {
    const fn end(&self) -> Seq {
        Seq(self.from.0.wrapping_add(self.len))
    }
}

/// What an acknowledgement has brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delivered {
    /// Bytes of which it was not known before.
    pub(super) bytes: u32,
    /// The round trip of the segment that was sent last among those that were sent once.
    pub(super) round_trip: Option<Duration>,
}

/// Of what arrived, that which was sent last.
#[derive(Clone, Copy, Debug)]
struct Newest {
    at: Instant,
    end: Seq,
    round_trip: Duration,
}

/// The segments of a connection that are not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    segments: VecDeque<Sent>,
    in_flight: u32,
    arrived: usize,
    lost: usize,
    newest: Option<Newest>,
    /// The highest place that arrived.
    highest: Seq,
    /// A segment arrived behind later ones though it was sent once: the path changes the order.
    reordered: bool,
}

impl Outstanding {
    pub(super) fn clear(&mut self) {
        self.segments.clear();
        *self = Outstanding {
            segments: std::mem::take(&mut self.segments),
            ..Outstanding::default()
        };
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Segments.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.segments.len()
    }

    /// Bytes that are on their way, as far as is known.
    #[inline]
    pub(super) const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Whether something behind a gap arrived.
    #[inline]
    pub(super) const fn has_gaps(&self) -> bool {
        self.arrived > 0
    }

    #[inline]
    pub(super) const fn has_lost(&self) -> bool {
        self.lost > 0
    }

    /// Whether a look for losses can find any.
    #[inline]
    fn may_have_losses(&self) -> bool {
        self.arrived > 0 || self.segments.front().is_some_and(|first| first.again)
    }

    /// Notes a segment that is sent for the first time, behind all others.
    #[inline]
    pub(super) fn push(&mut self, from: Seq, len: u32, now: Instant) {
        self.in_flight += len;
        self.segments.push_back(Sent {
            from,
            len,
            fate: Fate::UnderWay,
            again: false,
            at: now,
        });
    }

    /// All before `until` is acknowledged.
    #[inline]
    pub(super) fn acknowledge(
        &mut self,
        until: Seq,
        now: Instant,
        shortest: Duration,
    ) -> Delivered {
        let mut delivered = Delivered::default();
        while let Some(first) = self.segments.front().copied() {
            if !first.from.is_before(until) {
                break;
            }
            if until.is_before(first.end()) {
                self.trim_first(until, &mut delivered);
                break;
            }
            self.segments.pop_front();
            match first.fate {
                Fate::Arrived => self.arrived -= 1,
                fate => {
                    if fate == Fate::Lost {
                        self.lost -= 1;
                    } else {
                        self.in_flight -= first.len;
                    }
                    self.note(&first, now, shortest, &mut delivered);
                }
            }
        }
        delivered
    }

    /// A part of the first segment is acknowledged.
    fn trim_first(&mut self, until: Seq, delivered: &mut Delivered) {
        let Some(first) = self.segments.front_mut() else {
            return;
        };
        let count = first.from.until(until);
        first.from = until;
        first.len -= count;
        match first.fate {
            Fate::UnderWay => {
                self.in_flight -= count;
                delivered.bytes += count;
            }
            Fate::Lost => delivered.bytes += count,
            Fate::Arrived => {}
        }
    }

    /// The other end has what lies behind a gap.
    pub(super) fn arrived(
        &mut self,
        (from, to): Range,
        now: Instant,
        shortest: Duration,
    ) -> Delivered {
        let mut delivered = Delivered::default();
        let first = self
            .segments
            .partition_point(|sent| sent.from.is_before(from));
        for at in first..self.segments.len() {
            let sent = self.segments[at];
            if to.is_before(sent.end()) {
                break;
            }
            match sent.fate {
                Fate::Arrived => continue,
                Fate::UnderWay => self.in_flight -= sent.len,
                Fate::Lost => self.lost -= 1,
            }
            self.segments[at].fate = Fate::Arrived;
            self.arrived += 1;
            self.note(&sent, now, shortest, &mut delivered);
        }
        delivered
    }

    /// A segment arrived.
    fn note(&mut self, sent: &Sent, now: Instant, shortest: Duration, delivered: &mut Delivered) {
        delivered.bytes += sent.len;
        let round_trip = now.since(sent.at);
        if sent.again {
            // It may have been the first one that arrived (§6.2, step 2).
            if round_trip < shortest {
                return;
            }
        } else {
            delivered.round_trip = Some(round_trip);
            self.reordered |= self.newest.is_some() && sent.end().is_before(self.highest);
        }
        self.highest = match self.newest {
            None => sent.end(),
            Some(_) => self.highest.later(sent.end()),
        };
        let is_newer = self.newest.is_none_or(|newest| {
            newest.at < sent.at || (newest.at == sent.at && newest.end.is_before(sent.end()))
        });
        if is_newer {
            self.newest = Some(Newest {
                at: sent.at,
                end: sent.end(),
                round_trip,
            });
        }
    }

    /// Finds what is lost; `true` when there is something new. Also says when what is merely late will be. `repairing`: losses are
    /// being repaired already.
    pub(super) fn find_losses(
        &mut self,
        now: Instant,
        shortest: Duration,
        repairing: bool,
    ) -> (bool, Option<Instant>) {
        let Some(newest) = self.newest.filter(|_| self.may_have_losses()) else {
            return (false, None);
        };
        let is_sure = !self.reordered && (repairing || self.arrived >= LATER_MAX);
        let patience = if is_sure {
            Duration::ZERO
        } else {
            shortest / 4
        };
        let (mut found, mut next) = (false, None::<Instant>);
        for sent in &mut self.segments {
            let is_earlier =
                sent.at < newest.at || (sent.at == newest.at && sent.end().is_before(newest.end));
            if sent.fate != Fate::UnderWay || !is_earlier {
                continue;
            }
            let due = sent.at + newest.round_trip + patience;
            if due <= now {
                sent.fate = Fate::Lost;
                self.in_flight -= sent.len;
                self.lost += 1;
                found = true;
            } else {
                next = Some(next.map_or(due, |next| next.min(due)));
            }
        }
        (found, next)
    }

    /// What has not arrived is lost, after a timeout (RFC 6298 §5.4, RFC 8985 §6.3).
    pub(super) fn lose_all(&mut self) {
        for sent in &mut self.segments {
            if sent.fate == Fate::UnderWay {
                sent.fate = Fate::Lost;
                self.lost += 1;
            }
        }
        self.in_flight = 0;
    }

    /// The first segment is lost; `true` when that is news. For an other end that does not tell what it has.
    pub(super) fn lose_first(&mut self) -> bool {
        match self.segments.front_mut() {
            Some(first) if first.fate == Fate::UnderWay => {
                first.fate = Fate::Lost;
                self.in_flight -= first.len;
                self.lost += 1;
                true
            }
            _ => false,
        }
    }

    /// Segments of more than `len` bytes did not fit through the path.
    pub(super) fn lose_longer(&mut self, len: u32) {
        for sent in &mut self.segments {
            if sent.fate == Fate::UnderWay && sent.len > len {
                sent.fate = Fate::Lost;
                self.in_flight -= sent.len;
                self.lost += 1;
            }
        }
    }

    /// The first lost segment: where it begins, and its bytes.
    pub(super) fn first_lost(&self) -> Option<(Seq, u32)> {
        if self.lost == 0 {
            return None;
        }
        let lost = |sent: &&Sent| sent.fate == Fate::Lost;
        let sent = self.segments.iter().find(lost)?;
        Some((sent.from, sent.len))
    }

    /// The last segment that has not arrived.
    pub(super) fn last_missing(&self) -> Option<(Seq, u32)> {
        let missing = |sent: &&Sent| sent.fate != Fate::Arrived;
        let sent = self.segments.iter().rev().find(missing)?;
        Some((sent.from, sent.len))
    }

    /// The first `len` bytes of the segment that begins at `from` are sent again; the rest of it, if any, is a segment of
    /// its own from then on.
    pub(super) fn sent_again(&mut self, from: Seq, len: u32, now: Instant) {
        let at = self
            .segments
            .partition_point(|sent| sent.from.is_before(from));
        let Some(sent) = self.segments.get_mut(at) else {
            return;
        };
        let rest = Sent {
            from: from + len,
            len: sent.len.saturating_sub(len),
            ..*sent
        };
        match sent.fate {
            Fate::Lost => {
                self.in_flight += len;
                if rest.len == 0 {
                    self.lost -= 1;
                }
            }
            Fate::UnderWay => {}
            Fate::Arrived => return,
        }
        *sent = Sent {
            len: sent.len - rest.len,
            fate: Fate::UnderWay,
            again: true,
            at: now,
            ..*sent
        };
        if rest.len > 0 {
            self.segments.insert(at + 1, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIP: Duration = Duration::from_millis(100);

    const fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    /// Segments of 100 bytes from 0 on, one a millisecond.
    fn sent(count: u32) -> Outstanding {
        let mut outstanding = Outstanding::default();
        (0..count).for_each(|n| outstanding.push(Seq(n * 100), 100, at(n.into())));
        outstanding
    }

    fn arrived(outstanding: &mut Outstanding, from: u32, to: u32, ms: u64) -> u32 {
        outstanding
            .arrived((Seq(from), Seq(to)), at(ms), TRIP)
            .bytes
    }

    #[test]
    fn what_is_acknowledged_is_gone_and_measured_by_its_newest_segment() {
        let mut outstanding = sent(5);
        let delivered = outstanding.acknowledge(Seq(250), at(110), TRIP);
        assert_eq!(delivered.bytes, 250);
        assert_eq!(delivered.round_trip, Some(Duration::from_millis(109)));
        assert_eq!((outstanding.in_flight(), outstanding.count()), (250, 3));
        assert_eq!(outstanding.find_losses(at(110), TRIP, false), (false, None));
    }

    #[test]
    fn three_segments_behind_it_make_one_lost_and_fewer_after_a_quarter_of_a_round_trip() {
        let mut outstanding = sent(6);
        assert_eq!(arrived(&mut outstanding, 100, 200, 101), 100);
        let late = at(100) + TRIP / 4;
        assert_eq!(
            outstanding.find_losses(at(101), TRIP, false),
            (false, Some(late))
        );
        assert_eq!(
            arrived(&mut outstanding, 100, 200, 102),
            0,
            "of that it was told before"
        );
        assert_eq!(arrived(&mut outstanding, 100, 400, 103), 200);
        assert_eq!(outstanding.find_losses(at(103), TRIP, false), (true, None));
        assert_eq!(
            (outstanding.first_lost(), outstanding.in_flight()),
            (Some((Seq(0), 100)), 200)
        );

        let mut outstanding = sent(2);
        arrived(&mut outstanding, 100, 200, 101);
        assert_eq!(outstanding.find_losses(late, TRIP, false), (true, None));
    }

    #[test]
    fn a_segment_that_was_sent_again_is_lost_again_when_later_ones_arrive() {
        let mut outstanding = sent(5);
        arrived(&mut outstanding, 100, 400, 103);
        assert!(outstanding.find_losses(at(103), TRIP, false).0);
        outstanding.sent_again(Seq(0), 100, at(104));
        assert_eq!(outstanding.in_flight(), 200);
        outstanding.push(Seq(500), 100, at(105));
        assert_eq!(
            arrived(&mut outstanding, 400, 500, 106),
            100,
            "sent before it: says nothing"
        );
        assert_eq!(outstanding.find_losses(at(106), TRIP, true), (false, None));
        arrived(&mut outstanding, 500, 600, 205);
        assert_eq!(outstanding.find_losses(at(205), TRIP, true), (true, None));
        assert_eq!(outstanding.first_lost(), Some((Seq(0), 100)));
        assert_eq!(outstanding.in_flight(), 0);
    }

    #[test]
    fn what_arrives_late_though_sent_once_makes_it_patient() {
        let mut outstanding = sent(6);
        arrived(&mut outstanding, 100, 200, 101);
        outstanding.acknowledge(Seq(200), at(102), TRIP);
        arrived(&mut outstanding, 300, 600, 105);
        let (found, next) = outstanding.find_losses(at(105), TRIP, false);
        assert_eq!((found, next), (false, Some(at(102) + TRIP / 4)));
    }

    #[test]
    fn a_segment_too_long_for_the_path_is_sent_in_pieces() {
        let mut outstanding = sent(2);
        outstanding.lose_longer(60);
        assert_eq!(
            (outstanding.in_flight(), outstanding.first_lost()),
            (0, Some((Seq(0), 100)))
        );
        outstanding.sent_again(Seq(0), 60, at(10));
        assert_eq!(
            (outstanding.in_flight(), outstanding.first_lost()),
            (60, Some((Seq(60), 40)))
        );
        outstanding.sent_again(Seq(60), 40, at(10));
        assert_eq!(
            (outstanding.in_flight(), outstanding.first_lost()),
            (100, Some((Seq(100), 100)))
        );
        assert_eq!(outstanding.acknowledge(Seq(200), at(120), TRIP).bytes, 200);
        assert!(outstanding.is_empty() && !outstanding.has_lost() && outstanding.in_flight() == 0);
    }

    #[test]
    fn a_timeout_loses_what_has_not_arrived_and_no_measurement_is_taken_of_it() {
        let mut outstanding = sent(4);
        arrived(&mut outstanding, 200, 300, 102);
        outstanding.lose_all();
        assert_eq!(
            (outstanding.in_flight(), outstanding.last_missing()),
            (0, Some((Seq(300), 100)))
        );
        outstanding.sent_again(Seq(0), 100, at(300));
        let delivered = outstanding.acknowledge(Seq(100), at(350), TRIP);
        assert_eq!((delivered.bytes, delivered.round_trip), (100, None));
        assert_eq!(outstanding.first_lost(), Some((Seq(100), 100)));
    }
}
