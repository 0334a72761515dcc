//! Ingress: a client's packet from the Internet into the backbone.
//!
//! The packet must be TCP or UDP, whole or in pieces, to a VIP that this POP announces. The POP is a router on its
//! way: it takes one from the TTL (RFC 1812 §5.3.1), and lowers the MSS of a SYN to what fits through every
//! path the flow may ever take. Then it goes, behind a GRE header with the slot in its key, to the CLB node.
//! What is refused here may still be answered or relayed by `icmp`.

use anyedge_ccn::tunnel;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::{self, Parsed, fragment, rewrite, tcp, udp};

use crate::choose_clb_node::Choice;
use crate::pop::Pop;
use crate::vips::LocalVip;

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
        self.check_carried(&parsed)?;
        packet.truncate(parsed.total_len);
        if !rewrite::decrement_ttl(packet.bytes_mut(), &parsed) {
            return Err(DropReason::TtlExpired);
        }
        self.encapsulate(packet, &parsed, vip)
    }

    /// Puts a packet with a TTL to spare into the tunnel to its CLB node.
    #[inline]
    fn encapsulate(
        &self,
        packet: &mut Packet,
        parsed: &Parsed,
        vip: &LocalVip,
    ) -> Result<(Choice, u8), DropReason> {
        let choice = self.choose(parsed, vip)?;
        if packet.wire_len() > usize::from(choice.exit.inner_mtu) {
            return Err(DropReason::TooBig);
        }
        tcp::clamp_mss(packet.bytes_mut(), parsed, vip.mss_max);
        let key = GreKey::new(vip.clb.0, false, choice.slot);
        let tos = tunnel::encapsulate(packet, parsed, key)?;
        Ok((choice, tos))
    }

    /// The CLB node that a client's packet goes to.
    #[inline]
    pub(crate) fn choose(&self, parsed: &Parsed, vip: &LocalVip) -> Result<Choice, DropReason> {
        match fragment::packet_key(parsed) {
            None => self.chooser.choose(&parsed.flow, vip, &self.exits),
            Some(packet) => self.chooser.choose_for_fragment(&packet, vip, &self.exits),
        }
    }

    /// Cuts a packet that is too long for its tunnel, its TTL already lowered, and sends the pieces.
    #[cold]
    pub(crate) fn split(&mut self, packet: Packet, mtu: u16, out: &mut Outbox) {
        fragment::split(packet, mtu, out, |mut packet, out| {
            let sent = wire::parse(packet.bytes())
                .map_err(|_| DropReason::Malformed)
                .and_then(|parsed| {
                    let vip = self.vips.find(&parsed.flow.dst).ok_or(DropReason::NotVip)?;
                    self.encapsulate(&mut packet, &parsed, vip)
                });
            match sent {
                Ok((Choice { exit, entropy, .. }, tos)) => {
                    out.transmit_tunnel(packet, exit.port, exit.peer, entropy, tos);
                }
                Err(reason) => out.drop_packet(packet, reason),
            }
        });
    }

    /// Whether `parsed` is of the kind that we carry: TCP or UDP, whole or in pieces.
    #[inline]
    pub(crate) fn check_carried(&self, parsed: &Parsed) -> Result<(), DropReason> {
        let carried = matches!(parsed.flow.protocol, tcp::PROTOCOL | udp::PROTOCOL);
        if parsed.fragment.is_some() && !(carried && self.mechanisms.fragments) {
            return Err(DropReason::Fragment);
        }
        if carried {
            Ok(())
        } else {
            Err(DropReason::UnsupportedProtocol)
        }
    }
}
