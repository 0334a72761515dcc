//! A region's own network without tunnels: its one CLB node and the hosts that have no vSwitch.
//!
//! A packet goes as it is over the link under a [plain](Encap::Plain) path: to the host that has the address it is
//! sent to, and from a host, whatever it is sent to, to the region's CLB node, as a default route would lead it.

use std::collections::BTreeMap;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::Address;
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::packet::{Meta, Packet};
use anyedge_net::port::PortId;
use anyedge_net::route_table::{Path, PathEnds};
use anyedge_net::wire::ip::destination;
use anyedge_net::wire::outer::Encap;

use super::{LinkId, World};

/// Who is on a region's own network.
#[derive(Default)]
pub(crate) struct Vpc {
    /// The plain path to the host of each address.
    hosts: BTreeMap<Address, PathId>,
    /// The way of each host to its CLB node.
    homeward: BTreeMap<NodeId, LinkId>,
}

impl Vpc {
    /// Adds a host with its addresses, and the link towards its CLB node.
    pub(crate) fn add(
        &mut self,
        host: NodeId,
        path: PathId,
        homeward: LinkId,
        addresses: impl IntoIterator<Item = Address>,
    ) {
        self.hosts
            .extend(addresses.into_iter().map(|address| (address, path)));
        self.homeward.insert(host, homeward);
    }
}

impl World {
    /// A CLB node sends a packet to a host without a vSwitch.
    pub(super) fn send_to_vpc(&mut self, node: usize, packet: Packet) {
        let to = destination(packet.bytes());
        let path = to.and_then(|to| self.vpc.hosts.get(&to));
        match path.and_then(|path| self.nodes[node].tunnel(*path)) {
            Some(link) => self.send_on(link, packet),
            None => self.lose(packet, DropReason::NoRoute),
        }
    }

    /// The way that a backend's packets leave by; `None` where a vSwitch takes them.
    pub(super) fn way_without_vswitch(&self, host: NodeId) -> Option<LinkId> {
        self.vpc.homeward.get(&host).copied()
    }

    /// A packet came over the link under a plain path, to `at` or else to the region's CLB node.
    pub(super) fn vpc_packet(&mut self, at: Option<NodeId>, path: PathId, mut packet: Packet) {
        if let Some(host) = at {
            return match self.nodes[host.index()].backend {
                Some(backend) => self.host_packet(backend, packet),
                None => self.lose(packet, DropReason::NoRoute),
            };
        }
        match self.clb_node_of(&self.table.paths[path.index()]) {
            Some(node) => {
                packet.meta = Meta::plain(PortId::VPC);
                self.node_packet(node, packet);
            }
            None => self.lose(packet, DropReason::NoRoute),
        }
    }

    /// The one CLB node of a plain path's region.
    fn clb_node_of(&self, path: &Path) -> Option<NodeId> {
        let PathEnds::Fabric { region, .. } = path.ends else {
            return None;
        };
        let region = self.table.regions.get(region.index())?;
        region.clb_nodes.first().copied()
    }
}

/// Whether a path's packets go without a tunnel.
pub(crate) fn is_plain(path: &Path) -> bool {
    path.encap == Encap::Plain
}
