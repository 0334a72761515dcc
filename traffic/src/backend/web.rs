//! HTTP/1.1 for people and their tools: who am I seen as, and give me N bytes.
//!
//! ```text
//! GET /          client 10.1.0.2:40000
//!                server host.web-1
//!                toa 10.1.0.2:40000      if it was told so
//!                proxy 10.1.0.2:40000    if it was told so
//! GET /bytes/N   N bytes of the pattern; with ?pace=B at B bytes per second
//! ```
//! hyper does the protocol. It is given no timer and writes no `Date`, so nothing in an answer depends on a
//! clock; patience with slow clients is the connection's own.

use core::convert::Infallible;
use core::net::SocketAddr;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use anyedge_net::host::{Host, TcpStream};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{Either, Ready, ready, select};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};

use super::answer::{Answer, Content};
use super::hyper_io::HyperIo;
use super::observer::{Seen, Told, What};
use super::patience::Patience;
use super::stats::Ending;
use super::{BODY_BYTES_MAX, Backend};
use crate::pace::{PACE_MAX, Pace};

/// Serves requests on `stream`, of which `first` has been read, until either side closes.
pub(super) async fn serve<H: Host>(
    backend: &Arc<Backend<H>>,
    stream: H::Tcp,
    (first, told): (Vec<u8>, Told),
    patience: Arc<Patience<H>>,
) -> Ending {
    let visit = Arc::new(Visit {
        backend: backend.clone(),
        client: stream.peer_addr(),
        told,
        server: stream.local_addr(),
        patience,
        requests: AtomicU64::new(0),
    });
    let service = service_fn(|request| visit.answer(&request));
    let on_written = || visit.patience.on_written();
    let io = HyperIo::new(stream, first, backend.scratch.clone(), on_written);
    let mut http = http1::Builder::new();
    http.auto_date_header(false).half_close(true);
    let mut connection = http.serve_connection(io, service);
    let outcome = match select(&mut connection, pin!(visit.patience.exhausted())).await {
        Either::Left((outcome, _)) => Some(outcome),
        // Between two requests the client has done nothing wrong: that is an orderly end.
        Either::Right(_) if visit.was_answered() => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).now_or_never()
        }
        Either::Right(_) => None,
    };
    match outcome {
        Some(Ok(())) => Ending::Answered,
        Some(Err(error)) if error.is_parse() => Ending::Malformed,
        Some(Err(_)) => Ending::Broken,
        None => {
            connection.into_parts().io.into_stream().abort();
            Ending::TimedOut
        }
    }
}

/// One client's connection.
struct Visit<H: Host> {
    backend: Arc<Backend<H>>,
    client: SocketAddr,
    told: Told,
    server: SocketAddr,
    patience: Arc<Patience<H>>,
    requests: AtomicU64,
}

impl<H: Host> Visit<H> {
    fn was_answered(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    fn answer(
        &self,
        request: &Request<Incoming>,
    ) -> Ready<Result<Response<Answer<H>>, Infallible>> {
        let uri = request.uri();
        let (status, content) = self.route(request.method(), uri.path(), uri.query());
        let backend = &self.backend;
        backend.stats.lock().on_http_request();
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.patience.on_request();
        backend.observer.on_request(&Seen {
            at: backend.host.now(),
            client: self.client,
            told: self.told,
            server: self.server,
            what: What::Http {
                method: request.method().as_str(),
                path: request.uri().path(),
                status: status.as_u16(),
            },
        });
        let kind = match content {
            Content::Text(_) => "text/plain; charset=utf-8",
            Content::Pattern { .. } => "application/octet-stream",
        };
        let mut response = Response::new(Answer::new(content, self.patience.clone()));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        ready(Ok(response))
    }

    fn route(&self, method: &Method, path: &str, query: Option<&str>) -> (StatusCode, Content) {
        let text = |text: String| Content::Text(Bytes::from(text));
        if method != Method::GET && method != Method::HEAD {
            return (StatusCode::METHOD_NOT_ALLOWED, text("GET or HEAD\n".into()));
        }
        if path == "/" {
            let (client, server) = (self.client, self.backend.host.name());
            let mut lines = format!("client {client}\nserver {server}\n");
            for (way, told) in [("toa", self.told.toa), ("proxy", self.told.proxy)] {
                lines.extend(told.map(|client| format!("{way} {client}\n")));
            }
            return (StatusCode::OK, text(lines));
        }
        let bytes = path
            .strip_prefix("/bytes/")
            .and_then(|count| count.parse().ok())
            .filter(|bytes| *bytes <= BODY_BYTES_MAX);
        match bytes.zip(pace_of(query)) {
            Some((bytes, pace)) => {
                let pace = Pace::new(self.backend.host.now(), pace);
                (StatusCode::OK, Content::Pattern { bytes, pace })
            }
            None => {
                let known = format!(
                    "GET / or /bytes/N or /bytes/N?pace=B, N <= {BODY_BYTES_MAX}, B <= {PACE_MAX}\n"
                );
                (StatusCode::NOT_FOUND, text(known))
            }
        }
    }
}

/// The pace that a query asks for, 0 for none; `None` when it asks for anything else.
fn pace_of(query: Option<&str>) -> Option<u64> {
    let Some(query) = query else {
        return Some(0);
    };
    let pace = query.strip_prefix("pace=")?.parse().ok()?;
    (1..=PACE_MAX).contains(&pace).then_some(pace)
}
