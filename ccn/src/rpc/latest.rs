//! A value that one side sets and others wait for to change; only the latest is ever told.
//!
//! tokio's `watch` does this too, but wakes its readers in an order that it draws from the thread's own
//! randomness: two runs of one seed would differ. Here readers wake in the order in which they began to read.

use core::task::{Context, Poll, Waker};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The value. Clones set the same one.
#[derive(Debug)]
pub struct Latest<T>(Arc<Mutex<Inner<T>>>);

#[derive(Debug)]
struct Inner<T> {
    value: T,
    version: u64,
    next_reader: u64,
    waiting: BTreeMap<u64, Waker>,
}

/// One who reads it.
#[derive(Debug)]
pub struct LatestReader<T> {
    of: Latest<T>,
    id: u64,
    seen: u64,
}

impl<T> Clone for Latest<T> {
    fn clone(&self) -> Self {
        Latest(Arc::clone(&self.0))
    }
}

impl<T> Latest<T> {
    /// `value` first.
    pub fn new(value: T) -> Latest<T> {
        Latest(Arc::new(Mutex::new(Inner {
            value,
            version: 1,
            next_reader: 0,
            waiting: BTreeMap::new(),
        })))
    }

    /// Changes the value by `change`, which says whether it did; then readers wake.
    pub fn change(&self, change: impl FnOnce(&mut T) -> bool) {
        let mut inner = self.locked();
        if !change(&mut inner.value) {
            return;
        }
        inner.version += 1;
        let waiting = core::mem::take(&mut inner.waiting);
        // A waker may poll its task at once, which may read.
        drop(inner);
        waiting.into_values().for_each(Waker::wake);
    }

    /// What `look` makes of the value.
    pub fn with<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.locked().value)
    }

    /// A reader to whom the present value is news.
    pub fn reader(&self) -> LatestReader<T> {
        let mut inner = self.locked();
        inner.next_reader += 1;
        LatestReader {
            of: self.clone(),
            id: inner.next_reader,
            seen: 0,
        }
    }

    fn locked(&self) -> MutexGuard<'_, Inner<T>> {
        // Only `change` runs foreign code that could panic, before anything of ours is half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> LatestReader<T> {
    /// What `look` makes of the value once there is one that this reader has not seen.
    pub fn poll_next<R>(
        &mut self,
        context: &mut Context<'_>,
        look: impl FnOnce(&T) -> R,
    ) -> Poll<R> {
        let mut inner = self.of.locked();
        if inner.version == self.seen {
            inner.waiting.insert(self.id, context.waker().clone());
            return Poll::Pending;
        }
        self.seen = inner.version;
        Poll::Ready(look(&inner.value))
    }

    /// What `look` makes of the next value that this reader has not seen.
    pub async fn next<R>(&mut self, look: impl Fn(&T) -> R) -> R {
        poll_fn(|context| self.poll_next(context, &look)).await
    }
}

impl<T> Drop for LatestReader<T> {
    fn drop(&mut self) {
        let waker = self.of.locked().waiting.remove(&self.id);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_told_the_present_value_then_only_the_last_of_the_changes() {
        let latest = Latest::new(1);
        let mut reader = latest.reader();
        let mut context = Context::from_waker(Waker::noop());
        let mut poll = || reader.poll_next(&mut context, |value| *value);
        assert_eq!(poll(), Poll::Ready(1));
        assert_eq!(poll(), Poll::Pending);
        latest.change(|value| {
            *value = 2;
            true
        });
        latest.change(|value| {
            *value = 3;
            true
        });
        latest.change(|_| false);
        assert_eq!(poll(), Poll::Ready(3));
        assert_eq!(poll(), Poll::Pending);
    }

    #[test]
    fn a_reader_that_is_gone_leaves_nothing_behind() {
        let latest = Latest::new(());
        let mut reader = latest.reader();
        let mut context = Context::from_waker(Waker::noop());
        assert!(reader.poll_next(&mut context, |()| ()).is_ready());
        assert!(reader.poll_next(&mut context, |()| ()).is_pending());
        assert_eq!(latest.locked().waiting.len(), 1);
        drop(reader);
        assert!(latest.locked().waiting.is_empty());
    }
}
