//! Addresses: pairs of one IPv4 and one IPv6 address, and those given to nodes that have none in the file.
//!
//! A node's own address follows from its name alone (a hash, moved up past those that are taken), so that
//! adding a node leaves the addresses of the others as they are, and with them every hash of a flow.
//! POPs get 172.16.0.0/16, CLB nodes 172.17.0.0/16, backend hosts 172.18.0.0/16, and fd00:ae:0:{1,2,3}::/64; on the
//! management network every node has one of 172.19.0.0/16 and fd00:ae:0:4::/64, between a POP and its router both ends have one of
//! 172.20.0.0/16 and fd00:ae:0:5::/64; clients get 198.18.0.0/15 (RFC 2544) and 2001:db8:c::/64 (RFC 3849).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::diagnostic::Wrong;
use crate::reader::Reader;

/// At most one IPv4 and one IPv6 address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressPair {
    /// The IPv4 address, if there is one.
    pub v4: Option<Ipv4Addr>,
    /// The IPv6 address, if there is one.
    pub v6: Option<Ipv6Addr>,
}

impl AddressPair {
    /// The addresses that are there, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.v4
            .map(IpAddr::V4)
            .into_iter()
            .chain(self.v6.map(IpAddr::V6))
    }

    /// Reads `"10.0.0.11"` or `["10.0.0.11", "fd00:a::11"]`; `None` if the key is absent or mistaken.
    pub(crate) fn read(reader: &mut Reader<'_>, key: &'static str, example: &str) -> Option<Self> {
        let fields = reader.list(key, example)?;
        let mut pair = Self::default();
        for field in &fields {
            let Some(ip) = reader.parse_field(field, example, unicast) else {
                continue;
            };
            let taken = match ip {
                IpAddr::V4(ip) => pair.v4.replace(ip).is_some(),
                IpAddr::V6(ip) => pair.v6.replace(ip).is_some(),
            };
            if taken {
                let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
                reader.wrong_at(
                    field,
                    Wrong::new(
                        format!("a second {family} address"),
                        "at most one IPv4 and one IPv6",
                    ),
                );
            }
        }
        if fields.is_empty() {
            let at = reader.field(key)?;
            reader.wrong_at(
                &at,
                Wrong::new("no address", format!("such as {key} = {example}")),
            );
        }
        Some(pair)
    }

    /// As [`AddressPair::read`], and a missing key is a mistake.
    pub(crate) fn need(reader: &mut Reader<'_>, key: &'static str, example: &str) -> Self {
        if reader.field(key).is_none() {
            reader.missing(key, example);
        }
        Self::read(reader, key, example).unwrap_or_default()
    }
}

/// Reads an address that a node can have.
fn unicast(text: &str) -> Result<IpAddr, Wrong> {
    let ip: IpAddr = text.parse().map_err(|_| {
        Wrong::new(
            format!("\"{text}\" is not an IP address"),
            "such as \"10.0.0.11\" or \"fd00:a::11\"",
        )
    })?;
    let reserved = match ip {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some(),
    };
    if reserved || ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() {
        return Err(Wrong::new(
            format!("\"{text}\" cannot be the address of a node"),
            "a unicast address, not loopback",
        ));
    }
    Ok(ip)
}

/// Hands out addresses by name.
#[derive(Debug)]
pub(crate) struct Space {
    v4_first: u32,
    v6_first: u128,
    width: u32,
    /// First offset of a block -> its length.
    taken: BTreeMap<u32, u32>,
}

impl Space {
    pub(crate) fn pops() -> Self {
        Self::new([172, 16, 0, 0], 1)
    }

    pub(crate) fn clb_nodes() -> Self {
        Self::new([172, 17, 0, 0], 2)
    }

    pub(crate) fn hosts() -> Self {
        Self::new([172, 18, 0, 0], 3)
    }

    pub(crate) fn management() -> Self {
        Self::new([172, 19, 0, 0], 4)
    }

    pub(crate) fn routers() -> Self {
        Self::new([172, 20, 0, 0], 5)
    }

    pub(crate) fn clients() -> Self {
        Self {
            v4_first: Ipv4Addr::new(198, 18, 0, 0).to_bits(),
            v6_first: Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 0).to_bits(),
            width: 1 << 17,
            taken: BTreeMap::new(),
        }
    }

    fn new(v4: [u8; 4], subnet: u16) -> Self {
        Self {
            v4_first: Ipv4Addr::from(v4).to_bits(),
            v6_first: Ipv6Addr::new(0xfd00, 0xae, 0, subnet, 0, 0, 0, 0).to_bits(),
            width: 1 << 16,
            taken: BTreeMap::new(),
        }
    }

    /// The first addresses of `count` consecutive ones for the node of that name; `None` when all are taken.
    /// The lowest and the highest address of the space stay unused.
    pub(crate) fn give(&mut self, name: &str, count: u32) -> Option<AddressPair> {
        let usable = u64::from(self.width) - 2;
        let wanted = 1 + u32::try_from(fnv1a(name) % usable).expect("below a u32 width");
        let offset = self
            .free_from(wanted, count)
            .or_else(|| self.free_from(1, count))?;
        self.taken.insert(offset, count);
        Some(AddressPair {
            v4: Some(Ipv4Addr::from_bits(self.v4_first + offset)),
            v6: Some(Ipv6Addr::from_bits(self.v6_first + u128::from(offset))),
        })
    }

    /// The first offset not below `wanted` with room for `count`.
    fn free_from(&self, wanted: u32, count: u32) -> Option<u32> {
        let mut offset = wanted;
        let before = self
            .taken
            .range(..offset)
            .next_back()
            .map(|(first, len)| first + len);
        offset = offset.max(before.unwrap_or(0));
        for (first, len) in self.taken.range(offset..) {
            if offset + count <= *first {
                break;
            }
            offset = first + len;
        }
        (offset + count < self.width).then_some(offset)
    }
}

/// FNV-1a, 64 bits: a fixed function of the name, the same in every version.
fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The object's place in messages when an address clashes.
pub(crate) fn clash(ip: IpAddr, other: &str) -> Wrong {
    Wrong::new(
        format!("{ip} is the address of {other} too"),
        "give each its own address",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_added_node_moves_nobody_elses_address() {
        let mut alone = Space::pops();
        let tokyo = alone.give("tokyo", 1);
        let mut together = Space::pops();
        together.give("anchorage", 1);
        assert_eq!(together.give("tokyo", 1), tokyo);
    }

    #[test]
    fn blocks_never_overlap_and_a_full_space_says_so() {
        let mut space = Space::clients();
        let mut blocks = Vec::new();
        while let Some(pair) = space.give(&format!("c{}", blocks.len()), 10_000) {
            blocks.push(pair.v4.expect("both families").to_bits());
        }
        blocks.sort_unstable();
        assert!(blocks.len() >= 6, "only {} blocks", blocks.len());
        assert!(blocks.windows(2).all(|pair| pair[0] + 10_000 <= pair[1]));
        assert!(
            *blocks.last().expect("some") + 10_000 <= Ipv4Addr::new(198, 19, 255, 255).to_bits()
        );
    }

    #[test]
    fn a_node_has_a_unicast_address() {
        assert!(unicast("10.0.0.11").is_ok() && unicast("fd00:a::11").is_ok());
        for bad in [
            "10.0.0",
            "127.0.0.1",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "::ffff:10.0.0.1",
            "0.1.2.3",
        ] {
            assert!(unicast(bad).is_err(), "{bad}");
        }
    }
}
