//! The Internet checksum of what hosts send and receive, wide words at a time.
//!
//! Hosts are the only ones that sum whole payloads, twice per packet, and with overflow checks on an addition
//! loop over 16-bit words does not vectorise: this was a third of a run. Sums of 32-bit halves in 64-bit
//! lanes cannot overflow below 16 GiB and need no carries.
//! Reference: RFC 1071 §2 (B) byte order, (C) parallel summation.

use anyedge_net::flow::{Address, Family};
use anyedge_net::wire::icmp;

const LANES: usize = 4;

/// Sum of `data` in 32-bit words of this machine's byte order. An odd last byte is padded with zeros.
fn sum(data: &[u8]) -> u64 {
    let mut low = [0_u64; LANES];
    let mut high = [0_u64; LANES];
    let (blocks, rest) = data.as_chunks::<{ LANES * 8 }>();
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for lane in 0..LANES {
            let word = u64::from_ne_bytes(words[lane]);
            low[lane] = low[lane].wrapping_add(word & 0xffff_ffff);
            high[lane] = high[lane].wrapping_add(word >> 32);
        }
    }
    let mut total = low
        .iter()
        .chain(&high)
        .fold(0_u64, |total, lane| total.wrapping_add(*lane));
    let (words, tail) = rest.as_chunks::<4>();
    for word in words {
        total = total.wrapping_add(u64::from(u32::from_ne_bytes(*word)));
    }
    let mut last = [0; 4];
    last[..tail.len()].copy_from_slice(tail);
    total = total.wrapping_add(u64::from(u32::from_ne_bytes(last)));
    total
}

/// One's complement sum as it is read from a header.
const fn fold(total: u64) -> u16 {
    let once = (total >> 32) + (total & 0xffff_ffff);
    let twice = (once >> 16) + (once & 0xffff);
    let thrice = (twice >> 16) + (twice & 0xffff);
    let last = (thrice >> 16) + (thrice & 0xffff);
    (last as u16).to_be()
}

/// The checksum of a whole TCP, UDP, ICMP or ICMPv6 message between two addresses: 0 when it contains a valid
/// one, else the value to store where it has zeros.
pub(super) fn transport(src: Address, dst: Address, protocol: u8, message: &[u8]) -> u16 {
    if protocol == icmp::PROTOCOL_V4 && src.family() == Family::V4 {
        return !fold(sum(message));
    }
    // RFC 9293 §3.1, RFC 8200 §8.1: addresses, protocol and length, wherever they stand in the sum.
    let length = u64::from((message.len() as u32).to_be());
    let pseudo =
        sum(src.octets()) + sum(dst.octets()) + u64::from(u16::from(protocol).to_be()) + length;
    !fold(pseudo + sum(message))
}

#[cfg(test)]
mod tests {
    use anyedge_net::checksum;

    use super::*;

    #[test]
    fn it_agrees_with_the_plain_sum_for_every_length_and_at_the_extremes() {
        for fill in [0x00, 0x01, 0x7f, 0xff] {
            for len in 0..200 {
                let mut data: Vec<u8> = (0..len).map(|at| (at * 37) as u8 ^ fill).collect();
                assert_eq!(fold(sum(&data)), checksum::sum(&data), "{len}");
                data.fill(fill);
                assert_eq!(fold(sum(&data)), checksum::sum(&data), "{len}");
            }
        }
        let large = vec![0xff; 65_535];
        assert_eq!(fold(sum(&large)), checksum::sum(&large));
    }

    #[test]
    fn messages_of_both_families_agree_with_the_plain_checksum() {
        let addresses = [
            ["192.0.2.255", "10.255.0.1"],
            ["2001:db8::ffff", "fd00:1:2:3:4:5:6:7"],
        ];
        for pair in addresses {
            let [src, dst] = pair.map(|text| text.parse::<Address>().expect("a literal"));
            for (len, protocol) in [(8, 1), (9, 6), (1_480, 17), (1_001, 58), (65_515, 6)] {
                let message: Vec<u8> = (0..len).map(|at| (at * 91) as u8).collect();
                let plain = checksum::transport(src, dst, protocol, &message);
                assert_eq!(transport(src, dst, protocol, &message), plain, "{protocol}");
            }
        }
    }
}
