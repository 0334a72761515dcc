//! Serves a [`long_flow`](crate::long_flow), whichever its course.
//!
//! Paces and silences are the client's wishes and bounded by its header's rules; the connection's patience
//! runs all the same, except that an announced silence is not held against the client. An upload is read to
//! its end also when a byte of it was wrong, so that the receipt is not lost in a reset.

use std::io;

use anyedge_net::host::{Host, TcpStream as _};

use super::Backend;
use super::connection::{Request, close, read_header, read_more, write_answer, write_some};
use super::observer::{Seen, Told, What};
use super::patience::Patience;
use super::stats::Ending;
use crate::long_flow::{Course, Header};
use crate::pace::Pace;
use crate::receipt::Silences;

/// Serves the flow that `request` opens.
pub(super) async fn serve<H: Host>(
    backend: &Backend<H>,
    stream: &mut H::Tcp,
    (request, told): (Request, Told),
    patience: &Patience<H>,
) -> io::Result<Ending> {
    let Ok(header) = Header::parse(request.header()) else {
        return Ok(Ending::Malformed);
    };
    patience.on_progress();
    backend.stats.lock().on_long_flow();
    backend.observer.on_request(&Seen {
        at: backend.host.now(),
        client: stream.peer_addr(),
        told,
        server: stream.local_addr(),
        what: What::LongFlow {
            course: header.course,
            bytes: header.bytes,
        },
    });
    match header.course {
        Course::Download => download(backend, stream, header, request, patience).await,
        Course::HalfClosed => half_closed(backend, stream, header, request, patience).await,
        Course::Upload => upload(backend, stream, header, request, patience).await,
        Course::Idle => idle(backend, stream, header, request, patience).await,
    }
}

async fn download<H: Host>(
    backend: &Backend<H>,
    stream: &mut H::Tcp,
    header: Header,
    request: Request,
    patience: &Patience<H>,
) -> io::Result<Ending> {
    if request.body_bytes() > 0 {
        return Ok(Ending::Malformed);
    }
    let pace = Pace::new(backend.host.now(), header.measure);
    write_answer(backend, stream, 0..header.bytes, pace, patience).await?;
    close(stream).await?;
    Ok(Ending::Answered)
}

async fn half_closed<H: Host>(
    backend: &Backend<H>,
    stream: &mut H::Tcp,
    header: Header,
    mut request: Request,
    patience: &Patience<H>,
) -> io::Result<Ending> {
    while request.body_bytes() == 0 && read_more(backend, stream, &mut request).await? > 0 {}
    download(backend, stream, header, request, patience).await
}

async fn upload<H: Host>(
    backend: &Backend<H>,
    stream: &mut H::Tcp,
    header: Header,
    mut request: Request,
    patience: &Patience<H>,
) -> io::Result<Ending> {
    let mut silences = Silences::from(backend.host.now());
    while request.body_bytes() < header.bytes {
        if read_more(backend, stream, &mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        silences.on_byte(backend.host.now());
        patience.on_progress();
    }
    let wrong_at = request.wrong_at();
    if request.body_bytes() > header.bytes {
        return Ok(Ending::Malformed);
    }
    let line = silences.receipt(header.bytes, wrong_at, backend.host.now());
    let mut left = line.as_bytes();
    while !left.is_empty() {
        left = &left[write_some(stream, left).await?..];
    }
    close(stream).await?;
    Ok(if wrong_at.is_some() {
        Ending::Malformed
    } else {
        Ending::Answered
    })
}

async fn idle<H: Host>(
    backend: &Backend<H>,
    stream: &mut H::Tcp,
    mut header: Header,
    mut request: Request,
    patience: &Patience<H>,
) -> io::Result<Ending> {
    let mut from = 0_u64;
    loop {
        if header.course != Course::Idle || request.body_bytes() > 0 {
            return Ok(Ending::Malformed);
        }
        let Some(end) = from.checked_add(header.bytes) else {
            return Ok(Ending::Malformed);
        };
        let unpaced = Pace::new(backend.host.now(), 0);
        write_answer(backend, stream, from..end, unpaced, patience).await?;
        from = end;
        patience.on_announced(header.silence());
        request = Request::default();
        if read_more(backend, stream, &mut request).await? == 0 {
            return Ok(Ending::Answered);
        }
        read_header(backend, stream, &mut request).await?;
        let Ok(next) = Header::parse(request.header()) else {
            return Ok(Ending::Malformed);
        };
        header = next;
        patience.on_progress();
    }
}
