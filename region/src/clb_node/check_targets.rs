//! Checks of targets: the segments that a node sends for its checks, and the answers that it takes in.
//!
//! A check goes from the VIP to the target by the tunnel to its host, in a slot of this node's own, so that the
//! vSwitch sends the answer here. An answer belongs to no flow: it is looked for among the checks only when no
//! flow was found, and costs the flows nothing. A check that finds no way to its host is one without an answer.

use anyedge_ccn::tunnel;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::outbox::Outbox;
use anyedge_net::route_table::Listener;
use anyedge_net::switch;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::{self, tcp};

use super::ClbNode;
use super::staging::Staged;
use crate::health::probe::Probe;
use crate::health::{CHECKS_PER_CALL_MAX, Sending, is_open};
use crate::tcp_state::Segment;

/// Whether a check's segment left, or had no way to go, or no packet to go in.
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
                let sequence = awaited.sequence.wrapping_add(1);
                self.send_segment(&sending, tcp::RST, sequence, out);
            }
            if turn.change.is_some() {
                self.on_health(now, turn.id, out);
            }
            if let Some((sending, awaited)) = turn.begun
                && self.send_segment(&sending, tcp::SYN, awaited.sequence, out) == Fate::NoPacket
            {
                self.checks.on_unsent(turn.id);
            }
        }
    }

    /// Takes a target's packet in if it answers a check, and says why it ends; `None` when it does not.
    pub(super) fn take_answer(
        &mut self,
        now: Instant,
        staged: &Staged,
        out: &mut Outbox,
    ) -> Option<DropReason> {
        let Staged { packet, parsed, .. } = staged;
        if parsed.flow.protocol != tcp::PROTOCOL {
            return None;
        }
        let (id, awaited) = self.checks.awaited_by(&parsed.flow)?;
        let acknowledged = match parsed.l4(packet.bytes()) {
            [_, _, _, _, _, _, _, _, a, b, c, d, ..] => u32::from_be_bytes([*a, *b, *c, *d]),
            _ => return None,
        };
        let next = awaited.sequence.wrapping_add(1);
        if parsed.tcp_flags & tcp::ACK == 0 || acknowledged != next {
            return None;
        }
        let success = match Segment::of(parsed.tcp_flags) {
            Segment::SynAck => true,
            Segment::Rst => false,
            Segment::Syn | Segment::Ack | Segment::Fin | Segment::Other => return None,
        };
        if success
            && switch::is_on("P-HC07")
            && let Some(sending) = self.checks.ending(id, awaited.port)
        {
            self.send_segment(&sending, tcp::RST, next, out);
        }
        if self.checks.on_answer(id, now, success).is_some() {
            self.on_health(now, id, out);
        }
        Some(DropReason::HealthCheck)
    }

    /// The health of a check's target changed.
    fn on_health(&mut self, now: Instant, id: u32, out: &mut Outbox) {
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

    fn send_segment(&self, sending: &Sending, flags: u8, sequence: u32, out: &mut Outbox) -> Fate {
        let Sending {
            flow,
            clb,
            slot,
            host,
        } = sending;
        let probe = Probe::segment(flow, flags, sequence);
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
