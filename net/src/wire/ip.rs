//! An IP header as a value, the same for both families, and the one call that writes it.
//!
//! Hosts, ports (outer headers) and replies of forwarders need the same few fields; what differs between the
//! families (identification and DF, flow label) is chosen here once. Reference: RFC 791 §3.1, RFC 8200 §3.

use crate::flow::{Address, Family};

use super::{ipv4, ipv6};

/// The TTL or hop limit of packets that we originate (RFC 1700).
pub const DEFAULT_TTL: u8 = 64;

/// The fields of an IP header without options or extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Source; its family decides the header's.
    pub src: Address,
    /// Destination, of the same family.
    pub dst: Address,
    /// The protocol of the payload.
    pub protocol: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// DSCP (6 bits) and ECN (2 bits).
    pub tos: u8,
    /// Bytes behind the header, at most 65,515 in IPv4 and 65,535 in IPv6.
    pub payload_len: usize,
}

impl Header {
    /// Writes an atomic packet's header (IPv4: id 0 and DF, RFC 6864 §4.1; IPv6: flow label 0) to the start
    /// of `out` and returns its length.
    ///
    /// # Panics
    /// If `out` is too short, the families differ, or the payload is too long.
    #[inline]
    pub fn write(&self, out: &mut [u8]) -> usize {
        match self.src.family() {
            Family::V4 => ipv4::write_header(out, self, 0, true),
            Family::V6 => ipv6::write_header(out, self, 0),
        }
    }
}

/// Where a packet goes, by the fixed part of its header alone; `None` when that is not all there.
///
/// What a router needs that has nothing else to decide. It checks nothing: [`super::parse`] does.
#[inline]
pub fn destination(bytes: &[u8]) -> Option<Address> {
    match bytes.first()? >> 4 {
        4 => {
            let [.., a, b, c, d] = *bytes.first_chunk::<{ ipv4::HEADER_LEN }>()?;
            Some(Address::v4([a, b, c, d]))
        }
        6 => {
            let header = bytes.first_chunk::<{ ipv6::HEADER_LEN }>()?;
            header.last_chunk::<16>().copied().map(Address::v6)
        }
        _ => None,
    }
}

/// The source of an IP packet, which is read no further; `None` where there is no such header.
#[inline]
pub fn source(bytes: &[u8]) -> Option<Address> {
    match bytes.first()? >> 4 {
        4 => {
            let [.., a, b, c, d, _, _, _, _] = *bytes.first_chunk::<{ ipv4::HEADER_LEN }>()?;
            Some(Address::v4([a, b, c, d]))
        }
        6 => {
            let [_, _, _, _, _, _, _, _, source @ ..] = bytes.first_chunk::<24>()?;
            bytes.get(ipv6::HEADER_LEN - 1)?;
            Some(Address::v6(*source))
        }
        _ => None,
    }
}

/// The length of a header without options: 20 bytes for IPv4, 40 for IPv6.
#[inline]
pub const fn header_len(family: Family) -> usize {
    match family {
        Family::V4 => ipv4::HEADER_LEN,
        Family::V6 => ipv6::HEADER_LEN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sample;

    #[test]
    fn the_quick_look_at_a_destination_agrees_with_parsing() {
        for family in [Family::V4, Family::V6] {
            let flow = sample::flow(family, 17);
            let packet = sample::ip_packet(&flow, 0, 64, &[0, 1, 0, 2, 0, 8, 0, 0]);
            assert_eq!(destination(&packet), Some(flow.dst));
            assert_eq!(destination(&packet[..19]), None);
        }
        assert_eq!(destination(&[]), None);
        assert_eq!(destination(&[0x50; 64]), None);
    }
}
