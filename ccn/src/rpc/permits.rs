//! A number of places, taken and given back: the limit on calls and connections at one time.
//!
//! There is no queue: whoever finds no place is refused at once, so waiting never piles up here.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// Places of which each may be taken once.
#[derive(Clone)]
pub(super) struct Permits {
    taken: Arc<AtomicUsize>,
    most: usize,
}

impl Permits {
    pub(super) fn new(most: usize) -> Permits {
        Permits {
            taken: Arc::new(AtomicUsize::new(0)),
            most,
        }
    }

    /// A place, or none is left.
    pub(super) fn take(&self) -> Option<Permit> {
        let one_more = |taken| (taken < self.most).then_some(taken + 1);
        let relaxed = Ordering::Relaxed;
        self.taken
            .fetch_update(relaxed, relaxed, one_more)
            .is_ok()
            .then(|| Permit(Arc::clone(&self.taken)))
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

/// A place; dropping it gives it back.
pub(super) struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_given_back_can_be_taken_again() {
        let permits = Permits::new(2);
        let first = permits.take();
        let second = permits.take();
        assert!(first.is_some() && second.is_some());
        assert!(permits.take().is_none());
        assert_eq!(permits.taken(), 2);
        drop(first);
        assert!(permits.take().is_some());
        assert_eq!(permits.taken(), 1);
    }
}
