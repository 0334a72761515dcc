//! One read buffer for all connections of a host.
//!
//! What is read here is looked at and forgotten: answers are counted and compared, requests are counted.
//! So a connection needs no buffer of its own, only this one for the length of a single `poll_read`. Where
//! threads meet, the one that finds it taken reads into its stack, smaller pieces at a time.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::sync::{Arc, Mutex};

use futures_io::AsyncRead;

const SHARED_BYTES: usize = 64 * 1024;
const STACK_BYTES: usize = 4 * 1024;

/// A read buffer to borrow for one `poll_read`.
#[derive(Clone)]
pub(crate) struct Scratch(Arc<Mutex<Box<[u8]>>>);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        Scratch(Arc::new(Mutex::new(
            vec![0; SHARED_BYTES].into_boxed_slice(),
        )))
    }

    /// Reads at most `most` bytes from `stream` and gives what `look` makes of them; of no bytes at all at
    /// the end of the stream.
    pub(crate) fn poll_read<T>(
        &self,
        context: &mut Context<'_>,
        stream: &mut (impl AsyncRead + Unpin),
        most: usize,
        look: impl FnOnce(&[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        let mut read = |buffer: &mut [u8]| {
            let most = most.min(buffer.len());
            Pin::new(&mut *stream).poll_read(context, &mut buffer[..most])
        };
        if let Ok(mut shared) = self.0.try_lock() {
            read(&mut shared).map_ok(|count| look(&shared[..count]))
        } else {
            let mut own = [0; STACK_BYTES];
            read(&mut own).map_ok(|count| look(&own[..count]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::task::Waker;

    struct Ones;

    impl AsyncRead for Ones {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            into.fill(1);
            Poll::Ready(Ok(into.len()))
        }
    }

    #[test]
    fn a_taken_buffer_only_makes_the_pieces_smaller() {
        let scratch = Scratch::new();
        let mut context = Context::from_waker(Waker::noop());
        let mut count = |most| match scratch.poll_read(&mut context, &mut Ones, most, <[u8]>::len) {
            Poll::Ready(Ok(count)) => count,
            other => panic!("{other:?}"),
        };
        assert_eq!(count(10), 10);
        assert_eq!(count(usize::MAX), SHARED_BYTES);
        let _taken = scratch.0.try_lock().expect("nobody else has it");
        assert_eq!(count(10), 10);
        assert_eq!(count(usize::MAX), STACK_BYTES);
    }
}
