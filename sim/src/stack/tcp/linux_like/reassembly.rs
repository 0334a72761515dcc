//! What came behind a gap: which bytes are there already, and what the other end is told of them (RFC 2018, RFC 2883).
//!
//! The bytes themselves lie in the receive buffer where they belong. What would make one range too many is not kept, and
//! not acknowledged: it comes again.

use super::sequence::Seq;

/// Ranges behind gaps that are kept.
const RANGES_MAX: usize = 64;
/// Blocks that fit into the options of a segment without timestamps.
pub(super) const BLOCKS_MAX: usize = 4;

/// From the first byte to the one behind the last.
pub(super) type Range = (Seq, Seq);

/// The ranges that came out of order.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    /// In order, apart from each other.
    ranges: Vec<Range>,
    /// What came last, of which is told first.
    newest: Seq,
    /// What came twice, to be told of once.
    twice: Option<Range>,
}

impl Reassembly {
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.ranges.clear();
        self.twice = None;
    }

    /// Notes a range behind the first gap; `false` when it is one too many.
    pub(super) fn add(&mut self, (from, to): Range) -> bool {
        let first = self.ranges.partition_point(|(_, end)| end.is_before(from));
        let behind = self.ranges[first..]
            .iter()
            .take_while(|(start, _)| !to.is_before(*start))
            .count();
        if behind == 0 {
            if self.ranges.len() == RANGES_MAX {
                return false;
            }
            self.ranges.insert(first, (from, to));
        } else {
            let joined = &self.ranges[first..first + behind];
            let known = joined
                .iter()
                .any(|(start, end)| !from.is_before(*start) && !end.is_before(to));
            if known {
                self.twice = Some((from, to));
            }
            let start = joined[0].0.earlier(from);
            let end = joined[behind - 1].1.later(to);
            self.ranges.drain(first + 1..first + behind);
            self.ranges[first] = (start, end);
        }
        self.newest = from;
        true
    }

    /// All before `next` is there: how far it now goes on without a gap.
    pub(super) fn reaches(&mut self, next: Seq) -> Seq {
        let mut reached = next;
        let joined = self
            .ranges
            .iter()
            .take_while(|(start, end)| {
                let joins = !reached.is_before(*start);
                if joins {
                    reached = reached.later(*end);
                }
                joins
            })
            .count();
        self.ranges.drain(..joined);
        reached
    }

    /// Notes that a range came which was there before (RFC 2883).
    pub(super) const fn came_twice(&mut self, range: Range) {
        self.twice = Some(range);
    }

    /// The blocks to tell of: what came twice, then the newest range, then the others; `of` of them count.
    pub(super) fn take_blocks(&mut self) -> ([Range; BLOCKS_MAX], usize) {
        let mut blocks = [(Seq(0), Seq(0)); BLOCKS_MAX];
        let mut count = 0;
        let mut tell = |range: Range| {
            if count < BLOCKS_MAX {
                blocks[count] = range;
                count += 1;
            }
        };
        if let Some(twice) = self.twice.take() {
            tell(twice);
        }
        let newest = self.newest;
        let is_newest = |(start, end): Range| !newest.is_before(start) && newest.is_before(end);
        let first = self.ranges.iter().position(|range| is_newest(*range));
        if let Some(first) = first {
            tell(self.ranges[first]);
        }
        for (at, range) in self.ranges.iter().enumerate() {
            if Some(at) != first {
                tell(*range);
            }
        }
        (blocks, count)
    }

    /// How many blocks there are to tell of.
    pub(super) fn blocks(&self) -> usize {
        (self.ranges.len() + usize::from(self.twice.is_some())).min(BLOCKS_MAX)
    }

    /// Whether there is anything to tell.
    #[inline]
    pub(super) const fn tells(&self) -> bool {
        !self.ranges.is_empty() || self.twice.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn range(from: u32, to: u32) -> Range {
        (Seq(from), Seq(to))
    }

    fn told(reassembly: &mut Reassembly) -> Vec<(u32, u32)> {
        let (blocks, count) = reassembly.take_blocks();
        blocks[..count]
            .iter()
            .map(|(from, to)| (from.0, to.0))
            .collect()
    }

    #[test]
    fn the_newest_range_is_told_first_and_neighbours_join() {
        let mut reassembly = Reassembly::default();
        assert!(reassembly.add(range(10, 20)) && reassembly.add(range(30, 40)));
        assert_eq!(told(&mut reassembly), [(30, 40), (10, 20)]);
        assert!(reassembly.add(range(50, 60)) && reassembly.add(range(12, 25)));
        assert_eq!(told(&mut reassembly), [(10, 25), (30, 40), (50, 60)]);
        assert!(reassembly.add(range(25, 30)));
        assert_eq!(told(&mut reassembly), [(10, 40), (50, 60)]);
        assert_eq!(reassembly.reaches(Seq(10)), Seq(40));
        assert_eq!(reassembly.reaches(Seq(41)), Seq(41));
        assert_eq!(
            told(&mut reassembly),
            [(50, 60)],
            "the newest is gone: the others"
        );
        assert_eq!(reassembly.reaches(Seq(55)), Seq(60));
        assert!(reassembly.is_empty() && !reassembly.tells());
    }

    #[test]
    fn what_comes_twice_is_told_once() {
        let mut reassembly = Reassembly::default();
        assert!(reassembly.add(range(10, 20)) && reassembly.add(range(12, 18)));
        assert_eq!(told(&mut reassembly), [(12, 18), (10, 20)]);
        assert_eq!(told(&mut reassembly), [(10, 20)]);
        reassembly.came_twice(range(1, 5));
        assert_eq!(told(&mut reassembly)[0], (1, 5));
    }

    #[test]
    fn ranges_are_bounded() {
        let mut reassembly = Reassembly::default();
        let count = RANGES_MAX as u32;
        assert!((0..count).all(|at| reassembly.add(range(at * 10, at * 10 + 5))));
        assert!(!reassembly.add(range(count * 10, count * 10 + 5)));
        assert!(reassembly.add(range(3, 11)), "what joins two makes room");
        assert!(reassembly.add(range(count * 10, count * 10 + 5)));
        assert_eq!(told(&mut reassembly).len(), BLOCKS_MAX);
    }
}
