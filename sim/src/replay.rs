//! A recorded trace, played to one node of a simulated world.
//!
//! The world is built as for any run. Packets come in over the links that lead to the node, in outer headers
//! where there is a tunnel, and the world carries them through the node's forwarder and onto its links. What
//! the links bring to their far ends is the result: what a node does here, its twin on the kernel must do too,
//! byte for byte from the GRE header inwards.

use std::net::IpAddr;
use std::sync::Arc;

use anyedge_net::drop_reason::DropCounts;
use anyedge_net::event::Event;
use anyedge_net::flow::Family;
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::port::PortId;
use anyedge_net::rng::Seed;
use anyedge_net::route_table::{Node, Path, RouteTable};
use anyedge_net::time::Instant;
use anyedge_net::wire::outer::Encap;
use anyedge_topologies::Topology;

use crate::build;
use crate::executor::Executor;
use crate::run::Options;
use crate::underlay;
use crate::world::{LinkEnd, LinkId, Recorded, World};

/// A packet on its way into the node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// Without a tunnel: at a POP from the Internet, at a host from its backend.
    Bare(Vec<u8>),
    /// By the tunnel from whoever has this underlay address.
    Tunnel {
        /// The outer source.
        from: IpAddr,
        /// Outer DSCP and ECN.
        tos: u8,
        /// From the GRE header inwards.
        bytes: Vec<u8>,
    },
}

/// A packet that the node sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Departure {
    /// When.
    pub at: Instant,
    /// By which port.
    pub port: PortId,
    /// The tunnel's other end; `UNKNOWN` without a tunnel.
    pub peer: NodeId,
    /// Outer DSCP and ECN; 0 without a tunnel.
    pub tos: u8,
    /// From the GRE header inwards, or the bare packet.
    pub bytes: Vec<u8>,
}

/// One node of a world, and time that stands until it is moved.
pub struct Replay {
    world: World,
    node: NodeId,
    /// No service runs, but the world holds on to what would run them.
    _executor: Executor,
}

impl Replay {
    /// The node of that full name in the world of `topology`, whose faults do not happen.
    ///
    /// # Errors
    /// When the topology reads well but cannot be built.
    ///
    /// # Panics
    /// When the topology has no such node.
    pub fn new(topology: &Topology, node: &str) -> Result<Replay, build::BuildError> {
        let executor = Executor::new();
        let calm = Topology {
            faults: Vec::new(),
            ..topology.clone()
        };
        let seed = Seed(calm.seed);
        let options = Options::default();
        let mut world = build::build(&calm, seed, &options, executor.handle().clone())?.world;
        let node = world.table.node_named(node).expect("a node of the file");
        world.isolate(node);
        Ok(Replay {
            world,
            node,
            _executor: executor,
        })
    }

    /// Lets the node's deadlines up to `at` come, and moves on to that time.
    pub fn pass(&mut self, at: Instant) {
        self.world.run_until(at);
    }

    /// Puts `table` in force at `at`. Nodes and paths of the world keep their ids in it; others may be added.
    pub fn apply(&mut self, at: Instant, table: Arc<RouteTable>) {
        self.world.run_until(at);
        self.world.apply(table);
        self.world.run_until(at);
    }

    /// A packet arrives at `at`.
    ///
    /// # Panics
    /// When the node has no side that such a packet could come in by.
    pub fn arrive(&mut self, at: Instant, arrival: &Arrival) {
        self.world.run_until(at);
        match arrival {
            Arrival::Bare(bytes) => match self.world.nodes[self.node.index()].backend {
                Some(host) => self.world.enter_from(host, bytes),
                None => {
                    let link = self.link_ending(|end| end == LinkEnd::PopPublic(self.node));
                    self.world.enter_by(link, bytes, |_| {});
                }
            },
            Arrival::Tunnel { from, tos, bytes } => self.arrive_by_tunnel(*from, *tos, bytes),
        }
        self.world.run_until(at);
    }

    /// What left the node since this was last asked.
    pub fn take_departures(&mut self) -> Vec<Departure> {
        let packets = core::mem::take(&mut self.world.recorder_mut().packets);
        packets
            .into_iter()
            .map(|packet| self.departure(packet))
            .collect()
    }

    /// What the node told since this was last asked.
    pub fn take_events(&mut self) -> Vec<(Instant, Event)> {
        core::mem::take(&mut self.world.recorder_mut().events)
    }

    /// Ends the world and gives the drops of all causes.
    ///
    /// # Panics
    /// When a packet is not accounted for.
    pub fn finish(mut self) -> DropCounts {
        self.world.close();
        self.world.drops()
    }

    fn arrive_by_tunnel(&mut self, from: IpAddr, tos: u8, bytes: &[u8]) {
        let (path, link) = self.way_in(from);
        let table = Arc::clone(&self.world.table);
        let own = &table.nodes[self.node.index()];
        let (family, sender) = match from {
            IpAddr::V4(address) => (
                Family::V4,
                Node {
                    underlay_v4: address,
                    ..own.clone()
                },
            ),
            IpAddr::V6(address) => (
                Family::V6,
                Node {
                    underlay_v6: address,
                    ..own.clone()
                },
            ),
        };
        let encap = self.world.table.paths[path.index()].encap;
        self.world.enter_by(link, bytes, |packet| {
            packet.meta.tos = tos;
            underlay::wrap(packet, encap, family, &sender, own)
                .expect("a fresh packet has headroom");
        });
    }

    /// The path that packets from `from` come by, and the link under it. A stranger's take the first.
    fn way_in(&mut self, from: IpAddr) -> (PathId, LinkId) {
        let table = Arc::clone(&self.world.table);
        let peer = self.world.neighbours.at(from);
        let own = || {
            table
                .paths()
                .filter(|(_, path)| joins(&table, path, self.node))
        };
        let known = own().find(|(_, path)| peer.is_some_and(|peer| joins(&table, path, peer)));
        let (id, _) = known
            .or_else(|| own().next())
            .expect("every node has a path");
        let leads_in = |end: &LinkEnd| {
            *end == LinkEnd::Tunnel(self.node, id) || *end == LinkEnd::RegionTunnel(id)
        };
        let link = match self.world.ends.iter().position(leads_in) {
            Some(link) => LinkId(link as u32),
            // The path came with a later table.
            None => self.world.add_way_in(id),
        };
        (id, link)
    }

    fn link_ending(&self, is_it: impl Fn(LinkEnd) -> bool) -> LinkId {
        let found = self.world.ends.iter().position(|end| is_it(*end));
        LinkId(found.expect("a link that leads to the node") as u32)
    }

    fn departure(&self, packet: Recorded) -> Departure {
        let Recorded { at, link, bytes } = packet;
        let node = &self.world.nodes[self.node.index()];
        let path = link.and_then(|link| node.tunnels.iter().position(|way| *way == Some(link)));
        let Some(path) = path else {
            let port = if link.is_some() {
                PortId::PUBLIC
            } else {
                PortId::BACKEND
            };
            return Departure {
                at,
                port,
                peer: NodeId::UNKNOWN,
                tos: 0,
                bytes,
            };
        };
        let encap: Encap = self.world.table.paths[path].encap;
        let outer = underlay::unwrap(&bytes, encap).expect("the world wrote it");
        let peer = self.world.neighbours.at(outer.destination);
        Departure {
            at,
            port: PortId::tunnel(PathId(path as u16)),
            peer: peer.unwrap_or(NodeId::UNKNOWN),
            tos: outer.tos,
            bytes: bytes[outer.len..].to_vec(),
        }
    }
}

/// Whether `node` is at an end of `path`.
fn joins(table: &RouteTable, path: &Path, node: NodeId) -> bool {
    !table.peers_over(path, node).is_empty()
}
