//! Requests over TCP: each a raw [`exchange`] on a connection of its own, each a task of its own.
//!
//! A request is complete with the last byte of its answer. One that fails resets its connection, so that
//! nothing on the path or at the server goes on serving it.

use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::Poll;
use std::sync::Arc;

use anyedge_net::host::{Host, TcpStream};
use anyedge_net::time::Instant;
use futures_io::AsyncWrite as _;
use futures_util::future::{Either, select};
use futures_util::task::AtomicWaker;

use super::pacer::Pacer;
use crate::exchange::{HEADER_BYTES, Header};
use crate::failure::Failure;
use crate::load::Load;
use crate::pattern;
use crate::scratch::Scratch;
use crate::stats::SharedStats;

/// What all requests of one host share.
struct Client<H> {
    host: H,
    load: Load,
    /// The header and as much padding as one piece takes.
    opening: Vec<u8>,
    scratch: Scratch,
    in_flight: InFlight,
    stats: SharedStats,
}

struct InFlight {
    count: AtomicU32,
    /// The sender, while it waits for one to end.
    waits: AtomicWaker,
}

/// One request's place among those in flight.
struct Place<H>(Arc<Client<H>>);

impl<H> Drop for Place<H> {
    fn drop(&mut self) {
        self.0.in_flight.count.fetch_sub(1, Ordering::AcqRel);
        self.0.in_flight.waits.wake();
    }
}

/// How a request failed.
struct Failed {
    cause: Failure,
    established: bool,
}

/// Sends the arrivals of `pacer`, each in a task; ends when the last one has been started.
pub(super) fn run<H: Host>(
    host: H,
    load: &Load,
    mut pacer: Pacer,
    stats: SharedStats,
) -> impl Future<Output = ()> + Send + 'static {
    let client = Arc::new(Client {
        host,
        load: load.clone(),
        opening: opening(load),
        scratch: Scratch::new(),
        in_flight: InFlight {
            count: AtomicU32::new(0),
            waits: AtomicWaker::new(),
        },
        stats,
    });
    async move {
        while !pacer.is_over() {
            pacer.advance(client.host.now(), &client.stats);
            start_waiting(&client, &mut pacer);
            if pacer.is_over() {
                return;
            }
            let mut sleep = pin!(client.host.sleep_until(pacer.next_wake()));
            poll_fn(|context| {
                if pacer.has_waiting() {
                    client.in_flight.waits.register(context.waker());
                    if client.has_room() {
                        return Poll::Ready(());
                    }
                }
                sleep.as_mut().poll(context)
            })
            .await;
        }
    }
}

/// Starts those that wait, as many as there is room for.
fn start_waiting<H: Host>(client: &Arc<Client<H>>, pacer: &mut Pacer) {
    while client.has_room() {
        let Some(intended) = pacer.take() else {
            return;
        };
        client.in_flight.count.fetch_add(1, Ordering::AcqRel);
        let place = Place(client.clone());
        client
            .host
            .spawn(async move { place.0.request(intended).await });
    }
}

/// The first piece of every request of `load`, ready to be written at once.
fn opening(load: &Load) -> Vec<u8> {
    let header = Header {
        request_bytes: load.request_size,
        answer_bytes: load.size,
    };
    let mut opening = header.encode().to_vec();
    let padding_bytes = load.request_size as usize - HEADER_BYTES;
    opening.extend_from_slice(pattern::at(HEADER_BYTES as u64, padding_bytes));
    opening
}

impl<H: Host> Client<H> {
    /// Only the sender adds to those in flight, so room that is seen stays.
    fn has_room(&self) -> bool {
        self.in_flight.count.load(Ordering::Acquire) < self.load.in_flight_max
    }

    async fn request(&self, intended: Instant) {
        let started = self.host.now();
        let outcome = self.exchange(intended + self.load.timeout).await;
        let now = self.host.now();
        let mut stats = self.stats.lock();
        match outcome {
            Ok(()) => stats.on_ok(intended, started, now),
            Err(Failed { cause, established }) => {
                stats.on_failed(cause, 1);
                if established && cause.breaks_flow() {
                    stats.on_broken_flow();
                }
            }
        }
    }

    async fn exchange(&self, deadline: Instant) -> Result<(), Failed> {
        let mut late = pin!(self.host.sleep_until(deadline));
        let connect = pin!(self.host.tcp_connect(None, self.load.to));
        let mut stream = match select(connect, late.as_mut()).await {
            Either::Left((Ok(stream), _)) => stream,
            Either::Left((Err(error), _)) => {
                return Err(Failed {
                    cause: Failure::of(&error),
                    established: false,
                });
            }
            Either::Right(_) => {
                return Err(Failed {
                    cause: Failure::Timeout,
                    established: false,
                });
            }
        };
        let outcome = {
            let talk = pin!(self.talk(&mut stream));
            match select(talk, late).await {
                Either::Left((outcome, _)) => outcome,
                Either::Right(_) => Err(Failure::Timeout),
            }
        };
        outcome.map_err(|cause| {
            stream.abort();
            Failed {
                cause,
                established: true,
            }
        })
    }

    async fn talk(&self, stream: &mut H::Tcp) -> Result<(), Failure> {
        write_all(stream, &self.opening).await?;
        let request_bytes = u64::from(self.load.request_size);
        let mut written = self.opening.len() as u64;
        while written < request_bytes {
            let piece = pattern::at(
                written,
                usize::try_from(request_bytes - written).unwrap_or(usize::MAX),
            );
            write_all(stream, piece).await?;
            written += piece.len() as u64;
        }
        poll_fn(|context| Pin::new(&mut *stream).poll_flush(context))
            .await
            .map_err(|error| Failure::of(&error))?;
        self.read_answer(stream).await
    }

    async fn read_answer(&self, stream: &mut H::Tcp) -> Result<(), Failure> {
        let mut answer = Answer {
            wanted: self.load.size,
            received: 0,
        };
        poll_fn(|context| {
            loop {
                let piece = self
                    .scratch
                    .poll_read(context, stream, usize::MAX, |bytes| answer.take(bytes));
                match piece {
                    Poll::Ready(Ok(None)) => {}
                    Poll::Ready(Ok(Some(outcome))) => return Poll::Ready(outcome),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::of(&error))),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }
}

/// An answer as it comes in: counted and compared, not kept.
struct Answer {
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
        if bytes.len() as u64 > left || !pattern::matches(self.received, bytes) {
            return Some(Err(Failure::WrongAnswer));
        }
        self.received += bytes.len() as u64;
        (self.received == self.wanted).then_some(Ok(()))
    }
}

async fn write_all(stream: &mut impl TcpStream, bytes: &[u8]) -> Result<(), Failure> {
    let mut written = 0;
    while written < bytes.len() {
        let piece = &bytes[written..];
        let count = poll_fn(|context| Pin::new(&mut *stream).poll_write(context, piece)).await;
        match count {
            Ok(0) => return Err(Failure::ClosedEarly),
            Ok(count) => written += count,
            Err(error) => return Err(Failure::of(&error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(wanted: u64, pieces: &[&[u8]]) -> Option<Result<(), Failure>> {
        let mut answer = Answer {
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
