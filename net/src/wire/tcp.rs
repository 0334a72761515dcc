//! TCP: flags, the MSS option and its clamp, the reset that answers a segment, and `edit`s of one.
//!
//! Only what a forwarder does to TCP is here; connections are the hosts' business. The option walk is bounded
//! by the header, and a malformed option ends it without an error: the end host judges options.
//! References: RFC 9293 §3.1 (header), §3.2 (options), §3.10.7.1 (reset); RFC 6691 (MSS).

mod edit;

use super::ip::{DEFAULT_TTL, Header};
use super::{Parsed, ecn};
use crate::checksum;
use crate::flow::Address;

pub use edit::{
    give_payload, insert_option, map_acknowledged, options, payload_len, set_sequence, take_payload,
};

/// IP protocol number.
pub const PROTOCOL: u8 = 6;

/// A header without options, in bytes.
pub const HEADER_LEN: usize = 20;

/// The sender has no more data.
pub const FIN: u8 = 0x01;
/// Opens a connection.
pub const SYN: u8 = 0x02;
/// Ends a connection at once.
pub const RST: u8 = 0x04;
/// Push.
pub const PSH: u8 = 0x08;
/// The acknowledgement number counts.
pub const ACK: u8 = 0x10;
/// The urgent pointer counts.
pub const URG: u8 = 0x20;
/// ECN echo (RFC 3168).
pub const ECE: u8 = 0x40;
/// Congestion window reduced (RFC 3168).
pub const CWR: u8 = 0x80;

/// The longest packet that [`write_reset`] makes (IPv6), in bytes.
pub const RESET_LEN_MAX: usize = 60;

pub(super) const CHECKSUM_AT: usize = 16;

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_MSS: u8 = 2;
const OPTION_MSS_LEN: u8 = 4;

/// The maximum segment size that a SYN announces, in bytes; `None` without the option or without SYN.
pub fn mss(bytes: &[u8], parsed: &Parsed) -> Option<u16> {
    if !is_syn(parsed) {
        return None;
    }
    let l4 = parsed.l4(bytes);
    let at = find_mss(l4, HEADER_LEN)?;
    Some(u16::from_be_bytes([l4[at], l4[at + 1]]))
}

/// Lowers the MSS of a SYN to at most `mss_max` bytes; `true` if it was higher.
///
/// It is never raised, and a SYN without the option is left alone (its sender gets 536 or 1,220 bytes by
/// default, RFC 9293 §3.7.1). If the option is there twice, both are lowered.
///
/// # Panics
/// If `bytes` is shorter than the packet parsed.
#[inline]
pub fn clamp_mss(bytes: &mut [u8], parsed: &Parsed, mss_max: u16) -> bool {
    if !is_syn(parsed) {
        return false;
    }
    let l4 = parsed.l4_mut(bytes);
    let mut clamped = false;
    let mut from = HEADER_LEN;
    while let Some(at) = find_mss(l4, from) {
        let old = u16::from_be_bytes([l4[at], l4[at + 1]]);
        if old > mss_max {
            l4[at..at + 2].copy_from_slice(&mss_max.to_be_bytes());
            let check = u16::from_be_bytes([l4[CHECKSUM_AT], l4[CHECKSUM_AT + 1]]);
            // At an odd offset the value straddles two words of the sum: it counts with its bytes swapped.
            let check = if at.is_multiple_of(2) {
                checksum::update16(check, old, mss_max)
            } else {
                checksum::update16(check, old.swap_bytes(), mss_max.swap_bytes())
            };
            l4[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&check.to_be_bytes());
            clamped = true;
        }
        from = at + 2;
    }
    clamped
}

#[inline]
const fn is_syn(parsed: &Parsed) -> bool {
    parsed.tcp_flags & SYN != 0
}

/// Where the value of the first MSS option at or behind `from` stands in `l4`; `from` starts an option.
#[inline]
fn find_mss(l4: &[u8], from: usize) -> Option<usize> {
    let header_len = usize::from(l4[12] >> 4) * 4;
    let options = l4.get(..header_len)?;
    let mut at = from;
    while at < header_len {
        match *options.get(at..)? {
            [OPTION_MSS, OPTION_MSS_LEN, _, _, ..] => return Some(at + 2),
            [OPTION_NOP, ..] => at += 1,
            [OPTION_END, ..] | [] | [_] => return None,
            [_, length, ..] if length < 2 => return None,
            [_, length, ..] => at += usize::from(length),
        }
    }
    None
}

/// Writes the RST that answers a segment (RFC 9293 §3.10.7.1) to the start of `out`; returns its length.
///
/// 0, and nothing written, if no reset may be sent: the segment is itself a RST, is no TCP, is a fragment
/// (its length is unknown), or comes from or went to an address that is no single host's.
/// Addresses and ports are swapped; a segment with ACK is reset at the number it acknowledges, another one is
/// acknowledged up to its end with sequence number 0. DSCP is kept, ECN cleared (RFC 3168 §6.1.1).
///
/// # Panics
/// If `out` is shorter than the reset (40 bytes for IPv4, 60 for IPv6).
pub fn write_reset(packet_bytes: &[u8], parsed: &Parsed, out: &mut [u8]) -> usize {
    let flow = parsed.flow;
    let silent = flow.protocol != PROTOCOL
        || parsed.fragment.is_some()
        || parsed.tcp_flags & RST != 0
        || !is_host(flow.src)
        || !is_host(flow.dst);
    if silent {
        return 0;
    }
    let l4 = parsed.l4(packet_bytes);
    let (sequence, acknowledgement, flags) = if parsed.tcp_flags & ACK != 0 {
        (read32(l4, 8), 0, RST)
    } else {
        (
            0,
            read32(l4, 4).wrapping_add(segment_len(l4, parsed)),
            RST | ACK,
        )
    };

    write_bare(parsed, (sequence, acknowledgement), flags, out)
}

/// Writes a SYN-ACK that the sender of a SYN cannot accept: it acknowledges `acknowledgement`, wherever the SYN's
/// numbers end. A sound sender answers with a RST at that number (RFC 9293 §3.10.7.3). Returns its length.
///
/// 0, and nothing written, if the packet is no SYN alone, is a fragment, has an address that is no single host's,
/// or would have to accept that number.
///
/// # Panics
/// If `out` is shorter than [`RESET_LEN_MAX`].
pub fn write_challenge(
    packet_bytes: &[u8],
    parsed: &Parsed,
    acknowledgement: u32,
    out: &mut [u8],
) -> usize {
    let flow = parsed.flow;
    let silent = flow.protocol != PROTOCOL
        || parsed.fragment.is_some()
        || parsed.tcp_flags & (SYN | ACK | RST | FIN) != SYN
        || !is_host(flow.src)
        || !is_host(flow.dst);
    if silent {
        return 0;
    }
    let l4 = parsed.l4(packet_bytes);
    let beyond = acknowledgement.wrapping_sub(read32(l4, 4));
    if (1..=segment_len(l4, parsed)).contains(&beyond) {
        return 0;
    }
    // The sequence number is not looked at in a segment that is refused for its acknowledgement.
    write_bare(parsed, (0, acknowledgement), SYN | ACK, out)
}

/// Writes a segment without options or data that answers `parsed`, with these numbers and flags; returns the
/// length of the packet.
fn write_bare(
    parsed: &Parsed,
    (sequence, acknowledgement): (u32, u32),
    flags: u8,
    out: &mut [u8],
) -> usize {
    let flow = parsed.flow;
    let header = Header {
        src: flow.dst,
        dst: flow.src,
        protocol: PROTOCOL,
        ttl: DEFAULT_TTL,
        tos: parsed.tos & !ecn::ECN_MASK,
        payload_len: HEADER_LEN,
    };
    let at = header.write(out);
    let segment = &mut out[at..at + HEADER_LEN];
    segment.fill(0);
    segment[..2].copy_from_slice(&flow.dst_port.to_be_bytes());
    segment[2..4].copy_from_slice(&flow.src_port.to_be_bytes());
    segment[4..8].copy_from_slice(&sequence.to_be_bytes());
    segment[8..12].copy_from_slice(&acknowledgement.to_be_bytes());
    segment[12] = 5 << 4;
    segment[13] = flags;
    fill_checksum(segment, flow.dst, flow.src);
    at + HEADER_LEN
}

/// The sequence number of a TCP segment; 0 of anything else.
#[inline]
pub fn sequence(bytes: &[u8], parsed: &Parsed) -> u32 {
    if parsed.flow.protocol != PROTOCOL || parsed.is_later_fragment() {
        return 0;
    }
    read32(parsed.l4(bytes), 4)
}

/// The acknowledgement number of a whole segment or its first fragment, whether it counts or not.
///
/// # Panics
/// If `bytes` is shorter than the packet parsed, or that is no TCP.
#[inline]
pub fn acknowledged(bytes: &[u8], parsed: &Parsed) -> u32 {
    read32(parsed.l4(bytes), 8)
}

/// Replaces all flags of a segment whose checksum is still to be filled in.
///
/// # Panics
/// If `segment` is shorter than a header.
pub fn set_flags(segment: &mut [u8], flags: u8) {
    segment[13] = flags;
}

/// Where a segment stands among its sender's numbers, and what it says of the receiver's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Numbers {
    /// SEG.SEQ.
    pub sequence: u32,
    /// The number behind its last, which is `sequence` of a segment without data, SYN and FIN.
    pub end: u32,
    /// SEG.ACK: the number that its sender expects next.
    pub acknowledged: Option<u32>,
}

/// The numbers of a segment; `None` of anything else, and of a fragment, whose length is unknown.
#[inline]
pub fn numbers(bytes: &[u8], parsed: &Parsed) -> Option<Numbers> {
    if parsed.flow.protocol != PROTOCOL || parsed.fragment.is_some() {
        return None;
    }
    let l4 = parsed.l4(bytes);
    let [_, _, _, _, s0, s1, s2, s3, a0, a1, a2, a3, ..] = *l4.first_chunk::<HEADER_LEN>()?;
    let sequence = u32::from_be_bytes([s0, s1, s2, s3]);
    let acknowledged = u32::from_be_bytes([a0, a1, a2, a3]);
    Some(Numbers {
        sequence,
        end: sequence.wrapping_add(segment_len(l4, parsed)),
        acknowledged: (parsed.tcp_flags & ACK != 0).then_some(acknowledged),
    })
}

/// Computes and stores the checksum of a whole segment (header and payload) between two addresses.
///
/// # Panics
/// If `segment` is shorter than a header.
pub fn fill_checksum(segment: &mut [u8], src: Address, dst: Address) {
    segment[CHECKSUM_AT..CHECKSUM_AT + 2].fill(0);
    let check = checksum::transport(src, dst, PROTOCOL, segment);
    segment[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&check.to_be_bytes());
}

/// The data of a segment; `None` of anything else, and of a fragment.
pub fn payload<'a>(bytes: &'a [u8], parsed: &Parsed) -> Option<&'a [u8]> {
    if parsed.flow.protocol != PROTOCOL || parsed.fragment.is_some() {
        return None;
    }
    let l4 = parsed.l4(bytes);
    l4.get(usize::from(l4.get(12)? >> 4) * 4..)
}

/// SEG.LEN: the payload, and one each for SYN and FIN (RFC 9293 §3.4).
#[inline]
fn segment_len(l4: &[u8], parsed: &Parsed) -> u32 {
    let payload = l4.len() - usize::from(l4[12] >> 4) * 4;
    let controls = (parsed.tcp_flags & (SYN | FIN)).count_ones();
    payload as u32 + controls
}

fn is_host(address: Address) -> bool {
    let broadcast = address == Address::v4([255; 4]);
    !(broadcast || address.is_multicast() || address.is_unspecified())
}

#[inline]
fn read32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests;
