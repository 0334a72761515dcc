//! The live driver of a forwarder: one thread, one TUN device, one tunnel mouth, batches of up to 32.
//!
//! It does what the simulator's driver does, in the order that [`Forwarder`] asks for: packets in, outbox drained,
//! deadlines kept. Packets live in slots of one pool from the read to the write, without an allocation for each. The
//! forwarder writes from the GRE header inwards; outer IP and UDP are the kernel's ([`mouth::Mouth`], [`raw_gre::RawGre`]).
//! Super-packets pass whole ([`gather`] makes them of trains); nothing waits for more: what is there goes through, then it
//! sleeps.
//!
//! Invariant, asserted after every batch: the conservation law, and no slot out but those the forwarder holds.

pub mod clock;
pub mod gather;
pub mod inbox;
pub mod mouth;
pub mod onlooker;
pub mod peers;
pub mod pieces;
pub mod raw_gre;
pub mod streams;
pub mod totals;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::forwarder::{BATCH_MAX, Forwarder};
use anyedge_net::id::NodeId;
use anyedge_net::ledger::Ledger;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::{HEADROOM, LARGE_SLOT, Meta, Packet, Pool, SMALL_SLOT};
use anyedge_net::port::{PortId, PortKind};
use anyedge_net::route_table::RouteTable;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre;
use anyedge_pop::advertise::Inbox as Announcements;
use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use self::clock::Clock;
use self::gather::Gather;
use self::inbox::Inbox;
use self::mouth::{Mouth, Side};
use self::onlooker::Onlooker;
use self::peers::Peers;
use self::raw_gre::RawGre;
use self::streams::Streams;
use self::totals::Totals;
use crate::tun::Tun;

/// Packet slots of one data plane: what a forwarder may hold, and a batch in and out.
const SLOTS_MAX: usize = 4_096;
/// Packets taken from one source before the others get their turn.
const BURST_MAX: usize = 8 * BATCH_MAX;
/// Bytes taken from one source before the others get their turn: behind more than a few super-packets, the
/// acknowledgements that bring the next ones would wait.
const BURST_BYTES: usize = 262_144;
/// Bytes after which a batch is handed over, so that they are still in the cache.
const BATCH_BYTES: usize = 65_536;
/// Tables, a TUN device, the receiving UDP and raw sockets of each family, and what comes out of streams.
const SOURCES_MAX: usize = 7;
/// How often a thread that waits looks whether it shall stop.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// What a data plane is made of.
#[derive(Debug)]
pub struct Ground {
    /// The device behind `tun_port`; a CLB node does without.
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

/// A forwarder at work on real devices.
pub struct Dataplane<F, C> {
    forwarder: F,
    clock: C,
    ground: Ground,
    peers: Peers,
    out: Outbox,
    ledger: Ledger,
    batch: Vec<Packet>,
    outgoing: Vec<Packet>,
    gather: Gather,
    /// Bytes handed over since a source got its turn.
    burst_bytes: usize,
    /// Where segments are made for devices that know no offload.
    scratch: Box<[u8]>,
    totals: Arc<Totals>,
    inbox: Inbox,
    onlooker: Option<Box<dyn Onlooker>>,
    announcements: Announcements,
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
            ground.packet_bytes_max <= LARGE_SLOT - HEADROOM,
            "no packet has {} bytes",
            ground.packet_bytes_max
        );
        let has_mouth = ground.mouth.receivers().next().is_some() || ground.raw_gre.is_some();
        ensure!(
            ground.tun.is_some() || has_mouth || ground.streams.is_some(),
            "a data plane needs a TUN device, a tunnel address or streams"
        );
        let mut dataplane = Self {
            forwarder,
            clock,
            ground,
            peers: Peers::new(Arc::clone(&table), own),
            out: Outbox::new(Pool::new(SLOTS_MAX)),
            ledger: Ledger::default(),
            batch: Vec::with_capacity(BATCH_MAX),
            outgoing: Vec::with_capacity(BATCH_MAX),
            gather: Gather::default(),
            burst_bytes: 0,
            scratch: vec![0; LARGE_SLOT].into_boxed_slice(),
            totals: Arc::new(Totals::default()),
            inbox: Inbox::new()?,
            onlooker: None,
            announcements: Announcements::new(),
        };
        dataplane.apply(table, own)?;
        Ok(dataplane)
    }

    /// Puts another revision in force, in which this node has the id `own`. Packets wait meanwhile: what it costs is
    /// what a revision delays them.
    ///
    /// # Errors
    /// When a stream that it adds cannot be answered, with all else in force; or a device fails.
    pub fn apply(&mut self, table: Arc<RouteTable>, own: NodeId) -> Result<()> {
        let streams = self.ground.streams.as_mut();
        let followed = streams.map_or(Ok(()), |streams| streams.follow(&table, own));
        self.peers.renew(Arc::clone(&table), own);
        let now = self.clock.now();
        self.ledger
            .apply(&mut self.forwarder, now, Arc::clone(&table), &mut self.out);
        if let Some(onlooker) = &mut self.onlooker {
            onlooker.in_force(&table, own);
        }
        self.drain()?;
        followed
    }

    /// Where other threads leave tables that this node shall act upon.
    pub fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    /// What the forwarder wants announced, from the beginning on, and that it lives.
    pub fn announcements(&self) -> Announcements {
        self.announcements.clone()
    }

    /// From here on `onlooker` is told what becomes of the forwarder.
    pub fn watched_by(&mut self, onlooker: Box<dyn Onlooker>) {
        self.onlooker = Some(onlooker);
    }

    /// The running totals, readable from any thread.
    pub fn totals(&self) -> Arc<Totals> {
        Arc::clone(&self.totals)
    }

    /// The forwarder, for tests.
    pub fn forwarder(&self) -> &F {
        &self.forwarder
    }

    /// The ends of its streams, if it has any.
    pub fn streams(&self) -> Option<&Streams> {
        self.ground.streams.as_ref()
    }

    /// The accounts of the forwarder's packets.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Works until `stop` is set, which is noticed within 100 ms.
    pub fn run_until(&mut self, stop: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            self.poll_once(STOP_LOOK)?;
        }
        Ok(())
    }

    /// Waits for at most `wait` until a packet arrives or a deadline comes, then takes what there is. Returns how many
    /// packets it took.
    pub fn poll_once(&mut self, wait: Duration) -> Result<usize> {
        let until_deadline = self
            .forwarder
            .poll_timeout()
            .map(|due| due.at.since(self.clock.now()));
        let wait = until_deadline.map_or(wait, |left| left.min(wait));
        let mut taken = 0;
        for source in self.wait_for_arrivals(wait)?.into_iter().flatten() {
            taken += self.take_from(source)?;
        }
        let now = self.clock.now();
        self.announcements.live(now);
        if self
            .forwarder
            .poll_timeout()
            .is_some_and(|due| due.at <= now)
        {
            self.ledger.timeout(&mut self.forwarder, now, &mut self.out);
            self.drain()?;
        }
        Ok(taken)
    }

    /// Hands the forwarder packets that came by other means than its devices, each with its port in `meta`.
    pub fn inject(&mut self, packets: &[(&[u8], Meta)]) -> Result<()> {
        for chunk in packets.chunks(BATCH_MAX) {
            for (bytes, meta) in chunk {
                match self.out.pool_mut().lend_copy(bytes, *meta) {
                    Some(packet) => self.batch.push(packet),
                    None => self.totals.count_drop(DropReason::PoolEmpty),
                }
            }
            self.hand_over()?;
        }
        Ok(())
    }

    /// The sources that have something.
    fn wait_for_arrivals(&self, wait: Duration) -> Result<[Option<Source>; SOURCES_MAX]> {
        let inbox = std::iter::once((Source::Inbox, self.inbox.bell()));
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
                Source::Mouth(side) => self.read_mouth(side)?,
                Source::Raw(side) => self.read_raw(side)?,
                Source::Streams => self.read_streams(),
            };
            taken += count;
            if !more || self.is_batch_full() {
                self.hand_over()?;
            }
            if !more {
                return Ok(taken);
            }
        }
        self.hand_over()?;
        if source == Source::Streams
            && let Some(streams) = &self.ground.streams
        {
            streams.ring();
        }
        Ok(taken)
    }

    /// Puts the table in force that waits, if one does.
    fn take_table(&mut self) {
        if let Some((table, own)) = self.inbox.take() {
            let revision = table.revision.0;
            if let Err(error) = self.apply(table, own) {
                // What failed fails again where it matters; the table is in force.
                tracing::error!(event = "TableTrouble", revision, "{error:#}");
            }
        }
    }

    fn is_batch_full(&self) -> bool {
        let bytes = || self.batch.iter().map(Packet::len).sum::<usize>();
        // The last place is for the run that is still open.
        self.batch.len() >= BATCH_MAX - 1 || bytes() >= BATCH_BYTES
    }

    /// Reads one packet: how many it was, and whether there may be more.
    fn read_tun(&mut self) -> Result<(usize, bool)> {
        let Some(tun) = &mut self.ground.tun else {
            return Ok((0, false));
        };
        let meta = Meta::plain(self.ground.tun_port);
        // Without a free slot what arrives waits in the kernel until a deadline frees some.
        let packet = tun
            .recv(self.out.pool_mut(), meta)
            .with_context(|| format!("cannot read from {}", tun.interface()))?;
        let count = usize::from(packet.is_some());
        self.batch.extend(packet);
        Ok((count, count > 0))
    }

    /// Reads what waits on one side of the mouth: how many datagrams it was, and whether there may be more.
    fn read_mouth(&mut self, side: Side) -> Result<(usize, bool)> {
        let read = self.ground.mouth.recv(side);
        let (messages, more) = read.context("cannot read from the tunnel mouth")?;
        let mut taken = 0;
        for index in 0..messages {
            taken += self.take_message(index)?;
        }
        Ok((taken, more))
    }

    /// Takes in the datagrams of one message: how many it was.
    fn take_message(&mut self, index: usize) -> Result<usize> {
        let Some(message) = self.ground.mouth.message(index) else {
            return Ok(0);
        };
        let arrival = self.peers.arrival(message.from);
        let meta = Meta {
            peer: arrival.peer,
            tos: message.tos,
            ttl: message.ttl,
            ..Meta::plain(arrival.port)
        };
        let train = message.len > message.datagram_len;
        let mut at = 0;
        for taken in 1.. {
            let end = message.len.min(at + message.datagram_len);
            // A datagram that was cut has lost its end: as an empty one the forwarder counts it as malformed.
            let whole = if message.cut { at..at } else { at..end };
            let datagram = &self.ground.mouth.bytes(index)[whole];
            let (pool, batch) = (self.out.pool_mut(), &mut self.batch);
            if !self.gather.push(datagram, (meta, train), pool, batch) {
                self.totals.count_drop(DropReason::PoolEmpty);
            }
            if self.is_batch_full() {
                self.hand_over()?;
            }
            if end == message.len {
                return Ok(taken);
            }
            at = end;
        }
        Ok(0)
    }

    /// Reads one packet of plain GRE.
    fn read_raw(&mut self, side: Side) -> Result<(usize, bool)> {
        let Some(raw) = &mut self.ground.raw_gre else {
            return Ok((0, false));
        };
        let room = self.ground.packet_bytes_max.max(SMALL_SLOT - HEADROOM);
        let pool = self.out.pool_mut();
        // Without a free slot what arrives waits in the kernel until a deadline frees some.
        let Some(mut packet) = pool.lend(room, Meta::plain(self.ground.tun_port)) else {
            return Ok((0, false));
        };
        let arrived = match raw.recv(side, packet.bytes_mut()) {
            Ok(Some(arrived)) => arrived,
            Ok(None) => {
                pool.take_back(packet);
                return Ok((0, false));
            }
            Err(error) => {
                pool.take_back(packet);
                return Err(error).context("cannot read GRE from a raw socket");
            }
        };
        let arrival = self.peers.raw_arrival(arrived.from);
        packet.meta = Meta {
            peer: arrival.peer,
            tos: arrived.tos,
            ttl: arrived.ttl,
            ..Meta::plain(arrival.port)
        };
        // A packet that was cut has lost its end: as an empty one the forwarder counts it as malformed.
        packet.truncate(if arrived.cut { 0 } else { arrived.len });
        self.batch.push(packet);
        Ok((1, true))
    }

    /// Reads one packet that came out of a stream.
    fn read_streams(&mut self) -> (usize, bool) {
        let Some(streams) = &mut self.ground.streams else {
            return (0, false);
        };
        // Ordinary packets go into ordinary slots, whatever is left of one behind them.
        let room = self.ground.packet_bytes_max.max(SMALL_SLOT - HEADROOM);
        let pool = self.out.pool_mut();
        let Some(mut packet) = pool.lend(room, Meta::plain(self.ground.tun_port)) else {
            return (0, false);
        };
        let Some((len, meta)) = streams.take(packet.bytes_mut()) else {
            pool.take_back(packet);
            return (0, false);
        };
        packet.meta = meta;
        packet.truncate(len);
        self.batch.push(packet);
        (1, true)
    }

    fn hand_over(&mut self) -> Result<()> {
        self.gather.close(&mut self.batch);
        if self.batch.is_empty() {
            return Ok(());
        }
        self.burst_bytes += self.batch.iter().map(Packet::len).sum::<usize>();
        let now: Instant = self.clock.now();
        self.ledger
            .packets(&mut self.forwarder, now, &mut self.batch, &mut self.out);
        self.drain()
    }

    /// Puts on devices what the forwarder sent and takes the slots back.
    fn drain(&mut self) -> Result<()> {
        std::mem::swap(&mut self.outgoing, self.out.sent_mut());
        self.send_by_mouth();
        for mut packet in self.outgoing.drain(..) {
            if packet.meta.port == self.ground.tun_port {
                deliver(&mut self.ground, &mut packet, &self.totals)?;
            }
            self.out.pool_mut().take_back(packet);
        }
        std::mem::swap(&mut self.outgoing, self.out.local_mut());
        for mut packet in self.outgoing.drain(..) {
            deliver(&mut self.ground, &mut packet, &self.totals)?;
            self.out.pool_mut().take_back(packet);
        }
        for event in self.out.events_mut().drain(..) {
            self.announcements.tell(&event);
            match &mut self.onlooker {
                Some(onlooker) => onlooker.saw(&event),
                None => tracing::debug!(%event),
            }
        }
        let (loaned, held) = (self.out.pool().loaned(), self.forwarder.held());
        assert_eq!(
            loaned, held,
            "a packet slot is out that the forwarder does not hold"
        );
        self.totals.publish(&self.ledger);
        if let Some(streams) = &self.ground.streams {
            streams.publish(&self.totals);
        }
        Ok(())
    }

    /// Sends what leaves by tunnels: by a stream, where its path is one, else by the mouth.
    fn send_by_mouth(&mut self) {
        let Ground {
            tun_port,
            mouth,
            raw_gre,
            streams,
            ..
        } = &mut self.ground;
        let (peers, totals, scratch) = (&self.peers, &self.totals, &mut self.scratch);
        for packet in &self.outgoing {
            let Meta {
                port, peer, tos, ..
            } = packet.meta;
            let by_mouth = destination(peers, packet).is_some_and(|to| mouth.reaches(to));
            if port == *tun_port || by_mouth {
                continue;
            }
            if let Some(raw) = raw_gre
                && let Some(to) = peers.raw_destination(port, peer)
            {
                pieces::each(packet, gre::HEADER_LEN, scratch, |piece| {
                    if let Err(reason) = raw.send(piece, to, tos) {
                        totals.count_drop(reason);
                    }
                });
                continue;
            }
            let mut sent = false;
            if let Some(streams) = streams {
                pieces::each(packet, gre::HEADER_LEN, scratch, |piece| {
                    sent |= streams.send(port, peer, piece, tos);
                });
            }
            if !sent {
                totals.count_drop(DropReason::NoRoute);
            }
        }
        mouth.send_all(
            &self.outgoing,
            |packet| destination(peers, packet),
            |reason, count| totals.count_drops(reason, count),
        );
    }
}

/// Where a packet goes that leaves by the mouth.
fn destination(peers: &Peers, packet: &Packet) -> Option<SocketAddr> {
    let Meta { port, peer, .. } = packet.meta;
    let is_tunnel = port.kind() == Some(PortKind::Tunnel);
    peers.destination(port, peer).filter(|_| is_tunnel)
}

/// Hands one packet to the kernel by the TUN device.
fn deliver(ground: &mut Ground, packet: &mut Packet, totals: &Totals) -> Result<()> {
    let Some(tun) = &mut ground.tun else {
        totals.count_drop(DropReason::NoRoute);
        return Ok(());
    };
    match tun.send(packet) {
        Ok(true) => {}
        Ok(false) => totals.count_drop(DropReason::QueueFull),
        // The packet is at fault (no IP version that the kernel knows), not the device.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            totals.count_drop(DropReason::SendFailed);
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot write to {}", tun.interface()));
        }
    }
    Ok(())
}
