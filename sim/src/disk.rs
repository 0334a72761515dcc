//! A simulated disk: what was synced outlives a crash, and of the rest a seeded part does.
//!
//! At a crash every sector that was written since the last sync is the new one or the old one by a draw of its
//! own, and so is the file's length: the worst that the contract of
//! [`DurableFile`] allows. Names are durable at once, as the contract says. A disk
//! can be slow, which its host's blocking work waits for, and full. It knows no time: it adds up what its
//! work took, and who runs that work asks for the sum.
//!
//! Invariant: `unsynced` holds the old bytes of every sector that differs from what is durable.

mod sectors;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyedge_net::host::{DurableFile, check_name};
use anyedge_net::rng::Rng;
use anyedge_net::time::Instant;

use sectors::Sectors;

/// What a disk is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskSpec {
    /// Bytes that all files together may have.
    pub capacity_bytes: u64,
    /// How long a sync takes, beside the bytes.
    pub sync: Duration,
    /// Bytes read or written in a second.
    pub bytes_per_second: u64,
}

impl DiskSpec {
    /// A solid-state disk of a server: 1 GiB, 200 us for a sync, 500 MB/s.
    pub const SOLID_STATE: DiskSpec = DiskSpec {
        capacity_bytes: 1 << 30,
        sync: Duration::from_micros(200),
        bytes_per_second: 500_000_000,
    };
}

/// A disk. Cloning gives another handle to it.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Mutex<State>>);

/// A host's disk and when all that it was asked to do will be done.
pub(crate) struct HostDisk {
    pub(crate) disk: Disk,
    pub(crate) free_at: Instant,
}

#[derive(Debug)]
struct State {
    spec: DiskSpec,
    rng: Rng,
    names: BTreeMap<String, u64>,
    /// Files with a name or a handle.
    files: BTreeMap<u64, Sectors>,
    opened: BTreeMap<u64, u64>,
    /// Numbers of files and of handles.
    numbers: u64,
    used_bytes: u64,
    owed: Duration,
    syncs: u64,
    /// Syncs that still succeed before the disk fails for good, when it is to fail.
    syncs_left: Option<u64>,
    has_failed: bool,
}

/// An open file of a [`Disk`]. After a crash of its host it answers `NotConnected`.
#[derive(Debug)]
pub struct DiskFile {
    disk: Disk,
    file: u64,
    handle: u64,
}

impl Disk {
    /// An empty disk that draws from `rng` what a crash takes.
    pub fn new(spec: DiskSpec, rng: Rng) -> Disk {
        Disk(Arc::new(Mutex::new(State {
            spec,
            rng,
            names: BTreeMap::new(),
            files: BTreeMap::new(),
            opened: BTreeMap::new(),
            numbers: 0,
            used_bytes: 0,
            owed: Duration::ZERO,
            syncs: 0,
            syncs_left: None,
            has_failed: false,
        })))
    }

    /// What the disk is like from here on.
    pub fn set_spec(&self, spec: DiskSpec) {
        self.state().spec = spec;
    }

    /// So many more syncs succeed; the next one fails, and every change after it. For tests of crashes in the
    /// middle of some work, of which a part may be kept: the next [`crash`](Disk::crash) ends it.
    pub fn fail_after_syncs(&self, syncs: u64) {
        self.state().syncs_left = Some(syncs);
    }

    /// Syncs so far.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// The time that work has taken since this was last asked.
    pub fn take_owed(&self) -> Duration {
        std::mem::take(&mut self.state().owed)
    }

    /// See [`Host::open_file`](anyedge_net::host::Host::open_file).
    pub fn open_file(&self, name: &str) -> io::Result<DiskFile> {
        check_name(name)?;
        let mut state = self.state();
        let handle = state.number();
        let file = match state.names.get(name) {
            Some(file) if state.opened.contains_key(file) => {
                return Err(io::ErrorKind::ResourceBusy.into());
            }
            Some(file) => *file,
            None => {
                state.files.insert(handle, Sectors::default());
                state.names.insert(name.to_owned(), handle);
                handle
            }
        };
        state.opened.insert(file, handle);
        let disk = self.clone();
        Ok(DiskFile { disk, file, handle })
    }

    /// See [`Host::rename_file`](anyedge_net::host::Host::rename_file).
    pub fn rename_file(&self, from: &str, to: &str) -> io::Result<()> {
        check_name(from)?;
        check_name(to)?;
        let mut state = self.state();
        let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        if let Some(replaced) = state.names.insert(to.to_owned(), file) {
            state.forget_unless_used(replaced);
        }
        Ok(())
    }

    /// See [`Host::remove_file`](anyedge_net::host::Host::remove_file).
    pub fn remove_file(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        let mut state = self.state();
        let file = state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.forget_unless_used(file);
        Ok(())
    }

    /// The host lost its power: handles are void, and a drawn part of what was not synced is gone.
    pub fn crash(&self) {
        let mut state = self.state();
        let state = &mut *state;
        state.opened.clear();
        state.owed = Duration::ZERO;
        state.syncs_left = None;
        state.has_failed = false;
        let names = &state.names;
        state
            .files
            .retain(|file, _| names.values().any(|named| named == file));
        // From everything lost to everything kept: each crash has its own share.
        let kept_ppm = state.rng.below(1_000_001) as u32;
        for file in state.files.values_mut() {
            file.crash(kept_ppm, &mut state.rng);
        }
        state.used_bytes = state.files.values().map(Sectors::len).sum();
    }

    /// Another, empty disk is in its place.
    pub fn wipe(&self) {
        let mut state = self.state();
        state.opened.clear();
        state.names.clear();
        state.files.clear();
        state.used_bytes = 0;
        state.owed = Duration::ZERO;
    }

    /// Turns over one bit of the file `name`, as a failing disk does; false when there is no such bit.
    pub fn flip_bit(&self, name: &str, bit: u64) -> bool {
        let mut state = self.state();
        let Some(file) = state.names.get(name).copied() else {
            return false;
        };
        let file = state.files.get_mut(&file).expect("a name has its file");
        file.flip_bit(bit)
    }

    /// The length of the file `name`.
    pub fn len_of(&self, name: &str) -> Option<u64> {
        let state = self.state();
        let file = state.names.get(name)?;
        Some(state.files[file].len())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No call below panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn forget_unless_used(&mut self, file: u64) {
        let is_named = self.names.values().any(|named| *named == file);
        if !is_named && !self.opened.contains_key(&file) {
            let gone = self.files.remove(&file).expect("it was there until now");
            self.used_bytes -= gone.len();
        }
    }

    fn charge(&mut self, bytes: usize) {
        let nanos = bytes as u64 * 1_000_000_000 / self.spec.bytes_per_second.max(1);
        self.owed += Duration::from_nanos(nanos);
    }

    /// The file becomes `len` bytes long, if there is room.
    fn resize(&mut self, file: u64, len: u64) -> io::Result<()> {
        let sectors = self.files.get_mut(&file).expect("an open file exists");
        let used = self.used_bytes - sectors.len() + len;
        if len > sectors.len() && used > self.spec.capacity_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        sectors.set_len(len);
        self.used_bytes = used;
        Ok(())
    }
}

impl DiskFile {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state();
        if state.opened.get(&self.file) != Some(&self.handle) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        act(&mut state)
    }

    fn change<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        self.with(|state| {
            if state.has_failed {
                return Err(failed());
            }
            act(state)
        })
    }
}

impl DurableFile for DiskFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|state| Ok(state.files[&self.file].len()))
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.with(|state| {
            state.charge(into.len());
            let file = &state.files[&self.file];
            let bytes = file.read(offset, into.len());
            into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(|state| {
            let end = offset
                .checked_add(bytes.len() as u64)
                .ok_or(io::ErrorKind::InvalidInput)?;
            state.charge(bytes.len());
            if end > state.files[&self.file].len() {
                state.resize(self.file, end)?;
            }
            let file = state.files.get_mut(&self.file);
            file.expect("an open file exists").write(offset, bytes);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|state| state.resize(self.file, len))
    }

    fn sync(&self) -> io::Result<()> {
        self.change(|state| {
            state.owed += state.spec.sync;
            state.syncs += 1;
            if let Some(left) = &mut state.syncs_left {
                let Some(fewer) = left.checked_sub(1) else {
                    state.has_failed = true;
                    return Err(failed());
                };
                *left = fewer;
            }
            let file = state.files.get_mut(&self.file);
            file.expect("an open file exists").sync();
            Ok(())
        })
    }
}

fn failed() -> io::Error {
    io::Error::other("the disk has failed")
}

impl Drop for DiskFile {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.opened.get(&self.file) == Some(&self.handle) {
            state.opened.remove(&self.file);
            state.forget_unless_used(self.file);
        }
    }
}

#[cfg(test)]
mod tests;
