//! TOA: a client's address and port as a TCP option, for a server that sees somebody else's as the source.
//!
//! ```text
//!   254 or 200 |  8 | port, 2 bytes | IPv4 address, 4 bytes
//!          253 | 20 | port, 2 bytes | IPv6 address, 16 bytes
//! ```
//! It goes first among the options, where no end-of-options hides it, and only as it fits the 40 bytes that options
//! may have: a SYN of Linux has 20 of them free, so that even the long form fits, exactly. Both lengths are multiples
//! of 4, so no padding is needed. The kinds are those of the kernel modules that read them (DPVS, TOA of public clouds),
//! and no registered ones. docs/client-address.md has the choices.

use core::net::SocketAddr;

use super::{Parsed, tcp};
use crate::flow::{Address, Family};
use crate::packet::Packet;

/// Bytes of the option for an IPv4 client.
pub const V4_LEN: usize = 8;
/// Bytes of the option for an IPv6 client.
pub const V6_LEN: usize = 20;

const KIND_V6: u8 = 253;

/// By which kind of option an IPv4 client is told. One of IPv6 is told by kind 253 either way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Toa {
    /// Kind 254.
    Kind254,
    /// Kind 200.
    Kind200,
}

impl Toa {
    /// The kind's number.
    pub const fn number(self) -> u8 {
        match self {
            Toa::Kind254 => 254,
            Toa::Kind200 => 200,
        }
    }
}

/// Bytes of the option for a client of that family.
#[inline]
pub const fn option_len(family: Family) -> usize {
    match family {
        Family::V4 => V4_LEN,
        Family::V6 => V6_LEN,
    }
}

/// Inserts the option into a TCP segment and repairs its checksums; false, and nothing changed, when the segment's
/// options have no room for it, its packet has none in front, or it is a fragment, whose pieces would no longer fit
/// together. Every segment of a super-packet gets it.
///
/// # Panics
/// If `parsed` is of another packet.
pub fn insert(packet: &mut Packet, parsed: &mut Parsed, kind: Toa, client: (Address, u16)) -> bool {
    let (address, port) = client;
    let mut option = [0; V6_LEN];
    let len = option_len(address.family());
    option[0] = match address.family() {
        Family::V4 => kind.number(),
        Family::V6 => KIND_V6,
    };
    option[1] = len as u8;
    option[2..4].copy_from_slice(&port.to_be_bytes());
    option[4..len].copy_from_slice(address.octets());
    tcp::insert_option(packet, parsed, &option[..len])
}

/// The client that the options of a TCP segment tell of.
pub fn read(bytes: &[u8], parsed: &Parsed) -> Option<SocketAddr> {
    if parsed.flow.protocol != tcp::PROTOCOL || parsed.is_later_fragment() {
        return None;
    }
    let found = tcp::options(parsed.l4(bytes)).find_map(|(kind, value)| {
        let (port, address) = value.split_first_chunk::<2>()?;
        let address = match kind {
            254 | 200 => Address::v4(address.try_into().ok()?),
            KIND_V6 => Address::v6(address.try_into().ok()?),
            _ => return None,
        };
        Some((address, u16::from_be_bytes(*port)))
    });
    found.map(|(address, port)| SocketAddr::new(address.into(), port))
}

#[cfg(test)]
mod tests;
