//! One segment on the wire: what is read of one that arrives, and how one that leaves is written (RFC 9293 §3.1).
//!
//! Options: MSS, window scale (RFC 7323 §2), SACK permitted and SACK (RFC 2018); no timestamps. The walk over options is
//! bounded by the header; a malformed one ends it.

use anyedge_net::checksum;
use anyedge_net::flow::Address;
use anyedge_net::wire::tcp::{ACK, HEADER_LEN, PROTOCOL};

use super::reassembly::{BLOCKS_MAX, Range};
use super::sequence::Seq;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;

/// The most that a window may be scaled by (RFC 7323 §2.3).
const SCALE_MAX: u8 = 14;
/// Bytes of the options of a SYN.
const SYN_OPTIONS: usize = 12;

/// A segment that arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival<'a> {
    pub(super) seq: Seq,
    pub(super) ack: Seq,
    pub(super) flags: u8,
    /// As it stands there.
    pub(super) window: u16,
    /// Of a SYN.
    pub(super) told: Told,
    blocks: [Range; BLOCKS_MAX],
    blocks_count: usize,
    pub(super) payload: &'a [u8],
}

/// What a SYN tells of its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Told {
    pub(super) mss: Option<u16>,
    pub(super) scale: Option<u8>,
    pub(super) sack: bool,
}

impl<'a> Arrival<'a> {
    /// Reads a TCP header and what follows it; `None` of what is too short for what it says.
    #[inline]
    pub(super) fn parse(l4: &'a [u8]) -> Option<Arrival<'a>> {
        let header = l4.first_chunk::<HEADER_LEN>()?;
        let word = |at: usize| {
            Seq(u32::from_be_bytes([
                header[at],
                header[at + 1],
                header[at + 2],
                header[at + 3],
            ]))
        };
        let len = usize::from(header[12] >> 4) * 4;
        let options = l4.get(HEADER_LEN..len)?;
        let mut arrival = Arrival {
            seq: word(4),
            ack: word(8),
            flags: header[13],
            window: u16::from_be_bytes([header[14], header[15]]),
            told: Told::default(),
            blocks: [(Seq(0), Seq(0)); BLOCKS_MAX],
            blocks_count: 0,
            payload: &l4[len..],
        };
        if !options.is_empty() {
            arrival.read(options);
        }
        Some(arrival)
    }

    fn read(&mut self, options: &[u8]) {
        let mut rest = options;
        loop {
            rest = match *rest {
                [NOP, ref rest @ ..] => rest,
                [END, ..] | [] | [_] => return,
                [kind, len, ..] => {
                    let len = usize::from(len);
                    let (Some(value), Some(behind)) = (rest.get(2..len), rest.get(len..)) else {
                        return;
                    };
                    self.read_one(kind, value);
                    behind
                }
            };
        }
    }

    fn read_one(&mut self, kind: u8, value: &[u8]) {
        match (kind, value) {
            (MSS, &[high, low]) => self.told.mss = Some(u16::from_be_bytes([high, low])),
            (SCALE, &[scale]) => self.told.scale = Some(scale.min(SCALE_MAX)),
            (SACK_PERMITTED, &[]) => self.told.sack = true,
            (SACK, blocks) => {
                for block in blocks.chunks_exact(8).take(BLOCKS_MAX) {
                    let [a, b, c, d, e, f, g, h] = *block else {
                        return;
                    };
                    let from = Seq(u32::from_be_bytes([a, b, c, d]));
                    let to = Seq(u32::from_be_bytes([e, f, g, h]));
                    if from.is_before(to) && self.blocks_count < BLOCKS_MAX {
                        self.blocks[self.blocks_count] = (from, to);
                        self.blocks_count += 1;
                    }
                }
            }
            _ => {}
        }
    }

    #[inline]
    pub(super) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What the sender has beyond a gap.
    #[inline]
    pub(super) fn blocks(&self) -> &[Range] {
        &self.blocks[..self.blocks_count]
    }
}

/// The options of a segment that leaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    bytes: [u8; 4 + 8 * BLOCKS_MAX],
    len: usize,
}

impl Options {
    pub(super) const NONE: Options = Options {
        bytes: [NOP; 4 + 8 * BLOCKS_MAX],
        len: 0,
    };

    /// Those of a SYN, or of the answer to one that told the same.
    pub(super) fn of_syn(mss: u16, scale: Option<u8>, sack: bool) -> Options {
        let mut options = Options::NONE;
        let [high, low] = mss.to_be_bytes();
        options.bytes[..4].copy_from_slice(&[MSS, 4, high, low]);
        if sack {
            options.bytes[6..8].copy_from_slice(&[SACK_PERMITTED, 2]);
        }
        if let Some(scale) = scale {
            options.bytes[9..12].copy_from_slice(&[SCALE, 3, scale]);
        }
        options.len = SYN_OPTIONS;
        options
    }

    /// What is there beyond gaps.
    pub(super) fn of_blocks(blocks: &[Range]) -> Options {
        let mut options = Options::NONE;
        if blocks.is_empty() {
            return options;
        }
        options.bytes[2] = SACK;
        options.bytes[3] = 2 + 8 * blocks.len() as u8;
        options.len = 4 + 8 * blocks.len();
        let places = options.bytes[4..].chunks_exact_mut(8);
        for (place, (from, to)) in places.zip(blocks) {
            place[..4].copy_from_slice(&from.0.to_be_bytes());
            place[4..].copy_from_slice(&to.0.to_be_bytes());
        }
        options
    }

    #[inline]
    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

/// The header of a segment that leaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departure<'a> {
    pub(super) ports: (u16, u16),
    pub(super) seq: Seq,
    pub(super) ack: Seq,
    pub(super) flags: u8,
    pub(super) window: u16,
    pub(super) options: &'a Options,
}

impl Departure<'_> {
    /// Writes the header to the front of `segment`, whose payload is there already, and the checksum over all of it; `addresses` is
    /// the sum of both addresses and the protocol.
    #[inline]
    pub(super) fn write(&self, segment: &mut [u8], addresses: u16) {
        let options = self.options.len;
        let len = segment.len();
        segment[..2].copy_from_slice(&self.ports.0.to_be_bytes());
        segment[2..4].copy_from_slice(&self.ports.1.to_be_bytes());
        segment[4..8].copy_from_slice(&self.seq.0.to_be_bytes());
        let ack = if self.flags & ACK == 0 { 0 } else { self.ack.0 };
        segment[8..12].copy_from_slice(&ack.to_be_bytes());
        segment[12] = ((HEADER_LEN + options) as u8 / 4) << 4;
        segment[13] = self.flags;
        segment[14..16].copy_from_slice(&self.window.to_be_bytes());
        segment[16..HEADER_LEN].fill(0);
        if options > 0 {
            segment[HEADER_LEN..HEADER_LEN + options]
                .copy_from_slice(&self.options.bytes[..options]);
        }
        let check = !checksum::combine(&[addresses, len as u16, checksum::sum(segment)]);
        segment[16..18].copy_from_slice(&check.to_be_bytes());
    }
}

/// The part of the pseudo-header's sum that all segments of a connection share.
pub(super) fn sum_of_addresses(src: Address, dst: Address) -> u16 {
    checksum::pseudo_header(src, dst, PROTOCOL, 0)
}

#[cfg(test)]
mod tests {
    use anyedge_net::wire::tcp::fill_checksum;

    use super::*;

    const SRC: Address = Address::v4([10, 0, 0, 1]);
    const DST: Address = Address::v4([10, 0, 0, 2]);

    fn written(options: &Options, payload: &[u8]) -> Vec<u8> {
        let at = HEADER_LEN + options.len();
        let mut segment = vec![0xaa; at + payload.len()];
        segment[at..].copy_from_slice(payload);
        let departure = Departure {
            ports: (4_000, 80),
            seq: Seq(7),
            ack: Seq(u32::MAX),
            flags: ACK,
            window: 500,
            options,
        };
        departure.write(&mut segment, sum_of_addresses(SRC, DST));
        segment
    }

    #[test]
    fn what_is_written_is_read_again() {
        let blocks = [(Seq(9), Seq(20)), (Seq(u32::MAX), Seq(3))];
        let segment = written(&Options::of_blocks(&blocks), b"payload");
        let arrival = Arrival::parse(&segment).expect("it is whole");
        assert_eq!(
            (arrival.seq, arrival.ack, arrival.window),
            (Seq(7), Seq(u32::MAX), 500)
        );
        assert_eq!(
            (arrival.blocks(), arrival.payload),
            (&blocks[..], &b"payload"[..])
        );

        let segment = written(&Options::of_syn(1_432, Some(1), true), b"");
        let told = Told {
            mss: Some(1_432),
            scale: Some(1),
            sack: true,
        };
        assert_eq!(Arrival::parse(&segment).expect("it is whole").told, told);
        let segment = written(&Options::of_syn(536, None, false), b"");
        let told = Told {
            mss: Some(536),
            scale: None,
            sack: false,
        };
        assert_eq!(Arrival::parse(&segment).expect("it is whole").told, told);
    }

    #[test]
    fn the_checksum_is_the_one_that_others_reckon() {
        for payload in [&b""[..], b"odd", b"even"] {
            let segment = written(&Options::NONE, payload);
            let mut other = segment.clone();
            fill_checksum(&mut other, SRC, DST);
            assert_eq!(segment, other);
        }
    }

    #[test]
    fn options_that_are_cut_off_end_the_walk() {
        let segment = written(&Options::of_blocks(&[(Seq(1), Seq(9))]), b"");
        for at in HEADER_LEN..segment.len() {
            for value in 0..=u8::MAX {
                let mut damaged = segment.clone();
                damaged[at] = value;
                let arrival = Arrival::parse(&damaged).expect("the header's length is kept");
                assert!(arrival.blocks().len() <= BLOCKS_MAX);
            }
        }
        assert!((0..segment.len()).all(|len| Arrival::parse(&segment[..len]).is_none()));
    }
}
