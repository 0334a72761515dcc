//! What an accepted command changed: enough to follow the table without knowing any rule.
//!
//! A delta lists the objects that are another, as they are from its revision on. Slot maps are not in it: they
//! follow from the CLB nodes, the settings and the time, the same at everybody who follows from the same snapshot.

use std::sync::Arc;

use anyedge_net::time::Instant;

use super::object::{Key, Object};
use super::refusal::Refusal;

/// One revision's change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delta {
    /// The revision that it makes.
    pub revision: u64,
    /// The time of the table from then on.
    pub at: Instant,
    /// Objects by kind and name as they are from then on; `None`: gone.
    pub changes: Vec<(Key, Option<Arc<Object>>)>,
    /// What the caller is told, and is told again when it asks again.
    pub outcome: Outcome,
    /// The command was applied before, under `outcome.revision`: nothing changes.
    pub repeated: bool,
}

impl Delta {
    /// The delta without secrets, for those who may not know them.
    pub fn without_secrets(&self) -> Delta {
        let shown = |change: &&(Key, Option<Arc<Object>>)| !matches!(&change.1, Some(object) if object.is_secret());
        Delta {
            changes: self.changes.iter().filter(shown).cloned().collect(),
            ..self.clone()
        }
    }
}

/// One item of a batch that was refused while others were not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Its place in the batch.
    pub item: u32,
    /// Why.
    pub refusal: Refusal,
}

/// What came of a command.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// The command's id; may be empty.
    pub request_id: String,
    /// A hash of its change: another change under the same id is refused.
    pub fingerprint: u64,
    /// The revision that it made.
    pub revision: u64,
    /// Items that were refused.
    pub failures: Vec<Failure>,
    /// Objects that came into being.
    pub created: Vec<Key>,
}
