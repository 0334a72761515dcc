//! Tunnels that are gRPC streams, as the data plane's thread sees them: ports to send by, and a queue of what came in.
//!
//! The streams are tasks of a tokio runtime; the data plane is a thread of its own and waits for neither side. What it
//! sends goes into a port's bounded queue, which drops its oldest; what comes in waits in one bounded queue, and a bell
//! wakes the thread. Who calls whom is [`carry::calls`]. Paths and peers are known by name, so that another revision of
//! the table only renumbers them; those that a table adds later have no stream.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyedge_ccn::carry::{self, CarryCounts, CarryLimits, Frame, Port};
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
    joined: Vec<Joined>,
    by_ids: BTreeMap<(PathId, NodeId), usize>,
    arrivals: Receiver<(usize, Frame)>,
    bell: UnixStream,
    /// The other end of the bell's wire, to ring it from here.
    rope: UnixStream,
    overflowed: Arc<AtomicU64>,
    listening: Vec<SocketAddr>,
    _servers: Vec<Server>,
}

/// One end.
struct Joined {
    path: String,
    peer: String,
    port: Arc<Port<LiveHost>>,
    ids: Option<(PathId, NodeId)>,
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends = self.joined.iter().map(|end| (&end.path, &end.peer));
        f.debug_list().entries(ends).finish()
    }
}

/// What a port's task gives frames to.
#[derive(Clone)]
struct Door {
    arrivals: SyncSender<(usize, Frame)>,
    rope: Arc<UnixStream>,
    overflowed: Arc<AtomicU64>,
}

impl Door {
    fn take(&self, index: usize, frame: Frame) {
        if self.arrivals.try_send((index, frame)).is_err() {
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
        let overflowed = Arc::new(AtomicU64::new(0));
        let door = Door {
            arrivals: sender,
            rope: Arc::new(rope.try_clone().context("cannot share the bell")?),
            overflowed: Arc::clone(&overflowed),
        };
        let mut streams = Streams {
            joined: Vec::new(),
            by_ids: BTreeMap::new(),
            arrivals,
            bell,
            rope,
            overflowed,
            listening: Vec::new(),
            _servers: Vec::new(),
        };
        let mut answered: BTreeMap<IpAddr, BTreeMap<String, Arc<Port<LiveHost>>>> = BTreeMap::new();
        let paths = table.paths.iter().filter(|path| path.encap == Encap::Grpc);
        for path in paths {
            for peer in table.peers_over(path, own) {
                let name = table.nodes[peer.index()].name.clone();
                let end = streams.join(host, &door, &path.name, &name);
                if carry::calls(table, &path.ends, own) {
                    let at = SocketAddr::new(tunnel_address(table, path, peer), port);
                    carry::call(&end, at, tls.clone(), &name);
                } else {
                    let at = tunnel_address(table, path, own);
                    answered.entry(at).or_default().insert(name, end);
                }
            }
        }
        for (address, ports) in answered {
            let listener = host
                .tcp_listen(SocketAddr::new(address, port), BACKLOG)
                .with_context(|| format!("cannot answer streams on {address} port {port}"))?;
            streams.listening.push(listener.local_addr());
            let server = carry::serve(host, listener, ports, tls.clone());
            streams._servers.push(server);
        }
        streams.renumber(table, own);
        Ok(streams)
    }

    fn join(
        &mut self,
        host: &LiveHost,
        door: &Door,
        path: &str,
        peer: &str,
    ) -> Arc<Port<LiveHost>> {
        let (index, door) = (self.joined.len(), door.clone());
        let deliver = move |frame| door.take(index, frame);
        let port = Port::new(host, CarryLimits::default(), deliver);
        self.joined.push(Joined {
            path: path.to_owned(),
            peer: peer.to_owned(),
            port: Arc::clone(&port),
            ids: None,
        });
        port
    }

    /// Where it answers.
    #[must_use]
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// Path, peer and what became of the frames, of each end.
    pub fn counts(&self) -> impl Iterator<Item = (&str, &str, CarryCounts)> {
        let ends = self.joined.iter();
        ends.map(|end| (end.path.as_str(), end.peer.as_str(), end.port.counts()))
    }

    /// Takes the ids of another revision, in which this node has the id `own`.
    pub(super) fn renumber(&mut self, table: &RouteTable, own: NodeId) {
        self.by_ids.clear();
        for (index, end) in self.joined.iter_mut().enumerate() {
            let mut paths = table.paths();
            let path = paths.find(|(_, path)| path.name == end.path && path.encap == Encap::Grpc);
            let peer = table.node_named(&end.peer);
            let ids = path
                .zip(peer)
                .filter(|((_, path), peer)| table.peers_over(path, own).contains(peer));
            end.ids = ids.map(|((path, _), peer)| (path, peer));
            if let Some(ids) = end.ids {
                self.by_ids.insert(ids, index);
            }
        }
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
        ring(&self.rope);
    }

    /// The next frame that came in, copied into `into`: its length, 0 where it has no room, and where it is from.
    pub(super) fn take(&mut self, into: &mut [u8]) -> Option<(usize, Meta)> {
        loop {
            let (index, frame) = self.arrivals.try_recv().ok()?;
            let Some((path, peer)) = self.joined[index].ids else {
                self.overflowed.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let meta = Meta {
                port: PortId::tunnel(path),
                peer,
                entropy: 0,
                tos: frame.tos,
                ttl: TTL,
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
        let index = port.path().and_then(|path| self.by_ids.get(&(path, peer)));
        let Some(index) = index else {
            return false;
        };
        self.joined[*index].port.send(Frame::copied(packet, tos));
        true
    }

    /// Writes what was dropped so far into the totals.
    pub(super) fn publish(&self, totals: &Totals) {
        let counts = self.joined.iter().map(|end| end.port.counts());
        let (full, late) = counts.fold((0, 0), |(full, late), counts| {
            (full + counts.dropped_full, late + counts.dropped_late)
        });
        totals.set_refused(DropReason::StreamFull, full);
        totals.set_refused(DropReason::StreamLate, late);
        let overflowed = self.overflowed.load(Ordering::Relaxed);
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
