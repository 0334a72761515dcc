//! GRE with a key: the header that all our tunnels carry, and the key that says where a packet belongs.
//!
//! The key names the CLB instance, the slot of the flow and whether the packet has made its one hop between
//! CLB nodes; a vSwitch hands it back with the answer. We always write the 8-byte form; the reader takes what
//! RFC 2784 and RFC 2890 allow and refuses what RFC 2784 §2.3 tells to discard.
//! The caller cuts link padding away first: a checksum covers all of the bytes given.

use crate::checksum;

/// IP protocol number.
pub const PROTOCOL: u8 = 47;

/// The header as we write it, with a key, in bytes.
pub const HEADER_LEN: usize = 8;

/// Protocol type of an IPv4 payload.
pub const PROTOCOL_IPV4: u16 = 0x0800;

/// Protocol type of an IPv6 payload.
pub const PROTOCOL_IPV6: u16 = 0x86dd;

/// Protocol type of a path probe: IEEE 802 Local Experimental EtherType 1. `ccn` has its format.
pub const PROTOCOL_PROBE: u16 = 0x88b5;

/// Protocol type of flow entries between CLB nodes: IEEE 802 Local Experimental EtherType 2. `region` has
/// its format.
pub const PROTOCOL_ENTRIES: u16 = 0x88b6;

const CHECKSUM_PRESENT: u16 = 0x8000;
const ROUTING_PRESENT: u16 = 0x4000;
const KEY_PRESENT: u16 = 0x2000;
const SEQUENCE_PRESENT: u16 = 0x1000;
/// Bits 1, 4 and 5: a receiver discards them (RFC 2784 §2.3; RFC 2890 took bits 2 and 3). Bits 6-12 it ignores.
const RESERVED: u16 = 0x0c00 | ROUTING_PRESENT;
const VERSION: u16 = 0x0007;

/// The key of a tunnelled packet: CLB id (15 bits), hop bit (bit 16), slot (16 bits, low).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct GreKey(pub u32);

impl GreKey {
    /// The greatest CLB id: 15 bits.
    pub const CLB_ID_MAX: u16 = 0x7fff;

    const HOP: u32 = 1 << 16;

    /// A key of its parts.
    ///
    /// # Panics
    /// If `clb_id` has more than 15 bits.
    #[inline]
    pub const fn new(clb_id: u16, hop: bool, slot: u16) -> Self {
        assert!(clb_id <= Self::CLB_ID_MAX, "a CLB id has 15 bits");
        let hop = if hop { Self::HOP } else { 0 };
        Self((clb_id as u32) << 17 | hop | slot as u32)
    }

    /// The CLB instance, 0 to 32,767.
    #[inline]
    pub const fn clb_id(self) -> u16 {
        (self.0 >> 17) as u16
    }

    /// Whether the packet has made its one hop from a slot's primary to its secondary.
    #[inline]
    pub const fn hop(self) -> bool {
        self.0 & Self::HOP != 0
    }

    /// The slot of the flow.
    #[inline]
    pub const fn slot(self) -> u16 {
        self.0 as u16
    }

    /// The same key with the hop bit set or cleared.
    #[inline]
    pub const fn with_hop(self, hop: bool) -> Self {
        Self(if hop {
            self.0 | Self::HOP
        } else {
            self.0 & !Self::HOP
        })
    }
}

/// A GRE header, understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gre {
    /// The EtherType of the payload.
    pub protocol: u16,
    /// The key, if there is one.
    pub key: Option<GreKey>,
    /// Where the payload starts: 4, 8, 12 or 16 bytes.
    pub header_len: usize,
}

/// Why bytes are no GRE packet for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GreError {
    /// The header goes beyond the bytes.
    Truncated,
    /// A version other than 0 (1 is PPTP's).
    BadVersion,
    /// The routing bit or a reserved bit is set.
    ReservedBits,
    /// The checksum is wrong.
    BadChecksum,
}

/// Writes the 8-byte header to the start of `out`; returns 8.
///
/// # Panics
/// If `out` is shorter.
#[inline]
pub fn write(out: &mut [u8], protocol: u16, key: GreKey) -> usize {
    let out = out
        .first_chunk_mut::<HEADER_LEN>()
        .expect("room for a GRE header");
    out[..2].copy_from_slice(&KEY_PRESENT.to_be_bytes());
    out[2..4].copy_from_slice(&protocol.to_be_bytes());
    out[4..].copy_from_slice(&key.0.to_be_bytes());
    HEADER_LEN
}

/// Reads the GRE header at the start of `bytes`, which end where the GRE packet ends.
#[inline]
pub fn parse(bytes: &[u8]) -> Result<Gre, GreError> {
    let Some(head) = bytes.first_chunk::<4>() else {
        return Err(GreError::Truncated);
    };
    let flags = u16::from_be_bytes([head[0], head[1]]);
    let protocol = u16::from_be_bytes([head[2], head[3]]);
    if flags & VERSION != 0 {
        return Err(GreError::BadVersion);
    }
    if flags & RESERVED != 0 {
        return Err(GreError::ReservedBits);
    }
    let header_len = header_len(flags);
    let Some(header) = bytes.get(..header_len) else {
        return Err(GreError::Truncated);
    };
    let mut options = &header[4..];
    if flags & CHECKSUM_PRESENT != 0 {
        if checksum::internet(bytes) != 0 {
            return Err(GreError::BadChecksum);
        }
        options = &options[4..];
    }
    let key = match options.first_chunk::<4>() {
        Some(key) if flags & KEY_PRESENT != 0 => Some(GreKey(u32::from_be_bytes(*key))),
        _ => None,
    };
    Ok(Gre {
        protocol,
        key,
        header_len,
    })
}

/// The length that the flags announce; the routing bit is not followed.
#[inline]
pub(super) const fn header_len(flags: u16) -> usize {
    let optional = flags & (CHECKSUM_PRESENT | KEY_PRESENT | SEQUENCE_PRESENT);
    4 + 4 * optional.count_ones() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_has_15_1_and_16_bits() {
        let key = GreKey::new(0x7fff, false, 0);
        assert_eq!(key.0, 0xfffe_0000);
        assert_eq!(key.with_hop(true).0, 0xffff_0000);
        assert_eq!(GreKey::new(0, true, 0).0, 0x0001_0000);
        assert_eq!(GreKey::new(0, false, 65_520).0, 0x0000_fff0);
    }

    #[test]
    fn the_header_on_the_wire_is_that_of_rfc_2890() {
        let mut out = [0xee; 9];
        write(&mut out, PROTOCOL_IPV6, GreKey(0x0102_0304));
        assert_eq!(out, [0x20, 0, 0x86, 0xdd, 1, 2, 3, 4, 0xee]);
    }

    #[test]
    fn checksum_key_and_sequence_are_read_in_the_order_of_rfc_2890() {
        let mut packet = *b"\xb0\0\x08\0\0\0\0\0KEY!SEQ!payload";
        let check = checksum::internet(&packet);
        packet[4..6].copy_from_slice(&check.to_be_bytes());
        let expected = Gre {
            protocol: PROTOCOL_IPV4,
            key: Some(GreKey(u32::from_be_bytes(*b"KEY!"))),
            header_len: 16,
        };
        assert_eq!(parse(&packet), Ok(expected));
        packet[20] ^= 1;
        assert_eq!(parse(&packet), Err(GreError::BadChecksum));
    }

    #[test]
    fn a_header_without_key_or_with_sequence_alone_is_read() {
        let plain = parse(&[0, 0, 8, 0]).map(|gre| (gre.key, gre.header_len));
        assert_eq!(plain, Ok((None, 4)));
        let numbered = parse(&[0x10, 0, 8, 0, 0, 0, 0, 9]).map(|gre| (gre.key, gre.header_len));
        assert_eq!(numbered, Ok((None, 8)));
    }

    #[test]
    fn what_rfc_2784_discards_is_refused_and_what_it_ignores_is_not() {
        assert_eq!(parse(&[0x40, 0, 8, 0]), Err(GreError::ReservedBits));
        assert_eq!(parse(&[0x08, 0, 8, 0]), Err(GreError::ReservedBits));
        assert_eq!(parse(&[0x04, 0, 8, 0]), Err(GreError::ReservedBits));
        assert_eq!(parse(&[0, 1, 8, 0]), Err(GreError::BadVersion));
        assert!(parse(&[0x03, 0xf8, 8, 0]).is_ok());
    }

    #[test]
    fn a_header_cut_anywhere_is_truncated() {
        let packet = *b"\x30\0\x08\0KEY!SEQ!";
        for len in 0..packet.len() {
            assert_eq!(
                parse(&packet[..len]),
                Err(GreError::Truncated),
                "{len} bytes"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(clb_id in 0..=GreKey::CLB_ID_MAX, hop: bool, slot: u16, protocol: u16) {
            let key = GreKey::new(clb_id, hop, slot);
            prop_assert_eq!((key.clb_id(), key.hop(), key.slot()), (clb_id, hop, slot));
            let mut out = [0; HEADER_LEN];
            write(&mut out, protocol, key);
            let read = Gre { protocol, key: Some(key), header_len: HEADER_LEN };
            prop_assert_eq!(parse(&out), Ok(read));
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(gre) = parse(&bytes) {
                prop_assert!(gre.header_len <= bytes.len());
            }
        }
    }
}
