//! Who talks to whom: addresses, the 5-tuple, and the hash that nodes must agree on.
//!
//! Every POP sends a flow to the same CLB node because all compute the same hash of the same bytes. The hash is
//! therefore a specified one, SipHash-1-3 over a canonical serialisation, with a secret key from the route
//! table, so that nobody outside can choose tuples that meet in one slot.
//!
//! Invariant: the serialisation (source, destination, both ports big-endian, protocol; 13 bytes for IPv4,
//! 37 for IPv6) never changes, or nodes of two versions would disagree.
//! Reference: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", 2012.

use std::fmt;
use std::hash::Hasher;
use std::net::{AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use siphasher::sip::SipHasher13;

use crate::siphash::SipHash13;

/// The version of the Internet Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// An IPv4 or IPv6 address in 17 bytes. IPv4 stands in the first 4 octets, the others are 0.
///
/// An IPv4-mapped IPv6 address stays IPv6. Order: IPv4 before IPv6, then numerically.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    family: Family,
    octets: [u8; 16],
}

impl Address {
    /// An IPv4 address.
    #[inline]
    pub const fn v4(octets: [u8; 4]) -> Self {
        let [a, b, c, d] = octets;
        Self {
            family: Family::V4,
            octets: [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        }
    }

    /// An IPv6 address.
    #[inline]
    pub const fn v6(octets: [u8; 16]) -> Self {
        Self {
            family: Family::V6,
            octets,
        }
    }

    /// Whether this is IPv4 or IPv6.
    #[inline]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// The address in network order: 4 or 16 bytes.
    #[inline]
    pub fn octets(&self) -> &[u8] {
        match self.family {
            Family::V4 => &self.octets[..4],
            Family::V6 => &self.octets,
        }
    }

    /// The 4 octets of an IPv4 address, `None` for IPv6.
    #[inline]
    pub const fn v4_octets(&self) -> Option<[u8; 4]> {
        let [a, b, c, d, ..] = self.octets;
        match self.family {
            Family::V4 => Some([a, b, c, d]),
            Family::V6 => None,
        }
    }

    /// The 16 octets of an IPv6 address, `None` for IPv4.
    #[inline]
    pub const fn v6_octets(&self) -> Option<[u8; 16]> {
        match self.family {
            Family::V4 => None,
            Family::V6 => Some(self.octets),
        }
    }

    /// Whether this is a group's address (224.0.0.0/4, ff00::/8).
    #[inline]
    pub const fn is_multicast(&self) -> bool {
        match self.family {
            Family::V4 => self.octets[0] & 0xf0 == 0xe0,
            Family::V6 => self.octets[0] == 0xff,
        }
    }

    /// Whether this is 0.0.0.0 or ::.
    #[inline]
    pub const fn is_unspecified(&self) -> bool {
        u128::from_be_bytes(self.octets) == 0
    }

    #[inline]
    fn compact(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.octets;
        [a, b, c, d]
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        Self::v4(address.octets())
    }
}

impl From<Ipv6Addr> for Address {
    fn from(address: Ipv6Addr) -> Self {
        Self::v6(address.octets())
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => address.into(),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        match address.family {
            Family::V4 => Ipv4Addr::from(address.compact()).into(),
            Family::V6 => Ipv6Addr::from(address.octets).into(),
        }
    }
}

impl FromStr for Address {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<IpAddr>().map(Self::from)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&IpAddr::from(*self), f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The secret 128-bit key of a flow hash. It never shows in `Debug`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey(u64, u64);

impl HashKey {
    /// A key of 16 bytes, in SipHash's order (two little-endian words).
    #[inline]
    pub const fn new(bytes: [u8; 16]) -> Self {
        let wide = u128::from_le_bytes(bytes);
        Self(wide as u64, (wide >> 64) as u64)
    }

    /// The 16 bytes that it was made of, for whoever hands the key on.
    pub const fn to_bytes(self) -> [u8; 16] {
        (self.0 as u128 | (self.1 as u128) << 64).to_le_bytes()
    }

    /// SipHash-1-3 of any bytes under this key.
    #[inline]
    pub fn hash_bytes(&self, bytes: &[u8]) -> u64 {
        self.hasher().hash(bytes)
    }

    /// Another key for another purpose, which tells nothing of this one.
    pub fn derived(&self, purpose: &str) -> HashKey {
        let word = |lane: u8| {
            let mut hasher = self.hasher();
            hasher.write(purpose.as_bytes());
            hasher.write_u8(lane);
            hasher.finish()
        };
        HashKey(word(0), word(1))
    }

    #[inline]
    fn hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(..)")
    }
}

/// The 5-tuple of a packet. Ports are 0 where the protocol has none.
///
/// Both addresses have the same family.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// Where the packet comes from.
    pub src: Address,
    /// Where it goes.
    pub dst: Address,
    /// Source port, or 0.
    pub src_port: u16,
    /// Destination port, or 0.
    pub dst_port: u16,
    /// IP protocol number (6 TCP, 17 UDP, ..), behind any IPv6 extension headers.
    pub protocol: u8,
}

impl FlowKey {
    /// The tuple of the answer: source and destination swapped.
    #[inline]
    pub const fn reversed(&self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            protocol: self.protocol,
        }
    }

    /// The family of both addresses.
    #[inline]
    pub const fn family(&self) -> Family {
        self.src.family
    }

    /// SipHash-1-3 of the canonical 5-tuple: the same on every node that has the key.
    #[inline(always)]
    pub fn hash(&self, key: &HashKey) -> u64 {
        // Little-endian words whose bytes are the ports in network order.
        let [src, dst] = [self.src_port, self.dst_port].map(|port| u64::from(port.swap_bytes()));
        let tail = src | dst << 16 | u64::from(self.protocol) << 32;
        let (hash, len) = self.hash_of_addresses(key);
        hash.finish(tail, len + 5)
    }

    /// SipHash-1-3 of source and destination alone (8 or 32 bytes), for client affinity.
    #[inline]
    pub fn hash_two_tuple(&self, key: &HashKey) -> u64 {
        let (hash, len) = self.hash_of_addresses(key);
        hash.finish(0, len)
    }

    /// Both addresses in network order, and how many bytes they are.
    #[inline(always)]
    fn hash_of_addresses(&self, key: &HashKey) -> (SipHash13, u8) {
        let hash = SipHash13::new(key.0, key.1);
        match self.family() {
            Family::V4 => {
                let [src, dst] = [&self.src, &self.dst]
                    .map(|address| u64::from(u32::from_le_bytes(address.compact())));
                (hash.word(src | dst << 32), 8)
            }
            Family::V6 => {
                let halves = [&self.src, &self.dst].map(|address| {
                    let both = u128::from_le_bytes(address.octets);
                    [both as u64, (both >> 64) as u64]
                });
                let words = halves.as_flattened().iter();
                (words.fold(hash, |hash, word| hash.word(*word)), 32)
            }
        }
    }
}

impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            crate::wire::tcp::PROTOCOL => f.write_str("tcp")?,
            crate::wire::udp::PROTOCOL => f.write_str("udp")?,
            crate::wire::icmp::PROTOCOL_V4 | crate::wire::icmp::PROTOCOL_V6 => {
                f.write_str("icmp")?;
            }
            other => write!(f, "ip-{other}")?,
        }
        let src = std::net::SocketAddr::new(self.src.into(), self.src_port);
        let dst = std::net::SocketAddr::new(self.dst.into(), self.dst_port);
        write!(f, " {src} -> {dst}")
    }
}

impl fmt::Debug for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().expect("a literal address")
    }

    /// The key and message (bytes 0, 1, 2, ..) of the reference vectors of SipHash.
    fn reference_key() -> HashKey {
        HashKey::new(std::array::from_fn(|at| at as u8))
    }

    #[test]
    fn a_v4_flow_hashes_as_siphash_1_3_of_its_13_bytes() {
        let flow = FlowKey {
            src: Address::v4([0, 1, 2, 3]),
            dst: Address::v4([4, 5, 6, 7]),
            src_port: 0x0809,
            dst_port: 0x0a0b,
            protocol: 0x0c,
        };
        let vector = [0xa7, 0xff, 0x29, 0x12, 0x0c, 0x76, 0x6f, 0x30];
        assert_eq!(flow.hash(&reference_key()), u64::from_le_bytes(vector));
        let two_tuple = [0x8e, 0x9a, 0x29, 0x8d, 0x11, 0x95, 0x90, 0x36];
        assert_eq!(
            flow.hash_two_tuple(&reference_key()),
            u64::from_le_bytes(two_tuple)
        );
    }

    #[test]
    fn a_v6_flow_hashes_its_37_bytes_in_order() {
        let flow = FlowKey {
            src: Address::v6(std::array::from_fn(|at| at as u8)),
            dst: Address::v6(std::array::from_fn(|at| at as u8 + 16)),
            src_port: 0x2021,
            dst_port: 0x2223,
            protocol: 0x24,
        };
        let message: [u8; 37] = std::array::from_fn(|at| at as u8);
        let key = reference_key();
        assert_eq!(flow.hash(&key), key.hash_bytes(&message));
        assert_eq!(flow.hash_two_tuple(&key), key.hash_bytes(&message[..32]));
    }

    #[test]
    fn another_key_or_direction_gives_another_hash() {
        let flow = FlowKey {
            src: address("192.0.2.1"),
            dst: address("198.51.100.1"),
            src_port: 40_000,
            dst_port: 80,
            protocol: 6,
        };
        let (one, other) = (HashKey::new([1; 16]), HashKey::new([2; 16]));
        assert_ne!(flow.hash(&one), flow.hash(&other));
        assert_ne!(flow.hash(&one), flow.reversed().hash(&one));
        assert_ne!(one.derived("a"), one.derived("b"));
        assert_eq!(one.derived("a"), one.derived("a"));
        assert_eq!(flow.reversed().reversed(), flow);
    }

    #[test]
    fn addresses_keep_their_family_and_text() {
        for text in ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "::"] {
            let address = address(text);
            assert_eq!(address.to_string(), text);
            assert_eq!(Address::from(IpAddr::from(address)), address);
        }
        assert_ne!(address("0.0.0.0"), address("::"));
        assert_eq!(address("192.0.2.1").octets(), [192, 0, 2, 1]);
        assert!(address("ff02::1").is_multicast() && address("239.1.2.3").is_multicast());
        assert!(!address("192.0.2.1").is_multicast());
    }

    #[test]
    fn a_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", HashKey::new([7; 16])), "HashKey(..)");
    }

    #[test]
    fn a_flow_reads_as_text() {
        let flow = FlowKey {
            src: address("2001:db8::1"),
            dst: address("2001:db8::2"),
            src_port: 5353,
            dst_port: 53,
            protocol: 17,
        };
        assert_eq!(
            flow.to_string(),
            "udp [2001:db8::1]:5353 -> [2001:db8::2]:53"
        );
    }
}
