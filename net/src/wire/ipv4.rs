//! IPv4: the strict reader behind `wire::parse`, and the writer of headers.
//!
//! Every received header is verified (version, IHL, checksum, total length); options are skipped, not obeyed.
//! Reference: RFC 791 §3.1 and §3.2, RFC 1812 §5.2.2.

use super::ip::Header;
use super::{Fragment, ParseError, Parsed, Transport, check_fragment};
use crate::checksum;
use crate::flow::{Address, Family};

/// A header without options, in bytes.
pub const HEADER_LEN: usize = 20;

/// The longest header: IHL 15, in bytes.
pub const HEADER_LEN_MAX: usize = 60;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

#[inline(always)]
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, ParseError> {
    let Some(head) = bytes.first_chunk::<HEADER_LEN>() else {
        return Err(ParseError::Truncated);
    };
    let header_len = usize::from(head[0] & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if header_len < HEADER_LEN {
        return Err(ParseError::BadHeaderLength);
    }
    if total_len < header_len || total_len > bytes.len() {
        return Err(ParseError::BadTotalLength);
    }
    let packet = &bytes[..total_len];
    let (header, l4) = packet.split_at(header_len);
    if !header_is_sound(head, &header[HEADER_LEN..]) {
        return Err(ParseError::BadChecksum);
    }

    let position = u16::from_be_bytes([head[6], head[7]]);
    let protocol = head[9];
    let mut fragment = None;
    if position & (MORE_FRAGMENTS | OFFSET_MASK) != 0 {
        let found = Fragment {
            id: u32::from(u16::from_be_bytes([head[4], head[5]])),
            offset: (position & OFFSET_MASK) * 8,
            more: position & MORE_FRAGMENTS != 0,
            protocol,
        };
        check_fragment(found, l4.len())?;
        fragment = Some(found);
    }
    let transport = if position & OFFSET_MASK != 0 {
        Transport::NONE
    } else {
        Transport::parse(protocol, Family::V4, l4, fragment.is_none())?
    };
    let src = Address::v4([head[12], head[13], head[14], head[15]]);
    let dst = Address::v4([head[16], head[17], head[18], head[19]]);
    Ok(Parsed {
        flow: transport.flow(src, dst, protocol),
        family: Family::V4,
        l4_offset: header_len as u16,
        l4_len: l4.len() as u16,
        total_len,
        ttl: head[8],
        tos: head[1],
        fragment,
        dont_fragment: position & DONT_FRAGMENT != 0,
        tcp_flags: transport.tcp_flags,
    })
}

/// Whether the header's words, checksum included, sum to all ones (RFC 791 §3.1).
///
/// The sum is the same in either byte order (RFC 1071 §2 B), and all ones is the only multiple of 0xffff that
/// a header can have, since its version keeps it from being all zeros.
#[inline]
fn header_is_sound(head: &[u8; HEADER_LEN], options: &[u8]) -> bool {
    let (words, _) = head.as_chunks::<4>();
    let mut sum: u64 = words
        .iter()
        .map(|word| u64::from(u32::from_ne_bytes(*word)))
        .sum();
    if !options.is_empty() {
        let (words, _) = options.as_chunks::<4>();
        sum += words
            .iter()
            .map(|word| u64::from(u32::from_ne_bytes(*word)))
            .sum::<u64>();
    }
    sum.is_multiple_of(0xffff)
}

/// Writes a 20-byte header, checksum included, to the start of `out`; returns 20.
///
/// `id` identifies the fragments of one packet and matters only without `dont_fragment` (RFC 6864).
///
/// # Panics
/// If `out` is too short, an address is not IPv4, or the packet would exceed 65,535 bytes.
#[inline]
pub fn write_header(out: &mut [u8], header: &Header, id: u16, dont_fragment: bool) -> usize {
    let (Some(src), Some(dst)) = (header.src.v4_octets(), header.dst.v4_octets()) else {
        panic!("an IPv4 header between IPv6 addresses");
    };
    let total_len = HEADER_LEN + header.payload_len;
    assert!(
        total_len <= usize::from(u16::MAX),
        "an IPv4 packet of {total_len} bytes"
    );
    let out = out
        .first_chunk_mut::<HEADER_LEN>()
        .expect("room for an IPv4 header");
    // In whole words: a load of bytes that were just stored in smaller pieces has to wait for them.
    let position = if dont_fragment { DONT_FRAGMENT } else { 0 };
    let first = 0x4500_0000 | u32::from(header.tos) << 16 | total_len as u32;
    let second = u32::from(id) << 16 | u32::from(position);
    let third = u32::from(header.ttl) << 24 | u32::from(header.protocol) << 16;
    let [src, dst] = [src, dst].map(u32::from_be_bytes);
    let check = checksum::of_words([first, second, third, src, dst]);
    let words = [first, second, third | u32::from(check), src, dst];
    let (places, _) = out.as_chunks_mut::<4>();
    for (place, word) in places.iter_mut().zip(words) {
        *place = word.to_be_bytes();
    }
    HEADER_LEN
}
