//! The log on disk: one file of checksummed records, appended and synced, written anew at every snapshot.
//!
//! A record is what the replica wanted written since the last sync: several proposals share it. It starts on a
//! sector of its own, so that writing it touches no sector whose content was promised. After its sync an
//! unsynced *seal* follows it: what is wrong before a seal or another record was durable once, and is damage,
//! which is refused; what is wrong at the very end was never promised, and is left out.
//!
//! Writing anew goes aside, is synced, and is renamed: a crash leaves the old file or the new one. All calls block.

mod format;
mod recovery;

use std::fmt;
use std::io;

use anyedge_net::host::{DurableFile, Host};
use anyedge_proto::raft::{Entry, Foundation, HardState, Members, Record, Snapshot};
use bytes::Bytes;
use prost::Message as _;

use format::{HEADER, SECTOR_BYTES, framed, seal};

/// The file.
pub const LOG_NAME: &str = "raft.log";
/// What it is written as before it takes that name.
const ASIDE_NAME: &str = "raft.log.new";

/// Where the file lies: a host, or what stands for its disk.
pub trait Files: Send + 'static {
    /// An open file.
    type File: DurableFile;
    /// See [`Host::open_file`].
    fn open_file(&self, name: &str) -> io::Result<Self::File>;
    /// See [`Host::rename_file`].
    fn rename_file(&self, from: &str, to: &str) -> io::Result<()>;
}

impl<H: Host> Files for H {
    type File = H::File;

    fn open_file(&self, name: &str) -> io::Result<H::File> {
        Host::open_file(self, name)
    }

    fn rename_file(&self, from: &str, to: &str) -> io::Result<()> {
        Host::rename_file(self, from, to)
    }
}

/// Why the log cannot be opened or written.
#[derive(Debug)]
pub enum StoreError {
    /// The disk refuses. A full one may be tried again: nothing was written.
    Disk(io::Error),
    /// A sync failed, now or before: nobody knows what is durable. The process has to start anew.
    Unknown,
    /// What was durable once is not what was written. The replica has to leave the group and join as another.
    Damaged {
        /// Where the damage begins, in bytes.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The file is none of ours, or of a version that is not known.
    Foreign,
    /// A record would be larger than the format can hold.
    TooLarge,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Disk(error) => write!(f, "the disk of {LOG_NAME}: {error}"),
            StoreError::Unknown => {
                write!(f, "{LOG_NAME}: a sync failed, what is durable is not known")
            }
            StoreError::Damaged { offset, what } => {
                write!(f, "{LOG_NAME} is damaged at byte {offset}: {what}")
            }
            StoreError::Foreign => {
                write!(
                    f,
                    "{LOG_NAME} is no log of this program, or of another version"
                )
            }
            StoreError::TooLarge => write!(f, "a record for {LOG_NAME} is larger than 1 GiB"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> StoreError {
        StoreError::Disk(error)
    }
}

/// What a log kept.
#[derive(Clone, Default, Debug)]
pub struct Recovered {
    /// Term, vote and commit.
    pub hard_state: HardState,
    /// What the entries stand on.
    pub foundation: Foundation,
    /// The entries after it.
    pub entries: Vec<Entry>,
    /// How often the log was opened: no two lives of a replica have the same.
    pub incarnation: u64,
}

/// The foundation of a group's first members, which must all be given the same `voters`: a state machine
/// without anything in it, at place 1.
pub fn fresh(voters: &[u64]) -> Foundation {
    founded(voters, 1, Bytes::new())
}

/// The foundation of first members whose state machine begins at `place` with `state`, all of them alike.
pub fn founded(voters: &[u64], place: u64, state: Bytes) -> Foundation {
    let members = Members {
        voters: voters.to_vec(),
        ..Members::default()
    };
    let snapshot = Snapshot {
        index: place,
        term: 1,
        members: Some(members),
        state,
    };
    Foundation {
        snapshot: Some(snapshot),
        index: place,
        term: 1,
    }
}

/// The foundation of a replica that joins a group: it hears everything from the leader.
pub fn joining() -> Foundation {
    Foundation::default()
}

/// The open log.
pub struct Store<F: Files> {
    files: F,
    file: F::File,
    /// Where the next record goes.
    end: u64,
    sequence: u64,
    incarnation: u64,
    is_unknown: bool,
}

impl<F: Files> fmt::Debug for Store<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{LOG_NAME} of {} bytes, record {}",
            self.end, self.sequence
        )
    }
}

impl<F: Files> Store<F> {
    /// Opens the log, or makes one that stands on `first`.
    ///
    /// # Errors
    /// When the disk refuses, and when the file is damaged or none of ours.
    pub fn open(files: F, first: Foundation) -> Result<(Store<F>, Recovered), StoreError> {
        let file = files.open_file(LOG_NAME)?;
        let is_new = file.is_empty()?;
        let recovery = if is_new {
            recovery::Recovery::of(first)
        } else {
            recovery::read(&file)?
        };
        let mut store = Store {
            files,
            file,
            end: recovery.end,
            sequence: recovery.sequence,
            incarnation: recovery.kept.incarnation + 1,
            is_unknown: false,
        };
        let mut kept = recovery.kept;
        kept.incarnation = store.incarnation;
        if is_new {
            store.write(&Record {
                hard_state: Some(kept.hard_state),
                entries: Vec::new(),
                foundation: Some(kept.foundation.clone()),
                incarnation: store.incarnation,
            })?;
        } else {
            // What was never promised goes before anything is put in its place.
            store.file.set_len(store.end)?;
            store.write(&Record {
                incarnation: store.incarnation,
                ..Record::default()
            })?;
        }
        Ok((store, kept))
    }

    /// Makes a record durable.
    ///
    /// # Errors
    /// Nothing of it counts then; see [`StoreError`] for which may be tried again.
    pub fn write(&mut self, record: &Record) -> Result<(), StoreError> {
        if self.is_unknown {
            return Err(StoreError::Unknown);
        }
        if record.foundation.is_some() {
            return self.write_anew(record);
        }
        let bytes = framed(&record.encode_to_vec(), self.sequence)?;
        self.file.write_at(self.end, &bytes)?;
        self.sync()?;
        self.end += bytes.len() as u64;
        self.sequence += 1;
        self.seal();
        Ok(())
    }

    /// Begins another file with `record`, which takes the place of this one.
    fn write_anew(&mut self, record: &Record) -> Result<(), StoreError> {
        let mut record = record.clone();
        record.incarnation = self.incarnation;
        let sequence = self.sequence + 1;
        let bytes = framed(&record.encode_to_vec(), sequence)?;
        let file = self.files.open_file(ASIDE_NAME)?;
        file.set_len(0)?;
        file.write_at(0, &HEADER)?;
        file.write_at(SECTOR_BYTES, &bytes)?;
        file.sync()?;
        self.files.rename_file(ASIDE_NAME, LOG_NAME)?;
        self.file = file;
        self.end = SECTOR_BYTES + bytes.len() as u64;
        self.sequence = sequence + 1;
        self.seal();
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.file.sync().map_err(|_| {
            self.is_unknown = true;
            StoreError::Unknown
        })
    }

    /// Marks the end as durable. Without it nothing is wrong, and damage there is not told from a torn write.
    fn seal(&self) {
        drop(self.file.write_at(self.end, &seal(self.sequence)));
    }
}

#[cfg(test)]
mod tests;
