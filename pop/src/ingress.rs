//! Ingress: a client's packet from the Internet into the backbone.
//!
//! The packet must be a whole TCP or UDP packet to a VIP that this POP announces. The POP is a router on its
//! way: it takes one from the TTL (RFC 1812 §5.3.1), and lowers the MSS of a SYN to what fits through every
//! path the flow may ever take. Then it goes, behind a GRE header with the slot in its key, to the CLB node.
//! What is refused here may still be answered or relayed by `icmp`.

use anyedge_ccn::tunnel;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::{self, Parsed, rewrite, tcp, udp};

use crate::choose_clb_node::Choice;
use crate::pop::Pop;

impl Pop {
    /// Sends a packet that came from the Internet to its CLB node, or drops it.
    #[inline]
    pub(crate) fn on_public(&mut self, now: Instant, mut packet: Packet, out: &mut Outbox) {
        match self.wrap(&mut packet) {
            Ok((choice, tos)) => {
                out.transmit_tunnel(
                    packet,
                    choice.exit.port,
                    choice.exit.peer,
                    choice.entropy,
                    tos,
                );
            }
            Err(reason) => self.refuse(now, packet, reason, out),
        }
    }

    /// Makes a client's packet one for the backbone; also gives the outer TOS.
    #[inline]
    fn wrap(&self, packet: &mut Packet) -> Result<(Choice, u8), DropReason> {
        let parsed = wire::parse(packet.bytes()).map_err(|_| DropReason::Malformed)?;
        let vip = self
            .vips
            .find(&parsed.flow.dst)
            .filter(|vip| vip.published_here);
        let vip = vip.ok_or(DropReason::NotVip)?;
        check_carried(&parsed)?;
        packet.truncate(parsed.total_len);
        if !rewrite::decrement_ttl(packet.bytes_mut(), &parsed) {
            return Err(DropReason::TtlExpired);
        }
        let choice = self.chooser.choose(&parsed.flow, vip, &self.exits)?;
        if packet.len() > usize::from(choice.exit.inner_mtu) {
            return Err(DropReason::TooBig);
        }
        tcp::clamp_mss(packet.bytes_mut(), &parsed, vip.mss_max);
        let key = GreKey::new(vip.clb.0, false, choice.slot);
        let tos = tunnel::encapsulate(packet, &parsed, key)?;
        Ok((choice, tos))
    }
}

/// Whether `parsed` is of the kind that we carry: TCP or UDP, no fragment.
#[inline]
pub(crate) fn check_carried(parsed: &Parsed) -> Result<(), DropReason> {
    if parsed.fragment.is_some() {
        return Err(DropReason::Fragment);
    }
    match parsed.flow.protocol {
        tcp::PROTOCOL | udp::PROTOCOL => Ok(()),
        _ => Err(DropReason::UnsupportedProtocol),
    }
}
