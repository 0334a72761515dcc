//! Checks of targets: the packets that a node sends for its checks, and the answers that it takes in.
//!
//! A check goes from the VIP (or what its listener says) to the target by the tunnel to its host, in a slot of this node's own, so that the
//! vSwitch sends the answer here. An answer belongs to no flow: it is looked for among the checks only when no
//! flow was found, and costs the flows nothing. A check that finds no way to its host is one without an answer.

use std::sync::Arc;

use anyedge_ccn::tunnel;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::Family;
use anyedge_net::outbox::Outbox;
use anyedge_net::route_table::{Exchange, Listener, Method};
use anyedge_net::switch;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::{self, Parsed, icmp, tcp, udp};

use super::ClbNode;
use super::icmp::quoted_flow;
use super::staging::Staged;
use crate::health::check::{Awaited, Talk};
use crate::health::probe::Probe;
use crate::health::{CHECKS_PER_CALL_MAX, Sending, is_open};
use crate::tcp_state::Segment;

/// Whether a check's packet left, or had no way to go, or no packet to go in.
#[derive(PartialEq, Eq)]
enum Fate {
    Sent,
    NoWay,
    NoPacket,
}

impl ClbNode {
    /// Sends the checks that are due and ends those that nobody answered.
    pub(super) fn check_targets(&mut self, now: Instant, out: &mut Outbox) {
        for _ in 0..CHECKS_PER_CALL_MAX {
            let Some(turn) = self.checks.next_due(now) else {
                return;
            };
            if let Some((sending, awaited)) = turn.given_up
                && switch::is_on("P-HC07")
            {
                self.cut_check(&sending, &awaited, out);
            }
            if turn.change.is_some() {
                self.on_health(now, turn.id, out);
            }
            let Some((sending, awaited)) = turn.begun else {
                continue;
            };
            match self.begin_check(turn.id, &turn.method, (&sending, &awaited), out) {
                Fate::NoPacket => self.checks.on_unsent(turn.id),
                // All targets of a host that nothing leads to fail with it.
                Fate::NoWay if !switch::is_on("S-EN06") => self.checks.on_unsent(turn.id),
                Fate::Sent | Fate::NoWay => {}
            }
        }
    }

    fn begin_check(
        &self,
        id: u32,
        method: &Method,
        (sending, awaited): (&Sending, &Awaited),
        out: &mut Outbox,
    ) -> Fate {
        let flow = &sending.flow;
        let echo = || Probe::echo(flow, id, awaited.sequence);
        match method {
            Method::Tcp | Method::TcpExchange(_) => {
                let syn = Probe::segment(flow, tcp::SYN, awaited.sequence);
                self.send_probe(sending, &syn, out)
            }
            Method::Ping => self.send_probe(sending, &echo(), out),
            Method::UdpPort => match self.send_probe(sending, &echo(), out) {
                Fate::Sent => self.send_probe(sending, &Probe::datagram(flow, None), out),
                fate @ (Fate::NoWay | Fate::NoPacket) => fate,
            },
            Method::UdpExchange(exchange) => {
                let datagram = Probe::datagram(flow, Some(&exchange.request));
                self.send_probe(sending, &datagram, out)
            }
        }
    }

    /// Cuts the connection of a check.
    fn cut_check(&self, sending: &Sending, awaited: &Awaited, out: &mut Outbox) {
        let opened = awaited.sequence.wrapping_add(1);
        let sequence = awaited.talk.map_or(opened, |talk| talk.sequence);
        let reset = Probe::segment(&sending.flow, tcp::RST, sequence);
        self.send_probe(sending, &reset, out);
    }

    /// Takes a target's packet in if it answers a check, and says why it ends; `None` when it does not.
    pub(super) fn take_answer(
        &mut self,
        now: Instant,
        staged: &Staged<'_>,
        out: &mut Outbox,
    ) -> Option<DropReason> {
        let Staged { packet, parsed, .. } = staged;
        let bytes = packet.bytes();
        let (id, awaited, method) = self.checks.awaited_by(&parsed.flow)?;
        let exchange = method.exchange().cloned();
        let is_answer = if parsed.flow.protocol == tcp::PROTOCOL {
            let check = (id, awaited, exchange);
            self.take_segment(now, (bytes, parsed), check, out)
        } else {
            // Of a port that is only to be open any answer will do, and the echo decides.
            if let Some(exchange) = exchange {
                let answer = udp::payload(bytes, parsed).unwrap_or_default();
                let success = answer.starts_with(&exchange.reply) || !switch::is_on("P-HC11");
                self.end_check(now, (id, awaited), success, false, out);
            }
            true
        };
        is_answer.then_some(DropReason::HealthCheck)
    }

    /// Whether a segment that may be of a check's connection goes on with it.
    fn take_segment(
        &mut self,
        now: Instant,
        (bytes, parsed): (&[u8], &Parsed),
        (id, awaited, exchange): (u32, Awaited, Option<Arc<Exchange>>),
        out: &mut Outbox,
    ) -> bool {
        let Some(numbers) = tcp::numbers(bytes, parsed) else {
            return false;
        };
        if let (Some(talk), Some(exchange)) = (awaited.talk, exchange.as_deref()) {
            let heard = heard(bytes, parsed, &talk, exchange);
            self.go_on(now, (id, awaited), heard, out);
            return true;
        }
        let next = awaited.sequence.wrapping_add(1);
        if numbers.acknowledged != Some(next) {
            return false;
        }
        let success = match Segment::of(parsed.tcp_flags) {
            Segment::SynAck => true,
            Segment::Rst => false,
            Segment::Syn | Segment::Ack | Segment::Fin | Segment::Other => return false,
        };
        let Some(exchange) = exchange.filter(|_| success) else {
            self.end_check(now, (id, awaited), success, success, out);
            return true;
        };
        let talk = Talk {
            sequence: next.wrapping_add(exchange.request.len() as u32),
            acknowledged: numbers.sequence.wrapping_add(1),
            matched: 0,
        };
        if let Some(sending) = self.checks.ending(id, awaited.port) {
            let numbers = (next, talk.acknowledged);
            let request = Probe::data(&sending.flow, numbers, &exchange.request);
            self.send_probe(&sending, &request, out);
        }
        self.checks.on_talk(id, talk);
        true
    }

    /// Goes on with an exchange, as far as it was heard.
    fn go_on(
        &mut self,
        now: Instant,
        (id, awaited): (u32, Awaited),
        heard: Heard,
        out: &mut Outbox,
    ) {
        match heard {
            Heard::Nothing => {}
            Heard::All => self.end_check(now, (id, awaited), true, true, out),
            Heard::Other => self.end_check(now, (id, awaited), false, true, out),
            Heard::End => self.end_check(now, (id, awaited), false, false, out),
            Heard::Part(talk) => {
                self.checks.on_talk(id, talk);
                if let Some(sending) = self.checks.ending(id, awaited.port) {
                    let numbers = (talk.sequence, talk.acknowledged);
                    let word = Probe::data(&sending.flow, numbers, &[]);
                    self.send_probe(&sending, &word, out);
                }
            }
        }
    }

    /// Whether a target's ICMP packet answers a check: its echo, or the word that a port is closed.
    pub(super) fn take_icmp(
        &mut self,
        now: Instant,
        bytes: &[u8],
        parsed: &Parsed,
        out: &mut Outbox,
    ) -> bool {
        if let Some(echo) = icmp::echo(bytes, parsed) {
            let numbers = Probe::echo_of(parsed.l4(bytes)).filter(|_| !echo.request);
            let ends = (parsed.flow.src, parsed.flow.dst);
            let Some(id) = numbers.and_then(|numbers| self.checks.echoed_by(ends, numbers)) else {
                return false;
            };
            if self.checks.on_echo(id, now).is_some() {
                self.on_health(now, id, out);
            }
            return true;
        }
        let closed = match parsed.family {
            Family::V4 => (icmp::V4_UNREACHABLE, icmp::V4_CODE_PORT),
            Family::V6 => (icmp::V6_UNREACHABLE, icmp::V6_CODE_PORT),
        };
        if icmp::kind(bytes, parsed) != Some(closed) {
            return false;
        }
        let Ok(sent) = quoted_flow(bytes, parsed) else {
            return false;
        };
        let Some((id, awaited, _)) = self.checks.awaited_by(&sent.reversed()) else {
            return false;
        };
        if sent.protocol == udp::PROTOCOL && switch::is_on("P-HC08") {
            self.end_check(now, (id, awaited), false, false, out);
        }
        true
    }

    /// The check under way came to its end; `cut`: its connection is still there.
    fn end_check(
        &mut self,
        now: Instant,
        (id, awaited): (u32, Awaited),
        success: bool,
        cut: bool,
        out: &mut Outbox,
    ) {
        if cut
            && switch::is_on("P-HC07")
            && let Some(sending) = self.checks.ending(id, awaited.port)
        {
            self.cut_check(&sending, &awaited, out);
        }
        if self.checks.on_answer(id, now, success).is_some() {
            self.on_health(now, id, out);
        }
    }

    /// The health of a check's target changed.
    pub(super) fn on_health(&mut self, now: Instant, id: u32, out: &mut Outbox) {
        self.checks.tell(id, out);
        let open = is_open(self.checks.health(id));
        let watched = self.checks.watched(id);
        let (unbinding, clbs) = (&mut self.unbinding, &self.routes.clbs);
        let told = |listener: &Listener, all_shut: bool| {
            if let Some(clb) = clbs.get(watched.clb.index()) {
                let server = (watched.target, watched.port);
                let place = (watched.clb, &**clb);
                unbinding.on_health(now, place, (listener, server), (open, all_shut));
            }
        };
        self.served.set_open(watched, open, told, out);
    }

    fn send_probe(&self, sending: &Sending, probe: &Probe, out: &mut Outbox) -> Fate {
        let Sending {
            flow,
            clb,
            slot,
            host,
        } = sending;
        let bytes = probe.bytes();
        let (Ok(exit), Ok(parsed)) = (self.exit_to_host(*host, bytes.len()), wire::parse(bytes))
        else {
            return Fate::NoWay;
        };
        let Some(mut packet) = out.originate(bytes.len()) else {
            return Fate::NoPacket;
        };
        packet.bytes_mut().copy_from_slice(bytes);
        let entropy = (flow.hash(&self.routes.hash_key) >> 48) as u16;
        let key = GreKey::new(clb.0, false, *slot);
        tunnel::send(packet, &parsed, key, (exit, entropy), out);
        Fate::Sent
    }
}

/// What a segment of an exchange brings.
enum Heard {
    Nothing,
    /// The answer as it was expected, to its end.
    All,
    /// As far as this.
    Part(Talk),
    /// Another answer.
    Other,
    /// The target ended the connection.
    End,
}

fn heard(bytes: &[u8], parsed: &Parsed, talk: &Talk, exchange: &Exchange) -> Heard {
    if parsed.tcp_flags & tcp::RST != 0 {
        return Heard::End;
    }
    let in_order = tcp::sequence(bytes, parsed) == talk.acknowledged;
    let data = tcp::payload(bytes, parsed).filter(|data| in_order && !data.is_empty());
    let Some(data) = data else {
        let closes = in_order && parsed.tcp_flags & tcp::FIN != 0;
        return if closes { Heard::Other } else { Heard::Nothing };
    };
    let missing = exchange.reply.get(talk.matched..).unwrap_or_default();
    let compared = missing.len().min(data.len());
    if data[..compared] != missing[..compared] && switch::is_on("P-HC11") {
        return Heard::Other;
    }
    if compared == missing.len() {
        return Heard::All;
    }
    if parsed.tcp_flags & tcp::FIN != 0 {
        return Heard::Other;
    }
    Heard::Part(Talk {
        acknowledged: talk.acknowledged.wrapping_add(data.len() as u32),
        matched: talk.matched + compared,
        ..*talk
    })
}
