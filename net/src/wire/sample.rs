//! Packets for the tests of this folder, built whole, and the full check that a packet's checksums are right.

use proptest::prelude::*;

use super::ip::Header;
use super::{Parsed, icmp, parse, tcp, udp};
use crate::checksum;
use crate::flow::{Address, Family, FlowKey};

pub(super) fn address(text: &str) -> Address {
    text.parse().expect("a literal address")
}

/// A flow of `protocol` from a client to a VIP.
pub(super) fn flow(family: Family, protocol: u8) -> FlowKey {
    let (src, dst) = match family {
        Family::V4 => (address("192.0.2.33"), address("203.0.113.7")),
        Family::V6 => (address("2001:db8:1::33"), address("2001:db8:ffff::7")),
    };
    FlowKey {
        src,
        dst,
        src_port: 49_152,
        dst_port: 443,
        protocol,
    }
}

pub(super) fn any_address(family: Family) -> BoxedStrategy<Address> {
    match family {
        Family::V4 => any::<[u8; 4]>().prop_map(Address::v4).boxed(),
        Family::V6 => any::<[u8; 16]>().prop_map(Address::v6).boxed(),
    }
}

pub(super) fn any_family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

/// TCP or UDP between any two addresses of one family.
pub(super) fn any_flow() -> impl Strategy<Value = FlowKey> {
    let ends = any_family().prop_flat_map(|family| (any_address(family), any_address(family)));
    let protocol = prop_oneof![Just(tcp::PROTOCOL), Just(udp::PROTOCOL)];
    let ports = any::<(u16, u16)>();
    (ends, ports, protocol).prop_map(|((src, dst), (src_port, dst_port), protocol)| FlowKey {
        src,
        dst,
        src_port,
        dst_port,
        protocol,
    })
}

/// An IP packet of `flow` around a transport header and payload that are given.
pub(super) fn ip_packet(flow: &FlowKey, tos: u8, ttl: u8, l4: &[u8]) -> Vec<u8> {
    let header = Header {
        src: flow.src,
        dst: flow.dst,
        protocol: flow.protocol,
        ttl,
        tos,
        payload_len: l4.len(),
    };
    let mut packet = vec![0; super::ip::header_len(flow.family())];
    header.write(&mut packet);
    packet.extend_from_slice(l4);
    packet
}

/// A TCP segment; `options` is a multiple of 4 bytes. Sequence number 1,000, acknowledgement 2,000.
pub(super) fn tcp_packet(flow: &FlowKey, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut l4 = vec![0; tcp::HEADER_LEN];
    l4[..2].copy_from_slice(&flow.src_port.to_be_bytes());
    l4[2..4].copy_from_slice(&flow.dst_port.to_be_bytes());
    l4[4..8].copy_from_slice(&1_000_u32.to_be_bytes());
    l4[8..12].copy_from_slice(&2_000_u32.to_be_bytes());
    l4[12] = (((tcp::HEADER_LEN + options.len()) / 4) << 4) as u8;
    l4[13] = flags;
    l4.extend_from_slice(options);
    l4.extend_from_slice(payload);
    tcp::fill_checksum(&mut l4, flow.src, flow.dst);
    ip_packet(flow, 0, 64, &l4)
}

pub(super) fn udp_packet(flow: &FlowKey, payload: &[u8]) -> Vec<u8> {
    let mut l4 = vec![0; udp::HEADER_LEN];
    udp::write_header(&mut l4, flow, payload.len());
    l4.extend_from_slice(payload);
    udp::fill_checksum(&mut l4, flow.src, flow.dst);
    ip_packet(flow, 0, 64, &l4)
}

/// TCP or UDP, as the flow says.
pub(super) fn packet(flow: &FlowKey, payload: &[u8]) -> Vec<u8> {
    match flow.protocol {
        tcp::PROTOCOL => tcp_packet(flow, tcp::ACK, &[], payload),
        _ => udp_packet(flow, payload),
    }
}

/// An ICMP or ICMPv6 message of 8 header bytes (the checksum is filled in) and a body.
pub(super) fn icmp_packet(family: Family, header: [u8; 8], body: &[u8]) -> Vec<u8> {
    let protocol = match family {
        Family::V4 => icmp::PROTOCOL_V4,
        Family::V6 => icmp::PROTOCOL_V6,
    };
    let flow = flow(family, protocol);
    let mut l4 = header.to_vec();
    l4.extend_from_slice(body);
    icmp::fill_checksum(&mut l4, flow.src, flow.dst);
    ip_packet(&flow, 0, 64, &l4)
}

/// Puts IPv6 extension headers, given as bytes, between the fixed header and the rest.
pub(super) fn with_extensions(packet: &[u8], first: u8, extensions: &[u8]) -> Vec<u8> {
    let mut out = packet[..40].to_vec();
    out[6] = first;
    out.extend_from_slice(extensions);
    out.extend_from_slice(&packet[40..]);
    let payload_len = (out.len() - 40) as u16;
    out[4..6].copy_from_slice(&payload_len.to_be_bytes());
    out
}

/// Recomputes the IPv4 header checksum after a test changed the header.
pub(super) fn seal_v4(packet: &mut [u8]) {
    let header_len = usize::from(packet[0] & 0x0f) * 4;
    packet[10..12].fill(0);
    let check = checksum::internet(&packet[..header_len]);
    packet[10..12].copy_from_slice(&check.to_be_bytes());
}

/// Parses a packet that must be valid, its transport checksum included.
pub(super) fn sound(bytes: &[u8]) -> Parsed {
    let parsed = parse(bytes).expect("a packet that parses");
    let flow = parsed.flow;
    assert_eq!(
        checksum::transport(flow.src, flow.dst, flow.protocol, parsed.l4(bytes)),
        0,
        "transport checksum of {flow}"
    );
    parsed
}
