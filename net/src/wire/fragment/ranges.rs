//! Ranges: which bytes of a packet in pieces have come.
//!
//! Sorted, merged where they touch, and few: fragments in order make one range, and of a packet of 64 KB in
//! fragments of 1,280 bytes and any order at most 26 stand apart. Whoever needs more sends slivers.
//!
//! Invariant: ranges are disjoint, do not touch, and lie within the end once that is known.

const RANGES_MAX: usize = 32;

/// The bytes that have come.
#[derive(Clone, Copy, Default, Debug)]
pub struct Ranges {
    /// From and to, the end not included; sorted.
    ranges: [(u32, u32); RANGES_MAX],
    count: usize,
    /// Where the packet ends, once its last fragment came.
    end: Option<u32>,
}

/// What a fragment is to those before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Added {
    /// All of it had been missing.
    Fresh,
    /// All of it had come.
    Again,
    /// Part of it had come, it contradicts the packet's end, or it is one range too many.
    Conflict,
}

impl Ranges {
    /// Adds a fragment of `len` bytes at `offset`; `more` if it is not the last.
    pub fn add(&mut self, offset: u16, len: u16, more: bool) -> Added {
        let (from, to) = (u32::from(offset), u32::from(offset) + u32::from(len));
        let ranges = &self.ranges[..self.count];
        if ranges.iter().any(|range| range.0 <= from && to <= range.1) {
            return Added::Again;
        }
        let overlaps = ranges.iter().any(|range| range.0 < to && from < range.1);
        let last_to = ranges.last().map_or(0, |range| range.1);
        let wrong_end = match self.end {
            Some(end) if more => to > end,
            Some(_) => true,
            None => !more && last_to > to,
        };
        if overlaps || wrong_end {
            return Added::Conflict;
        }
        let at = ranges.partition_point(|range| range.1 < from);
        if !self.insert(at, (from, to)) {
            return Added::Conflict;
        }
        if !more {
            self.end = Some(to);
        }
        Added::Fresh
    }

    /// Whether all bytes have come.
    pub fn is_whole(&self) -> bool {
        self.count == 1 && self.ranges[0].0 == 0 && self.end == Some(self.ranges[0].1)
    }

    /// Puts a range in its place, merged with those that it touches. False when there is no place.
    fn insert(&mut self, at: usize, (from, to): (u32, u32)) -> bool {
        let touches_left = at < self.count && self.ranges[at].1 == from;
        let right = if touches_left { at + 1 } else { at };
        let touches_right = right < self.count && self.ranges[right].0 == to;
        match (touches_left, touches_right) {
            (true, true) => {
                self.ranges[at].1 = self.ranges[right].1;
                self.ranges.copy_within(right + 1..self.count, right);
                self.count -= 1;
            }
            (true, false) => self.ranges[at].1 = to,
            (false, true) => self.ranges[right].0 = from,
            (false, false) if self.count == RANGES_MAX => return false,
            (false, false) => {
                self.ranges.copy_within(at..self.count, at + 1);
                self.ranges[at] = (from, to);
                self.count += 1;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against one mark for each unit of 8 bytes.
        #[test]
        fn they_know_what_a_mark_for_each_unit_knows(
            steps in proptest::collection::vec((0_u16..24, 1_u16..5, prop::bool::weighted(0.9)), 1..40),
        ) {
            let (mut ranges, mut marks, mut end) = (Ranges::default(), [false; 32], None);
            for (unit, units, more) in steps {
                let (from, to) = (usize::from(unit), usize::from(unit + units));
                let marked = marks[from..to].iter().filter(|mark| **mark).count();
                let last = marks.iter().rposition(|mark| *mark).map_or(0, |at| at + 1);
                let wrong_end = match end {
                    Some(end) => !more || to > end,
                    None => !more && last > to,
                };
                let expected = if marked == to - from {
                    Added::Again
                } else if marked > 0 || wrong_end {
                    Added::Conflict
                } else {
                    Added::Fresh
                };
                prop_assert_eq!(ranges.add(unit * 8, units * 8, more), expected);
                if expected == Added::Fresh {
                    marks[from..to].fill(true);
                    end = if more { end } else { Some(to) };
                }
                let whole = end.is_some_and(|end| marks[..end].iter().all(|mark| *mark));
                prop_assert_eq!(ranges.is_whole(), whole);
            }
        }
    }

    #[test]
    fn slivers_run_out_of_ranges() {
        let mut ranges = Ranges::default();
        for number in 0..RANGES_MAX as u16 {
            assert_eq!(ranges.add(number * 16, 8, true), Added::Fresh);
        }
        assert_eq!(ranges.add(2_000, 8, true), Added::Conflict);
    }
}
