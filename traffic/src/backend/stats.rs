//! What became of a backend's connections, and how many requests it saw.
//!
//! Invariant: `accepted = open + ended`, each connection ending once: its [`Seat`] counts the end when it is
//! dropped, also when the host stops in the middle.

use std::sync::{Arc, Mutex, MutexGuard};

/// How an accepted connection ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Ending {
    /// At least one request was answered, and none was left unanswered.
    Answered,
    /// The client closed without a word.
    Silent,
    /// What came is neither a raw exchange nor HTTP/1.1.
    Malformed,
    /// There were too many connections already.
    OverLimit,
    /// No head, or no progress, in time.
    TimedOut,
    /// It broke, or the client left, before the answer was out.
    Broken,
    /// The host stopped.
    Stopped,
}

impl Ending {
    /// Every ending, in the order in which reports name them.
    pub const ALL: [Ending; 7] = [
        Ending::Answered,
        Ending::Silent,
        Ending::Malformed,
        Ending::OverLimit,
        Ending::TimedOut,
        Ending::Broken,
        Ending::Stopped,
    ];

    /// The name in reports, such as `over_limit`.
    pub const fn name(self) -> &'static str {
        match self {
            Ending::Answered => "answered",
            Ending::Silent => "silent",
            Ending::Malformed => "malformed",
            Ending::OverLimit => "over_limit",
            Ending::TimedOut => "timed_out",
            Ending::Broken => "broken",
            Ending::Stopped => "stopped",
        }
    }
}

/// Counts of a backend.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct BackendStats {
    accepted: u64,
    ended: [u64; Ending::ALL.len()],
    exchanges: u64,
    long_flows: u64,
    http_requests: u64,
    ticks: u64,
    accept_errors: u64,
    echo_errors: u64,
}

impl BackendStats {
    /// Connections accepted.
    pub const fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Connections that ended so.
    pub const fn ended(&self, ending: Ending) -> u64 {
        self.ended[ending as usize]
    }

    /// Connections being served.
    pub fn open(&self) -> u64 {
        self.accepted - self.ended.iter().sum::<u64>()
    }

    /// Raw exchanges asked for, complete requests only.
    pub const fn exchanges(&self) -> u64 {
        self.exchanges
    }

    /// Long flows asked for.
    pub const fn long_flows(&self) -> u64 {
        self.long_flows
    }

    /// HTTP requests, whatever the status.
    pub const fn http_requests(&self) -> u64 {
        self.http_requests
    }

    /// Datagrams echoed.
    pub const fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Times that `accept` failed.
    pub const fn accept_errors(&self) -> u64 {
        self.accept_errors
    }

    /// Times that receiving or echoing a datagram failed.
    pub const fn echo_errors(&self) -> u64 {
        self.echo_errors
    }

    pub(super) const fn on_exchange(&mut self) {
        self.exchanges += 1;
    }

    pub(super) const fn on_long_flow(&mut self) {
        self.long_flows += 1;
    }

    pub(super) const fn on_http_request(&mut self) {
        self.http_requests += 1;
    }

    pub(super) const fn on_tick(&mut self) {
        self.ticks += 1;
    }

    pub(super) const fn on_accept_error(&mut self) {
        self.accept_errors += 1;
    }

    pub(super) const fn on_echo_error(&mut self) {
        self.echo_errors += 1;
    }
}

/// Counts of a backend, shared by its tasks.
#[derive(Clone, Default)]
pub struct SharedBackendStats(Arc<Mutex<BackendStats>>);

impl SharedBackendStats {
    /// The counts as they are.
    pub fn snapshot(&self) -> BackendStats {
        self.lock().clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BackendStats> {
        self.0
            .lock()
            .expect("no holder of the counts panics, except when a run is void")
    }
}

/// An accepted connection's place among those that are served.
pub(super) struct Seat {
    stats: SharedBackendStats,
    ending: Ending,
}

impl Seat {
    /// Counts a connection; gives it a seat unless `connections_max` are taken.
    pub(super) fn take(stats: &SharedBackendStats, connections_max: usize) -> Option<Seat> {
        let mut counts = stats.lock();
        let free = counts.open() < connections_max as u64;
        counts.accepted += 1;
        if !free {
            counts.ended[Ending::OverLimit as usize] += 1;
            return None;
        }
        drop(counts);
        Some(Seat {
            stats: stats.clone(),
            ending: Ending::Stopped,
        })
    }

    /// The connection has ended.
    pub(super) fn leave(mut self, ending: Ending) {
        self.ending = ending;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.stats.lock().ended[self.ending as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_free_again_however_it_is_left() {
        let stats = SharedBackendStats::default();
        let first = Seat::take(&stats, 2);
        let second = Seat::take(&stats, 2);
        assert!(Seat::take(&stats, 2).is_none());
        first.expect("there was room").leave(Ending::Answered);
        drop(second);
        assert!(Seat::take(&stats, 2).is_some());
        let stats = stats.lock();
        let ended = Ending::ALL.map(|ending| stats.ended(ending));
        assert_eq!(
            (stats.accepted(), stats.open(), ended),
            (4, 0, [1, 0, 0, 1, 0, 0, 2])
        );
    }

    #[test]
    fn every_ending_stands_at_its_own_place() {
        for (place, ending) in Ending::ALL.into_iter().enumerate() {
            assert_eq!(ending as usize, place, "{}", ending.name());
        }
    }
}
