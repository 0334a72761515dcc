//! The other ends of the node's tunnels: UDP sockets on the underlay address of every other node, and of strangers.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use anyedge_live::dataplane::mouth::{Mouth, Trains};
use anyedge_net::flow::Family;
use anyedge_net::id::NodeId;
use anyedge_net::port::PortId;
use anyedge_net::route_table::RouteTable;
use anyedge_net::wire::udp;
use anyedge_sim::replay::Arrival;
use anyhow::{Context, Result, anyhow};

use crate::trace::network::{joins, underlay_of};
use crate::trace::{Input, Trace};

/// One mouth for each address, closed until [`Peers::open`].
pub(super) struct Peers {
    mouths: BTreeMap<IpAddr, Option<Mouth>>,
    /// Packets that came with others in one message.
    waiting: VecDeque<(Received, Vec<u8>)>,
    trains: Trains,
}

/// A packet that a peer got.
pub(super) struct Received {
    pub(super) by: IpAddr,
    pub(super) tos: u8,
    pub(super) len: usize,
}

impl Peers {
    /// All other nodes of all tables, and whoever else sends in `trace`.
    pub(super) fn of(trace: &Trace) -> Peers {
        let mut addresses = BTreeMap::new();
        for table in &trace.network.tables {
            let others = table.nodes.iter().filter(|node| node.name != trace.node);
            for node in others {
                addresses.insert(IpAddr::V4(node.underlay_v4), None);
                addresses.insert(IpAddr::V6(node.underlay_v6), None);
            }
        }
        for entry in &trace.entries {
            if let Input::Packet(Arrival::Tunnel { from, .. }) = &entry.input {
                addresses.insert(*from, None);
            }
        }
        Peers {
            mouths: addresses,
            waiting: VecDeque::new(),
            trains: Trains::new(),
        }
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.mouths.keys().copied()
    }

    /// Opens the sockets in the calling thread's namespace, where the addresses must be.
    pub(super) fn open(mut self) -> Result<Peers> {
        for (address, mouth) in &mut self.mouths {
            *mouth = Some(match address {
                IpAddr::V4(v4) => Mouth::open(Some(*v4), None)?,
                IpAddr::V6(v6) => Mouth::open(None, Some(*v6))?,
            });
        }
        Ok(self)
    }

    /// `from` sends a packet to the tunnel mouth at `to`.
    pub(super) fn send(&mut self, from: IpAddr, to: IpAddr, tos: u8, bytes: &[u8]) -> Result<()> {
        let mouth = self.mouths.get_mut(&from).and_then(Option::as_mut);
        let mouth = mouth.with_context(|| format!("no socket at {from}"))?;
        let to = SocketAddr::new(to, udp::PORT_GRE);
        mouth
            .send(bytes, to, 0, tos)
            .map_err(|reason| anyhow!("the kernel did not take a packet of {from}: {reason:?}"))
    }

    /// A packet that waits at some peer.
    pub(super) fn recv(&mut self, into: &mut [u8]) -> Result<Option<Received>> {
        if self.waiting.is_empty() {
            self.take()?;
        }
        Ok(self.waiting.pop_front().map(|(received, bytes)| {
            into[..bytes.len()].copy_from_slice(&bytes);
            received
        }))
    }

    /// Takes what waits at some peer, train by train.
    fn take(&mut self) -> Result<()> {
        for (address, mouth) in &mut self.mouths {
            let mouth = mouth.as_mut().context("the sockets were opened")?;
            let sides: Vec<_> = mouth.receivers().map(|(side, _)| side).collect();
            for side in sides {
                let (messages, _) = mouth.recv(side, &mut self.trains)?;
                for index in 0..messages {
                    let message = self
                        .trains
                        .message(index)
                        .context("a source that is no address")?;
                    for bytes in self.trains.bytes(index).chunks(message.datagram_len) {
                        let received = Received {
                            by: *address,
                            tos: message.tos,
                            len: bytes.len(),
                        };
                        self.waiting.push_back((received, bytes.to_vec()));
                    }
                }
            }
        }
        Ok(())
    }
}

/// The tunnel port of `own` that leads to the node at `address`, and that node.
pub(super) fn port_to(
    table: &RouteTable,
    own: NodeId,
    address: IpAddr,
) -> Result<(PortId, NodeId)> {
    let family = if address.is_ipv4() {
        Family::V4
    } else {
        Family::V6
    };
    let ids = (0..table.nodes.len() as u16).map(NodeId);
    let peer = ids
        .into_iter()
        .find(|id| underlay_of(table, *id, family) == address)
        .with_context(|| format!("a packet went to {address}, which is no node's"))?;
    let (path, _) = table
        .paths()
        .find(|(_, path)| {
            path.underlay == family && joins(table, path, own) && joins(table, path, peer)
        })
        .with_context(|| format!("a packet went to {address}, where no path leads"))?;
    Ok((PortId::tunnel(path), peer))
}
