//! Changing a packet in place: addresses, ports, TTL and TOS, with checksums repaired incrementally.
//!
//! NAT is this file. Old values are read from the packet itself, so calls compose in any order on one `Parsed`;
//! its `flow`, `ttl` and `tos` keep what was parsed. Addresses and ports of a first fragment change as in a
//! whole packet (the checksum covers the reassembled one); of a later fragment only the addresses do.
//! A UDP checksum of 0 means "none" and stays so; a computed 0 is sent as 0xffff (RFC 768).
//!
//! Protocols other than TCP, UDP, ICMP and ICMPv6 get their addresses changed and nothing else.
//! References: RFC 1624 (checksums), RFC 3022 §4.1 (NAT), RFC 1812 §5.3.1 (TTL).

use super::{Parsed, icmp, ipv4, tcp, udp};
use crate::checksum::{self, Change};
use crate::flow::{Address, Family};

const V4_TTL_AT: usize = 8;
const V4_CHECKSUM_AT: usize = 10;
const V6_HOP_LIMIT_AT: usize = 7;

/// One end of a packet: where its address and its port stand.
#[derive(Clone, Copy)]
struct End {
    v4_at: usize,
    v6_at: usize,
    port_at: usize,
}

const SOURCE: End = End {
    v4_at: 12,
    v6_at: 8,
    port_at: 0,
};

const DESTINATION: End = End {
    v4_at: 16,
    v6_at: 24,
    port_at: 2,
};

/// Replaces source address and port. Without ports (ICMP, a later fragment) `port` is ignored.
///
/// # Panics
/// If `address` is of another family than the packet, or `bytes` is shorter than the packet parsed.
#[inline]
pub fn set_source(bytes: &mut [u8], parsed: &Parsed, address: Address, port: u16) {
    set_end(bytes, parsed, SOURCE, address, port);
}

/// Replaces destination address and port. Without ports (ICMP, a later fragment) `port` is ignored.
///
/// # Panics
/// If `address` is of another family than the packet, or `bytes` is shorter than the packet parsed.
#[inline]
pub fn set_destination(bytes: &mut [u8], parsed: &Parsed, address: Address, port: u16) {
    set_end(bytes, parsed, DESTINATION, address, port);
}

/// Takes one from the TTL or hop limit; `false`, and nothing changed, if the packet must end here (0 or 1).
///
/// # Panics
/// If `bytes` is shorter than the packet parsed.
#[inline]
pub fn decrement_ttl(bytes: &mut [u8], parsed: &Parsed) -> bool {
    let ttl = match parsed.family {
        Family::V4 => bytes[V4_TTL_AT],
        Family::V6 => bytes[V6_HOP_LIMIT_AT],
    };
    if ttl <= 1 {
        return false;
    }
    set_ttl(bytes, parsed, ttl - 1);
    true
}

/// Replaces the TTL or hop limit.
///
/// # Panics
/// If `bytes` is shorter than the packet parsed.
#[inline]
pub fn set_ttl(bytes: &mut [u8], parsed: &Parsed, ttl: u8) {
    match parsed.family {
        Family::V4 => {
            let word = u16::from_be_bytes([ttl, bytes[V4_TTL_AT + 1]]);
            set_v4_word(bytes, V4_TTL_AT, word);
        }
        Family::V6 => bytes[V6_HOP_LIMIT_AT] = ttl,
    }
}

/// Replaces the TOS byte or traffic class: DSCP and ECN.
///
/// # Panics
/// If `bytes` is shorter than the packet parsed.
#[inline]
pub fn set_tos(bytes: &mut [u8], parsed: &Parsed, tos: u8) {
    match parsed.family {
        Family::V4 => {
            let word = u16::from_be_bytes([bytes[0], tos]);
            set_v4_word(bytes, 0, word);
        }
        Family::V6 => {
            bytes[0] = bytes[0] & 0xf0 | tos >> 4;
            bytes[1] = tos << 4 | bytes[1] & 0x0f;
        }
    }
}

/// Replaces one word of an IPv4 header and repairs its checksum.
#[inline]
pub(super) fn set_v4_word(bytes: &mut [u8], at: usize, word: u16) {
    let check = checksum::update16(read16(bytes, V4_CHECKSUM_AT), read16(bytes, at), word);
    write16(bytes, at, word);
    write16(bytes, V4_CHECKSUM_AT, check);
}

#[inline]
fn set_end(bytes: &mut [u8], parsed: &Parsed, end: End, address: Address, port: u16) {
    assert_eq!(
        address.family(),
        parsed.family,
        "an address of the packet's family"
    );
    let (header, l4) = bytes[..parsed.total_len].split_at_mut(usize::from(parsed.l4_offset));
    let change = match (address.v4_octets(), address.v6_octets()) {
        (Some(octets), _) => set_v4_address(header, end.v4_at, octets),
        (_, Some(octets)) => set_v6_address(header, end.v6_at, octets),
        (None, None) => return,
    };
    if parsed.is_later_fragment() {
        return;
    }
    match (parsed.flow.protocol, parsed.family) {
        (tcp::PROTOCOL, _) => {
            let l4 = l4.first_chunk_mut::<{ tcp::HEADER_LEN }>();
            let l4 = l4.expect("a parsed TCP header has 20 bytes");
            let change = change.and16(read16(l4, end.port_at), port);
            let check = change.applied_to(read16(l4, tcp::CHECKSUM_AT));
            write16(l4, tcp::CHECKSUM_AT, check);
            write16(l4, end.port_at, port);
        }
        (udp::PROTOCOL, _) => {
            let stored = read16(l4, udp::CHECKSUM_AT);
            if stored != 0 {
                let change = change.and16(read16(l4, end.port_at), port);
                let check = change.applied_to(stored);
                let check = if check == 0 { 0xffff } else { check };
                write16(l4, udp::CHECKSUM_AT, check);
            }
            write16(l4, end.port_at, port);
        }
        (icmp::PROTOCOL_V6, Family::V6) => {
            let check = change.applied_to(read16(l4, icmp::CHECKSUM_AT));
            write16(l4, icmp::CHECKSUM_AT, check);
        }
        _ => {}
    }
}

#[inline]
fn set_v4_address(header: &mut [u8], at: usize, octets: [u8; 4]) -> Change {
    let header = header
        .first_chunk_mut::<{ ipv4::HEADER_LEN }>()
        .expect("a parsed IPv4 header has 20 bytes");
    let slot = header[at..].first_chunk_mut::<4>();
    let slot = slot.expect("an address of an IPv4 header");
    let change = Change::of32(u32::from_be_bytes(*slot), u32::from_be_bytes(octets));
    *slot = octets;
    let check = change.applied_to(read16(header, V4_CHECKSUM_AT));
    write16(header, V4_CHECKSUM_AT, check);
    change
}

#[inline]
fn set_v6_address(header: &mut [u8], at: usize, octets: [u8; 16]) -> Change {
    let slot = header[at..]
        .first_chunk_mut::<16>()
        .expect("a parsed IPv6 header has 40 bytes");
    let change = Change::of128(u128::from_be_bytes(*slot), u128::from_be_bytes(octets));
    *slot = octets;
    change
}

#[inline]
fn read16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[inline]
fn write16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests;
