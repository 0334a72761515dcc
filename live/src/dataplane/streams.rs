//! Tunnels that are gRPC streams, as the data plane's thread sees them: ports to send by, and a queue of what came in.
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

use anyedge_ccn::carry::{self, CarryCounts, CarryLimits, Frame, Port, Ports};
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
/// A stream has no TTL; what comes out of it has come one hop.
const TTL: u8 = 64;

/// The ends of a node's streams. Dropping it ends them.
pub struct Streams {
    host: LiveHost,
    tls: Tls,
    tcp_port: u16,
    door: Door,
    joined: BTreeMap<u64, Joined>,
    /// The number of the next end.
    next: u64,
    by_ids: BTreeMap<(PathId, NodeId), u64>,
    arrivals: Receiver<(u64, Frame)>,
    bell: UnixStream,
    servers: BTreeMap<IpAddr, Answering>,
    /// Frames that ends which are gone have dropped: for want of room, and of time.
    dropped_before: (u64, u64),
}

/// What makes an end the one that it is. With another it is another end, and another stream.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Link {
    path: String,
    peer: String,
    way: Way,
}

/// Who calls whom.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Way {
    /// This node calls there.
    Calls(SocketAddr),
    /// It answers there.
    Answers(IpAddr),
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
    _server: Server,
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

impl Streams {
    /// The ends of `own` on all paths of `table` that are streams: calls those that it is to call, and answers others
    /// at TCP port `port` ([`carry::PORT`]) of its tunnel addresses.
    ///
    /// # Errors
    /// When the port is taken, or `identity` is none.
    pub fn open(
        host: &LiveHost,
        table: &RouteTable,
        own: NodeId,
        identity: &Identity,
        port: u16,
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
            tcp_port: port,
            door,
            joined: BTreeMap::new(),
            next: 0,
            by_ids: BTreeMap::new(),
            arrivals,
            bell,
            servers: BTreeMap::new(),
            dropped_before: (0, 0),
        };
        streams.follow(table, own)?;
        Ok(streams)
    }

    /// Has the streams of another revision, in which this node has the id `own`: those that it adds begin, those that it
    /// takes away end, and all others go on under their new ids.
    ///
    /// # Errors
    /// When an address of the node's own cannot be listened on; the streams on it are not there, all others are.
    pub(super) fn follow(&mut self, table: &RouteTable, own: NodeId) -> Result<()> {
        let wanted = self.wanted(table, own);
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
        self.servers.retain(|_, server| !server.ports.is_empty());
        self.by_ids.clear();
        for (number, end) in &mut self.joined {
            end.ids = wanted.get(&end.link).copied();
            self.by_ids.extend(end.ids.map(|ids| (ids, *number)));
        }
        outcomes.into_iter().collect()
    }

    /// The ends that `own` has by `table`, with their ids in it.
    fn wanted(&self, table: &RouteTable, own: NodeId) -> BTreeMap<Link, (PathId, NodeId)> {
        let paths = table.paths().filter(|(_, path)| path.encap == Encap::Grpc);
        let ends = paths.flat_map(|(id, path)| {
            let peers = table.peers_over(path, own).into_iter();
            peers.map(move |peer| {
                let way = if carry::calls(table, &path.ends, own) {
                    let address = tunnel_address(table, path, peer);
                    Way::Calls(SocketAddr::new(address, self.tcp_port))
                } else {
                    Way::Answers(tunnel_address(table, path, own))
                };
                let link = Link {
                    path: path.name.clone(),
                    peer: table.nodes[peer.index()].name.clone(),
                    way,
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
        match link.way {
            Way::Calls(at) => carry::call(&port, at, self.tls.clone(), &link.peer),
            Way::Answers(at) => self.answering(at)?.admit(&link.peer, Arc::clone(&port)),
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

    /// Who may call at `address`, which is listened on from here on.
    fn answering(&mut self, address: IpAddr) -> Result<&Ports<LiveHost>> {
        let place = match self.servers.entry(address) {
            Entry::Occupied(place) => return Ok(&place.into_mut().ports),
            Entry::Vacant(place) => place,
        };
        let at = SocketAddr::new(address, self.tcp_port);
        let listener = self.host.tcp_listen(at, BACKLOG);
        let listener = listener.with_context(|| {
            let port = self.tcp_port;
            format!("cannot answer streams on {address} port {port}")
        })?;
        let (address, ports) = (listener.local_addr(), Ports::default());
        let server = carry::serve(&self.host, listener, ports.clone(), self.tls.clone());
        let answering = Answering {
            address,
            ports,
            _server: server,
        };
        Ok(&place.insert(answering).ports)
    }

    fn part(&mut self, number: u64) {
        let Some(Joined { link, port, .. }) = self.joined.remove(&number) else {
            return;
        };
        port.close();
        if let Way::Answers(at) = link.way
            && let Some(server) = self.servers.get(&at)
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
                ttl: TTL,
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
    }
}

fn tunnel_address(table: &RouteTable, path: &Path, node: NodeId) -> IpAddr {
    let node = &table.nodes[node.index()];
    match path.underlay {
        Family::V4 => node.underlay_v4.into(),
        Family::V6 => node.underlay_v6.into(),
    }
}
