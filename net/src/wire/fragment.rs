//! Fragments: which packet they are of, how a router cuts an IPv4 packet that may be cut, and how a sender cuts its
//! own.
//!
//! All fragments of a packet share source, destination, protocol and identification, and only the first has
//! ports. What names the packet fits a [`FlowKey`], so it is hashed and compared like one.
//!
//! Invariant: what [`split`] makes of a packet is its payload, in order, in packets of at most the MTU; so it is
//! with the [`pieces`] of a sender.
//! References: RFC 791 §2.3 and §3.2 (fragmentation), RFC 8200 §4.5 (IPv6: by the source alone).

pub mod ranges;

use core::ops::Range;

use super::ip::Header;
use super::{Fragment, Parsed, ipv4, ipv6, parse, segments};
use crate::checksum;
use crate::flow::{Family, FlowKey};
use crate::outbox::Outbox;
use crate::packet::{Offload, Packet};

const POSITION_AT: usize = 6;
const MORE_FRAGMENTS: u16 = 0x2000;
const CHECKSUM_AT: usize = 10;

/// What all fragments of one packet share, the identification in the place of the ports; `None` for a whole
/// packet.
#[inline]
pub fn packet_key(parsed: &Parsed) -> Option<FlowKey> {
    let fragment = parsed.fragment?;
    Some(FlowKey {
        src_port: (fragment.id >> 16) as u16,
        dst_port: fragment.id as u16,
        protocol: fragment.protocol,
        ..parsed.flow
    })
}

/// Whether a router may cut the packet: IPv4 without DF. One with options is let be.
#[inline]
pub const fn may_split(parsed: &Parsed) -> bool {
    matches!(parsed.family, Family::V4)
        && !parsed.dont_fragment
        && parsed.l4_offset as usize == ipv4::HEADER_LEN
}

/// Cuts a packet into fragments of at most `mtu` bytes and hands them to `each` in order. The first is the
/// packet itself, the others are originated; when no slot is free the rest is lost.
///
/// A packet that fits, or that may not be cut, is handed over as it is. A super-packet whose segments do not fit is
/// taken apart first.
pub fn split(
    packet: Packet,
    mtu: u16,
    out: &mut Outbox,
    mut each: impl FnMut(Packet, &mut Outbox),
) {
    let mut uncut = Some(packet);
    while let Some(mut packet) = uncut.take() {
        if packet.meta.offload != Offload::NONE && packet.wire_len() > usize::from(mtu) {
            uncut = segments::split_first(&mut packet, out);
        }
        split_one(packet, mtu, out, &mut each);
    }
}

/// The same for a packet that is just itself.
fn split_one(
    packet: Packet,
    mtu: u16,
    out: &mut Outbox,
    each: &mut impl FnMut(Packet, &mut Outbox),
) {
    let mut rest = Some(packet);
    while let Some(mut packet) = rest.take() {
        if packet.wire_len() > usize::from(mtu) {
            rest = cut(&mut packet, mtu, out);
        }
        each(packet, out);
    }
}

/// The headers of a fragment that its sender makes: 20 bytes in IPv4, 48 in IPv6.
#[inline]
pub const fn header_len(family: Family) -> usize {
    match family {
        Family::V4 => ipv4::HEADER_LEN,
        Family::V6 => ipv6::HEADER_LEN + ipv6::FRAGMENT_HEADER_LEN,
    }
}

/// Where a sender cuts `payload_len` bytes behind the header into fragments of at most `mtu` bytes each, and
/// whether more follow. All but the last are a multiple of 8 bytes long, and none is empty.
pub fn pieces(
    family: Family,
    payload_len: usize,
    mtu: usize,
) -> impl Iterator<Item = (Range<usize>, bool)> {
    let room = (mtu.saturating_sub(header_len(family)) / 8).max(1) * 8;
    (0..payload_len).step_by(room).map(move |from| {
        let to = payload_len.min(from + room);
        (from..to, to < payload_len)
    })
}

/// Writes the headers of a fragment with `header.payload_len` bytes of the packet's payload to the start of `out`;
/// returns their length. `header.protocol` is not looked at, `fragment` names it. Routers may cut it again in
/// IPv4: it has no DF.
///
/// # Panics
/// As [`Header::write`], or if the offset is no multiple of 8.
pub fn write_header(out: &mut [u8], header: &Header, fragment: &Fragment) -> usize {
    assert!(
        fragment.offset.is_multiple_of(8),
        "offsets count in units of 8"
    );
    let header = Header {
        protocol: fragment.protocol,
        ..*header
    };
    match header.src.family() {
        Family::V4 => {
            let len = ipv4::HEADER_LEN + header.payload_len;
            ipv4::write_header(out, &header, fragment.id as u16, false);
            set_position(&mut out[..len], fragment.offset, fragment.more);
            ipv4::HEADER_LEN
        }
        Family::V6 => ipv6::write_fragment_header(out, &header, fragment),
    }
}

/// Shortens `packet` to `mtu` and returns what was cut off, with a header of its own.
fn cut(packet: &mut Packet, mtu: u16, out: &mut Outbox) -> Option<Packet> {
    let parsed = parse(packet.bytes()).ok().filter(may_split)?;
    let kept = usize::from(mtu).checked_sub(ipv4::HEADER_LEN)? / 8 * 8;
    if kept == 0 || usize::from(parsed.l4_len) <= kept {
        return None;
    }
    let offset = parsed.fragment.map_or(0, |fragment| fragment.offset);
    let is_last = parsed.fragment.is_none_or(|fragment| !fragment.more);
    let bytes = packet.bytes();
    let tail = &bytes[ipv4::HEADER_LEN + kept..parsed.total_len];
    let rest = out
        .originate(ipv4::HEADER_LEN + tail.len())
        .map(|mut rest| {
            let into = rest.bytes_mut();
            into[..ipv4::HEADER_LEN].copy_from_slice(&bytes[..ipv4::HEADER_LEN]);
            into[ipv4::HEADER_LEN..].copy_from_slice(tail);
            set_position(into, offset + kept as u16, !is_last);
            rest.meta = packet.meta;
            rest
        });
    packet.truncate(ipv4::HEADER_LEN + kept);
    set_position(packet.bytes_mut(), offset, true);
    rest
}

/// Writes where an IPv4 packet stands in a larger one, with its length and checksum.
fn set_position(bytes: &mut [u8], offset: u16, more: bool) {
    let flag = if more { MORE_FRAGMENTS } else { 0 };
    let len = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&len.to_be_bytes());
    let position = (offset / 8) | flag;
    bytes[POSITION_AT..POSITION_AT + 2].copy_from_slice(&position.to_be_bytes());
    bytes[CHECKSUM_AT..CHECKSUM_AT + 2].fill(0);
    let check = checksum::internet(&bytes[..ipv4::HEADER_LEN]);
    bytes[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&check.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::{Meta, Pool};
    use crate::port::PortId;
    use crate::wire::{sample, udp};

    /// A UDP packet that may be cut.
    fn packet(payload: &[u8]) -> Vec<u8> {
        let flow = sample::flow(Family::V4, udp::PROTOCOL);
        let mut l4 = vec![0; udp::HEADER_LEN];
        udp::write_header(&mut l4, &flow, payload.len());
        l4.extend_from_slice(payload);
        let header = Header {
            src: flow.src,
            dst: flow.dst,
            protocol: flow.protocol,
            ttl: 64,
            tos: 0,
            payload_len: l4.len(),
        };
        let mut bytes = vec![0; ipv4::HEADER_LEN];
        ipv4::write_header(&mut bytes, &header, 4_711, false);
        bytes.extend(l4);
        bytes
    }

    fn cut_by_routers(bytes: &[u8], mtus: &[u16]) -> Vec<Vec<u8>> {
        let mut out = Outbox::new(Pool::new(1_024));
        let mut all = vec![bytes.to_vec()];
        for mtu in mtus {
            let before = core::mem::take(&mut all);
            for bytes in before {
                let meta = Meta::plain(PortId::PUBLIC);
                let packet = out
                    .pool_mut()
                    .lend_copy(&bytes, meta)
                    .expect("a slot is free");
                split(packet, *mtu, &mut out, |packet, out| {
                    all.push(packet.bytes().to_vec());
                    out.pool_mut().take_back(packet);
                });
            }
        }
        assert_eq!(out.pool().loaned(), 0);
        all
    }

    proptest! {
        #[test]
        fn pieces_of_pieces_add_up_to_the_packet(len in 0_usize..9_000, first in 28_u16..1_600, second in 28_u16..1_600) {
            let payload: Vec<u8> = (0..len).map(|at| (at * 7) as u8).collect();
            let whole = packet(&payload);
            let mut l4 = Vec::new();
            let all = cut_by_routers(&whole, &[first, second]);
            for (index, piece) in all.iter().enumerate() {
                prop_assert!(piece.len() <= usize::from(first.min(second)) || all.len() == 1);
                let parsed = parse(piece).expect("a sound piece");
                if let Some(fragment) = parsed.fragment {
                    prop_assert_eq!(usize::from(fragment.offset), l4.len());
                    prop_assert_eq!(fragment.more, index + 1 < all.len());
                    prop_assert_eq!(fragment.id, 4_711);
                }
                l4.extend_from_slice(parsed.l4(piece));
            }
            prop_assert_eq!(&l4[..], &whole[ipv4::HEADER_LEN..]);
        }

        #[test]
        fn pieces_of_a_sender_add_up_to_the_payload(v6: bool, len in 9_usize..9_000, mtu in 68_usize..1_600, id: u32) {
            let family = if v6 { Family::V6 } else { Family::V4 };
            let flow = sample::flow(family, udp::PROTOCOL);
            let mut payload = vec![0; udp::HEADER_LEN];
            udp::write_header(&mut payload, &flow, len);
            payload.extend((0..len).map(|at| (at * 7) as u8));
            let id = if v6 { id } else { id & 0xffff };
            let mut seen = ranges::Ranges::default();
            let mut came = Vec::new();
            for (part, more) in pieces(family, payload.len(), mtu) {
                let header = Header { src: flow.src, dst: flow.dst, protocol: 0, ttl: 64, tos: 8, payload_len: part.len() };
                let fragment = Fragment { id, offset: part.start as u16, more, protocol: flow.protocol };
                let at = header_len(family);
                let mut bytes = vec![0; at + part.len()];
                bytes[at..].copy_from_slice(&payload[part.clone()]);
                prop_assert_eq!(write_header(&mut bytes, &header, &fragment), at);
                prop_assert!(bytes.len() <= mtu);
                let parsed = parse(&bytes).expect("a sound piece");
                let whole = part.len() == payload.len();
                prop_assert_eq!(parsed.fragment, (!whole).then_some(fragment));
                prop_assert_eq!(parsed.dont_fragment, v6);
                prop_assert_eq!(parsed.tos, 8);
                let added = seen.add(part.start as u16, parsed.l4_len, more);
                prop_assert!(added == ranges::Added::Fresh);
                came.extend_from_slice(parsed.l4(&bytes));
            }
            prop_assert!(seen.is_whole());
            prop_assert_eq!(came, payload);
        }
    }

    #[test]
    fn what_may_not_be_cut_stays_whole() {
        let flow = sample::flow(Family::V4, udp::PROTOCOL);
        let mut l4 = vec![0; 1_408];
        udp::write_header(&mut l4, &flow, 1_400);
        let with_df = sample::ip_packet(&flow, 0, 64, &l4);
        assert_eq!(cut_by_routers(&with_df, &[600]), [with_df]);
    }

    #[test]
    fn fragments_are_of_one_packet_when_their_identification_is_one() {
        let all = cut_by_routers(&packet(&[5; 3_000]), &[1_500]);
        let keys: Vec<_> = all
            .iter()
            .map(|piece| packet_key(&parse(piece).expect("sound")))
            .collect();
        assert!(keys[0].is_some_and(|key| key.dst_port == 4_711));
        assert!(keys.iter().all(|key| *key == keys[0]));
    }
}
