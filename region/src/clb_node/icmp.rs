//! ICMP at the CLB node: senders told why their packet was dropped, errors relayed by the flow they quote.
//!
//! All of it begins where a packet is refused, so packets that pass pay nothing. Errors that the node makes come
//! from the VIP, to clients and to targets alike: the client talks to it, and a target's network must route it for
//! health checks anyway. A relayed error becomes one about the packet as its sender sent it: the quote is
//! translated like the packet was. It keeps no flow alive and ends none. docs/icmp.md has the choices.
//! References: RFC 5508 §4 (quotes, and why an error is no activity), RFC 1812 §4.3.2.8 (limit).

use anyedge_ccn::exits::Exit;
use anyedge_ccn::{probe, tunnel};
use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::FlowKey;
use anyedge_net::id::NodeId;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::port::{PortId, PortKind};
use anyedge_net::route_table::NodeKind;
use anyedge_net::slot;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::icmp::{self, Complaint};
use anyedge_net::wire::{self, Parsed, nat64, rewrite};

use super::ClbNode;
use super::renumber::GONE_NODE;
use super::snat::retell_error;
use super::staging::Entrance;
use crate::peer;
use crate::snat::Source;

/// ICMP errors that a node makes in a second, in the long run.
pub const ERRORS_PER_SECOND: u32 = 1_000;
/// ICMP errors that a node makes at once after a second of none.
pub const ERRORS_BURST: u32 = 1_000;

/// Where a packet of ours goes next.
struct NextHop {
    /// The exit and the node behind it; `None` straight to the Internet.
    tunnel: Option<(NodeId, Exit)>,
    key: GreKey,
    entropy: u16,
}

impl ClbNode {
    /// Ends a packet that staging refused: a probe taken in, an error relayed, or dropped with word to its sender.
    #[cold]
    pub(super) fn refuse(
        &mut self,
        now: Instant,
        mut packet: Packet,
        reason: DropReason,
        out: &mut Outbox,
    ) {
        // What is refused for its peer, or as no IP packet in a tunnel, has not been changed.
        if matches!(reason, DropReason::BadGre | DropReason::UnknownPeer)
            && probe::is_probe(packet.bytes())
        {
            let back = self.prober.take(now, packet, &mut self.exits, out);
            if self.prober.was_known() {
                self.sync.was_known(now);
            }
            return back
                .into_iter()
                .for_each(|peer| self.sync.send_again(now, peer));
        }
        if !matches!(
            reason,
            DropReason::TtlExpired | DropReason::UnsupportedProtocol
        ) {
            return out.drop_packet(packet, reason);
        }
        // Staging looks at TTL and protocol only after it took the tunnel off and knew the peer.
        let Ok(parsed) = wire::parse(packet.bytes()) else {
            return out.drop_packet(packet, reason);
        };
        if reason == DropReason::TtlExpired {
            self.complain_of_ttl(now, &packet, &parsed, out);
            return out.drop_packet(packet, reason);
        }
        let from_target = self.is_from_target(&packet);
        if from_target && self.take_icmp(now, packet.bytes(), &parsed, out) {
            return out.drop_packet(packet, DropReason::HealthCheck);
        }
        if icmp::quoted(packet.bytes(), &parsed).is_none() {
            return out.drop_packet(packet, reason);
        }
        let next = if from_target {
            self.relay_to_client(now, &mut packet, &parsed)
        } else {
            self.relay_to_target(now, &mut packet, &parsed)
        };
        match next {
            Ok((next, parsed)) => send(packet, &parsed, next, out),
            Err(reason) => out.drop_packet(packet, reason),
        }
    }

    /// Tells a client that its packet does not fit the way to its target; `host` is where that is, if known.
    #[cold]
    pub(super) fn complain_of_size_to_client(
        &mut self,
        now: Instant,
        (bytes, parsed): (&[u8], &Parsed),
        (entrance, host): (Entrance, Option<NodeId>),
        out: &mut Outbox,
    ) {
        let exit = host.and_then(|host| self.exits.to(host));
        // Without a target yet: what fits whichever is chosen next.
        let smallest = || {
            let clb = self.routes.clbs.get(entrance.clb.index());
            clb.map(|clb| clb.inner_mtu)
        };
        let Some(mtu) = exit.map(|exit| exit.inner_mtu).or_else(smallest) else {
            return;
        };
        let shrinks = match self.target_family(&parsed.flow, entrance.clb) {
            family if family == parsed.family => 0,
            _ => nat64::GROWTH,
        };
        let mtu = mtu.saturating_add(shrinks);
        let complaint = Complaint::TooBig { mtu };
        self.complain_to_client(now, (bytes, parsed), complaint, entrance.pop, out);
    }

    /// Tells a target that its packet does not fit the way to the client's POP.
    #[cold]
    pub(super) fn complain_of_size_to_target(
        &mut self,
        now: Instant,
        (bytes, parsed): (&[u8], &Parsed),
        id: u32,
        out: &mut Outbox,
    ) {
        let flow = self.connections.flow(id);
        let Some((_, exit)) = self.way_to_client(flow.pop, &flow.key.dst) else {
            return;
        };
        let grows = flow.source().map_or(0, |_| nat64::GROWTH);
        let mtu = exit.inner_mtu.saturating_sub(grows);
        self.complain_to_target(now, (bytes, parsed), Complaint::TooBig { mtu }, id, out);
    }

    fn complain_of_ttl(
        &mut self,
        now: Instant,
        packet: &Packet,
        parsed: &Parsed,
        out: &mut Outbox,
    ) {
        let seen = (packet.bytes(), parsed);
        if !self.is_from_target(packet) {
            let pop = match peer::kind_of(&self.routes, packet.meta.peer) {
                Some(NodeKind::ClbNode(_)) => GONE_NODE, // the hop hides where it entered
                Some(NodeKind::Pop | NodeKind::Host(_)) | None => packet.meta.peer,
            };
            return self.complain_to_client(now, seen, Complaint::TtlExpired, pop, out);
        }
        if let Some(id) = self.living_reply(now, &parsed.flow) {
            self.complain_to_target(now, seen, Complaint::TtlExpired, id, out);
        }
    }

    /// Sends an error about a client's packet, which `pop` brought (`UNKNOWN`: the Internet), back there.
    fn complain_to_client(
        &mut self,
        now: Instant,
        (bytes, parsed): (&[u8], &Parsed),
        complaint: Complaint,
        pop: NodeId,
        out: &mut Outbox,
    ) {
        let vip = parsed.flow.dst;
        let Some(clb) = self.served.clb_of(&vip) else {
            return;
        };
        let tunnel = match pop {
            NodeId::UNKNOWN => None,
            pop => match self.way_to_client(pop, &vip) {
                None => return,
                way => way,
            },
        };
        let hash = parsed.flow.hash(&self.routes.hash_key);
        let slot = slot::of_hash(self.spread_hash(clb, parsed, hash));
        let next = NextHop {
            tunnel,
            key: GreKey::new(clb.0, false, slot),
            entropy: (hash >> 48) as u16,
        };
        let mut error = [0; icmp::ERROR_LEN_MAX];
        let len = icmp::write_error(bytes, parsed, complaint, vip, &mut error);
        self.say(now, &error[..len], next, out);
    }

    /// Sends an error about a target's packet of a flow back to the target's host.
    fn complain_to_target(
        &mut self,
        now: Instant,
        (bytes, parsed): (&[u8], &Parsed),
        complaint: Complaint,
        id: u32,
        out: &mut Outbox,
    ) {
        let flow = self.connections.flow(id);
        let Some(exit) = self.exits.to(flow.host) else {
            return;
        };
        let next = NextHop {
            tunnel: Some((flow.host, exit)),
            key: GreKey::new(flow.clb.0, false, flow.slot),
            entropy: (parsed.flow.hash(&self.routes.hash_key) >> 48) as u16,
        };
        let mut error = [0; icmp::ERROR_LEN_MAX];
        // A target knows the VIP by the address that it takes for the client's, if it has another family.
        let from = flow.source().map_or(flow.key.dst, Source::address);
        let len = icmp::write_error(bytes, parsed, complaint, from, &mut error);
        self.say(now, &error[..len], next, out);
    }

    /// Sends an error that was written, within the limit; nothing was written if none may be sent.
    fn say(&mut self, now: Instant, error: &[u8], next: NextHop, out: &mut Outbox) {
        let Ok(parsed) = wire::parse(error) else {
            return;
        };
        if !self.routes.mechanisms.icmp_errors || !self.errors.take(now) {
            return;
        }
        let Some(mut packet) = out.originate(error.len()) else {
            return;
        };
        packet.bytes_mut().copy_from_slice(error);
        send(packet, &parsed, next, out);
    }

    /// Makes an error about a packet from VIP to client one about the packet that the target sent.
    fn relay_to_target(
        &self,
        now: Instant,
        packet: &mut Packet,
        parsed: &Parsed,
    ) -> Result<(NextHop, Parsed), DropReason> {
        let key = quoted_flow(packet.bytes(), parsed)?.reversed();
        let hash = key.hash(&self.routes.hash_key);
        let id = self.connections.find(hash, &key);
        let id = id.filter(|id| self.connections.is_alive(*id, now));
        let flow = self.connections.flow(id.ok_or(DropReason::NoFlow)?);
        let exit = self.exit_to_host(flow.host, packet.len())?;
        let bytes = packet.bytes_mut();
        if !rewrite::decrement_ttl(bytes, parsed) {
            return Err(DropReason::TtlExpired);
        }
        let next = NextHop {
            tunnel: Some((flow.host, exit)),
            key: GreKey::new(flow.clb.0, false, flow.slot),
            entropy: (hash >> 48) as u16,
        };
        if flow.source().is_some() {
            let parsed = retell_error(packet, parsed, &flow.reply_key())?;
            return Ok((next, parsed));
        }
        let (target, port) = flow.server();
        if !icmp::set_quoted_source(bytes, parsed, target, port) {
            return Err(DropReason::NoFlow);
        }
        rewrite::set_destination(bytes, parsed, target, 0);
        Ok((next, *parsed))
    }

    /// Makes an error about a packet from client to target one about the packet that the client sent.
    fn relay_to_client(
        &self,
        now: Instant,
        packet: &mut Packet,
        parsed: &Parsed,
    ) -> Result<(NextHop, Parsed), DropReason> {
        let reply = quoted_flow(packet.bytes(), parsed)?.reversed();
        let id = self.living_reply(now, &reply).ok_or(DropReason::NoFlow)?;
        let flow = self.connections.flow(id);
        let (vip, vip_port) = (flow.key.dst, flow.key.dst_port);
        let tunnel = match flow.pop {
            NodeId::UNKNOWN => None,
            pop => Some(self.way_to_client(pop, &vip).ok_or(DropReason::NoPath)?),
        };
        if tunnel.is_some_and(|(_, exit)| packet.len() > usize::from(exit.inner_mtu)) {
            return Err(DropReason::TooBig);
        }
        let bytes = packet.bytes_mut();
        if !rewrite::decrement_ttl(bytes, parsed) {
            return Err(DropReason::TtlExpired);
        }
        let mut told = *parsed;
        if flow.source().is_some() {
            told = retell_error(packet, parsed, &flow.key)?;
        } else if !icmp::set_quoted_destination(bytes, parsed, vip, vip_port) {
            return Err(DropReason::NoFlow);
        }
        let bytes = packet.bytes_mut();
        if flow.telling.proxy.is_some() {
            let (telling, isn) = (flow.telling, flow.life().isn());
            icmp::map_quoted_sequence(bytes, &told, |number| telling.to_client(number, isn));
        }
        // Whichever router behind the VIP complained, only the VIP's word leaves: a POP lets nothing else out.
        rewrite::set_source(bytes, &told, vip, 0);
        let next = NextHop {
            tunnel,
            key: GreKey::new(flow.clb.0, false, flow.slot),
            entropy: (reply.hash(&self.routes.hash_key) >> 48) as u16,
        };
        Ok((next, told))
    }

    fn living_reply(&self, now: Instant, reply: &FlowKey) -> Option<u32> {
        let hash = reply.hash(&self.routes.hash_key);
        let id = self.connections.find_reply(hash, reply)?;
        self.connections.is_alive(id, now).then_some(id)
    }

    fn is_from_target(&self, packet: &Packet) -> bool {
        match packet.meta.port.kind() {
            Some(PortKind::Vpc) => true,
            Some(PortKind::Tunnel) => matches!(
                peer::kind_of(&self.routes, packet.meta.peer),
                Some(NodeKind::Host(_))
            ),
            Some(PortKind::Local | PortKind::Public | PortKind::Backend) | None => false,
        }
    }
}

/// The packet that an error is about, as quoted; its sender must be who the error is sent to.
///
/// # Errors
/// [`DropReason::NoFlow`]: it quotes nothing that a flow could be known by.
pub(crate) fn quoted_flow(bytes: &[u8], parsed: &Parsed) -> Result<FlowKey, DropReason> {
    icmp::quoted(bytes, parsed)
        .and_then(icmp::quoted_flow)
        .filter(|sent| sent.src == parsed.flow.dst)
        .ok_or(DropReason::NoFlow)
}

fn send(packet: Packet, parsed: &Parsed, next: NextHop, out: &mut Outbox) {
    let Some((_, exit)) = next.tunnel else {
        return out.transmit(packet, PortId::PUBLIC);
    };
    tunnel::send(packet, parsed, next.key, (exit, next.entropy), out);
}
