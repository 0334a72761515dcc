//! Entropy: the root of a live process's own randomness, from the operating system.
//!
//! The file's seed is known to whoever has the file, and so would be the secret of SYN cookies, the numbers of health
//! checks and the discriminators of probes that grew from it. What all processes must agree on, the key that flows are
//! hashed with, still comes from the file.

use std::fs::File;
use std::io::Read as _;

use anyedge_net::rng::Seed;
use anyhow::{Context, Result};

const SOURCE: &str = "/dev/urandom";

/// A seed that nobody else knows.
pub(crate) fn seed() -> Result<Seed> {
    Ok(Seed(u64::from_ne_bytes(drawn()?)))
}

/// A key that nobody else knows.
pub(crate) fn secret() -> Result<[u8; 16]> {
    drawn()
}

fn drawn<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut source = File::open(SOURCE).with_context(|| format!("cannot open {SOURCE}"))?;
    source
        .read_exact(&mut bytes)
        .with_context(|| format!("cannot read {SOURCE}"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_start_has_a_seed_of_its_own() {
        let drawn = [(); 3].map(|()| seed().expect("the system gives randomness").0);
        let [a, b, c] = drawn;
        assert!(a != b && b != c && a != c, "{drawn:?}");
    }
}
