//! ICMP as a host speaks it: "port unreachable", written and understood, and "too big", understood.
//!
//! Reference: RFC 1122 §3.2.2.1 and §4.1.3.1, RFC 4443 §3.1. Not sent about what is no single host's.

use anyedge_net::flow::{Address, Family, FlowKey};
use anyedge_net::packet::{Meta, Packet, Pool};
use anyedge_net::port::PortId;
use anyedge_net::wire::ip::{DEFAULT_TTL, Header, header_len};
use anyedge_net::wire::{Parsed, icmp, udp};

/// Errors that a host sends in a second, in the long run: as Linux has it (`icmp_msgs_per_sec`).
pub(super) const ERRORS_PER_SECOND: u32 = 1_000;
/// Errors that it sends at once (`icmp_msgs_burst`). Above it nobody hears that a port is closed (RFC 1812 §4.3.2.8).
pub(super) const ERRORS_BURST: u32 = 50;

const LEN_MAX_V4: usize = 576;
const LEN_MAX_V6: usize = 1_280;

/// The error that tells the sender of a datagram that nobody listens; `None` if none may be sent or the pool
/// is empty.
pub(super) fn port_unreachable(bytes: &[u8], parsed: &Parsed, pool: &mut Pool) -> Option<Packet> {
    let no_host = |address: Address| address.is_multicast() || address.is_unspecified();
    let (from, to) = (parsed.flow.dst, parsed.flow.src);
    if no_host(from) || no_host(to) {
        return None;
    }
    let (protocol, head, len_max) = match parsed.family {
        Family::V4 => (
            icmp::PROTOCOL_V4,
            [icmp::V4_UNREACHABLE, icmp::V4_CODE_PORT],
            LEN_MAX_V4,
        ),
        Family::V6 => (
            icmp::PROTOCOL_V6,
            [icmp::V6_UNREACHABLE, icmp::V6_CODE_PORT],
            LEN_MAX_V6,
        ),
    };
    let at = header_len(parsed.family);
    let quote = &bytes[..parsed.total_len.min(len_max - at - icmp::HEADER_LEN)];
    let payload_len = icmp::HEADER_LEN + quote.len();
    let mut packet = pool.lend(at + payload_len, Meta::plain(PortId::LOCAL))?;
    let out = packet.bytes_mut();
    Header {
        src: from,
        dst: to,
        protocol,
        ttl: DEFAULT_TTL,
        tos: 0,
        payload_len,
    }
    .write(out);
    let message = &mut out[at..];
    message[..icmp::HEADER_LEN].fill(0);
    message[..2].copy_from_slice(&head);
    message[icmp::HEADER_LEN..].copy_from_slice(quote);
    icmp::fill_checksum(message, from, to);
    Some(packet)
}

/// The datagram, as we sent it, that a "port unreachable" is about.
pub(super) fn refused_datagram(bytes: &[u8], parsed: &Parsed) -> Option<FlowKey> {
    let is_refusal = matches!(
        (parsed.family, icmp::kind(bytes, parsed)?),
        (Family::V4, (icmp::V4_UNREACHABLE, icmp::V4_CODE_PORT))
            | (Family::V6, (icmp::V6_UNREACHABLE, icmp::V6_CODE_PORT))
    );
    let flow = icmp::quoted_flow(icmp::quoted(bytes, parsed)?)?;
    (is_refusal && flow.protocol == udp::PROTOCOL).then_some(flow)
}

/// The flow, as we sent it, of the packet that a "too big" is about, and the MTU that it tells.
pub(super) fn too_big(bytes: &[u8], parsed: &Parsed) -> Option<(FlowKey, u32)> {
    let mtu = icmp::too_big_mtu(bytes, parsed)?;
    let flow = icmp::quoted_flow(icmp::quoted(bytes, parsed)?)?;
    Some((flow, mtu))
}
