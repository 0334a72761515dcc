//! What sites announce, and what each population has heard of it.
//!
//! What a site announces is what the router of its POP has heard, or where POPs have no routers what the POP wants, as
//! long as nobody withholds it. A VIP that is about to go is entered by only where nothing else leads to it. Each population hears of a change after a time of its own,
//! by its share of the Internet in the topology's spread; the share is drawn once for each population, site and
//! direction. What a site said later overtakes what it said before, unless it only goes on to leave.

use core::time::Duration;
use std::collections::BTreeMap;

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
    /// Whether the POP drains, where there is no router to be told how.
    Drains(bool),
    /// The VIP of that number stands so.
    Stands(usize, Standing),
}

/// How a site stands to a VIP.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(crate) enum Standing {
    #[default]
    Announced,
    /// Announced, and about to be withdrawn (RFC 8326).
    Leaving,
    Withdrawn,
}

/// A population hears how a site stands to a VIP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct News {
    pub(crate) population: PopulationId,
    pub(crate) site: SiteId,
    pub(crate) standing: Standing,
    pub(super) vip: usize,
    /// Which of the site's changes of that VIP it is.
    pub(super) edition: u32,
}

/// A site's side of it.
#[derive(Default)]
pub(super) struct Site {
    pub(super) name: String,
    withheld: bool,
    drains: bool,
    /// VIPs that are not announced.
    stands: BTreeMap<usize, Standing>,
    /// How often each VIP changed, and when it last came or began to go.
    editions: BTreeMap<usize, (u32, u32)>,
}

impl Site {
    pub(super) fn named(name: &str) -> Site {
        Site {
            name: name.to_owned(),
            ..Site::default()
        }
    }

    pub(super) fn standing(&self, vip: usize) -> Standing {
        if self.withheld || self.drains {
            return Standing::Withdrawn;
        }
        self.stands.get(&vip).copied().unwrap_or_default()
    }

    /// Takes in `change`; how it stands now to those of `vips` that it changed, with the number of that change.
    pub(super) fn change(&mut self, change: Change, vips: &[usize]) -> Vec<(usize, Standing, u32)> {
        let before: Vec<Standing> = vips.iter().map(|vip| self.standing(*vip)).collect();
        match change {
            Change::Crashed => {
                self.drains = false;
                let gone = vips.iter().map(|vip| (*vip, Standing::Withdrawn));
                self.stands.extend(gone);
            }
            Change::Withheld(withheld) => self.withheld = withheld,
            Change::Drains(drains) => self.drains = drains,
            Change::Stands(vip, standing) => {
                self.stands.insert(vip, standing);
            }
        }
        let mut changed = Vec::new();
        for (vip, before) in vips.iter().zip(before) {
            let standing = self.standing(*vip);
            if standing != before {
                let (edition, turned) = self.editions.entry(*vip).or_default();
                *edition += 1;
                let announced = [before, standing].map(|at| at == Standing::Announced);
                if announced[0] != announced[1] {
                    *turned = *edition;
                }
                changed.push((*vip, standing, *edition));
            }
        }
        changed
    }

    /// Whether the site has not turned round since it said `news`.
    pub(super) fn holds(&self, news: &News) -> bool {
        let of = self.editions.get(&news.vip);
        of.is_some_and(|(_, turned)| *turned <= news.edition)
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

    pub(super) fn of(self, standing: Standing) -> Duration {
        match standing {
            Standing::Announced => self.announce,
            Standing::Leaving | Standing::Withdrawn => self.withdraw,
        }
    }
}
