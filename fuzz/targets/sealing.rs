//! Packets made right where chance never makes them so: lengths and checksums.
//!
//! A fuzzer finds no checksum by trying. Choices in the input say which of them are made, so that packets get past
//! the reader, and others still show that it refuses them.

use anyedge_net::checksum;
use anyedge_net::flow::{Address, Family};
use anyedge_net::wire::{self, Parsed, icmp, ip, ipv4, ipv6, tcp, udp};

const LENGTHS: u8 = 1;
const HEADER: u8 = 2;
const TRANSPORT: u8 = 4;

/// Makes right what the bits of `choice` say: 1 the packet's length, 2 its IPv4 header's checksum, 4 what is behind it.
pub(crate) fn seal(packet: &mut [u8], choice: u8) {
    let len = packet.len();
    match packet.first().map(|first| first >> 4) {
        Some(4) if len >= ipv4::HEADER_LEN => {
            if choice & LENGTHS != 0 {
                packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            }
            if choice & HEADER != 0 {
                seal_header(packet);
            }
        }
        Some(6) if len >= ipv6::HEADER_LEN && choice & LENGTHS != 0 => {
            let payload = (len - ipv6::HEADER_LEN) as u16;
            packet[4..6].copy_from_slice(&payload.to_be_bytes());
        }
        _ => {}
    }
    if choice & TRANSPORT != 0 {
        seal_transport(packet, choice & LENGTHS != 0);
    }
}

fn seal_header(packet: &mut [u8]) {
    let header_len = usize::from(packet[0] & 0x0f) * 4;
    packet[10..12].fill(0);
    if let Some(header) = packet.get(..header_len) {
        let check = checksum::internet(header);
        packet[10..12].copy_from_slice(&check.to_be_bytes());
    }
}

fn seal_transport(packet: &mut [u8], lengths: bool) {
    let Some((src, dst)) = ip::source(packet).zip(ip::destination(packet)) else {
        return;
    };
    let Some((protocol, at)) = transport_at(packet) else {
        return;
    };
    let l4 = &mut packet[at..];
    match protocol {
        udp::PROTOCOL if l4.len() >= udp::HEADER_LEN => {
            if lengths {
                let len = l4.len() as u16;
                l4[4..6].copy_from_slice(&len.to_be_bytes());
            }
            udp::fill_checksum(l4, src, dst);
        }
        tcp::PROTOCOL if l4.len() >= tcp::HEADER_LEN => tcp::fill_checksum(l4, src, dst),
        icmp::PROTOCOL_V4 if src.family() == Family::V4 && l4.len() >= icmp::HEADER_LEN => {
            icmp::fill_checksum(l4, src, dst);
        }
        icmp::PROTOCOL_V6 if src.family() == Family::V6 && l4.len() >= icmp::HEADER_LEN => {
            icmp::fill_checksum(l4, src, dst);
        }
        _ => {}
    }
}

/// Protocol and place of the transport header, of packets without extension headers.
fn transport_at(packet: &[u8]) -> Option<(u8, usize)> {
    match packet.first()? >> 4 {
        4 => {
            let at = usize::from(packet[0] & 0x0f) * 4;
            (at >= ipv4::HEADER_LEN && at <= packet.len()).then(|| (packet[9], at))
        }
        _ => Some((packet[6], ipv6::HEADER_LEN)),
    }
}

/// Whether the checksum of a packet's transport header is right; `None` where it has none, or not all of what it covers.
pub(crate) fn is_sound(bytes: &[u8], parsed: &Parsed) -> Option<bool> {
    let flow = parsed.flow;
    let is_summed = match (flow.protocol, parsed.family) {
        (tcp::PROTOCOL, _) => true,
        (udp::PROTOCOL, _) => parsed.l4(bytes).get(6..8) != Some(&[0, 0]),
        (icmp::PROTOCOL_V4, Family::V4) | (icmp::PROTOCOL_V6, Family::V6) => true,
        _ => false,
    };
    if !is_summed || parsed.fragment.is_some() {
        return None;
    }
    let check = checksum::transport(flow.src, flow.dst, flow.protocol, parsed.l4(bytes));
    Some(check == 0)
}

/// What was made of a packet reads as a packet; if `was_sound`, its checksum is right still.
pub(crate) fn must_read(bytes: &[u8], was_sound: Option<bool>) -> Parsed {
    let parsed = wire::parse(bytes).expect("a packet made of a packet reads as one");
    if was_sound == Some(true) {
        assert_eq!(is_sound(bytes, &parsed), Some(true), "{parsed:?}");
    }
    parsed
}

/// An address of that family.
pub(crate) fn address(family: Family, octets: [u8; 16]) -> Address {
    match family {
        Family::V4 => {
            let [a, b, c, d, ..] = octets;
            Address::v4([a, b, c, d])
        }
        Family::V6 => Address::v6(octets),
    }
}
