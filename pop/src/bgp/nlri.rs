//! NLRI: lists of prefixes, each a length in bits and as many bytes as that needs (RFC 4271 §4.3, RFC 4760 §5).
//!
//! A length beyond its family or a prefix beyond the end makes the list unreadable (RFC 7606 §5.3). A prefix that
//! no unicast route has is left out (RFC 4271 §6.3). Bits after the prefix mean nothing.

use super::{Family, IpNet, prefix};

/// A list that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unreadable;

/// The unicast prefixes of a list.
pub(crate) fn read(family: Family, mut list: &[u8]) -> Result<Vec<IpNet>, Unreadable> {
    let mut prefixes = Vec::new();
    while let [length, rest @ ..] = list {
        let bytes = usize::from(length.div_ceil(8));
        if *length > family.bits() || rest.len() < bytes {
            return Err(Unreadable);
        }
        let (address, after) = rest.split_at(bytes);
        let found = prefix(family, address, *length).ok_or(Unreadable)?;
        if is_unicast(&found) {
            prefixes.push(found);
        }
        list = after;
    }
    Ok(prefixes)
}

fn is_unicast(net: &IpNet) -> bool {
    !(net.addr().is_multicast() && net.prefix_len() >= multicast_bits(net))
}

const fn multicast_bits(net: &IpNet) -> u8 {
    match net {
        IpNet::V4(_) => 4,
        IpNet::V6(_) => 8,
    }
}

/// How many bytes `net` takes in a list.
pub(crate) fn bytes_of(net: &IpNet) -> usize {
    1 + usize::from(net.prefix_len().div_ceil(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        let parse = |text: &&str| text.parse().expect("a prefix");
        texts.iter().map(parse).collect()
    }

    #[test]
    fn prefixes_take_as_few_bytes_as_they_need_and_their_tail_means_nothing() {
        let list = [0, 8, 10, 25, 192, 0, 2, 0xff, 32, 192, 0, 2, 1];
        let expected = nets(&["0.0.0.0/0", "10.0.0.0/8", "192.0.2.128/25", "192.0.2.1/32"]);
        assert_eq!(read(Family::V4, &list), Ok(expected));
        let list = [&[48, 0x20, 1, 0xd, 0xb8, 0, 1][..], &[0]].concat();
        assert_eq!(
            read(Family::V6, &list),
            Ok(nets(&["2001:db8:1::/48", "::/0"]))
        );
    }

    #[test]
    fn a_list_is_unreadable_when_a_prefix_is_too_long_or_cut() {
        assert_eq!(read(Family::V4, &[33, 1, 2, 3, 4, 5]), Err(Unreadable));
        assert_eq!(read(Family::V4, &[24, 192, 0]), Err(Unreadable));
        assert_eq!(read(Family::V6, &[129; 18]), Err(Unreadable));
        assert_eq!(read(Family::V4, &[255; 40]), Err(Unreadable));
    }

    #[test]
    fn multicast_is_left_out() {
        assert_eq!(
            read(Family::V4, &[8, 224, 8, 10]),
            Ok(nets(&["10.0.0.0/8"]))
        );
        assert_eq!(read(Family::V6, &[8, 0xff]), Ok(vec![]));
        assert_eq!(read(Family::V4, &[3, 0xe0]), Ok(nets(&["224.0.0.0/3"])));
    }
}
