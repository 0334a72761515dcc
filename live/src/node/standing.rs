//! How a node stands, for its status line and its metrics: its table, its sessions, its VIPs, its targets.
//!
//! The data plane tells of it by a bounded queue and never waits; the thread that reads the queue writes here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyedge_ccn::table::Table;
use anyedge_ccn::table::membership::Membership;
use anyedge_ccn::table::object::ClbNode;
use anyedge_net::event::Health;

/// A full table of flows is told within half of this to a node that is back.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// A path and the full name of the node at its far end.
pub(super) type Session = (String, String);

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
    pub(super) sessions: BTreeMap<Session, bool>,
    /// Sessions that were up and fell, and since when they are up again.
    fell: BTreeMap<Session, Option<Instant>>,
    /// CLB nodes that the newest table has without slots: they were lost, or are not there.
    away: BTreeMap<String, Membership>,
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

    /// `table` is the newest that the node knows.
    pub(super) fn knows(&self, table: &Table) {
        let away = table.all::<ClbNode>().filter_map(|node| {
            let is_away = matches!(node.membership, Membership::Lost | Membership::Absent);
            is_away.then(|| (node.name.clone(), node.membership))
        });
        let mut known = self.lock();
        known.told = known.told.max(table.revision());
        known.away = away.collect();
    }
}

impl Known {
    /// The forwarder acts upon `revision` from here on.
    pub(super) fn put_in_force(&mut self, revision: u64) {
        self.in_force = Some((revision, Instant::now()));
        self.told = self.told.max(revision);
    }

    /// Notes that a session came up or fell.
    pub(super) fn set_session(&mut self, session: Session, up: bool) {
        let was_up = self.sessions.insert(session.clone(), up) == Some(true);
        if up && let Some(fallen) = self.fell.get_mut(&session) {
            *fallen = Some(Instant::now());
        } else if was_up && !up {
            self.fell.insert(session, None);
        }
    }

    /// The node has the sessions of `table`, and no others.
    pub(super) fn has_sessions(&mut self, sessions: &BTreeSet<Session>) {
        self.fell.retain(|session, _| sessions.contains(session));
        self.sessions
            .retain(|session, _| sessions.contains(session));
        for session in sessions {
            self.sessions.entry(session.clone()).or_insert(false);
        }
    }

    /// What the CLB node `own` waits for before another of its region may be lost without a flow: the table has to
    /// have it, its peers have to be there, and who was away has to know the flows again.
    pub(super) fn waits_for(&self, own: &str) -> Option<String> {
        if self.away.get(own) == Some(&Membership::Lost) {
            return Some("slots: the table has it as lost".to_owned());
        }
        let region = own.rsplit_once('.').map_or(own, |(region, _)| region);
        let mut fell = self.fell.iter();
        let is_told = |since: &Option<Instant>| since.is_some_and(|at| at.elapsed() > TOLD_WITHIN);
        let behind = fell.find(|((path, peer), since)| {
            path == region && !self.away.contains_key(peer) && !is_told(since)
        });
        let ((_, peer), since) = behind?;
        Some(match since {
            Some(_) => format!("{peer} to be told its flows"),
            None => format!("{peer} to answer"),
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "region.guangzhou.clb-1";
    const PEER: &str = "region.guangzhou.clb-2";

    fn session(path: &str, peer: &str) -> Session {
        (path.to_owned(), peer.to_owned())
    }

    #[test]
    fn a_clb_node_waits_for_a_peer_that_fell_until_it_was_told_its_flows() {
        let mut known = Known::default();
        let mesh = session("region.guangzhou", PEER);
        let sessions = BTreeSet::from([mesh.clone(), session("tokyo-guangzhou", "pop.tokyo")]);
        known.has_sessions(&sessions);
        // At the beginning nobody holds a flow.
        known.set_session(mesh.clone(), false);
        known.set_session(mesh.clone(), true);
        assert_eq!(known.waits_for(OWN), None);
        known.set_session(mesh.clone(), false);
        assert_eq!(known.waits_for(OWN), Some(format!("{PEER} to answer")));
        known.set_session(mesh.clone(), true);
        let told = Some(format!("{PEER} to be told its flows"));
        assert_eq!(known.waits_for(OWN), told);
        let long_ago = Instant::now().checked_sub(TOLD_WITHIN * 2);
        known.fell.insert(mesh.clone(), long_ago);
        assert_eq!(known.waits_for(OWN), None);
        known.fell.insert(mesh, None);
        known.has_sessions(&BTreeSet::new());
        assert_eq!(known.waits_for(OWN), None, "the table has no such peer");
    }

    #[test]
    fn a_clb_node_waits_for_its_slots_and_not_for_one_that_has_none() {
        let mut known = Known::default();
        let mesh = session("region.guangzhou", PEER);
        known.set_session(mesh.clone(), true);
        known.set_session(mesh, false);
        known.away.insert(PEER.to_owned(), Membership::Lost);
        assert_eq!(known.waits_for(OWN), None);
        assert!(known.waits_for(PEER).is_some());
        known.away.insert(PEER.to_owned(), Membership::Absent);
        assert_eq!((known.waits_for(OWN), known.waits_for(PEER)), (None, None));
    }

    #[test]
    fn a_pop_or_a_path_of_another_kind_is_waited_for_by_nobody() {
        let mut known = Known::default();
        let link = session("tokyo-guangzhou", "pop.tokyo");
        known.set_session(link.clone(), true);
        known.set_session(link, false);
        assert_eq!(known.waits_for(OWN), None);
        assert_eq!(known.waits_for("pop.tokyo"), None);
    }
}
