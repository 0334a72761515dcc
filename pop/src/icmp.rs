//! ICMP at the edge: echoes answered, senders told why their packet was dropped, errors relayed.
//!
//! All of it begins where `ingress` or `egress` refuses a packet, so packets that pass pay nothing. What the POP
//! says itself comes from the VIP: the one address that the sender chose to talk to, and that no filter on the way
//! back has a reason to refuse. An echo and its reply are one packet to the ledger, an error is originated beside
//! a packet that is dropped. docs/icmp.md has the choices. References: RFC 792, RFC 4443, RFC 1812 §4.3, RFC 5508.

use anyedge_ccn::{probe, tunnel};
use anyedge_net::drop_reason::DropReason;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::port::PortId;
use anyedge_net::time::Instant;
use anyedge_net::token_bucket::TokenBucket;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::icmp::{self, Complaint};
use anyedge_net::wire::{self, Parsed, fragment, rewrite, tcp, udp};

use crate::choose_clb_node::Choice;
use crate::pop::Pop;

/// Errors that a POP makes in a second, in the long run (RFC 1812 §4.3.2.8, RFC 4443 §2.4(f)).
pub(crate) const ERRORS_PER_SECOND: u32 = 1_000;
/// Errors that a POP makes at once after a second of none.
pub(crate) const ERRORS_BURST: u32 = 1_000;
/// Echo requests that a POP answers in a second, in the long run.
pub(crate) const ECHOES_PER_SECOND: u32 = 10_000;
/// Echo requests that a POP answers at once after a second of none.
pub(crate) const ECHOES_BURST: u32 = 10_000;

/// What a POP may still say.
pub(crate) struct Limits {
    errors: TokenBucket,
    echoes: TokenBucket,
}

impl Limits {
    /// Full buckets.
    pub(crate) const fn new() -> Limits {
        Limits {
            errors: TokenBucket::new(ERRORS_PER_SECOND, ERRORS_BURST),
            echoes: TokenBucket::new(ECHOES_PER_SECOND, ECHOES_BURST),
        }
    }
}

impl Pop {
    /// Ends a client's packet that ingress refused: answered, relayed, or dropped with word to its sender.
    #[cold]
    pub(crate) fn refuse(
        &mut self,
        now: Instant,
        packet: Packet,
        reason: DropReason,
        out: &mut Outbox,
    ) {
        let Ok(parsed) = wire::parse(packet.bytes()) else {
            return out.drop_packet(packet, reason);
        };
        match reason {
            DropReason::UnsupportedProtocol if icmp::kind(packet.bytes(), &parsed).is_some() => {
                self.on_icmp(now, packet, &parsed, out);
            }
            DropReason::TooBig => {
                let mtu = self.inner_mtu(&parsed);
                if let Some(mtu) = mtu.filter(|_| self.mechanisms.fragments)
                    && fragment::may_split(&parsed)
                {
                    return self.split(packet, mtu, out);
                }
                if let Some(mtu) = mtu {
                    self.complain(now, &packet, &parsed, Complaint::TooBig { mtu }, out);
                }
                out.drop_packet(packet, reason);
            }
            DropReason::TtlExpired => {
                self.complain(now, &packet, &parsed, Complaint::TtlExpired, out);
                out.drop_packet(packet, reason);
            }
            _ => out.drop_packet(packet, reason),
        }
    }

    /// Ends a tunnelled packet that egress refused: a probe is taken in, an ICMP error from a VIP goes on to
    /// the client.
    #[cold]
    pub(crate) fn refuse_answer(
        &mut self,
        now: Instant,
        mut packet: Packet,
        reason: DropReason,
        out: &mut Outbox,
    ) {
        // What is refused as no IP packet in a tunnel has not been changed.
        if reason == DropReason::BadGre && probe::is_probe(packet.bytes()) {
            self.prober.take(now, packet, &mut self.exits, out);
            return self.announcer.poll(now, &self.exits, out);
        }
        if !matches!(
            reason,
            DropReason::UnsupportedProtocol | DropReason::TtlExpired
        ) {
            return out.drop_packet(packet, reason);
        }
        // Egress looks at protocol and TTL only after it took the tunnel off and knew the source for a VIP.
        let Ok(parsed) = wire::parse(packet.bytes()) else {
            return out.drop_packet(packet, reason);
        };
        if reason == DropReason::TtlExpired {
            self.complain_to_target(now, &packet, &parsed, out);
            return out.drop_packet(packet, reason);
        }
        if icmp::quoted(packet.bytes(), &parsed).is_none() {
            return out.drop_packet(packet, reason);
        }
        if !rewrite::decrement_ttl(packet.bytes_mut(), &parsed) {
            return out.drop_packet(packet, DropReason::TtlExpired);
        }
        out.transmit(packet, PortId::PUBLIC);
    }

    /// Tells the target behind a VIP that its answer's TTL ended here: an error to the VIP about its own packet,
    /// which the CLB node of the flow makes one to the target.
    fn complain_to_target(
        &mut self,
        now: Instant,
        packet: &Packet,
        parsed: &Parsed,
        out: &mut Outbox,
    ) {
        let mut error = [0; icmp::ERROR_LEN_MAX];
        let vip = parsed.flow.src;
        let complaint = Complaint::TtlExpired;
        let len = icmp::write_error(packet.bytes(), parsed, complaint, vip, &mut error);
        let Ok(parsed) = wire::parse(&error[..len]) else {
            return; // nothing was written: no error may be sent
        };
        if !self.may_complain(now) {
            return;
        }
        let Some(mut packet) = out.originate(len) else {
            return;
        };
        packet.bytes_mut().copy_from_slice(&error[..len]);
        self.relay_or_drop(packet, &parsed, out);
    }

    fn may_complain(&mut self, now: Instant) -> bool {
        self.mechanisms.icmp_errors && self.icmp.errors.take(now)
    }

    /// What the tunnel takes that this packet would have gone by.
    fn inner_mtu(&self, parsed: &Parsed) -> Option<u16> {
        let vip = self.vips.find(&parsed.flow.dst)?;
        let choice = self.choose(parsed, vip).ok()?;
        Some(choice.exit.inner_mtu)
    }

    /// Tells a packet's sender why it is dropped, within the limit and if one may be told at all.
    fn complain(
        &mut self,
        now: Instant,
        packet: &Packet,
        parsed: &Parsed,
        complaint: Complaint,
        out: &mut Outbox,
    ) {
        let mut error = [0; icmp::ERROR_LEN_MAX];
        let vip = parsed.flow.dst;
        let len = icmp::write_error(packet.bytes(), parsed, complaint, vip, &mut error);
        if len == 0 || !self.may_complain(now) {
            return;
        }
        let Some(mut packet) = out.originate(len) else {
            return;
        };
        packet.bytes_mut().copy_from_slice(&error[..len]);
        out.transmit(packet, PortId::PUBLIC);
    }

    /// Takes an ICMP packet to a VIP that is announced here.
    fn on_icmp(&mut self, now: Instant, mut packet: Packet, parsed: &Parsed, out: &mut Outbox) {
        packet.truncate(parsed.total_len);
        if icmp::quoted(packet.bytes(), parsed).is_some() {
            return self.relay_or_drop(packet, parsed, out);
        }
        let asks = icmp::echo(packet.bytes(), parsed).is_some_and(|echo| echo.request);
        if asks && !self.icmp.echoes.take(now) {
            return out.drop_packet(packet, DropReason::EchoLimited);
        }
        if icmp::answer_echo(packet.bytes_mut(), parsed) {
            return out.transmit(packet, PortId::PUBLIC);
        }
        out.drop_packet(packet, DropReason::UnsupportedProtocol);
    }

    /// Sends an error about an answer of ours to the CLB node that holds the quoted flow.
    fn relay_or_drop(&self, mut packet: Packet, parsed: &Parsed, out: &mut Outbox) {
        match self.relay(&mut packet, parsed) {
            Ok((choice, tos)) => {
                let exit = choice.exit;
                out.transmit_tunnel(packet, exit.port, exit.peer, choice.entropy, tos);
            }
            Err(reason) => out.drop_packet(packet, reason),
        }
    }

    /// Makes an error about an answer of ours one for the CLB node that holds the quoted flow.
    fn relay(&self, packet: &mut Packet, parsed: &Parsed) -> Result<(Choice, u8), DropReason> {
        let quote = icmp::quoted(packet.bytes(), parsed);
        let flow = quote
            .and_then(icmp::quoted_flow)
            .filter(|sent| {
                sent.src == parsed.flow.dst
                    && matches!(sent.protocol, tcp::PROTOCOL | udp::PROTOCOL)
            })
            .ok_or(DropReason::NoFlow)?
            .reversed();
        let vip = self.vips.find(&flow.dst).ok_or(DropReason::NotVip)?;
        if !rewrite::decrement_ttl(packet.bytes_mut(), parsed) {
            return Err(DropReason::TtlExpired);
        }
        let choice = self.chooser.choose(&flow, vip, &self.exits)?;
        if packet.len() > usize::from(choice.exit.inner_mtu) {
            return Err(DropReason::TooBig);
        }
        let key = GreKey::new(vip.clb.0, false, choice.slot);
        let tos = tunnel::encapsulate(packet, parsed, key)?;
        Ok((choice, tos))
    }
}
