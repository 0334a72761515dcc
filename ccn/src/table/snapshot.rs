//! A table as bytes: for a member or node that begins, and for backups.
//!
//! A snapshot holds everything; a backup leaves secrets out. Both begin with a magic number, a format and a
//! checksum of what follows. Reading refuses what is torn, of another format, or does not fit together, and never
//! guesses.

use std::sync::Arc;

use anyedge_net::flow::HashKey;
use anyedge_net::time::Instant;
use anyedge_proto::table::v1 as pb;
use prost::Message as _;

use super::delta::Outcome;
use super::object::{Kind, Object};
use super::objects::{Entry, Objects};
use super::reach::Reach;
use super::requests::Requests;
use super::slot_book::SlotBooks;
use super::{REQUESTS_MAX, Table};

/// What a snapshot begins with.
const MAGIC: &[u8; 8] = b"anyedget";
/// The only format so far.
const FORMAT: u32 = 1;
/// Bytes before the message: magic number and checksum.
const HEADER_LEN: usize = 16;
/// The key of checksums: they tell accidents, not attacks.
const CHECKSUM_KEY: HashKey = HashKey::new(*b"table's checksum");

/// Why bytes are no table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotError {
    /// They do not begin like one.
    NotASnapshot,
    /// They are not what was written: some are missing, or others.
    Damaged,
    /// They are of a format that this program does not know.
    Format,
    /// An object or outcome in it has no shape.
    Object,
    /// The slots of a region in it do not fit together.
    SlotBook,
}

impl core::fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            SnapshotError::NotASnapshot => "these bytes are no snapshot of a table",
            SnapshotError::Damaged => "the snapshot is damaged: its checksum is another",
            SnapshotError::Format => "the snapshot is of a format that this program does not know",
            SnapshotError::Object => "the snapshot holds an object without a shape",
            SnapshotError::SlotBook => "the snapshot holds slots that do not fit together",
        })
    }
}

impl core::error::Error for SnapshotError {}

impl Table {
    /// Everything, secrets too: for members of the control plane and for nodes.
    pub fn snapshot(&self) -> Vec<u8> {
        self.to_bytes(true)
    }

    /// Everything but secrets: for operators.
    pub fn backup(&self) -> Vec<u8> {
        self.to_bytes(false)
    }

    /// The table of [`Table::snapshot`] or [`Table::backup`].
    ///
    /// # Errors
    /// Why the bytes are none.
    pub fn restore(bytes: &[u8]) -> Result<Table, SnapshotError> {
        let (magic, rest) = bytes
            .split_first_chunk::<8>()
            .ok_or(SnapshotError::NotASnapshot)?;
        if magic != MAGIC {
            return Err(SnapshotError::NotASnapshot);
        }
        let (checksum, message) = rest
            .split_first_chunk::<8>()
            .ok_or(SnapshotError::Damaged)?;
        if u64::from_be_bytes(*checksum) != CHECKSUM_KEY.hash_bytes(message) {
            return Err(SnapshotError::Damaged);
        }
        let record = pb::Snapshot::decode(message).map_err(|_| SnapshotError::Damaged)?;
        Table::from_record(record)
    }

    /// Puts the secrets of `other` into this table, where it has none of that name: a backup has none.
    pub fn adopt_secrets(&mut self, other: &Table) {
        for (name, entry) in other.objects.entries(Kind::Secret) {
            if self.objects.entry(Kind::Secret, name).is_none() {
                let key = entry.object.key();
                self.objects.set(&key, Some(entry.clone()), self.revision);
            }
        }
    }

    fn to_bytes(&self, secrets: bool) -> Vec<u8> {
        let kinds = Kind::ALL.iter();
        let kinds = kinds.filter(|kind| secrets || **kind != Kind::Secret);
        let entries = kinds.flat_map(|kind| self.objects.entries(*kind));
        let record = pb::Snapshot {
            format: FORMAT,
            revision: self.revision,
            at: self.at.as_nanos(),
            entries: entries.map(|(_, entry)| entry.into()).collect(),
            slot_books: self.slot_books.to_record(),
            outcomes: self.requests.iter().map(Into::into).collect(),
        };
        let mut bytes = Vec::with_capacity(HEADER_LEN + record.encoded_len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[0; 8]);
        record
            .encode(&mut bytes)
            .expect("a vector takes any number of bytes");
        let checksum = CHECKSUM_KEY.hash_bytes(&bytes[HEADER_LEN..]);
        bytes[8..HEADER_LEN].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn from_record(record: pb::Snapshot) -> Result<Table, SnapshotError> {
        if record.format != FORMAT {
            return Err(SnapshotError::Format);
        }
        let mut objects = Objects::default();
        for entry in &record.entries {
            let object = entry.object.as_ref().ok_or(SnapshotError::Object)?;
            let object = Object::try_from(object).map_err(|_| SnapshotError::Object)?;
            let key = object.key();
            let entry = Entry {
                revision: entry.revision,
                object: Arc::new(object),
            };
            if objects.set(&key, Some(entry), record.revision).is_some() {
                return Err(SnapshotError::Object);
            }
        }
        let mut requests = Requests::default();
        if record.outcomes.len() > REQUESTS_MAX {
            return Err(SnapshotError::Object);
        }
        for outcome in &record.outcomes {
            let outcome = Outcome::try_from(outcome).map_err(|_| SnapshotError::Object)?;
            requests.remember(&outcome);
        }
        Ok(Table {
            revision: record.revision,
            at: Instant::from_nanos(record.at),
            reach: Arc::new(Reach::new(&objects)),
            objects,
            slot_books: SlotBooks::from_record(record.slot_books)?,
            requests,
        })
    }
}
