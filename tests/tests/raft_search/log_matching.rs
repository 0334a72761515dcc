//! Log matching: two logs with an entry of the same place and term are the same up to there (Ongaro, figure 3.2).
//!
//! It is enough that place and term say what the entry is and which term the one before it has.

use std::collections::BTreeMap;

use anyedge_proto::raft::Entry;
use bytes::Bytes;

#[derive(Default)]
pub(crate) struct LogMatching {
    /// By place and term: the data, and the term before, when somebody had it.
    known: BTreeMap<(u64, u64), (Bytes, Option<u64>)>,
}

impl LogMatching {
    /// A log has `entry` behind one of term `before`.
    pub(crate) fn holds(&mut self, entry: &Entry, before: Option<u64>) -> Result<(), String> {
        let place = (entry.index, entry.term);
        let known = self
            .known
            .entry(place)
            .or_insert_with(|| (entry.data.clone(), before));
        if known.0 != entry.data {
            return Err(format!("log matching: two entries at {place:?}"));
        }
        match (known.1, before) {
            (Some(one), Some(other)) if one != other => Err(format!(
                "log matching: before {place:?} are terms {one} and {other}"
            )),
            (None, Some(_)) => {
                known.1 = before;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
