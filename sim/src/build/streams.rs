//! The hosts at the ends of tunnels that are streams.

use std::net::IpAddr;

use anyedge_net::flow::Family;
use anyedge_net::route_table::RouteTable;

use super::ranks::Ranks;
use crate::executor::HostId;
use crate::stack::{HostConfig, HostStack, TcpBuffers};
use crate::streams::{StreamEnd, ends_of};
use crate::world::{Attachment, HostEntry, World};

/// As much of a stream as HTTP/2 lets be on its way: more would wait where nothing can be dropped.
const BUFFERS: TcpBuffers = TcpBuffers {
    receive: 256 << 10,
    send: 256 << 10,
};

/// The host at an end of a stream.
pub(crate) struct StreamHost {
    pub(crate) host: HostId,
    pub(crate) end: StreamEnd,
    /// `pop.tokyo/stream/tokyo-guangzhou`
    pub(crate) name: String,
}

fn name(table: &RouteTable, end: &StreamEnd) -> String {
    let node = &table.nodes[end.node.index()].name;
    let path = &table.paths[end.path.index()].name;
    format!("{node}/stream/{path}")
}

/// Names of all such hosts.
pub(super) fn names(table: &RouteTable) -> Vec<String> {
    ends_of(table).iter().map(|end| name(table, end)).collect()
}

/// Adds them. Those of a node that is not there yet are down.
pub(super) fn add(table: &RouteTable, ranks: &Ranks, world: &mut World) -> Vec<StreamHost> {
    let ends = ends_of(table).into_iter();
    ends.map(|end| add_host(table, end, ranks, world)).collect()
}

fn add_host(table: &RouteTable, end: StreamEnd, ranks: &Ranks, world: &mut World) -> StreamHost {
    let name = name(table, &end);
    let node = &table.nodes[end.node.index()];
    let path = &table.paths[end.path.index()];
    let address: IpAddr = match path.underlay {
        Family::V4 => node.underlay_v4.into(),
        Family::V6 => node.underlay_v6.into(),
    };
    let stack = HostStack::new(&HostConfig {
        mtu: path.mtu.into(),
        buffers: BUFFERS,
        ..world.host_config(name.clone(), vec![address])
    });
    let attachment = Attachment::Stream(end.node, end.path);
    let mut entry = HostEntry::new(stack, ranks.source(&name), attachment);
    entry.down = world.nodes[end.node.index()].down;
    let host = HostId(u32::try_from(world.hosts.len()).expect("the builder bounds the number"));
    world.hosts.push(entry);
    world.streams.add(&end, host);
    StreamHost { host, end, name }
}
