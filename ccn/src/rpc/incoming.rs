//! The other end's half of a call: bytes and trailers as they come, no faster than they are read.
//!
//! Each piece frees its share of the window when it is handed on, so what a reader leaves unread stops its
//! sender. Dropping it before its end cancels the call.

use core::pin::Pin;
use core::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http_body::{Body, Frame};
use tokio::sync::oneshot;
use tonic::Status;

use super::deadline::Deadline;
use super::failure::status_of;
use super::permits::Permit;

/// The body of a request or an answer.
pub struct Incoming {
    stream: RecvStream,
    has_all_data: bool,
    deadline: Deadline,
    /// For a client: dropped with this, they tell our own half of the call that nobody waits any more, and
    /// give the call's place back.
    _held: Option<(oneshot::Sender<()>, Permit)>,
}

impl Incoming {
    pub(super) const fn new(stream: RecvStream, deadline: Deadline) -> Incoming {
        Incoming {
            stream,
            has_all_data: false,
            deadline,
            _held: None,
        }
    }

    pub(super) fn holding(mut self, cancel: oneshot::Sender<()>, permit: Permit) -> Incoming {
        self._held = Some((cancel, permit));
        self
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Poll::Ready(status) = this.deadline.poll_passed(context) {
            return Poll::Ready(Some(Err(status)));
        }
        if !this.has_all_data {
            match ready!(this.stream.poll_data(context)) {
                Some(Ok(bytes)) => {
                    // Fails for a stream that is already over, which frees its window by itself.
                    drop(this.stream.flow_control().release_capacity(bytes.len()));
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                // The server's way to say that it wants no more of a request that it has answered.
                Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) => {
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(status_of(&error)))),
                None => this.has_all_data = true,
            }
        }
        let trailers = ready!(this.stream.poll_trailers(context));
        Poll::Ready(match trailers {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => Some(Err(status_of(&error))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}
