//! Which waker it is, without keeping it: for who asks often and must not wait for the counts of its clones.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

/// Tells a waker from all others for as long as a clone of it is kept somewhere. The default is nobody's.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct WakerId {
    data: usize,
    functions: usize,
}

impl WakerId {
    /// That of `waker`.
    #[inline]
    pub fn of(waker: &Waker) -> WakerId {
        WakerId {
            data: waker.data().addr(),
            functions: std::ptr::from_ref(waker.vtable()).addr(),
        }
    }
}

/// Who waits for something of a socket, for the socket's handle, which asks without opening the world.
///
/// One thread runs the world: what it stores here is only loaded and stored, in the order of its own steps.
#[derive(Default, Debug)]
pub struct Waits {
    data: AtomicUsize,
    functions: AtomicUsize,
}

impl Waits {
    /// From here on the one of that id waits; nobody, if it is the default.
    #[inline]
    pub fn set(&self, id: WakerId) {
        self.data.store(id.data, Ordering::Relaxed);
        self.functions.store(id.functions, Ordering::Relaxed);
    }

    /// Whether it is the one of `waker`.
    #[inline]
    pub fn is(&self, waker: &Waker) -> bool {
        let id = WakerId {
            data: self.data.load(Ordering::Relaxed),
            functions: self.functions.load(Ordering::Relaxed),
        };
        id == WakerId::of(waker)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    struct Nothing;

    impl Wake for Nothing {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_waker_is_itself_and_its_clones_and_no_other() {
        let [one, other] = [(); 2].map(|()| Waker::from(Arc::new(Nothing)));
        let waits = Waits::default();
        assert!(!waits.is(&one));
        waits.set(WakerId::of(&one));
        assert!(waits.is(&one) && waits.is(&one.clone()));
        assert!(!waits.is(&other));
        waits.set(WakerId::default());
        assert!(!waits.is(&one));
        assert!(!waits.is(Waker::noop()));
    }
}
