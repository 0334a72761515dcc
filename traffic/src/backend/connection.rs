//! One TCP connection at a backend: told apart by its first byte, served, ended.
//!
//! The raw exchange is served here, HTTP by [`super::web`]. Whatever is read goes through the backend's one
//! read buffer, so a waiting connection costs its task and nothing else.

use core::future::poll_fn;
use core::pin::{Pin, pin};
use std::io;
use std::sync::Arc;

use anyedge_net::host::{Host, TcpStream};
use futures_io::AsyncWrite as _;
use futures_util::future::{Either, select};

use super::observer::{Seen, What};
use super::patience::Patience;
use super::stats::{Ending, Seat};
use super::{Backend, web};
use crate::exchange::{self, HEADER_BYTES, Header};
use crate::pattern;

/// What the first bytes of a connection say.
enum Opening {
    /// It ended before any came.
    Nothing,
    /// A raw exchange's.
    Exchange(Request),
    /// Anything else: HTTP's to judge.
    Http(Vec<u8>),
}

/// A raw exchange's request as it comes in: its header is kept, its padding is counted.
#[derive(Default)]
struct Request {
    header: [u8; HEADER_BYTES],
    received: u64,
}

/// Serves `stream` to its end.
pub(super) async fn serve<H: Host>(backend: Arc<Backend<H>>, mut stream: H::Tcp, seat: Seat) {
    let config = &backend.config;
    let patience = Arc::new(Patience::new(
        backend.host.clone(),
        config.head_timeout,
        config.idle_timeout,
    ));
    let opening = {
        let opening = pin!(read_opening(&backend, &mut stream));
        match select(opening, pin!(patience.exhausted())).await {
            Either::Left((opening, _)) => Some(opening),
            Either::Right(_) => None,
        }
    };
    let ending = match opening {
        Some(Ok(Opening::Nothing)) => Ending::Silent,
        Some(Ok(Opening::Http(first))) => {
            return seat.leave(web::serve(&backend, stream, first, patience).await);
        }
        Some(Ok(Opening::Exchange(request))) => {
            let exchange = pin!(serve_exchange(&backend, &mut stream, request, &patience));
            match select(exchange, pin!(patience.exhausted())).await {
                Either::Left((Ok(ending), _)) => ending,
                Either::Left((Err(_), _)) => Ending::Broken,
                Either::Right(_) => Ending::TimedOut,
            }
        }
        Some(Err(_)) => Ending::Broken,
        None => Ending::TimedOut,
    };
    if ending == Ending::TimedOut {
        stream.abort();
    }
    seat.leave(ending);
}

async fn read_opening<H: Host>(backend: &Backend<H>, stream: &mut H::Tcp) -> io::Result<Opening> {
    poll_fn(|context| {
        backend
            .scratch
            .poll_read(context, stream, usize::MAX, Opening::of)
    })
    .await
}

impl Opening {
    fn of(bytes: &[u8]) -> Opening {
        match bytes.first() {
            None => Opening::Nothing,
            Some(first) if exchange::is_exchange(*first) => {
                let mut request = Request::default();
                request.take(bytes);
                Opening::Exchange(request)
            }
            Some(_) => Opening::Http(bytes.to_vec()),
        }
    }
}

impl Request {
    fn take(&mut self, bytes: &[u8]) {
        if self.received < HEADER_BYTES as u64 {
            let rest = &mut self.header[self.received as usize..];
            let count = rest.len().min(bytes.len());
            rest[..count].copy_from_slice(&bytes[..count]);
        }
        self.received += bytes.len() as u64;
    }

    /// Whether the header is complete.
    const fn has_header(&self) -> bool {
        self.received >= HEADER_BYTES as u64
    }
}

async fn serve_exchange<H: Host>(
    backend: &Backend<H>,
    stream: &mut H::Tcp,
    mut request: Request,
    patience: &Patience<H>,
) -> io::Result<Ending> {
    while !request.has_header() {
        read_more(backend, stream, &mut request).await?;
    }
    let Ok(header) = Header::parse(&request.header) else {
        return Ok(Ending::Malformed);
    };
    patience.on_progress();
    while request.received < u64::from(header.request_bytes) {
        read_more(backend, stream, &mut request).await?;
        patience.on_progress();
    }
    if request.received > u64::from(header.request_bytes) {
        return Ok(Ending::Malformed);
    }
    backend.stats.lock().on_exchange();
    backend.observer.on_request(&Seen {
        at: backend.host.now(),
        client: stream.peer_addr(),
        server: stream.local_addr(),
        what: What::Exchange {
            request_bytes: header.request_bytes,
            answer_bytes: header.answer_bytes,
        },
    });
    write_answer::<H>(stream, header.answer_bytes, patience).await?;
    Ok(Ending::Answered)
}

async fn read_more<H: Host>(
    backend: &Backend<H>,
    stream: &mut H::Tcp,
    request: &mut Request,
) -> io::Result<()> {
    let read = poll_fn(|context| {
        backend
            .scratch
            .poll_read(context, stream, usize::MAX, |bytes| {
                request.take(bytes);
                bytes.len()
            })
    });
    match read.await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

async fn write_answer<H: Host>(
    stream: &mut H::Tcp,
    answer_bytes: u64,
    patience: &Patience<H>,
) -> io::Result<()> {
    let mut written = 0;
    while written < answer_bytes {
        let left = usize::try_from(answer_bytes - written).unwrap_or(usize::MAX);
        let piece = pattern::at(written, left);
        let count = poll_fn(|context| Pin::new(&mut *stream).poll_write(context, piece)).await?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        written += count as u64;
        patience.on_progress();
    }
    poll_fn(|context| Pin::new(&mut *stream).poll_close(context)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_open_as_their_first_byte_says(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            magic in any::<bool>(),
            cut in 1usize..100,
        ) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut().filter(|_| magic) {
                *first = exchange::MAGIC;
            }
            let cut = cut.min(bytes.len());
            match Opening::of(&bytes[..cut]) {
                Opening::Nothing => prop_assert!(bytes.is_empty()),
                Opening::Http(first) => {
                    prop_assert_ne!(first[0], exchange::MAGIC);
                    prop_assert_eq!(&first[..], &bytes[..cut]);
                }
                Opening::Exchange(mut request) => {
                    bytes[cut..].chunks(3).for_each(|piece| request.take(piece));
                    prop_assert_eq!(request.received, bytes.len() as u64);
                    prop_assert_eq!(request.has_header(), bytes.len() >= HEADER_BYTES);
                    if request.has_header() {
                        prop_assert_eq!(&request.header[..], &bytes[..HEADER_BYTES]);
                        prop_assert_eq!(Header::parse(&request.header), Header::parse(&bytes));
                    }
                }
            }
        }
    }
}
