//! Both ends of a link with certificates: who calls, who answers, and at which port.

use core::net::SocketAddr;
use std::sync::Arc;

use anyedge_net::host::Host;
use anyedge_net::id::NodeId;
use anyedge_net::route_table::{PathEnds, RouteTable};
use tonic::service::Routes;

use super::{CarryLimits, Port, Ports, TunnelService, dial};
use crate::rpc::{Channel, ClientSecurity, Server, ServerSecurity, Tls};

/// The TCP port of nodes that answer; that of GRE in UDP, which is no TCP service's.
pub const PORT: u16 = 4754;

/// Whether `own` calls its peers over a path between `ends`: a POP calls CLB nodes, and of two regions the nodes of the
/// first call.
#[must_use]
pub fn calls(table: &RouteTable, ends: &PathEnds, own: NodeId) -> bool {
    match ends {
        PathEnds::Ccn { pop, .. } => *pop == own,
        PathEnds::Backbone {
            regions: [first, _],
        } => {
            let first = table.regions.get(first.index());
            first.is_some_and(|region| region.clb_nodes.contains(&own))
        }
        PathEnds::Fabric { .. } | PathEnds::Mesh { .. } => false,
    }
}

/// Joins `port` with the node of that name at `address`, again and again until `port` is dropped.
pub fn call<H: Host>(port: &Arc<Port<H>>, address: SocketAddr, tls: Tls, name: &str) {
    let server = name.to_owned();
    let security = ClientSecurity::Tls { tls, server };
    let channel = Channel::new(&port.host, address, security, CarryLimits::rpc());
    dial(port, channel);
}

/// Answers nodes that call, each with the port under its name, until what is returned is dropped.
#[must_use]
pub fn serve<H: Host>(
    host: &H,
    listener: H::Listener,
    ports: impl Into<Ports<H>>,
    tls: Tls,
) -> Server {
    let routes = Routes::new(TunnelService::server(ports));
    let security = ServerSecurity::Tls(tls);
    Server::serve(host, listener, routes, security, CarryLimits::rpc())
}
