//! A gRPC channel: calls to one address over one connection, made when it is needed and again when it is lost.
//!
//! It is what generated clients call through (`HealthClient::new(channel)`); clones share the connection. A
//! call waits for the connection at most until its own deadline. After a failed attempt, calls fail at once until
//! the next attempt is due: `UNAVAILABLE`, without knocking at a dead server's door for every call.

mod connection;

use core::future::Future;
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::future::poll_fn;
use std::sync::Arc;

use anyedge_net::host::Host;
use futures_util::lock::Mutex;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use tokio::sync::oneshot;
use tonic::Status;
use tonic::body::Body;

use self::connection::Connection;
use super::deadline::Deadline;
use super::failure::status_of;
use super::incoming::Incoming;
use super::limits::Limits;
use super::outgoing::Outgoing;
use super::permits::Permits;
use super::security::ClientSecurity;

/// Calls to one server.
pub struct Channel<H: Host> {
    shared: Arc<Shared<H>>,
}

struct Shared<H: Host> {
    host: H,
    address: SocketAddr,
    authority: Authority,
    security: ClientSecurity,
    limits: Limits,
    calls: Permits,
    connection: Mutex<Connection>,
}

impl<H: Host> Clone for Channel<H> {
    fn clone(&self) -> Self {
        Channel {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<H: Host> Channel<H> {
    /// A channel to `address` that connects at its first call.
    pub fn new(host: &H, address: SocketAddr, security: ClientSecurity, limits: Limits) -> Self {
        let authority = address.to_string();
        let authority = authority
            .parse()
            .unwrap_or_else(|_| Authority::from_static("server"));
        Channel {
            shared: Arc::new(Shared {
                host: host.clone(),
                address,
                authority,
                security,
                limits,
                calls: Permits::new(limits.calls_max),
                connection: Mutex::new(Connection::new(host, address)),
            }),
        }
    }

    /// A channel to `address` whose connection stands.
    ///
    /// # Errors
    /// `UNAVAILABLE` when there is none.
    pub async fn connect(
        host: &H,
        address: SocketAddr,
        security: ClientSecurity,
        limits: Limits,
    ) -> Result<Self, Status> {
        let channel = Channel::new(host, address, security, limits);
        let shared = &channel.shared;
        shared.connection.lock().await.get(shared).await?;
        Ok(channel)
    }

    /// Where it calls to.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }
}

/// A call up to the headers of its answer.
type Answer = Pin<Box<dyn Future<Output = Result<Response<Incoming>, Status>> + Send>>;

impl<H: Host> tower_service::Service<Request<Body>> for Channel<H> {
    type Response = Response<Incoming>;
    type Error = Status;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        let shared = Arc::clone(&self.shared);
        Box::pin(shared.call(request))
    }
}

impl<H: Host> Shared<H> {
    async fn call(self: Arc<Self>, request: Request<Body>) -> Result<Response<Incoming>, Status> {
        let permit = self.calls.take();
        let permit = permit
            .ok_or_else(|| Status::resource_exhausted("the channel has as many calls as it may"))?;
        let mut deadline = Deadline::of(request.headers(), &self.host)?;
        let (cancel, cancelled) = oneshot::channel();
        let answer = self.clone().exchange(request, cancelled);
        let mut answer = core::pin::pin!(answer);
        let response = poll_fn(|context| {
            if let Poll::Ready(status) = deadline.poll_passed(context) {
                return Poll::Ready(Err(status));
            }
            answer.as_mut().poll(context)
        })
        .await?;
        Ok(response.map(|stream| Incoming::new(stream, deadline).holding(cancel, permit)))
    }

    async fn exchange(
        self: Arc<Self>,
        request: Request<Body>,
        cancelled: oneshot::Receiver<()>,
    ) -> Result<Response<h2::RecvStream>, Status> {
        let sender = self.connection.lock().await.get(&self).await?;
        let mut sender = sender.ready().await.map_err(|error| status_of(&error))?;
        let (mut parts, body) = request.into_parts();
        parts.uri = self.uri_of(&parts.uri);
        let head = Request::from_parts(parts, ());
        let (answer, stream) = sender
            .send_request(head, false)
            .map_err(|error| status_of(&error))?;
        let host = self.host.clone();
        let stalled_max = self.limits.stalled_max;
        self.host.spawn(async move {
            let outgoing = Outgoing {
                host: &host,
                stream,
                stalled_max,
                deadline: None,
                cancelled: Some(cancelled),
            };
            outgoing.send(body).await;
        });
        answer.await.map_err(|error| status_of(&error))
    }

    fn uri_of(&self, uri: &Uri) -> Uri {
        let path = uri.path_and_query().cloned();
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(match self.security {
            ClientSecurity::Plain => Scheme::HTTP,
            ClientSecurity::Tls { .. } => Scheme::HTTPS,
        });
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        Uri::from_parts(parts).expect("scheme, authority and path make a URI")
    }
}
