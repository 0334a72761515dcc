//! Loss on the wire: each packet by itself, or in bursts of a bad state (Gilbert 1960, Elliott 1963).
//!
//! Integers only: with every packet the state may change, then the packet is lost with the chance of the state.
//! A link starts in the good state. The two models draw from streams of their own, so that a link which gets
//! worse and is restored goes on with its own draws.

use crate::rng::{Rng, Seed};
use crate::switch;

/// How a link loses packets; all chances in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Every packet by itself with this chance.
    Share(u32),
    /// In bursts.
    GilbertElliott(GilbertElliott),
}

/// The chances of a link with a good and a bad state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GilbertElliott {
    /// That the state turns bad with the next packet.
    pub good_to_bad_ppm: u32,
    /// That the state turns good with the next packet.
    pub bad_to_good_ppm: u32,
    /// That a packet is lost in the bad state.
    pub loss_bad_ppm: u32,
    /// That a packet is lost in the good state.
    pub loss_good_ppm: u32,
}

impl Loss {
    /// Nothing is lost.
    pub const NONE: Self = Self::Share(0);
}

/// Decides which packets of one direction are lost.
pub struct Losses {
    share: Rng,
    /// There once bursts were asked for.
    bursts: Option<Box<Bursts>>,
    seed: Seed,
}

struct Bursts {
    bad: bool,
    draws: Rng,
}

impl Losses {
    /// Of the link of that name, in the good state.
    pub fn new(link: &str, seed: Seed) -> Losses {
        Losses {
            share: seed.stream(link, "loss"),
            bursts: None,
            seed,
        }
    }

    /// Whether the next packet of `link` is lost.
    #[inline]
    pub fn takes(&mut self, link: &str, loss: Loss) -> bool {
        match loss {
            _ if !switch::is_on("S-AC08") => false,
            Loss::Share(ppm) => self.share.one_in_ppm(ppm),
            Loss::GilbertElliott(chances) => {
                let seed = self.seed;
                let bursts = self.bursts.get_or_insert_with(|| {
                    Box::new(Bursts {
                        bad: false,
                        draws: seed.stream(link, "gilbert-elliott"),
                    })
                });
                bursts.take(chances)
            }
        }
    }
}

impl Bursts {
    fn take(&mut self, chances: GilbertElliott) -> bool {
        let turn = if self.bad {
            chances.bad_to_good_ppm
        } else {
            chances.good_to_bad_ppm
        };
        if self.draws.one_in_ppm(turn) {
            self.bad = !self.bad;
        }
        self.draws.one_in_ppm(if self.bad {
            chances.loss_bad_ppm
        } else {
            chances.loss_good_ppm
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKETS: u32 = 1_000_000;

    fn lost(chances: GilbertElliott) -> Vec<bool> {
        let mut losses = Losses::new("a>b", Seed(1));
        let loss = Loss::GilbertElliott(chances);
        (0..PACKETS).map(|_| losses.takes("a>b", loss)).collect()
    }

    #[test]
    fn the_share_lost_is_that_of_the_stationary_states() {
        let (p, r, bad, good) = (0.01, 0.1, 0.5, 0.001);
        let lost = lost(GilbertElliott {
            good_to_bad_ppm: 10_000,
            bad_to_good_ppm: 100_000,
            loss_bad_ppm: 500_000,
            loss_good_ppm: 1_000,
        });
        let measured = lost.iter().filter(|lost| **lost).count() as f64 / f64::from(PACKETS);
        let in_bad: f64 = p / (p + r);
        let expected = in_bad * bad + (1.0 - in_bad) * good;
        // Packets are correlated by the state, which forgets a share p + r of itself with each packet.
        let memory = (1.0 - p - r) / (p + r);
        let between = (bad - good) * (bad - good) * in_bad * (1.0 - in_bad);
        let variance = (expected * (1.0 - expected) + 2.0 * between * memory) / f64::from(PACKETS);
        let apart = (measured - expected).abs();
        assert!(
            apart < 3.0 * variance.sqrt(),
            "{measured} in place of {expected}, sigma {}",
            variance.sqrt()
        );
    }

    #[test]
    fn bursts_are_as_long_as_the_bad_state_lasts() {
        let r: f64 = 0.1;
        let lost = lost(GilbertElliott {
            good_to_bad_ppm: 10_000,
            bad_to_good_ppm: 100_000,
            loss_bad_ppm: 1_000_000,
            loss_good_ppm: 0,
        });
        let bursts: Vec<usize> = lost
            .split(|lost| !*lost)
            .map(<[bool]>::len)
            .filter(|length| *length > 0)
            .collect();
        let mean = bursts.iter().sum::<usize>() as f64 / bursts.len() as f64;
        // Geometric: mean 1/r, variance (1 - r)/r^2.
        let sigma = ((1.0 - r) / (r * r) / bursts.len() as f64).sqrt();
        assert!(bursts.len() > 5_000, "{} bursts", bursts.len());
        assert!(
            (mean - 1.0 / r).abs() < 3.0 * sigma,
            "{mean}, sigma {sigma}"
        );
    }
}
