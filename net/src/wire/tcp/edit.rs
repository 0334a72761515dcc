//! Edits of a TCP segment beyond its addresses: an option more, bytes put behind its header, numbers shifted.
//!
//! What is inserted is written into the headroom: headers move towards the front, the payload stays. All checksums
//! are repaired from what changed (RFC 1624); that of a packet which is still to get one means nothing before and after.
//! References: RFC 9293 §3.1 (header), RFC 2018 §3 (SACK).

use super::{CHECKSUM_AT, HEADER_LEN, OPTION_END, OPTION_NOP, PROTOCOL, read32};
use crate::checksum::{self, Change};
use crate::flow::Family;
use crate::packet::Packet;
use crate::wire::{Parsed, ipv6, rewrite};

/// The longest header: 20 bytes and 40 of options.
const HEADER_LEN_MAX: usize = 60;
const OPTION_SACK: u8 = 5;
const SEQUENCE_AT: usize = 4;
const ACKNOWLEDGEMENT_AT: usize = 8;
const OFFSET_AT: usize = 12;

/// The options of the segment that begins at `l4`, kind and value, up to the first malformed one.
pub fn options(l4: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    places(l4).map(|(at, len)| (l4[at], &l4[at + 2..at + len]))
}

/// Where options with a length stand in a segment, and how long they are, kind and length included.
fn places(l4: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let header_len = l4
        .get(OFFSET_AT)
        .map_or(0, |byte| usize::from(byte >> 4) * 4);
    let header = l4.get(..header_len).unwrap_or(&[]);
    let mut at = HEADER_LEN;
    core::iter::from_fn(move || {
        loop {
            match *header.get(at..)? {
                [OPTION_NOP, ..] => at += 1,
                [OPTION_END, ..] | [] | [_] => return None,
                [_, len, ..] => {
                    let (from, len) = (at, usize::from(len));
                    if len < 2 || from + len > header.len() {
                        return None;
                    }
                    at += len;
                    return Some((from, len));
                }
            }
        }
    })
}

/// Bytes of the segment's data; 0 of what is no TCP.
pub fn payload_len(bytes: &[u8], parsed: &Parsed) -> usize {
    if parsed.flow.protocol != PROTOCOL || parsed.is_later_fragment() {
        return 0;
    }
    let l4 = parsed.l4(bytes);
    l4.len() - header_len(l4)
}

/// Puts `option`, of whole words of 4 bytes, in front of the segment's options. False, and nothing changed, when
/// there is no room, in the header or in front of the packet, or it is a fragment.
///
/// # Panics
/// If `parsed` is of another packet.
pub fn insert_option(packet: &mut Packet, parsed: &mut Parsed, option: &[u8]) -> bool {
    debug_assert!(option.len().is_multiple_of(4), "options fill whole words");
    let header_len = header_len(parsed.l4(packet.bytes()));
    if header_len + option.len() > HEADER_LEN_MAX || !insert(packet, parsed, HEADER_LEN, option) {
        return false;
    }
    let l4 = parsed.l4_mut(packet.bytes_mut());
    let before = [l4[OFFSET_AT], l4[OFFSET_AT + 1]];
    l4[OFFSET_AT] += ((option.len() / 4) << 4) as u8;
    let after = [l4[OFFSET_AT], l4[OFFSET_AT + 1]];
    repair(l4, |check| {
        checksum::update16(check, u16::from_be_bytes(before), u16::from_be_bytes(after))
    });
    if packet.meta.offload.segment_len > 0 {
        packet.meta.offload.segment_len += option.len() as u16;
    }
    true
}

/// Gives a segment without data the data `payload`. False, and nothing changed, when it has data, there is no room in
/// front of the packet, or it is a fragment.
///
/// # Panics
/// If `parsed` is of another packet.
pub fn give_payload(packet: &mut Packet, parsed: &mut Parsed, payload: &[u8]) -> bool {
    let l4 = parsed.l4(packet.bytes());
    let end = header_len(l4);
    l4.len() == end && insert(packet, parsed, end, payload)
}

/// Takes the data off a whole segment.
///
/// # Panics
/// If `parsed` is of another packet.
pub fn take_payload(packet: &mut Packet, parsed: &mut Parsed) {
    let taken = payload_len(packet.bytes(), parsed);
    if taken == 0 || parsed.fragment.is_some() {
        return;
    }
    parsed.total_len -= taken;
    parsed.l4_len -= taken as u16;
    packet.truncate(parsed.total_len);
    set_length(packet.bytes_mut(), parsed);
    // `parsed` keeps the addresses that were parsed, whatever was rewritten since.
    let Ok(now) = crate::wire::parse(packet.bytes()) else {
        return;
    };
    super::fill_checksum(now.l4_mut(packet.bytes_mut()), now.flow.src, now.flow.dst);
}

/// Replaces the sequence number.
///
/// # Panics
/// If `bytes` is shorter than the packet parsed, or that is no TCP.
pub fn set_sequence(bytes: &mut [u8], parsed: &Parsed, sequence: u32) {
    replace(parsed.l4_mut(bytes), SEQUENCE_AT, sequence);
}

/// Replaces the acknowledgement number and the edges of blocks that SACK tells of by what `number` makes of each.
///
/// # Panics
/// If `bytes` is shorter than the packet parsed, or that is no TCP.
pub fn map_acknowledged(bytes: &mut [u8], parsed: &Parsed, number: impl Fn(u32) -> u32) {
    let l4 = parsed.l4_mut(bytes);
    let acknowledged = number(read32(l4, ACKNOWLEDGEMENT_AT));
    replace(l4, ACKNOWLEDGEMENT_AT, acknowledged);
    let sack = places(l4).find(|(at, _)| l4[*at] == OPTION_SACK);
    let Some((at, len)) = sack else {
        return;
    };
    for edge in (at + 2..at + len - 3).step_by(4) {
        let is_left = (edge - at - 2).is_multiple_of(8);
        let mapped = number(read32(l4, edge));
        // Nothing in front of the block has come: its first byte has not either, or the acknowledgement would say so.
        let mapped = if is_left && mapped == acknowledged {
            mapped.wrapping_add(1)
        } else {
            mapped
        };
        replace(l4, edge, mapped);
    }
}

/// Puts `added` behind the first `at` bytes of the segment. It ends the segment, or is of an even number of bytes.
fn insert(packet: &mut Packet, parsed: &mut Parsed, at: usize, added: &[u8]) -> bool {
    let l4_len = usize::from(parsed.l4_len);
    let len_max = match parsed.family {
        Family::V4 => usize::from(u16::MAX),
        Family::V6 => usize::from(u16::MAX) + ipv6::HEADER_LEN,
    };
    if parsed.fragment.is_some() || parsed.total_len + added.len() > len_max {
        return false;
    }
    debug_assert!(
        at == l4_len || added.len().is_multiple_of(2),
        "no byte changes its place in a word"
    );
    let Some(gap) = packet.open_gap(usize::from(parsed.l4_offset) + at, added.len()) else {
        return false;
    };
    gap.copy_from_slice(added);
    let before = parsed.l4_len;
    parsed.total_len += added.len();
    parsed.l4_len += added.len() as u16;
    set_length(packet.bytes_mut(), parsed);
    let (after, sum) = (parsed.l4_len, checksum::sum(added));
    repair(parsed.l4_mut(packet.bytes_mut()), |check| {
        // The pseudo-header has the length too.
        checksum::update16(checksum::update16(check, before, after), 0, sum)
    });
    true
}

/// Writes the packet's length into its IP header.
fn set_length(bytes: &mut [u8], parsed: &Parsed) {
    match parsed.family {
        Family::V4 => rewrite::set_v4_word(bytes, 2, parsed.total_len as u16),
        Family::V6 => {
            let payload = (parsed.total_len - ipv6::HEADER_LEN) as u16;
            bytes[4..6].copy_from_slice(&payload.to_be_bytes());
        }
    }
}

fn header_len(l4: &[u8]) -> usize {
    usize::from(l4[OFFSET_AT] >> 4) * 4
}

/// Replaces 4 bytes of a segment.
fn replace(l4: &mut [u8], at: usize, value: u32) {
    let old = read32(l4, at);
    l4[at..at + 4].copy_from_slice(&value.to_be_bytes());
    let (old, new) = if at.is_multiple_of(2) {
        (old, value)
    } else {
        // At an odd offset each half straddles two words of the sum: it counts with its bytes swapped.
        let swapped = |value: u32| value.swap_bytes().rotate_left(16);
        (swapped(old), swapped(value))
    };
    repair(l4, |check| Change::of32(old, new).applied_to(check));
}

fn repair(l4: &mut [u8], update: impl FnOnce(u16) -> u16) {
    let check = u16::from_be_bytes([l4[CHECKSUM_AT], l4[CHECKSUM_AT + 1]]);
    l4[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&update(check).to_be_bytes());
}

#[cfg(test)]
mod tests;
