//! Seeded randomness, drawn by (root seed, node name, purpose).
//!
//! Every user of randomness has a stream of its own, named after what it is for. Adding a node or a
//! purpose therefore shifts nobody else's draws, which is what makes two runs comparable when one thing
//! between them differs. The generator is ChaCha8, whose output is specified; floating point goes through
//! `libm`, whose results do not depend on the platform.

use core::hash::Hasher;
use core::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{Rng as _, SeedableRng as _};
use siphasher::sip::SipHasher13;

use crate::time::nanos;

/// The root of all randomness of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seed(pub u64);

impl Seed {
    /// The stream of `node` for `purpose`.
    pub fn stream(self, node: &str, purpose: &str) -> Rng {
        let mut seed = [0u8; 32];
        for (lane, chunk) in seed.chunks_exact_mut(8).enumerate() {
            let mut hasher = SipHasher13::new_with_keys(self.0, lane as u64);
            hasher.write(node.as_bytes());
            // A byte that no name holds: ("ab", "c") and ("a", "bc") are different streams.
            hasher.write_u8(0xff);
            hasher.write(purpose.as_bytes());
            chunk.copy_from_slice(&hasher.finish().to_le_bytes());
        }
        Rng(ChaCha8Rng::from_seed(seed))
    }
}

/// One stream of randomness.
#[derive(Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// 64 uniform bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A uniform integer in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Lemire's multiplication; the bias is below 2^-32 for the bounds used here and the same everywhere.
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// True with probability `ppm` / 1,000,000. Draws nothing when the answer is certain.
    pub fn one_in_ppm(&mut self, ppm: u32) -> bool {
        match ppm {
            0 => false,
            1_000_000.. => true,
            _ => self.below(1_000_000) < u64::from(ppm),
        }
    }

    /// A uniform duration in `0..=most`.
    pub fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_nanos(self.below(nanos(most).saturating_add(1)))
    }

    /// An exponentially distributed duration of the given mean: the gap of a Poisson process.
    pub fn exponential(&mut self, mean: Duration) -> Duration {
        Duration::from_nanos((-libm::log(self.unit()) * nanos(mean) as f64) as u64)
    }

    /// A uniform number above 0 and at most 1, so that its logarithm is finite.
    pub fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Fills `out` with uniform bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_node_and_purpose_and_repeat() {
        let draw = |seed, node, purpose| Seed(seed).stream(node, purpose).bits();
        assert_eq!(draw(1, "pop.tokyo", "loss"), draw(1, "pop.tokyo", "loss"));
        let base = draw(1, "pop.tokyo", "loss");
        assert_ne!(base, draw(2, "pop.tokyo", "loss"));
        assert_ne!(base, draw(1, "pop.seoul", "loss"));
        assert_ne!(base, draw(1, "pop.tokyo", "jitter"));
        assert_ne!(draw(1, "ab", "c"), draw(1, "a", "bc"));
    }

    #[test]
    fn the_stream_is_the_same_on_every_platform_and_version() {
        assert_eq!(Seed(1).stream("pop.tokyo", "loss").bits(), GOLDEN);
    }

    #[test]
    fn exponential_gaps_have_the_asked_mean() {
        let mut rng = Seed(7).stream("test", "gaps");
        let mean = Duration::from_millis(5);
        let total: u64 = (0..100_000).map(|_| nanos(rng.exponential(mean))).sum();
        let ratio = total as f64 / 100_000.0 / nanos(mean) as f64;
        assert!((0.99..1.01).contains(&ratio), "{ratio}");
    }

    #[test]
    fn a_probability_in_ppm_is_kept() {
        let mut rng = Seed(7).stream("test", "loss");
        let lost = (0..1_000_000).filter(|_| rng.one_in_ppm(10_000)).count();
        assert!((9_600..10_400).contains(&lost), "{lost}");
        assert!(!rng.one_in_ppm(0));
        assert!(rng.one_in_ppm(1_000_000));
    }

    const GOLDEN: u64 = 8_642_465_553_757_789_196;
}
