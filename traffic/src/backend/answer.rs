//! The body of an HTTP answer: a short text, or pattern bytes that are made as they are sent.
//!
//! The pattern is never copied together: each frame is a piece of the one static window. It may have a pace,
//! and then a frame waits for its time. Dropping the body is the end of the answer, which is how the
//! connection's patience learns of it.

use core::convert::Infallible;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::sync::Arc;

use anyedge_net::host::Host;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::patience::Patience;
use crate::pace::Pace;
use crate::pattern;

/// What an answer's body holds.
pub(super) enum Content {
    /// A few bytes.
    Text(Bytes),
    /// The pattern from offset 0.
    Pattern {
        /// How much of it.
        bytes: u64,
        /// How fast.
        pace: Pace,
    },
}

/// A body on its way out.
pub(super) struct Answer<H: Host> {
    content: Content,
    sent: u64,
    /// Until the next byte is due.
    sleep: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    patience: Arc<Patience<H>>,
}

impl<H: Host> Answer<H> {
    pub(super) const fn new(content: Content, patience: Arc<Patience<H>>) -> Answer<H> {
        Answer {
            content,
            sent: 0,
            sleep: None,
            patience,
        }
    }

    fn left(&self) -> u64 {
        let whole = match &self.content {
            Content::Text(text) => text.len() as u64,
            Content::Pattern { bytes, .. } => *bytes,
        };
        whole - self.sent
    }

    /// Ready when the next byte may be sent.
    fn poll_due(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Content::Pattern { pace, .. } = &self.content else {
            return Poll::Ready(());
        };
        let due = pace.due(self.sent);
        if due > self.patience.host().now() {
            let host = self.patience.host();
            let sleep = self
                .sleep
                .get_or_insert_with(|| Box::pin(host.sleep_until(due)));
            ready!(sleep.as_mut().poll(context));
        }
        self.sleep = None;
        Poll::Ready(())
    }
}

impl<H: Host> Body for Answer<H> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let left = self.left();
        if left == 0 {
            return Poll::Ready(None);
        }
        ready!(self.poll_due(context));
        let piece = match &self.content {
            Content::Text(text) => text.clone(),
            Content::Pattern { pace, .. } => {
                let want = left.min(pace.together(self.sent));
                let want = usize::try_from(want).unwrap_or(usize::MAX);
                Bytes::from_static(pattern::at(self.sent, want))
            }
        };
        self.sent += piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

impl<H: Host> Drop for Answer<H> {
    fn drop(&mut self) {
        self.patience.on_answered();
    }
}
