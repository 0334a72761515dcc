//! ICMP at a backend's host: errors about the backend's packets in, errors about clients' packets out.
//!
//! Both are found by the flow of the packet that they quote, in the same tuple table. An error keeps no tuple
//! alive. Echoes are those of health checks, requests in and replies out, with a tuple of their own: the series is
//! the port (RFC 5508 §3). Whatever else is ICMP ends here: echoes to a VIP never come this far, and the backend's own
//! network is not this vSwitch's. Reference: RFC 5508 §4.

use std::sync::Arc;

use anyedge_ccn::exits::Exit;
use anyedge_ccn::{probe, tunnel};
use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::{Address, FlowKey};
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::port::{PortId, PortKind};
use anyedge_net::route_table::{ProbeSource, Vip};
use anyedge_net::time::Instant;
use anyedge_net::wire::icmp::{self, Complaint};
use anyedge_net::wire::{self, Parsed};

use super::{Staged, VSwitch};
use crate::clb_node::quoted_flow;

impl VSwitch {
    /// Whether a packet is an echo of a health check, which gets its tuple here; `asks`: a request, as a CLB node sends it.
    #[cold]
    pub(super) fn takes_tuple_of_echo(
        &self,
        bytes: &[u8],
        parsed: &mut Parsed,
        asks: bool,
    ) -> bool {
        let echo = icmp::echo(bytes, parsed).filter(|echo| echo.request == asks);
        let Some(echo) = echo.filter(|_| parsed.fragment.is_none()) else {
            return false;
        };
        if !asks {
            parsed.flow.dst_port = echo.ident;
            return true;
        }
        parsed.flow.src_port = echo.ident;
        let from = parsed.flow.src;
        ProbeSource::is_shared(&from) || self.routes.vips.contains_key(&from)
    }

    /// Ends a packet that staging refused: a probe is taken in, an ICMP error about a flow that is known goes on.
    #[cold]
    pub(super) fn refuse(
        &mut self,
        now: Instant,
        mut packet: Packet,
        reason: DropReason,
        out: &mut Outbox,
    ) {
        // What is refused as no IP packet in a tunnel has not been changed.
        if reason == DropReason::BadGre && probe::is_probe(packet.bytes()) {
            self.prober.take(now, packet, &mut self.exits, out);
            return;
        }
        if reason != DropReason::UnsupportedProtocol {
            return out.drop_packet(packet, reason);
        }
        // Staging looks at the protocol only after it took the tunnel off and knew the peer.
        let parsed = match wire::parse(packet.bytes()) {
            Ok(parsed) if icmp::quoted(packet.bytes(), &parsed).is_some() => parsed,
            Ok(_) | Err(_) => return out.drop_packet(packet, reason),
        };
        let sent = match quoted_flow(packet.bytes(), &parsed) {
            Ok(sent) => sent,
            Err(reason) => return out.drop_packet(packet, reason),
        };
        if packet.meta.port.kind() == Some(PortKind::Tunnel) {
            return match self.living_tuple(now, &sent) {
                Some(_) => out.transmit(packet, PortId::BACKEND),
                None => out.drop_packet(packet, DropReason::NoFlow),
            };
        }
        let reply = sent.reversed();
        let entropy = (reply.hash(&self.routes.hash_key) >> 48) as u16;
        match self.wrap_error(now, &mut packet, &parsed, &reply) {
            Ok((exit, tos)) => out.transmit_tunnel(packet, exit.port, exit.peer, entropy, tos),
            Err(reason) => out.drop_packet(packet, reason),
        }
    }

    /// Wraps an error about a client's packet; gives the way to the CLB node and the outer TOS.
    fn wrap_error(
        &self,
        now: Instant,
        packet: &mut Packet,
        parsed: &Parsed,
        reply: &FlowKey,
    ) -> Result<(Exit, u8), DropReason> {
        let id = self.living_tuple(now, reply).ok_or(DropReason::NoFlow)?;
        let key = self.tuples.key(id);
        let exit = self.exit_to_owner(key.slot())?;
        if packet.len() > usize::from(exit.inner_mtu) {
            return Err(DropReason::TooBig);
        }
        let tos = tunnel::encapsulate(packet, parsed, key)?;
        Ok((exit, tos))
    }

    /// Tells the backend that its packet does not fit the tunnel to its flow's CLB node. The word comes from a VIP
    /// of the flow's load balancer, as that of the CLB node would.
    #[cold]
    pub(super) fn complain_of_size(&mut self, now: Instant, staged: &Staged<'_>, out: &mut Outbox) {
        let parsed = staged.parsed;
        let Some(key) = staged.found.map(|id| self.tuples.key(id)) else {
            return;
        };
        let is_from = |(address, vip): &(&Address, &Arc<Vip>)| {
            vip.clb.0 == key.clb_id() && address.family() == parsed.family
        };
        let from = self.routes.vips.iter().find(is_from);
        let (Some((vip, _)), Ok(exit)) = (from, self.exit_to_owner(key.slot())) else {
            return;
        };
        let complaint = Complaint::TooBig {
            mtu: exit.inner_mtu,
        };
        let mut error = [0; icmp::ERROR_LEN_MAX];
        let len = icmp::write_error(staged.packet.bytes(), parsed, complaint, *vip, &mut error);
        let may = self.routes.mechanisms.icmp_errors && len > 0 && self.errors.take(now);
        if !may {
            return;
        }
        if let Some(mut packet) = out.originate(len) {
            packet.bytes_mut().copy_from_slice(&error[..len]);
            out.transmit(packet, PortId::BACKEND);
        }
    }

    fn living_tuple(&self, now: Instant, reply: &FlowKey) -> Option<u32> {
        let id = self.tuples.find(reply.hash(&self.routes.hash_key), reply)?;
        self.tuples.is_alive(id, now).then_some(id)
    }
}
