//! The prefix that a VIP is announced in: /24 and /48 around it unless the file says otherwise.
//!
//! The Internet takes no longer ones (RIPE Labs, "Visibility of IPv4 and IPv6 Prefix Lengths", 2019), so VIPs of one
//! prefix come and go together.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::diagnostic::Wrong;

/// An address and how many of its first bits are meant; the others are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VipPrefix {
    /// The lowest address.
    pub network: IpAddr,
    /// How long it is, in bits.
    pub length: u8,
}

impl VipPrefix {
    /// The prefix of the usual length around a VIP.
    #[must_use]
    pub fn around(vip: IpAddr) -> Self {
        Self::of(vip, if vip.is_ipv4() { 24 } else { 48 })
    }

    fn of(ip: IpAddr, length: u8) -> Self {
        let network = match ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
            }
        };
        Self { network, length }
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.network.is_ipv4() && Self::of(ip, self.length) == *self
    }

    /// Whether one of the two is in the other.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }

    /// Reads `203.0.113.0/24`.
    pub(crate) fn parse(text: &str) -> Result<Self, Wrong> {
        let hint = "such as \"203.0.113.0/24\" or \"2001:db8:113::/48\"";
        let wrong = |what: &str| Wrong::new(format!("\"{text}\" {what}"), hint);
        let (ip, length) = text.split_once('/').ok_or_else(|| wrong("is no prefix"))?;
        let ip: IpAddr = ip.parse().map_err(|_| wrong("is no prefix"))?;
        let length: u8 = length.parse().map_err(|_| wrong("is no prefix"))?;
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        if !(8..=longest).contains(&length) {
            return Err(wrong("is too short or too long"));
        }
        let read = Self::of(ip, length);
        if read.network == ip {
            Ok(read)
        } else {
            let reason = format!("\"{text}\" has bits behind its length");
            Err(Wrong::new(reason, format!("\"{read}\"")))
        }
    }
}

impl fmt::Display for VipPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_no_bits_behind_its_length() {
        let around = VipPrefix::around("203.0.113.10".parse().expect("an address"));
        assert_eq!(around.to_string(), "203.0.113.0/24");
        assert_eq!(VipPrefix::parse("203.0.113.0/24").ok(), Some(around));
        let six = VipPrefix::around("2001:db8:113:7::1".parse().expect("an address"));
        assert_eq!(six.to_string(), "2001:db8:113::/48");
        for text in [
            "203.0.113.1/24",
            "203.0.113.0",
            "203.0.113.0/33",
            "::/0",
            "a/24",
        ] {
            assert!(VipPrefix::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_longer_prefix_overlaps_the_one_around_it() {
        let read = |text| VipPrefix::parse(text).expect("a prefix");
        assert!(read("203.0.113.0/24").overlaps(&read("203.0.113.128/25")));
        assert!(read("203.0.113.128/25").overlaps(&read("203.0.113.0/24")));
        assert!(!read("203.0.113.128/25").overlaps(&read("203.0.113.0/25")));
        assert!(!read("203.0.113.0/24").overlaps(&read("2001:db8::/32")));
    }
}
