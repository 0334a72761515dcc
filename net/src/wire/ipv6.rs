//! IPv6: the strict reader behind `wire::parse`, with a bounded walk over extension headers, and the writer.
//!
//! Extension headers are where parsers fail: each one is checked against the packet before it is read, their
//! number and that of their options is bounded, hop-by-hop stands first or nowhere, jumbograms (RFC 2675) are
//! refused, and so is a routing header with segments left, since its checksums cover another destination.
//! Reference: RFC 8200 §3, §4; RFC 6946 (an atomic fragment is a whole packet); RFC 8504 §5.3 (bounds).

use super::ip::Header;
use super::{Fragment, ParseError, Parsed, Transport, check_fragment};
use crate::flow::{Address, Family};

/// The fixed header, in bytes.
pub const HEADER_LEN: usize = 40;

/// The least that every way carries, in bytes (RFC 8200 §5).
pub const MTU_MIN: u16 = 1_280;

/// Extension headers that a packet may have.
pub const EXTENSIONS_MAX: usize = 8;

/// Options, padding included, that one hop-by-hop or destination header may have.
pub const OPTIONS_MAX: usize = 16;

/// The header of a fragment behind the fixed one, in bytes.
pub const FRAGMENT_HEADER_LEN: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

const OPTION_PAD1: u8 = 0;
const OPTION_JUMBO: u8 = 0xc2;

/// Where the extension headers end.
struct Chain {
    protocol: u8,
    l4_offset: usize,
    fragment: Option<Fragment>,
}

#[inline]
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, ParseError> {
    let Some(head) = bytes.first_chunk::<HEADER_LEN>() else {
        return Err(ParseError::Truncated);
    };
    let total_len = HEADER_LEN + usize::from(u16::from_be_bytes([head[4], head[5]]));
    if total_len > bytes.len() {
        return Err(ParseError::BadTotalLength);
    }
    let packet = &bytes[..total_len];
    let next = head[6];
    let chain = if is_extension(next) {
        walk(packet, next)?
    } else {
        Chain {
            protocol: next,
            l4_offset: HEADER_LEN,
            fragment: None,
        }
    };

    let l4 = &packet[chain.l4_offset..];
    let transport = match chain.fragment {
        Some(Fragment { offset: 1.., .. }) => Transport::NONE,
        first => Transport::parse(chain.protocol, Family::V6, l4, first.is_none())?,
    };
    let (mut src, mut dst) = ([0; 16], [0; 16]);
    src.copy_from_slice(&head[8..24]);
    dst.copy_from_slice(&head[24..40]);
    Ok(Parsed {
        flow: transport.flow(Address::v6(src), Address::v6(dst), chain.protocol),
        family: Family::V6,
        l4_offset: chain.l4_offset as u16,
        l4_len: l4.len() as u16,
        total_len,
        ttl: head[7],
        tos: (head[0] << 4) | (head[1] >> 4),
        fragment: chain.fragment,
        dont_fragment: true,
        tcp_flags: transport.tcp_flags,
    })
}

pub(super) const fn is_extension(next: u8) -> bool {
    matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION)
}

/// Follows the extension headers of `packet` (exactly one IPv6 packet), the first of which is `next`.
#[cold]
fn walk(packet: &[u8], next: u8) -> Result<Chain, ParseError> {
    if next == HOP_BY_HOP && packet.len() == HEADER_LEN {
        return Err(ParseError::BadTotalLength); // payload length 0: a jumbogram, RFC 2675 §3
    }
    let mut chain = Chain {
        protocol: next,
        l4_offset: HEADER_LEN,
        fragment: None,
    };
    let mut fragment_seen = false;
    for count in 0..EXTENSIONS_MAX {
        let kind = chain.protocol;
        let rest = &packet[chain.l4_offset..];
        match kind {
            HOP_BY_HOP if count > 0 => return Err(ParseError::BadExtensionHeader),
            FRAGMENT if fragment_seen => return Err(ParseError::BadExtensionHeader),
            FRAGMENT => {
                fragment_seen = true;
                let fragment = fragment_header(rest)?;
                chain.l4_offset += 8;
                chain.protocol = fragment.protocol;
                // Offset 0 and no more to come: an atomic fragment, a whole packet (RFC 6946 §4).
                if fragment.offset > 0 || fragment.more {
                    chain.fragment = Some(fragment);
                }
                if fragment.offset > 0 {
                    return Ok(chain);
                }
            }
            HOP_BY_HOP | ROUTING | DESTINATION => {
                let (length, next) = extension_header(kind, rest)?;
                chain.l4_offset += length;
                chain.protocol = next;
            }
            _ => return Ok(chain),
        }
    }
    if is_extension(chain.protocol) {
        return Err(ParseError::BadExtensionHeader);
    }
    Ok(chain)
}

fn fragment_header(rest: &[u8]) -> Result<Fragment, ParseError> {
    let Some((head, payload)) = rest.split_first_chunk::<8>() else {
        return Err(ParseError::Truncated);
    };
    let position = u16::from_be_bytes([head[2], head[3]]);
    let fragment = Fragment {
        id: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
        offset: position & 0xfff8,
        more: position & 1 != 0,
        protocol: head[0],
    };
    check_fragment(fragment, payload.len())?;
    Ok(fragment)
}

/// What follows an extension header and how long it is, read leniently for packets cut short and for digests;
/// `None` beyond the bytes.
pub(super) fn skip_extension(kind: u8, rest: &[u8]) -> Option<(u8, usize)> {
    let head = rest.first_chunk::<8>()?;
    let length = match kind {
        FRAGMENT => 8,
        _ => (usize::from(head[1]) + 1) * 8,
    };
    Some((head[0], length))
}

/// Whether `rest` starts with the fragment header of a later fragment; `None` beyond the bytes.
pub(super) fn is_later_fragment(kind: u8, rest: &[u8]) -> Option<bool> {
    let head = rest.first_chunk::<8>()?;
    let offset = u16::from_be_bytes([head[2], head[3]]) & 0xfff8;
    Some(kind == FRAGMENT && offset != 0)
}

/// The length of the header at the start of `rest`, and the protocol that follows it.
fn extension_header(kind: u8, rest: &[u8]) -> Result<(usize, u8), ParseError> {
    let [next, units, ..] = *rest else {
        return Err(ParseError::Truncated);
    };
    let length = (usize::from(units) + 1) * 8;
    let Some(header) = rest.get(..length) else {
        return Err(ParseError::Truncated);
    };
    if kind == ROUTING {
        let segments_left = header[3];
        if segments_left != 0 {
            return Err(ParseError::BadExtensionHeader);
        }
    } else {
        check_options(&header[2..])?;
    }
    Ok((length, next))
}

fn check_options(mut options: &[u8]) -> Result<(), ParseError> {
    for _ in 0..OPTIONS_MAX {
        match *options {
            [] => return Ok(()),
            [OPTION_PAD1, ..] => options = &options[1..],
            [OPTION_JUMBO, ..] => return Err(ParseError::BadTotalLength),
            [_, length, ..] => {
                let Some(rest) = options.get(2 + usize::from(length)..) else {
                    return Err(ParseError::BadExtensionHeader);
                };
                options = rest;
            }
            [_] => return Err(ParseError::BadExtensionHeader),
        }
    }
    if options.is_empty() {
        return Ok(());
    }
    Err(ParseError::BadExtensionHeader)
}

/// Writes the 40-byte header to the start of `out`; returns 40.
///
/// `flow_label` has 20 bits; higher ones are ignored.
///
/// # Panics
/// If `out` is too short, an address is not IPv6, or the payload exceeds 65,535 bytes.
#[inline]
pub fn write_header(out: &mut [u8], header: &Header, flow_label: u32) -> usize {
    let (Some(src), Some(dst)) = (header.src.v6_octets(), header.dst.v6_octets()) else {
        panic!("an IPv6 header between IPv4 addresses");
    };
    let payload_len = header.payload_len;
    assert!(
        payload_len <= usize::from(u16::MAX),
        "an IPv6 payload of {payload_len} bytes"
    );
    let out = out
        .first_chunk_mut::<HEADER_LEN>()
        .expect("room for an IPv6 header");
    let first = 6 << 28 | u32::from(header.tos) << 20 | flow_label & 0x000f_ffff;
    out[..4].copy_from_slice(&first.to_be_bytes());
    out[4..6].copy_from_slice(&(payload_len as u16).to_be_bytes());
    out[6] = header.protocol;
    out[7] = header.ttl;
    out[8..24].copy_from_slice(&src);
    out[24..40].copy_from_slice(&dst);
    HEADER_LEN
}

/// Writes the fixed header and the fragment header of a fragment that carries `header.payload_len` bytes (RFC 8200
/// §4.5); returns 48.
///
/// # Panics
/// As [`write_header`], the fragment header counted in.
pub(super) fn write_fragment_header(out: &mut [u8], header: &Header, fragment: &Fragment) -> usize {
    let outer = Header {
        protocol: FRAGMENT,
        payload_len: FRAGMENT_HEADER_LEN + header.payload_len,
        ..*header
    };
    let at = write_header(out, &outer, 0);
    let position = fragment.offset | u16::from(fragment.more);
    let own = &mut out[at..at + FRAGMENT_HEADER_LEN];
    own[..2].copy_from_slice(&[fragment.protocol, 0]);
    own[2..4].copy_from_slice(&position.to_be_bytes());
    own[4..].copy_from_slice(&fragment.id.to_be_bytes());
    at + FRAGMENT_HEADER_LEN
}
