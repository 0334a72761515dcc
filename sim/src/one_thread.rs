//! What one thread uses, one use after another, though it has to be `Sync`: services are futures that could go to any thread.
//!
//! Nobody ever waits here, so there is no lock to wait for: whoever comes while it is in use is a mistake of ours, and ends
//! the run. To open it is one swap, and to close it a store, where a mutex swaps to find out whether somebody waits.

use try_lock::{Locked, TryLock};

/// A value that is used by one thread.
#[derive(Debug, Default)]
pub(crate) struct OneThread<T>(TryLock<T>);

impl<T> OneThread<T> {
    pub(crate) const fn new(value: T) -> OneThread<T> {
        OneThread(TryLock::new(value))
    }

    /// The value, until what is returned is dropped.
    ///
    /// # Panics
    /// While it is in use.
    #[inline]
    pub(crate) fn open(&self) -> Locked<'_, T> {
        self.0
            .try_lock()
            .expect("one thread uses it, and not within a use of it")
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn it_is_used_again_and_again() {
        let value = OneThread::new(0);
        for _ in 0..3 {
            *value.open() += 1;
        }
        assert_eq!(*value.open(), 3);
    }

    #[test]
    fn a_use_within_a_use_is_a_mistake() {
        let value = OneThread::new(0);
        let first = value.open();
        assert!(catch_unwind(AssertUnwindSafe(|| *value.open())).is_err());
        drop(first);
        assert_eq!(*value.open(), 0);
    }
}
