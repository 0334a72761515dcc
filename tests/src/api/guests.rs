//! Guests that behave badly: each gets a clear error, nobody else notices, nothing is lost.

use core::time::Duration;

use anyedge_ccn::api::client::Client;
use anyedge_ccn::rpc::{
    Authority, ClientSecurity, Issued, Limits, Role, Server, ServerSecurity, Tls,
};
use anyedge_ccn::table::change::{Change, PutMode};
use anyedge_ccn::table::object::{Kind, Object, Region};
use anyedge_net::host::Host;
use anyedge_proto::control::v1::table_client::TableClient;
use anyedge_proto::control::v1::watch_reply::Event;
use anyedge_proto::control::v1::{WatchRequest, WriteReply};
use anyedge_proto::health::HealthCheckRequest;
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::methods::all;
use super::writes::region;
use super::{alone, refused, same, says, serve_too};
use crate::conformance::{Finding, Pair};

/// What servers of these cases are called.
const SERVER: &str = "controller.a";

pub(super) async fn bytes_that_are_none_hurt_nobody<H: Host>(pair: Pair<H>) -> Finding {
    let (member, client) = alone(&pair).await?;
    let path = PathAndQuery::from_static("/anyedge.control.v1.Table/Apply");
    // Its first field is a message there; this is one of a wire type that does not exist.
    for service in ["\u{7}\u{7}\u{7}", "\u{f}", "\n\u{7f}"] {
        let mut grpc = Grpc::new(client.channel(member.at));
        grpc.ready().await.map_err(says)?;
        let service = service.to_owned();
        let request = Request::new(HealthCheckRequest { service });
        let codec = ProstCodec::<HealthCheckRequest, WriteReply>::default();
        let answer = grpc.unary(request, path.clone(), codec).await;
        same(
            "bytes",
            answer.err().map(|it| it.code()),
            Some(Code::Internal),
        )?;
    }
    let large = Region {
        name: "a".repeat(5 << 20),
    };
    let large = Change::Put(Object::Region(large), PutMode::Create);
    let large = client.apply(&[large]).await.err().map(|it| it.code());
    same("5 MiB", large, Some(Code::OutOfRange))?;
    let long = Region {
        name: "a".repeat(100_000),
    };
    let long = Change::Put(Object::Region(long), PutMode::Create);
    let reason = "InvalidParameterValue.Length";
    let long = client.apply(&[long]).await;
    refused("a name of 100 KB", long, Code::InvalidArgument, reason)?;
    let seoul = region("seoul", PutMode::Create);
    client.apply(&[seoul]).await.map(drop).map_err(says)
}

/// So many regions come and go at once: 200 KB for each who watches.
fn many(round: usize) -> Vec<Change> {
    let name = |number: usize| format!("{round:03}-{number:04}-{}", "x".repeat(50));
    let put = |number| region(&name(number), PutMode::Create);
    (0..500).map(put).collect()
}

pub(super) async fn a_watcher_that_never_reads_hurts_nobody<H: Host>(pair: Pair<H>) -> Finding {
    const ROUNDS: usize = 30;
    let (member, client) = alone(&pair).await?;
    let limits = Limits {
        stalled_max: Duration::from_secs(1),
        ..Limits::default()
    };
    let security = ServerSecurity::Plain(Role::ReadOnly);
    let (server, at) = serve_too(&pair, &member, security, limits)?;
    let watch = || WatchRequest {
        from_revision: 0,
        bookmark_every_ns: 0,
    };
    let idle = super::client(&pair, &[at]);
    let mut idle_table = TableClient::new(idle.channel(at));
    let unread = idle_table.watch(watch()).await.map_err(says)?;
    let keen = super::client(&pair, &[at]);
    let mut keen_table = TableClient::new(keen.channel(at));
    let told = keen_table.watch(watch()).await.map_err(says)?;
    let mut told = told.into_inner();
    let writes = async {
        let mut last = 0;
        for round in 0..ROUNDS {
            last = client.apply(&many(round)).await?.revision;
        }
        Ok::<u64, Status>(last)
    };
    let reads = async {
        let mut deltas = 0;
        while deltas < ROUNDS {
            let reply = told.message().await?;
            let reply = reply.ok_or_else(|| Status::internal("the stream ended"))?;
            deltas += usize::from(matches!(reply.event, Some(Event::Delta(_))));
        }
        Ok(deltas)
    };
    let (written, read) = futures_util::future::join(writes, reads).await;
    written.map_err(says)?;
    same("deltas", read.map_err(says)?, ROUNDS)?;
    for _ in 0..100 {
        if server.counts().stalled_total == 1 {
            break;
        }
        let host = &pair.a;
        host.sleep_until(host.now() + Duration::from_millis(100))
            .await;
    }
    same("cut off", server.counts().stalled_total, 1)?;
    drop(unread);
    let regions = all(&client, Kind::Region).await?;
    same("regions", regions.len(), 1 + 500 * ROUNDS)
}

fn tls<H: Host>(host: &H, issued: &Issued) -> Result<Tls, String> {
    let identity = issued.identity().map_err(|error| error.to_string())?;
    Tls::new(host, &identity).map_err(|error| error.to_string())
}

fn issue(authority: &mut Authority, name: &str, role: Role) -> Result<Issued, String> {
    let issued = authority.issue(name, role);
    issued.map_err(|error| error.to_string())
}

pub(super) async fn certificates_say_who_may<H: Host>(pair: Pair<H>) -> Finding {
    let (member, _plain) = alone(&pair).await?;
    let mut authority = Authority::new(&pair.b).map_err(|error| error.to_string())?;
    let own = issue(&mut authority, SERVER, Role::Node)?;
    let security = ServerSecurity::Tls(tls(&pair.b, &own)?);
    let served: (Server, _) = serve_too(&pair, &member, security, Limits::default())?;
    let called = |issued: &Issued| {
        let security = ClientSecurity::Tls {
            tls: tls(&pair.a, issued)?,
            server: SERVER.to_owned(),
        };
        Ok::<_, String>(Client::new(&pair.a, vec![served.1], security))
    };
    let operator = issue(&mut authority, "olga", Role::Operator)?;
    let olga = called(&operator)?;
    olga.apply(&[region("seoul", PutMode::Create)])
        .await
        .map_err(says)?;
    let screen = called(&issue(&mut authority, "wall-screen", Role::ReadOnly)?)?;
    let write = screen.apply(&[region("osaka", PutMode::Create)]).await;
    refused(
        "a reader",
        write,
        Code::PermissionDenied,
        "UnauthorizedOperation",
    )?;
    let mut elsewhere = Authority::new(&pair.a).map_err(|error| error.to_string())?;
    let forged = Issued {
        authority: operator.authority.clone(),
        ..issue(&mut elsewhere, "olga", Role::Operator)?
    };
    let stranger = called(&forged)?;
    let write = stranger.apply(&[region("osaka", PutMode::Create)]).await;
    let code = write.err().map(|status| status.code());
    same("a stranger", code, Some(Code::Unauthenticated))?;
    same("regions", all(&olga, Kind::Region).await?.len(), 2)
}
