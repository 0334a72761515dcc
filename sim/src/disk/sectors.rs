//! One file of a simulated disk: its bytes as they read now, and of each unsynced sector those that are durable.

use std::collections::BTreeMap;

use anyedge_net::rng::Rng;

/// What a disk writes whole or not at all, in bytes.
pub(super) const SECTOR_BYTES: u64 = 512;

/// A file's bytes.
#[derive(Default, Debug)]
pub(super) struct Sectors {
    bytes: Vec<u8>,
    durable_len: u64,
    /// The durable bytes of each sector written since the last sync, zeros behind the durable end.
    unsynced: BTreeMap<u64, [u8; SECTOR_BYTES as usize]>,
}

impl Sectors {
    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// `count` bytes from `offset` on, if there are so many.
    pub(super) fn read(&self, offset: u64, count: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset).ok()?;
        self.bytes.get(start..start.checked_add(count)?)
    }

    /// Overwrites; the file is long enough.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len() as u64;
        self.remember(offset, end);
        self.bytes[offset as usize..end as usize].copy_from_slice(bytes);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len() {
            self.remember(len, self.len());
        }
        self.bytes.resize(len as usize, 0);
    }

    pub(super) fn sync(&mut self) {
        self.unsynced.clear();
        self.durable_len = self.len();
    }

    /// Each unsynced sector, and the length, stays what it is or becomes what it was.
    pub(super) fn crash(&mut self, kept_ppm: u32, rng: &mut Rng) {
        let len = if rng.one_in_ppm(kept_ppm) {
            self.len()
        } else {
            self.durable_len
        };
        self.bytes
            .resize(self.len().max(self.durable_len) as usize, 0);
        for (sector, old) in std::mem::take(&mut self.unsynced) {
            if !rng.one_in_ppm(kept_ppm) {
                let here = self.range(sector);
                let count = here.len();
                self.bytes[here].copy_from_slice(&old[..count]);
            }
        }
        self.bytes.resize(len as usize, 0);
        self.durable_len = len;
    }

    pub(super) fn flip_bit(&mut self, bit: u64) -> bool {
        let byte = self.bytes.get_mut((bit / 8) as usize);
        byte.map(|byte| *byte ^= 1 << (bit % 8)).is_some()
    }

    /// Keeps the durable bytes of the sectors between two offsets.
    fn remember(&mut self, from: u64, to: u64) {
        for sector in from / SECTOR_BYTES..to.div_ceil(SECTOR_BYTES) {
            if !self.unsynced.contains_key(&sector) {
                let mut old = [0; SECTOR_BYTES as usize];
                let here = self.range(sector);
                old[..here.len()].copy_from_slice(&self.bytes[here]);
                self.unsynced.insert(sector, old);
            }
        }
    }

    /// Where the sector lies in `bytes`, as far as they go.
    fn range(&self, sector: u64) -> std::ops::Range<usize> {
        let start = (sector * SECTOR_BYTES).min(self.len());
        let end = ((sector + 1) * SECTOR_BYTES).min(self.len());
        start as usize..end as usize
    }
}
