//! Proved addresses: a fixed number of cells, filed by a keyed hash.
//!
//! Each address may stand in one of four cells; when all four are taken, the proof that ends first makes room. A
//! cell holds 32 bits of hash and the second at which the proof ends, no address, so a collision lets one
//! stranger in 2^30 pass, which then meets the limits on half-open flows.
//!
//! Invariant: the memory is that of construction.

use core::time::Duration;

use anyedge_net::flow::{Address, HashKey};
use anyedge_net::rng::Rng;
use anyedge_net::time::Instant;

/// Addresses that can be proved at a time.
pub const PROVED_MAX: usize = 65_536;
/// How long a proof is good.
pub const PROVED_FOR: Duration = Duration::from_secs(120);

const WAYS: usize = 4;

/// Who has proved its address.
pub(super) struct Proved {
    key: HashKey,
    sets: Box<[[Cell; WAYS]]>,
}

/// An address, by its hash; `until` 0 is empty.
#[derive(Clone, Copy, Default)]
struct Cell {
    tag: u32,
    /// In whole seconds since the epoch.
    until: u32,
}

impl Proved {
    /// An empty table under a key drawn from `rng`.
    pub(super) fn new(rng: &mut Rng) -> Proved {
        let mut bytes = [0; 16];
        rng.fill(&mut bytes);
        Proved {
            key: HashKey::new(bytes),
            sets: vec![[Cell::default(); WAYS]; PROVED_MAX / WAYS].into_boxed_slice(),
        }
    }

    /// Notes that a client's address is proved from now on.
    pub(super) fn add(&mut self, now: Instant, client: &Address) {
        let (tag, set) = self.place(client);
        let cells = &mut self.sets[set];
        let same = cells.iter().position(|cell| cell.tag == tag);
        let first_to_end = || (0..WAYS).min_by_key(|way| cells[*way].until);
        if let Some(way) = same.or_else(first_to_end) {
            let until = seconds(now + PROVED_FOR);
            cells[way] = Cell { tag, until };
        }
    }

    /// Whether a client's address is proved.
    pub(super) fn has(&self, now: Instant, client: &Address) -> bool {
        let (tag, set) = self.place(client);
        let is_good = |cell: &Cell| cell.tag == tag && seconds(now) < cell.until;
        self.sets[set].iter().any(is_good)
    }

    fn place(&self, client: &Address) -> (u32, usize) {
        let hash = self.key.hash_bytes(client.octets());
        ((hash >> 32) as u32, hash as usize % self.sets.len())
    }
}

/// Whole seconds since the epoch; a world older than 136 years has no proofs.
fn seconds(at: Instant) -> u32 {
    u32::try_from(at.as_nanos() / 1_000_000_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use anyedge_net::rng::Seed;
    use proptest::prelude::*;

    use super::*;

    fn address(number: u32) -> Address {
        Address::v4(number.to_be_bytes())
    }

    proptest! {
        /// Against a list of proofs; few enough that no set overflows by chance.
        #[test]
        fn it_knows_whom_a_list_of_proofs_knows(
            steps in proptest::collection::vec((0_u32..40, 0_u64..60, any::<bool>()), 1..80),
        ) {
            let mut proved = Proved::new(&mut Seed(7).stream("node", "test"));
            let mut list = std::collections::BTreeMap::new();
            let mut now = Instant::ZERO;
            for (number, secs, adds) in steps {
                now += Duration::from_secs(secs);
                if adds {
                    proved.add(now, &address(number));
                    list.insert(number, now + PROVED_FOR);
                }
                for number in 0..40 {
                    let expected = list.get(&number).is_some_and(|until| now < *until);
                    prop_assert_eq!(proved.has(now, &address(number)), expected);
                }
            }
        }
    }

    #[test]
    fn it_holds_no_more_than_it_has_cells_and_forgets_the_oldest() {
        let mut proved = Proved::new(&mut Seed(7).stream("node", "test"));
        let mut now = Instant::ZERO;
        for number in 0..4 * PROVED_MAX as u32 {
            now += Duration::from_micros(100);
            proved.add(now, &address(number));
        }
        let known = |range: std::ops::Range<u32>| {
            range
                .filter(|number| proved.has(now, &address(*number)))
                .count()
        };
        assert!(known(0..4 * PROVED_MAX as u32) <= PROVED_MAX);
        let last = 4 * PROVED_MAX as u32;
        assert!(known(last - 10_000..last) > 9_900, "the latest are there");
    }
}
