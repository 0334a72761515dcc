//! What a replica is told at its start: who it is, its timeouts, its limits.

use core::time::Duration;

/// Bytes of one entry unless told otherwise: a backup of all that a command may hold.
const ENTRY_BYTES_MAX: usize = 15 << 20;

/// How a replica behaves. Timeouts are counted in ticks.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its number among the members; not 0.
    pub id: u64,
    /// The unit of all timeouts.
    pub tick: Duration,
    /// A leader is heard every so many ticks.
    pub heartbeat_ticks: usize,
    /// A follower that heard no leader for a drawn number of ticks asks to be elected: from so many on.
    pub election_ticks_min: usize,
    /// And less than so many.
    pub election_ticks_max: usize,
    /// A snapshot that a member has not acknowledged after so many to twice as many is sent again.
    pub snapshot_ticks: u64,
    /// Bytes of entries in one message; one entry always fits.
    pub message_bytes_max: u64,
    /// Messages with entries on their way to one member.
    pub inflight_max: usize,
    /// Bytes of entries that were proposed and are not committed; further proposals are refused.
    pub uncommitted_bytes_max: u64,
    /// Bytes of one entry.
    pub entry_bytes_max: usize,
    /// Bytes of committed entries in one [`Work`](super::Work); one entry always fits.
    pub committed_bytes_max: u64,
    /// Reads of the leader's state that wait for a majority; further ones are refused.
    pub reads_max: usize,
}

impl Config {
    /// Election timeouts drawn from `shortest` to twice that, in 50 ticks; five heartbeats in `shortest`.
    pub fn new(id: u64, shortest: Duration) -> Config {
        Config {
            id,
            tick: shortest / 50,
            heartbeat_ticks: 10,
            election_ticks_min: 50,
            election_ticks_max: 100,
            snapshot_ticks: 500,
            message_bytes_max: 1 << 20,
            inflight_max: 64,
            uncommitted_bytes_max: 64 << 20,
            entry_bytes_max: ENTRY_BYTES_MAX,
            committed_bytes_max: 4 << 20,
            reads_max: 10_000,
        }
    }

    /// The same in the words of the `raft` crate. `applied`: the place that the state machine starts from.
    pub(super) fn of_raft(&self, applied: u64) -> raft::Config {
        raft::Config {
            id: self.id,
            election_tick: self.election_ticks_min,
            heartbeat_tick: self.heartbeat_ticks,
            applied,
            max_size_per_msg: self.message_bytes_max,
            max_inflight_msgs: self.inflight_max,
            check_quorum: true,
            pre_vote: true,
            min_election_tick: self.election_ticks_min,
            max_election_tick: self.election_ticks_max,
            read_only_option: raft::ReadOnlyOption::Safe,
            skip_bcast_commit: false,
            batch_append: true,
            priority: 0,
            max_uncommitted_size: self.uncommitted_bytes_max,
            max_committed_size_per_ready: self.committed_bytes_max,
        }
    }
}
