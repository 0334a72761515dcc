//! Tunnels that are gRPC streams or QUIC connections, both called streams here, as the data plane's thread sees them: ports to send by, and a queue of what came in.
//!
//! The streams are tasks of a tokio runtime; the data plane is a thread of its own and waits for neither side. What it
//! sends goes into a port's bounded queue, which drops its oldest; what comes in waits in one bounded queue, and a bell
//! wakes the thread. Who calls whom is [`carry::calls`]. Paths and peers are known by name, so that another revision of
//! the table renumbers those that it keeps, begins those that it adds and ends those that it takes away.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyedge_ccn::carry::{
    self, Answerer, Caller, CarryCounts, CarryLimits, Frame, Port, Ports, QUIC_PORT,
};
use anyedge_ccn::rpc::{Identity, Server, Tls};
use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::Family;
use anyedge_net::host::{Host as _, TcpListener as _};
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::packet::Meta;
use anyedge_net::port::PortId;
use anyedge_net::route_table::{Path, RouteTable};
use anyedge_net::wire::outer::Encap;
use anyhow::{Context, Result};

use super::totals::Totals;
use crate::host::LiveHost;

/// Frames that wait for the data plane's thread; further ones are dropped as `SocketFull`.
const ARRIVALS_MAX: usize = 4_096;
/// Connections that wait to be answered.
const BACKLOG: usize = 256;
/// The largest packets of QUIC that there is room for, unless the first table has larger ones.
const MTU_MAX: u16 = 9_216;
/// Totals are published this many times before strangers are counted again, which costs more than other counts.
const STRANGERS_EVERY: u64 = 64;

/// The ends of a node's streams. Dropping it ends them.
pub struct Streams {
    host: LiveHost,
    tls: Tls,
    doors: Doors,
    /// No packet of QUIC is larger.
    mtu_max: u16,
    door: Door,
    joined: BTreeMap<u64, Joined>,
    /// The number of the next end.
    next: u64,
    by_ids: BTreeMap<(PathId, NodeId), u64>,
    arrivals: Receiver<(u64, Frame)>,
    bell: UnixStream,
    servers: BTreeMap<(IpAddr, Kind), Answering>,
    callers: BTreeMap<IpAddr, Caller<LiveHost>>,
    /// Frames that ends which are gone have dropped: for want of room, and of time.
    dropped_before: (u64, u64),
    /// Callers that servers which are gone have refused.
    refused_before: BTreeMap<Refused, u64>,
    published: AtomicU64,
}

/// Where streams are answered, on the tunnel addresses. 0 is any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Doors {
    /// The TCP port of gRPC.
    pub grpc: u16,
    /// The UDP port of QUIC.
    pub quic: u16,
}

impl Default for Doors {
    fn default() -> Doors {
        Doors {
            grpc: carry::PORT,
            quic: QUIC_PORT,
        }
    }
}

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    Grpc,
    Quic,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Kind::Grpc => "grpc",
            Kind::Quic => "quic",
        }
    }
}

/// At which kind of door, and why.
pub(crate) type Refused = (&'static str, &'static str);

/// What makes an end the one that it is. With another it is another end, and another stream.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Link {
    path: String,
    peer: String,
    way: Way,
    kind: Kind,
    /// The node's own tunnel address and the peer's.
    own: IpAddr,
    far: IpAddr,
    mtu: u16,
}

/// Who calls whom.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Way {
    /// This node calls the peer.
    Calls,
    /// The peer calls this node.
    Answers,
}

/// One end.
struct Joined {
    link: Link,
    port: Arc<Port<LiveHost>>,
    ids: Option<(PathId, NodeId)>,
}

/// Where it answers, and whom.
struct Answering {
    address: SocketAddr,
    ports: Ports<LiveHost>,
    server: Answers,
}

/// What answers there.
enum Answers {
    Grpc(Server),
    Quic(Answerer<LiveHost>),
}

impl Answering {
    /// Callers that were refused here, by cause.
    fn refused(&self) -> BTreeMap<&'static str, u64> {
        let mut all = self.ports.refusals().all();
        if let Answers::Grpc(server) = &self.server {
            for (cause, count) in server.refusals().all() {
                *all.entry(cause).or_default() += count;
            }
        }
        all
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends = self.joined.values().map(|end| &end.link);
        f.debug_list().entries(ends).finish()
    }
}

/// What a port's task gives frames to.
#[derive(Clone)]
struct Door {
    arrivals: SyncSender<(u64, Frame)>,
    rope: Arc<UnixStream>,
    overflowed: Arc<AtomicU64>,
}

impl Door {
    fn take(&self, number: u64, frame: Frame) {
        if self.arrivals.try_send((number, frame)).is_err() {
            self.overflowed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        ring(&self.rope);
    }
}

/// A bell that cannot take another stroke has not been heard yet.
fn ring(mut rope: &UnixStream) {
    let _ = rope.write(&[1]);
}

/// Whatever still runs for its ports ends.
impl Drop for Streams {
    fn drop(&mut self) {
        self.joined.values().for_each(|end| end.port.close());
    }
}

impl Streams {
    /// The ends of `own` on all paths of `table` that are streams: calls those that it is to call, and answers others
    /// at `doors` of its tunnel addresses.
    ///
    /// # Errors
    /// When a port is taken, or `identity` is none.
    pub fn open(
        host: &LiveHost,
        table: &RouteTable,
        own: NodeId,
        identity: &Identity,
        doors: Doors,
    ) -> Result<Streams> {
        let tls = Tls::new(host, identity).context("cannot use the node's certificate")?;
        let (bell, rope) = UnixStream::pair().context("cannot make a bell")?;
        bell.set_nonblocking(true)?;
        rope.set_nonblocking(true)?;
        let (sender, arrivals) = sync_channel(ARRIVALS_MAX);
        let door = Door {
            arrivals: sender,
            rope: Arc::new(rope),
            overflowed: Arc::new(AtomicU64::new(0)),
        };
        let mut streams = Streams {
            host: host.clone(),
            tls,
            doors,
            mtu_max: table
                .paths
                .iter()
                .map(|path| path.mtu)
                .fold(MTU_MAX, u16::max),
            door,
            joined: BTreeMap::new(),
            next: 0,
            by_ids: BTreeMap::new(),
            arrivals,
            bell,
            servers: BTreeMap::new(),
            callers: BTreeMap::new(),
            dropped_before: (0, 0),
            refused_before: BTreeMap::new(),
            published: AtomicU64::new(0),
        };
        streams.follow(table, own)?;
        Ok(streams)
    }

    /// Whose sockets they are.
    pub(super) const fn host(&self) -> &LiveHost {
        &self.host
    }

    /// Has the streams of another revision, in which this node has the id `own`: those that it adds begin, those that it
    /// takes away end, and all others go on under their new ids.
    ///
    /// # Errors
    /// When an address of the node's own cannot be listened on; the streams on it are not there, all others are.
    pub(super) fn follow(&mut self, table: &RouteTable, own: NodeId) -> Result<()> {
        let wanted = Streams::wanted(table, own);
        let gone = |end: &Joined| !wanted.contains_key(&end.link);
        let gone = self.joined.iter().filter(|(_, end)| gone(end));
        let gone: Vec<u64> = gone.map(|(number, _)| *number).collect();
        gone.into_iter().for_each(|number| self.part(number));
        let there = self.joined.values().map(|end| end.link.clone());
        let there: BTreeSet<Link> = there.collect();
        let added = wanted.keys().filter(|link| !there.contains(*link));
        let joined = added.map(|link| self.join(link));
        // One that fails keeps none of the others away.
        let outcomes: Vec<Result<()>> = joined.collect();
        let gone = |server: &Answering| server.ports.is_empty();
        for ((_, kind), server) in self.servers.iter().filter(|(_, server)| gone(server)) {
            for (cause, count) in server.refused() {
                *self.refused_before.entry((kind.word(), cause)).or_default() += count;
            }
        }
        self.servers.retain(|_, server| !gone(server));
        let links = || self.joined.values().map(|end| &end.link);
        let calls = |link: &Link| (link.way, link.kind) == (Way::Calls, Kind::Quic);
        let callers: BTreeSet<IpAddr> = links()
            .filter(|link| calls(link))
            .map(|link| link.own)
            .collect();
        self.callers.retain(|address, _| callers.contains(address));
        self.by_ids.clear();
        for (number, end) in &mut self.joined {
            end.ids = wanted.get(&end.link).copied();
            self.by_ids.extend(end.ids.map(|ids| (ids, *number)));
        }
        outcomes.into_iter().collect()
    }

    /// The ends that `own` has by `table`, with their ids in it.
    fn wanted(table: &RouteTable, own: NodeId) -> BTreeMap<Link, (PathId, NodeId)> {
        let ends = table.paths().filter_map(|(id, path)| {
            let kind = match path.encap {
                Encap::Gre | Encap::GreUdp | Encap::Plain => return None,
                Encap::Grpc => Kind::Grpc,
                Encap::Quic => Kind::Quic,
            };
            Some((id, path, kind))
        });
        let ends = ends.flat_map(|(id, path, kind)| {
            let peers = table.peers_over(path, own).into_iter();
            peers.map(move |peer| {
                let way = if carry::calls(table, &path.ends, own) {
                    Way::Calls
                } else {
                    Way::Answers
                };
                let link = Link {
                    path: path.name.clone(),
                    peer: table.nodes[peer.index()].name.clone(),
                    way,
                    kind,
                    own: tunnel_address(table, path, own),
                    far: tunnel_address(table, path, peer),
                    mtu: path.mtu,
                };
                (link, (id, peer))
            })
        });
        ends.collect()
    }

    fn join(&mut self, link: &Link) -> Result<()> {
        let (number, door) = (self.next, self.door.clone());
        let deliver = move |frame| door.take(number, frame);
        let port = Port::new(&self.host, CarryLimits::default(), deliver);
        match (link.way, link.kind) {
            (Way::Calls, Kind::Grpc) => {
                let at = SocketAddr::new(link.far, self.doors.grpc);
                carry::call(&port, at, self.tls.clone(), &link.peer);
            }
            (Way::Calls, Kind::Quic) => {
                let at = SocketAddr::new(link.far, self.doors.quic);
                let caller = self.calling(link.own)?;
                caller.call(&port, at, &link.peer, link.mtu);
            }
            (Way::Answers, kind) => {
                let ports = self.answering(link.own, kind)?;
                ports.admit_from(&link.peer, Arc::clone(&port), link.far, link.mtu);
            }
        }
        let end = Joined {
            link: link.clone(),
            port,
            ids: None,
        };
        self.joined.insert(number, end);
        self.next += 1;
        Ok(())
    }

    /// Where calls of QUIC come from at `address`.
    fn calling(&mut self, address: IpAddr) -> Result<&Caller<LiveHost>> {
        let place = match self.callers.entry(address) {
            Entry::Occupied(place) => return Ok(place.into_mut()),
            Entry::Vacant(place) => place,
        };
        let caller = Caller::open(&self.host, address, &self.tls, self.mtu_max);
        let caller = caller.with_context(|| format!("cannot call by QUIC from {address}"))?;
        Ok(place.insert(caller))
    }

    /// Who may call at `address`, which is listened on from here on.
    fn answering(&mut self, address: IpAddr, kind: Kind) -> Result<&Ports<LiveHost>> {
        let place = match self.servers.entry((address, kind)) {
            Entry::Occupied(place) => return Ok(&place.into_mut().ports),
            Entry::Vacant(place) => place,
        };
        let ports = Ports::default();
        let (host, tls) = (&self.host, &self.tls);
        let (address, server) = match kind {
            Kind::Grpc => {
                let at = SocketAddr::new(address, self.doors.grpc);
                let listener = host.tcp_listen(at, BACKLOG);
                let listener =
                    listener.with_context(|| format!("cannot answer streams on {at}"))?;
                let address = listener.local_addr();
                let server = carry::serve(host, listener, ports.clone(), tls.clone());
                (address, Answers::Grpc(server))
            }
            Kind::Quic => {
                let at = SocketAddr::new(address, self.doors.quic);
                let answerer = Answerer::open(host, at, ports.clone(), tls, self.mtu_max);
                let answerer = answerer.with_context(|| format!("cannot answer QUIC on {at}"))?;
                (answerer.local_addr(), Answers::Quic(answerer))
            }
        };
        let answering = Answering {
            address,
            ports,
            server,
        };
        Ok(&place.insert(answering).ports)
    }

    fn part(&mut self, number: u64) {
        let Some(Joined { link, port, .. }) = self.joined.remove(&number) else {
            return;
        };
        port.close();
        if link.way == Way::Answers
            && let Some(server) = self.servers.get(&(link.own, link.kind))
        {
            server.ports.dismiss(&link.peer, &port);
        }
        let counts = port.counts();
        let (full, late) = self.dropped_before;
        self.dropped_before = (full + counts.dropped_full, late + counts.dropped_late);
    }

    /// Where it answers.
    pub fn listening(&self) -> impl Iterator<Item = SocketAddr> {
        self.servers.values().map(|server| server.address)
    }

    /// Datagrams at ports of QUIC that belonged to no node: see [`Answerer::strangers`].
    pub fn strangers(&self) -> u64 {
        let servers = self.servers.values();
        let of_quic = servers.map(|answering| match &answering.server {
            Answers::Grpc(_) => 0,
            Answers::Quic(answerer) => answerer.strangers(),
        });
        of_quic.sum()
    }

    /// Path, peer and what became of the frames, of each end.
    pub fn counts(&self) -> impl Iterator<Item = (&str, &str, CarryCounts)> {
        let ends = self.joined.values();
        ends.map(|end| {
            let Link { path, peer, .. } = &end.link;
            (path.as_str(), peer.as_str(), end.port.counts())
        })
    }

    /// What to wait on for arrivals.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// The bell was heard: what it told of is looked for now.
    pub(super) fn quiet(&mut self) {
        let mut strokes = [0; 256];
        loop {
            match self.bell.read(&mut strokes) {
                Ok(len) if len == strokes.len() => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return,
            }
        }
    }

    /// There is more than was taken: the bell rings again.
    pub(super) fn ring(&self) {
        ring(&self.door.rope);
    }

    /// The next frame that came in, copied into `into`: its length, 0 where it has no room, and where it is from.
    pub(super) fn take(&mut self, into: &mut [u8]) -> Option<(usize, Meta)> {
        loop {
            let (number, frame) = self.arrivals.try_recv().ok()?;
            let Some((path, peer)) = self.joined.get(&number).and_then(|end| end.ids) else {
                self.door.overflowed.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let meta = Meta {
                peer,
                tos: frame.tos,
                ..Meta::plain(PortId::tunnel(path))
            };
            let Some(room) = into.get_mut(..frame.gre.len()) else {
                return Some((0, meta));
            };
            room.copy_from_slice(&frame.gre);
            return Some((frame.gre.len(), meta));
        }
    }

    /// Sends a packet by the stream of that port and peer; false when there is none.
    pub(super) fn send(&self, port: PortId, peer: NodeId, packet: &[u8], tos: u8) -> bool {
        let number = port.path().and_then(|path| self.by_ids.get(&(path, peer)));
        let Some(end) = number.and_then(|number| self.joined.get(number)) else {
            return false;
        };
        end.port.send(Frame::copied(packet, tos));
        true
    }

    /// Writes what was dropped so far into the totals.
    pub(super) fn publish(&self, totals: &Totals) {
        let counts = self.joined.values().map(|end| end.port.counts());
        let (full, late) = counts.fold(self.dropped_before, |(full, late), counts| {
            (full + counts.dropped_full, late + counts.dropped_late)
        });
        totals.set_refused(DropReason::StreamFull, full);
        totals.set_refused(DropReason::StreamLate, late);
        let overflowed = self.door.overflowed.load(Ordering::Relaxed);
        totals.set_refused(DropReason::SocketFull, overflowed);
        let published = self.published.fetch_add(1, Ordering::Relaxed);
        if published.is_multiple_of(STRANGERS_EVERY) {
            totals.set_refused(DropReason::UnknownPeer, self.strangers());
            totals.set_callers_refused(self.refused());
        }
    }

    /// Callers that were refused, by door and cause.
    fn refused(&self) -> BTreeMap<Refused, u64> {
        let mut all = self.refused_before.clone();
        for ((_, kind), server) in &self.servers {
            for (cause, count) in server.refused() {
                *all.entry((kind.word(), cause)).or_default() += count;
            }
        }
        all
    }
}

fn tunnel_address(table: &RouteTable, path: &Path, node: NodeId) -> IpAddr {
    let node = &table.nodes[node.index()];
    match path.underlay {
        Family::V4 => node.underlay_v4.into(),
        Family::V6 => node.underlay_v6.into(),
    }
}
