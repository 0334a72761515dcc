//! The outside of a tunnelled packet: what encapsulation costs, and where headers end.
//!
//! [`header_bytes`] feeds the trace digest: it must give a prefix for any bytes at all, so it follows headers
//! leniently and gives up on the first thing that it does not understand. It reads at most two IP headers,
//! the outer one and the one that GRE carries. References: RFC 2784, RFC 2890, RFC 8086.

use super::{gre, ip, ipv4, ipv6, tcp, udp};
use crate::flow::Family;

/// The prefix of something that is no packet, in bytes.
pub const GARBAGE_LEN: usize = 64;

const LEVELS_MAX: usize = 2;

/// The inner MTU of a stream, which has no packets of its own and so no limit.
pub const STREAM_INNER_MTU: u16 = 1_500;

/// Frame, gRPC message, HTTP/2 data frame, TLS 1.3 record and TCP header around a packet that goes alone.
const STREAM_LEN: usize = 6 + 5 + 9 + 22 + tcp::HEADER_LEN;

/// Of a connection id in QUIC packets, in bytes.
pub const QUIC_ID_LEN: usize = 8;

/// What is kept free around a datagram in a QUIC packet: flags, connection id, the longest packet number, the seal of
/// AES-GCM, and type and the longest length of the DATAGRAM frame (RFC 9000 §17.3, RFC 9221 §4).
const QUIC_LEN: usize = 1 + QUIC_ID_LEN + 4 + 16 + 1 + 8;

/// How a packet travels through a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Encap {
    /// GRE with key, IP protocol 47.
    Gre,
    /// GRE with key in UDP, port 4754.
    GreUdp,
    /// GRE with key in the messages of a gRPC stream.
    Grpc,
    /// No tunnel: bare IP on a region's own network, to hosts without a vSwitch.
    Plain,
    /// GRE with key in the datagrams of a QUIC connection.
    Quic,
}

impl Encap {
    /// Whether packets go in a connection that both ends hold, with certificates, and not each by itself.
    #[inline]
    pub const fn is_connection(self) -> bool {
        match self {
            Encap::Gre | Encap::GreUdp | Encap::Plain => false,
            Encap::Grpc | Encap::Quic => true,
        }
    }
}

/// Largest inner packet in a tunnel over a link that takes packets of `mtu` bytes.
pub const fn inner_mtu(encap: Encap, underlay: Family, mtu: u16) -> u16 {
    match encap {
        Encap::Gre | Encap::GreUdp | Encap::Quic => {
            mtu.saturating_sub(overhead(encap, underlay) as u16)
        }
        Encap::Grpc => STREAM_INNER_MTU,
        Encap::Plain => mtu,
    }
}

/// The bytes that an encapsulation adds to a packet, over an underlay of this family; to one that shares no message
/// with others, where it goes in a stream. In a QUIC packet a few bytes of these stay free, whose lengths vary.
#[inline]
pub const fn overhead(encap: Encap, underlay: Family) -> usize {
    let between = match encap {
        Encap::Gre => 0,
        Encap::GreUdp => udp::HEADER_LEN,
        Encap::Grpc => STREAM_LEN,
        Encap::Plain => return 0,
        Encap::Quic => udp::HEADER_LEN + QUIC_LEN,
    };
    ip::header_len(underlay) + between + gre::HEADER_LEN
}

/// How many leading bytes of a packet are headers: outer IP, UDP and GRE, inner IP, transport with options.
///
/// Never more than `bytes.len()`. Anything malformed, wherever it is, makes it the first 64 bytes, or all.
#[inline]
pub fn header_bytes(bytes: &[u8]) -> usize {
    walk(bytes).unwrap_or_else(|| bytes.len().min(GARBAGE_LEN))
}

/// What stands behind an IP header and its extensions.
struct Payload {
    at: usize,
    /// `None` for a later fragment: no header follows.
    protocol: Option<u8>,
}

#[inline(always)]
fn walk(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for level in 1..=LEVELS_MAX {
        let payload = ip_payload(&bytes[at..])?;
        at += payload.at;
        let rest = bytes.get(at..)?;
        let may_nest = level < LEVELS_MAX;
        let gre_at = match payload.protocol {
            Some(tcp::PROTOCOL) => return Some(at + tcp_header_len(rest)?),
            Some(udp::PROTOCOL) => {
                let header = rest.first_chunk::<{ udp::HEADER_LEN }>()?;
                at += udp::HEADER_LEN;
                let port = u16::from_be_bytes([header[2], header[3]]);
                if !may_nest || port != udp::PORT_GRE {
                    return Some(at);
                }
                at
            }
            Some(super::icmp::PROTOCOL_V4 | super::icmp::PROTOCOL_V6) => {
                rest.first_chunk::<{ super::icmp::HEADER_LEN }>()?;
                return Some(at + super::icmp::HEADER_LEN);
            }
            Some(gre::PROTOCOL) if may_nest => at,
            _ => return Some(at),
        };
        let rest = &bytes[gre_at..];
        let head = rest.first_chunk::<4>()?;
        at = gre_at + gre::header_len(u16::from_be_bytes([head[0], head[1]]));
        let carried = u16::from_be_bytes([head[2], head[3]]);
        bytes.get(at..)?;
        if !matches!(carried, gre::PROTOCOL_IPV4 | gre::PROTOCOL_IPV6) {
            return Some(at);
        }
    }
    Some(at)
}

#[inline]
fn ip_payload(bytes: &[u8]) -> Option<Payload> {
    match bytes.first()? >> 4 {
        4 => {
            let head = bytes.first_chunk::<{ ipv4::HEADER_LEN }>()?;
            let at = usize::from(head[0] & 0x0f) * 4;
            let later = u16::from_be_bytes([head[6], head[7]]) & 0x1fff != 0;
            let sound = at >= ipv4::HEADER_LEN && at <= bytes.len();
            sound.then_some(Payload {
                at,
                protocol: (!later).then_some(head[9]),
            })
        }
        6 => {
            let head = bytes.first_chunk::<{ ipv6::HEADER_LEN }>()?;
            v6_payload(bytes, head[6])
        }
        _ => None,
    }
}

fn v6_payload(bytes: &[u8], first: u8) -> Option<Payload> {
    let mut at = ipv6::HEADER_LEN;
    let mut protocol = first;
    for _ in 0..ipv6::EXTENSIONS_MAX {
        if !ipv6::is_extension(protocol) {
            break;
        }
        let rest = bytes.get(at..)?;
        if ipv6::is_later_fragment(protocol, rest)? {
            return Some(Payload {
                at: at + 8,
                protocol: None,
            });
        }
        let (next, length) = ipv6::skip_extension(protocol, rest)?;
        at += length;
        protocol = next;
    }
    let sound = !ipv6::is_extension(protocol) && at <= bytes.len();
    sound.then_some(Payload {
        at,
        protocol: Some(protocol),
    })
}

#[inline]
fn tcp_header_len(l4: &[u8]) -> Option<usize> {
    let header = l4.first_chunk::<{ tcp::HEADER_LEN }>()?;
    let length = usize::from(header[12] >> 4) * 4;
    (length >= tcp::HEADER_LEN && length <= l4.len()).then_some(length)
}

#[cfg(test)]
mod tests;
