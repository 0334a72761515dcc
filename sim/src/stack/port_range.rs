//! Ephemeral ports: which one an unbound socket gets.
//!
//! Ports are handed out in rotation from a seeded start, so that a port rests for as long as possible before
//! it is used again, and two runs with one seed use the same. Range: Linux' default.

use std::ops::RangeInclusive;

const PORTS: RangeInclusive<u16> = 32_768..=60_999;
const COUNT: u16 = *PORTS.end() - *PORTS.start() + 1;

/// The rotation of one host and protocol.
pub(super) struct PortRange {
    next: u16,
}

impl PortRange {
    pub(super) const fn new(seed: u64) -> PortRange {
        PortRange {
            next: (seed % COUNT as u64) as u16,
        }
    }

    /// The next port that is not `taken`; `None` when all are.
    pub(super) fn take(&mut self, mut taken: impl FnMut(u16) -> bool) -> Option<u16> {
        for _ in 0..COUNT {
            let port = *PORTS.start() + self.next;
            self.next = (self.next + 1) % COUNT;
            if !taken(port) {
                return Some(port);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ports_are_given_once_before_the_first_comes_again() {
        let mut range = PortRange::new(20_000);
        let first = range.take(|_| false);
        let mut given: Vec<_> = (1..COUNT).map(|_| range.take(|_| false)).collect();
        given.extend([first]);
        given.sort_unstable();
        assert!(given.iter().copied().eq(PORTS.map(Some)));
        assert_eq!(range.take(|_| false), first);
        assert_eq!(range.take(|_| true), None);
    }
}
