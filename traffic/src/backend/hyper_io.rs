//! A host's TCP stream as hyper wants it, without any runtime of hyper's.
//!
//! hyper has traits of its own for reading and writing; a [`Host`](anyedge_net::host::Host)'s streams have
//! those of `futures-io`. This turns one into the other. Bytes that were read to tell protocols apart are
//! put back in front. hyper's read cursor can be filled without `unsafe` by copying only, so reads go
//! through the backend's one buffer.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;

use futures_io::{AsyncRead, AsyncWrite};
use hyper::rt::{Read, ReadBufCursor, Write};

use crate::scratch::Scratch;

/// A stream for hyper.
pub(super) struct HyperIo<S, F> {
    stream: S,
    first: Vec<u8>,
    first_taken: usize,
    scratch: Scratch,
    on_written: F,
}

impl<S, F: Fn()> HyperIo<S, F> {
    /// `stream`, of which `first` has been read already; `on_written` is told when it takes bytes.
    pub(super) const fn new(stream: S, first: Vec<u8>, scratch: Scratch, on_written: F) -> Self {
        HyperIo {
            stream,
            first,
            first_taken: 0,
            scratch,
            on_written,
        }
    }

    pub(super) fn into_stream(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin, F: Unpin> Read for HyperIo<S, F> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.first_taken < this.first.len() {
            let rest = &this.first[this.first_taken..];
            let count = rest.len().min(into.remaining());
            into.put_slice(&rest[..count]);
            this.first_taken += count;
            if this.first_taken == this.first.len() {
                this.first = Vec::new();
                this.first_taken = 0;
            }
            return Poll::Ready(Ok(()));
        }
        let most = into.remaining();
        this.scratch
            .poll_read(context, &mut this.stream, most, |bytes| {
                into.put_slice(bytes)
            })
    }
}

impl<S: AsyncWrite + Unpin, F: Fn() + Unpin> Write for HyperIo<S, F> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(1..)) = written {
            (self.on_written)();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;
    use core::task::{Waker, ready};
    use hyper::rt::ReadBuf;
    use std::collections::VecDeque;

    /// Gives its pieces one by one, then the end; remembers what is done to it.
    #[derive(Default)]
    struct Pieces {
        reads: VecDeque<Poll<Vec<u8>>>,
        log: Vec<String>,
    }

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let piece = ready!(self.reads.pop_front().unwrap_or(Poll::Ready(Vec::new())));
            let count = piece.len().min(into.len());
            into[..count].copy_from_slice(&piece[..count]);
            if count < piece.len() {
                self.reads.push_front(Poll::Ready(piece[count..].to_vec()));
            }
            Poll::Ready(Ok(count))
        }
    }

    impl AsyncWrite for Pieces {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.log.push(format!("write {}", bytes.len()));
            Poll::Ready(Ok(bytes.len().min(3)))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.log.push("flush".into());
            Poll::Ready(Ok(()))
        }

        fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.log.push("close".into());
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }
    }

    fn read(io: &mut HyperIo<Pieces, fn()>, most: usize) -> Poll<Vec<u8>> {
        let mut space = vec![0; most];
        let mut buffer = ReadBuf::new(&mut space);
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(io).poll_read(&mut context, buffer.unfilled()) {
            Poll::Ready(Ok(())) => Poll::Ready(buffer.filled().to_vec()),
            Poll::Ready(Err(error)) => panic!("{error}"),
            Poll::Pending => Poll::Pending,
        }
    }

    #[test]
    fn what_was_read_before_comes_first_however_small_the_cursor() {
        let mut stream = Pieces::default();
        stream
            .reads
            .extend([Poll::Ready(b"defgh".to_vec()), Poll::Pending]);
        let mut io = HyperIo::new(stream, b"abc".to_vec(), Scratch::new(), (|| ()) as fn());
        assert_eq!(read(&mut io, 2), Poll::Ready(b"ab".to_vec()));
        assert_eq!(read(&mut io, 10), Poll::Ready(b"c".to_vec()));
        assert_eq!(read(&mut io, 4), Poll::Ready(b"defg".to_vec()));
        assert_eq!(read(&mut io, 4), Poll::Ready(b"h".to_vec()));
        assert_eq!(read(&mut io, 4), Poll::Pending);
        assert_eq!(read(&mut io, 4), Poll::Ready(Vec::new()));
    }

    #[test]
    fn writes_flushes_and_shutdowns_reach_the_stream_with_their_results() {
        let told = Cell::new(0);
        let on_written = || told.set(told.get() + 1);
        let mut io = HyperIo::new(Pieces::default(), Vec::new(), Scratch::new(), on_written);
        let mut context = Context::from_waker(Waker::noop());
        let written = Pin::new(&mut io).poll_write(&mut context, b"12345");
        assert!(matches!(written, Poll::Ready(Ok(3))));
        assert!(matches!(
            Pin::new(&mut io).poll_flush(&mut context),
            Poll::Ready(Ok(()))
        ));
        assert!(matches!(
            Pin::new(&mut io).poll_shutdown(&mut context),
            Poll::Ready(Err(_))
        ));
        assert_eq!(told.get(), 1);
        assert_eq!(io.into_stream().log, ["write 5", "flush", "close"]);
    }
}
