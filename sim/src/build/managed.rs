//! The nodes' own hosts on the management network, on which their services run.

use std::net::IpAddr;

use anyedge_net::drop_reason::DropReason;
use anyedge_topologies::{Managed, Topology};

use super::ranks::{self, Ranks};
use crate::executor::HostId;
use crate::management::Management;
use crate::stack::{HostConfig, HostStack};
use crate::world::{Attachment, HostEntry, World};

/// The host of a node.
pub(crate) struct ManagedHost {
    pub(crate) host: HostId,
    /// The node's full name.
    pub(crate) name: String,
}

/// Adds the management network and a host on it for every node. A node that a fault adds is down until then.
pub(super) fn add(topology: &Topology, ranks: &Ranks, world: &mut World) -> Vec<ManagedHost> {
    let mut management = Management::of(topology, ranks.len());
    let mut hosts = Vec::new();
    for node in topology.managed() {
        let host = add_host(&node, topology, ranks, world);
        management.add(host, &node);
        hosts.push(ManagedHost {
            host,
            name: node.name,
        });
    }
    world.management = Some(Box::new(management));
    hosts
}

fn add_host(node: &Managed, topology: &Topology, ranks: &Ranks, world: &mut World) -> HostId {
    let source = ranks::managed(&node.name);
    let addresses: Vec<IpAddr> = node.address.iter().collect();
    let stack = HostStack::new(&HostConfig {
        mtu: topology.defaults.management.mtu_bytes as usize,
        ..world.host_config(source.clone(), addresses)
    });
    let mut entry = HostEntry::new(stack, ranks.source(&source), Attachment::Managed);
    entry.down = node.added_at.map(|_| DropReason::ClbNodeDown);
    world.hosts.push(entry);
    HostId(u32::try_from(world.hosts.len() - 1).expect("the builder bounds the number of hosts"))
}
