//! What is on the wire: strict parsing of an IP packet up to its transport header, in one pass.
//!
//! [`parse`] reads a packet once, believes no length, and returns a small value with all that a forwarder
//! decides by. The modules beside it build, rewrite and wrap packets. A packet that parses has every header
//! inside its bytes; transport checksums are not verified (a forwarder updates them and the end host judges).
//!
//! Invariant: for `Ok(parsed)`, `parsed.l4_offset + parsed.l4_len == parsed.total_len <= bytes.len()`.
//! References: RFC 791, RFC 8200, RFC 9293 §3.1, RFC 768, RFC 792, RFC 4443, RFC 6946 (atomic fragments).

pub mod bfd;
pub mod coalesce;
pub mod ecn;
pub mod fragment;
pub mod gre;
pub mod icmp;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
pub mod nat64;
pub mod outer;
pub mod proxy;
pub mod rewrite;
pub mod segments;
pub mod tcp;
pub mod toa;
pub mod udp;

#[cfg(test)]
mod sample;

use crate::flow::{Address, Family, FlowKey};

/// Why bytes are not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ParseError {
    /// A header goes beyond the end of the packet.
    Truncated,
    /// The first four bits are neither 4 nor 6.
    BadVersion,
    /// A header's own length is below its minimum (IHL, TCP data offset).
    BadHeaderLength,
    /// A length field contradicts the bytes (IP total or payload length, UDP length, jumbogram).
    BadTotalLength,
    /// The IPv4 header checksum is wrong.
    BadChecksum,
    /// The IPv6 extension headers are too many, misplaced, malformed or still to be routed.
    BadExtensionHeader,
    /// A fragment that is not last is no multiple of 8 bytes, or one reaches beyond 65,535 bytes.
    BadFragment,
}

/// Where a packet stands in a larger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Identification: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
    /// Offset in the original payload, in bytes, a multiple of 8.
    pub offset: u16,
    /// Whether further fragments follow.
    pub more: bool,
    /// The protocol that all fragments of the packet name (in IPv6 maybe an extension header's).
    pub protocol: u8,
}

/// An IP packet, understood up to its transport header. Valid for the bytes it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The 5-tuple. Ports are 0 for protocols other than TCP and UDP and for later fragments.
    pub flow: FlowKey,
    /// IPv4 or IPv6.
    pub family: Family,
    /// Where the transport header starts, behind IPv4 options and IPv6 extension headers, in bytes.
    pub l4_offset: u16,
    /// Transport header and payload, in bytes.
    pub l4_len: u16,
    /// The IP packet, in bytes; what follows in the slice is padding of the link.
    pub total_len: usize,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Type of service or traffic class: DSCP (6 bits), ECN (2 bits).
    pub tos: u8,
    /// The position of a fragment; `None` for a whole packet.
    pub fragment: Option<Fragment>,
    /// The DF bit of IPv4; always true for IPv6, which routers never fragment.
    pub dont_fragment: bool,
    /// The flags byte of TCP (`tcp::SYN`, ..), 0 if the packet is not TCP or a later fragment.
    pub tcp_flags: u8,
}

impl Parsed {
    /// Whether this is the first of several fragments: it has ports, but not the whole payload.
    #[inline]
    pub const fn is_first_fragment(&self) -> bool {
        matches!(self.fragment, Some(Fragment { offset: 0, .. }))
    }

    /// Whether this is a fragment behind the first: it has no transport header.
    #[inline]
    pub const fn is_later_fragment(&self) -> bool {
        matches!(self.fragment, Some(Fragment { offset, .. }) if offset > 0)
    }

    /// The transport header and its payload.
    ///
    /// # Panics
    /// If `bytes` is shorter than the packet that was parsed.
    #[inline]
    pub fn l4<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[usize::from(self.l4_offset)..self.total_len]
    }

    #[inline]
    fn l4_mut<'a>(&self, bytes: &'a mut [u8]) -> &'a mut [u8] {
        &mut bytes[usize::from(self.l4_offset)..self.total_len]
    }
}

/// Reads an IPv4 or IPv6 packet. Bytes beyond its length are ignored as padding.
#[inline(always)]
pub fn parse(bytes: &[u8]) -> Result<Parsed, ParseError> {
    match bytes.first() {
        None => Err(ParseError::Truncated),
        Some(first) if first >> 4 == 4 => ipv4::parse(bytes),
        Some(first) if first >> 4 == 6 => ipv6::parse(bytes),
        Some(_) => Err(ParseError::BadVersion),
    }
}

/// What a transport header tells: ports and TCP flags.
#[derive(Clone, Copy)]
struct Transport {
    src_port: u16,
    dst_port: u16,
    tcp_flags: u8,
}

impl Transport {
    const NONE: Self = Self {
        src_port: 0,
        dst_port: 0,
        tcp_flags: 0,
    };

    /// Reads the header at the start of `l4`; `whole` if `l4` is all of the payload and no first fragment.
    #[inline(always)]
    fn parse(protocol: u8, family: Family, l4: &[u8], whole: bool) -> Result<Self, ParseError> {
        match (protocol, family) {
            (tcp::PROTOCOL, _) => Self::parse_tcp(l4),
            (udp::PROTOCOL, _) => Self::parse_udp(l4, whole),
            (icmp::PROTOCOL_V4, Family::V4) | (icmp::PROTOCOL_V6, Family::V6) => {
                if l4.len() < icmp::HEADER_LEN {
                    return Err(ParseError::Truncated);
                }
                Ok(Self::NONE)
            }
            _ => Ok(Self::NONE),
        }
    }

    #[inline]
    fn flow(self, src: Address, dst: Address, protocol: u8) -> FlowKey {
        FlowKey {
            src,
            dst,
            src_port: self.src_port,
            dst_port: self.dst_port,
            protocol,
        }
    }

    #[inline(always)]
    fn parse_tcp(l4: &[u8]) -> Result<Self, ParseError> {
        let Some(header) = l4.first_chunk::<{ tcp::HEADER_LEN }>() else {
            return Err(ParseError::Truncated);
        };
        let header_len = usize::from(header[12] >> 4) * 4;
        if header_len < tcp::HEADER_LEN {
            return Err(ParseError::BadHeaderLength);
        }
        if header_len > l4.len() {
            return Err(ParseError::Truncated);
        }
        Ok(Self {
            src_port: u16::from_be_bytes([header[0], header[1]]),
            dst_port: u16::from_be_bytes([header[2], header[3]]),
            tcp_flags: header[13],
        })
    }

    #[inline(always)]
    fn parse_udp(l4: &[u8], whole: bool) -> Result<Self, ParseError> {
        let Some(header) = l4.first_chunk::<{ udp::HEADER_LEN }>() else {
            return Err(ParseError::Truncated);
        };
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let consistent = if whole {
            length == l4.len()
        } else {
            length >= l4.len()
        };
        if !consistent {
            return Err(ParseError::BadTotalLength);
        }
        Ok(Self {
            src_port: u16::from_be_bytes([header[0], header[1]]),
            dst_port: u16::from_be_bytes([header[2], header[3]]),
            tcp_flags: 0,
        })
    }
}

/// Refuses a fragment that no sender makes (RFC 791 §3.2, RFC 8200 §4.5).
#[inline]
fn check_fragment(fragment: Fragment, payload_len: usize) -> Result<(), ParseError> {
    let ragged = fragment.more && !payload_len.is_multiple_of(8);
    let empty = fragment.more && payload_len == 0;
    let too_far = usize::from(fragment.offset) + payload_len > usize::from(u16::MAX);
    if ragged || empty || too_far {
        return Err(ParseError::BadFragment);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
