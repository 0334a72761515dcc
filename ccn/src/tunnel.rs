//! Into a tunnel and out of it: the GRE header, and what RFC 6040 says about ECN on the way.
//!
//! A forwarder writes from the GRE header inwards; the port adds outer IP and UDP, and gives the outer TOS
//! of what arrives as `meta.tos`. The key in the header says which load balancer and slot a packet belongs to.
//!
//! Invariant: what [`decapsulate`] accepts is exactly one IP packet, of the version that GRE announced, with
//! the congestion mark of the tunnel merged into its own. References: RFC 2784, RFC 2890, RFC 6040 §4.

use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::Family;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::port::PortId;
use anyedge_net::wire::gre::{self, GreKey};
use anyedge_net::wire::{self, Parsed, ecn, rewrite};

use crate::exits::Exit;

/// A packet that came out of a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inner {
    /// Load balancer, hop and slot.
    pub key: GreKey,
    /// The inner packet as it is now, at the start of the bytes.
    pub parsed: Parsed,
    /// What an MTU is compared with ([`Packet::wire_len`]), in bytes.
    pub wire_len: usize,
}

/// Takes the GRE header off `packet` and leaves the inner IP packet, cut to its length.
///
/// # Errors
/// [`DropReason::BadGre`]: no GRE header, one without a key, or a type that is not the inner packet's
/// version. [`DropReason::Malformed`]: the inner packet does not parse. [`DropReason::EcnConflict`]:
/// congestion was marked on a packet whose sender cannot hear it. The packet is then to be dropped.
#[inline(always)]
pub fn decapsulate(packet: &mut Packet) -> Result<Inner, DropReason> {
    let header = gre::parse(packet.bytes()).map_err(|_| DropReason::BadGre)?;
    let key = header.key.ok_or(DropReason::BadGre)?;
    let family = family_of(header.protocol).ok_or(DropReason::BadGre)?;
    packet.pop_front(header.header_len);
    let mut parsed = wire::parse(packet.bytes()).map_err(|_| DropReason::Malformed)?;
    if parsed.family != family {
        return Err(DropReason::BadGre);
    }
    packet.truncate(parsed.total_len);
    let tos = ecn::decapsulate(parsed.tos, packet.meta.tos).map_err(|_| DropReason::EcnConflict)?;
    if tos != parsed.tos {
        rewrite::set_tos(packet.bytes_mut(), &parsed, tos);
        parsed.tos = tos;
    }
    Ok(Inner {
        key,
        parsed,
        wire_len: packet.wire_len(),
    })
}

/// Puts a GRE header with `key` in front of `packet`, which `parsed` describes, and returns the outer TOS.
///
/// # Errors
/// [`DropReason::NoHeadroom`], and nothing changed.
#[inline]
pub fn encapsulate(packet: &mut Packet, parsed: &Parsed, key: GreKey) -> Result<u8, DropReason> {
    let protocol = match parsed.family {
        Family::V4 => gre::PROTOCOL_IPV4,
        Family::V6 => gre::PROTOCOL_IPV6,
    };
    let header = packet
        .push_front(gre::HEADER_LEN)
        .ok_or(DropReason::NoHeadroom)?;
    gre::write(header, protocol, key);
    Ok(ecn::encapsulate(parsed.tos))
}

/// Sends `packet`, which `parsed` describes, by `exit`: behind a GRE header with `key`, or as it is where no tunnel
/// leads. `entropy` is a hash of its flow.
#[inline]
pub fn send(
    mut packet: Packet,
    parsed: &Parsed,
    key: GreKey,
    (exit, entropy): (Exit, u16),
    out: &mut Outbox,
) {
    if exit.port == PortId::VPC {
        return out.transmit(packet, PortId::VPC);
    }
    match encapsulate(&mut packet, parsed, key) {
        Ok(tos) => out.transmit_tunnel(packet, exit.port, exit.peer, entropy, tos),
        Err(reason) => out.drop_packet(packet, reason),
    }
}

/// The version of IP that a GRE protocol type announces.
#[inline]
const fn family_of(protocol: u16) -> Option<Family> {
    match protocol {
        gre::PROTOCOL_IPV4 => Some(Family::V4),
        gre::PROTOCOL_IPV6 => Some(Family::V6),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
