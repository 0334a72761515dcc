//! Egress: an answer from the backbone out to the client.
//!
//! Only CLB nodes send here, and only packets from VIPs leave: a POP is no open relay for whoever finds its
//! tunnel address. Any POP may emit any VIP's packets, announced here or not, since a flow's client may have
//! moved. The tunnel's congestion marks are merged, the TTL falls by one, the MSS of a SYN-ACK is lowered.
//! ICMP errors from a VIP leave too (`icmp`).

use anyedge_ccn::tunnel;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::id::NodeId;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::port::PortId;
use anyedge_net::time::Instant;
use anyedge_net::wire::{rewrite, tcp};

use crate::pop::Pop;

impl Pop {
    /// Sends a packet that came by a tunnel to its client, or drops it.
    #[inline]
    pub(crate) fn on_tunnel(&mut self, now: Instant, mut packet: Packet, out: &mut Outbox) {
        match self.unwrap(&mut packet) {
            Ok(()) => out.transmit(packet, PortId::PUBLIC),
            Err(reason) => self.refuse_answer(now, packet, reason, out),
        }
    }

    /// Makes a tunnelled answer one for the Internet.
    #[inline]
    fn unwrap(&self, packet: &mut Packet) -> Result<(), DropReason> {
        if !self.is_clb_node(packet.meta.peer) {
            return Err(DropReason::UnknownPeer);
        }
        let parsed = tunnel::decapsulate(packet)?.parsed;
        let vip = self
            .vips
            .find(&parsed.flow.src)
            .ok_or(DropReason::NotFromVip)?;
        self.check_carried(&parsed)?;
        if !rewrite::decrement_ttl(packet.bytes_mut(), &parsed) {
            return Err(DropReason::TtlExpired);
        }
        tcp::clamp_mss(packet.bytes_mut(), &parsed, vip.mss_max);
        Ok(())
    }

    #[inline]
    fn is_clb_node(&self, peer: NodeId) -> bool {
        self.clb_nodes
            .get(peer.index())
            .is_some_and(|is_clb_node| *is_clb_node)
    }
}
