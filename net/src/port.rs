//! Ports: the numbered mouths of a forwarder, the same numbers in both worlds.
//!
//! A driver gives each arriving packet its port; the forwarder gives each departing packet one. What a
//! port is made of (a TUN device, a UDP socket, a simulated link, a queue to a service) is the driver's
//! affair. A tunnel's port follows from its path, so the route table is all that both sides must share.

use crate::id::PathId;

/// What lies behind a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum PortKind {
    /// The node's own host stack: packets for its services.
    Local,
    /// The Internet side: bare IP packets from and to clients.
    Public,
    /// The region's private network, without a tunnel.
    Vpc,
    /// The backend on the same host as a vSwitch.
    Backend,
    /// A CCN path or an intra-region tunnel: packets start with a GRE header.
    Tunnel,
}

/// A port's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PortId(pub u16);

const TUNNELS_FROM: u16 = 16;

impl PortId {
    /// The node's own host stack.
    pub const LOCAL: PortId = PortId(0);
    /// The Internet side.
    pub const PUBLIC: PortId = PortId(1);
    /// The region's private network.
    pub const VPC: PortId = PortId(2);
    /// The backend beside a vSwitch.
    pub const BACKEND: PortId = PortId(3);

    /// The mouth of the tunnel over `path`.
    ///
    /// # Panics
    /// When `path` is above 65,519, which the route table's author refuses to make.
    pub const fn tunnel(path: PathId) -> PortId {
        assert!(path.0 <= u16::MAX - TUNNELS_FROM, "path ids are bounded");
        PortId(path.0 + TUNNELS_FROM)
    }

    /// The path behind a tunnel port; `None` for the other kinds.
    pub const fn path(self) -> Option<PathId> {
        if self.0 >= TUNNELS_FROM {
            Some(PathId(self.0 - TUNNELS_FROM))
        } else {
            None
        }
    }

    /// What lies behind this port; `None` for a number nobody uses.
    pub const fn kind(self) -> Option<PortKind> {
        match self.0 {
            0 => Some(PortKind::Local),
            1 => Some(PortKind::Public),
            2 => Some(PortKind::Vpc),
            3 => Some(PortKind::Backend),
            4..TUNNELS_FROM => None,
            _ => Some(PortKind::Tunnel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_port_and_its_path_name_each_other() {
        for path in [0, 1, 839, u16::MAX - TUNNELS_FROM] {
            let port = PortId::tunnel(PathId(path));
            assert_eq!(port.path(), Some(PathId(path)));
            assert_eq!(port.kind(), Some(PortKind::Tunnel));
        }
        assert_eq!(PortId::PUBLIC.path(), None);
    }
}
