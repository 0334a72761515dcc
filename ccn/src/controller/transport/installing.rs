//! Whose snapshot is being taken: one at a time, so that a member never holds several states that come in.
//!
//! A snapshot whose sender has crashed comes to no end until its connection does. So the next one takes its place, unless
//! that is of an earlier term: then its sender leads no more, and has to wait.

use crate::rpc::{Latest, LatestReader};

/// The place for one snapshot on its way in. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Installing(Latest<Turn>);

#[derive(Clone, Copy, Default, Debug)]
struct Turn {
    number: u64,
    /// The term of whose snapshot it is, while it is on its way.
    term: Option<u64>,
}

/// A snapshot that has the place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    installing: Installing,
    reader: LatestReader<Turn>,
    number: u64,
}

impl Installing {
    pub(super) fn new() -> Installing {
        Installing(Latest::new(Turn::default()))
    }

    /// The place for a snapshot of a leader of `term`; `None` while that of a later one is on its way.
    pub(super) fn begin(&self, term: u64) -> Option<Place> {
        let mut number = None;
        self.0.change(|turn| {
            if turn.term.is_some_and(|held| held > term) {
                return false;
            }
            turn.number += 1;
            turn.term = Some(term);
            number = Some(turn.number);
            true
        });
        Some(Place {
            installing: self.clone(),
            reader: self.0.reader(),
            number: number?,
        })
    }
}

impl Place {
    /// Completes when another snapshot has taken the place.
    pub(super) async fn lost(&mut self) {
        let own = self.number;
        while self.reader.next(|turn| turn.number).await == own {}
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let own = self.number;
        self.installing.0.change(|turn| {
            if turn.number == own {
                turn.term = None;
            }
            false
        });
    }
}

#[cfg(test)]
mod tests {
    use core::pin::pin;
    use core::task::{Context, Poll, Waker};

    use super::*;

    fn is_lost(place: &mut Place) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        pin!(place.lost()).poll(&mut context) == Poll::Ready(())
    }

    #[test]
    fn the_next_snapshot_takes_the_place_of_one_that_comes_to_no_end() {
        let installing = Installing::new();
        let mut first = installing.begin(3).expect("the place is free");
        assert!(!is_lost(&mut first));
        let mut second = installing.begin(3).expect("of the same leader");
        assert!(is_lost(&mut first) && !is_lost(&mut second));
        drop(first);
        let mut third = installing.begin(4).expect("of a later leader");
        assert!(is_lost(&mut second) && !is_lost(&mut third));
    }

    #[test]
    fn a_leader_of_an_earlier_term_waits_for_that_of_a_later_one() {
        let installing = Installing::new();
        let later = installing.begin(4);
        assert!(later.is_some());
        assert!(installing.begin(3).is_none());
        drop(later);
        assert!(installing.begin(3).is_some());
    }
}
