//! The table keys of connections and of what is bound or listens.

use std::hash::{Hash, Hasher};
use std::net::SocketAddr;

use anyedge_net::flow::{Address, FlowKey};

use super::socket_address;
use crate::lookup::hash_address;

/// Both ends of a TCP connection, ours first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tuple {
    pub(super) local: Address,
    pub(super) remote: Address,
    pub(super) local_port: u16,
    pub(super) remote_port: u16,
}

impl Tuple {
    /// The connection that an arriving packet belongs to.
    pub(super) const fn of_arrival(flow: &FlowKey) -> Tuple {
        Tuple {
            local: flow.dst,
            remote: flow.src,
            local_port: flow.dst_port,
            remote_port: flow.src_port,
        }
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        socket_address(self.local, self.local_port)
    }

    pub(super) fn remote_addr(&self) -> SocketAddr {
        socket_address(self.remote, self.remote_port)
    }
}

impl Hash for Tuple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_address(self.local, state);
        hash_address(self.remote, state);
        state.write_u32(u32::from(self.local_port) << 16 | u32::from(self.remote_port));
    }
}

/// An address and a port: the key of what is bound or listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bound {
    pub(super) address: Address,
    pub(super) port: u16,
}

impl Hash for Bound {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_address(self.address, state);
        state.write_u16(self.port);
    }
}
