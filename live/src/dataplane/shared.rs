//! What the workers of one data plane share: its grounds, the forwarder with its accounts, and who is around.
//!
//! A worker reads devices, hands over what it read, and puts on devices what came of it; the forwarder stands behind a lock
//! that is held while it takes a batch and for no system call. So there is one connection table, one store of fragments,
//! one set of probes, whichever worker a packet came by, and nothing of a forwarder knows of workers. A table comes into
//! force between two turns of all workers: who is around does not change between the read of a packet and its end.
//!
//! Locks are taken in the order of a ground, who is around, the forwarder.
//!
//! Invariant, asserted after every batch: no slot is on loan of the shared pool but those that the forwarder holds.

use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use anyedge_net::forwarder::Forwarder;
use anyedge_net::id::NodeId;
use anyedge_net::ledger::Ledger;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::{Packet, Pool};
use anyedge_net::route_table::RouteTable;
use anyedge_net::time::Instant;
use anyedge_pop::advertise::Inbox as Announcements;
use anyhow::{Context, Result};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::Ground;
use super::clock::Clock;
use super::grounds::Grounds;
use super::inbox::Inbox;
use super::onlooker::Onlooker;
use super::peers::Peers;
use super::seat::Seat;
use super::totals::Totals;

/// Packets that a forwarder may hold, and a batch.
const SLOTS_MAX: usize = 4_096;
/// Free slots that stay with the forwarder, for what it makes itself: ordinary and large ones.
const SLOTS_KEPT: (usize, usize) = (32, 2);
/// The longest that a deadline is slept for in one piece.
const SLEEP_MAX: Duration = Duration::from_secs(86_400);
/// A lock is only found broken by who comes behind a panic, which ends the node.
pub(super) const UNBROKEN: &str = "no worker of this data plane panicked";

/// One data plane, seen by its workers.
pub(super) struct Shared<F> {
    pub(super) grounds: Grounds,
    core: Mutex<Core<F>>,
    peers: RwLock<Peers>,
    /// Tables for this data plane.
    pub(super) inbox: Inbox,
    pub(super) totals: Arc<Totals>,
    pub(super) announcements: Announcements,
}

/// The forwarder and what belongs to it.
pub(super) struct Core<F> {
    pub(super) forwarder: F,
    pub(super) ledger: Ledger,
    pub(super) onlooker: Option<Box<dyn Onlooker>>,
    out: Outbox,
    /// Wakes a worker for the forwarder's next deadline, or before.
    timer: TimerFd,
    /// When it does.
    rings_at: Option<Instant>,
}

/// What came of a worker's calls, until it is on its devices, and the slots that it reads into.
pub(super) struct Yield {
    pub(super) sent: Vec<Packet>,
    pub(super) local: Vec<Packet>,
    pub(super) pool: Pool,
}

impl Yield {
    pub(super) fn new() -> Self {
        Self {
            sent: Vec::with_capacity(SLOTS_KEPT.0),
            local: Vec::new(),
            // All that a forwarder may let go at once, beside what was read.
            pool: Pool::new(2 * SLOTS_MAX),
        }
    }
}

impl<F: Forwarder> Shared<F> {
    /// With the seat of the first worker.
    pub(super) fn new(
        forwarder: F,
        peers: Peers,
        grounds: Vec<Ground>,
    ) -> Result<(Self, Arc<Seat>)> {
        let inbox = Inbox::new()?;
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags);
        let timer = timer.context("cannot make a timer for deadlines")?;
        let totals = Totals::default();
        grounds.iter().for_each(|ground| ground.watched_by(&totals));
        let (grounds, first) = Grounds::new(grounds, inbox.bell(), &timer)?;
        let shared = Self {
            grounds,
            core: Mutex::new(Core {
                forwarder,
                ledger: Ledger::default(),
                onlooker: None,
                out: Outbox::new(Pool::new(SLOTS_MAX)),
                timer,
                rings_at: None,
            }),
            peers: RwLock::new(peers),
            inbox,
            totals: Arc::new(totals),
            announcements: Announcements::new(),
        };
        Ok((shared, first))
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core<F>> {
        self.core.lock().expect(UNBROKEN)
    }

    /// Who is around, for one turn.
    pub(super) fn peers(&self) -> RwLockReadGuard<'_, Peers> {
        self.peers.read().expect(UNBROKEN)
    }

    /// The same, to be changed while no worker has a turn.
    pub(super) fn peers_mut(&self) -> RwLockWriteGuard<'_, Peers> {
        self.peers.write().expect(UNBROKEN)
    }

    /// Hands over `batch`; `false`, and nothing done, when the forwarder holds so much that it can take no more.
    pub(super) fn packets(
        &self,
        clock: &impl Clock,
        batch: &mut Vec<Packet>,
        into: &mut Yield,
    ) -> bool {
        let mut core = self.core();
        let Core {
            forwarder,
            ledger,
            out,
            ..
        } = &mut *core;
        if !out.pool_mut().take_over(&mut into.pool, batch.len()) {
            return false;
        }
        // Under the lock, so that no call is earlier than the one before.
        ledger.packets(forwarder, clock.now(), batch, out);
        self.collect(&mut core, into);
        true
    }

    /// The timer rang: from here on it may again.
    pub(super) fn rang(&self) {
        let mut core = self.core();
        // It was put off since, when nothing is there.
        let _ = core.timer.wait();
        core.rings_at = None;
    }

    /// Tells the forwarder that its deadline has come, if it has. Every worker asks this before it sleeps.
    pub(super) fn timeout(&self, clock: &impl Clock, into: &mut Yield) {
        let mut core = self.core();
        let now = clock.now();
        let due = core.forwarder.poll_timeout();
        if due.is_some_and(|due| due.at <= now) {
            let Core {
                forwarder,
                ledger,
                out,
                ..
            } = &mut *core;
            ledger.timeout(forwarder, now, out);
            self.collect(&mut core, into);
        }
        core.plan(now);
    }

    /// Puts a table in force. The caller holds [`Shared::peers_mut`].
    pub(super) fn apply(
        &self,
        clock: &impl Clock,
        (table, own): (&Arc<RouteTable>, NodeId),
        into: &mut Yield,
    ) {
        let mut core = self.core();
        let Core {
            forwarder,
            ledger,
            out,
            onlooker,
            ..
        } = &mut *core;
        ledger.apply(forwarder, clock.now(), Arc::clone(table), out);
        if let Some(onlooker) = onlooker {
            onlooker.in_force(table, own);
        }
        self.collect(&mut core, into);
    }

    /// Takes what came of a call to the worker whose call it was, slots included, and says what happened.
    fn collect(&self, core: &mut Core<F>, into: &mut Yield) {
        let out = &mut core.out;
        let count = out.sent_mut().len() + out.local_mut().len();
        let taken = into.pool.take_over(out.pool_mut(), count);
        assert!(taken, "a worker sends what it has before it takes more");
        into.sent.append(out.sent_mut());
        into.local.append(out.local_mut());
        into.pool.even_out(out.pool_mut(), SLOTS_KEPT);
        for event in out.events_mut().drain(..) {
            self.announcements.tell(&event);
            match &mut core.onlooker {
                Some(onlooker) => onlooker.saw(&event),
                None => tracing::debug!(%event),
            }
        }
        let (loaned, held) = (out.pool().loaned(), core.forwarder.held());
        assert_eq!(
            loaned, held,
            "a packet slot is out that the forwarder does not hold"
        );
        self.totals.publish(&core.ledger);
    }
}

impl<F: Forwarder> Core<F> {
    /// Sets the timer for the forwarder's deadline, unless it rings before that anyway.
    fn plan(&mut self, now: Instant) {
        let due = self.forwarder.poll_timeout().map(|due| due.at);
        let Some(due) = due.filter(|due| self.rings_at.is_none_or(|at| *due < at)) else {
            return;
        };
        // Zero would stop it.
        let sleep = due.since(now).clamp(Duration::from_nanos(1), SLEEP_MAX);
        let once = Expiration::OneShot(TimeSpec::from_duration(sleep));
        let set = self.timer.set(once, TimerSetTimeFlags::empty());
        set.expect("the kernel takes a time of a day at most");
        self.rings_at = Some(due);
    }
}
