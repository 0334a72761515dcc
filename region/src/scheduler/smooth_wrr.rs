//! Smooth weighted round robin: shares follow weights exactly, and heavy targets do not come in bursts.
//!
//! Each pick gives every target its weight in credit; the richest is picked and pays the sum of all weights.
//! The sequence has the period `sum / gcd` and every window of that length holds each target `weight / gcd`
//! times, so that 90, 30, 30, 30, 10 give 9, 3, 3, 3, 1 in any 19 picks. It starts at a drawn offset, or the
//! nodes of a region would all begin with the same target.
//!
//! Invariant: without a change of targets the credits sum to zero and the sequence repeats.
//! Reference: nginx, `ngx_http_upstream_round_robin.c` (I. Sysoev's commit of 2012 explains it).

mod least;

use anyedge_net::flow::{Address, Family};
use anyedge_net::route_table::Target;
use anyedge_net::switch;

use super::OpenTargets;

/// Credits counted at most when a sequence begins again among other targets.
const RESTART_STEPS_MAX: u64 = 65_536;
/// Members looked for among all others one by one, before they are sorted.
const SEARCHES_MAX: u8 = 4;
/// Makes neighbouring counts of picks strangers (Knuth's multiplicative hashing).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The position in one family's sequence.
#[derive(Debug)]
pub(crate) struct SmoothWrr {
    members: Vec<Member>,
    total: i64,
    /// Picks so far, from the drawn offset.
    picked: u64,
    /// Of the open targets that the members are.
    version: u32,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    address: Address,
    port: u16,
    index: u16,
    weight: i64,
    credit: i64,
    /// Its flows, while the least is looked for.
    load: u64,
}

impl SmoothWrr {
    /// The sequence over the open targets of `family`, `offset` picks from its start.
    pub(crate) fn starting_at(
        offset: u64,
        targets: &[Target],
        family: Family,
        open: &OpenTargets,
    ) -> SmoothWrr {
        let mut sequence = SmoothWrr {
            members: Vec::new(),
            total: 0,
            picked: offset,
            version: open.version(family),
        };
        sequence.members.extend(members(targets, family, open));
        sequence.total = sequence.members.iter().map(|member| member.weight).sum();
        sequence.go_to(offset.checked_rem(sequence.period()).unwrap_or(0));
        sequence
    }

    /// Goes on with other targets or weights. A target that stays, by address and port, keeps its credit,
    /// within one round of the new weights; the same targets and weights go on as if nothing had happened.
    pub(crate) fn set_targets(&mut self, targets: &[Target], family: Family, open: &OpenTargets) {
        let mut fresh: Vec<Member> = members(targets, family, open).collect();
        let total: i64 = fresh.iter().map(|member| member.weight).sum();
        let mut credits = Credits::of(&self.members);
        for member in &mut fresh {
            let credit = credits.of_same(member).unwrap_or(0);
            member.credit = credit.clamp(-total, total);
        }
        self.members = fresh;
        self.total = total;
        self.version = open.version(family);
    }

    /// Begins anew among the open targets if others are open than before, so that every window from here on
    /// is exact; at another place each time, or the first of the sequence would gain by each change.
    #[inline]
    pub(crate) fn keep_to(&mut self, targets: &[Target], family: Family, open: &OpenTargets) {
        if self.version != open.version(family) {
            self.version = open.version(family);
            self.begin_anew(targets, family, open);
        }
    }

    fn begin_anew(&mut self, targets: &[Target], family: Family, open: &OpenTargets) {
        self.members.clear();
        self.members.extend(members(targets, family, open));
        self.total = self.members.iter().map(|member| member.weight).sum();
        let steps_max = RESTART_STEPS_MAX / self.members.len().max(1) as u64;
        let span = self.period().min(steps_max);
        let drawn = self.picked.wrapping_mul(SPREAD) >> 32;
        self.go_to(drawn.checked_rem(span).unwrap_or(0));
    }

    /// After how many picks the sequence repeats.
    fn period(&self) -> u64 {
        let weights = self.members.iter().map(|member| member.weight);
        let divisor = weights.fold(0, gcd);
        self.total.checked_div(divisor).unwrap_or(0) as u64
    }

    /// Goes on by `steps` picks that nobody gets.
    fn go_to(&mut self, steps: u64) {
        let picked = self.picked;
        for _ in 0..steps {
            self.pick();
        }
        self.picked = picked;
    }

    /// The next target's index; `None` when all weights are 0.
    pub(crate) fn pick(&mut self) -> Option<u16> {
        let mut richest: Option<usize> = None;
        let is_weighted = switch::is_on("P-LB01");
        for at in 0..self.members.len() {
            let weight = self.members[at].weight;
            self.members[at].credit += if is_weighted { weight } else { 1 };
            let credit = self.members[at].credit;
            if richest.is_none_or(|best| self.members[best].credit < credit) {
                richest = Some(at);
            }
        }
        let members = self.members.len() as i64;
        let member = &mut self.members[richest?];
        member.credit -= if is_weighted { self.total } else { members };
        self.picked = self.picked.wrapping_add(1);
        Some(member.index)
    }
}

/// Finds what members had, asked in about the order in which they stood.
struct Credits<'a> {
    members: &'a [Member],
    /// Behind whoever was found last.
    next: usize,
    /// How often all were gone through for one.
    searches: u8,
    /// By address and port, once it pays.
    sorted: Vec<(Address, u16, i64)>,
}

impl<'a> Credits<'a> {
    const fn of(members: &'a [Member]) -> Credits<'a> {
        Credits {
            members,
            next: 0,
            searches: 0,
            sorted: Vec::new(),
        }
    }

    /// The credit of the member with that address and port.
    fn of_same(&mut self, member: &Member) -> Option<i64> {
        let key = |member: &Member| (member.address, member.port);
        let next = self
            .members
            .get(self.next)
            .filter(|old| key(old) == key(member));
        if let Some(old) = next {
            self.next += 1;
            return Some(old.credit);
        }
        if self.searches < SEARCHES_MAX {
            self.searches += 1;
            let at = self
                .members
                .iter()
                .position(|old| key(old) == key(member))?;
            self.next = at + 1;
            return Some(self.members[at].credit);
        }
        if self.sorted.is_empty() {
            let members = self.members.iter();
            self.sorted = members
                .map(|old| (old.address, old.port, old.credit))
                .collect();
            self.sorted.sort_unstable();
        }
        let place = |(address, port, _): &(Address, u16, i64)| (*address, *port);
        let found = self.sorted.binary_search_by_key(&key(member), place).ok()?;
        Some(self.sorted[found].2)
    }
}

/// The targets of `family` that take new flows.
fn members<'a>(
    targets: &'a [Target],
    family: Family,
    open: &'a OpenTargets,
) -> impl Iterator<Item = Member> + 'a {
    let numbered = targets.iter().enumerate();
    let taking = numbered.filter(move |(index, target)| {
        let takes = target.weight > 0 || !switch::is_on("S-BE04");
        takes && target.address.family() == family && open.takes(*index, family)
    });
    taking.map(|(index, target)| Member {
        address: target.address,
        port: target.port,
        index: index as u16,
        weight: i64::from(target.weight.max(1)),
        credit: 0,
        load: 0,
    })
}

const fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use anyedge_net::id::NodeId;
    use proptest::prelude::*;

    use super::*;

    fn targets(weights: &[u8]) -> Vec<Target> {
        let target = |(n, weight): (usize, &u8)| Target {
            address: Address::v4([10, 0, 0, n as u8]),
            port: 8080,
            weight: *weight,
            host: NodeId(0),
        };
        weights.iter().enumerate().map(target).collect()
    }

    fn start(offset: u64, targets: &[Target], family: Family) -> SmoothWrr {
        SmoothWrr::starting_at(offset, targets, family, &OpenTargets::all(targets))
    }

    fn set(sequence: &mut SmoothWrr, targets: &[Target]) {
        sequence.set_targets(targets, Family::V4, &OpenTargets::all(targets));
    }

    fn counts(picks: &[u16], targets: usize) -> Vec<usize> {
        (0..targets)
            .map(|index| {
                picks
                    .iter()
                    .filter(|pick| usize::from(**pick) == index)
                    .count()
            })
            .collect()
    }

    fn picks(sequence: &mut SmoothWrr, count: usize) -> Vec<u16> {
        (0..count)
            .map(|_| sequence.pick().expect("a target has weight"))
            .collect()
    }

    #[test]
    fn weights_of_1_and_255_are_shares_of_1_256th_and_the_rest() {
        let mut sequence = start(0, &targets(&[1, 255]), Family::V4);
        let picked = counts(&picks(&mut sequence, 256), 2);
        assert_eq!(picked, [1, 255], "P-AE3");
    }

    #[test]
    fn any_19_consecutive_picks_of_90_30_30_30_10_are_9_3_3_3_1() {
        for offset in [0, 7, u64::MAX] {
            let mut sequence = start(offset, &targets(&[90, 30, 30, 30, 10]), Family::V4);
            for window in picks(&mut sequence, 60).windows(19) {
                assert_eq!(counts(window, 5), [9, 3, 3, 3, 1]);
            }
        }
    }

    #[test]
    fn it_is_smooth() {
        let mut sequence = start(0, &targets(&[5, 1, 1]), Family::V4);
        assert_eq!(picks(&mut sequence, 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn the_offset_is_a_place_in_the_same_sequence() {
        let weights = targets(&[3, 2, 1]);
        let whole = picks(&mut start(0, &weights, Family::V4), 30);
        let later = picks(&mut start(4 + 6 * 1_000, &weights, Family::V4), 20);
        assert_eq!(later, whole[4..24]);
    }

    #[test]
    fn weight_0_is_never_picked_and_all_0_picks_nothing() {
        let mut sequence = start(3, &targets(&[0, 10, 0]), Family::V4);
        assert_eq!(picks(&mut sequence, 5), [1; 5]);
        set(&mut sequence, &targets(&[0, 0, 0]));
        assert_eq!(sequence.pick(), None);
        assert_eq!(start(5, &[], Family::V6).pick(), None);
    }

    #[test]
    fn a_table_that_changes_nothing_here_does_not_disturb_the_sequence() {
        let weights = targets(&[90, 30, 30, 30, 10]);
        let undisturbed = picks(&mut start(2, &weights, Family::V4), 40);
        let mut sequence = start(2, &weights, Family::V4);
        let mut seen = Vec::new();
        for _ in 0..40 {
            seen.extend(sequence.pick());
            set(&mut sequence, &weights);
        }
        assert_eq!(seen, undisturbed);
    }

    #[test]
    fn a_target_that_stays_keeps_its_place_in_the_round() {
        let mut sequence = start(0, &targets(&[10, 10, 10]), Family::V4);
        assert_eq!(picks(&mut sequence, 2), [0, 1]);
        let moved: Vec<Target> = targets(&[10, 10, 10]).into_iter().rev().collect();
        set(&mut sequence, &moved);
        assert_eq!(
            sequence.pick(),
            Some(0),
            "10.0.0.2 is next and stands first"
        );
    }

    #[test]
    fn among_the_open_targets_every_window_is_exact_from_the_first_pick_on() {
        let targets = targets(&[90, 30, 30, 30, 10]);
        let mut open = OpenTargets::all(&targets);
        let mut sequence = start(5, &targets, Family::V4);
        picks(&mut sequence, 7);
        for (shut, period, expected) in [(0, 10, [0, 3, 3, 3, 1]), (4, 3, [0, 1, 1, 1, 0])] {
            open.set(shut, &targets[shut], false);
            sequence.keep_to(&targets, Family::V4, &open);
            for window in picks(&mut sequence, 4 * period).windows(period) {
                assert_eq!(counts(window, 5), expected);
            }
        }
        for (at, target) in targets.iter().enumerate() {
            open.set(at, target, false);
        }
        sequence.keep_to(&targets, Family::V4, &open);
        for window in picks(&mut sequence, 60).windows(19) {
            assert_eq!(counts(window, 5), [9, 3, 3, 3, 1], "all shut: all open");
        }
    }

    #[test]
    fn a_target_that_flaps_gives_no_other_more_than_its_share() {
        let targets = targets(&[10, 10, 10]);
        let mut open = OpenTargets::all(&targets);
        let mut sequence = start(0, &targets, Family::V4);
        let mut seen = Vec::new();
        for round in 0..300 {
            open.set(2, &targets[2], round % 2 == 0);
            sequence.keep_to(&targets, Family::V4, &open);
            seen.extend(sequence.pick());
        }
        let counts = counts(&seen, 3);
        assert!(counts[0].abs_diff(counts[1]) <= 60, "{counts:?}");
    }

    proptest! {
        #[test]
        fn every_window_of_a_period_is_exact(weights in proptest::collection::vec(0_u8..=20, 1..6), offset: u64) {
            let total: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
            prop_assume!(total > 0);
            let mut sequence = start(offset, &targets(&weights), Family::V4);
            let expected: Vec<usize> = weights.iter().map(|weight| usize::from(*weight)).collect();
            for window in picks(&mut sequence, 3 * total).windows(total) {
                prop_assert_eq!(counts(window, weights.len()), expected.clone());
            }
        }

        #[test]
        fn shares_settle_after_weights_change(before in proptest::collection::vec(1_u8..=100, 3), after in proptest::collection::vec(1_u8..=100, 3), picked in 0_usize..500) {
            let mut sequence = start(0, &targets(&before), Family::V4);
            picks(&mut sequence, picked);
            set(&mut sequence, &targets(&after));
            let total: usize = after.iter().map(|weight| usize::from(*weight)).sum();
            let first = counts(&picks(&mut sequence, total), 3);
            for (count, weight) in first.iter().zip(&after) {
                let off = count.abs_diff(usize::from(*weight));
                prop_assert!(off <= total / 2, "{first:?} of {after:?}");
            }
            picks(&mut sequence, 4 * total);
            let settled = counts(&picks(&mut sequence, total), 3);
            let expected: Vec<usize> = after.iter().map(|weight| usize::from(*weight)).collect();
            prop_assert_eq!(settled, expected);
        }
    }
}
