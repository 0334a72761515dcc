//! Answers a Prometheus server: `GET /metrics` over HTTP/1.1, and nothing else.
//!
//! Connections are bounded in number and time, so that who asks badly costs a node little. Whoever can reach the address
//! may read: it belongs on loopback or on the management network.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use anyhow::{Context, Result};
use hyper::header::CONTENT_TYPE;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::metrics::text;

/// What the text is (OpenMetrics 1.0).
const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Connections at a time; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 16;
/// How long a connection may last.
const CONNECTION_MAX: Duration = Duration::from_secs(10);
/// After an `accept` that failed.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Listens on `address`, so that a port that is taken is told of at the start.
pub(super) fn listen(address: SocketAddr) -> Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)
        .with_context(|| format!("cannot listen on {address} for metrics"))?;
    listener
        .set_nonblocking(true)
        .context("cannot make a listener non-blocking")?;
    Ok(listener)
}

/// Serves until the runtime ends.
pub(super) async fn serve(listener: std::net::TcpListener, registry: Registry) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(event = "MetricsTrouble", %error),
    };
    let registry = Arc::new(registry);
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let registry = Arc::clone(&registry);
                tokio::spawn(async move {
                    let _seat = seat;
                    // Who is too slow, or speaks something else, is left.
                    let _ = timeout(CONNECTION_MAX, answer(stream, &registry)).await;
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_REST).await,
        }
    }
}

async fn answer(stream: TcpStream, registry: &Registry) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        std::future::ready(Ok::<_, Infallible>(respond(&request, registry)))
    });
    let connection = http1::Builder::new()
        .max_buf_size(16 << 10)
        .serve_connection(Io(stream), service);
    let _ = connection.await;
}

fn respond<B>(request: &Request<B>, registry: &Registry) -> Response<String> {
    let is_known = request.method() == Method::GET && request.uri().path() == "/metrics";
    let (status, kind, body) = if is_known {
        (StatusCode::OK, KIND, text(registry))
    } else {
        (
            StatusCode::NOT_FOUND,
            "text/plain",
            "GET /metrics\n".to_owned(),
        )
    };
    let response = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind);
    response.body(body).expect("its parts are constants")
}

/// A connection as hyper wants it.
struct Io(TcpStream);

impl Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let mut bytes = [0; 2_048];
        let most = into.remaining().min(bytes.len());
        let mut buffer = ReadBuf::new(&mut bytes[..most]);
        ready!(Pin::new(&mut self.0).poll_read(context, &mut buffer))?;
        into.put_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
