//! What one node needs: its own addresses and ports, ways to its neighbours that carry its packets, and its controllers.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use anyedge_ccn::assemble::Assembler;
use anyedge_net::flow::Family;
use anyedge_net::id::NodeId;
use anyedge_net::route_table::{NodeKind, RouteTable};
use anyedge_net::wire::udp;
use anyedge_topologies::Topology;
use nix::libc;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::IpMtu;
use nix::{getsockopt_impl, sockopt_impl};

use super::Finding;
use crate::dataplane::peers::own_paths;
use crate::lab::refused::refuse;
use crate::node;

sockopt_impl!(
    /// What the kernel knows of a connected socket's way, in bytes.
    Ipv6Mtu,
    GetOnly,
    libc::IPPROTO_IPV6,
    libc::IPV6_MTU,
    libc::c_int
);

/// The node that this machine shall be.
#[derive(Debug)]
pub struct Patient {
    table: Arc<RouteTable>,
    own: NodeId,
}

impl Patient {
    /// The node of that name.
    ///
    /// # Errors
    /// When there is none; the error names those that there are.
    pub fn find(topology: &Topology, name: &str) -> anyhow::Result<Patient> {
        let table = node::founding_table(topology, [0; 16])?;
        let table = Assembler::new().assemble(&table);
        let Some(own) = table.node_named(name) else {
            let names: Vec<&str> = table.nodes.iter().map(|node| &*node.name).collect();
            refuse!(
                "`{name}` is no node of the file; it has {}",
                names.join(", ")
            );
        };
        Ok(Patient { table, own })
    }

    /// Whether clients' packets come to it.
    pub fn is_pop(&self) -> bool {
        self.table.nodes[self.own.index()].kind == NodeKind::Pop
    }
}

/// Looks at addresses, ports and ways.
pub(super) fn examine(patient: &Patient) -> Vec<Finding> {
    let own = &patient.table.nodes[patient.own.index()];
    let all = [IpAddr::from(own.underlay_v4), own.underlay_v6.into()];
    let own = all.into_iter().filter(|address| !address.is_unspecified());
    let mut findings: Vec<Finding> = own.map(address).collect();
    findings.extend(neighbours(patient));
    findings
}

/// Whether the tunnel address is here, and its port free.
fn address(address: IpAddr) -> Finding {
    let check = "address";
    let port = udp::PORT_GRE;
    match UdpSocket::bind((address, port)) {
        Ok(_) => Finding::well(check, format!("{address} is here, UDP port {port} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::bad(
            check,
            format!("UDP port {port} of {address} is taken"),
            format!("ss -lunp sport = :{port}   # and end what has it"),
        ),
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            let len = if address.is_ipv4() { 32 } else { 128 };
            Finding::bad(
                check,
                format!("the tunnel address {address} is on no interface"),
                format!(
                    "ip addr add {address}/{len} dev lo   # or on the interface that leads to the backbone"
                ),
            )
        }
        Err(error) => Finding::bad(check, format!("{address}: {error}"), "see the error"),
    }
}

/// Whether there is a way to each neighbour, and how large a packet it takes.
fn neighbours(patient: &Patient) -> Vec<Finding> {
    let table = &patient.table;
    let mut findings = Vec::new();
    for path in own_paths(table, patient.own) {
        for peer in table.peers_over(path, patient.own) {
            let node = &table.nodes[peer.index()];
            let to = match path.underlay {
                Family::V4 => IpAddr::V4(node.underlay_v4),
                Family::V6 => IpAddr::V6(node.underlay_v6),
            };
            findings.push(way(&node.name, to, path.mtu));
        }
    }
    findings
}

fn way(peer: &str, to: IpAddr, mtu: u16) -> Finding {
    let check = "way";
    let any: IpAddr = if to.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    };
    let joined = UdpSocket::bind((any, 0)).and_then(|socket| {
        // Nothing is sent: the kernel only looks for a way.
        socket.connect(SocketAddr::new(to, udp::PORT_GRE))?;
        Ok(socket)
    });
    let socket = match joined {
        Ok(socket) => socket,
        Err(error) => {
            return Finding::bad(
                check,
                format!("none to {peer} at {to}: {error}"),
                format!("ip route add {to} via GATEWAY"),
            );
        }
    };
    let carries = if to.is_ipv4() {
        getsockopt(&socket, IpMtu)
    } else {
        getsockopt(&socket, Ipv6Mtu)
    };
    match carries.ok().and_then(|carries| u32::try_from(carries).ok()) {
        Some(carries) if carries < u32::from(mtu) => Finding::bad(
            check,
            format!("that to {peer} carries {carries} bytes, and the file says {mtu}"),
            format!(
                "ip link set dev INTERFACE mtu {mtu}   # or mtu = {carries} for the link in the file"
            ),
        ),
        Some(carries) => Finding::well(check, format!("to {peer} at {to}, {carries} bytes")),
        None => Finding::well(check, format!("to {peer} at {to}")),
    }
}
