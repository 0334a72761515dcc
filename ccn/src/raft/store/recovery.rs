//! Reading a log file: every record in order, and what to make of where they end.

use anyedge_net::host::DurableFile;
use anyedge_proto::raft::{Foundation, HardState, Record};
use prost::Message as _;

use super::super::work::absorb;
use super::format::{Frame, HEADER, SECTOR_BYTES, taken_bytes};
use super::{Recovered, StoreError};

/// What is read of a file, and where the next record goes.
pub(super) struct Recovery {
    pub(super) kept: Recovered,
    pub(super) end: u64,
    pub(super) sequence: u64,
}

impl Recovery {
    /// A log that is to begin with `foundation`.
    pub(super) fn of(foundation: Foundation) -> Recovery {
        let term = foundation.snapshot.as_ref().map_or(0, |at| at.term);
        let hard_state = HardState {
            term,
            vote: 0,
            commit: foundation.index,
        };
        Recovery {
            kept: Recovered {
                hard_state,
                foundation,
                ..Recovered::default()
            },
            end: 0,
            sequence: 0,
        }
    }
}

/// Reads the whole file.
pub(super) fn read(file: &impl DurableFile) -> Result<Recovery, StoreError> {
    let len = usize::try_from(file.len()?).map_err(|_| StoreError::Foreign)?;
    let mut bytes = vec![0; len];
    file.read_at(0, &mut bytes)?;
    if !bytes.starts_with(&HEADER) {
        return Err(StoreError::Foreign);
    }
    let mut at = SECTOR_BYTES;
    let mut sequence = None;
    let mut whole = Record::default();
    while let Some(Frame::Record(number, content)) = frame_at(&bytes, at) {
        if sequence.is_some_and(|expected| number != expected) {
            break;
        }
        let record = Record::decode(content);
        let record = record.map_err(|_| damaged(at, "a record that is none of ours"))?;
        if sequence.is_none() && record.foundation.is_none() {
            return Err(damaged(at, "the log does not begin with what it stands on"));
        }
        let incarnation = whole.incarnation.max(record.incarnation);
        absorb(&mut whole, record);
        whole.incarnation = incarnation;
        at += taken_bytes(content.len());
        let next = number.checked_add(1);
        sequence = Some(next.ok_or_else(|| damaged(at, "a record has the last of all numbers"))?);
    }
    // The first record was synced before the file had its name.
    let sequence = sequence.ok_or_else(|| damaged(at, "its first record is unreadable"))?;
    refuse_damage(&bytes, at, sequence)?;
    check_entries(&whole)?;
    if whole.incarnation == u64::MAX {
        return Err(damaged(0, "there is no further life for its replica"));
    }
    Ok(Recovery {
        kept: Recovered {
            hard_state: whole.hard_state.unwrap_or_default(),
            foundation: whole.foundation.unwrap_or_default(),
            entries: whole.entries,
            incarnation: whole.incarnation,
        },
        end: at,
        sequence,
    })
}

/// Whether anything behind `end` tells that more was durable than could be read.
fn refuse_damage(bytes: &[u8], end: u64, sequence: u64) -> Result<(), StoreError> {
    let mut at = end;
    while at < bytes.len() as u64 {
        let later = frame_at(bytes, at).filter(|frame| frame.sequence() >= sequence);
        match later {
            Some(Frame::Seal(number)) if at == end && number == sequence => {}
            // A record is written when the one before it is durable.
            Some(_) => {
                return Err(damaged(
                    end,
                    "a record is unreadable, and later ones are not",
                ));
            }
            None => {}
        }
        at += SECTOR_BYTES;
    }
    Ok(())
}

/// Entries follow each other from the foundation on.
fn check_entries(whole: &Record) -> Result<(), StoreError> {
    let mut before = whole.foundation.as_ref().map_or(0, |at| at.index);
    for entry in &whole.entries {
        if before.checked_add(1) != Some(entry.index) {
            return Err(damaged(0, "entries of the log are missing"));
        }
        before = entry.index;
    }
    Ok(())
}

fn frame_at(bytes: &[u8], at: u64) -> Option<Frame<'_>> {
    Frame::read(bytes.get(usize::try_from(at).ok()?..)?)
}

const fn damaged(offset: u64, what: &'static str) -> StoreError {
    StoreError::Damaged { offset, what }
}
