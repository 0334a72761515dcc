//! A data plane's running totals, published for other threads to read: status lines, reports, tests.
//!
//! Two kinds of loss are told apart: packets that the forwarder dropped, and packets that it sent but a device did not
//! take, or that it never saw since the kernel had no room for them until they were read. Their reasons come from the same
//! list, so together they explain every packet that did not come out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyedge_net::drop_reason::DropReason;
use anyedge_net::ledger::Ledger;

use super::streams::Refused;
use crate::host::LiveHost;
use crate::overruns::Overruns;

const REASONS: usize = DropReason::ALL.len();

/// Counts since the data plane was made. Each is exact; two read one after the other may be a batch apart.
#[derive(Debug)]
pub struct Totals {
    received: AtomicU64,
    originated: AtomicU64,
    transmitted: AtomicU64,
    delivered: AtomicU64,
    dropped: [AtomicU64; REASONS],
    refused: [AtomicU64; REASONS],
    callers_refused: Mutex<BTreeMap<Refused, u64>>,
    overruns: Overruns,
    /// At the sockets of services.
    beside: Mutex<Vec<Arc<Overruns>>>,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            received: AtomicU64::new(0),
            originated: AtomicU64::new(0),
            transmitted: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            dropped: [const { AtomicU64::new(0) }; REASONS],
            refused: [const { AtomicU64::new(0) }; REASONS],
            callers_refused: Mutex::default(),
            overruns: Overruns::default(),
            beside: Mutex::default(),
        }
    }
}

impl Totals {
    /// Packets that arrived.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Packets that the forwarder sent by a port, also those that the device then refused.
    pub fn transmitted(&self) -> u64 {
        self.transmitted.load(Ordering::Relaxed)
    }

    /// Packets that the forwarder dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize].load(Ordering::Relaxed)
    }

    /// Packets that a device did not take for `reason`, after the forwarder had sent them; of `SocketFull` and `QueueFull`
    /// also those that came and that a socket or the TUN device had no room for.
    pub fn refused(&self, reason: DropReason) -> u64 {
        let overrun = match reason {
            DropReason::SocketFull => self.lost_at_sockets(),
            DropReason::QueueFull => self.overruns.at_devices(),
            _ => 0,
        };
        overrun + self.refused[reason as usize].load(Ordering::Relaxed)
    }

    /// What the sockets of that host's services have no room for counts, too.
    pub fn with_sockets_of(&self, host: &LiveHost) {
        let beside = self.beside.lock();
        let mut beside = beside.unwrap_or_else(PoisonError::into_inner);
        beside.push(Arc::clone(host.overruns()));
    }

    fn lost_at_sockets(&self) -> u64 {
        let beside = self.beside.lock();
        let beside = beside.unwrap_or_else(PoisonError::into_inner);
        let beside: u64 = beside.iter().map(|own| own.at_sockets()).sum();
        self.overruns.at_sockets() + beside
    }

    /// What the kernel has no room for at the data plane's own devices.
    pub(super) const fn overruns(&self) -> &Overruns {
        &self.overruns
    }

    /// Callers at the doors of streams that were not let in, or broken off with: by door and cause.
    pub fn callers_refused(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        let all = self.callers_refused.lock();
        all.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_callers_refused(&self, all: BTreeMap<Refused, u64>) {
        let shown = self.callers_refused.lock();
        *shown.unwrap_or_else(PoisonError::into_inner) = all;
    }

    /// Packets received, made here, transmitted and delivered to the own host.
    pub fn flow(&self) -> [u64; 4] {
        let all = [
            &self.received,
            &self.originated,
            &self.transmitted,
            &self.delivered,
        ];
        all.map(|counter| counter.load(Ordering::Relaxed))
    }

    pub(super) fn count_drop(&self, reason: DropReason) {
        self.count_drops(reason, 1);
    }

    pub(super) fn count_drops(&self, reason: DropReason, packets: u64) {
        self.refused[reason as usize].fetch_add(packets, Ordering::Relaxed);
    }

    /// Of queues that count by themselves.
    pub(super) fn set_refused(&self, reason: DropReason, packets: u64) {
        self.refused[reason as usize].store(packets, Ordering::Relaxed);
    }

    pub(super) fn publish(&self, ledger: &Ledger) {
        self.received.store(ledger.received, Ordering::Relaxed);
        self.originated.store(ledger.originated, Ordering::Relaxed);
        self.transmitted
            .store(ledger.transmitted, Ordering::Relaxed);
        self.delivered.store(ledger.delivered, Ordering::Relaxed);
        for (shown, reason) in self.dropped.iter().zip(DropReason::ALL) {
            shown.store(ledger.dropped.of(*reason), Ordering::Relaxed);
        }
    }
}

/// One line for people: `12 in, 10 out, 1 made, 1 NotVip`.
impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        write!(f, "{} in, {} out", self.received(), self.transmitted())?;
        for (counter, what) in [(&self.delivered, "to its host"), (&self.originated, "made")] {
            if count(counter) > 0 {
                write!(f, ", {} {what}", count(counter))?;
            }
        }
        for reason in DropReason::ALL {
            let lost = self.dropped(*reason) + self.refused(*reason);
            if lost > 0 {
                write!(f, ", {lost} {}", reason.name())?;
            }
        }
        Ok(())
    }
}
