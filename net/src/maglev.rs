//! Maglev hashing: a table from hash to member that barely moves when a member comes or goes.
//!
//! Each member walks its own permutation of the table and takes the next free place in turn, so that shares
//! follow weights and, when one of N leaves, about 1/N of the table changes. A member of half the greatest
//! weight takes its turn in every second round: a credit of `weight` per round, a place for each `max weight`.
//!
//! Invariant: the table depends on names and weights alone, not on the order of the members, the process or
//! the machine. Reference: D. Eisenbud et al., "Maglev", NSDI 2016, §3.4.

use crate::flow::HashKey;

/// Public by design: the two walks must be equal everywhere, and names are chosen by the operator, not by clients.
const OFFSET_KEY: HashKey = HashKey::new(*b"maglev offset v1");
const SKIP_KEY: HashKey = HashKey::new(*b"maglev skip   v1");

/// One candidate for places in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// What [`Maglev::lookup`] returns.
    pub id: u16,
    /// What decides the member's places. Unique among the members.
    pub name: &'a str,
    /// Its share, relative to the others. 0 means no place at all.
    pub weight: u32,
}

/// A lookup table over weighted members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maglev {
    table: Box<[u16]>,
}

struct Walk {
    id: u16,
    weight: u64,
    credit: u64,
    next: u32,
    skip: u32,
}

impl Maglev {
    /// Fills a table of `size` places (a prime, about 100 times the number of members or more).
    ///
    /// Without any member of positive weight the table is empty and every lookup gives `None`.
    ///
    /// # Panics
    /// If `size` is not a prime: the walks would not reach every place.
    pub fn build(members: &[Member<'_>], size: u32) -> Self {
        assert!(is_prime(size), "the size of a Maglev table is a prime");
        let mut walks = walks(members, size);
        let Some(weight_max) = walks.iter().map(|walk| walk.weight).max() else {
            return Self {
                table: Box::default(),
            };
        };
        let mut table = vec![0; size as usize].into_boxed_slice();
        let mut taken = vec![0_u64; (size as usize).div_ceil(64)];
        let mut free = size;
        while free > 0 {
            for walk in &mut walks {
                walk.credit += walk.weight;
                if walk.credit < weight_max {
                    continue;
                }
                walk.credit -= weight_max;
                let place = walk.take(&mut taken, size);
                table[place as usize] = walk.id;
                free -= 1;
                if free == 0 {
                    break;
                }
            }
        }
        Self { table }
    }

    /// Who comes second at each place: of the members that do not have it, the one whose walk comes to it first,
    /// at a pace that follows its weight. When the first goes, a table of the others gives the place to just
    /// that member as a rule: always with two members, in 99 of 100 places with ten. `members` are those that
    /// the table was built of. Those of weight 0 come second only where no other can. `None` with fewer than
    /// two members.
    pub fn seconds(&self, members: &[Member<'_>]) -> Vec<Option<u16>> {
        let size = self.table.len() as u32;
        let mut members = members.to_vec();
        if members.iter().filter(|member| member.weight > 0).count() < 2 {
            members.iter_mut().for_each(|member| member.weight = 1);
        }
        let walks = if size == 0 {
            Vec::new()
        } else {
            walks(&members, size)
        };
        let weight_max = walks.iter().map(|walk| walk.weight).max().unwrap_or(1);
        let equal = walks.iter().all(|walk| walk.weight == weight_max);
        let arrivals = if equal { Vec::new() } else { arrivals(size) };
        let mut seconds = vec![(u64::MAX, None); self.table.len()];
        for walk in walks {
            // Places in order are a constant number of steps of the walk apart.
            let stride = inverse(walk.skip, size);
            let to_zero = u64::from(size - walk.next) * stride % u64::from(size);
            let pace = (weight_max << 16) / walk.weight;
            let mut steps = to_zero;
            for (first, second) in self.table.iter().zip(&mut seconds) {
                let arrival = arrivals.get(steps as usize).copied().unwrap_or(steps);
                let time = arrival.saturating_mul(pace);
                if time < second.0 && *first != walk.id {
                    *second = (time, Some(walk.id));
                }
                steps += stride;
                if steps >= u64::from(size) {
                    steps -= u64::from(size);
                }
            }
        }
        seconds.into_iter().map(|(_, second)| second).collect()
    }

    /// The member that owns `hash`, `None` if there is no member.
    #[inline]
    pub fn lookup(&self, hash: u64) -> Option<u16> {
        let size = self.table.len() as u64;
        if size == 0 {
            return None;
        }
        self.table.get((hash % size) as usize).copied()
    }

    /// The whole table, place by place; empty if there is no member.
    #[inline]
    pub fn places(&self) -> &[u16] {
        &self.table
    }
}

impl Walk {
    /// The next place of this walk that nobody has; there is one.
    #[inline]
    fn take(&mut self, taken: &mut [u64], size: u32) -> u32 {
        loop {
            let place = self.next;
            self.next += self.skip;
            if self.next >= size {
                self.next -= size;
            }
            let word = &mut taken[(place / 64) as usize];
            let bit = 1 << (place % 64);
            if *word & bit == 0 {
                *word |= bit;
                return place;
            }
        }
    }
}

/// The walks of the members that may have places, in the order of their names.
fn walks(members: &[Member<'_>], size: u32) -> Vec<Walk> {
    let mut members: Vec<&Member<'_>> = members.iter().filter(|m| m.weight > 0).collect();
    members.sort_by_key(|member| (member.name, member.id));
    let size = u64::from(size);
    let walk = |member: &Member<'_>| Walk {
        id: member.id,
        weight: u64::from(member.weight),
        credit: 0,
        next: (OFFSET_KEY.hash_bytes(member.name.as_bytes()) % size) as u32,
        skip: (SKIP_KEY.hash_bytes(member.name.as_bytes()) % (size - 1).max(1) + 1) as u32,
    };
    members.into_iter().map(walk).collect()
}

/// When a walk of weight 1 comes to the place that is so many steps ahead, in units of no meaning.
///
/// All free places lie in the part of its walk that a member has not seen, so the more it has seen, the greater
/// are its strides: after `s` of `n` places at a time in proportion to `-ln(1 - s / n)`.
fn arrivals(size: u32) -> Vec<u64> {
    let arrival = |steps: u32| {
        let unseen = f64::from(size - steps) / f64::from(size);
        (-libm::log(unseen) * f64::from(u32::MAX)) as u64
    };
    (0..size).map(arrival).collect()
}

/// What `n` is multiplied with to give 1 modulo the prime `size`: `n` to the power of `size - 2` (Fermat).
fn inverse(n: u32, size: u32) -> u64 {
    let size = u64::from(size);
    let (mut result, mut factor, mut power) = (1, u64::from(n) % size, size - 2);
    while power > 0 {
        if power % 2 == 1 {
            result = result * factor % size;
        }
        factor = factor * factor % size;
        power /= 2;
    }
    result
}

/// Whether `n` is a prime, by trial division.
pub const fn is_prime(n: u32) -> bool {
    if n < 4 {
        return n >= 2;
    }
    if n.is_multiple_of(2) {
        return false;
    }
    let mut divisor = 3;
    while divisor <= n / divisor {
        if n.is_multiple_of(divisor) {
            return false;
        }
        divisor += 2;
    }
    true
}

/// The smallest prime that is `n` or more, for sizing a table. `n` is at most 4,294,967,291.
pub const fn prime_at_least(n: u32) -> u32 {
    let mut candidate = n;
    while !is_prime(candidate) {
        candidate += 1;
    }
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u32 = 65_521;

    fn named(names: &[String], weights: &[u32]) -> Vec<(u16, String, u32)> {
        let weight = |at: usize| weights[at % weights.len()];
        let entry = |(at, name): (usize, &String)| (at as u16, name.clone(), weight(at));
        names.iter().enumerate().map(entry).collect()
    }

    fn build(entries: &[(u16, String, u32)], size: u32) -> Maglev {
        let member = |(id, name, weight): &(u16, String, u32)| (*id, name.clone(), *weight);
        let entries: Vec<_> = entries.iter().map(member).collect();
        let members: Vec<Member<'_>> = entries
            .iter()
            .map(|(id, name, weight)| Member {
                id: *id,
                name,
                weight: *weight,
            })
            .collect();
        Maglev::build(&members, size)
    }

    fn nodes(count: usize) -> Vec<String> {
        (0..count).map(|at| format!("clb-{at}")).collect()
    }

    fn count(table: &Maglev, id: u16) -> f64 {
        table.places().iter().filter(|&&place| place == id).count() as f64
    }

    #[test]
    fn shares_follow_weights_within_two_percent() {
        for weights in [
            &[1][..],
            &[90, 30, 30, 30, 10],
            &[100, 1, 7],
            &[1_000_000_007, 3],
        ] {
            let entries = named(&nodes(weights.len().max(4)), weights);
            let table = build(&entries, SIZE);
            let total: f64 = entries.iter().map(|entry| f64::from(entry.2)).sum();
            for (id, name, weight) in &entries {
                let fair = f64::from(SIZE) * f64::from(*weight) / total;
                let places = count(&table, *id);
                let off = (places - fair).abs();
                assert!(off <= 0.02 * fair + 1.0, "{name}: {places} of {fair}");
            }
        }
    }

    #[test]
    fn removing_one_of_ten_moves_a_tenth_and_little_more() {
        let mut entries = named(&nodes(10), &[1]);
        let before = build(&entries, SIZE);
        entries.remove(3);
        let after = build(&entries, SIZE);
        let pairs = before.places().iter().zip(after.places());
        let moved = pairs.filter(|(old, new)| old != new).count() as f64 / f64::from(SIZE);
        assert!((0.099..0.13).contains(&moved), "{moved} of the table moved");
    }

    #[test]
    fn the_order_of_the_members_does_not_matter() {
        let mut entries = named(&nodes(12), &[10, 20, 5]);
        let table = build(&entries, 1_009);
        entries.reverse();
        assert_eq!(build(&entries, 1_009), table);
        entries.swap(2, 9);
        assert_eq!(build(&entries, 1_009), table);
    }

    #[test]
    fn a_scaled_set_of_weights_gives_the_same_table() {
        let light = build(&named(&nodes(5), &[1, 2, 3]), 997);
        let heavy = build(&named(&nodes(5), &[10, 20, 30]), 997);
        assert_eq!(light, heavy);
    }

    #[test]
    fn weight_zero_gets_nothing_and_no_member_gives_none() {
        let mut entries = named(&nodes(3), &[1, 0, 4]);
        let table = build(&entries, 997);
        assert_eq!(count(&table, 1), 0.0);
        assert!((0..5_000).all(|hash| matches!(table.lookup(hash), Some(0 | 2))));

        entries.retain(|entry| entry.2 == 0);
        assert_eq!(build(&entries, 997).lookup(7), None);
        assert_eq!(build(&[], 997).lookup(7), None);
    }

    #[test]
    fn a_table_is_the_same_on_every_machine() {
        let table = build(&named(&nodes(3), &[1]), 11);
        assert_eq!(table.places(), [0, 0, 1, 2, 1, 2, 0, 0, 1, 2, 1]);
    }

    #[test]
    fn equal_weights_fill_as_the_pseudocode_of_the_paper() {
        let size = 1_009;
        let entries = named(&nodes(7), &[5]);
        let permutation = |name: &str| {
            let offset = OFFSET_KEY.hash_bytes(name.as_bytes()) % size;
            let skip = SKIP_KEY.hash_bytes(name.as_bytes()) % (size - 1) + 1;
            (0..size).map(move |step| ((offset + step * skip) % size) as usize)
        };
        let mut walks: Vec<_> = entries
            .iter()
            .map(|(_, name, _)| permutation(name))
            .collect();
        let mut expected = vec![None; size as usize];
        for turn in 0..size as usize {
            let owner = turn % walks.len();
            let place = walks[owner].find(|&place| expected[place].is_none());
            expected[place.expect("a permutation reaches every place")] = Some(owner as u16);
        }
        let table = build(&entries, size as u32);
        let places: Vec<_> = table.places().iter().copied().map(Some).collect();
        assert_eq!(places, expected);
    }

    /// How often the one that comes second is whom a table without the first gives the place to.
    fn successions(entries: &[(u16, String, u32)]) -> f64 {
        let table = build(entries, SIZE);
        let members: Vec<Member<'_>> = entries
            .iter()
            .map(|(id, name, weight)| Member {
                id: *id,
                name,
                weight: *weight,
            })
            .collect();
        let seconds = table.seconds(&members);
        let mut same = 0;
        for lost in 0..entries.len() as u16 {
            let rest: Vec<_> = entries
                .iter()
                .filter(|entry| entry.0 != lost)
                .cloned()
                .collect();
            let after = build(&rest, SIZE);
            let places = table.places().iter().zip(&seconds).zip(after.places());
            same += places
                .filter(|((first, second), after)| **first == lost && **second == Some(**after))
                .count();
        }
        same as f64 / f64::from(SIZE)
    }

    #[test]
    fn whoever_comes_second_is_the_successor_as_a_rule() {
        for (count, weights, least) in [
            (2, &[1][..], 1.0),
            (3, &[1], 0.999),
            (10, &[1], 0.985),
            (10, &[1, 2, 5], 0.96),
        ] {
            let share = successions(&named(&nodes(count), weights));
            assert!(share >= least, "{share} of {count} with {weights:?}");
        }
    }

    #[test]
    fn nobody_comes_second_to_itself_and_weight_zero_only_for_want_of_others() {
        let seconds = |weights: &[u32]| {
            let names = nodes(weights.len());
            let members: Vec<Member<'_>> = (0..)
                .zip(names.iter().zip(weights))
                .map(|(id, (name, weight))| Member {
                    id,
                    name,
                    weight: *weight,
                })
                .collect();
            let table = Maglev::build(&members, 1_009);
            let seconds = table.seconds(&members);
            let pairs = table.places().iter().zip(&seconds);
            assert!(pairs.clone().all(|(first, second)| Some(*first) != *second));
            seconds
        };
        assert!(
            seconds(&[3, 0, 4])
                .iter()
                .all(|second| matches!(second, Some(0 | 2)))
        );
        assert!(
            seconds(&[3, 0, 0])
                .iter()
                .all(|second| matches!(second, Some(1 | 2)))
        );
        assert!(seconds(&[3]).iter().all(Option::is_none));
        assert!(seconds(&[]).is_empty() && seconds(&[0, 0]).is_empty());
    }

    #[test]
    fn a_table_may_be_as_small_as_two_places() {
        let table = build(&named(&nodes(3), &[1]), 2);
        assert_eq!(table.places().len(), 2);
    }

    #[test]
    fn primes_agree_with_a_sieve() {
        let mut composite = vec![false; 70_000];
        for n in 2..composite.len() {
            if !composite[n] {
                (n * n..70_000)
                    .step_by(n)
                    .for_each(|at| composite[at] = true);
            }
            assert_eq!(is_prime(n as u32), !composite[n], "{n}");
        }
        assert!(!is_prime(0) && !is_prime(1));
        assert!(is_prime(65_521) && is_prime(4_294_967_291));
        assert_eq!(prime_at_least(0), 2);
        assert_eq!(prime_at_least(65_522), 65_537);
    }
}
