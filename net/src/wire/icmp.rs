//! ICMP and ICMPv6: types and codes, echo, and the packet that an error quotes.
//!
//! An error travels by the flow of the packet it quotes: a forwarder finds that flow in the quote, which is cut
//! short and may have been changed on its way, so it is read leniently, apart from `wire::parse`.
//! References: RFC 792, RFC 4443, RFC 4884 (length of the quote), RFC 5508 §4 (NAT), RFC 8201 and RFC 1191 (MTU).

use super::ip::{DEFAULT_TTL, Header};
use super::{Parsed, ipv4, ipv6, tcp, udp};
use crate::checksum;
use crate::flow::{Address, Family, FlowKey};

/// IP protocol number of ICMP for IPv4.
pub const PROTOCOL_V4: u8 = 1;
/// IP protocol number of ICMPv6.
pub const PROTOCOL_V6: u8 = 58;

/// The header of every message that we read, in bytes.
pub const HEADER_LEN: usize = 8;

/// IPv4 echo reply.
pub const V4_ECHO_REPLY: u8 = 0;
/// IPv4 destination unreachable.
pub const V4_UNREACHABLE: u8 = 3;
/// IPv4 source quench (deprecated by RFC 6633), still an error with a quote.
pub const V4_SOURCE_QUENCH: u8 = 4;
/// IPv4 redirect.
pub const V4_REDIRECT: u8 = 5;
/// IPv4 echo request.
pub const V4_ECHO_REQUEST: u8 = 8;
/// IPv4 time exceeded.
pub const V4_TIME_EXCEEDED: u8 = 11;
/// IPv4 parameter problem.
pub const V4_PARAMETER_PROBLEM: u8 = 12;
/// Code of [`V4_UNREACHABLE`]: host unreachable.
pub const V4_CODE_HOST: u8 = 1;
/// Code of [`V4_UNREACHABLE`]: port unreachable.
pub const V4_CODE_PORT: u8 = 3;
/// Code of [`V4_UNREACHABLE`]: fragmentation needed and DF set; bytes 6 and 7 hold the MTU (RFC 1191).
pub const V4_CODE_TOO_BIG: u8 = 4;

/// IPv6 destination unreachable.
pub const V6_UNREACHABLE: u8 = 1;
/// IPv6 packet too big; bytes 4 to 7 hold the MTU.
pub const V6_TOO_BIG: u8 = 2;
/// IPv6 time exceeded.
pub const V6_TIME_EXCEEDED: u8 = 3;
/// IPv6 parameter problem.
pub const V6_PARAMETER_PROBLEM: u8 = 4;
/// IPv6 redirect (RFC 4861 §4.5): no error by its type, yet none may be sent about it.
pub const V6_REDIRECT: u8 = 137;
/// IPv6 echo request.
pub const V6_ECHO_REQUEST: u8 = 128;
/// IPv6 echo reply.
pub const V6_ECHO_REPLY: u8 = 129;
/// Code of [`V6_UNREACHABLE`]: address unreachable.
pub const V6_CODE_ADDRESS: u8 = 3;
/// Code of [`V6_UNREACHABLE`]: port unreachable.
pub const V6_CODE_PORT: u8 = 4;

/// The longest packet that [`write_error`] makes, in bytes: 576 for IPv4 (RFC 1812 §4.3.2.3), 1,280 for
/// IPv6 (RFC 4443 §2.4(c)).
pub const ERROR_LEN_MAX: usize = 1_280;

pub(super) const CHECKSUM_AT: usize = 2;

pub(super) const ERROR_LEN_MAX_V4: usize = 576;

/// What a forwarder tells the sender of a packet that it dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// The next tunnel takes packets of at most so many bytes (IPv4: fragmentation needed; IPv6: packet too big).
    TooBig {
        /// Of the IP packet, in bytes.
        mtu: u16,
    },
    /// The TTL or hop limit is used up in transit.
    TtlExpired,
}

/// An echo request or reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// A request; else a reply.
    pub request: bool,
    /// Which series of echoes.
    pub ident: u16,
    /// Which one of the series.
    pub sequence: u16,
}

impl Echo {
    /// Its header, with a checksum of 0.
    pub const fn header(self, family: Family) -> [u8; HEADER_LEN] {
        let kind = match (family, self.request) {
            (Family::V4, true) => V4_ECHO_REQUEST,
            (Family::V4, false) => V4_ECHO_REPLY,
            (Family::V6, true) => V6_ECHO_REQUEST,
            (Family::V6, false) => V6_ECHO_REPLY,
        };
        let [ident, sequence] = [self.ident.to_be_bytes(), self.sequence.to_be_bytes()];
        [kind, 0, 0, 0, ident[0], ident[1], sequence[0], sequence[1]]
    }
}

/// The type and code of an ICMP or ICMPv6 message; `None` for other packets and for later fragments.
#[inline]
pub fn kind(bytes: &[u8], parsed: &Parsed) -> Option<(u8, u8)> {
    let l4 = message(bytes, parsed)?;
    Some((l4[0], l4[1]))
}

/// The echo in a packet, if it is one.
pub fn echo(bytes: &[u8], parsed: &Parsed) -> Option<Echo> {
    let l4 = message(bytes, parsed)?;
    let request = match (parsed.family, l4[0]) {
        (Family::V4, V4_ECHO_REQUEST) | (Family::V6, V6_ECHO_REQUEST) => true,
        (Family::V4, V4_ECHO_REPLY) | (Family::V6, V6_ECHO_REPLY) => false,
        _ => return None,
    };
    Some(Echo {
        request,
        ident: u16::from_be_bytes([l4[4], l4[5]]),
        sequence: u16::from_be_bytes([l4[6], l4[7]]),
    })
}

/// The packet that an error quotes, from its IP header on, usually cut short; `None` if this is no error.
///
/// A length field (RFC 4884) that is set and plausible cuts extension objects away.
pub fn quoted<'a>(bytes: &'a [u8], parsed: &Parsed) -> Option<&'a [u8]> {
    let l4 = message(bytes, parsed)?;
    let is_error = match parsed.family {
        Family::V4 => matches!(
            l4[0],
            V4_UNREACHABLE
                | V4_SOURCE_QUENCH
                | V4_REDIRECT
                | V4_TIME_EXCEEDED
                | V4_PARAMETER_PROBLEM
        ),
        Family::V6 => l4[0] < 128,
    };
    if !is_error {
        return None;
    }
    let quote = &l4[HEADER_LEN..];
    let announced = match (parsed.family, l4[0]) {
        (Family::V4, V4_UNREACHABLE | V4_TIME_EXCEEDED | V4_PARAMETER_PROBLEM) => {
            usize::from(l4[5]) * 4
        }
        (Family::V6, V6_UNREACHABLE | V6_TIME_EXCEEDED) => usize::from(l4[4]) * 8,
        _ => 0,
    };
    if announced == 0 {
        return Some(quote);
    }
    Some(quote.get(..announced).unwrap_or(quote))
}

/// The MTU that a "too big" error reports, in bytes; `None` for other messages.
///
/// 0 from a router older than RFC 1191.
pub fn too_big_mtu(bytes: &[u8], parsed: &Parsed) -> Option<u32> {
    let l4 = message(bytes, parsed)?;
    match (parsed.family, l4[0], l4[1]) {
        (Family::V4, V4_UNREACHABLE, V4_CODE_TOO_BIG) => {
            Some(u32::from(u16::from_be_bytes([l4[6], l4[7]])))
        }
        (Family::V6, V6_TOO_BIG, _) => Some(u32::from_be_bytes([l4[4], l4[5], l4[6], l4[7]])),
        _ => None,
    }
}

/// The flow of a quoted packet as it was sent; the answer's direction is `reversed()`.
///
/// Needs the IP header and, for TCP and UDP, four bytes more; lengths and checksums of the quote are not
/// believed. `None` if it is cut shorter, malformed, or a later fragment.
pub fn quoted_flow(quote: &[u8]) -> Option<FlowKey> {
    let (src, dst, protocol, l4) = quoted_parts(quote)?;
    let mut flow = FlowKey {
        src,
        dst,
        src_port: 0,
        dst_port: 0,
        protocol,
    };
    if matches!(protocol, tcp::PROTOCOL | udp::PROTOCOL) {
        let ports = l4.first_chunk::<4>()?;
        flow.src_port = u16::from_be_bytes([ports[0], ports[1]]);
        flow.dst_port = u16::from_be_bytes([ports[2], ports[3]]);
    }
    Some(flow)
}

/// The transport header of a quoted packet and what the quote has behind it; `None` as for [`quoted_flow`].
pub(super) fn quoted_l4(quote: &[u8]) -> Option<&[u8]> {
    let (_, _, _, l4) = quoted_parts(quote)?;
    Some(l4)
}

fn quoted_parts(quote: &[u8]) -> Option<(Address, Address, u8, &[u8])> {
    match quote.first()? >> 4 {
        4 => quoted_v4(quote),
        6 => quoted_v6(quote),
        _ => None,
    }
}

fn quoted_v4(quote: &[u8]) -> Option<(Address, Address, u8, &[u8])> {
    let head = quote.first_chunk::<{ ipv4::HEADER_LEN }>()?;
    let header_len = usize::from(head[0] & 0x0f) * 4;
    let offset = u16::from_be_bytes([head[6], head[7]]) & 0x1fff;
    if header_len < ipv4::HEADER_LEN || offset != 0 {
        return None;
    }
    let src = Address::v4([head[12], head[13], head[14], head[15]]);
    let dst = Address::v4([head[16], head[17], head[18], head[19]]);
    Some((src, dst, head[9], quote.get(header_len..)?))
}

fn quoted_v6(quote: &[u8]) -> Option<(Address, Address, u8, &[u8])> {
    let (head, mut rest) = quote.split_first_chunk::<{ ipv6::HEADER_LEN }>()?;
    let (mut src, mut dst) = ([0; 16], [0; 16]);
    src.copy_from_slice(&head[8..24]);
    dst.copy_from_slice(&head[24..40]);
    let mut protocol = head[6];
    for _ in 0..ipv6::EXTENSIONS_MAX {
        if !ipv6::is_extension(protocol) {
            break;
        }
        if ipv6::is_later_fragment(protocol, rest)? {
            return None;
        }
        let (next, length) = ipv6::skip_extension(protocol, rest)?;
        rest = rest.get(length..)?;
        protocol = next;
    }
    if ipv6::is_extension(protocol) {
        return None;
    }
    Some((Address::v6(src), Address::v6(dst), protocol, rest))
}

/// Turns an echo request into its reply in place: type, addresses, TTL 64 and checksums; `false`, and nothing
/// changed, for anything else, fragments, and requests to or from an address that is no single host's.
///
/// # Panics
/// If `bytes` is shorter than the packet parsed.
pub fn answer_echo(bytes: &mut [u8], parsed: &Parsed) -> bool {
    let is_request = echo(bytes, parsed).is_some_and(|echo| echo.request);
    let flow = parsed.flow;
    if !is_request || parsed.fragment.is_some() || no_host(flow.src) || no_host(flow.dst) {
        return false;
    }
    super::rewrite::set_source(bytes, parsed, flow.dst, 0);
    super::rewrite::set_destination(bytes, parsed, flow.src, 0);
    super::rewrite::set_ttl(bytes, parsed, DEFAULT_TTL);
    let (request, reply) = match parsed.family {
        Family::V4 => (V4_ECHO_REQUEST, V4_ECHO_REPLY),
        Family::V6 => (V6_ECHO_REQUEST, V6_ECHO_REPLY),
    };
    let l4 = parsed.l4_mut(bytes);
    let check = u16::from_be_bytes([l4[CHECKSUM_AT], l4[CHECKSUM_AT + 1]]);
    let (old, new) = (u16::from(request) << 8, u16::from(reply) << 8);
    // A reply of nothing but zeros, which only ICMP of IPv4 can be, sums to zero with a checksum of zero.
    let check = match checksum::update16(check, old, new) {
        0 => 0xffff,
        check => check,
    };
    l4[0] = reply;
    l4[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&check.to_be_bytes());
    true
}

/// Writes the error that tells a packet's sender why it was dropped, from `from`, to the start of `out`; returns
/// its length. The packet is quoted as far as the length allows.
///
/// 0, and nothing written, if no error may be sent (RFC 1122 §3.2.2, RFC 4443 §2.4(e)): about an ICMP error
/// or redirect, about a later fragment, to or about an address that is no single host's, and "too big" about a
/// packet that may be fragmented.
///
/// # Panics
/// If `out` is shorter than [`ERROR_LEN_MAX`] or `from` is of another family than the packet.
pub fn write_error(
    bytes: &[u8],
    parsed: &Parsed,
    complaint: Complaint,
    from: Address,
    out: &mut [u8],
) -> usize {
    let flow = parsed.flow;
    let about_error = quoted(bytes, parsed).is_some() || is_redirect(bytes, parsed);
    if about_error || parsed.is_later_fragment() || no_host(flow.src) || no_host(flow.dst) {
        return 0;
    }
    let may_be_fragmented = !parsed.dont_fragment;
    let head = match (parsed.family, complaint) {
        (_, Complaint::TooBig { .. }) if may_be_fragmented => return 0,
        (Family::V4, Complaint::TooBig { mtu }) => {
            let [high, low] = mtu.to_be_bytes();
            [V4_UNREACHABLE, V4_CODE_TOO_BIG, 0, 0, 0, 0, high, low]
        }
        (Family::V6, Complaint::TooBig { mtu }) => {
            let [high, low] = mtu.to_be_bytes();
            [V6_TOO_BIG, 0, 0, 0, 0, 0, high, low]
        }
        (Family::V4, Complaint::TtlExpired) => [V4_TIME_EXCEEDED, 0, 0, 0, 0, 0, 0, 0],
        (Family::V6, Complaint::TtlExpired) => [V6_TIME_EXCEEDED, 0, 0, 0, 0, 0, 0, 0],
    };
    let (protocol, len_max) = match parsed.family {
        Family::V4 => (PROTOCOL_V4, ERROR_LEN_MAX_V4),
        Family::V6 => (PROTOCOL_V6, ERROR_LEN_MAX),
    };
    let room = len_max - super::ip::header_len(parsed.family) - HEADER_LEN;
    let quote = &bytes[..parsed.total_len.min(room)];
    let header = Header {
        src: from,
        dst: flow.src,
        protocol,
        ttl: DEFAULT_TTL,
        tos: 0,
        payload_len: HEADER_LEN + quote.len(),
    };
    let at = header.write(out);
    let message = &mut out[at..at + header.payload_len];
    message[..HEADER_LEN].copy_from_slice(&head);
    message[HEADER_LEN..].copy_from_slice(quote);
    fill_checksum(message, from, flow.src);
    at + header.payload_len
}

/// Whether an address does not name one host that could be answered (RFC 1122 §3.2.1.3).
fn no_host(address: Address) -> bool {
    match address.v4_octets() {
        Some([first, ..]) => matches!(first, 0 | 127 | 224..),
        None => address.is_multicast() || address.is_unspecified(),
    }
}

fn is_redirect(bytes: &[u8], parsed: &Parsed) -> bool {
    parsed.family == Family::V6 && kind(bytes, parsed).is_some_and(|(of, _)| of == V6_REDIRECT)
}

/// Computes and stores the checksum of a whole ICMP or ICMPv6 message; the addresses' family decides which.
///
/// # Panics
/// If `message` is shorter than 4 bytes.
pub fn fill_checksum(message: &mut [u8], src: Address, dst: Address) {
    let protocol = match src.family() {
        Family::V4 => PROTOCOL_V4,
        Family::V6 => PROTOCOL_V6,
    };
    message[CHECKSUM_AT..CHECKSUM_AT + 2].fill(0);
    let check = checksum::transport(src, dst, protocol, message);
    message[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&check.to_be_bytes());
}

/// The ICMP message of a packet: at least 8 bytes.
#[inline]
fn message<'a>(bytes: &'a [u8], parsed: &Parsed) -> Option<&'a [u8]> {
    let matches = match parsed.family {
        Family::V4 => parsed.flow.protocol == PROTOCOL_V4,
        Family::V6 => parsed.flow.protocol == PROTOCOL_V6,
    };
    (matches && !parsed.is_later_fragment()).then(|| parsed.l4(bytes))
}

mod quote;
pub use quote::{map_quoted_sequence, set_quoted_destination, set_quoted_source};

#[cfg(test)]
mod tests;
