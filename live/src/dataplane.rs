//! The live driver of a forwarder: TUN device and tunnel mouth, batches of up to 32, one worker or several.
//!
//! A worker is a thread that has some of the `grounds`. It does what the simulator's driver
//! does, in the order that [`Forwarder`] asks for: packets in, outbox drained, deadlines kept; the forwarder is `shared`. Packets live in slots of a pool from
//! the read to the write, without an allocation for each. The forwarder writes from the GRE header inwards; outer IP and UDP
//! are the kernel's ([`mouth::Mouth`], [`raw_gre::RawGre`]). Super-packets pass whole ([`gather`] makes them of trains);
//! nothing waits for more: what is there goes through, then it sleeps.
//!
//! Invariant, asserted after every batch: the conservation law, and no slot out but those the forwarder holds.

pub mod clock;
mod delivery;
pub mod gather;
mod grounds;
pub mod inbox;
mod intake;
pub mod mouth;
pub mod moving;
pub mod onlooker;
pub mod peers;
pub mod pieces;
pub mod raw_gre;
mod seat;
mod shared;
pub mod streams;
pub mod totals;

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::forwarder::{BATCH_MAX, Forwarder};
use anyedge_net::id::NodeId;
use anyedge_net::ledger::Ledger;
use anyedge_net::packet::{HEADROOM, LARGE_SLOT, Meta, Packet};
use anyedge_net::port::PortId;
use anyedge_net::route_table::RouteTable;
use anyedge_net::time::Instant;
use anyedge_pop::advertise::Inbox as Announcements;
use anyhow::{Result, ensure};

use self::clock::Clock;
use self::gather::Gather;
use self::inbox::{Delivery, Inbox};
use self::mouth::{Mouth, Trains};
use self::onlooker::Onlooker;
use self::peers::Peers;
use self::raw_gre::RawGre;
use self::seat::{Lookout, Seat, Source, Wake};
use self::shared::{Core, Shared, Yield};
use self::streams::Streams;
use self::totals::Totals;
use crate::tun::Tun;

/// Packets taken from one source before the others get their turn.
const BURST_MAX: usize = 8 * BATCH_MAX;
/// Bytes taken from one source before the others get their turn: behind more than a few super-packets, the
/// acknowledgements that bring the next ones would wait.
const BURST_BYTES: usize = 262_144;
/// Bytes after which a batch is handed over, so that they are still in the cache.
const BATCH_BYTES: usize = 49_152;
/// For so long a worker stays with what it woke for while that brings packets, before it looks what else there is: to read a
/// source once more in vain costs less than a look at all devices.
const STAYS: Duration = Duration::from_micros(100);
/// A worker gives a ground away once in so long at most: what comes of it shows before the next.
const GIVE_EVERY: Duration = Duration::from_millis(10);
/// How often a thread that waits looks whether it shall stop.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// What a worker stands on in its turn: a share of the devices.
#[derive(Debug)]
pub struct Ground {
    /// The device behind `tun_port`, or its own queue of it; a CLB node does without.
    pub tun: Option<Tun>,
    /// Which of the forwarder's ports the device is.
    pub tun_port: PortId,
    /// The tunnel sockets.
    pub mouth: Mouth,
    /// The sockets of tunnels that are plain GRE.
    pub raw_gre: Option<RawGre>,
    /// The tunnels that are gRPC streams.
    pub streams: Option<Streams>,
    /// The largest packet that may arrive, in bytes, outer headers not counted.
    pub packet_bytes_max: usize,
}

/// A forwarder at work on real devices: one of its workers.
pub struct Dataplane<F, C> {
    shared: Arc<Shared<F>>,
    clock: C,
    batch: Vec<Packet>,
    /// How many of the batch have been weighed, and their bytes.
    weighed: (usize, usize),
    into: Yield,
    gather: Gather,
    trains: Trains,
    /// Bytes handed over since a source got its turn.
    burst_bytes: usize,
    /// Where segments are made for devices that know no offload.
    scratch: Box<[u8]>,
    lookout: Lookout,
    /// What it woke for.
    ready: Vec<Wake>,
    /// It gives no ground away before.
    gives_from: Instant,
}

impl<F: Forwarder, C: Clock> Dataplane<F, C> {
    /// A data plane of the node `own`, with `table` in force, on `grounds`. Plain GRE and streams are not shared, since a
    /// forwarder's packets leave by the ground that brought their cause.
    ///
    /// # Errors
    /// When there is no ground or one without a device, tunnels are shared that cannot be, or the kernel gives nothing to
    /// wait on.
    pub fn new(
        forwarder: F,
        clock: C,
        grounds: Vec<Ground>,
        table: Arc<RouteTable>,
        own: NodeId,
    ) -> Result<Self> {
        let any_alone = |ground: &Ground| ground.raw_gre.is_some() || ground.streams.is_some();
        ensure!(
            grounds.len() == 1 || !grounds.iter().any(any_alone),
            "tunnels in plain GRE and streams are for one ground"
        );
        ensure!(
            !grounds.is_empty() && grounds.iter().all(Ground::has_device),
            "a data plane needs a TUN device, a tunnel address or streams"
        );
        for ground in &grounds {
            let most = ground.packet_bytes_max;
            ensure!(most <= LARGE_SLOT - HEADROOM, "no packet has {most} bytes");
        }
        let peers = Peers::new(Arc::clone(&table), own);
        let (shared, seat) = Shared::new(forwarder, peers, grounds)?;
        let mut first = Self::worker(Arc::new(shared), seat, clock);
        first.apply(table, own)?;
        Ok(first)
    }

    /// Another worker of the same data plane.
    ///
    /// # Errors
    /// When the kernel gives nothing to wait on.
    pub fn beside(&self) -> Result<Self>
    where
        C: Clone,
    {
        let seat = self.shared.grounds.enrol()?;
        let shared = Arc::clone(&self.shared);
        Ok(Self::worker(shared, seat, self.clock.clone()))
    }

    /// From here on this worker looks again for up to `time` before it sleeps, as long as nobody else wants the processor. At
    /// first it sleeps at once.
    pub fn busy_poll(&mut self, time: Duration) {
        self.lookout.busy_poll(time);
    }

    fn worker(shared: Arc<Shared<F>>, seat: Arc<Seat>, clock: C) -> Self {
        Self {
            shared,
            clock,
            batch: Vec::with_capacity(BATCH_MAX),
            weighed: (0, 0),
            into: Yield::new(),
            gather: Gather::default(),
            trains: Trains::new(),
            burst_bytes: 0,
            scratch: vec![0; LARGE_SLOT].into_boxed_slice(),
            lookout: Lookout::new(seat),
            ready: Vec::new(),
            gives_from: Instant::ZERO,
        }
    }

    /// Puts another revision in force, in which this node has the id `own`, between two turns of all workers. Packets wait
    /// meanwhile: what it costs is what a revision delays them.
    ///
    /// # Errors
    /// When a stream that it adds cannot be answered, with all else in force; or a device fails.
    pub fn apply(&mut self, table: Arc<RouteTable>, own: NodeId) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        // Streams are on the first ground, if there are any.
        let ground = &mut shared.grounds.take(0).ground;
        let mut peers = shared.peers_mut();
        let streams = ground.streams.as_mut();
        let followed = streams.map_or(Ok(()), |streams| streams.follow(&table, own));
        peers.renew(Arc::clone(&table), own);
        shared.apply(&self.clock, (&table, own), &mut self.into);
        self.deliver_all(ground, &peers)?;
        followed
    }

    /// Where other threads leave tables that this node shall act upon.
    pub fn inbox(&self) -> Inbox {
        self.shared.inbox.clone()
    }

    /// What the forwarder wants announced, from the beginning on, and that it lives.
    pub fn announcements(&self) -> Announcements {
        self.shared.announcements.clone()
    }

    /// From here on `onlooker` is told what becomes of the forwarder.
    pub fn watched_by(&mut self, onlooker: Box<dyn Onlooker>) {
        self.shared.core().onlooker = Some(onlooker);
    }

    /// The running totals of all workers, readable from any thread.
    pub fn totals(&self) -> Arc<Totals> {
        Arc::clone(&self.shared.totals)
    }

    /// The forwarder, for tests. No worker hands it packets meanwhile.
    pub fn forwarder(&self) -> impl Deref<Target = F> {
        Borrowed(self.shared.core())
    }

    /// What `look` finds of the ends of its streams, if it has any.
    pub fn streams<T>(&self, look: impl FnOnce(&Streams) -> T) -> Option<T> {
        let first = self.shared.grounds.take(0);
        first.ground.streams.as_ref().map(look)
    }

    /// The accounts of the forwarder's packets.
    pub fn ledger(&self) -> Ledger {
        self.shared.core().ledger.clone()
    }

    /// Works until `stop` is set, which is noticed within 100 ms.
    pub fn run_until(&mut self, stop: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            self.poll_once(STOP_LOOK)?;
        }
        Ok(())
    }

    /// Waits for at most `wait`, in whole milliseconds, until a packet arrives or a deadline comes, then takes what there is,
    /// and for 0.1 ms at most what comes meanwhile by the same devices.
    /// Returns how many packets it took. The first worker is the one that a deadline or a table wakes.
    pub fn poll_once(&mut self, wait: Duration) -> Result<usize> {
        let shared = Arc::clone(&self.shared);
        let now = self.clock.now();
        let mut ready = std::mem::take(&mut self.ready);
        self.lookout.wait(wait, now, &mut ready)?;
        self.share_out(&mut ready, now);
        let until = now + STAYS;
        let mut taken = 0;
        while !ready.is_empty() {
            taken += self.take_turns(&mut ready)?;
            if self.clock.now() >= until {
                break;
            }
        }
        self.ready = ready;
        shared.announcements.live(self.clock.now());
        shared.timeout(&self.clock, &mut self.into);
        if !self.into.is_empty() {
            let ground = &mut shared.grounds.take_any().ground;
            self.deliver_all(ground, &shared.peers())?;
        }
        Ok(taken)
    }

    /// Gives each of `ready` its turn, and keeps those that had packets; how many they were.
    fn take_turns(&mut self, ready: &mut Vec<Wake>) -> Result<usize> {
        let (mut taken, mut kept) = (0, 0);
        for index in 0..ready.len() {
            let wake = ready[index];
            let count = self.take_turn(wake)?;
            taken += count;
            if count > 0 {
                ready[kept] = wake;
                kept += 1;
            }
        }
        ready.truncate(kept);
        Ok(taken)
    }

    /// Does what it woke for; how many packets that was.
    fn take_turn(&mut self, wake: Wake) -> Result<usize> {
        let shared = Arc::clone(&self.shared);
        match wake {
            Wake::Tables => self.take_table(),
            Wake::Timer => shared.rang(),
            Wake::Device(number, source) => {
                let ground = &mut shared.grounds.take(number).ground;
                return self.take_from(source, ground);
            }
        }
        Ok(0)
    }

    /// Hands the forwarder packets that came by other means than its devices, each with its port in `meta`.
    pub fn inject(&mut self, packets: &[(&[u8], Meta)]) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let ground = &mut shared.grounds.take_any().ground;
        let peers = shared.peers();
        for chunk in packets.chunks(BATCH_MAX) {
            for (bytes, meta) in chunk {
                match self.into.pool.lend_copy(bytes, *meta) {
                    Some(packet) => self.batch.push(packet),
                    None => self.shared.totals.count_drop(DropReason::PoolEmpty),
                }
            }
            self.finish_turn(ground, &peers)?;
        }
        Ok(())
    }

    /// Gives a ground away if several have something and another worker has nothing to do.
    fn share_out(&mut self, ready: &mut Vec<Wake>, now: Instant) {
        let Some(spare) = grounds::spare(ready).filter(|_| now >= self.gives_from) else {
            return;
        };
        if let Some(idle) = self.shared.grounds.idle(now) {
            self.shared.grounds.give(spare, idle);
            self.gives_from = now + GIVE_EVERY;
            ready.retain(|wake| !matches!(wake, Wake::Device(number, _) if *number == spare));
        }
    }

    /// Reads one source until it is empty or has had its turn.
    fn take_from(&mut self, source: Source, ground: &mut Ground) -> Result<usize> {
        let shared = Arc::clone(&self.shared);
        let peers = shared.peers();
        let mut taken = 0;
        self.burst_bytes = 0;
        if source == Source::Streams
            && let Some(streams) = &mut ground.streams
        {
            streams.quiet();
        }
        while taken < BURST_MAX && self.burst_bytes < BURST_BYTES {
            let (count, more) = match source {
                Source::Tun => self.read_tun(ground)?,
                Source::Mouth(side) => self.read_mouth(side, ground, &peers)?,
                Source::Raw(side) => self.read_raw(side, ground, &peers)?,
                Source::Streams => self.read_streams(ground),
            };
            taken += count;
            if !more {
                self.finish_turn(ground, &peers)?;
                return Ok(taken);
            }
            if self.is_batch_full() {
                self.hand_over(ground, &peers)?;
            }
        }
        self.finish_turn(ground, &peers)?;
        if source == Source::Streams
            && let Some(streams) = &ground.streams
        {
            streams.ring();
        }
        Ok(taken)
    }

    /// Puts the table in force that waits, if one does.
    fn take_table(&mut self) {
        let shared = Arc::clone(&self.shared);
        if let Some(Delivery { table, own, moves }) = shared.inbox.take() {
            for one in moves {
                shared.grounds.take_over(one, shared.totals.overruns());
            }
            let revision = table.revision.0;
            if let Err(error) = self.apply(table, own) {
                // What failed fails again where it matters; the table is in force.
                tracing::error!(event = "TableTrouble", revision, "{error:#}");
            }
        }
    }

    fn is_batch_full(&mut self) -> bool {
        let bytes = self.weigh();
        self.batch.len() + self.gather.len() >= BATCH_MAX || bytes >= BATCH_BYTES
    }

    /// Bytes of the batch, each packet looked at once.
    fn weigh(&mut self) -> usize {
        let (count, bytes) = &mut self.weighed;
        *bytes += self.batch[*count..].iter().map(Packet::len).sum::<usize>();
        *count = self.batch.len();
        *bytes
    }

    /// Hands over the batch, and puts on devices what came of it. Runs and trains stay open.
    fn hand_over(&mut self, ground: &mut Ground, peers: &Peers) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.burst_bytes += self.weigh();
        self.weighed = (0, 0);
        let taken = self
            .shared
            .packets(&self.clock, &mut self.batch, &mut self.into);
        if !taken {
            let count = self.batch.len() as u64;
            let totals = &self.shared.totals;
            totals.count_drops(DropReason::PoolEmpty, count);
            for packet in self.batch.drain(..) {
                self.into.pool.take_back(packet);
            }
        }
        self.deliver(ground, peers)
    }

    /// Hands over what there is, and puts on devices all that came of it.
    fn finish_turn(&mut self, ground: &mut Ground, peers: &Peers) -> Result<()> {
        self.gather.close(&mut self.batch);
        self.hand_over(ground, peers)?;
        self.deliver_all(ground, peers)
    }
}

impl Ground {
    fn has_device(&self) -> bool {
        let has_mouth = self.mouth.receivers().next().is_some();
        has_mouth || self.tun.is_some() || self.raw_gre.is_some() || self.streams.is_some()
    }

    /// What the kernel has no room for at its sockets and its TUN device goes to the account of `totals`.
    fn watched_by(&self, totals: &Totals) {
        let overruns = totals.overruns();
        let raw = self.raw_gre.iter().flat_map(RawGre::sockets);
        let sockets = self.mouth.sockets().chain(raw);
        sockets.for_each(|socket| overruns.watch(socket));
        if let Some(tun) = &self.tun {
            overruns.watch_device(tun.interface());
        }
        if let Some(streams) = &self.streams {
            totals.with_sockets_of(streams.host());
        }
    }
}

impl Yield {
    fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.local.is_empty()
    }
}

/// The forwarder behind its lock.
struct Borrowed<'a, F>(MutexGuard<'a, Core<F>>);

impl<F> Deref for Borrowed<'_, F> {
    type Target = F;

    fn deref(&self) -> &F {
        &self.0.forwarder
    }
}
