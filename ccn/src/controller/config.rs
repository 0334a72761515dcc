//! What a controller is told at its start: who it is, where the others are, its limits.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::commits::OnCommit;
use crate::raft;
use crate::rpc::{ClientSecurity, Limits};

/// A connection to another member is given up no earlier. TCP repeats a lost segment after 1 s, and then after 2 s more: a
/// connection that is cut before that is made anew, with all its round trips, at every loss that no acknowledgement shows.
/// Elections do not wait for it: they go by what is heard, not by connections.
const PING_WAIT_MIN: Duration = Duration::from_millis(3_500);

/// How a controller behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its number, its timeouts and the limits of its log.
    pub raft: raft::Config,
    /// Where members are, as far as it is told. What the group itself keeps of addresses comes before it.
    pub peers: BTreeMap<u64, SocketAddr>,
    /// A log that does not exist yet begins with all of `peers` as voters, which all of them must be told alike;
    /// otherwise this member joins a group that exists, and hears everything from its leader.
    pub is_founder: bool,
    /// Members that were heard in an earlier life, see [`remembered_by`](super::remembered_by).
    pub heard: BTreeSet<u64>,
    /// A snapshot of the state machine that founders begin with, the same for all of them; empty: nothing.
    pub founding: Bytes,
    /// How it calls the others.
    pub security: ClientSecurity,
    /// Of its connections to the others.
    pub limits: Limits,
    /// Inputs that wait for the engine; who brings another waits.
    pub inputs_max: usize,
    /// Proposals and reads that wait for an answer; one more is [`Busy`](super::Failure::Busy).
    pub waiting_max: usize,
    /// Messages that wait for one member; one more is lost.
    pub messages_max: usize,
    /// Entries that stay in the log behind a snapshot, for members that are slow.
    pub entries_kept: u64,
    /// A snapshot is taken when the log has twice as many entries, or entries of so many bytes.
    pub log_bytes_max: u64,
    /// Bytes of a snapshot that a leader may send.
    pub snapshot_bytes_max: usize,
    /// How long a snapshot may be on its way.
    pub snapshot_time_max: Duration,
    /// Deltas that are kept for those who follow.
    pub deltas_max: usize,
    /// Those who may follow at one time; one more is refused.
    pub watchers_max: usize,
    /// After a write that a full disk refused, until it is tried again.
    pub disk_retry: Duration,
    /// Is told of every command that was proposed here and came through.
    pub on_commit: Option<OnCommit>,
}

impl Config {
    /// A founder among `peers`, itself included, that waits `shortest` to twice that for a leader.
    pub fn new(id: u64, peers: BTreeMap<u64, SocketAddr>, shortest: Duration) -> Config {
        let limits = Limits {
            handshake_max: shortest * 4,
            ping_every: shortest * 2,
            ping_wait: (shortest * 4).max(PING_WAIT_MIN),
            stalled_max: (shortest * 8).max(2 * PING_WAIT_MIN),
            retry_max: shortest,
            ..Limits::default()
        };
        Config {
            raft: raft::Config::new(id, shortest),
            peers,
            is_founder: true,
            heard: BTreeSet::new(),
            founding: Bytes::new(),
            security: ClientSecurity::Plain,
            limits,
            inputs_max: 1_024,
            waiting_max: 16_384,
            messages_max: 1_024,
            entries_kept: 50_000,
            log_bytes_max: 64 << 20,
            snapshot_bytes_max: 1 << 30,
            snapshot_time_max: Duration::from_secs(60),
            deltas_max: 10_000,
            watchers_max: 4_096,
            disk_retry: shortest,
            on_commit: None,
        }
    }

    /// How long followers wait for a leader at least.
    pub(super) fn shortest(&self) -> Duration {
        self.raft.tick * self.raft.election_ticks_min as u32
    }

    /// Its own number.
    pub const fn id(&self) -> u64 {
        self.raft.id
    }
}
