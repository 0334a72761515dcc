//! Mutual TLS: who is let in, as whom, and who is not.

use core::time::Duration;

use anyedge_ccn::rpc::{
    Authority, Channel, ClientSecurity, HealthBook, Issued, Limits, Peer, Role, Server,
    ServerSecurity, Tls,
};
use anyedge_net::host::Host;
use anyedge_proto::health::health_server::{Health, HealthServer};
use anyedge_proto::health::{HealthCheckRequest, HealthCheckResponse};
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

use super::{Answers, LIMITS, Served, check, fails, in_time, listen, same, says};
use crate::conformance::{Finding, Pair};

/// A handshake takes two round trips, and a lost packet 1 s.
const PATIENT: Limits = Limits {
    stalled_max: Duration::from_secs(20),
    ping_wait: Duration::from_secs(20),
    ..LIMITS
};
/// What the servers of these cases are called.
pub(super) const SERVER: &str = "controller.a";

/// Answers nodes alone, with the length of their names.
struct NodesOnly;

#[tonic::async_trait]
impl Health for NodesOnly {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let peer = Peer::of(&request)?;
        peer.require(&[Role::Node])?;
        let status = peer.name.as_ref().map_or(0, String::len) as i32;
        Ok(Response::new(HealthCheckResponse { status }))
    }

    type WatchStream = Answers<HealthCheckResponse>;

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("checks only"))
    }
}

/// A server called [`SERVER`], and the authority that all trust.
pub(super) fn serve_secure<H: Host>(
    pair: &Pair<H>,
    routes: Routes,
    book: HealthBook,
) -> Result<(Served, Authority), String> {
    let mut authority = Authority::new(&pair.b).map_err(|error| error.to_string())?;
    let server = serve_as_server(pair, 0, routes, &mut authority, PATIENT)?;
    Ok((Served { book, ..server }, authority))
}

/// The same at a port, vouched for by an authority that is there already.
pub(super) fn serve_as_server<H: Host>(
    pair: &Pair<H>,
    port: u16,
    routes: Routes,
    authority: &mut Authority,
    limits: Limits,
) -> Result<Served, String> {
    let issued = issue(authority, SERVER, Role::Node)?;
    let security = ServerSecurity::Tls(tls(&pair.b, &issued)?);
    let (listener, at) = listen(pair, port);
    let server = Server::serve(&pair.b, listener, routes, security, limits);
    let book = HealthBook::new();
    Ok(Served { server, at, book })
}

pub(super) fn issue(authority: &mut Authority, name: &str, role: Role) -> Result<Issued, String> {
    authority
        .issue(name, role)
        .map_err(|error| error.to_string())
}

pub(super) fn tls<H: Host>(host: &H, issued: &Issued) -> Result<Tls, String> {
    let identity = issued.identity().map_err(|error| error.to_string())?;
    Tls::new(host, &identity).map_err(|error| error.to_string())
}

/// A channel of one who shows `issued` and wants to speak to `server`.
fn channel_as<H: Host>(
    pair: &Pair<H>,
    served: &Served,
    issued: &Issued,
    server: &str,
) -> Result<Channel<H>, String> {
    let security = ClientSecurity::Tls {
        tls: tls(&pair.a, issued)?,
        server: server.to_owned(),
    };
    Ok(Channel::new(&pair.a, served.at, security, LIMITS))
}

/// A channel of a node that `authority` vouches for.
pub(super) fn channel_of_a_node<H: Host>(
    pair: &Pair<H>,
    served: &Served,
    authority: &mut Authority,
    limits: Limits,
) -> Result<Channel<H>, String> {
    let issued = issue(authority, "pop.tokyo", Role::Node)?;
    channel_of(pair, served, &issued, limits)
}

/// A channel of one who shows `issued`.
pub(super) fn channel_of<H: Host>(
    pair: &Pair<H>,
    served: &Served,
    issued: &Issued,
    limits: Limits,
) -> Result<Channel<H>, String> {
    let security = ClientSecurity::Tls {
        tls: tls(&pair.a, issued)?,
        server: SERVER.to_owned(),
    };
    Ok(Channel::new(&pair.a, served.at, security, limits))
}

pub(super) async fn a_certificate_says_who_calls_and_what_they_may<H: Host>(
    pair: Pair<H>,
) -> Finding {
    let routes = Routes::new(HealthServer::new(NodesOnly));
    let (served, mut authority) = serve_secure(&pair, routes, HealthBook::new())?;
    for (name, role, expected) in [
        ("pop.tokyo", Role::Node, Ok("pop.tokyo".len() as i32)),
        ("olga", Role::Operator, Ok("olga".len() as i32)),
        ("wall-screen", Role::ReadOnly, Err(Code::PermissionDenied)),
    ] {
        let issued = issue(&mut authority, name, role)?;
        let channel = channel_as(&pair, &served, &issued, SERVER)?;
        let answer = check(&channel).await.map_err(|status| status.code());
        same(name, answer, expected)?;
    }
    same("unknown", served.server.counts().unknown_total, 0)
}

pub(super) async fn strangers_are_refused_by_either_end<H: Host>(pair: Pair<H>) -> Finding {
    let routes = Routes::new(HealthServer::new(NodesOnly));
    let (served, mut authority) = serve_secure(&pair, routes, HealthBook::new())?;
    let node = issue(&mut authority, "pop.tokyo", Role::Node)?;
    let good = channel_as(&pair, &served, &node, SERVER)?;
    check(&good).await.map_err(says)?;

    let misled = channel_as(&pair, &served, &node, "controller.b")?;
    fails(
        "another server",
        check(&misled).await,
        Code::Unauthenticated,
    )?;

    // Another authority's: one that trusts the server, and one that does not.
    let mut elsewhere = Authority::new(&pair.a).map_err(|error| error.to_string())?;
    let stranger = issue(&mut elsewhere, "pop.tokyo", Role::Operator)?;
    let distrusting = channel_as(&pair, &served, &stranger, SERVER)?;
    let answer = check(&distrusting).await;
    fails("an unknown server", answer, Code::Unauthenticated)?;
    let forged = Issued {
        authority: node.authority.clone(),
        ..stranger
    };
    let untrusted = channel_as(&pair, &served, &forged, SERVER)?;
    let answer = check(&untrusted).await;
    fails("an unknown client", answer, Code::Unauthenticated)?;

    check(&good).await.map_err(says)?;
    let counts = served.server.counts();
    same("unknown", counts.unknown_total, 3)?;
    same("connections", counts.connections, 1)
}

pub(super) async fn who_does_not_speak_tls_is_cut_off<H: Host>(pair: Pair<H>) -> Finding {
    let routes = Routes::new(HealthServer::new(NodesOnly));
    let (served, mut authority) = serve_secure(&pair, routes, HealthBook::new())?;
    let plain = super::channel(&pair, served.at, LIMITS);
    fails("plain HTTP/2", check(&plain).await, Code::Unavailable)?;
    let connected = pair.a.tcp_connect(None, served.at).await;
    let mut silent = connected.map_err(|error| error.to_string())?;
    // The beginning of a TLS record that never comes.
    let written = silent.write_all(&[0x16, 0x03, 0x01, 0x40, 0x00]).await;
    written.map_err(|error| error.to_string())?;
    let good = channel_of_a_node(&pair, &served, &mut authority, LIMITS)?;
    check(&good).await.map_err(says)?;
    in_time(&pair.a, Duration::from_secs(4), "the end", async {
        while let Ok(1..) = silent.read(&mut [0; 64]).await {}
        Ok(())
    })
    .await?;
    let counts = served.server.counts();
    same("unknown", counts.unknown_total, 1)?;
    same("silent", counts.silent_total, 1)?;
    check(&good).await.map(drop).map_err(says)
}
