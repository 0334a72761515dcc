//! What a controller tells of itself.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use anyedge_proto::raft::Members;

use super::input::Leader;
use crate::raft::Role;

/// How a member stands and fares.
#[derive(Clone, PartialEq, Debug)]
pub struct Status {
    /// Its number.
    pub id: u64,
    /// What it is.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// Who leads that term, as far as it knows.
    pub leader: Option<Leader>,
    /// The place up to which a majority has the log, as far as it knows.
    pub committed: u64,
    /// The place that its state machine has come to.
    pub applied: u64,
    /// Who votes and who listens.
    pub members: Members,
    /// Where members are, as far as it knows.
    pub addresses: BTreeMap<u64, SocketAddr>,
    /// Elections that it heard the end of: terms with a leader.
    pub elections: u64,
    /// Of the commands that were proposed to it.
    pub commit_latency: CommitLatency,
    /// Members that it has ever heard.
    pub heard: BTreeSet<u64>,
    /// Syncs of its log.
    pub syncs: u64,
    /// How its disk does.
    pub disk: Disk,
    /// Snapshots of its state machine.
    pub snapshots: Snapshots,
    /// Messages that no correct member sends.
    pub refused_messages: u64,
    /// It has stopped, and why; the process has to start anew.
    pub stopped: Option<String>,
}

/// How a member's disk does.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Disk {
    /// It writes.
    #[default]
    Well,
    /// A write takes as long as followers wait for a leader, or longer.
    Slow,
    /// It takes nothing, as one that is full, and is tried again; nothing is acknowledged meanwhile.
    Refuses(String),
}

/// Snapshots of a member's state machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Snapshots {
    /// It made so many, to cut its log.
    pub made: u64,
    /// It was sent so many.
    pub received: u64,
    /// The place of the last one.
    pub index: u64,
    /// Its bytes.
    pub bytes: usize,
}

/// From a proposal to its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CommitLatency {
    /// Commands.
    pub count: u64,
    /// All of them together.
    pub sum: Duration,
    /// The slowest.
    pub max: Duration,
}

impl Status {
    /// Of a member that has just begun.
    pub(super) fn of(id: u64) -> Status {
        Status {
            id,
            role: Role::Follower,
            term: 0,
            leader: None,
            committed: 0,
            applied: 0,
            members: Members::default(),
            addresses: BTreeMap::new(),
            elections: 0,
            commit_latency: CommitLatency::default(),
            heard: BTreeSet::new(),
            syncs: 0,
            disk: Disk::Well,
            snapshots: Snapshots::default(),
            refused_messages: 0,
            stopped: None,
        }
    }
}

impl CommitLatency {
    pub(super) fn add(&mut self, latency: Duration) {
        self.count += 1;
        self.sum = self.sum.saturating_add(latency);
        self.max = self.max.max(latency);
    }
}
