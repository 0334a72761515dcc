//! Heard: which of the other end's last 64 probes arrived.
//!
//! A bitmap below the highest number heard. Probes before the first count as heard, so that the number of missing
//! ones is always out of 64, and a young session is not accused for what it never sent.

/// Probes that the window covers.
pub(super) const WINDOW: u32 = u64::BITS;

/// What arrived of the other end's probes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Heard {
    /// The highest number.
    pub(super) highest: u32,
    /// Bit `i`: whether `highest - i` arrived.
    pub(super) window: u64,
}

impl Heard {
    /// Nothing is missing, and `sequence` is the last that arrived.
    pub(super) const fn since(sequence: u32) -> Heard {
        Heard {
            highest: sequence,
            window: u64::MAX,
        }
    }

    /// Notes that `sequence` arrived, late or in order. Numbers wrap around.
    pub(super) fn hear(&mut self, sequence: u32) {
        if is_before(self.highest, sequence) {
            let ahead = sequence.wrapping_sub(self.highest);
            self.window = self.window.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = sequence;
        } else if let Some(bit) = 1_u64.checked_shl(self.highest.wrapping_sub(sequence)) {
            self.window |= bit;
        }
    }
}

/// Whether one number comes before another, where numbers wrap around (RFC 1982 §3.2).
pub(super) const fn is_before(number: u32, other: u32) -> bool {
    let ahead = other.wrapping_sub(number);
    ahead != 0 && ahead <= u32::MAX / 2
}

/// How many of [`WINDOW`] probes a bitmap has missing.
pub(super) const fn missing(window: u64) -> u8 {
    window.count_zeros() as u8
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn late_probes_are_no_lost_ones() {
        let mut heard = Heard::since(u32::MAX - 1);
        heard.hear(3);
        assert_eq!(missing(heard.window), 4);
        for late in [u32::MAX, 2, 0, 1] {
            heard.hear(late);
        }
        assert_eq!((missing(heard.window), heard.highest), (0, 3));
    }

    #[test]
    fn a_gap_wider_than_the_window_leaves_only_the_newest() {
        let mut heard = Heard::since(0);
        heard.hear(1_000);
        assert_eq!(missing(heard.window), 63);
        heard.hear(900);
        assert_eq!(missing(heard.window), 63);
    }

    proptest! {
        #[test]
        fn the_window_is_what_a_set_of_numbers_says(start: u32, steps in prop::collection::vec(0_u32..200, 1..100)) {
            let mut heard = Heard::since(start);
            let mut naive: BTreeSet<u64> = (0..64).collect();
            let mut highest = 63_u64;
            for step in steps {
                // Numbers from 100 behind to 99 ahead of the highest, counted from 63 before the start.
                let number = (highest + u64::from(step)).saturating_sub(100);
                heard.hear(start.wrapping_add(number as u32).wrapping_sub(63));
                naive.insert(number);
                highest = highest.max(number);
                let expected = (highest - 63..=highest).filter(|number| !naive.contains(number)).count();
                prop_assert_eq!(usize::from(missing(heard.window)), expected);
            }
        }
    }
}
