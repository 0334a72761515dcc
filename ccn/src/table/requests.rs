//! The last requests and what came of them, so that a retried command applies once.
//!
//! They are part of the replicated state: whoever leads next knows them too. The oldest is forgotten when
//! [`REQUESTS_MAX`] are known, so a client must not retry after that many others.

use std::collections::{BTreeMap, VecDeque};

use super::delta::Outcome;

/// Requests that are remembered.
pub const REQUESTS_MAX: usize = 65_536;

/// Outcomes by request id, and the order in which they came.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Requests {
    outcomes: BTreeMap<String, Outcome>,
    order: VecDeque<String>,
}

impl Requests {
    pub(super) fn get(&self, id: &str) -> Option<&Outcome> {
        self.outcomes.get(id)
    }

    /// Remembers `outcome`, unless it has no id.
    pub(super) fn remember(&mut self, outcome: &Outcome) {
        if outcome.request_id.is_empty() {
            return;
        }
        let id = outcome.request_id.clone();
        if self.outcomes.insert(id.clone(), outcome.clone()).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > REQUESTS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.outcomes.remove(&oldest);
        }
    }

    /// Outcomes, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Outcome> {
        self.order.iter().filter_map(|id| self.outcomes.get(id))
    }
}
