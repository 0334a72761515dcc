//! The header in front of each packet of a TUN device with offload: `struct virtio_net_hdr`.
//!
//! It says whether the packet is to be cut into segments, and whether and where a checksum is still to be made. What
//! it says is believed of lengths only as far as the packet's own headers agree; checksums of other protocols than
//! TCP and UDP are made at once. Fields are in the machine's byte order. Reference: virtio 1.2 §5.1.6.

use anyedge_net::checksum;
use anyedge_net::flow::Family;
use anyedge_net::packet::Offload;
use anyedge_net::wire::segments::Segments;

/// Its length in bytes.
pub const HEADER_LEN: usize = 10;
/// Its bytes.
pub type Header = [u8; HEADER_LEN];

const NEEDS_CHECKSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCP_V4: u8 = 1;
const GSO_TCP_V6: u8 = 4;
const GSO_UDP: u8 = 5;
/// Beside the type: the first segment alone has CWR, which is how we cut anyway.
const GSO_ECN: u8 = 0x80;

/// What a packet that came with `header` is; a checksum that is neither TCP's nor UDP's is made. `None` if the header
/// cannot be meant for this packet.
pub fn read(header: Header, packet: &mut [u8]) -> Option<Offload> {
    let [flags, gso_type, ..] = header;
    let gso_type = gso_type & !GSO_ECN;
    if flags & NEEDS_CHECKSUM == 0 {
        return (gso_type == GSO_NONE).then_some(Offload::NONE);
    }
    let start = usize::from(word(&header, 6));
    let offset = usize::from(word(&header, 8));
    let segments = Segments::of(packet, Offload::NONE)
        .filter(|segments| (segments.l4_at(), segments.checksum_at()) == (start, offset));
    let Some(segments) = segments else {
        let plain = gso_type == GSO_NONE && make_checksum(packet, start, offset);
        return plain.then_some(Offload::NONE);
    };
    let fits = match gso_type {
        GSO_NONE => {
            return Some(Offload {
                segment_len: 0,
                partial: true,
            });
        }
        GSO_TCP_V4 | GSO_TCP_V6 => segments.is_tcp(),
        GSO_UDP => !segments.is_tcp(),
        _ => false,
    };
    let size = usize::from(word(&header, 4));
    let segment_len = u16::try_from(segments.header_len() + size).ok()?;
    let is_several = segments.size() > size;
    (fits && size > 0).then_some(Offload {
        segment_len: if is_several { segment_len } else { 0 },
        partial: true,
    })
}

/// The header for a packet that is cut like `segments`, and in its checksum field what the kernel wants there.
pub fn write(segments: &Segments, packet: &mut [u8]) -> Header {
    let mut header = Header::default();
    header[0] = NEEDS_CHECKSUM;
    if segments.count() > 1 {
        header[1] = match (segments.is_tcp(), segments.family()) {
            (true, Family::V4) => GSO_TCP_V4,
            (true, Family::V6) => GSO_TCP_V6,
            (false, _) => GSO_UDP,
        };
        set_word(&mut header, 2, segments.header_len());
        set_word(&mut header, 4, segments.size());
    }
    set_word(&mut header, 6, segments.l4_at());
    set_word(&mut header, 8, segments.checksum_at());
    let at = segments.l4_at() + segments.checksum_at();
    let sum = segments.pseudo_sum(packet);
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    header
}

/// The sum from `start` on, into the place that held a pseudo-header's.
fn make_checksum(packet: &mut [u8], start: usize, offset: usize) -> bool {
    let at = start + offset;
    if at + 2 > packet.len() {
        return false;
    }
    let check = checksum::internet(&packet[start..]);
    packet[at..at + 2].copy_from_slice(&check.to_be_bytes());
    true
}

fn word(header: &Header, at: usize) -> u16 {
    u16::from_ne_bytes([header[at], header[at + 1]])
}

fn set_word(header: &mut Header, at: usize, value: usize) {
    header[at..at + 2].copy_from_slice(&(value as u16).to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv4 TCP packet with this many bytes of payload, checksums left out.
    fn packet(payload_len: usize) -> Vec<u8> {
        let len = 40 + payload_len;
        let mut packet = vec![0; len];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        packet[8..10].copy_from_slice(&[64, 6]);
        packet[12..20].copy_from_slice(&[192, 0, 2, 1, 198, 51, 100, 1]);
        packet[32] = 5 << 4;
        packet[33] = 0x10;
        let check = checksum::internet(&packet[..20]);
        packet[10..12].copy_from_slice(&check.to_be_bytes());
        packet
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (payload_len, segment_len) in [(3_000, 1_040), (100, 0)] {
            let mut bytes = packet(payload_len);
            let offload = Offload {
                segment_len,
                partial: true,
            };
            let segments = Segments::of(&bytes, offload).expect("a TCP packet");
            let header = write(&segments, &mut bytes);
            assert_eq!(read(header, &mut bytes), Some(offload));
        }
    }

    #[test]
    fn a_header_that_does_not_fit_its_packet_is_refused() {
        let mut bytes = packet(3_000);
        let offload = Offload {
            segment_len: 1_040,
            partial: true,
        };
        let segments = Segments::of(&bytes, offload).expect("a TCP packet");
        let sound = write(&segments, &mut bytes);
        let with = |at: usize, value: u8| {
            let mut header = sound;
            header[at] = value;
            header
        };
        let zero_size = {
            let mut header = sound;
            header[4..6].fill(0);
            header
        };
        for header in [
            with(0, 0),            // segments without checksums
            with(1, GSO_UDP),      // TCP cut like UDP
            with(1, 77),           // a type of the future
            with(6, sound[6] ^ 2), // segments with a checksum that is not TCP's
            zero_size,
        ] {
            assert_eq!(read(header, &mut bytes.clone()), None, "{header:?}");
        }
        assert_eq!(read(sound, &mut [0; 7]), None);
    }

    #[test]
    fn a_checksum_of_another_protocol_is_made_at_once() {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 8, 58, 64];
        bytes.resize(48, 1);
        let mut header = Header::default();
        header[0] = NEEDS_CHECKSUM;
        set_word(&mut header, 6, 40);
        set_word(&mut header, 8, 2);
        // The field holds the pseudo-header's sum; with it the whole sums to nothing.
        bytes[42..44].copy_from_slice(&[0x12, 0x34]);
        assert_eq!(read(header, &mut bytes), Some(Offload::NONE));
        let covered = checksum::combine(&[checksum::sum(&bytes[40..]), 0x1234]);
        assert_eq!(covered, 0xffff);
    }
}
