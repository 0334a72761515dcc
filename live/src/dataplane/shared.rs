//! What the workers of one data plane share: the forwarder with its accounts, and who is around.
//!
//! A worker reads devices, hands over what it read, and puts on devices what came of it; the forwarder stands behind a lock
//! that is held while it takes a batch and for no system call. So there is one connection table, one store of fragments,
//! one set of probes, whichever worker a packet came by, and nothing of a forwarder knows of workers. A table comes into
//! force between two turns of all workers: who is around does not change between the read of a packet and its end.
//!
//! Invariant, asserted after every batch: no slot is on loan of the shared pool but those that the forwarder holds.

use std::sync::atomic::{AtomicUsize, Ordering};
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

use super::clock::Clock;
use super::inbox::Inbox;
use super::moving::Moving;
use super::onlooker::Onlooker;
use super::peers::Peers;
use super::totals::Totals;

/// Packets that a forwarder may hold, and a batch.
const SLOTS_MAX: usize = 4_096;
/// Free slots that stay with the forwarder, for what it makes itself: ordinary and large ones.
const SLOTS_KEPT: (usize, usize) = (32, 2);
/// A lock is only found broken by who comes behind a panic, which ends the node.
const UNBROKEN: &str = "no worker of this data plane panicked";

/// One data plane, seen by its workers.
pub(super) struct Shared<F> {
    core: Mutex<Core<F>>,
    peers: RwLock<Peers>,
    pub(super) moving: Moving,
    /// How many workers there are.
    workers: AtomicUsize,
    pub(super) totals: Arc<Totals>,
    pub(super) announcements: Announcements,
}

/// The forwarder and what belongs to it.
pub(super) struct Core<F> {
    pub(super) forwarder: F,
    pub(super) ledger: Ledger,
    pub(super) onlooker: Option<Box<dyn Onlooker>>,
    out: Outbox,
    /// Until when the first worker sleeps, which keeps the deadlines; `None` while it is awake, or for ever.
    sleep_ends: Option<Instant>,
    /// What wakes it.
    bell: Inbox,
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
    pub(super) fn new(forwarder: F, peers: Peers, bell: Inbox) -> Self {
        Self {
            core: Mutex::new(Core {
                forwarder,
                ledger: Ledger::default(),
                onlooker: None,
                out: Outbox::new(Pool::new(SLOTS_MAX)),
                sleep_ends: None,
                bell,
            }),
            peers: RwLock::new(peers),
            moving: Moving::default(),
            workers: AtomicUsize::new(0),
            totals: Arc::new(Totals::default()),
            announcements: Announcements::new(),
        }
    }

    /// The number of one more worker, from 0 on.
    pub(super) fn enrol(&self) -> usize {
        self.workers.fetch_add(1, Ordering::Relaxed)
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

    /// How long the first worker may sleep, `longest` at most. From here on a deadline that comes up before wakes it.
    pub(super) fn sleep(&self, clock: &impl Clock, longest: Duration) -> Duration {
        let mut core = self.core();
        let now = clock.now();
        let due = core.forwarder.poll_timeout().map(|due| due.at);
        let end = due.map_or(now + longest, |due| due.min(now + longest));
        core.sleep_ends = Some(end);
        end.since(now)
    }

    /// Tells the forwarder that its deadline has come, if it has. The first worker asks this whenever it is awake.
    pub(super) fn timeout(&self, clock: &impl Clock, into: &mut Yield) {
        let mut core = self.core();
        let now = clock.now();
        core.sleep_ends = None;
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
        let due = core.forwarder.poll_timeout().map(|due| due.at);
        if let (Some(due), Some(end)) = (due, core.sleep_ends)
            && due < end
        {
            core.sleep_ends = None;
            core.bell.ring();
        }
        let (loaned, held) = (out.pool().loaned(), core.forwarder.held());
        assert_eq!(
            loaned, held,
            "a packet slot is out that the forwarder does not hold"
        );
        self.totals.publish(&core.ledger);
    }
}
