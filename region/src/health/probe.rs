//! Probe: the packets of a health check, and the RST that cuts a flow.
//!
//! Segments without options, with data only where a check says something; datagrams; echoes.

use anyedge_net::flow::{Family, FlowKey};
use anyedge_net::route_table::EXCHANGE_BYTES;
use anyedge_net::wire::icmp::{self, Echo};
use anyedge_net::wire::ip::{self, Header};
use anyedge_net::wire::{ipv6, tcp, udp};

/// Bytes of a probe's largest packet.
const LEN_MAX: usize = ipv6::HEADER_LEN + tcp::HEADER_LEN + *EXCHANGE_BYTES.end();

/// What echoes and datagrams of checks begin with.
const MARK: [u8; 12] = *b"HEALTH CHECK";
/// Bytes of an echo: the mark, then the check and its sequence number.
const ECHO_LEN: usize = MARK.len() + 8;

/// One packet.
pub(crate) struct Probe {
    bytes: [u8; LEN_MAX],
    len: usize,
}

impl Probe {
    /// A segment of `flow` with these flags, none of which is ACK.
    pub(crate) fn segment(flow: &FlowKey, flags: u8, sequence: u32) -> Probe {
        Probe::with_numbers(flow, flags, (sequence, 0), &[])
    }

    /// An ACK with data.
    pub(crate) fn data(flow: &FlowKey, numbers: (u32, u32), data: &[u8]) -> Probe {
        Probe::with_numbers(flow, tcp::ACK | tcp::PSH, numbers, data)
    }

    /// A datagram; without data of its own the mark of a check.
    pub(crate) fn datagram(flow: &FlowKey, data: Option<&[u8]>) -> Probe {
        let data = data.unwrap_or(&MARK);
        let (mut probe, at) = Probe::with_header(flow, udp::PROTOCOL, udp::HEADER_LEN, data);
        let datagram = &mut probe.bytes[at..probe.len];
        udp::write_header(datagram, flow, data.len());
        udp::fill_checksum(datagram, flow.src, flow.dst);
        probe
    }

    /// The echo number `sequence` of a check, of the series that is the port it comes from.
    pub(crate) fn echo(flow: &FlowKey, check: u32, sequence: u32) -> Probe {
        let family = flow.src.family();
        let protocol = match family {
            Family::V4 => icmp::PROTOCOL_V4,
            Family::V6 => icmp::PROTOCOL_V6,
        };
        let mut data = [0; ECHO_LEN];
        data[..MARK.len()].copy_from_slice(&MARK);
        data[MARK.len()..MARK.len() + 4].copy_from_slice(&check.to_be_bytes());
        data[MARK.len() + 4..].copy_from_slice(&sequence.to_be_bytes());
        let (mut probe, at) = Probe::with_header(flow, protocol, icmp::HEADER_LEN, &data);
        let message = &mut probe.bytes[at..probe.len];
        let echo = Echo {
            request: true,
            ident: flow.src_port,
            sequence: sequence as u16,
        };
        message[..icmp::HEADER_LEN].copy_from_slice(&echo.header(family));
        icmp::fill_checksum(message, flow.src, flow.dst);
        probe
    }

    /// The check and the sequence number that an answered echo was of, by the ICMP message.
    pub(crate) fn echo_of(message: &[u8]) -> Option<(u32, u32)> {
        let data = message.get(icmp::HEADER_LEN..)?;
        let numbers = data.strip_prefix(&MARK)?.first_chunk::<8>()?;
        let [a, b, c, d, e, f, g, h] = *numbers;
        let numbers = (
            u32::from_be_bytes([a, b, c, d]),
            u32::from_be_bytes([e, f, g, h]),
        );
        Some(numbers)
    }

    /// A RST of `flow` that both a connection (by its sequence number) and a SYN (by the number acknowledged) ends
    /// by (RFC 9293 §3.10.7.3 and §3.10.7.4).
    pub(crate) fn reset(flow: &FlowKey, numbers: (u32, u32)) -> Probe {
        Probe::with_numbers(flow, tcp::RST | tcp::ACK, numbers, &[])
    }

    /// A packet with `head` bytes to be written where it says, and data, of which what does not fit is cut off.
    fn with_header(flow: &FlowKey, protocol: u8, head: usize, data: &[u8]) -> (Probe, usize) {
        let mut bytes = [0; LEN_MAX];
        let data = &data[..data.len().min(*EXCHANGE_BYTES.end())];
        let header = Header {
            src: flow.src,
            dst: flow.dst,
            protocol,
            ttl: ip::DEFAULT_TTL,
            tos: 0,
            payload_len: head + data.len(),
        };
        let at = header.write(&mut bytes);
        let len = at + header.payload_len;
        bytes[at + head..len].copy_from_slice(data);
        (Probe { bytes, len }, at)
    }

    fn with_numbers(
        flow: &FlowKey,
        flags: u8,
        (sequence, acknowledged): (u32, u32),
        data: &[u8],
    ) -> Probe {
        let (mut probe, at) = Probe::with_header(flow, tcp::PROTOCOL, tcp::HEADER_LEN, data);
        let segment = &mut probe.bytes[at..probe.len];
        segment[..2].copy_from_slice(&flow.src_port.to_be_bytes());
        segment[2..4].copy_from_slice(&flow.dst_port.to_be_bytes());
        segment[4..8].copy_from_slice(&sequence.to_be_bytes());
        segment[8..12].copy_from_slice(&acknowledged.to_be_bytes());
        segment[12] = ((tcp::HEADER_LEN / 4) << 4) as u8;
        segment[13] = flags;
        if flags & tcp::RST == 0 {
            segment[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
        }
        tcp::fill_checksum(segment, flow.src, flow.dst);
        probe
    }

    /// The packet.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
