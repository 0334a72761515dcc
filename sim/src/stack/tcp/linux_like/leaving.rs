//! What a connection sends: lost segments first, then new ones, then an acknowledgement that found no company.

use std::time::Duration;

use anyedge_net::packet::Meta;
use anyedge_net::port::PortId;
use anyedge_net::time::Instant;
use anyedge_net::wire::ip::{DEFAULT_TTL, Header, header_len};
use anyedge_net::wire::tcp::{ACK, FIN, HEADER_LEN, PROTOCOL, PSH, RST, SYN};

use super::segment::{Departure, Options};
use super::sequence::Seq;
use super::{Connection, Engine, Reply, Reset, State, TailProbe, Wait};
use crate::stack::Io;

/// What an acknowledgement of a lone segment may take longer (RFC 8985 §7.2, WCDelAckT).
const LONE_ACK: Duration = Duration::from_millis(200);
/// The longest wait for room at the other end.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(60);

impl Connection {
    /// Sends all that may be sent, in packets of at most `mtu` bytes, and returns when it wants to be asked again.
    pub(in crate::stack::tcp) fn transmit(
        &mut self,
        engine: &mut Engine,
        mtu: usize,
        io: &mut Io<'_>,
    ) -> Instant {
        if let Some(reset) = self.reset.take() {
            self.send_reset(reset, engine, io);
        }
        if matches!(self.state, State::Closed | State::Listen) {
            return Instant::FAR_FUTURE;
        }
        self.set_path(mtu);
        let before = io.out.len();
        self.on_wait(engine, io);
        self.send_segments(engine, io);
        let is_due = match self.reply {
            Reply::Nothing => false,
            Reply::By(at) => at <= io.now,
            Reply::Now => true,
        };
        if is_due {
            self.send_bare(self.next, engine, io);
        }
        // What is sent puts off a probe of the tail, and starts a wait where there was none.
        let starts = matches!(self.wait, Wait::Nothing | Wait::ProbeTail(_));
        if self.rearm || (starts && (io.out.len() > before || self.waits_for_room())) {
            self.rearm = false;
            self.wait = self.wait_from(io.now);
        }
        let wait = match self.wait {
            Wait::Nothing => Instant::FAR_FUTURE,
            Wait::Resend(at) | Wait::ProbeTail(at) | Wait::Late(at) | Wait::Room(at) => at,
        };
        match self.reply {
            Reply::By(at) => at.min(wait),
            Reply::Nothing | Reply::Now => wait,
        }
    }

    /// Draws the consequence of a wait that is over.
    fn on_wait(&mut self, engine: &mut Engine, io: &mut Io<'_>) {
        match self.wait {
            Wait::Resend(at) if at <= io.now => self.on_timeout(),
            Wait::ProbeTail(at) if at <= io.now => self.probe_tail(engine, io),
            Wait::Late(at) if at <= io.now => {
                let flight = self.una.until(self.next);
                let (repairing, shortest) = (self.congestion.is_repairing(), self.trip.shortest());
                let (found, late) = self.outstanding.find_losses(io.now, shortest, repairing);
                if found {
                    let in_flight = self.outstanding.in_flight();
                    self.congestion.on_loss((flight, in_flight), self.next);
                }
                self.late = late;
            }
            Wait::Room(at) if at <= io.now => self.ask_for_room(engine, io),
            _ => return,
        }
        self.rearm = true;
    }

    /// RFC 6298 §5.4 to §5.7.
    fn on_timeout(&mut self) {
        self.trip.back_off();
        self.outstanding.lose_all();
        self.late = None;
        self.tail_probe = None;
        self.same_acks = 0;
        if self.una == self.first {
            self.syns_lost = self.syns_lost.saturating_add(1);
        } else {
            self.congestion
                .on_timeout(self.una.until(self.next), self.next);
        }
    }

    /// Sends something new if there is anything, or the last segment again, so that the other end tells what it lacks.
    fn probe_tail(&mut self, engine: &mut Engine, io: &mut Io<'_>) {
        let again = match self.next_new() {
            Some(len) => {
                self.send_new(len, engine, io);
                false
            }
            None => {
                let Some((from, len)) = self.outstanding.last_missing() else {
                    return;
                };
                let _len = self.send_again(from, len, engine, io);
                true
            }
        };
        self.tail_probe = Some(TailProbe {
            until: self.next,
            again,
        });
    }

    /// The other end has been without room for long: it is asked, by what it must answer.
    fn ask_for_room(&mut self, engine: &mut Engine, io: &mut Io<'_>) {
        self.trip.back_off();
        let room = self.next.until(self.una + self.window);
        let unsent = self.next.until(self.end());
        match room.min(unsent).min(self.mss) {
            0 => self.send_bare(self.una.previous(), engine, io),
            // Too little to be worth a segment, but the other end may have no more (RFC 9293 §3.8.6.2.1).
            len => self.send_new(len, engine, io),
        }
    }

    /// Whether something is written that the other end has no room for, and nothing under way would tell of more.
    fn waits_for_room(&self) -> bool {
        self.outstanding.is_empty()
            && self.una != self.first
            && self.next.is_before(self.end())
            && self.next_new().is_none()
    }

    /// What is waited for from here on.
    fn wait_from(&self, now: Instant) -> Wait {
        if self.outstanding.is_empty() {
            return match self.waits_for_room() {
                true => Wait::Room(now + self.trip.timeout().min(ROOM_WAIT_MAX)),
                false => Wait::Nothing,
            };
        }
        if let Some(late) = self.late {
            return Wait::Late(late);
        }
        let resend = now + self.trip.timeout();
        let probes = self.sack
            && self.una != self.first
            && self.tail_probe.is_none()
            && !self.congestion.is_repairing()
            && !self.outstanding.has_gaps()
            && !self.outstanding.has_lost();
        if let (true, Some(smoothed)) = (probes, self.trip.smoothed()) {
            let alone = self.outstanding.count() == 1;
            let lone = if alone { LONE_ACK } else { Duration::ZERO };
            let probe = now + (2 * smoothed + lone);
            if probe < resend {
                return Wait::ProbeTail(probe);
            }
        }
        Wait::Resend(resend)
    }

    fn send_segments(&mut self, engine: &mut Engine, io: &mut Io<'_>) {
        self.limited = false;
        loop {
            let in_flight = self.outstanding.in_flight();
            let fits =
                |len: u32, window: u32| in_flight == 0 || in_flight.saturating_add(len) <= window;
            if let Some((from, len)) = self.outstanding.first_lost() {
                if !fits(len.min(self.mss), self.congestion.window()) {
                    return;
                }
                let len = self.send_again(from, len, engine, io);
                self.congestion.on_sent(len);
                continue;
            }
            let Some(len) = self.next_new() else {
                return;
            };
            if self.outstanding.is_empty() && self.sent_at + self.trip.timeout() < io.now {
                self.congestion.on_idle();
            }
            if !fits(len.min(self.mss), self.congestion.window()) {
                self.limited = true;
                return;
            }
            self.send_new(len, engine, io);
            self.congestion.on_sent(len);
        }
    }

    /// Payload that a segment has room for beside the options of this moment.
    fn payload_len_max(&self) -> u32 {
        let options = if self.reassembly.tells() {
            4 + 8 * self.reassembly.blocks() as u32
        } else {
            0
        };
        self.mss.saturating_sub(options).max(1)
    }

    /// Sequence numbers of the next new segment, SYN and FIN among them; `None` when none may be sent but for the congestion window.
    fn next_new(&self) -> Option<u32> {
        if self.next == self.first {
            return Some(1);
        }
        if self.una == self.first {
            return None;
        }
        let end = self.end();
        if end.is_before(self.next) {
            // Our FIN is sent.
            return None;
        }
        let unsent = self.next.until(end);
        let room = self.next.until(self.una + self.window);
        let len = unsent.min(room).min(self.payload_len_max());
        let is_last = len == unsent;
        // A part of a segment only where it is the end of what was written, or the other end's room is never more
        // (RFC 9293 §3.8.6.2.1).
        let is_worth_it =
            len > 0 && (is_last || len >= self.payload_len_max() || len >= self.window_max / 2);
        match (is_last && self.shut, is_worth_it) {
            (true, _) => Some(len + 1),
            (false, true) => Some(len),
            (false, false) => None,
        }
    }

    fn send_new(&mut self, len: u32, engine: &mut Engine, io: &mut Io<'_>) {
        let from = self.next;
        self.next = from + len;
        self.outstanding.push(from, len, io.now);
        self.sent_at = io.now;
        self.send_numbers(from, len, engine, io);
    }

    /// Sends a segment once more, or as much of it as there is room for; returns how much.
    fn send_again(&mut self, from: Seq, len: u32, engine: &mut Engine, io: &mut Io<'_>) -> u32 {
        // A FIN takes a number and no room.
        let fin = u32::from(self.shut && from + len == self.end() + 1);
        let len = len.min(self.payload_len_max() + fin);
        self.outstanding.sent_again(from, len, io.now);
        self.sent_at = io.now;
        self.send_numbers(from, len, engine, io);
        len
    }

    /// Sends what has the numbers `from` to `from + len`.
    fn send_numbers(&mut self, from: Seq, len: u32, engine: &mut Engine, io: &mut Io<'_>) {
        if from == self.first {
            let flags = match self.state {
                State::SynSent => SYN,
                _ => SYN | ACK,
            };
            return self.send_one(from, 0, flags, engine, io);
        }
        let fin = self.shut && from + len == self.end() + 1;
        let payload = (len - u32::from(fin)) as usize;
        let mut flags = ACK;
        if fin {
            flags |= FIN;
        }
        if payload > 0 && from + payload as u32 == self.end() {
            flags |= PSH;
        }
        self.send_one(from, payload, flags, engine, io);
    }

    /// Sends an acknowledgement without data.
    fn send_bare(&mut self, seq: Seq, engine: &mut Engine, io: &mut Io<'_>) {
        if !matches!(self.state, State::SynSent) {
            self.send_one(seq, 0, ACK, engine, io);
        }
    }

    fn send_one(
        &mut self,
        seq: Seq,
        payload: usize,
        flags: u8,
        engine: &mut Engine,
        io: &mut Io<'_>,
    ) {
        let options = self.options(flags);
        let window = self.announce(flags);
        if flags & ACK != 0 {
            self.reply = Reply::Nothing;
            self.told = self.expected;
        }
        let ip = header_len(self.local.family());
        let l4 = HEADER_LEN + options.len();
        let Some(mut packet) = io.pool.lend(ip + l4 + payload, Meta::plain(PortId::LOCAL)) else {
            engine.unsent += 1;
            return;
        };
        // Behind one segment others leave as a rule.
        io.pool.fetch_next(ip + l4 + payload);
        let bytes = packet.bytes_mut();
        self.write_ip(bytes, l4 + payload);
        let segment = &mut bytes[ip..];
        if payload > 0 {
            let at = self.base.until(seq) as usize;
            self.send.peek(&self.memory, at, &mut segment[l4..]);
        }
        let departure = Departure {
            ports: self.ports,
            seq,
            ack: self.expected,
            flags,
            window,
            options: &options,
        };
        departure.write(segment, self.addresses);
        io.out.push(packet);
    }

    fn send_reset(&mut self, reset: Reset, engine: &mut Engine, io: &mut Io<'_>) {
        let ip = header_len(self.local.family());
        let Some(mut packet) = io.pool.lend(ip + HEADER_LEN, Meta::plain(PortId::LOCAL)) else {
            engine.unsent += 1;
            return;
        };
        let bytes = packet.bytes_mut();
        self.write_ip(bytes, HEADER_LEN);
        let departure = Departure {
            ports: self.ports,
            seq: reset.seq,
            ack: self.expected,
            flags: if reset.acknowledges { RST | ACK } else { RST },
            window: 0,
            options: &Options::NONE,
        };
        departure.write(&mut bytes[ip..], self.addresses);
        io.out.push(packet);
    }

    #[inline]
    fn write_ip(&self, bytes: &mut [u8], payload_len: usize) {
        let header = Header {
            src: self.local,
            dst: self.remote,
            protocol: PROTOCOL,
            ttl: DEFAULT_TTL,
            tos: 0,
            payload_len,
        };
        header.write(bytes);
    }

    fn options(&mut self, flags: u8) -> Options {
        if flags & SYN != 0 {
            let answers = flags & ACK != 0;
            let scale =
                (!answers || self.our_scale > 0 || self.their_scale > 0).then_some(self.our_scale);
            return Options::of_syn(self.mss_announced as u16, scale, !answers || self.sack);
        }
        if !self.sack || !self.reassembly.tells() {
            return Options::NONE;
        }
        let (mut blocks, count) = self.reassembly.take_blocks();
        for (_, to) in &mut blocks[..count] {
            if self.fin_at == Some(*to) {
                *to = *to + 1;
            }
        }
        Options::of_blocks(&blocks[..count])
    }

    /// The window to announce, as it stands in a segment. Its end never comes nearer, and only by steps that are worth it
    /// (RFC 9293 §3.8.6.2.2).
    fn announce(&mut self, flags: u8) -> u16 {
        let room = self.receive.room() as u32;
        let edge = self.expected + room;
        let step = self.mss_announced.min(self.receive.capacity() as u32 / 2);
        if self.edge.until(edge) >= step || self.edge.is_before(self.expected) {
            self.edge = edge;
        }
        let scale = if flags & SYN != 0 { 0 } else { self.our_scale };
        let window = self.expected.until(self.edge) >> scale;
        u16::try_from(window).unwrap_or(u16::MAX)
    }
}
