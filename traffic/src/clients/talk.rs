//! What a client says over an established connection, and what it must hear: each kind of load in turn.
//!
//! Answers are compared byte by byte with the pattern as they come in, and not kept. A talk tells the flow's
//! watch when it wants bytes and when it gets new ones, and the deadline of its progress.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::Poll;
use core::time::Duration;

use anyedge_net::host::{Host, TcpStream};
use futures_io::AsyncWrite as _;

use super::deadline::Deadline;
use crate::exchange::{self, HEADER_BYTES};
use crate::failure::Failure;
use crate::load::{Load, LoadKind};
use crate::pace::Pace;
use crate::scratch::Scratch;
use crate::stats::FlowWatch;
use crate::{pattern, receipt};

/// The first piece of a request of `load` for `size` bytes, ready to be written at once: its header, and of a request as
/// much padding as one piece takes.
pub(super) fn opening(load: &Load, size: u64) -> Vec<u8> {
    if let Some(header) = load.kind.long_flow(size) {
        return header.encode().to_vec();
    }
    let header = exchange::Header {
        request_bytes: load.request_size,
        answer_bytes: size,
        keep: load.kind == LoadKind::KeepAlive,
    };
    let mut opening = header.encode().to_vec();
    let padding_bytes = load.request_size as usize - HEADER_BYTES;
    opening.extend_from_slice(pattern::at(HEADER_BYTES as u64, padding_bytes));
    opening
}

/// One connection's talk.
pub(super) struct Talk<'a, H: Host> {
    pub(super) host: &'a H,
    pub(super) load: &'a Load,
    /// Bytes of the answer, or of what is sent.
    pub(super) size: u64,
    /// Whether progress moves the deadline.
    pub(super) is_long: bool,
    pub(super) opening: &'a [u8],
    pub(super) scratch: &'a Scratch,
    pub(super) deadline: &'a Deadline,
    pub(super) stream: &'a mut H::Tcp,
    pub(super) watch: &'a mut FlowWatch,
}

impl<H: Host> Talk<'_, H> {
    /// Talks to the end.
    pub(super) async fn hold(mut self) -> Result<(), Failure> {
        self.on_progress();
        write_all(self.stream, self.opening).await?;
        let size = self.size;
        match self.load.kind {
            LoadKind::Request
            | LoadKind::KeepAlive
            | LoadKind::Tick
            | LoadKind::Ping
            | LoadKind::SynFlood => {
                self.write_padding().await?;
                self.read_answer(0, size).await
            }
            LoadKind::Download { .. } => self.read_answer(0, size).await,
            LoadKind::HalfClosed { .. } => {
                poll_fn(|context| Pin::new(&mut *self.stream).poll_close(context))
                    .await
                    .map_err(|error| Failure::of(&error))?;
                self.read_answer(0, size).await
            }
            LoadKind::Upload { pace } => {
                self.write_paced(pace).await?;
                self.read_receipt().await
            }
            LoadKind::Idle { silence } => {
                self.read_answer(0, size).await?;
                self.rest(silence).await;
                write_all(self.stream, self.opening).await?;
                self.read_answer(size, size).await
            }
        }
    }

    async fn write_padding(&mut self) -> Result<(), Failure> {
        let request_bytes = u64::from(self.load.request_size);
        let mut written = self.opening.len() as u64;
        while written < request_bytes {
            let left = usize::try_from(request_bytes - written).unwrap_or(usize::MAX);
            let piece = pattern::at(written, left);
            write_all(self.stream, piece).await?;
            written += piece.len() as u64;
        }
        poll_fn(|context| Pin::new(&mut *self.stream).poll_flush(context))
            .await
            .map_err(|error| Failure::of(&error))
    }

    async fn write_paced(&mut self, pace: u64) -> Result<(), Failure> {
        let pace = Pace::new(self.host.now(), pace);
        let mut written = 0;
        while written < self.size {
            let due = pace.due(written);
            if due > self.host.now() {
                self.rest(due - self.host.now()).await;
            }
            let left = (self.size - written).min(pace.together(written));
            let piece = pattern::at(written, usize::try_from(left).unwrap_or(usize::MAX));
            let count = write_some(self.stream, piece).await?;
            written += count as u64;
            self.on_progress();
        }
        Ok(())
    }

    /// Wants nothing for a while.
    async fn rest(&mut self, length: Duration) {
        let end = self.host.now() + length;
        self.watch.rests();
        self.deadline.await_from(end);
        self.host.sleep_until(end).await;
        self.watch.wants(end);
    }

    async fn read_answer(&mut self, from: u64, wanted: u64) -> Result<(), Failure> {
        let mut answer = Answer {
            from,
            wanted,
            received: 0,
        };
        poll_fn(|context| {
            loop {
                let piece = self
                    .scratch
                    .poll_read(context, self.stream, usize::MAX, |bytes| answer.take(bytes));
                match piece {
                    Poll::Ready(Ok(None)) => self.on_progress(),
                    Poll::Ready(Ok(Some(outcome))) => {
                        if outcome.is_ok() {
                            self.on_progress();
                        }
                        return Poll::Ready(outcome);
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::of(&error))),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    /// Reads the line that says whether the upload arrived, and takes the silences that it tells of.
    async fn read_receipt(&mut self) -> Result<(), Failure> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let most = receipt::LINE_BYTES_MAX + 1 - line.len();
            let read = poll_fn(|context| {
                self.scratch.poll_read(context, self.stream, most, |bytes| {
                    line.extend_from_slice(bytes);
                    bytes.len()
                })
            });
            if read.await.map_err(|error| Failure::of(&error))? == 0 {
                return Err(Failure::ClosedEarly);
            }
            if line.len() > receipt::LINE_BYTES_MAX {
                return Err(Failure::WrongAnswer);
            }
        }
        let now = self.host.now();
        self.on_progress();
        let silences = receipt::parse(&line, self.size, now).ok_or(Failure::WrongAnswer)?;
        for silence in silences {
            self.watch.on_silence(silence);
        }
        Ok(())
    }

    fn on_progress(&mut self) {
        let now = self.host.now();
        self.watch.on_byte(now);
        if self.is_long {
            self.deadline.await_from(now);
        }
    }
}

/// An answer as it comes in: counted and compared, not kept.
struct Answer {
    /// Where in the pattern it begins.
    from: u64,
    wanted: u64,
    received: u64,
}

impl Answer {
    /// Takes the next bytes, none at the end of the stream; the outcome once it is known.
    fn take(&mut self, bytes: &[u8]) -> Option<Result<(), Failure>> {
        if bytes.is_empty() {
            return Some(if self.received == self.wanted {
                Ok(())
            } else {
                Err(Failure::ClosedEarly)
            });
        }
        let left = self.wanted - self.received;
        if bytes.len() as u64 > left || !pattern::matches(self.from + self.received, bytes) {
            return Some(Err(Failure::WrongAnswer));
        }
        self.received += bytes.len() as u64;
        (self.received == self.wanted).then_some(Ok(()))
    }
}

async fn write_all(stream: &mut impl TcpStream, bytes: &[u8]) -> Result<(), Failure> {
    let mut written = 0;
    while written < bytes.len() {
        written += write_some(stream, &bytes[written..]).await?;
    }
    Ok(())
}

async fn write_some(stream: &mut impl TcpStream, bytes: &[u8]) -> Result<usize, Failure> {
    match poll_fn(|context| Pin::new(&mut *stream).poll_write(context, bytes)).await {
        Ok(0) => Err(Failure::ClosedEarly),
        Ok(count) => Ok(count),
        Err(error) => Err(Failure::of(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(wanted: u64, pieces: &[&[u8]]) -> Option<Result<(), Failure>> {
        let mut answer = Answer {
            from: 0,
            wanted,
            received: 0,
        };
        pieces.iter().find_map(|piece| answer.take(piece))
    }

    #[test]
    fn an_answer_is_complete_with_its_last_byte() {
        assert_eq!(take(100, &[pattern::at(0, 60)]), None);
        assert_eq!(
            take(100, &[pattern::at(0, 60), pattern::at(60, 40)]),
            Some(Ok(()))
        );
        assert_eq!(take(0, &[]), None);
        assert_eq!(take(0, &[&[]]), Some(Ok(())));
    }

    #[test]
    fn a_short_a_long_and_an_altered_answer_fail() {
        assert_eq!(
            take(100, &[pattern::at(0, 99), &[]]),
            Some(Err(Failure::ClosedEarly))
        );
        assert_eq!(
            take(100, &[pattern::at(0, 101)]),
            Some(Err(Failure::WrongAnswer))
        );
        assert_eq!(
            take(100, &[pattern::at(1, 100)]),
            Some(Err(Failure::WrongAnswer))
        );
        assert_eq!(take(0, &[&[7]]), Some(Err(Failure::WrongAnswer)));
    }
}
