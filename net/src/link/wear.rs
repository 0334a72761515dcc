//! What a worn link does to packets beside losing them: some come late, some twice, some with a bit changed.
//!
//! A share of packets is held back by up to [`HELD_BACK_MAX`], so that later ones overtake them. A share
//! arrives twice; the second is a packet of its own from then on, offered and ended like any other. In a share
//! one bit behind the outermost IP header is flipped: what that damages is for whoever reads it to find out.
//! Each of the three draws from a stream of its own, made when it is first needed.

use core::time::Duration;

use crate::rng::{Rng, Seed};

use super::Change;

/// The longest that a packet is held back while later ones pass.
pub const HELD_BACK_MAX: Duration = Duration::from_millis(20);

/// What is wrong with a link, in millionths of the packets that get onto the wire.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Wear {
    /// That are held back.
    pub reorder_ppm: u32,
    /// That arrive twice.
    pub duplicate_ppm: u32,
    /// That arrive with one bit changed.
    pub corrupt_ppm: u32,
}

impl Wear {
    /// A link as good as new.
    pub const NONE: Wear = Wear {
        reorder_ppm: 0,
        duplicate_ppm: 0,
        corrupt_ppm: 0,
    };

    /// With what `change` says in place of its own.
    pub(super) fn worse(self, change: &Change) -> Wear {
        Wear {
            reorder_ppm: change.reorder_ppm.unwrap_or(self.reorder_ppm),
            duplicate_ppm: change.duplicate_ppm.unwrap_or(self.duplicate_ppm),
            corrupt_ppm: change.corrupt_ppm.unwrap_or(self.corrupt_ppm),
        }
    }
}

/// Draws what becomes of each packet of one direction.
pub(super) struct Draws {
    reorder: Rng,
    duplicate: Rng,
    corrupt: Rng,
}

impl Draws {
    pub(super) fn new(link: &str, seed: Seed) -> Draws {
        Draws {
            reorder: seed.stream(link, "reorder"),
            duplicate: seed.stream(link, "duplicate"),
            corrupt: seed.stream(link, "corrupt"),
        }
    }

    /// How long the next packet is held back; `None`: not at all.
    pub(super) fn held_back(&mut self, wear: Wear) -> Option<Duration> {
        let held = self.reorder.one_in_ppm(wear.reorder_ppm);
        held.then(|| self.reorder.up_to(HELD_BACK_MAX))
    }

    /// Whether the packet just sent arrives twice.
    pub(super) fn doubles(&mut self, wear: Wear) -> bool {
        self.duplicate.one_in_ppm(wear.duplicate_ppm)
    }

    /// Flips a bit of the packet just sent, if it is one of those.
    pub(super) fn corrupt(&mut self, wear: Wear, bytes: &mut [u8]) {
        if !self.corrupt.one_in_ppm(wear.corrupt_ppm) {
            return;
        }
        let from = match bytes.first().map(|first| first >> 4) {
            Some(4) => usize::from(bytes[0] & 0x0f) * 4,
            Some(6) => 40,
            _ => 0,
        };
        let Some(open) = bytes.get_mut(from..).filter(|open| !open.is_empty()) else {
            return;
        };
        let bit = self.corrupt.below(open.len() as u64 * 8);
        open[(bit / 8) as usize] ^= 1 << (bit % 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws() -> Draws {
        Draws::new("a>b", Seed(1))
    }

    #[test]
    fn corruption_flips_one_bit_behind_the_outermost_header_and_only_in_its_share() {
        let mut draws = draws();
        let wear = Wear {
            corrupt_ppm: 100_000,
            ..Wear::NONE
        };
        let mut damaged = 0;
        for _ in 0..20_000 {
            let mut packet = [0; 60];
            packet[0] = 0x45;
            let sound = packet;
            draws.corrupt(wear, &mut packet);
            let flipped: u32 = packet
                .iter()
                .zip(sound)
                .map(|(a, b)| (a ^ b).count_ones())
                .sum();
            assert!(flipped <= 1);
            assert_eq!(
                packet[..20],
                sound[..20],
                "the outermost header is left alone"
            );
            damaged += flipped;
        }
        assert!((1_800..2_200).contains(&damaged), "{damaged}");
    }

    #[test]
    fn a_packet_with_nothing_behind_its_header_is_left_alone() {
        let wear = Wear {
            corrupt_ppm: 1_000_000,
            ..Wear::NONE
        };
        for mut bytes in [vec![], vec![0x45], vec![0x6f; 40]] {
            let sound = bytes.clone();
            draws().corrupt(wear, &mut bytes);
            assert_eq!(bytes, sound);
        }
    }

    #[test]
    fn a_link_as_good_as_new_touches_nothing() {
        let mut draws = draws();
        for _ in 0..10_000 {
            assert_eq!(draws.held_back(Wear::NONE), None);
            assert!(!draws.doubles(Wear::NONE));
        }
    }
}
