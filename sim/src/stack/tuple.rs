//! The table key of a connection, and the hash that finds it.
//!
//! The table is never iterated, so its hash decides nothing but speed: a folded multiplication over the few
//! words of a tuple, the same in every run.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::net::SocketAddr;

use anyedge_net::flow::{Address, FlowKey};

use super::socket_address;

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

fn hash_address<H: Hasher>(address: Address, state: &mut H) {
    match (address.v4_octets(), address.v6_octets()) {
        (Some(octets), _) => state.write_u32(u32::from_ne_bytes(octets)),
        (None, Some(octets)) => {
            let wide = u128::from_ne_bytes(octets);
            state.write_u64(wide as u64);
            state.write_u64((wide >> 64) as u64);
        }
        (None, None) => {}
    }
}

/// A map whose hash is the same in every run. It is looked up, never iterated.
pub(super) type Table<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Folded>>;

/// Multiplies and folds, word by word.
#[derive(Default)]
pub(super) struct Folded(u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u16(&mut self, word: u16) {
        self.write_u64(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        // The odd multiplier is the golden ratio's, as in Knuth's multiplicative hashing.
        let wide = u128::from(self.0.rotate_left(23) ^ word ^ 0x517c_c1b7_2722_0a95)
            * 0x9e37_79b9_7f4a_7c15;
        self.0 = (wide >> 64) as u64 ^ wide as u64;
    }
}
