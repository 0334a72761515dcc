//! The Internet checksum: whole, in parts, and updated in place.
//!
//! A forwarder never sums a payload: it changes a few header words and repairs the checksum from the old
//! and the new value alone (RFC 1624, equation 3: `HC' = ~(~HC + ~m + m')`), whatever the packet's length.
//! Whole sums are for hosts, which write and verify whole payloads, and for trains of segments: 32-bit halves in 64-bit
//! lanes, which cannot overflow below 16 GiB and need no carries. A loop over 16-bit words with overflow checks on does not
//! vectorise and costs three times as much.
//!
//! Invariant: an update of a valid checksum is valid. Words are big-endian values, as read by `from_be_bytes`.
//! References: RFC 1071 §2 (sum; (B) byte order, (C) parallel summation), RFC 1624 (update), RFC 8200 §8.1
//! (pseudo-header of IPv6).

use crate::flow::{Address, Family};

const LANES: usize = 8;

/// One's complement sum of `data`, not complemented: a part for [`combine`].
///
/// An odd last byte counts as the high byte of a word, so only the last part may be odd.
#[inline]
pub fn sum(data: &[u8]) -> u16 {
    fold(words(data))
}

/// The sum of several parts, not complemented.
#[inline]
pub fn combine(parts: &[u16]) -> u16 {
    let total = parts
        .iter()
        .fold(0_u64, |total, part| total + u64::from(*part));
    carried(total)
}

/// The Internet checksum of `data` (RFC 1071), as it is stored in a header.
///
/// Over data that contains its own valid checksum the result is 0.
#[inline]
pub fn internet(data: &[u8]) -> u16 {
    !sum(data)
}

/// The Internet checksum of a header whose 32-bit words are known, read as big-endian values.
#[inline]
pub fn of_words<const N: usize>(words: [u32; N]) -> u16 {
    let add = |total: u64, word: u32| total + u64::from(word);
    !carried(words.into_iter().fold(0, add))
}

/// The sum of the pseudo-header that TCP, UDP and ICMPv6 checksums cover, not complemented.
///
/// `length` is that of the transport header and its payload, in bytes. Both addresses have the same family.
#[inline]
pub fn pseudo_header(src: Address, dst: Address, protocol: u8, length: u32) -> u16 {
    let high = (length >> 16) as u16;
    combine(&[
        sum(src.octets()),
        sum(dst.octets()),
        u16::from(protocol),
        high,
        length as u16,
    ])
}

/// The checksum of a whole TCP, UDP, ICMP or ICMPv6 message between two addresses.
///
/// With the checksum field zeroed in `message` it is the value to store (a UDP sender stores 0xffff for 0);
/// with the field filled, 0 means valid.
#[inline]
pub fn transport(src: Address, dst: Address, protocol: u8, message: &[u8]) -> u16 {
    if protocol == crate::wire::icmp::PROTOCOL_V4 && src.family() == Family::V4 {
        return internet(message);
    }
    let pseudo = pseudo_header(src, dst, protocol, message.len() as u32);
    !combine(&[pseudo, sum(message)])
}

/// `check` after one covered 16-bit word went from `old` to `new` (RFC 1624, equation 3).
#[inline]
pub fn update16(check: u16, old: u16, new: u16) -> u16 {
    finish(u32::from(!check) + u32::from(!old) + u32::from(new))
}

/// What words that changed do to each checksum that covers them: reckoned once, applied to several.
///
/// Holds for fewer than 16,384 words.
#[derive(Clone, Copy)]
pub struct Change(u32);

impl Change {
    /// Of two words, read as one big-endian 32-bit value at an even offset.
    #[inline]
    pub fn of32(old: u32, new: u32) -> Change {
        Change(halves(!old) + halves(new))
    }

    /// Of eight words, read as one big-endian 128-bit value at an even offset.
    #[inline]
    pub fn of128(old: u128, new: u128) -> Change {
        Change(eighths(!old) + eighths(new))
    }

    /// And of one word more.
    #[inline]
    pub fn and16(self, old: u16, new: u16) -> Change {
        Change(self.0 + u32::from(!old) + u32::from(new))
    }

    /// `check` after the change.
    #[inline]
    pub fn applied_to(self, check: u16) -> u16 {
        finish(u32::from(!check) + self.0)
    }
}

/// Sum of `data` in 32-bit words of this machine's byte order. An odd last byte is padded with zeros.
#[inline]
fn words(data: &[u8]) -> u64 {
    let (blocks, rest) = data.as_chunks();
    let mut total = if blocks.is_empty() { 0 } else { lanes(blocks) };
    let (words, tail) = rest.as_chunks::<4>();
    for word in words {
        total = total.wrapping_add(u64::from(u32::from_ne_bytes(*word)));
    }
    let mut last = [0; 4];
    last[..tail.len()].copy_from_slice(tail);
    total.wrapping_add(u64::from(u32::from_ne_bytes(last)))
}

/// The same of many words. The low halves of 64-bit words are never added up by themselves: their sum is what the sum of
/// whole words, which may overflow, has beside that of the high halves, which cannot.
#[inline]
fn lanes(blocks: &[[u8; LANES * 8]]) -> u64 {
    let mut whole = [0_u64; LANES];
    let mut high = [0_u64; LANES];
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for lane in 0..LANES {
            let word = u64::from_ne_bytes(words[lane]);
            whole[lane] = whole[lane].wrapping_add(word);
            high[lane] = high[lane].wrapping_add(word >> 32);
        }
    }
    let over = |lanes: [u64; LANES]| lanes.into_iter().fold(0_u64, u64::wrapping_add);
    let (whole, high) = (over(whole), over(high));
    let low = whole.wrapping_sub(high << 32);
    low.wrapping_add(high)
}

/// A sum of words in this machine's byte order as the one's complement sum that a header holds.
const fn fold(total: u64) -> u16 {
    carried(total).to_be()
}

/// `total` in 16 bits, carries added at the low end.
const fn carried(total: u64) -> u16 {
    let once = (total >> 32) + (total & 0xffff_ffff);
    let twice = (once >> 16) + (once & 0xffff);
    let thrice = (twice >> 16) + (twice & 0xffff);
    let last = (thrice >> 16) + (thrice & 0xffff);
    last as u16
}

#[inline]
fn halves(value: u32) -> u32 {
    (value >> 16) + (value & 0xffff)
}

#[inline]
fn eighths(value: u128) -> u32 {
    let wide = ((value >> 64) as u64, value as u64);
    let fold = |half: u64| halves((half >> 32) as u32) + halves(half as u32);
    fold(wide.0) + fold(wide.1)
}

/// Folds the carries twice, which is enough for fewer than 65,536 words, and complements.
#[inline]
fn finish(sum: u32) -> u16 {
    let once = halves(sum);
    let twice = halves(once);
    !(twice as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_sums_agree_with_smoltcp_for_every_length_and_at_the_extremes() {
        use smoltcp::wire::checksum as plain;
        for fill in [0x00, 0x01, 0x7f, 0xff] {
            for len in 0..200 {
                let mut data: Vec<u8> = (0..len).map(|at| (at * 37) as u8 ^ fill).collect();
                assert_eq!(sum(&data), plain::data(&data), "{len}");
                data.fill(fill);
                assert_eq!(sum(&data), plain::data(&data), "{len}");
            }
        }
        let large = vec![0xff; 65_535];
        assert_eq!(sum(&large), plain::data(&large));
        assert_eq!(
            combine(&[0xffff, 0xfffe, 3]),
            plain::combine(&[0xffff, 0xfffe, 3])
        );
    }

    #[test]
    fn the_example_of_rfc_1624_section_4_gives_zero() {
        assert_eq!(update16(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn the_example_of_rfc_1071_section_3_sums_to_ddf2() {
        assert_eq!(
            sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]),
            0xddf2
        );
    }

    #[test]
    fn data_with_its_own_checksum_sums_to_zero() {
        let mut data = *b"\x45\0 a header with 22 bytes"; // even length, the checksum lands at offset 2
        data[2..4].fill(0);
        let check = internet(&data);
        data[2..4].copy_from_slice(&check.to_be_bytes());
        assert_eq!(internet(&data), 0);
    }

    proptest! {
        #[test]
        fn a_whole_sum_agrees_with_a_loop_over_words(data in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0xff)], 0..3_000)) {
            let words = data.chunks(2).map(|word| (u64::from(word[0]) << 8) | u64::from(*word.get(1).unwrap_or(&0)));
            let mut total: u64 = words.sum();
            while total > 0xffff {
                total = (total >> 16) + (total & 0xffff);
            }
            prop_assert_eq!(u64::from(sum(&data)), total);
        }

        #[test]
        fn an_updated_word_agrees_with_a_full_sum(mut data in proptest::collection::vec(any::<u8>(), 2..256), at in any::<prop::sample::Index>(), new in any::<u16>()) {
            data[0] |= 1; // RFC 1071 has two zeros; data that is zero throughout is no packet
            let at = at.index(data.len() / 2) * 2;
            let old = u16::from_be_bytes([data[at], data[at + 1]]);
            let before = internet(&data);
            data[at..at + 2].copy_from_slice(&new.to_be_bytes());
            prop_assume!(data.iter().any(|&byte| byte != 0));
            prop_assert_eq!(update16(before, old, new), internet(&data));
        }

        #[test]
        fn updated_addresses_agree_with_a_full_sum(mut data in proptest::collection::vec(any::<u8>(), 40..64), v4 in any::<u32>(), v6 in any::<u128>()) {
            data[0] |= 1;
            let before = internet(&data);
            let old = u32::from_be_bytes([data[4], data[5], data[6], data[7]]);
            data[4..8].copy_from_slice(&v4.to_be_bytes());
            let between = Change::of32(old, v4).applied_to(before);
            prop_assert_eq!(between, internet(&data));

            let mut wide = [0; 16];
            wide.copy_from_slice(&data[20..36]);
            data[20..36].copy_from_slice(&v6.to_be_bytes());
            let change = Change::of128(u128::from_be_bytes(wide), v6);
            prop_assert_eq!(change.applied_to(between), internet(&data));
            let (port, word) = (data[18], u16::from_be_bytes([data[18], data[19]]));
            data[18] = !port;
            let both = change.and16(word, word ^ 0xff00);
            prop_assert_eq!(both.applied_to(between), internet(&data));
        }
    }
}
