//! The live driver of a forwarder: TUN device and tunnel mouth, batches of up to 32, one worker or several.
//!
//! A worker is a thread with devices of its own. It does what the simulator's driver does, in the order that [`Forwarder`]
//! asks for: packets in, outbox drained, deadlines kept; the forwarder is `shared`. Packets live in slots of a pool from
//! the read to the write, without an allocation for each. The forwarder writes from the GRE header inwards; outer IP and UDP
//! are the kernel's ([`mouth::Mouth`], [`raw_gre::RawGre`]). Super-packets pass whole ([`gather`] makes them of trains);
//! nothing waits for more: what is there goes through, then it sleeps.
//!
//! Invariant, asserted after every batch: the conservation law, and no slot out but those the forwarder holds.

pub mod clock;
mod delivery;
pub mod gather;
pub mod inbox;
mod intake;
pub mod mouth;
pub mod moving;
pub mod onlooker;
pub mod peers;
pub mod pieces;
pub mod raw_gre;
mod shared;
pub mod streams;
pub mod totals;

use std::ops::Deref;
use std::os::fd::AsFd;
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
use anyedge_pop::advertise::Inbox as Announcements;
use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use self::clock::Clock;
use self::gather::Gather;
use self::inbox::{Delivery, Inbox};
use self::mouth::{Mouth, Side};
use self::onlooker::Onlooker;
use self::peers::Peers;
use self::raw_gre::RawGre;
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
/// Tables, a TUN device, the receiving UDP and raw sockets of each family, and what comes out of streams.
const SOURCES_MAX: usize = 7;
/// How often a thread that waits looks whether it shall stop.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// What a worker stands on.
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

/// A forwarder at work on real devices: its first worker, or another one.
pub struct Dataplane<F, C> {
    shared: Arc<Shared<F>>,
    clock: C,
    ground: Ground,
    batch: Vec<Packet>,
    /// How many of the batch have been weighed, and their bytes.
    weighed: (usize, usize),
    into: Yield,
    gather: Gather,
    /// Bytes handed over since a source got its turn.
    burst_bytes: usize,
    /// Where segments are made for devices that know no offload.
    scratch: Box<[u8]>,
    /// The first worker alone has one.
    inbox: Option<Inbox>,
    /// Its number among the workers.
    number: usize,
    /// Until when it has moved.
    moved: u64,
}

/// A device that a packet can be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Inbox,
    Tun,
    Mouth(Side),
    Raw(Side),
    Streams,
}

impl<F: Forwarder, C: Clock> Dataplane<F, C> {
    /// A data plane of the node `own`, with `table` in force.
    pub fn new(
        forwarder: F,
        clock: C,
        ground: Ground,
        table: Arc<RouteTable>,
        own: NodeId,
    ) -> Result<Self> {
        ensure!(
            ground.has_tunnels() || ground.tun.is_some() || ground.streams.is_some(),
            "a data plane needs a TUN device, a tunnel address or streams"
        );
        let peers = Peers::new(Arc::clone(&table), own);
        let inbox = Inbox::new()?;
        let shared = Arc::new(Shared::new(forwarder, peers, inbox.clone()));
        let mut first = Self::worker(shared, clock, ground)?;
        first.inbox = Some(inbox);
        first.apply(table, own)?;
        Ok(first)
    }

    /// Another worker of the same data plane, on ground of its own: a queue of the TUN, sockets of the mouth. Plain GRE
    /// and streams are the first one's alone, since a forwarder's packets leave by the worker that brought their cause.
    pub fn beside(&self, ground: Ground) -> Result<Self>
    where
        C: Clone,
    {
        let any_alone = |ground: &Ground| ground.raw_gre.is_some() || ground.streams.is_some();
        ensure!(
            !any_alone(&ground) && !any_alone(&self.ground),
            "tunnels in plain GRE and streams are for one worker"
        );
        ensure!(
            ground.has_tunnels() || ground.tun.is_some(),
            "a worker needs a queue of a TUN device or a tunnel address"
        );
        Self::worker(Arc::clone(&self.shared), self.clock.clone(), ground)
    }

    fn worker(shared: Arc<Shared<F>>, clock: C, ground: Ground) -> Result<Self> {
        ensure!(
            ground.packet_bytes_max <= LARGE_SLOT - HEADROOM,
            "no packet has {} bytes",
            ground.packet_bytes_max
        );
        Ok(Self {
            number: shared.enrol(),
            moved: 0,
            shared,
            clock,
            ground,
            batch: Vec::with_capacity(BATCH_MAX),
            weighed: (0, 0),
            into: Yield::new(),
            gather: Gather::default(),
            burst_bytes: 0,
            scratch: vec![0; LARGE_SLOT].into_boxed_slice(),
            inbox: None,
        })
    }

    /// Puts another revision in force, in which this node has the id `own`, between two turns of all workers. Packets wait
    /// meanwhile: what it costs is what a revision delays them.
    ///
    /// # Errors
    /// When a stream that it adds cannot be answered, with all else in force; or a device fails.
    pub fn apply(&mut self, table: Arc<RouteTable>, own: NodeId) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let mut peers = shared.peers_mut();
        let streams = self.ground.streams.as_mut();
        let followed = streams.map_or(Ok(()), |streams| streams.follow(&table, own));
        peers.renew(Arc::clone(&table), own);
        shared.apply(&self.clock, (&table, own), &mut self.into);
        self.deliver_all(&peers)?;
        followed
    }

    /// Where other threads leave tables that this node shall act upon; `None` of all workers but the first.
    pub fn inbox(&self) -> Option<Inbox> {
        self.inbox.clone()
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

    /// The ends of its streams, if it has any.
    pub fn streams(&self) -> Option<&Streams> {
        self.ground.streams.as_ref()
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

    /// Waits for at most `wait` until a packet arrives or a deadline comes, then takes what there is. Returns how many
    /// packets it took. The first worker keeps the deadlines of all.
    pub fn poll_once(&mut self, wait: Duration) -> Result<usize> {
        let is_first = self.inbox.is_some();
        self.move_mouth();
        let wait = if is_first {
            self.shared.sleep(&self.clock, wait)
        } else {
            wait
        };
        let mut taken = 0;
        for source in self.wait_for_arrivals(wait)?.into_iter().flatten() {
            taken += self.take_from(source)?;
        }
        if is_first {
            let shared = Arc::clone(&self.shared);
            shared.announcements.live(self.clock.now());
            let peers = shared.peers();
            shared.timeout(&self.clock, &mut self.into);
            if !self.into.is_empty() {
                self.deliver_all(&peers)?;
            }
        }
        Ok(taken)
    }

    /// Hands the forwarder packets that came by other means than its devices, each with its port in `meta`.
    pub fn inject(&mut self, packets: &[(&[u8], Meta)]) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let peers = shared.peers();
        for chunk in packets.chunks(BATCH_MAX) {
            for (bytes, meta) in chunk {
                match self.into.pool.lend_copy(bytes, *meta) {
                    Some(packet) => self.batch.push(packet),
                    None => self.shared.totals.count_drop(DropReason::PoolEmpty),
                }
            }
            self.finish_turn(&peers)?;
        }
        Ok(())
    }

    /// The sources that have something.
    fn wait_for_arrivals(&self, wait: Duration) -> Result<[Option<Source>; SOURCES_MAX]> {
        let inbox = self.inbox.iter();
        let inbox = inbox.map(|inbox| (Source::Inbox, inbox.bell()));
        let tun = self.ground.tun.iter().map(|tun| (Source::Tun, tun.as_fd()));
        let sides = self
            .ground
            .mouth
            .receivers()
            .map(|(side, fd)| (Source::Mouth(side), fd));
        let raw = self.ground.raw_gre.iter().flat_map(RawGre::receivers);
        let raw = raw.map(|(side, fd)| (Source::Raw(side), fd));
        let streams = self.ground.streams.iter();
        let streams = streams.map(|streams| (Source::Streams, streams.bell()));
        let mut sources = inbox.chain(tun).chain(sides).chain(raw).chain(streams);
        let watched: [_; SOURCES_MAX] = std::array::from_fn(|_| sources.next());
        let (_, any) =
            watched[0].expect("a data plane has a device, or it would not have been made");
        let mut fds = watched.map(|source| match source {
            Some((_, fd)) => PollFd::new(fd, PollFlags::POLLIN),
            // A place that is not used waits for nothing.
            None => PollFd::new(any, PollFlags::empty()),
        });
        match ppoll(&mut fds, Some(TimeSpec::from_duration(wait)), None) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok([None; SOURCES_MAX]),
            Err(error) => return Err(error).context("cannot wait for packets"),
        }
        let arrived = |index: usize| fds[index].any() != Some(false);
        Ok(std::array::from_fn(|index| {
            watched[index]
                .filter(|_| arrived(index))
                .map(|(source, _)| source)
        }))
    }

    /// Reads one source until it is empty or has had its turn.
    fn take_from(&mut self, source: Source) -> Result<usize> {
        if source == Source::Inbox {
            self.take_table();
            return Ok(0);
        }
        let shared = Arc::clone(&self.shared);
        let peers = shared.peers();
        let mut taken = 0;
        self.burst_bytes = 0;
        if source == Source::Streams
            && let Some(streams) = &mut self.ground.streams
        {
            streams.quiet();
        }
        while taken < BURST_MAX && self.burst_bytes < BURST_BYTES {
            let (count, more) = match source {
                Source::Inbox => return Ok(0),
                Source::Tun => self.read_tun()?,
                Source::Mouth(side) => self.read_mouth(side, &peers)?,
                Source::Raw(side) => self.read_raw(side, &peers)?,
                Source::Streams => self.read_streams(),
            };
            taken += count;
            if !more {
                self.finish_turn(&peers)?;
                return Ok(taken);
            }
            if self.is_batch_full() {
                self.hand_over(&peers)?;
            }
        }
        self.finish_turn(&peers)?;
        if source == Source::Streams
            && let Some(streams) = &self.ground.streams
        {
            streams.ring();
        }
        Ok(taken)
    }

    /// Takes tunnel sockets on other addresses, if some wait. What has come to the old ones and was not read is lost.
    fn move_mouth(&mut self) {
        for one in self.shared.moving.take(self.number, &mut self.moved) {
            self.ground.mouth.take_over(one.mouth, one.families);
        }
    }

    /// Puts the table in force that waits, if one does.
    fn take_table(&mut self) {
        if let Some(Delivery { table, own, moves }) = self.inbox.as_ref().and_then(Inbox::take) {
            for one in moves {
                self.shared.moving.put(one);
            }
            self.move_mouth();
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
    fn hand_over(&mut self, peers: &Peers) -> Result<()> {
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
        self.deliver(peers)
    }

    /// Hands over what there is, and puts on devices all that came of it.
    fn finish_turn(&mut self, peers: &Peers) -> Result<()> {
        self.gather.close(&mut self.batch);
        self.hand_over(peers)?;
        self.deliver_all(peers)
    }
}

impl Ground {
    fn has_tunnels(&self) -> bool {
        self.mouth.receivers().next().is_some() || self.raw_gre.is_some()
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
