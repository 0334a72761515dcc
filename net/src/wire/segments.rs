//! What a super-packet stands for: its segments, each with finished headers, as a kernel's GSO makes them.
//!
//! TCP: sequence numbers go on, FIN and PSH are the last one's, CWR the first one's. UDP: each segment is a datagram.
//! IPv4 identifications count up. The same code fills in the checksum of a packet that is just itself, but
//! not complete ([`Offload::partial`]). [`Cut`] writes the segments.
//!
//! Invariant: the payloads of all segments in order are the super-packet's payload; no segment is longer than
//! `offload.segment_len`. References: RFC 9293 §3.1, RFC 768, RFC 6864 (identification).

mod cut;

use core::ops::Range;

use super::{ipv4, ipv6, parse, tcp, udp};
use crate::checksum;
use crate::flow::Family;
use crate::outbox::Outbox;
use crate::packet::{Offload, Packet};

pub use cut::Cut;

/// The longest header of a segment: IPv4 and TCP with all options, or IPv6 with extension headers that are not too
/// many. Longer ones are not segmented.
pub const HEADER_LEN_MAX: usize = 128;

/// How a packet is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segments {
    family: Family,
    protocol: u8,
    l4_at: usize,
    header_len: usize,
    /// Payload bytes of each segment but the last.
    size: usize,
    total_len: usize,
}

impl Segments {
    /// The segments of the IP packet `bytes`: one, the packet itself, unless it is a super-packet. `None` if it is no
    /// whole TCP or UDP packet, or if `offload` cannot be meant for it.
    pub fn of(bytes: &[u8], offload: Offload) -> Option<Segments> {
        let parsed = parse(bytes).ok()?;
        if parsed.fragment.is_some() {
            return None;
        }
        let l4_at = usize::from(parsed.l4_offset);
        let header_len = match parsed.flow.protocol {
            tcp::PROTOCOL => l4_at + usize::from(bytes[l4_at + 12] >> 4) * 4,
            udp::PROTOCOL => l4_at + udp::HEADER_LEN,
            _ => return None,
        };
        if header_len > HEADER_LEN_MAX {
            return None;
        }
        let size = match usize::from(offload.segment_len) {
            0 => parsed.total_len - header_len,
            longest => longest.checked_sub(header_len).filter(|size| *size > 0)?,
        };
        Some(Segments {
            family: parsed.family,
            protocol: parsed.flow.protocol,
            l4_at,
            header_len,
            size,
            total_len: parsed.total_len,
        })
    }

    /// How many there are, at least one.
    pub const fn count(&self) -> usize {
        let payload_len = self.total_len - self.header_len;
        if payload_len <= self.size {
            1
        } else {
            payload_len.div_ceil(self.size)
        }
    }

    /// Bytes of IP and transport header of each.
    pub const fn header_len(&self) -> usize {
        self.header_len
    }

    /// Where the transport header begins.
    pub const fn l4_at(&self) -> usize {
        self.l4_at
    }

    /// Where the checksum stands in the transport header.
    pub const fn checksum_at(&self) -> usize {
        match self.protocol {
            tcp::PROTOCOL => tcp::CHECKSUM_AT,
            _ => udp::CHECKSUM_AT,
        }
    }

    /// Payload bytes of each segment but the last.
    pub const fn size(&self) -> usize {
        self.size
    }

    /// IPv4 or IPv6.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Whether it is TCP; else it is UDP.
    pub const fn is_tcp(&self) -> bool {
        self.protocol == tcp::PROTOCOL
    }

    /// Where the payload of segment `index` stands in the super-packet.
    pub fn payload(&self, index: usize) -> Range<usize> {
        let from = self.header_len + index * self.size;
        from..self.total_len.min(from + self.size)
    }

    /// The pseudo-header's sum, not complemented: what the kernel wants to find in the checksum field of a packet
    /// whose checksum it is to make. Over the whole super-packet.
    pub fn pseudo_sum(&self, bytes: &[u8]) -> u16 {
        self.pseudo(bytes, self.total_len - self.l4_at)
    }

    /// Lengths, identification, sequence number and flags of the segment `index` with `payload_len` bytes.
    fn place(&self, header: &mut [u8], index: usize, payload_len: usize, is_last: bool) {
        let len = self.header_len + payload_len;
        set_lengths(header, self.family, self.l4_at, len, self.protocol);
        if self.family == Family::V4 {
            let id = read16(header, 4).wrapping_add(index as u16);
            write16(header, 4, id);
            seal_v4(&mut header[..self.l4_at]);
        }
        if self.is_tcp() {
            let at = self.l4_at + 4;
            let sequence =
                u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
            let sequence = sequence.wrapping_add((index * self.size) as u32);
            header[at..at + 4].copy_from_slice(&sequence.to_be_bytes());
            let flags = &mut header[self.l4_at + 13];
            if !is_last {
                *flags &= !(tcp::FIN | tcp::PSH);
            }
            if index > 0 {
                *flags &= !tcp::CWR;
            }
        }
    }

    /// Makes the checksum of a segment whose payload sums to `covered`.
    fn fill_checksum(&self, header: &mut [u8], covered: u16, payload_len: usize) {
        let at = self.l4_at + self.checksum_at();
        write16(header, at, 0);
        let l4_len = self.header_len - self.l4_at + payload_len;
        let parts = [
            self.pseudo(header, l4_len),
            checksum::sum(&header[self.l4_at..]),
            covered,
        ];
        let check = match (self.protocol, !checksum::combine(&parts)) {
            (udp::PROTOCOL, 0) => 0xffff,
            (_, check) => check,
        };
        write16(header, at, check);
    }

    fn pseudo(&self, header: &[u8], l4_len: usize) -> u16 {
        let addresses = match self.family {
            Family::V4 => &header[12..20],
            Family::V6 => &header[8..40],
        };
        let len = [(l4_len >> 16) as u16, l4_len as u16];
        let sum = checksum::sum(addresses);
        checksum::combine(&[sum, u16::from(self.protocol), len[0], len[1]])
    }
}

/// Makes the TCP or UDP checksum of the IP packet `bytes`, which is no super-packet; `false` if it is no whole
/// packet of the two.
pub fn finish_checksum(bytes: &mut [u8]) -> bool {
    let Some(segments) = Segments::of(bytes, Offload::NONE) else {
        return false;
    };
    let payload = segments.payload(0);
    let len = payload.len();
    let covered = checksum::sum(&bytes[payload]);
    let header = &mut bytes[..segments.header_len];
    segments.fill_checksum(header, covered, len);
    true
}

/// Makes `packet`, which begins with its IP header, complete and just itself; of a super-packet its first segment.
/// Returns the others as a packet of their own, a super-packet if they are several. They are lost when no slot is
/// free, or when this is no TCP and no UDP packet.
pub fn split_first(packet: &mut Packet, out: &mut Outbox) -> Option<Packet> {
    let offload = packet.meta.offload;
    packet.meta.offload = Offload::NONE;
    let segments = Segments::of(packet.bytes(), offload)?;
    let (first, count) = (segments.payload(0), segments.count());
    let rest = (count > 1).then(|| segments.rest(packet, out, offload));
    let mut header = [0; HEADER_LEN_MAX];
    let len = segments.cut(packet.bytes()).write_header(0, &mut header);
    packet.truncate(first.end);
    packet.bytes_mut()[..len].copy_from_slice(&header[..len]);
    rest.flatten()
}

impl Segments {
    /// All segments but the first.
    fn rest(&self, packet: &Packet, out: &mut Outbox, offload: Offload) -> Option<Packet> {
        let bytes = packet.bytes();
        let tail = &bytes[self.payload(1).start..self.total_len];
        let mut rest = out.originate(self.header_len + tail.len())?;
        rest.meta = packet.meta;
        rest.meta.offload = Offload {
            segment_len: if self.count() > 2 {
                offload.segment_len
            } else {
                0
            },
            partial: true,
        };
        let (header, payload) = rest.bytes_mut().split_at_mut(self.header_len);
        header.copy_from_slice(&bytes[..self.header_len]);
        payload.copy_from_slice(tail);
        self.place(header, 1, tail.len(), true);
        Some(rest)
    }
}

/// Writes the lengths of a packet of `len` bytes into its headers, and its IPv4 header checksum.
pub(super) fn set_lengths(
    header: &mut [u8],
    family: Family,
    l4_at: usize,
    len: usize,
    protocol: u8,
) {
    match family {
        Family::V4 => {
            write16(header, 2, len as u16);
            seal_v4(&mut header[..l4_at]);
        }
        Family::V6 => write16(header, 4, (len - ipv6::HEADER_LEN) as u16),
    }
    if protocol == udp::PROTOCOL {
        write16(header, l4_at + 4, (len - l4_at) as u16);
    }
}

fn seal_v4(header: &mut [u8]) {
    debug_assert!(header.len() >= ipv4::HEADER_LEN, "a whole header");
    write16(header, 10, 0);
    let check = checksum::internet(header);
    write16(header, 10, check);
}

fn read16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn write16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests;
