//! Probe: the segments of a health check, which are a SYN and the RST that ends what it began; and the RST that
//! cuts a flow.
//!
//! No options, no data: the answer to the SYN is all that is wanted.

use anyedge_net::flow::FlowKey;
use anyedge_net::wire::ip::{self, Header};
use anyedge_net::wire::tcp;

/// Bytes of a probe's largest packet.
const LEN_MAX: usize = 60;

/// A segment without data, as a packet.
pub(crate) struct Probe {
    bytes: [u8; LEN_MAX],
    len: usize,
}

impl Probe {
    /// A segment of `flow` with these flags, none of which is ACK.
    pub(crate) fn segment(flow: &FlowKey, flags: u8, sequence: u32) -> Probe {
        Probe::with_numbers(flow, flags, (sequence, 0))
    }

    /// A RST of `flow` that both a connection (by its sequence number) and a SYN (by the number acknowledged) ends
    /// by (RFC 9293 §3.10.7.3 and §3.10.7.4).
    pub(crate) fn reset(flow: &FlowKey, numbers: (u32, u32)) -> Probe {
        Probe::with_numbers(flow, tcp::RST | tcp::ACK, numbers)
    }

    fn with_numbers(flow: &FlowKey, flags: u8, (sequence, acknowledged): (u32, u32)) -> Probe {
        let mut bytes = [0; LEN_MAX];
        let header = Header {
            src: flow.src,
            dst: flow.dst,
            protocol: tcp::PROTOCOL,
            ttl: ip::DEFAULT_TTL,
            tos: 0,
            payload_len: tcp::HEADER_LEN,
        };
        let at = header.write(&mut bytes);
        let len = at + tcp::HEADER_LEN;
        let segment = &mut bytes[at..len];
        segment[..2].copy_from_slice(&flow.src_port.to_be_bytes());
        segment[2..4].copy_from_slice(&flow.dst_port.to_be_bytes());
        segment[4..8].copy_from_slice(&sequence.to_be_bytes());
        segment[8..12].copy_from_slice(&acknowledged.to_be_bytes());
        segment[12] = ((tcp::HEADER_LEN / 4) << 4) as u8;
        segment[13] = flags;
        if flags & tcp::SYN != 0 {
            segment[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
        }
        tcp::fill_checksum(segment, flow.src, flow.dst);
        Probe { bytes, len }
    }

    /// The packet.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
