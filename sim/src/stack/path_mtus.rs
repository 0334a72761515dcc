//! Path MTUs that a host has learned from "too big" errors, by destination.
//!
//! Only a smaller MTU is believed, never one below the least that IP allows for the purpose, and not for ever: a
//! route may change for the better. TCP asks before each pass over a connection, UDP before each datagram.
//! References: RFC 1191 §6.3 (aging, 10 minutes), RFC 8201 §4 (IPv6: never below 1,280), Linux's `min_pmtu` (552).

use core::time::Duration;
use std::collections::BTreeMap;

use anyedge_net::flow::{Address, Family};
use anyedge_net::time::Instant;

const AGE_MAX: Duration = Duration::from_secs(600);
const ENTRIES_MAX: usize = 4_096;
const LEAST_V4: usize = 552;
const LEAST_V6: usize = 1_280;

/// What a host knows of its paths.
pub(super) struct PathMtus {
    own: usize,
    learned: BTreeMap<Address, (usize, Instant)>,
}

impl PathMtus {
    /// Nothing learned; `own` is the MTU of the host's own link.
    pub(super) const fn new(own: usize) -> PathMtus {
        PathMtus {
            own,
            learned: BTreeMap::new(),
        }
    }

    /// The largest packet to `destination`.
    pub(super) fn to(&self, destination: Address, now: Instant) -> usize {
        match self.learned.get(&destination) {
            Some((mtu, until)) if now < *until => *mtu,
            Some(_) | None => self.own,
        }
    }

    /// Notes that the way to `destination` takes `mtu` bytes.
    pub(super) fn learn(&mut self, destination: Address, mtu: u32, now: Instant) {
        let least = match destination.family() {
            Family::V4 => LEAST_V4,
            Family::V6 => LEAST_V6,
        };
        let mtu = usize::try_from(mtu).unwrap_or(usize::MAX).max(least);
        let known = self.learned.contains_key(&destination);
        if mtu >= self.to(destination, now) || (!known && self.learned.len() >= ENTRIES_MAX) {
            return;
        }
        self.learned.insert(destination, (mtu, now + AGE_MAX));
    }

    pub(super) fn forget_all(&mut self) {
        self.learned.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_mtu_is_believed_down_to_the_least_and_for_ten_minutes() {
        let mut mtus = PathMtus::new(1_500);
        let (v4, v6) = (Address::v4([192, 0, 2, 1]), Address::v6([0x20; 16]));
        let start = Instant::ZERO;
        assert_eq!(mtus.to(v4, start), 1_500);
        mtus.learn(v4, 1_464, start);
        mtus.learn(v4, 1_480, start);
        mtus.learn(v4, 9_000, start);
        assert_eq!((mtus.to(v4, start), mtus.to(v6, start)), (1_464, 1_500));
        mtus.learn(v4, 68, start);
        mtus.learn(v6, 576, start);
        assert_eq!((mtus.to(v4, start), mtus.to(v6, start)), (552, 1_280));
        assert_eq!(mtus.to(v4, start + AGE_MAX), 1_500);
    }
}
