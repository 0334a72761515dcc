//! How a node stands, for its status line and its metrics: its table, its sessions, its VIPs, its targets.
//!
//! The data plane tells of it by a bounded queue and never waits; the thread that reads the queue writes here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyedge_net::event::Health;

/// A node's standing. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing(Arc<Mutex<Known>>);

/// What is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// The newest revision that controllers told.
    pub(super) told: u64,
    /// The revision that the forwarder acts upon, and since when.
    pub(super) in_force: Option<(u64, Instant)>,
    /// Path and peer of each session, and whether it is up.
    pub(super) sessions: BTreeMap<(String, String), bool>,
    /// VIPs that are to be announced.
    pub(super) announced: BTreeSet<String>,
    /// What the node's own checks say of targets.
    pub(super) targets: BTreeMap<String, Health>,
    /// Events that were seen, by name.
    pub(super) events: BTreeMap<&'static str, u64>,
}

impl Standing {
    /// What is known.
    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Controllers told of `revision`.
    pub(super) fn knows(&self, revision: u64) {
        let mut known = self.lock();
        known.told = known.told.max(revision);
    }
}

impl Known {
    /// The forwarder acts upon `revision` from here on.
    pub(super) fn put_in_force(&mut self, revision: u64) {
        self.in_force = Some((revision, Instant::now()));
        self.told = self.told.max(revision);
    }

    /// Sessions that are up.
    pub(super) fn up(&self) -> usize {
        self.sessions.values().filter(|up| **up).count()
    }
}

/// One line for people: `revision 3, 2 of 2 sessions up`.
impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = self.in_force.map_or(0, |(revision, _)| revision);
        let (up, all) = (self.up(), self.sessions.len());
        write!(f, "revision {revision}, {up} of {all} sessions up")?;
        match self.announced.len() {
            0 => Ok(()),
            count => write!(f, ", {count} VIPs announced"),
        }
    }
}
