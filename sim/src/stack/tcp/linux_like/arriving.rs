//! What a segment that arrives does to a connection (RFC 9293 §3.10.7). Nothing is sent here.

use std::time::Duration;

use anyedge_net::flow::Family;
use anyedge_net::time::Instant;
use anyedge_net::wire::tcp::{ACK, FIN, RST, SYN};

use super::congestion::Congestion;
use super::outstanding::Delivered;
use super::segment::{Arrival, Told};
use super::sequence::Seq;
use super::{Connection, DELAYED_ACK, MSS_MIN, MSS_UNTOLD, Reply, Reset, State, Wait};

/// How often a segment without data that is outside of the window is answered at most.
const CORRECTION_EVERY: Duration = Duration::from_millis(500);
/// Acknowledgements that say nothing: then a segment is lost (RFC 5681 §3.2).
const SAME_ACKS_MAX: u8 = 3;

impl Connection {
    /// Takes in one segment, from its TCP header on, whose checksum holds and whose ends are this connection's.
    pub(in crate::stack::tcp) fn receive(&mut self, l4: &[u8], now: Instant) {
        let Some(arrival) = Arrival::parse(l4) else {
            return;
        };
        match self.state {
            State::Closed | State::TimeWait => {}
            State::Listen => self.on_syn(&arrival),
            State::SynSent => self.on_answer_to_syn(&arrival, now),
            State::SynReceived
            | State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck => self.on_synchronized(&arrival, now),
        }
    }

    /// A SYN for a listener.
    fn on_syn(&mut self, arrival: &Arrival<'_>) {
        self.learn(arrival);
        self.state = State::SynReceived;
    }

    /// What a SYN tells.
    fn learn(&mut self, arrival: &Arrival<'_>) {
        let Told { mss, scale, sack } = arrival.told;
        let untold = MSS_UNTOLD[usize::from(self.local.family() == Family::V6)];
        self.their_mss = mss.map_or(untold, u32::from).max(MSS_MIN);
        self.mss = self.mss_announced.min(self.their_mss);
        match scale {
            Some(scale) => self.their_scale = scale,
            None => self.our_scale = 0,
        }
        self.sack = sack;
        self.expected = arrival.seq + 1;
        (self.edge, self.told) = (self.expected, self.expected);
        self.window = arrival.window.into();
        self.window_max = self.window;
        self.window_by = (arrival.seq, arrival.ack);
    }

    /// Ours is acknowledged: the connection is open.
    fn establish(&mut self) {
        self.congestion = Congestion::new(self.mss, self.syns_lost > 1);
        if self.state != State::FinWait1 {
            self.state = State::Established;
        }
    }

    /// §3.10.7.3.
    fn on_answer_to_syn(&mut self, arrival: &Arrival<'_>, now: Instant) {
        let acknowledges = arrival.has(ACK);
        if acknowledges && !self.is_new(arrival.ack) {
            if !arrival.has(RST) {
                self.refuse(arrival);
            }
            return;
        }
        if arrival.has(RST) {
            if acknowledges {
                self.state = State::Closed;
            }
            return;
        }
        if !arrival.has(SYN) {
            return;
        }
        self.learn(arrival);
        if acknowledges {
            self.on_ack(arrival, now);
            self.establish();
            self.reply = Reply::Now;
        } else {
            // Both ends opened at once: our SYN goes again, with an acknowledgement.
            self.state = State::SynReceived;
            self.outstanding.lose_all();
        }
    }

    /// Whether `ack` acknowledges something that was not acknowledged and was sent.
    fn is_new(&self, ack: Seq) -> bool {
        self.una.is_before(ack) && !self.next.is_before(ack)
    }

    /// An acknowledgement of what was never sent is of another connection.
    const fn refuse(&mut self, arrival: &Arrival<'_>) {
        self.reset = Some(Reset {
            seq: arrival.ack,
            acknowledges: false,
        });
    }

    /// §3.10.7.4.
    fn on_synchronized(&mut self, arrival: &Arrival<'_>, now: Instant) {
        let controls = u32::from(arrival.has(SYN)) + u32::from(arrival.has(FIN));
        let end = arrival.seq + (arrival.payload.len() as u32 + controls);
        if end.is_before(self.expected) || self.edge.is_before(arrival.seq) {
            if !arrival.has(RST) {
                self.on_outside(arrival, end, now);
            }
            return;
        }
        if arrival.has(RST) {
            // One that may be a guess is answered, and comes again with the right number (RFC 5961 §3.2).
            match arrival.seq == self.expected {
                true => self.state = State::Closed,
                false => self.reply = Reply::Now,
            }
            return;
        }
        if arrival.has(SYN) && !self.passes_syn(arrival) {
            return;
        }
        if !arrival.has(ACK) {
            return;
        }
        if self.una == self.first {
            if !self.is_new(arrival.ack) {
                self.refuse(arrival);
                return;
            }
            self.on_ack(arrival, now);
            self.establish();
        } else if self.next.is_before(arrival.ack) || arrival.ack.until(self.una) > self.window_max
        {
            // Of what was never sent, or of long ago (RFC 5961 §5.2).
            self.reply = Reply::Now;
            return;
        } else {
            self.on_ack(arrival, now);
        }
        self.on_window(arrival);
        self.on_fin_acknowledged();
        self.on_payload(arrival, now);
        self.on_fin();
    }

    /// A segment outside of the window is answered by what is expected: one without data not too often, or two ends that
    /// disagree would do so for ever (Linux `tcp_invalid_ratelimit`).
    fn on_outside(&mut self, arrival: &Arrival<'_>, end: Seq, now: Instant) {
        if arrival.payload.is_empty() {
            if now < self.corrects_at {
                return;
            }
            self.corrects_at = now + CORRECTION_EVERY;
        } else if end.is_before(self.expected) {
            self.reassembly.came_twice((arrival.seq, end));
        }
        self.reply = Reply::Now;
    }

    /// A SYN behind the first one; `true` when its acknowledgement counts, both ends having opened at once.
    fn passes_syn(&mut self, arrival: &Arrival<'_>) -> bool {
        if self.state != State::SynReceived {
            // RFC 5961 §4.2.
            self.reply = Reply::Now;
            return false;
        }
        if !arrival.has(ACK) {
            // Our answer to it was lost.
            self.outstanding.lose_all();
        }
        arrival.has(ACK)
    }

    fn on_window(&mut self, arrival: &Arrival<'_>) {
        let (seq, ack) = self.window_by;
        let is_newer = seq.is_before(arrival.seq)
            || (seq == arrival.seq && !arrival.ack.is_before(ack))
            || arrival.has(SYN);
        if !is_newer {
            return;
        }
        let scale = if arrival.has(SYN) {
            0
        } else {
            self.their_scale
        };
        self.window = u32::from(arrival.window) << scale;
        self.window_max = self.window_max.max(self.window);
        self.window_by = (arrival.seq, arrival.ack);
        if matches!(self.wait, Wait::Room(_)) {
            self.rearm = true;
        }
    }

    fn on_fin_acknowledged(&mut self) {
        if !self.is_fin_acknowledged() {
            return;
        }
        self.state = match self.state {
            State::FinWait1 => State::FinWait2,
            State::Closing => State::TimeWait,
            State::LastAck => State::Closed,
            other => other,
        };
    }

    /// An acknowledgement of what was sent, and what else it tells.
    fn on_ack(&mut self, arrival: &Arrival<'_>, now: Instant) {
        let shortest = self.trip.shortest();
        let before = self.outstanding.in_flight();
        let flight = self.una.until(self.next);
        let moved = self.una.is_before(arrival.ack);
        // What is acknowledged came before what lies behind a gap of the same segment.
        let mut delivered = Delivered::default();
        if moved {
            delivered = self.outstanding.acknowledge(arrival.ack, now, shortest);
            let bytes = (self.base.until(arrival.ack) as usize).min(self.send.len());
            self.send.pop(bytes);
            self.send.rewind();
            self.base = self.base + bytes as u32;
            self.una = arrival.ack;
        }
        let (behind, twice) = self.on_blocks(arrival, now);
        delivered.bytes += behind.bytes;
        delivered.round_trip = behind.round_trip.or(delivered.round_trip);
        if let Some(sample) = delivered.round_trip {
            self.trip.measured(sample);
        }
        let found = self.find_losses(arrival, moved, now);
        if found {
            let in_flight = self.outstanding.in_flight();
            self.congestion.on_loss((flight, in_flight), self.next);
            self.tail_probe = None;
        }
        self.on_tail(twice, flight);
        let in_flight = self.outstanding.in_flight();
        self.congestion.on_ack(
            delivered.bytes,
            (before, in_flight),
            self.una,
            moved && !found,
            self.limited,
        );
        if moved && !self.sack && self.congestion.is_repairing() {
            // What follows a repaired loss was lost too (RFC 6582 §3.2).
            self.outstanding.lose_first();
        }
        self.rearm |= moved || delivered.bytes > 0 || found;
    }

    /// What the other end has beyond gaps, and whether it tells that something came twice.
    fn on_blocks(&mut self, arrival: &Arrival<'_>, now: Instant) -> (Delivered, bool) {
        let mut all = Delivered::default();
        let mut twice = false;
        if !self.sack {
            return (all, twice);
        }
        let shortest = self.trip.shortest();
        for (from, to) in arrival.blocks() {
            if !arrival.ack.is_before(*to) {
                twice = true;
            } else if !from.is_before(self.una) && !self.next.is_before(*to) {
                let delivered = self.outstanding.arrived((*from, *to), now, shortest);
                all.bytes += delivered.bytes;
                all.round_trip = delivered.round_trip.or(all.round_trip);
            }
        }
        (all, twice)
    }

    /// Whether the acknowledgement shows a loss.
    fn find_losses(&mut self, arrival: &Arrival<'_>, moved: bool, now: Instant) -> bool {
        if self.sack {
            let repairing = self.congestion.is_repairing();
            let shortest = self.trip.shortest();
            let (found, late) = self.outstanding.find_losses(now, shortest, repairing);
            self.late = late;
            return found;
        }
        let window = u32::from(arrival.window) << self.their_scale;
        let is_same = !moved && arrival.payload.is_empty() && window == self.window;
        if moved {
            self.same_acks = 0;
        } else if is_same && !self.outstanding.is_empty() {
            self.same_acks = self.same_acks.saturating_add(1);
        }
        let repairing = self.congestion.is_repairing();
        self.same_acks == SAME_ACKS_MAX && !moved && !repairing && self.outstanding.lose_first()
    }

    /// Ends a probe of the tail, and draws its consequence (RFC 8985 §7.4).
    fn on_tail(&mut self, twice: bool, flight: u32) {
        let Some(probe) = self.tail_probe else {
            return;
        };
        let over = !self.una.is_before(probe.until);
        if over && probe.again && !twice {
            self.congestion.on_tail_repaired(flight);
        }
        if over || twice {
            self.tail_probe = None;
        }
    }

    /// The bytes that a segment carries.
    fn on_payload(&mut self, arrival: &Arrival<'_>, now: Instant) {
        let end = arrival.seq + arrival.payload.len() as u32;
        if arrival.has(FIN) {
            self.reply = Reply::Now;
        }
        if !self.takes_data() {
            if !arrival.payload.is_empty() {
                self.reply = Reply::Now;
            }
            return;
        }
        if arrival.has(FIN) {
            self.fin_at = Some(end);
        }
        if arrival.payload.is_empty() {
            return;
        }
        let known = arrival.seq.until(self.expected);
        if known > 0 {
            self.reassembly
                .came_twice((arrival.seq, end.earlier(self.expected)));
            self.reply = Reply::Now;
        }
        let new = arrival.payload.get(known as usize..).unwrap_or(&[]);
        let from = arrival.seq.later(self.expected);
        let ahead = self.expected.until(from) as usize;
        let new = &new[..new.len().min(self.receive.room().saturating_sub(ahead))];
        if new.is_empty() {
            self.reply = Reply::Now;
            return;
        }
        let at = self.receive.len() + ahead;
        self.receive.put(&mut self.memory, at, new);
        let behind = from + new.len() as u32;
        if ahead > 0 {
            self.reassembly.add((from, behind));
            self.reply = Reply::Now;
            return;
        }
        let filled = !self.reassembly.is_empty();
        let reached = if filled {
            self.reassembly.reaches(behind)
        } else {
            behind
        };
        self.receive.extend(self.expected.until(reached) as usize);
        self.expected = reached;
        self.payload_max = self.payload_max.max(arrival.payload.len() as u32);
        // Every second segment, or after a while (RFC 1122 §4.2.3.2); what fills a gap at once (RFC 5681 §4.2).
        if filled || self.told.until(self.expected) > self.payload_max {
            self.reply = Reply::Now;
        } else if self.reply == Reply::Nothing {
            self.reply = Reply::By(now + DELAYED_ACK);
        }
    }

    /// Their FIN, when all before it is there.
    fn on_fin(&mut self) {
        if self.finished || self.fin_at != Some(self.expected) {
            return;
        }
        self.state = match self.state {
            State::Established => State::CloseWait,
            State::FinWait1 => State::Closing,
            State::FinWait2 => State::TimeWait,
            _ => return,
        };
        self.finished = true;
        self.expected = self.expected + 1;
        self.reply = Reply::Now;
    }
}
