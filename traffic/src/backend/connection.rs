//! One TCP connection at a backend: told apart by its first byte, served, ended.
//!
//! The raw exchange is served here, HTTP by [`super::web`]. Whatever is read goes through the backend's one
//! read buffer, so a waiting connection costs its task and nothing else.

use core::future::poll_fn;
use core::ops::Range;
use core::pin::{Pin, pin};
use std::io;
use std::sync::Arc;

use anyedge_net::host::{Host, TcpStream};
use futures_util::future::{Either, select};

use super::observer::{Seen, Told, What};
use super::opening::{self, Opening};
use super::patience::Patience;
use super::stats::{Ending, Seat};
use super::{Backend, long, web};
use crate::exchange::{self, Header};
use crate::pace::Pace;
use crate::{long_flow, pattern};

/// What opens a raw exchange or a long flow, as it comes in: its header is kept, the rest is counted and
/// compared with the pattern.
#[derive(Default)]
pub(super) struct Request {
    header: [u8; long_flow::HEADER_BYTES],
    received: u64,
    /// Where the rest first differed from the pattern; a raw exchange's may.
    wrong_at: Option<u64>,
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
        let opening = pin!(opening::read(&backend, &mut stream));
        match select(opening, pin!(patience.exhausted())).await {
            Either::Left((opening, _)) => Some(opening),
            Either::Right(_) => None,
        }
    };
    let toa = stream.told_by_toa();
    let told = |proxy| Told { toa, proxy };
    let ending = match opening {
        Some(Ok((_, Opening::Nothing))) => Ending::Silent,
        Some(Ok((proxy, Opening::Http(first)))) => {
            let first = (first, told(proxy));
            return seat.leave(web::serve(&backend, stream, first, patience).await);
        }
        Some(Ok((proxy, Opening::Exchange(request)))) => {
            let request = (request, told(proxy));
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

impl Request {
    pub(super) fn take(&mut self, mut bytes: &[u8]) {
        while !self.has_header()
            && let Some((first, rest)) = bytes.split_first()
        {
            self.header[self.received as usize] = *first;
            self.received += 1;
            bytes = rest;
        }
        let offset = self.received - self.header_bytes().min(self.received);
        if self.wrong_at.is_none() && !pattern::matches(offset, bytes) {
            let differs = |at: &usize| !pattern::matches(offset + *at as u64, &bytes[*at..=*at]);
            self.wrong_at = (0..bytes.len()).find(differs).map(|at| offset + at as u64);
        }
        self.received += bytes.len() as u64;
    }

    /// Bytes of the header: the version, its second byte, says it.
    const fn header_bytes(&self) -> u64 {
        if self.received >= 2 && self.header[1] == long_flow::VERSION {
            return long_flow::HEADER_BYTES as u64;
        }
        exchange::HEADER_BYTES as u64
    }

    /// Whether the header is complete.
    const fn has_header(&self) -> bool {
        self.received >= self.header_bytes()
    }

    /// The header; what is not yet received of it is zero.
    pub(super) const fn header(&self) -> &[u8; long_flow::HEADER_BYTES] {
        &self.header
    }

    /// Bytes that followed the header.
    pub(super) const fn body_bytes(&self) -> u64 {
        self.received.saturating_sub(self.header_bytes())
    }

    /// The first byte of the body that was not the pattern's.
    pub(super) const fn wrong_at(&self) -> Option<u64> {
        self.wrong_at
    }
}

async fn serve_exchange<H: Host>(
    backend: &Backend<H>,
    stream: &mut H::Tcp,
    (mut request, told): (Request, Told),
    patience: &Patience<H>,
) -> io::Result<Ending> {
    read_header(backend, stream, &mut request).await?;
    if request.header[1] == long_flow::VERSION {
        return long::serve(backend, stream, (request, told), patience).await;
    }
    loop {
        let Ok(header) = Header::parse(&request.header) else {
            return Ok(Ending::Malformed);
        };
        if !answer(backend, stream, (request, told), header, patience).await? {
            return Ok(Ending::Malformed);
        }
        request = Request::default();
        if !header.keep || read_more(backend, stream, &mut request).await? == 0 {
            close(stream).await?;
            return Ok(Ending::Answered);
        }
        read_header(backend, stream, &mut request).await?;
    }
}

/// Reads the rest of a request and answers it; false when it is longer than it says.
async fn answer<H: Host>(
    backend: &Backend<H>,
    stream: &mut H::Tcp,
    (mut request, told): (Request, Told),
    header: Header,
    patience: &Patience<H>,
) -> io::Result<bool> {
    patience.on_progress();
    while request.received < u64::from(header.request_bytes) {
        if read_more(backend, stream, &mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        patience.on_progress();
    }
    if request.received > u64::from(header.request_bytes) {
        return Ok(false);
    }
    backend.stats.lock().on_exchange();
    backend.observer.on_request(&Seen {
        at: backend.host.now(),
        client: stream.peer_addr(),
        told,
        server: stream.local_addr(),
        what: What::Exchange {
            request_bytes: header.request_bytes,
            answer_bytes: header.answer_bytes,
        },
    });
    if let Some(done) = backend.desks.done(stream.local_addr(), backend.host.now()) {
        backend.host.sleep_until(done).await;
        patience.on_progress();
    }
    let unpaced = Pace::new(backend.host.now(), 0);
    write_answer(backend, stream, 0..header.answer_bytes, unpaced, patience).await?;
    patience.on_progress();
    Ok(true)
}

/// Reads on until the header is complete.
pub(super) async fn read_header<H: Host>(
    backend: &Backend<H>,
    stream: &mut H::Tcp,
    request: &mut Request,
) -> io::Result<()> {
    while !request.has_header() {
        if read_more(backend, stream, request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Reads some bytes into `request`; none at the end of the stream.
pub(super) async fn read_more<H: Host>(
    backend: &Backend<H>,
    stream: &mut H::Tcp,
    request: &mut Request,
) -> io::Result<usize> {
    poll_fn(|context| {
        backend
            .scratch
            .poll_read(context, stream, usize::MAX, |bytes| {
                request.take(bytes);
                bytes.len()
            })
    })
    .await
}

/// Writes the pattern's `bytes`, the first of them at the start of `pace`.
pub(super) async fn write_answer<H: Host>(
    backend: &Backend<H>,
    stream: &mut H::Tcp,
    bytes: Range<u64>,
    pace: Pace,
    patience: &Patience<H>,
) -> io::Result<()> {
    let host = &backend.host;
    let mut at = bytes.start;
    while at < bytes.end {
        let done = at - bytes.start;
        let due = pace.due(done);
        if due > host.now() {
            host.sleep_until(due).await;
        }
        let left = (bytes.end - at).min(pace.together(done));
        let piece = pattern::at(at, usize::try_from(left).unwrap_or(usize::MAX));
        at += write_some(stream, piece).await? as u64;
        patience.on_progress();
    }
    Ok(())
}

/// Writes some of `piece`.
pub(super) async fn write_some(stream: &mut impl TcpStream, piece: &[u8]) -> io::Result<usize> {
    match poll_fn(|context| Pin::new(&mut *stream).poll_write(context, piece)).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        count => Ok(count),
    }
}

/// Sends FIN.
pub(super) async fn close(stream: &mut impl TcpStream) -> io::Result<()> {
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
            version in 0u8..4,
            cut in 1usize..100,
        ) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut().filter(|_| magic) {
                *first = exchange::MAGIC;
            }
            if let Some(second) = bytes.get_mut(1) {
                *second = version;
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
                    let version = bytes.get(1).copied();
                    let header_bytes = if version == Some(long_flow::VERSION) {
                        long_flow::HEADER_BYTES
                    } else {
                        exchange::HEADER_BYTES
                    };
                    prop_assert_eq!(request.has_header(), bytes.len() >= header_bytes);
                    if request.has_header() {
                        let (header, body) = bytes.split_at(header_bytes);
                        prop_assert_eq!(&request.header[..header_bytes], header);
                        prop_assert_eq!(request.body_bytes(), body.len() as u64);
                        let pattern = pattern::at(0, body.len());
                        let wrong_at = body.iter().zip(pattern).position(|(one, other)| one != other);
                        prop_assert_eq!(request.wrong_at(), wrong_at.map(|at| at as u64));
                        prop_assert_eq!(Header::parse(&request.header), Header::parse(&bytes));
                    }
                }
            }
        }
    }
}
