//! What sites announce, and what each population has heard of it.
//!
//! A site announces a VIP when its POP wants it announced and nobody withholds it. The neighbours of a POP that
//! crashed withdraw for it, and it is back when it says so itself. Each population hears of a change after a time of its own,
//! by its share of the Internet in the topology's spread; the share is drawn once for each population, site and
//! direction. What a site said later overtakes what it said before.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use anyedge_net::rng::Seed;
use anyedge_topologies::{Convergence, Spread};

use super::{PopulationId, SiteId};

const PPM: u64 = 1_000_000;

/// What changed at a site.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// Its POP crashed: what it announced is withdrawn until it says otherwise.
    Crashed,
    /// Whether somebody withholds all that it would announce.
    Withheld(bool),
    /// Whether the POP wants the VIP of that number announced.
    Wants(usize, bool),
}

/// A population hears that a site announces a VIP or withdraws it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct News {
    pub(crate) population: PopulationId,
    pub(crate) site: SiteId,
    pub(crate) announced: bool,
    pub(super) vip: usize,
    /// Which of the site's changes of that VIP it is.
    pub(super) edition: u32,
}

/// A site's side of it.
#[derive(Default)]
pub(super) struct Site {
    pub(super) name: String,
    withheld: bool,
    /// VIPs that its POP does not want announced.
    unwanted: BTreeSet<usize>,
    editions: BTreeMap<usize, u32>,
}

impl Site {
    pub(super) fn named(name: &str) -> Site {
        Site {
            name: name.to_owned(),
            ..Site::default()
        }
    }

    pub(super) fn announces(&self, vip: usize) -> bool {
        !self.withheld && !self.unwanted.contains(&vip)
    }

    /// Takes in `change`; which of `vips` it now announces, or withdraws, with the number of that change.
    pub(super) fn change(&mut self, change: Change, vips: &[usize]) -> Vec<(usize, bool, u32)> {
        let before: Vec<bool> = vips.iter().map(|vip| self.announces(*vip)).collect();
        match change {
            Change::Crashed => self.unwanted.extend(vips),
            Change::Withheld(withheld) => self.withheld = withheld,
            Change::Wants(vip, true) => {
                self.unwanted.remove(&vip);
            }
            Change::Wants(vip, false) => {
                self.unwanted.insert(vip);
            }
        }
        let mut changed = Vec::new();
        for (vip, before) in vips.iter().zip(before) {
            let announces = self.announces(*vip);
            if announces != before {
                let edition = self.editions.entry(*vip).or_default();
                *edition += 1;
                changed.push((*vip, announces, *edition));
            }
        }
        changed
    }

    /// Whether `news` is the last that the site has said about that VIP.
    pub(super) fn is_latest(&self, news: &News) -> bool {
        self.editions.get(&news.vip) == Some(&news.edition)
    }
}

/// How long one population takes to hear of one site.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hearing {
    announce: Duration,
    withdraw: Duration,
}

impl Hearing {
    pub(super) fn draw(
        convergence: &Convergence,
        seed: Seed,
        population: &str,
        site: &str,
    ) -> Hearing {
        let at = |spread: &Spread, of: &str| {
            let purpose = format!("{of} of {site}");
            let share = seed.stream(population, &purpose).below(PPM) + 1;
            spread.time_at(share as u32)
        };
        Hearing {
            announce: at(&convergence.announce, "announcement"),
            withdraw: at(&convergence.withdraw, "withdrawal"),
        }
    }

    pub(super) fn of(self, announced: bool) -> Duration {
        if announced {
            self.announce
        } else {
            self.withdraw
        }
    }
}
