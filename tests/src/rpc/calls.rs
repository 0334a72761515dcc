//! Calls that go well, and calls that end early: deadlines, cancellation, servers that come and go.

use core::pin::pin;
use core::time::Duration;

use anyedge_ccn::rpc::{Channel, HealthBook, Limits};
use anyedge_net::host::Host;
use anyedge_proto::health::health_check_response::ServingStatus;
use anyedge_proto::health::health_client::HealthClient;
use anyedge_proto::health::health_server::{Health, HealthServer};
use anyedge_proto::health::{HealthCheckRequest, HealthCheckResponse};
use anyedge_proto::reflection::ServerReflectionRequest;
use anyedge_proto::reflection::server_reflection_client::ServerReflectionClient;
use anyedge_proto::reflection::server_reflection_request::MessageRequest;
use anyedge_proto::reflection::server_reflection_response::MessageResponse;
use futures_util::future::{Either, join_all, select};
use futures_util::stream;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

use super::certificates::{channel_of_a_node, serve_secure};
use super::{
    Answers, LIMITS, Served, becomes, channel, check, fails, in_time, pause, same, says, serve,
    serve_routes, usual_routes, watch,
};
use crate::conformance::{Finding, Pair};

const SERVING: i32 = ServingStatus::Serving as i32;
const NOT_SERVING: i32 = ServingStatus::NotServing as i32;
const UNKNOWN: i32 = ServingStatus::ServiceUnknown as i32;

/// Answers nothing, ever.
struct Mute;

#[tonic::async_trait]
impl Health for Mute {
    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        core::future::pending().await
    }

    type WatchStream = Answers<HealthCheckResponse>;

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let first = Ok(HealthCheckResponse { status: SERVING });
        let answers = stream::iter([first]);
        let answers = futures_util::StreamExt::chain(answers, stream::pending());
        Ok(Response::new(Box::pin(answers)))
    }
}

fn serve_mute<H: Host>(pair: &Pair<H>) -> Served {
    let routes = Routes::new(HealthServer::new(Mute));
    serve_routes(pair, 0, routes, HealthBook::new(), LIMITS)
}

async fn reflect<H: Host>(
    channel: &Channel<H>,
    asked: &[MessageRequest],
) -> Result<Vec<Option<MessageResponse>>, Status> {
    let requests: Vec<_> = asked
        .iter()
        .map(|asked| ServerReflectionRequest {
            host: String::new(),
            message_request: Some(asked.clone()),
        })
        .collect();
    let mut client = ServerReflectionClient::new(channel.clone());
    let answers = client
        .server_reflection_info(stream::iter(requests))
        .await?;
    let mut answers = answers.into_inner();
    let mut found = Vec::new();
    while let Some(answer) = answers.message().await? {
        found.push(answer.message_response);
    }
    Ok(found)
}

pub(super) async fn every_kind_of_call_is_answered<H: Host>(pair: Pair<H>) -> Finding {
    let served = serve(&pair, LIMITS);
    let channel = channel(&pair, served.at, LIMITS);
    same("check", check(&channel).await.map_err(says)?, SERVING)?;
    let request = HealthCheckRequest {
        service: "raft".into(),
    };
    let unknown = HealthClient::new(channel.clone()).check(request).await;
    fails("an unknown service", unknown, Code::NotFound)?;

    let mut states = watch(&channel, "raft").await.map_err(says)?;
    for (set, expected) in [
        (None, UNKNOWN),
        (Some(true), SERVING),
        (Some(false), NOT_SERVING),
    ] {
        if let Some(state) = set {
            served.book.set("raft", state);
        }
        let told = states.message().await.map_err(says)?;
        same("state", told.map(|answer| answer.status), Some(expected))?;
    }

    let asked = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("grpc.health.v1.Health.Watch".into()),
        MessageRequest::FileByFilename("no/such.proto".into()),
    ];
    let answers = reflect(&channel, &asked).await.map_err(says)?;
    let [services, file, missing] = &answers[..] else {
        return Err(format!("{} answers to 3 requests", answers.len()));
    };
    match services {
        Some(MessageResponse::ListServicesResponse(list)) => {
            same("services", list.service.len(), 2)?;
        }
        other => return Err(format!("services: {other:?}")),
    }
    match file {
        Some(MessageResponse::FileDescriptorResponse(files)) => {
            let needle = b"HealthCheckRequest";
            let bytes = files.file_descriptor_proto.concat();
            let found = bytes.windows(needle.len()).any(|part| part == needle);
            same("the file names its messages", found, true)?;
        }
        other => return Err(format!("file: {other:?}")),
    }
    match missing {
        Some(MessageResponse::ErrorResponse(error)) => {
            same("code", error.error_code, Code::NotFound as i32)?;
        }
        other => return Err(format!("missing: {other:?}")),
    }
    same("connections", served.server.counts().connections, 1)
}

pub(super) async fn sixty_four_calls_share_a_connection<H: Host>(pair: Pair<H>) -> Finding {
    let served = serve(&pair, LIMITS);
    let channel = channel(&pair, served.at, LIMITS);
    let answers = join_all((0..64).map(|_| check(&channel))).await;
    for answer in answers {
        same("check", answer.map_err(says)?, SERVING)?;
    }
    let counts = served.server.counts();
    same("connections", counts.connections, 1)?;
    same("calls", counts.calls_total, 64)
}

pub(super) async fn a_call_ends_at_its_deadline_at_both_ends<H: Host>(pair: Pair<H>) -> Finding {
    let served = serve_mute(&pair);
    let channel = channel(&pair, served.at, LIMITS);
    let time = Duration::from_millis(300);
    let timed = || {
        let mut request = Request::new(HealthCheckRequest::default());
        request.set_timeout(time);
        request
    };
    let mut client = HealthClient::new(channel.clone());
    let began = pair.a.now();
    let answer = client.check(timed()).await;
    fails("no answer", answer, Code::DeadlineExceeded)?;
    let took = pair.a.now().since(began);
    same("in time", took >= time && took < 3 * time, true)?;

    let answers = client.watch(timed()).await.map_err(says)?;
    let mut answers = answers.into_inner();
    let first = answers.message().await.map_err(says)?;
    same("first", first.map(|answer| answer.status), Some(SERVING))?;
    let second = answers.message().await;
    fails("a stream that goes on", second, Code::DeadlineExceeded)?;
    becomes(&pair.a, "an end at the server", || {
        served.server.counts().calls == 0
    })
    .await
}

pub(super) async fn a_dropped_call_frees_its_place<H: Host>(pair: Pair<H>) -> Finding {
    let served = serve_mute(&pair);
    let channel = channel(&pair, served.at, LIMITS);
    let mut client = HealthClient::new(channel.clone());
    let calls = || served.server.counts().calls;
    {
        let unanswered = pin!(client.check(HealthCheckRequest::default()));
        let begun = pin!(becomes(&pair.a, "a call", || calls() == 1));
        match select(unanswered, begun).await {
            Either::Left(_) => return Err("a mute server answered".into()),
            Either::Right((found, _)) => found?,
        }
    }
    becomes(&pair.a, "the end of an unanswered call", || calls() == 0).await?;
    let mut streaming = watch(&channel, "").await.map_err(says)?;
    streaming.message().await.map_err(says)?;
    same("streaming", calls(), 1)?;
    drop(streaming);
    becomes(&pair.a, "the end of a stream", || calls() == 0).await
}

pub(super) async fn what_is_not_served_is_unimplemented<H: Host>(pair: Pair<H>) -> Finding {
    let served = serve_mute(&pair);
    let channel = channel(&pair, served.at, LIMITS);
    let asked = [MessageRequest::ListServices(String::new())];
    let outcome = reflect(&channel, &asked).await;
    fails("reflection", outcome, Code::Unimplemented)
}

pub(super) async fn a_lost_server_is_found_again<H: Host>(pair: Pair<H>) -> Finding {
    let first = serve(&pair, LIMITS);
    let channel = channel(&pair, first.at, LIMITS);
    same("before", check(&channel).await.map_err(says)?, SERVING)?;
    let at = first.at;
    drop(first);
    pause(&pair.a, Duration::from_millis(200)).await;
    let lost = check(&channel).await;
    fails("meanwhile", lost, Code::Unavailable)?;
    let at_once = check(&channel).await;
    fails("before the pause is over", at_once, Code::Unavailable)?;
    let book = HealthBook::new();
    let routes = Routes::new(book.service());
    let _second = serve_routes(&pair, at.port(), routes, book, LIMITS);
    pause(&pair.a, LIMITS.retry_max).await;
    same("after", check(&channel).await.map_err(says)?, SERVING)
}

pub(super) async fn a_server_that_stops_ends_what_has_begun<H: Host>(pair: Pair<H>) -> Finding {
    let served = serve(&pair, LIMITS);
    let channel = channel(&pair, served.at, LIMITS);
    let mut states = watch(&channel, "").await.map_err(says)?;
    same(
        "first",
        states.message().await.map_err(says)?.map(|a| a.status),
        Some(SERVING),
    )?;
    let Served { server, book, .. } = served;
    server.stop();
    pause(&pair.a, Duration::from_millis(200)).await;
    book.set("", false);
    same(
        "a call that had begun",
        states.message().await.map_err(says)?.map(|a| a.status),
        Some(NOT_SERVING),
    )?;
    fails("a new call", check(&channel).await, Code::Unavailable)
}

pub(super) async fn nobody_there_is_unavailable<H: Host>(pair: Pair<H>) -> Finding {
    let served = serve(&pair, LIMITS);
    let at = served.at;
    drop(served);
    pause(&pair.a, Duration::from_millis(100)).await;
    let refused = check(&channel(&pair, at, LIMITS)).await;
    let message = refused
        .as_ref()
        .err()
        .map(|status| status.message().to_owned());
    fails("nobody listens", refused, Code::Unavailable)?;
    let expected = Some("connecting: connection refused".to_owned());
    same("words", message, expected)?;
    let silent = channel(&pair, pair.silent, LIMITS);
    let began = pair.a.now();
    fails("nobody answers", check(&silent).await, Code::Unavailable)?;
    let took = pair.a.now().since(began);
    same("in time", took < 2 * LIMITS.handshake_max, true)
}

/// How the two ends of [`everything_at_once`] know each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Security {
    /// Not at all.
    Plain,
    /// By certificates.
    Tls,
}

/// Calls of every kind, cancelled ones and late ones, while the wire loses what it likes: for tests of
/// determinism.
pub async fn everything_at_once<H: Host>(pair: Pair<H>, security: Security) -> Finding {
    // A packet that is lost twice in a row holds its connection up for 3 s.
    let patient = Limits {
        stalled_max: Duration::from_secs(20),
        ping_wait: Duration::from_secs(20),
        handshake_max: Duration::from_secs(20),
        ..LIMITS
    };
    let (_served, channel) = match security {
        Security::Plain => {
            let served = serve(&pair, patient);
            let channel = channel(&pair, served.at, patient);
            (served, channel)
        }
        Security::Tls => {
            let book = HealthBook::new();
            let (served, mut authority) = serve_secure(&pair, usual_routes(&book), book)?;
            let channel = channel_of_a_node(&pair, &served, &mut authority, patient)?;
            (served, channel)
        }
    };
    for round in 0..4 {
        let files =
            vec![
                MessageRequest::FileContainingSymbol("grpc.reflection.v1.ServerReflection".into());
                40
            ];
        let checks = join_all((0..16).map(|_| check(&channel)));
        let (answers, checks) = futures_util::future::join(reflect(&channel, &files), checks).await;
        same("answers", answers.map_err(says)?.len(), 40)?;
        for answer in checks {
            same("check", answer.map_err(says)?, SERVING)?;
        }
        // Cancelled with answers on their way, and with requests on theirs.
        let endless = stream::repeat_with(|| ServerReflectionRequest {
            host: "x".repeat(4_000),
            message_request: Some(MessageRequest::ListServices(String::new())),
        });
        let mut client = ServerReflectionClient::new(channel.clone());
        let answers = client.server_reflection_info(endless).await.map_err(says)?;
        let mut answers = answers.into_inner();
        for _ in 0..=round {
            answers.message().await.map_err(says)?;
        }
        drop(answers);
        // The server resets these: they are too large, and more is coming when it says so.
        let large = stream::repeat_with(|| ServerReflectionRequest {
            host: "x".repeat(5 << 20),
            message_request: None,
        });
        let answers = client.server_reflection_info(large).await.map_err(says)?;
        let first = answers.into_inner().message().await;
        fails("too large", first, Code::OutOfRange)?;
    }
    Ok(())
}

/// The wire is cut from the second second to the tenth: for the simulator, which can.
pub async fn survives_a_partition<H: Host>(pair: Pair<H>) -> Finding {
    let served = serve(&pair, LIMITS);
    let impatient = Limits {
        handshake_max: Duration::from_secs(1),
        ..LIMITS
    };
    let channel = channel(&pair, served.at, impatient);
    let mut states = watch(&channel, "").await.map_err(says)?;
    let first = states.message().await.map_err(says)?;
    same("first", first.map(|answer| answer.status), Some(SERVING))?;
    pause(&pair.a, Duration::from_secs(3)).await;
    let mut request = Request::new(HealthCheckRequest::default());
    request.set_timeout(Duration::from_millis(500));
    let answer = HealthClient::new(channel.clone()).check(request).await;
    fails("during the cut", answer, Code::DeadlineExceeded)?;
    in_time(
        &pair.a,
        Duration::from_secs(4),
        "losing the stream",
        async { fails("the stream", states.message().await, Code::Unavailable) },
    )
    .await?;
    becomes(&pair.a, "losing the client", || {
        served.server.counts().silent_total == 1
    })
    .await?;
    pause(&pair.a, Duration::from_secs(6)).await;
    same(
        "after the cut",
        check(&channel).await.map_err(says)?,
        SERVING,
    )
}
