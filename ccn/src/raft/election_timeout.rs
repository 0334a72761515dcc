//! Election timeouts from our own randomness.
//!
//! The `raft` crate draws them from the operating system whenever it starts a term or a campaign. Each of its
//! draws is replaced, before any tick reads it, by one of the replica's stream: same seed, same elections. A
//! timeout stays for one term and one campaign, so how often the replacement is asked for changes nothing.

use anyedge_net::rng::Rng;

/// The timeout in force, in ticks, and where the next one comes from.
#[derive(Debug)]
pub(super) struct ElectionTimeout {
    rng: Rng,
    min: usize,
    /// One more than the longest.
    max: usize,
    drawn_for: Option<(u64, u64)>,
    ticks: usize,
}

impl ElectionTimeout {
    pub(super) const fn new(rng: Rng, min: usize, max: usize) -> ElectionTimeout {
        ElectionTimeout {
            rng,
            min,
            max,
            drawn_for: None,
            ticks: min,
        }
    }

    /// The timeout of a term and of the replica's so-many-th campaign.
    pub(super) fn of(&mut self, term: u64, campaigns: u64) -> usize {
        if self.drawn_for != Some((term, campaigns)) {
            self.drawn_for = Some((term, campaigns));
            let span = (self.max - self.min) as u64;
            self.ticks = self.min + self.rng.below(span) as usize;
        }
        self.ticks
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use anyedge_net::rng::Seed;

    use super::*;

    #[test]
    fn a_timeout_stays_for_its_term_and_campaign_and_all_lengths_are_drawn() {
        let mut timeout = ElectionTimeout::new(Seed(1).stream("a", "elections"), 10, 20);
        let mut drawn = BTreeSet::new();
        for term in 0..200 {
            let ticks = timeout.of(term, 0);
            assert_eq!(timeout.of(term, 0), ticks);
            drawn.insert(ticks);
        }
        assert_eq!(drawn, (10..20).collect());
        let campaigns: BTreeSet<_> = (1..50).map(|campaign| timeout.of(7, campaign)).collect();
        assert!(campaigns.len() > 5, "another campaign, another draw");
    }
}
