//! What is to be announced, of what the forwarder wants, by the time: a pure function but for when a drain began.

use std::collections::BTreeMap;

use anyedge_net::time::Instant;

use super::Plan;
use super::inbox::Wanted;
use crate::bgp::{IpNet, Offer};

/// When the POP began to drain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Drain {
    No,
    Since(Instant),
    /// It had when the service began: nobody is to come to it only to be sent away.
    Before,
}

/// What becomes of what is wanted.
pub(super) struct Intent {
    drain: Drain,
    /// A data plane that gave no sign of life yet has had none to give before then.
    began: Instant,
}

impl Intent {
    pub(super) fn begin(now: Instant, wanted: &Wanted) -> Intent {
        let drain = if wanted.drains {
            Drain::Before
        } else {
            Drain::No
        };
        Intent { drain, began: now }
    }

    /// What neighbours are to be offered now, and when to ask again at the latest.
    pub(super) fn offers(
        &mut self,
        now: Instant,
        wanted: &Wanted,
        plan: &Plan,
    ) -> (BTreeMap<IpNet, Offer>, Option<Instant>) {
        self.drain = match (self.drain, wanted.drains) {
            (_, false) => Drain::No,
            (Drain::No, true) => Drain::Since(now),
            (begun, true) => begun,
        };
        let leaves_at = match self.drain {
            Drain::No => None,
            Drain::Since(at) => Some(at + plan.drain),
            Drain::Before => Some(Instant::ZERO),
        };
        let lived_at = wanted.lived_at.max(self.began);
        let dies_at = plan.dead_after.map(|after| lived_at + after);
        let ends = [leaves_at, dies_at].into_iter().flatten();
        let is_over = ends.clone().any(|at| at <= now) || wanted.withheld;
        let next = ends.filter(|at| *at > now).min();
        // One that is dead is looked at again: its signs of life wake nobody.
        let again = dies_at.filter(|at| *at <= now).and(plan.dead_after);
        let next = next.into_iter().chain(again.map(|after| now + after)).min();
        if is_over {
            return (BTreeMap::new(), next);
        }
        let announced = wanted.vips.iter().filter(|(_, announced)| **announced);
        let offers = announced.map(|(vip, _)| (plan.prefix(*vip), Offer::default()));
        (offers.collect(), next)
    }
}
