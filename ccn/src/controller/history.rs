//! The last deltas, for those who follow, and how far back they reach.
//!
//! Who wants a revision that is not here any more gets a snapshot first. Bounded by number: a delta is as large as a
//! command may be at most.

use std::collections::VecDeque;
use std::sync::Arc;

use anyedge_proto::table::v1::Delta;

/// Deltas by revision, without gaps among those that changed something.
pub(super) struct History {
    deltas: VecDeque<Arc<Delta>>,
    /// Every revision after this one that changed something is here.
    since: u64,
    deltas_max: usize,
}

impl History {
    pub(super) fn new(deltas_max: usize) -> History {
        History {
            deltas: VecDeque::new(),
            since: 0,
            deltas_max,
        }
    }

    /// The state became what it is at `revision` by another way than deltas.
    pub(super) fn begin(&mut self, revision: u64) {
        self.deltas.clear();
        self.since = revision;
    }

    pub(super) fn add(&mut self, delta: Delta) {
        self.deltas.push_back(Arc::new(delta));
        while self.deltas.len() > self.deltas_max {
            let oldest = self.deltas.pop_front().expect("there are too many");
            self.since = oldest.revision;
        }
    }

    /// At most `count` deltas that follow on `revision`; `None` when not all of them are here any more.
    pub(super) fn after(&self, revision: u64, count: usize) -> Option<Vec<Arc<Delta>>> {
        if revision < self.since {
            return None;
        }
        let first = self
            .deltas
            .partition_point(|delta| delta.revision <= revision);
        Some(self.deltas.range(first..).take(count).cloned().collect())
    }

    /// Revisions up to this one are compacted.
    pub(super) const fn since(&self) -> u64 {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(revision: u64) -> Delta {
        Delta {
            revision,
            ..Delta::default()
        }
    }

    fn revisions(history: &History, after: u64) -> Option<Vec<u64>> {
        let deltas = history.after(after, 10)?;
        Some(deltas.iter().map(|delta| delta.revision).collect())
    }

    #[test]
    fn who_is_not_too_far_behind_gets_every_delta_that_follows() {
        let mut history = History::new(3);
        for revision in [2, 5, 6] {
            history.add(delta(revision));
        }
        assert_eq!(revisions(&history, 0), Some(vec![2, 5, 6]));
        assert_eq!(revisions(&history, 3), Some(vec![5, 6]));
        assert_eq!(revisions(&history, 6), Some(vec![]));
        history.add(delta(9));
        assert_eq!(revisions(&history, 1), None, "2 is compacted");
        assert_eq!(revisions(&history, 2), Some(vec![5, 6, 9]));
    }

    #[test]
    fn after_a_snapshot_nothing_before_it_is_known() {
        let mut history = History::new(3);
        history.add(delta(2));
        history.begin(7);
        assert_eq!(revisions(&history, 2), None);
        assert_eq!(revisions(&history, 7), Some(vec![]));
    }
}
