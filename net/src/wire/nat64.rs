//! NAT64: one packet in the other family's clothes, in place; and ICMP errors, which are written anew.
//!
//! The header is exchanged, the transport header and what follows stay where they are: only ports and the checksum
//! that covers addresses change, incrementally. What the other family has no place for (IPv4 options, IPv6 extension
//! headers, the flow label) is left out. An IPv6 packet has DF, and so has what becomes of it, whatever its length
//! (RFC 7915 §5.1.1 would let those up to 1,260 bytes be cut; the ways behind a translator of ours carry 1,280).
//!
//! Both ends are given, since a stateful translator knows them from its flow. References: RFC 7915 (headers, errors),
//! RFC 6146 (the state), RFC 1624 (checksums).

use super::icmp::{self, HEADER_LEN as ICMP_LEN};
use super::ip::{self, Header};
use super::{Fragment, Parsed, fragment, ipv4, ipv6, tcp, udp};
use crate::checksum::{self, Change};
use crate::flow::{Address, Family, FlowKey};
use crate::packet::Packet;

/// What a packet is longer in IPv6, in bytes, unless it is a fragment or has options.
pub const GROWTH: u16 = (ipv6::HEADER_LEN - ipv4::HEADER_LEN) as u16;

/// What a fragment is longer in IPv6, in bytes.
pub const FRAGMENT_GROWTH: u16 = GROWTH + ipv6::FRAGMENT_HEADER_LEN as u16;

/// The longest packet of either family, header included, that both can carry, in bytes of IPv4.
const LEN_MAX_V4: usize = u16::MAX as usize;

/// Exchanges the IP header of a TCP or UDP packet for one of the family of `ends`, from source to destination, and
/// puts their ports in. TTL and TOS are those that the packet has. Returns what it is now.
///
/// `None`, and nothing changed: it is of that family already, is neither TCP nor UDP, would be too long, its slot has no
/// room in front, or it is the first fragment of a datagram without a checksum, which IPv6 cannot do without
/// (RFC 7915 §4.5).
///
/// # Panics
/// If `ends` are of two families, or the packet is not the one that was parsed.
pub fn translate(packet: &mut Packet, parsed: &Parsed, ends: &FlowKey) -> Option<Parsed> {
    let family = ends.family();
    let protocol = parsed.flow.protocol;
    let carried = matches!(protocol, tcp::PROTOCOL | udp::PROTOCOL);
    // A fragment that begins with an extension header counts its offsets from there.
    let aligned = parsed
        .fragment
        .is_none_or(|piece| piece.protocol == protocol);
    if family == parsed.family || !carried || !aligned {
        return None;
    }
    let bytes = packet.bytes();
    let (old_src, old_dst) = (ip::source(bytes)?, ip::destination(bytes)?);
    let header_len = header_len(parsed, family);
    let l4_len = usize::from(parsed.l4_len);
    let too_long = ipv4::HEADER_LEN + l4_len > LEN_MAX_V4
        || header_len - ip::header_len(family) + l4_len > usize::from(u16::MAX);
    let partial = packet.meta.offload.partial;
    let has_ports = !parsed.is_later_fragment();
    let unsummed = has_ports && !partial && lacks_checksum(bytes, parsed);
    if too_long || (unsummed && family == Family::V6 && parsed.fragment.is_some()) {
        return None;
    }
    let header = Header {
        src: ends.src,
        dst: ends.dst,
        protocol,
        ttl: ttl_of(bytes, parsed.family),
        tos: tos_of(bytes, parsed.family),
        payload_len: l4_len,
    };
    resize_front(packet, usize::from(parsed.l4_offset), header_len)?;
    let bytes = packet.bytes_mut();
    match parsed.fragment {
        Some(piece) => fragment::write_header(bytes, &header, &renamed(&piece, family)),
        None => header.write(bytes),
    };
    if has_ports {
        let l4 = &mut bytes[header_len..header_len + l4_len];
        if !partial && !unsummed {
            repair_checksum(l4, protocol, (old_src, old_dst), ends);
        }
        l4[..2].copy_from_slice(&ends.src_port.to_be_bytes());
        l4[2..4].copy_from_slice(&ends.dst_port.to_be_bytes());
        if unsummed && family == Family::V6 {
            udp::fill_checksum(l4, ends.src, ends.dst);
        }
    }
    let offload = &mut packet.meta.offload;
    if offload.segment_len != 0 {
        let segment_l4 = offload.segment_len - parsed.l4_offset;
        offload.segment_len = segment_l4 + header_len as u16;
    }
    Some(Parsed {
        flow: FlowKey { protocol, ..*ends },
        family,
        l4_offset: header_len as u16,
        total_len: header_len + l4_len,
        fragment: parsed.fragment.map(|piece| renamed(&piece, family)),
        dont_fragment: family == Family::V6 || parsed.fragment.is_none(),
        ..*parsed
    })
}

/// What an MTU is compared with once a packet is of that family (see [`Packet::wire_len`]).
pub fn len_in(packet: &Packet, parsed: &Parsed, family: Family) -> usize {
    let l4_len = packet.wire_len() - usize::from(parsed.l4_offset);
    l4_len + header_len(parsed, family)
}

/// The length of the header that [`translate`] writes.
const fn header_len(parsed: &Parsed, family: Family) -> usize {
    match parsed.fragment {
        Some(_) => fragment::header_len(family),
        None => ip::header_len(family),
    }
}

/// Writes an ICMP error of the other family that says what `packet` does, to the start of `out`; returns its length.
///
/// It goes from `from` to the source of `sent`, which is the packet that it is about as its sender knows it. 0, and
/// nothing written: the other family has no such error (RFC 7915 §4.2, §5.2), or it quotes no transport header.
///
/// # Panics
/// If `from` and `sent` are of two families, or `out` is shorter than [`icmp::ERROR_LEN_MAX`].
pub fn write_error(
    bytes: &[u8],
    parsed: &Parsed,
    from: Address,
    sent: &FlowKey,
    out: &mut [u8],
) -> usize {
    let family = from.family();
    let mapped = match family {
        Family::V6 => error_to_v6(bytes, parsed),
        Family::V4 => error_to_v4(bytes, parsed),
    };
    let Some((head, (quote_len, l4))) = mapped.zip(quoted_l4(bytes, parsed)) else {
        return 0;
    };
    let (protocol, len_max) = match family {
        Family::V4 => (icmp::PROTOCOL_V4, icmp::ERROR_LEN_MAX_V4),
        Family::V6 => (icmp::PROTOCOL_V6, icmp::ERROR_LEN_MAX),
    };
    let ip_len = ip::header_len(family);
    let l4 = &l4[..l4.len().min(len_max - 2 * ip_len - ICMP_LEN)];
    let error = Header {
        src: from,
        dst: sent.src,
        protocol,
        ttl: ttl_of(bytes, parsed.family),
        tos: 0,
        payload_len: ICMP_LEN + ip_len + l4.len(),
    };
    let about = Header {
        src: sent.src,
        dst: sent.dst,
        protocol: sent.protocol,
        ttl: 1,
        tos: 0,
        payload_len: quote_len,
    };
    let at = error.write(out);
    let message = &mut out[at..at + error.payload_len];
    message[..ICMP_LEN].copy_from_slice(&head);
    about.write(&mut message[ICMP_LEN..]);
    let quote = &mut message[ICMP_LEN + ip_len..];
    quote.copy_from_slice(l4);
    let was = quoted_ends(bytes, parsed);
    if let Some(was) = was.filter(|_| has_checksum(quote, sent.protocol)) {
        repair_checksum(quote, sent.protocol, was, sent);
    }
    quote[..2].copy_from_slice(&sent.src_port.to_be_bytes());
    quote[2..4].copy_from_slice(&sent.dst_port.to_be_bytes());
    icmp::fill_checksum(message, from, sent.src);
    at + error.payload_len
}

/// The header of the ICMPv6 message for an ICMP error (RFC 7915 §4.2).
fn error_to_v6(bytes: &[u8], parsed: &Parsed) -> Option<[u8; ICMP_LEN]> {
    let plain = |kind: u8, code: u8| Some([kind, code, 0, 0, 0, 0, 0, 0]);
    let (kind, code) = icmp::kind(bytes, parsed)?;
    match (kind, code) {
        (icmp::V4_UNREACHABLE, icmp::V4_CODE_TOO_BIG) => {
            let mtu = icmp::too_big_mtu(bytes, parsed)?;
            // A router older than RFC 1191 says 0; the least that IPv6 has is what every way carries.
            let mtu = mtu.saturating_add(GROWTH.into()).max(ipv6::MTU_MIN.into());
            let [a, b, c, d] = mtu.to_be_bytes();
            Some([icmp::V6_TOO_BIG, 0, 0, 0, a, b, c, d])
        }
        (icmp::V4_UNREACHABLE, icmp::V4_CODE_PORT) => {
            plain(icmp::V6_UNREACHABLE, icmp::V6_CODE_PORT)
        }
        // Protocol unreachable and source route failed have no counterpart that a sender of ours could act upon.
        (icmp::V4_UNREACHABLE, 2 | 5) => None,
        (icmp::V4_UNREACHABLE, 9 | 10 | 13 | 15) => plain(icmp::V6_UNREACHABLE, CODE_PROHIBITED),
        (icmp::V4_UNREACHABLE, 0..=12) => plain(icmp::V6_UNREACHABLE, 0),
        (icmp::V4_TIME_EXCEEDED, code) => plain(icmp::V6_TIME_EXCEEDED, code),
        _ => None,
    }
}

/// The header of the ICMP message for an ICMPv6 error (RFC 7915 §5.2).
fn error_to_v4(bytes: &[u8], parsed: &Parsed) -> Option<[u8; ICMP_LEN]> {
    let plain = |kind: u8, code: u8| Some([kind, code, 0, 0, 0, 0, 0, 0]);
    let (kind, code) = icmp::kind(bytes, parsed)?;
    match (kind, code) {
        (icmp::V6_TOO_BIG, _) => {
            let mtu = icmp::too_big_mtu(bytes, parsed)?;
            let mtu = mtu.saturating_sub(GROWTH.into()).min(u16::MAX.into()) as u16;
            let [high, low] = mtu.to_be_bytes();
            Some([
                icmp::V4_UNREACHABLE,
                icmp::V4_CODE_TOO_BIG,
                0,
                0,
                0,
                0,
                high,
                low,
            ])
        }
        (icmp::V6_UNREACHABLE, icmp::V6_CODE_PORT) => {
            plain(icmp::V4_UNREACHABLE, icmp::V4_CODE_PORT)
        }
        (icmp::V6_UNREACHABLE, CODE_PROHIBITED) => plain(icmp::V4_UNREACHABLE, 10),
        (icmp::V6_UNREACHABLE, 0 | 2 | 3) => plain(icmp::V4_UNREACHABLE, icmp::V4_CODE_HOST),
        (icmp::V6_TIME_EXCEEDED, code) => plain(icmp::V4_TIME_EXCEEDED, code),
        _ => None,
    }
}

/// Code of [`icmp::V6_UNREACHABLE`]: communication administratively prohibited.
const CODE_PROHIBITED: u8 = 1;

/// What an error quotes of the transport header and on, and how long that was in the packet.
fn quoted_l4<'a>(bytes: &'a [u8], parsed: &Parsed) -> Option<(usize, &'a [u8])> {
    let quote = icmp::quoted(bytes, parsed)?;
    let l4 = icmp::quoted_l4(quote)?;
    let word = |at: usize| usize::from(u16::from_be_bytes([quote[at], quote[at + 1]]));
    let announced = match parsed.family {
        Family::V4 => word(2),
        Family::V6 => ipv6::HEADER_LEN + word(4),
    };
    let header_len = quote.len() - l4.len();
    let len = announced.saturating_sub(header_len).max(l4.len());
    // What the quote says of its length is not believed beyond what a packet can have.
    let len = len.min(LEN_MAX_V4 - ipv4::HEADER_LEN);
    (l4.len() >= 4).then_some((len, l4))
}

fn quoted_ends(bytes: &[u8], parsed: &Parsed) -> Option<(Address, Address)> {
    let flow = icmp::quoted_flow(icmp::quoted(bytes, parsed)?)?;
    Some((flow.src, flow.dst))
}

/// Whether a transport header that may be cut short has its checksum, and has one at all.
fn has_checksum(l4: &[u8], protocol: u8) -> bool {
    let Some(at) = checksum_at(protocol) else {
        return false;
    };
    let check = l4.get(at..at + 2);
    check.is_some_and(|check| protocol == tcp::PROTOCOL || check != [0, 0])
}

const fn checksum_at(protocol: u8) -> Option<usize> {
    match protocol {
        tcp::PROTOCOL => Some(tcp::CHECKSUM_AT),
        udp::PROTOCOL => Some(udp::CHECKSUM_AT),
        _ => None,
    }
}

/// Whether this is UDP over IPv4 whose sender made no checksum.
fn lacks_checksum(bytes: &[u8], parsed: &Parsed) -> bool {
    let is_udp = parsed.flow.protocol == udp::PROTOCOL;
    is_udp && !has_checksum(parsed.l4(bytes), udp::PROTOCOL)
}

/// Makes the checksum of a transport header, with the ports that it has, that of other ends with their ports.
fn repair_checksum(
    l4: &mut [u8],
    protocol: u8,
    (old_src, old_dst): (Address, Address),
    ends: &FlowKey,
) {
    let Some(at) = checksum_at(protocol) else {
        return;
    };
    let word = |at: usize| u16::from_be_bytes([l4[at], l4[at + 1]]);
    let mut check = word(at);
    for (old, new) in [(old_src, ends.src), (old_dst, ends.dst)] {
        check = Change::of128(wide(old), wide(new)).applied_to(check);
    }
    check = checksum::update16(check, word(0), ends.src_port);
    check = checksum::update16(check, word(2), ends.dst_port);
    if protocol == udp::PROTOCOL && check == 0 {
        check = 0xffff;
    }
    l4[at..at + 2].copy_from_slice(&check.to_be_bytes());
}

/// An address as a number that sums to the same in a pseudo-header: it does not matter where its words stand.
fn wide(address: Address) -> u128 {
    match (address.v4_octets(), address.v6_octets()) {
        (_, Some(octets)) => u128::from_be_bytes(octets),
        (Some(octets), None) => u128::from(u32::from_be_bytes(octets)),
        (None, None) => 0,
    }
}

/// The same place in a packet of the other family, whose identification is shorter or longer (RFC 7915 §4.1, §5.1.1).
fn renamed(piece: &Fragment, family: Family) -> Fragment {
    Fragment {
        id: match family {
            Family::V4 => piece.id & 0xffff,
            Family::V6 => piece.id,
        },
        ..*piece
    }
}

/// Gives the packet a header of another length; `None`, and nothing changed, without room in front.
fn resize_front(packet: &mut Packet, old_len: usize, new_len: usize) -> Option<()> {
    if new_len > old_len {
        packet.push_front(new_len - old_len)?;
    } else {
        packet.pop_front(old_len - new_len);
    }
    Some(())
}

fn ttl_of(bytes: &[u8], family: Family) -> u8 {
    match family {
        Family::V4 => bytes[8],
        Family::V6 => bytes[7],
    }
}

fn tos_of(bytes: &[u8], family: Family) -> u8 {
    match family {
        Family::V4 => bytes[1],
        Family::V6 => bytes[0] << 4 | bytes[1] >> 4,
    }
}

#[cfg(test)]
mod tests;
