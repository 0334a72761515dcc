//! What a node has to tell: how everything stands, and what of that has not been told.
//!
//! Something that changes twice before it is told is told once. To another controller everything is told again.
//!
//! Invariant: what waits is a part of what is known, or of what is gone since it was told; both are bounded.

use std::collections::{BTreeMap, BTreeSet};

use anyedge_proto::control::v1::{HealthStatusDetail as Detail, PathReport, TargetReport};

use crate::table::Table;
use crate::table::object::{Kind, Path, Target};

/// Sessions that a node tells of; further ones are ignored and counted.
pub const SESSIONS_MAX: usize = 1 << 16;
/// Targets that a node tells of; further ones are ignored and counted.
pub const TARGETS_MAX: usize = 1 << 20;

/// With whom, over which path.
type Session = (String, String);

/// What is known and what waits.
#[derive(Default, Debug)]
pub(super) struct News {
    in_force: u64,
    sessions: BTreeMap<Session, bool>,
    targets: BTreeMap<String, Detail>,
    waiting_sessions: BTreeSet<Session>,
    waiting_targets: BTreeSet<String>,
    /// Something waits, or the revision in force was not told.
    pub(super) is_news: bool,
    pub(super) has_ended: bool,
    pub(super) ignored: u64,
    /// Reports that a controller took.
    pub(super) taken: u64,
    /// The last report was taken, and the next may be.
    pub(super) is_heard: bool,
}

/// What one report tells.
#[derive(Default, Debug)]
pub(super) struct Batch {
    pub(super) in_force: u64,
    pub(super) paths: Vec<PathReport>,
    pub(super) targets: Vec<TargetReport>,
}

impl News {
    /// A session is up or down, or gone; whether that is news.
    pub(super) fn path(&mut self, node: &str, path: &str, up: Option<bool>) -> bool {
        let session = (node.to_owned(), path.to_owned());
        let known = self.sessions.get(&session).copied();
        if known == up {
            return false;
        }
        let is_full = self.sessions.len().max(self.waiting_sessions.len()) >= SESSIONS_MAX;
        if is_full && known.is_none() {
            self.ignored += 1;
            return false;
        }
        match up {
            Some(up) => drop(self.sessions.insert(session.clone(), up)),
            None => drop(self.sessions.remove(&session)),
        }
        self.waiting_sessions.insert(session);
        self.is_news = true;
        true
    }

    /// A target stands otherwise; whether that is news.
    pub(super) fn target(&mut self, target: &str, detail: Detail) -> bool {
        let known = self.targets.get(target).copied();
        if known.unwrap_or(Detail::Unknown) == detail {
            return false;
        }
        let is_full = self.targets.len().max(self.waiting_targets.len()) >= TARGETS_MAX;
        if is_full && known.is_none() {
            self.ignored += 1;
            return false;
        }
        if detail == Detail::Unknown {
            self.targets.remove(target);
        } else {
            self.targets.insert(target.to_owned(), detail);
        }
        self.waiting_targets.insert(target.to_owned());
        self.is_news = true;
        true
    }

    /// Another revision is in force; whether it is another.
    pub(super) fn in_force(&mut self, revision: u64) -> bool {
        let is_other = self.in_force != revision;
        self.in_force = revision;
        self.is_news |= is_other;
        is_other
    }

    /// Forgets what `table` does not know, once there is more than it knows.
    pub(super) fn prune(&mut self, table: &Table) {
        if self.targets.len() > table.count(Kind::Target) {
            self.targets
                .retain(|target, _| table.get::<Target>(target).is_some());
        }
        if self.sessions.len() > SESSIONS_MAX / 2 {
            self.sessions
                .retain(|(_, path), _| table.get::<Path>(path).is_some());
        }
    }

    /// Everything waits to be told.
    pub(super) fn begin(&mut self) {
        self.waiting_sessions = self.sessions.keys().cloned().collect();
        self.waiting_targets = self.targets.keys().cloned().collect();
        self.is_news = true;
    }

    /// At most `items_max` of what waits, sessions first.
    pub(super) fn take(&mut self, items_max: usize) -> Batch {
        let mut batch = Batch {
            in_force: self.in_force,
            ..Batch::default()
        };
        while batch.paths.len() < items_max
            && let Some(session) = self.waiting_sessions.pop_first()
        {
            let up = self.sessions.get(&session).copied();
            let (node, path) = session;
            batch.paths.push(PathReport {
                node,
                path,
                up: up.unwrap_or(false),
                gone: up.is_none(),
            });
        }
        while batch.paths.len() + batch.targets.len() < items_max
            && let Some(target) = self.waiting_targets.pop_first()
        {
            let detail = self.targets.get(&target).copied().unwrap_or_default();
            batch.targets.push(TargetReport {
                target,
                detail: detail.into(),
            });
        }
        self.is_news = !self.waiting_sessions.is_empty() || !self.waiting_targets.is_empty();
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(batch: &Batch) -> Vec<(&str, bool, bool)> {
        let paths = batch.paths.iter();
        let told = paths.map(|it| (it.path.as_str(), it.up, it.gone));
        told.collect()
    }

    fn targets(batch: &Batch) -> Vec<(&str, Detail)> {
        let targets = batch.targets.iter();
        let told = targets.map(|it| (it.target.as_str(), it.detail()));
        told.collect()
    }

    #[test]
    fn what_changes_twice_is_told_once_and_what_stays_is_not_told() {
        let mut news = News::default();
        assert!(news.path("clb-1", "a", Some(true)));
        assert!(news.path("clb-1", "b", Some(true)));
        assert!(news.path("clb-1", "a", Some(false)));
        assert!(!news.path("clb-1", "a", Some(false)));
        let batch = news.take(10);
        assert_eq!(paths(&batch), [("a", false, false), ("b", true, false)]);
        assert!(!news.is_news);
        assert!(news.path("clb-1", "b", None));
        assert_eq!(paths(&news.take(10)), [("b", false, true)]);
    }

    #[test]
    fn a_report_has_a_limit_and_the_rest_follows() {
        let mut news = News::default();
        news.path("clb-1", "a", Some(true));
        for target in ["x", "y", "z"] {
            news.target(target, Detail::Alive);
        }
        news.target("z", Detail::Unknown);
        assert_eq!(targets(&news.take(2)), [("x", Detail::Alive)]);
        assert!(news.is_news);
        let rest = [("y", Detail::Alive), ("z", Detail::Unknown)];
        assert_eq!(targets(&news.take(2)), rest);
        assert!(!news.is_news);
    }

    #[test]
    fn another_controller_is_told_all_that_there_is() {
        let mut news = News::default();
        news.path("clb-1", "a", Some(true));
        news.path("clb-1", "b", Some(true));
        news.target("x", Detail::Dead);
        assert!(news.in_force(7));
        assert!(!news.in_force(7));
        news.take(10);
        news.path("clb-1", "b", None);
        news.begin();
        let batch = news.take(10);
        assert_eq!(batch.in_force, 7);
        assert_eq!(paths(&batch), [("a", true, false)]);
        assert_eq!(targets(&batch), [("x", Detail::Dead)]);
    }

    #[test]
    fn more_sessions_than_there_may_be_are_ignored_and_counted() {
        let mut news = News::default();
        for number in 0..SESSIONS_MAX {
            assert!(news.path("clb-1", &number.to_string(), Some(true)));
        }
        assert!(!news.path("clb-1", "one more", Some(true)));
        assert!(news.path("clb-1", "0", Some(false)), "that one is known");
        assert_eq!(news.ignored, 1);
        assert_eq!(news.sessions.len(), SESSIONS_MAX);
    }

    #[test]
    fn targets_that_the_table_does_not_know_are_forgotten() {
        let mut news = News::default();
        news.target("x", Detail::Alive);
        news.prune(&Table::new());
        news.begin();
        assert_eq!(targets(&news.take(10)), []);
    }
}
