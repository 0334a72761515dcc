//! An IP address with the length of its prefix: what an interface carries and what a route leads to.
//!
//! Kept as written (`10.0.0.11/24` stays the address .11 of its network), since an interface needs the host part;
//! [`Prefix::network`] cuts it off where a route needs the network alone.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An address and a prefix length, at most 32 (IPv4) or 128 (IPv6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Prefix {
    ip: IpAddr,
    len: u8,
}

impl Prefix {
    /// The whole IPv4 space, a default route's destination.
    pub const ANY_V4: Self = Self {
        ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        len: 0,
    };
    /// The whole IPv6 space, a default route's destination.
    pub const ANY_V6: Self = Self {
        ip: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        len: 0,
    };

    /// `ip/len`, or `None` when `len` exceeds the address's width.
    pub fn new(ip: IpAddr, len: u8) -> Option<Self> {
        (len <= width(ip)).then_some(Self { ip, len })
    }

    /// The address alone: /32 or /128.
    pub fn host(ip: IpAddr) -> Self {
        Self { ip, len: width(ip) }
    }

    /// The address as written, host part included.
    pub fn ip(self) -> IpAddr {
        self.ip
    }

    /// How many leading bits name the network.
    pub fn len(self) -> u8 {
        self.len
    }

    /// Whether this is the default route's prefix, which covers every address.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The same prefix with the host bits cleared.
    pub fn network(self) -> Self {
        let ip = match self.ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.len)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.len))
                    .unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
            }
        };
        Self { ip, len: self.len }
    }

    /// Whether `ip` lies in the network; never across address families.
    pub fn contains(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.ip.is_ipv4() && Self { ip, len: self.len }.network() == self.network()
    }
}

/// Bits in an address of this family.
fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.len)
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not an address with a prefix length, such as 10.0.0.1/24 or 2001:db8::1/64"
            )
        };
        let (ip, len) = text.split_once('/').ok_or_else(wrong)?;
        let ip = ip.parse().map_err(|_| wrong())?;
        Self::new(ip, len.parse().map_err(|_| wrong())?).ok_or_else(wrong)
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

impl TryFrom<String> for Prefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().expect("a prefix written in the test")
    }

    #[test]
    fn a_prefix_is_read_and_written_the_same_way() {
        for text in ["10.0.0.11/24", "0.0.0.0/0", "2001:db8::1/128", "::/0"] {
            assert_eq!(prefix(text).to_string(), text);
        }
    }

    #[test]
    fn a_length_beyond_the_address_is_refused() {
        for text in [
            "10.0.0.1/33",
            "::1/129",
            "10.0.0.1",
            "host/8",
            "10.0.0.1/-1",
        ] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_network_has_no_host_bits() {
        assert_eq!(prefix("10.1.2.3/20").network(), prefix("10.1.0.0/20"));
        assert_eq!(prefix("10.1.2.3/0").network(), Prefix::ANY_V4);
        assert_eq!(
            prefix("2001:db8:1::5/48").network(),
            prefix("2001:db8:1::/48")
        );
    }

    #[test]
    fn a_prefix_contains_its_own_family_only() {
        assert!(prefix("10.0.0.1/24").contains("10.0.0.200".parse().expect("v4")));
        assert!(!prefix("10.0.0.1/24").contains("10.0.1.1".parse().expect("v4")));
        assert!(!Prefix::ANY_V4.contains("::1".parse().expect("v6")));
    }
}
