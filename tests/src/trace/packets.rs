//! Packets to be written into traces, whole and with right checksums.

use anyedge_net::flow::FlowKey;
use anyedge_net::wire::gre::{self, GreKey};
use anyedge_net::wire::ip::{Header, header_len};
use anyedge_net::wire::{tcp, udp};

/// What the headers of a packet say beside its flow.
#[derive(Clone, Copy)]
pub(super) struct Look {
    pub(super) tos: u8,
    pub(super) ttl: u8,
    pub(super) flags: u8,
    pub(super) sequence: u32,
    pub(super) mss: Option<u16>,
    pub(super) payload_len: usize,
}

/// A packet of `flow`, TCP or UDP.
pub(super) fn packet(flow: &FlowKey, look: &Look) -> Vec<u8> {
    if flow.protocol == tcp::PROTOCOL {
        segment(flow, look)
    } else {
        datagram(flow, look)
    }
}

fn segment(flow: &FlowKey, look: &Look) -> Vec<u8> {
    let options_len = if look.mss.is_some() { 4 } else { 0 };
    let mut l4 = vec![0; tcp::HEADER_LEN];
    l4[..2].copy_from_slice(&flow.src_port.to_be_bytes());
    l4[2..4].copy_from_slice(&flow.dst_port.to_be_bytes());
    l4[4..8].copy_from_slice(&look.sequence.to_be_bytes());
    l4[8..12].copy_from_slice(&7_u32.to_be_bytes());
    l4[12] = (((tcp::HEADER_LEN + options_len) / 4) << 4) as u8;
    l4[13] = look.flags;
    if let Some(mss) = look.mss {
        l4.extend_from_slice(&[2, 4]);
        l4.extend_from_slice(&mss.to_be_bytes());
    }
    l4.extend(payload(look));
    tcp::fill_checksum(&mut l4, flow.src, flow.dst);
    ip_packet(flow, look, &l4)
}

fn datagram(flow: &FlowKey, look: &Look) -> Vec<u8> {
    let mut l4 = vec![0; udp::HEADER_LEN];
    udp::write_header(&mut l4, flow, look.payload_len);
    l4.extend(payload(look));
    udp::fill_checksum(&mut l4, flow.src, flow.dst);
    ip_packet(flow, look, &l4)
}

fn payload(look: &Look) -> impl Iterator<Item = u8> {
    let first = look.sequence as u8;
    (0..look.payload_len).map(move |at| first.wrapping_add(at as u8))
}

/// A packet of the flow's protocol, whatever that is, around `l4`.
pub(super) fn ip_packet(flow: &FlowKey, look: &Look, l4: &[u8]) -> Vec<u8> {
    let header = Header {
        src: flow.src,
        dst: flow.dst,
        protocol: flow.protocol,
        ttl: look.ttl,
        tos: look.tos,
        payload_len: l4.len(),
    };
    let mut packet = vec![0; header_len(flow.family())];
    header.write(&mut packet);
    packet.extend_from_slice(l4);
    packet
}

/// The packet behind the GRE header of a load balancer and slot.
pub(super) fn tunnelled(packet: &[u8], key: GreKey) -> Vec<u8> {
    let protocol = if packet.first().is_some_and(|first| first >> 4 == 6) {
        gre::PROTOCOL_IPV6
    } else {
        gre::PROTOCOL_IPV4
    };
    let mut out = vec![0; gre::HEADER_LEN];
    gre::write(&mut out, protocol, key);
    out.extend_from_slice(packet);
    out
}
