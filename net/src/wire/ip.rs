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

/// The length of a header without options: 20 bytes for IPv4, 40 for IPv6.
#[inline]
pub const fn header_len(family: Family) -> usize {
    match family {
        Family::V4 => ipv4::HEADER_LEN,
        Family::V6 => ipv6::HEADER_LEN,
    }
}
