//! Sequence numbers: a circle, on which what is less than half of it ahead comes later (RFC 9293 §3.4).

use std::ops::Add;

/// A place in one direction of a connection's stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Seq(pub(super) u32);

impl Seq {
    /// Whether `other` comes later.
    #[inline]
    pub(super) const fn is_before(self, other: Seq) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() < 0
    }

    /// How far it is to `later`; 0 when that is not later.
    #[inline]
    pub(super) const fn until(self, later: Seq) -> u32 {
        let ahead = later.0.wrapping_sub(self.0);
        if ahead.cast_signed() < 0 { 0 } else { ahead }
    }

    /// The later of both.
    #[inline]
    pub(super) const fn later(self, other: Seq) -> Seq {
        if self.is_before(other) { other } else { self }
    }

    /// The earlier of both.
    #[inline]
    pub(super) const fn earlier(self, other: Seq) -> Seq {
        if self.is_before(other) { self } else { other }
    }

    /// The one in front of it.
    #[inline]
    pub(super) const fn previous(self) -> Seq {
        Seq(self.0.wrapping_sub(1))
    }
}

impl Add<u32> for Seq {
    type Output = Seq;

    #[inline]
    fn add(self, count: u32) -> Seq {
        Seq(self.0.wrapping_add(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_holds_over_the_end_of_the_circle() {
        let last = Seq(u32::MAX);
        assert!(last.is_before(last + 1) && !(last + 1).is_before(last));
        assert_eq!((last.until(last + 5), (last + 5).until(last)), (5, 0));
        assert_eq!((last.later(Seq(3)), last.earlier(Seq(3))), (Seq(3), last));
        assert_eq!(Seq(0).previous(), last);
    }
}
