//! UDP: the header's layout, its payload, and the writer.
//!
//! Reference: RFC 768, RFC 8200 §8.1 (a checksum of 0 means "none" and is not allowed in IPv6, except for
//! tunnels, RFC 6935), RFC 8086 (GRE-in-UDP).

use super::Parsed;
use crate::checksum;
use crate::flow::{Address, FlowKey};

/// IP protocol number.
pub const PROTOCOL: u8 = 17;

/// The header, in bytes.
pub const HEADER_LEN: usize = 8;

/// The destination port of GRE-in-UDP (RFC 8086 §9).
pub const PORT_GRE: u16 = 4754;

pub(super) const CHECKSUM_AT: usize = 6;

/// The payload of a UDP packet; `None` for other protocols and for later fragments.
#[inline]
pub fn payload<'a>(bytes: &'a [u8], parsed: &Parsed) -> Option<&'a [u8]> {
    if parsed.flow.protocol != PROTOCOL || parsed.is_later_fragment() {
        return None;
    }
    parsed.l4(bytes).get(HEADER_LEN..)
}

/// Writes a header with the ports of `flow` and checksum 0 (none) to the start of `out`; returns 8.
///
/// # Panics
/// If `out` is too short or the datagram would exceed 65,535 bytes.
#[inline]
pub fn write_header(out: &mut [u8], flow: &FlowKey, payload_len: usize) -> usize {
    let length = HEADER_LEN + payload_len;
    assert!(
        length <= usize::from(u16::MAX),
        "a UDP datagram of {length} bytes"
    );
    let out = out
        .first_chunk_mut::<HEADER_LEN>()
        .expect("room for a UDP header");
    out[..2].copy_from_slice(&flow.src_port.to_be_bytes());
    out[2..4].copy_from_slice(&flow.dst_port.to_be_bytes());
    out[4..6].copy_from_slice(&(length as u16).to_be_bytes());
    out[6..].fill(0);
    HEADER_LEN
}

/// Writes a header with its checksum (RFC 768) for `payload`, which shall come behind it, to the start of `out`; returns 8.
///
/// Nothing is read back of what is written: a load of several small stores has to wait for them.
///
/// # Panics
/// As [`write_header`].
#[inline]
pub fn write_header_over(out: &mut [u8], flow: &FlowKey, payload: &[u8]) -> usize {
    write_header(out, flow, payload.len());
    let length = (HEADER_LEN + payload.len()) as u16;
    let pseudo = checksum::pseudo_header(flow.src, flow.dst, PROTOCOL, length.into());
    let ports = [flow.src_port, flow.dst_port];
    let sum = checksum::combine(&[pseudo, ports[0], ports[1], length, checksum::sum(payload)]);
    // 0 would mean "none".
    let check = if sum == 0xffff { sum } else { !sum };
    out[6..HEADER_LEN].copy_from_slice(&check.to_be_bytes());
    HEADER_LEN
}

/// Computes and stores the checksum of a whole datagram (header and payload) between two addresses.
///
/// # Panics
/// If `datagram` is shorter than a header.
pub fn fill_checksum(datagram: &mut [u8], src: Address, dst: Address) {
    datagram[CHECKSUM_AT..HEADER_LEN].fill(0);
    let check = match checksum::transport(src, dst, PROTOCOL, datagram) {
        0 => 0xffff,
        check => check,
    };
    datagram[CHECKSUM_AT..HEADER_LEN].copy_from_slice(&check.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn flow(src: &str, dst: &str, ports: [u16; 2]) -> FlowKey {
        let [src, dst] = [src, dst].map(|text| text.parse::<IpAddr>().expect("a literal").into());
        FlowKey {
            src,
            dst,
            src_port: ports[0],
            dst_port: ports[1],
            protocol: PROTOCOL,
        }
    }

    proptest! {
        #[test]
        fn a_header_over_a_payload_is_that_of_the_whole_datagram(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            ports in any::<[u16; 2]>(),
        ) {
            for (src, dst) in [("192.0.2.1", "203.0.113.10"), ("2001:db8::1", "2001:db8:113::10")] {
                let flow = flow(src, dst, ports);
                let mut whole = vec![0; HEADER_LEN + payload.len()];
                write_header(&mut whole, &flow, payload.len());
                whole[HEADER_LEN..].copy_from_slice(&payload);
                fill_checksum(&mut whole, flow.src, flow.dst);
                let mut head = [0; HEADER_LEN];
                write_header_over(&mut head, &flow, &payload);
                prop_assert_eq!(&head, &whole[..HEADER_LEN]);
            }
        }
    }

    #[test]
    fn a_sum_that_would_say_none_is_stored_as_its_other_zero() {
        let payload = |word: u16| word.to_be_bytes();
        let zeros = (0..=u16::MAX).filter(|word| {
            let mut head = [0; HEADER_LEN];
            write_header_over(
                &mut head,
                &flow("10.0.0.1", "10.0.0.2", [1, 2]),
                &payload(*word),
            );
            assert_ne!(head[6..], [0, 0]);
            head[6..] == [0xff, 0xff]
        });
        // One word makes the sum all ones; no other stores as that.
        assert_eq!(zeros.count(), 1);
    }
}
