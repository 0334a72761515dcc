//! The Internet checksum of what hosts send and receive, wide words at a time.
//!
//! Hosts are the only ones that sum whole payloads, twice per packet, and with overflow checks on an addition
//! loop over 16-bit words does not vectorise: this was a third of a run. Sums of 32-bit halves in 64-bit
//! lanes cannot overflow below 16 GiB and need no carries.
//! Reference: RFC 1071 §2 (B) byte order, (C) parallel summation.

use anyedge_net::checksum::{combine, pseudo_header};
use anyedge_net::flow::{Address, Family};
use anyedge_net::wire::icmp;

const LANES: usize = 4;

/// One's complement sum of `data`, not complemented. An odd last byte counts as the high byte of a word.
pub(super) fn sum(data: &[u8]) -> u16 {
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
    fold(total).to_be()
}

const fn fold(total: u64) -> u16 {
    let once = (total >> 32) + (total & 0xffff_ffff);
    let twice = (once >> 16) + (once & 0xffff);
    let thrice = (twice >> 16) + (twice & 0xffff);
    let last = (thrice >> 16) + (thrice & 0xffff);
    last as u16
}

/// The checksum of a whole TCP, UDP, ICMP or ICMPv6 message between two addresses: 0 when it contains a valid
/// one, else the value to store where it has zeros.
pub(super) fn transport(src: Address, dst: Address, protocol: u8, message: &[u8]) -> u16 {
    if protocol == icmp::PROTOCOL_V4 && src.family() == Family::V4 {
        return !sum(message);
    }
    !combine(&[
        pseudo_header(src, dst, protocol, message.len() as u32),
        sum(message),
    ])
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
                assert_eq!(sum(&data), checksum::sum(&data), "{len}");
                data.fill(fill);
                assert_eq!(sum(&data), checksum::sum(&data), "{len}");
            }
        }
        let large = vec![0xff; 65_535];
        assert_eq!(sum(&large), checksum::sum(&large));
    }
}
