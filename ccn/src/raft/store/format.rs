//! How records lie in the file: a header sector, then each record on sectors of its own.
//!
//! A record: mark (4 bytes), length of its content (4), its number (8), checksum of all that (8), content, zeros
//! to the end of the sector. A seal is a frame of another mark without content; the next record overwrites it.
//! Numbers are little-endian, the checksum is XXH3.

use xxhash_rust::xxh3::Xxh3;

use super::StoreError;

/// What a disk writes whole, at least.
pub(super) const SECTOR_BYTES: u64 = 512;
const FRAME_BYTES: usize = 24;
/// Bytes of one record's content.
const CONTENT_BYTES_MAX: usize = 1 << 30;

const RECORD: [u8; 4] = *b"REC1";
const SEAL: [u8; 4] = *b"SEAL";

/// The first sector.
pub(super) const HEADER: [u8; SECTOR_BYTES as usize] = header();

const fn header() -> [u8; SECTOR_BYTES as usize] {
    let name = b"anyedge raft log, version 1\n";
    let mut sector = [0; SECTOR_BYTES as usize];
    let mut at = 0;
    while at < name.len() {
        sector[at] = name[at];
        at += 1;
    }
    sector
}

/// A record, ready to be written.
pub(super) fn framed(content: &[u8], sequence: u64) -> Result<Vec<u8>, StoreError> {
    if content.len() > CONTENT_BYTES_MAX {
        return Err(StoreError::TooLarge);
    }
    Ok(frame(RECORD, content, sequence))
}

/// What follows the record before number `sequence` when that is durable.
pub(super) fn seal(sequence: u64) -> Vec<u8> {
    frame(SEAL, &[], sequence)
}

fn frame(mark: [u8; 4], content: &[u8], sequence: u64) -> Vec<u8> {
    let length = FRAME_BYTES + content.len();
    let mut bytes = Vec::with_capacity(length.next_multiple_of(SECTOR_BYTES as usize));
    bytes.extend(mark);
    bytes.extend((content.len() as u32).to_le_bytes());
    bytes.extend(sequence.to_le_bytes());
    let sum = checksum(&bytes, content);
    bytes.extend(sum.to_le_bytes());
    bytes.extend(content);
    bytes.resize(length.next_multiple_of(SECTOR_BYTES as usize), 0);
    bytes
}

fn checksum(head: &[u8], content: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(head);
    hasher.update(content);
    hasher.digest()
}

/// What lies at a sector.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Frame<'a> {
    /// A record: its number and content.
    Record(u64, &'a [u8]),
    /// The mark that everything before the record of this number is durable.
    Seal(u64),
}

impl Frame<'_> {
    /// The number that it carries.
    pub(super) const fn sequence(&self) -> u64 {
        match self {
            Frame::Record(sequence, _) | Frame::Seal(sequence) => *sequence,
        }
    }

    /// The frame at the start of `bytes`, when it is whole.
    pub(super) fn read(bytes: &[u8]) -> Option<Frame<'_>> {
        let (head, rest) = bytes.split_at_checked(FRAME_BYTES)?;
        let mark: [u8; 4] = head[..4].try_into().ok()?;
        if mark != RECORD && mark != SEAL {
            return None;
        }
        let length = u32::from_le_bytes(head[4..8].try_into().ok()?) as usize;
        let sequence = u64::from_le_bytes(head[8..16].try_into().ok()?);
        let sum = u64::from_le_bytes(head[16..24].try_into().ok()?);
        let content = rest.get(..length)?;
        if checksum(&head[..16], content) != sum {
            return None;
        }
        if mark == SEAL {
            return Some(Frame::Seal(sequence));
        }
        Some(Frame::Record(sequence, content))
    }
}

/// Sectors that a record with this content takes, in bytes.
pub(super) const fn taken_bytes(content: usize) -> u64 {
    (FRAME_BYTES + content).next_multiple_of(SECTOR_BYTES as usize) as u64
}
