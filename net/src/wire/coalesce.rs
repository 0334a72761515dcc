//! Which packets may travel on as one super-packet, and how they become one: receive offload, in our own words.
//!
//! Only neighbours of one flow are put together, in order, without a gap, equal in all headers but in what a segment
//! must differ by; a shorter one or PSH ends a run. The rules are a kernel's (GRO), so what a device cuts the
//! super-packet into is what came: with one exception, the IPv4 identification of packets with DF, which means
//! nothing (RFC 6864 §4.1).
//!
//! Invariant: every checksum of a packet that is put together with another was verified. A run of one packet is that
//! packet, byte for byte, sound or not. References: RFC 9293 §3.1, RFC 768.

use super::segments::set_lengths;
use super::{ipv4, ipv6, tcp, udp};
use crate::checksum;
use crate::flow::Family;
use crate::packet::Offload;

/// The longest super-packet, in bytes.
pub const LEN_MAX: usize = 65_535;
/// Datagrams in one super-packet of UDP, as many as any kernel takes.
const DATAGRAMS_MAX: usize = 64;

/// Flags that keep a segment by itself.
const ALONE: u8 = tcp::SYN | tcp::FIN | tcp::RST | tcp::URG | tcp::CWR;

/// A packet that others may join, and those that did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    shape: Shape,
    /// Payload bytes of each but the last.
    size: usize,
    /// Bytes of the super-packet so far.
    len: usize,
    count: usize,
    next_sequence: u32,
    /// The first one's checksums were verified.
    verified: bool,
    /// Nothing may join any more.
    closed: bool,
}

/// Where the headers of a packet end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shape {
    family: Family,
    protocol: u8,
    l4_at: usize,
    header_len: usize,
}

impl Shape {
    /// Of an IP packet that could be one of several; its checksums are not looked at.
    #[inline]
    fn of(packet: &[u8]) -> Option<Shape> {
        let (family, protocol, l4_at) = match packet.first()? {
            0x45 => {
                let head = packet.first_chunk::<{ ipv4::HEADER_LEN }>()?;
                let whole = head[6] & 0xbf == 0 && head[7] == 0;
                let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
                (whole && len == packet.len()).then_some((Family::V4, head[9], ipv4::HEADER_LEN))?
            }
            first if first >> 4 == 6 => {
                let head = packet.first_chunk::<{ ipv6::HEADER_LEN }>()?;
                let len = usize::from(u16::from_be_bytes([head[4], head[5]]));
                let whole = len + ipv6::HEADER_LEN == packet.len();
                whole.then_some((Family::V6, head[6], ipv6::HEADER_LEN))?
            }
            _ => return None,
        };
        let l4 = &packet[l4_at..];
        let header_len = match protocol {
            tcp::PROTOCOL => {
                let head = l4.first_chunk::<{ tcp::HEADER_LEN }>()?;
                let len = usize::from(head[12] >> 4) * 4;
                let flags = head[13];
                let plain = flags & ALONE == 0 && flags & tcp::ACK != 0;
                (plain && len >= tcp::HEADER_LEN).then_some(l4_at + len)?
            }
            udp::PROTOCOL => {
                let head = l4.first_chunk::<{ udp::HEADER_LEN }>()?;
                let len = usize::from(u16::from_be_bytes([head[4], head[5]]));
                let summed = head[6] != 0 || head[7] != 0;
                (summed && len == l4.len()).then_some(l4_at + udp::HEADER_LEN)?
            }
            _ => return None,
        };
        (packet.len() > header_len).then_some(Shape {
            family,
            protocol,
            l4_at,
            header_len,
        })
    }

    fn is_tcp(&self) -> bool {
        self.protocol == tcp::PROTOCOL
    }

    /// Whether the checksums of `packet` are right.
    #[inline]
    fn is_sound(&self, packet: &[u8]) -> bool {
        let addresses = match self.family {
            Family::V4 if checksum::internet(&packet[..self.l4_at]) != 0 => return false,
            Family::V4 => &packet[12..20],
            Family::V6 => &packet[8..40],
        };
        let l4 = &packet[self.l4_at..];
        let parts = [
            checksum::sum(addresses),
            u16::from(self.protocol),
            l4.len() as u16,
            checksum::sum(l4),
        ];
        checksum::combine(&parts) == 0xffff
    }

    /// Whether `next`, of the same shape, has the headers of `head` but for lengths, numbers and PSH.
    #[inline]
    fn is_alike(&self, head: &[u8], next: &[u8], index: usize) -> bool {
        let ip_alike = match self.family {
            Family::V4 => {
                let id = |packet: &[u8]| u16::from_be_bytes([packet[4], packet[5]]);
                let may_be_cut = head[6] & 0x40 == 0;
                head[..2] == next[..2]
                    && head[6..10] == next[6..10]
                    && head[12..20] == next[12..20]
                    && (!may_be_cut || id(next) == id(head).wrapping_add(index as u16))
            }
            Family::V6 => head[..4] == next[..4] && head[6..40] == next[6..40],
        };
        let (a, b) = (
            &head[self.l4_at..self.header_len],
            &next[self.l4_at..self.header_len],
        );
        let l4_alike = if self.is_tcp() {
            // Acknowledgement, length, flags but PSH, window, urgent pointer, options.
            a[8..13] == b[8..13]
                && (a[13] ^ b[13]) & !tcp::PSH == 0
                && a[14..16] == b[14..16]
                && a[18..] == b[18..]
        } else {
            true
        };
        ip_alike && a[..4] == b[..4] && l4_alike
    }
}

impl Run {
    /// A run that begins with `packet`, one IP packet and nothing behind it; `None` if nothing can join it.
    #[inline]
    pub fn start(packet: &[u8]) -> Option<Run> {
        let shape = Shape::of(packet)?;
        if shape.is_tcp() && packet[shape.l4_at + 13] & tcp::PSH != 0 {
            return None;
        }
        let size = packet.len() - shape.header_len;
        Some(Run {
            shape,
            size,
            len: packet.len(),
            count: 1,
            next_sequence: sequence(packet, &shape).wrapping_add(size as u32),
            verified: false,
            closed: false,
        })
    }

    /// Whether `next` may belong to the run's flow, so that neither may overtake the other; `head` is as for
    /// [`Run::accepts`]. Of two packets between the same addresses it says so, unless their ports or protocols say
    /// otherwise.
    #[inline]
    pub fn may_share_flow(&self, head: &[u8], next: &[u8]) -> bool {
        let Shape {
            family,
            protocol,
            l4_at,
            ..
        } = self.shape;
        let (addresses, next_protocol, plain) = match (family, next) {
            (Family::V4, [first, ..]) if first >> 4 == 4 && next.len() >= ipv4::HEADER_LEN => {
                let whole = next[6] & 0x3f == 0 && next[7] == 0;
                (12..20, next[9], *first == 0x45 && whole)
            }
            (Family::V6, [first, ..]) if first >> 4 == 6 && next.len() >= ipv6::HEADER_LEN => (
                8..40,
                next[6],
                matches!(next[6], tcp::PROTOCOL | udp::PROTOCOL),
            ),
            _ => return false,
        };
        if head[addresses.clone()] != next[addresses] {
            return false;
        }
        match next.get(l4_at..l4_at + 4) {
            Some(ports) if plain => next_protocol == protocol && head[l4_at..l4_at + 4] == *ports,
            _ => true,
        }
    }

    /// Whether `next` may join; `head` is the run's first packet, or at least its headers as they came, and all of
    /// it as long as nothing has joined.
    #[inline]
    pub fn accepts(&mut self, head: &[u8], next: &[u8]) -> bool {
        if self.closed || (!self.shape.is_tcp() && self.count == DATAGRAMS_MAX) {
            return false;
        }
        let Some(shape) = Shape::of(next) else {
            return false;
        };
        let payload_len = next.len() - shape.header_len;
        if shape != self.shape || payload_len > self.size || self.len + payload_len > LEN_MAX {
            return false;
        }
        let follows = !shape.is_tcp() || sequence(next, &shape) == self.next_sequence;
        if !follows || !shape.is_alike(head, next, self.count) {
            return false;
        }
        self.verified = self.verified || shape.is_sound(&head[..self.len]);
        self.verified && shape.is_sound(next)
    }

    /// Puts `next`, which was accepted, behind the others, whose bytes `packet` begins with.
    ///
    /// # Panics
    /// If `packet` has no room.
    #[inline]
    pub fn join(&mut self, packet: &mut [u8], next: &[u8]) {
        let payload = &next[self.shape.header_len..];
        packet[self.len..self.len + payload.len()].copy_from_slice(payload);
        self.len += payload.len();
        self.count += 1;
        self.next_sequence = self.next_sequence.wrapping_add(payload.len() as u32);
        let pushed = self.shape.is_tcp() && next[self.shape.l4_at + 13] & tcp::PSH != 0;
        if pushed {
            packet[self.shape.l4_at + 13] |= tcp::PSH;
        }
        self.closed = pushed || payload.len() < self.size;
    }

    /// Bytes so far.
    pub const fn total_len(&self) -> usize {
        self.len
    }

    /// How many packets it is made of.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Ends the run: gives its headers the lengths of the whole. What is to be known beside the bytes.
    pub fn finish(&self, packet: &mut [u8]) -> Offload {
        if self.count == 1 {
            return Offload::NONE;
        }
        let Shape {
            family,
            protocol,
            l4_at,
            header_len,
        } = self.shape;
        let header = &mut packet[..header_len];
        set_lengths(header, family, l4_at, self.len, protocol);
        Offload {
            segment_len: (header_len + self.size) as u16,
            partial: true,
        }
    }
}

fn sequence(packet: &[u8], shape: &Shape) -> u32 {
    if !shape.is_tcp() {
        return 0;
    }
    let at = shape.l4_at + 4;
    u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])
}

#[cfg(test)]
mod tests;
