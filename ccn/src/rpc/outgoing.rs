//! Our half of a call: a body written to its HTTP/2 stream as fast as the other end takes it.
//!
//! The next piece is asked of the body only when the last one has been handed to the connection, so at most
//! one message of a call waits here. An end that takes nothing for `stalled_max` is cut off: its stream is reset,
//! other calls of its connection go on.

use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Poll, ready};
use core::time::Duration;

use anyedge_net::host::Host;
use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::{Body, Frame};
use tokio::sync::oneshot;
use tonic::Status;

use super::deadline::{Deadline, until};

/// At most this much is asked of the window at once: a large message shares the connection with others.
const PIECE_BYTES: usize = 32 << 10;

/// How writing a body ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// All is handed over.
    Complete,
    /// The other end, or whoever waited for its answer, wants no more of it.
    Unwanted,
    /// The body itself failed; the stream was reset.
    Broken,
    /// The call's deadline passed first.
    TooLate,
    /// The other end took nothing for too long; the stream was reset.
    Stalled,
}

/// A stream to write to, and what ends the writing early.
pub(super) struct Outgoing<'a, H> {
    pub(super) host: &'a H,
    pub(super) stream: SendStream<Bytes>,
    pub(super) stalled_max: Duration,
    /// A server's: it tells the deadline in trailers. A client's own is kept where the answer is awaited.
    pub(super) deadline: Option<Deadline>,
    /// A client's: its other end is dropped with the answer.
    pub(super) cancelled: Option<oneshot::Receiver<()>>,
}

enum Next<E> {
    Frame(Option<Result<Frame<Bytes>, E>>),
    Ended(Ending),
}

impl<H: Host> Outgoing<'_, H> {
    /// Writes all of `body`.
    pub(super) async fn send<B: Body<Data = Bytes>>(mut self, body: B) -> Ending {
        let mut body = pin!(body);
        let ending = loop {
            let frame = match self.next(body.as_mut()).await {
                Next::Ended(ending) => break ending,
                Next::Frame(None) => {
                    break self.handed(|stream| stream.send_data(Bytes::new(), true));
                }
                Next::Frame(Some(Err(_))) => break Ending::Broken,
                Next::Frame(Some(Ok(frame))) => frame,
            };
            match frame.into_data().map_err(Frame::into_trailers) {
                Ok(data) => {
                    if let Err(ending) = self.send_data(data).await {
                        break ending;
                    }
                }
                Err(Ok(trailers)) => break self.handed(|stream| stream.send_trailers(trailers)),
                // A kind of frame that gRPC does not have.
                Err(Err(_)) => {}
            }
        };
        match ending {
            Ending::TooLate => self.tell_too_late(),
            Ending::Broken => self.stream.send_reset(Reason::INTERNAL_ERROR),
            Ending::Stalled => self.stream.send_reset(Reason::ENHANCE_YOUR_CALM),
            Ending::Unwanted => self.stream.send_reset(Reason::CANCEL),
            Ending::Complete => {}
        }
        ending
    }

    fn handed(
        &mut self,
        act: impl FnOnce(&mut SendStream<Bytes>) -> Result<(), h2::Error>,
    ) -> Ending {
        match act(&mut self.stream) {
            Ok(()) => Ending::Complete,
            Err(_) => Ending::Unwanted,
        }
    }

    async fn next<B: Body<Data = Bytes>>(&mut self, mut body: Pin<&mut B>) -> Next<B::Error> {
        poll_fn(|context| {
            if self.stream.poll_reset(context).is_ready() {
                return Poll::Ready(Next::Ended(Ending::Unwanted));
            }
            if let Some(cancelled) = &mut self.cancelled
                && Pin::new(cancelled).poll(context).is_ready()
            {
                return Poll::Ready(Next::Ended(Ending::Unwanted));
            }
            if let Some(deadline) = &mut self.deadline
                && deadline.poll_passed(context).is_ready()
            {
                return Poll::Ready(Next::Ended(Ending::TooLate));
            }
            body.as_mut().poll_frame(context).map(Next::Frame)
        })
        .await
    }

    async fn send_data(&mut self, mut data: Bytes) -> Result<(), Ending> {
        while !data.is_empty() {
            self.stream.reserve_capacity(data.len().min(PIECE_BYTES));
            let room = match self.stream.capacity() {
                0 => self.room().await?,
                room => room,
            };
            let piece = data.split_to(room.min(data.len()));
            self.stream
                .send_data(piece, false)
                .map_err(|_| Ending::Unwanted)?;
        }
        Ok(())
    }

    /// Waits until the other end takes more; how much.
    async fn room(&mut self) -> Result<usize, Ending> {
        let patience_ends = self.host.now() + self.stalled_max;
        let Outgoing {
            stream,
            deadline,
            cancelled,
            ..
        } = self;
        let room = poll_fn(|context| {
            if let Some(cancelled) = cancelled
                && Pin::new(cancelled).poll(context).is_ready()
            {
                return Poll::Ready(Err(Ending::Unwanted));
            }
            if let Some(deadline) = deadline
                && deadline.poll_passed(context).is_ready()
            {
                return Poll::Ready(Err(Ending::TooLate));
            }
            loop {
                match ready!(stream.poll_capacity(context)) {
                    // Taken by others before we came: ask again, which leaves a waker.
                    Some(Ok(0)) => {}
                    Some(Ok(room)) => return Poll::Ready(Ok(room)),
                    Some(Err(_)) | None => return Poll::Ready(Err(Ending::Unwanted)),
                }
            }
        });
        match until(self.host, patience_ends, room).await {
            Some(room) => room,
            None => Err(Ending::Stalled),
        }
    }

    fn tell_too_late(&mut self) {
        let status = Status::deadline_exceeded("the call's time is over");
        let mut trailers = http::HeaderMap::new();
        // Fails for metadata that is no header; this status has none.
        if status.add_header(&mut trailers).is_err() || self.stream.send_trailers(trailers).is_err()
        {
            self.stream.send_reset(Reason::CANCEL);
        }
    }
}
