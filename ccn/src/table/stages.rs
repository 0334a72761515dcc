//! Stages: changes that are checked when they are staged, wait without effect, and are applied together.
//!
//! A stage may have become impossible while it waited; it is then refused as a whole and goes on waiting.

use super::change::{Change, Stage};
use super::not_found;
use super::object::{Key, Kind, Object};
use super::refusal::{Reason, Refusal};
use super::transaction::Transaction;

/// Changes that one stage holds.
pub const STAGED_MAX: usize = 1_000;
/// Stages that there are.
pub const STAGES_MAX: usize = 64;

impl Transaction<'_> {
    pub(super) fn stage(&mut self, wanted: &Stage) -> Result<(), Refusal> {
        let verbs = |change: &Change| {
            matches!(
                change,
                Change::Stage(_)
                    | Change::ApplyStage(_)
                    | Change::DiscardStage(_)
                    | Change::All(_)
                    | Change::Restore(_)
                    // Stages are listed to everybody.
                    | Change::Put(Object::Secret(_), _)
            )
        };
        if wanted.changes.is_empty() || wanted.changes.iter().any(verbs) {
            return Err(Reason::Value.because(format_args!(
                "stage `{}` takes changes of objects that are no secrets, at least one",
                wanted.name
            )));
        }
        let known = self.objects.get::<Stage>(&wanted.name).cloned();
        if known.is_none() && self.objects.count(Kind::Stage) >= STAGES_MAX {
            return Err(Reason::Limit.because(format_args!("there are {STAGES_MAX} stages")));
        }
        let mut stage = known.unwrap_or_else(|| Stage {
            name: wanted.name.clone(),
            changes: Vec::new(),
        });
        stage.changes.extend(wanted.changes.iter().cloned());
        if stage.changes.len() > STAGED_MAX {
            return Err(Reason::Limit.because(format_args!(
                "stage `{}` would hold {} changes; at most {STAGED_MAX} may wait",
                stage.name,
                stage.changes.len()
            )));
        }
        let mark = self.mark();
        let tried = self
            .all(&stage.changes)
            .and_then(|()| self.check_since(mark));
        self.undo_to(mark);
        tried?;
        self.set(stage);
        Ok(())
    }

    pub(super) fn apply_stage(&mut self, name: &str) -> Result<(), Refusal> {
        let stage = self.find::<Stage>(name)?;
        self.unset(&Key::new(Kind::Stage, name));
        self.all(&stage.changes)
    }

    pub(super) fn discard_stage(&mut self, name: &str) -> Result<(), Refusal> {
        let key = Key::new(Kind::Stage, name);
        if self.objects.entry(key.kind, name).is_none() {
            return Err(not_found(&key));
        }
        self.unset(&key);
        Ok(())
    }
}
