//! Least connections: the target with the fewest flows for its weight, ties in the order of the round robin.
//!
//! The least c/w is found by cross-multiplication, without division or rounding. Among those that share it the round
//! goes on as if they were alone: equal targets without flows take turns, and heavy ones more often.
//! Reference: W. Zhang, "Linux Virtual Server for scalable network services", 2000, §5.4.

use super::SmoothWrr;

impl SmoothWrr {
    /// The index of the next target of those with the least `load` for their weight; `None` when all weights are 0.
    pub(crate) fn pick_least(&mut self, load: impl Fn(u16) -> u32) -> Option<u16> {
        let mut least: Option<(u64, u64)> = None;
        for member in &mut self.members {
            let own = (u64::from(load(member.index)), member.weight as u64);
            member.load = own.0;
            if least.is_none_or(|(load, weight)| own.0 * weight < load * own.1) {
                least = Some(own);
            }
        }
        let (load, weight) = least?;
        let mut total = 0;
        let mut richest: Option<usize> = None;
        for at in 0..self.members.len() {
            let member = &mut self.members[at];
            if member.load * weight != load * member.weight as u64 {
                continue;
            }
            member.credit += member.weight;
            total += member.weight;
            let credit = member.credit;
            if richest.is_none_or(|best| self.members[best].credit < credit) {
                richest = Some(at);
            }
        }
        let member = &mut self.members[richest?];
        member.credit -= total;
        self.picked = self.picked.wrapping_add(1);
        Some(member.index)
    }
}

#[cfg(test)]
mod tests {
    use anyedge_net::flow::{Address, Family};
    use anyedge_net::id::NodeId;
    use anyedge_net::route_table::Target;

    use super::super::SmoothWrr;
    use crate::scheduler::OpenTargets;

    fn sequence(weights: &[u8]) -> SmoothWrr {
        let target = |(n, weight): (usize, &u8)| Target {
            address: Address::v4([10, 0, 0, n as u8]),
            port: 8_080,
            weight: *weight,
            host: NodeId(0),
        };
        let targets: Vec<Target> = weights.iter().enumerate().map(target).collect();
        SmoothWrr::starting_at(0, &targets, Family::V4, &OpenTargets::all(&targets))
    }

    /// Picks `count` times; each pick adds a flow that stays.
    fn picks(weights: &[u8], flows: &mut [u32], count: usize) -> Vec<u16> {
        let mut sequence = sequence(weights);
        let mut picks = Vec::new();
        for _ in 0..count {
            let pick = sequence.pick_least(|index| flows[usize::from(index)]);
            let pick = pick.expect("a target has weight");
            flows[usize::from(pick)] += 1;
            picks.push(pick);
        }
        picks
    }

    #[test]
    fn the_next_hundred_flows_go_to_the_target_that_has_none() {
        let mut flows = [100, 100, 100, 0];
        assert_eq!(picks(&[10; 4], &mut flows, 100), [3; 100]);
        assert_eq!(flows, [100; 4]);
    }

    #[test]
    fn flows_in_proportion_to_weights_are_a_tie_which_the_round_robin_breaks() {
        let mut alone = sequence(&[3, 1, 1]);
        let mut tied = sequence(&[3, 1, 1]);
        for _ in 0..20 {
            let pick = tied.pick_least(|index| [3, 1, 1][usize::from(index)]);
            assert_eq!(pick, alone.pick());
        }
    }

    #[test]
    fn flows_that_stay_are_spread_by_weight() {
        let mut flows = [0; 3];
        picks(&[30, 20, 10], &mut flows, 600);
        assert_eq!(flows, [300, 200, 100]);
    }

    #[test]
    fn without_any_weight_there_is_no_target() {
        assert_eq!(sequence(&[0, 0]).pick_least(|_| 0), None);
    }

    #[test]
    fn the_largest_counts_do_not_overflow() {
        let flows = [u32::MAX, u32::MAX - 1];
        let pick = sequence(&[100, 100]).pick_least(|index| flows[usize::from(index)]);
        assert_eq!(pick, Some(1));
    }
}
