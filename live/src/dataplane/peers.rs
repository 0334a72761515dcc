//! Who a tunnelled packet is from and where one goes to: the route table as seen from one node's sockets.
//!
//! An outer source address that is a node's, and that a path of ours leads to, gives the packet its peer and port.
//! Any other source is a stranger: its packets reach the forwarder as [`NodeId::UNKNOWN`], which counts and drops
//! them, so that nothing is lost uncounted in the driver.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyedge_net::flow::Family;
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::port::PortId;
use anyedge_net::route_table::{Path, RouteTable};
use anyedge_net::wire::outer::Encap;
use anyedge_net::wire::udp;

/// The addresses around one node, for one revision.
#[derive(Clone, Debug)]
pub struct Peers {
    table: Arc<RouteTable>,
    own: NodeId,
    by_source: BTreeMap<IpAddr, Arrival>,
    by_raw_source: BTreeMap<IpAddr, Arrival>,
    stranger: Arrival,
}

/// How a packet from some source arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Who sent it.
    pub peer: NodeId,
    /// By which tunnel port.
    pub port: PortId,
}

impl Peers {
    /// What `own` shares a path with. Of several paths to one peer, the one of least round-trip time names the port.
    /// A packet has to come in the wrapping of its path: by UDP for one of GRE in UDP, by a raw socket for one of GRE. Paths
    /// that are streams are not for either: what came so would have shown no certificate.
    pub fn new(table: Arc<RouteTable>, own: NodeId) -> Self {
        let mut nearest: Vec<(PathId, &Path)> = table.paths().collect();
        nearest.sort_by(|(_, a), (_, b)| (a.rtt, &a.name).cmp(&(b.rtt, &b.name)));
        let (mut by_source, mut by_raw_source) = (BTreeMap::new(), BTreeMap::new());
        let mut own_port = None;
        for (id, path) in nearest {
            let port = PortId::tunnel(id);
            for peer in table.peers_over(path, own) {
                own_port.get_or_insert(port);
                let sources = match path.encap {
                    Encap::Gre => &mut by_raw_source,
                    Encap::GreUdp => &mut by_source,
                    Encap::Grpc | Encap::Quic | Encap::Plain => continue,
                };
                let source = underlay_of(&table, path.underlay, peer);
                sources.entry(source).or_insert(Arrival { peer, port });
            }
        }
        let port = own_port.unwrap_or(PortId::tunnel(PathId(0)));
        let stranger = Arrival {
            peer: NodeId::UNKNOWN,
            port,
        };
        Self {
            table,
            own,
            by_source,
            by_raw_source,
            stranger,
        }
    }

    /// Takes another revision, in which the node is `own`. Where nodes and paths are the very same, so is who is around.
    pub fn renew(&mut self, table: Arc<RouteTable>, own: NodeId) {
        if own == self.own && table.has_ground_of(&self.table) {
            self.table = table;
        } else {
            *self = Self::new(table, own);
        }
    }

    /// The peer and port of a datagram with this outer source.
    pub fn arrival(&self, source: IpAddr) -> Arrival {
        // A wildcard socket shows IPv4 sources as mapped.
        let arrival = self.by_source.get(&source.to_canonical());
        arrival.copied().unwrap_or(self.stranger)
    }

    /// The peer and port of a packet with this outer source that came as IP protocol 47.
    pub fn raw_arrival(&self, source: IpAddr) -> Arrival {
        let arrival = self.by_raw_source.get(&source);
        arrival.copied().unwrap_or(self.stranger)
    }

    /// Where a datagram to `peer` by `port` goes; `None` when either is not in the table, or the path is no GRE in UDP.
    pub fn destination(&self, port: PortId, peer: NodeId) -> Option<SocketAddr> {
        let address = self.underlay(port, peer, Encap::GreUdp)?;
        Some(SocketAddr::new(address, udp::PORT_GRE))
    }

    /// Where a packet to `peer` by `port` goes as IP protocol 47; `None` when either is not in the table, or the path is
    /// no such one.
    pub fn raw_destination(&self, port: PortId, peer: NodeId) -> Option<IpAddr> {
        self.underlay(port, peer, Encap::Gre)
    }

    fn underlay(&self, port: PortId, peer: NodeId, encap: Encap) -> Option<IpAddr> {
        let path = self.table.paths.get(port.path()?.index())?;
        let is_there = path.encap == encap && peer.index() < self.table.nodes.len();
        is_there.then(|| underlay_of(&self.table, path.underlay, peer))
    }
}

/// The paths that end at `own`.
pub fn own_paths(table: &RouteTable, own: NodeId) -> impl Iterator<Item = &Path> {
    table
        .paths
        .iter()
        .filter(move |path| !table.peers_over(path, own).is_empty())
}

fn underlay_of(table: &RouteTable, family: Family, node: NodeId) -> IpAddr {
    let node = &table.nodes[node.index()];
    match family {
        Family::V4 => IpAddr::V4(node.underlay_v4),
        Family::V6 => IpAddr::V6(node.underlay_v6),
    }
}
