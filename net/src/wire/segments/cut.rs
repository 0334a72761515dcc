//! Cutting a super-packet: its segments written out one after the other.
//!
//! What all headers have in common is summed once. A segment then costs the sum of its payload and of the few words in
//! which its headers differ: lengths, identification, sequence number, flags.
//!
//! Invariant: no checksum in the super-packet's own headers is looked at. References: RFC 1071, RFC 9293 §3.1.

use super::{HEADER_LEN_MAX, Segments, read16, write16};
use crate::checksum;
use crate::flow::Family;
use crate::wire::{ipv6, tcp, udp};

/// Where lengths, identification and checksum stand in an IPv4 header.
const V4_VARIES: [usize; 3] = [2, 4, 10];
/// Where the sequence number stands in a TCP header.
const SEQUENCE_AT: usize = 4;
/// Where the header's length and the flags stand in a TCP header.
const FLAGS_AT: usize = 12;
/// Where the length stands in a UDP header.
const LENGTH_AT: usize = 4;

/// A super-packet on its way to be cut.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'a> {
    segments: Segments,
    bytes: &'a [u8],
    /// The sum of an IPv4 header without the words that differ.
    ip_sum: u16,
    /// The sum of the pseudo-header and the transport header without the words that differ.
    l4_sum: u16,
}

impl Segments {
    /// The segments of `bytes`, which these are of, to be written out.
    ///
    /// # Panics
    /// If `bytes` is shorter than its headers.
    pub fn cut<'a>(&self, bytes: &'a [u8]) -> Cut<'a> {
        let mut header = [0; HEADER_LEN_MAX];
        let header = &mut header[..self.header_len];
        header.copy_from_slice(&bytes[..self.header_len]);
        let pseudo = self.pseudo(header, 0);
        let (ip, l4) = header.split_at_mut(self.l4_at);
        write16(l4, self.checksum_at(), 0);
        if self.is_tcp() {
            l4[SEQUENCE_AT..SEQUENCE_AT + 4].fill(0);
            write16(l4, FLAGS_AT, 0);
        } else {
            write16(l4, LENGTH_AT, 0);
        }
        if self.family == Family::V4 {
            for at in V4_VARIES {
                write16(ip, at, 0);
            }
        }
        Cut {
            segments: *self,
            bytes,
            ip_sum: checksum::sum(ip),
            l4_sum: checksum::combine(&[pseudo, checksum::sum(l4)]),
        }
    }
}

impl Cut<'_> {
    /// How many segments there are.
    pub const fn count(&self) -> usize {
        self.segments.count()
    }

    /// Bytes of the segment `index`, headers included.
    pub fn len_of(&self, index: usize) -> usize {
        self.segments.header_len + self.segments.payload(index).len()
    }

    /// Writes the segment `index` to the start of `out`, complete; returns its length.
    ///
    /// # Panics
    /// If `out` is shorter than the segment, or there is no such one.
    pub fn write(&self, index: usize, out: &mut [u8]) -> usize {
        let payload = &self.bytes[self.segments.payload(index)];
        let header_len = self.write_header(index, out);
        let len = header_len + payload.len();
        out[header_len..len].copy_from_slice(payload);
        len
    }

    /// Writes the headers of the segment `index` to the start of `out`, checksums made; returns their length.
    ///
    /// # Panics
    /// If `out` is shorter than the headers, or there is no such segment.
    #[inline]
    pub fn write_header(&self, index: usize, out: &mut [u8]) -> usize {
        let Segments {
            family,
            l4_at,
            header_len,
            size,
            total_len,
            ..
        } = self.segments;
        let payload = self.segments.payload(index);
        let is_last = payload.end == total_len;
        let len = header_len + payload.len();
        let covered = checksum::sum(&self.bytes[payload]);
        let header = &mut out[..header_len];
        header.copy_from_slice(&self.bytes[..header_len]);
        let (ip, l4) = header.split_at_mut(l4_at);
        match family {
            Family::V4 => {
                let id = read16(ip, V4_VARIES[1]).wrapping_add(index as u16);
                let check = !checksum::combine(&[self.ip_sum, len as u16, id]);
                for (at, word) in V4_VARIES.into_iter().zip([len as u16, id, check]) {
                    write16(ip, at, word);
                }
            }
            Family::V6 => write16(ip, 4, (len - ipv6::HEADER_LEN) as u16),
        }
        let l4_len = (len - l4_at) as u16;
        if self.segments.is_tcp() {
            let varies = place_tcp(l4, index, size, is_last);
            let [high, low, flags] = varies;
            let sum = checksum::combine(&[self.l4_sum, l4_len, high, low, flags, covered]);
            write16(l4, tcp::CHECKSUM_AT, !sum);
        } else {
            write16(l4, LENGTH_AT, l4_len);
            let check = !checksum::combine(&[self.l4_sum, l4_len, l4_len, covered]);
            write16(
                l4,
                udp::CHECKSUM_AT,
                if check == 0 { 0xffff } else { check },
            );
        }
        header_len
    }
}

/// Sequence number and flags of the segment `index`: the words that hold them.
fn place_tcp(l4: &mut [u8], index: usize, size: usize, is_last: bool) -> [u16; 3] {
    let sequence =
        (u32::from(read16(l4, SEQUENCE_AT)) << 16) | u32::from(read16(l4, SEQUENCE_AT + 2));
    let sequence = sequence.wrapping_add((index * size) as u32);
    let (high, low) = ((sequence >> 16) as u16, sequence as u16);
    let mut flags = read16(l4, FLAGS_AT);
    if !is_last {
        flags &= !u16::from(tcp::FIN | tcp::PSH);
    }
    if index > 0 {
        flags &= !u16::from(tcp::CWR);
    }
    write16(l4, SEQUENCE_AT, high);
    write16(l4, SEQUENCE_AT + 2, low);
    write16(l4, FLAGS_AT, flags);
    [high, low, flags]
}
