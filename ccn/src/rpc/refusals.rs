//! Refusals: callers that an answering end did not let in, or broke off with, by cause.
//!
//! Causes are the end's own words, a few of them, so that no caller can make it remember anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// It found no place.
pub(crate) const NO_PLACE: &str = "no place was left";
/// It was not heard in time.
pub(crate) const SILENT: &str = "it said nothing for too long";
/// Its bytes are not of the protocol that it agreed upon.
pub(crate) const NOT_HTTP: &str = "it breaks the rules of HTTP/2";
/// A node of which the table has no path here.
pub(crate) const NO_LINK: &str = "no link ends here for this node";
/// Where no node is.
pub(crate) const NO_NODE: &str = "no node may call from its address";

/// How many there were of each cause. Clones count together.
#[derive(Clone, Default, Debug)]
pub struct Refusals(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Refusals {
    /// One more.
    pub(crate) fn count(&self, cause: &'static str) {
        *self.lock().entry(cause).or_default() += 1;
    }

    /// All of them by cause.
    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_count_together_and_each_cause_by_itself() {
        let refusals = Refusals::default();
        let other = refusals.clone();
        other.count(SILENT);
        refusals.count(SILENT);
        refusals.count(NO_PLACE);
        assert_eq!(other.all(), BTreeMap::from([(SILENT, 2), (NO_PLACE, 1)]));
    }
}
