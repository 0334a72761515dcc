//! What the first bytes of a connection say, behind a PROXY header if there is one.
//!
//! A header is known by its first bytes, which neither a raw exchange nor a request of HTTP begins with.

use core::future::poll_fn;
use core::net::SocketAddr;
use std::io;

use anyedge_net::host::Host;
use anyedge_net::wire::proxy::{self, Read};

use super::Backend;
use super::connection::Request;
use crate::exchange;

/// What a connection begins with.
pub(super) enum Opening {
    /// It ended before any bytes came.
    Nothing,
    /// A raw exchange's.
    Exchange(Request),
    /// Anything else: HTTP's to judge.
    Http(Vec<u8>),
}

impl Opening {
    pub(super) fn of(bytes: &[u8]) -> Opening {
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

/// First bytes, or some that may be a header's.
enum First {
    Opening(Opening),
    Header(Vec<u8>),
}

impl First {
    fn of(bytes: &[u8]) -> First {
        match proxy::read(bytes) {
            Read::Other => First::Opening(Opening::of(bytes)),
            _ if bytes.is_empty() => First::Opening(Opening::Nothing),
            Read::Header { .. } | Read::More => First::Header(bytes.to_vec()),
        }
    }
}

/// Reads what a connection begins with, and the client that a header in front of it tells of.
pub(super) async fn read<H: Host>(
    backend: &Backend<H>,
    stream: &mut H::Tcp,
) -> io::Result<(Option<SocketAddr>, Opening)> {
    let mut held = match some(backend, stream, First::of).await? {
        First::Opening(opening) => return Ok((None, opening)),
        First::Header(held) => held,
    };
    loop {
        match proxy::read(&held) {
            Read::Header { ends, len } => {
                let client = ends.map(|(client, _)| client);
                let opening = if len < held.len() {
                    Opening::of(&held[len..])
                } else {
                    some(backend, stream, Opening::of).await?
                };
                return Ok((client, opening));
            }
            Read::Other => return Ok((None, Opening::of(&held))),
            Read::More => {}
        }
        let before = held.len();
        some(backend, stream, |bytes| held.extend_from_slice(bytes)).await?;
        if held.len() == before {
            return Ok((None, Opening::of(&held)));
        }
    }
}

/// Reads some bytes and gives what `look` makes of them; none are there at the end of the stream.
async fn some<H: Host, T>(
    backend: &Backend<H>,
    stream: &mut H::Tcp,
    mut look: impl FnMut(&[u8]) -> T,
) -> io::Result<T> {
    let look = &mut look;
    poll_fn(|context| {
        let scratch = &backend.scratch;
        scratch.poll_read(context, stream, usize::MAX, &mut *look)
    })
    .await
}
