//! Maps that are looked up for every packet.
//!
//! None of them is ever iterated, so their hash decides nothing but speed: a folded multiplication over the few
//! words of a key, the same in every run. Keys come from the topology, not from strangers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use anyedge_net::flow::Address;

/// An address as a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct At(pub(crate) Address);

impl Hash for At {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_address(self.0, state);
    }
}

/// By address.
pub(crate) type AddressMap<T> = Table<At, T>;

pub(crate) fn hash_address<H: Hasher>(address: Address, state: &mut H) {
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
pub(crate) type Table<K, V> = HashMap<K, V, BuildHasherDefault<Folded>>;

/// Multiplies and folds, word by word.
#[derive(Default)]
pub(crate) struct Folded(u64);

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
