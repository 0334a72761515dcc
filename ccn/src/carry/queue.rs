//! Frames that wait for their stream: bounded in bytes and in time, the oldest goes first.
//!
//! Probes overtake what else waits and are the last to make room: one that waits behind a burst for longer than its session has
//! patience would have a path that is merely busy taken for dead, and all of its packets dropped.
//!
//! A stream that begins ends the one before it, so that each frame is sent once and a peer that calls again need
//! not wait until its dead connection is noticed.
//!
//! Invariant: offered = sent + dropped + waiting.

use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::VecDeque;

use anyedge_net::time::Instant;

use super::{CarryCounts, Frame};
use crate::probe::is_probe;

/// An IP packet of any size, and a GRE header with key.
const FRAME_BYTES_MAX: usize = 65_535 + 8;

pub(super) struct Queue {
    probes: VecDeque<(Instant, Frame)>,
    packets: VecDeque<(Instant, Frame)>,
    bytes: usize,
    bytes_max: usize,
    wait_max: Duration,
    stream: u64,
    closed: bool,
    waker: Option<Waker>,
    counts: CarryCounts,
}

impl Queue {
    pub(super) fn new(bytes_max: usize, wait_max: Duration) -> Queue {
        Queue {
            probes: VecDeque::new(),
            packets: VecDeque::new(),
            bytes: 0,
            bytes_max,
            wait_max,
            stream: 0,
            closed: false,
            waker: None,
            counts: CarryCounts::default(),
        }
    }

    pub(super) const fn counts(&self) -> CarryCounts {
        self.counts
    }

    /// Queues `frame`; whom to wake.
    pub(super) fn push(&mut self, now: Instant, frame: Frame) -> Option<Waker> {
        self.counts.offered += 1;
        let bytes = frame.gre.len();
        if bytes > FRAME_BYTES_MAX.min(self.bytes_max) {
            self.counts.dropped_full += 1;
            return None;
        }
        while self.bytes + bytes > self.bytes_max {
            let oldest = self.packets.pop_front();
            let oldest = oldest.or_else(|| self.probes.pop_front());
            self.bytes -= oldest.map_or(0, |(_, frame)| frame.gre.len());
            self.counts.dropped_full += 1;
        }
        self.bytes += bytes;
        let lane = match is_probe(&frame.gre) {
            true => &mut self.probes,
            false => &mut self.packets,
        };
        lane.push_back((now, frame));
        self.waker.take()
    }

    /// A stream begins: its number, and the one before it to wake.
    pub(super) fn begin_stream(&mut self) -> (u64, Option<Waker>) {
        self.stream += 1;
        self.counts.streams += 1;
        (self.stream, self.waker.take())
    }

    /// Whether no other stream has begun since, and this one has not ended.
    pub(super) const fn is_current(&self, stream: u64) -> bool {
        self.stream == stream && !self.closed
    }

    /// No stream sends from here on: whom to wake.
    pub(super) const fn close(&mut self) -> Option<Waker> {
        self.closed = true;
        self.end_current()
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// `stream` is over, if it is not already: whom to wake. Frames wait for the next one.
    pub(super) fn end_stream(&mut self, stream: u64) -> Option<Waker> {
        if self.is_current(stream) {
            self.end_current()
        } else {
            None
        }
    }

    /// Whatever stream there is, is over: whom to wake.
    pub(super) const fn end_current(&mut self) -> Option<Waker> {
        self.stream += 1;
        self.waker.take()
    }

    /// Whether `stream` is over; if not, `context` is woken when it may be.
    pub(super) fn poll_ended(&mut self, context: &Context<'_>, stream: u64) -> Poll<()> {
        if !self.is_current(stream) {
            return Poll::Ready(());
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// What `stream` sends next; nothing more when another has begun.
    pub(super) fn poll_batch(
        &mut self,
        context: &Context<'_>,
        stream: u64,
        now: Instant,
        bytes_max: usize,
    ) -> Poll<Option<Vec<Frame>>> {
        if !self.is_current(stream) {
            return Poll::Ready(None);
        }
        let mut batch = Vec::new();
        let mut room = bytes_max;
        for lane in [&mut self.probes, &mut self.packets] {
            while let Some((since, frame)) = lane.front() {
                let bytes = frame.gre.len();
                let is_late = now.since(*since) > self.wait_max;
                if !is_late && !batch.is_empty() && bytes > room {
                    break;
                }
                let oldest = lane.pop_front();
                self.bytes -= bytes;
                if is_late {
                    self.counts.dropped_late += 1;
                } else {
                    room = room.saturating_sub(bytes);
                    batch.extend(oldest.map(|(_, frame)| frame));
                    self.counts.sent += 1;
                }
            }
        }
        if batch.is_empty() {
            self.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Some(batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(500);
    /// A GRE header with a key, and the protocol type of probes.
    const OF_A_PROBE: [u8; 8] = [0x20, 0, 0x88, 0xb5, 0, 0, 0, 0];

    fn frame(bytes: usize, tos: u8) -> Frame {
        let gre = vec![tos; bytes].into();
        Frame { gre, tos }
    }

    fn batch(queue: &mut Queue, stream: u64, now: Instant, bytes: usize) -> Option<Vec<u8>> {
        let context = Context::from_waker(Waker::noop());
        match queue.poll_batch(&context, stream, now, bytes) {
            Poll::Ready(Some(batch)) => Some(batch.iter().map(|frame| frame.tos).collect()),
            Poll::Ready(None) => None,
            Poll::Pending => Some(Vec::new()),
        }
    }

    #[test]
    fn a_full_queue_drops_its_oldest_frames() {
        let mut queue = Queue::new(3_000, WAIT);
        for tos in 1..=5 {
            queue.push(Instant::ZERO, frame(1_000, tos));
        }
        let (stream, _) = queue.begin_stream();
        let sent = batch(&mut queue, stream, Instant::ZERO, 10_000);
        assert_eq!(sent, Some(vec![3, 4, 5]));
        assert_eq!(queue.counts().dropped_full, 2);
        queue.push(Instant::ZERO, frame(3_001, 6));
        assert_eq!(queue.counts().dropped_full, 3, "no room for it at all");
    }

    #[test]
    fn a_frame_that_waited_too_long_is_not_sent() {
        let mut queue = Queue::new(10_000, WAIT);
        queue.push(Instant::ZERO, frame(10, 1));
        let later = Instant::ZERO + Duration::from_millis(1);
        queue.push(later, frame(10, 2));
        let (stream, _) = queue.begin_stream();
        let sent = batch(&mut queue, stream, later + WAIT, 10_000);
        assert_eq!(sent, Some(vec![2]));
        let counts = queue.counts();
        assert_eq!(
            (counts.offered, counts.sent, counts.dropped_late),
            (2, 1, 1)
        );
    }

    #[test]
    fn a_batch_is_as_large_as_it_may_be_or_one_frame() {
        let mut queue = Queue::new(10_000, WAIT);
        for (bytes, tos) in [(600, 1), (400, 2), (1, 3), (2_000, 4)] {
            queue.push(Instant::ZERO, frame(bytes, tos));
        }
        let (stream, _) = queue.begin_stream();
        let mut next = || batch(&mut queue, stream, Instant::ZERO, 1_000);
        assert_eq!(next(), Some(vec![1, 2]));
        assert_eq!(next(), Some(vec![3]));
        assert_eq!(next(), Some(vec![4]));
        assert_eq!(next(), Some(vec![]));
    }

    #[test]
    fn a_probe_overtakes_packets_and_is_the_last_to_make_room() {
        let probe = |tos| Frame {
            gre: [&OF_A_PROBE[..], &[0; 92]].concat().into(),
            tos,
        };
        let mut queue = Queue::new(1_000, WAIT);
        queue.push(Instant::ZERO, frame(450, 1));
        queue.push(Instant::ZERO, probe(2));
        queue.push(Instant::ZERO, frame(450, 3));
        queue.push(Instant::ZERO, probe(4));
        let (stream, _) = queue.begin_stream();
        assert_eq!(queue.counts().dropped_full, 1, "the oldest packet");
        let mut next = |now, bytes| batch(&mut queue, stream, now, bytes);
        assert_eq!(next(Instant::ZERO, 150), Some(vec![2]));
        assert_eq!(next(Instant::ZERO, 600), Some(vec![4, 3]));
        for tos in 1..=11 {
            queue.push(Instant::ZERO, probe(tos));
        }
        assert_eq!(queue.counts().dropped_full, 2, "the oldest probe");
        let late = Instant::ZERO + WAIT + Duration::from_nanos(1);
        assert_eq!(batch(&mut queue, stream, late, 1_000), Some(vec![]));
        assert_eq!(queue.counts().dropped_late, 10);
        assert_eq!(queue.counts().waiting(), 0);
    }

    #[test]
    fn a_stream_that_begins_ends_the_one_before() {
        let mut queue = Queue::new(10_000, WAIT);
        let (first, _) = queue.begin_stream();
        let (second, _) = queue.begin_stream();
        queue.push(Instant::ZERO, frame(1, 1));
        assert_eq!(batch(&mut queue, first, Instant::ZERO, 100), None);
        assert_eq!(batch(&mut queue, second, Instant::ZERO, 100), Some(vec![1]));
    }
}
