//! Peers that do what they should not: each is refused or cut off, and nobody else notices.

use core::time::Duration;

use anyedge_ccn::rpc::Limits;
use anyedge_net::host::Host;
use anyedge_proto::health::HealthCheckRequest;
use anyedge_proto::health::health_client::HealthClient;
use anyedge_proto::reflection::ServerReflectionRequest;
use anyedge_proto::reflection::server_reflection_client::ServerReflectionClient;
use anyedge_proto::reflection::server_reflection_request::MessageRequest;
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _, stream};
use tonic::Code;

use super::{LIMITS, becomes, channel, check, fails, in_time, pause, same, says, serve, watch};
use crate::conformance::{Finding, Pair};

pub(super) async fn a_message_that_is_too_large_is_refused_and_hurts_nobody<H: Host>(
    pair: Pair<H>,
) -> Finding {
    let served = serve(&pair, LIMITS);
    let channel = channel(&pair, served.at, LIMITS);
    let mut states = watch(&channel, "").await.map_err(says)?;
    states.message().await.map_err(says)?;
    let request = HealthCheckRequest {
        service: "x".repeat(5 << 20),
    };
    let refused = HealthClient::new(channel.clone()).check(request).await;
    fails("5 MiB", refused, Code::OutOfRange)?;
    served.book.set("", false);
    states.message().await.map_err(says)?;
    check(&channel).await.map_err(says)?;
    same("connections", served.server.counts().connections, 1)
}

pub(super) async fn a_reader_that_never_reads_loses_its_call_alone<H: Host>(
    pair: Pair<H>,
) -> Finding {
    let served = serve(&pair, LIMITS);
    // Its own questions wait too, since nobody takes them any more: that it would cut off later.
    let patient = Limits {
        stalled_max: 5 * LIMITS.stalled_max,
        ..LIMITS
    };
    let channel = channel(&pair, served.at, patient);
    let endless = stream::repeat_with(|| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol(
            "grpc.reflection.v1.ServerReflection".into(),
        )),
    });
    let mut client = ServerReflectionClient::new(channel.clone());
    let answers = client.server_reflection_info(endless).await.map_err(says)?;
    let mut answers = answers.into_inner();
    // Others on the same connection are served all the while.
    let is_cut = || served.server.counts().stalled_total == 1;
    for _ in 0..100 {
        if is_cut() {
            break;
        }
        let answer = in_time(&pair.a, Duration::from_secs(1), "a check", async {
            check(&channel).await.map(drop).map_err(says)
        });
        answer.await?;
        pause(&pair.a, Duration::from_millis(50)).await;
    }
    same("cut off", is_cut(), true)?;
    let outcome = loop {
        match answers.message().await {
            Ok(Some(_)) => {}
            Ok(None) => break Ok(()),
            Err(status) => break Err(status),
        }
    };
    fails("what it finds then", outcome, Code::ResourceExhausted)?;
    check(&channel).await.map(drop).map_err(says)
}

pub(super) async fn one_call_too_many_is_refused<H: Host>(pair: Pair<H>) -> Finding {
    let few = Limits {
        calls_max: 2,
        ..LIMITS
    };
    let served = serve(&pair, few);
    let channel = channel(&pair, served.at, LIMITS);
    let first = watch(&channel, "").await.map_err(says)?;
    let second = watch(&channel, "").await.map_err(says)?;
    fails("a third", check(&channel).await, Code::ResourceExhausted)?;
    same("refused", served.server.counts().refused_total, 1)?;
    drop((first, second));
    let is_free = || served.server.counts().calls == 0;
    becomes(&pair.a, "a free place", is_free).await?;
    check(&channel).await.map(drop).map_err(says)?;

    let own = super::channel(&pair, served.at, few);
    let _first = watch(&own, "").await.map_err(says)?;
    let _second = watch(&own, "").await.map_err(says)?;
    fails(
        "a channel's own third",
        check(&own).await,
        Code::ResourceExhausted,
    )?;
    same(
        "refused by the server",
        served.server.counts().refused_total,
        1,
    )
}

pub(super) async fn one_connection_too_many_is_refused<H: Host>(pair: Pair<H>) -> Finding {
    let one = Limits {
        connections_max: 1,
        ..LIMITS
    };
    let served = serve(&pair, one);
    let first = channel(&pair, served.at, LIMITS);
    check(&first).await.map_err(says)?;
    let second = channel(&pair, served.at, LIMITS);
    fails("a second", check(&second).await, Code::Unavailable)?;
    same("refused", served.server.counts().refused_total, 1)?;
    check(&first).await.map(drop).map_err(says)
}

/// What a raw connection reads until its end.
async fn rest(stream: &mut (impl futures_util::AsyncRead + Unpin)) -> usize {
    let mut bytes = [0; 1_024];
    let mut total = 0;
    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
        total += count;
    }
    total
}

pub(super) async fn a_client_that_says_nothing_is_cut_off<H: Host>(pair: Pair<H>) -> Finding {
    let served = serve(&pair, LIMITS);
    let connected = pair.a.tcp_connect(None, served.at).await;
    let mut stream = connected.map_err(|error| error.to_string())?;
    let time = 2 * LIMITS.handshake_max;
    in_time(&pair.a, time, "the end", async {
        rest(&mut stream).await;
        Ok(())
    })
    .await?;
    let counts = served.server.counts();
    same("silent", counts.silent_total, 1)?;
    same("connections", counts.connections, 0)
}

pub(super) async fn a_client_that_never_answers_is_cut_off<H: Host>(pair: Pair<H>) -> Finding {
    let served = serve(&pair, LIMITS);
    let connected = pair.a.tcp_connect(None, served.at).await;
    let mut stream = connected.map_err(|error| error.to_string())?;
    // The preface and empty SETTINGS: a good beginning.
    let beginning = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let written = stream.write_all(beginning).await;
    written.map_err(|error| error.to_string())?;
    let time = 2 * (LIMITS.ping_every + LIMITS.ping_wait);
    in_time(&pair.a, time, "the end", async {
        rest(&mut stream).await;
        Ok(())
    })
    .await?;
    let counts = served.server.counts();
    same("silent", counts.silent_total, 1)?;
    same("connections", counts.connections, 0)
}

pub(super) async fn bytes_that_are_no_http_end_their_connection<H: Host>(pair: Pair<H>) -> Finding {
    let served = serve(&pair, LIMITS);
    let good = channel(&pair, served.at, LIMITS);
    check(&good).await.map_err(says)?;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for nonsense in [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
        // A frame of 16 MiB, and one on a stream that is none.
        [&preface[..], &[0xff; 9]].concat(),
        [&preface[..], &[0, 0, 4, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]].concat(),
    ] {
        let connected = pair.a.tcp_connect(None, served.at).await;
        let mut stream = connected.map_err(|error| error.to_string())?;
        drop(stream.write_all(&nonsense).await);
        in_time(&pair.a, Duration::from_secs(1), "the end", async {
            rest(&mut stream).await;
            Ok(())
        })
        .await?;
    }
    check(&good).await.map_err(says)?;
    becomes(&pair.a, "one connection left", || {
        served.server.counts().connections == 1
    })
    .await
}

pub(super) async fn an_idle_connection_is_closed_and_made_again<H: Host>(pair: Pair<H>) -> Finding {
    let idle_max = Duration::from_millis(500);
    let served = serve(&pair, Limits { idle_max, ..LIMITS });
    let channel = channel(&pair, served.at, LIMITS);
    let states = watch(&channel, "").await.map_err(says)?;
    pause(&pair.a, 3 * idle_max).await;
    same("with a call", served.server.counts().connections, 1)?;
    drop(states);
    becomes(&pair.a, "closing", || {
        served.server.counts().connections == 0
    })
    .await?;
    pause(&pair.a, Duration::from_millis(100)).await;
    check(&channel).await.map(drop).map_err(says)
}
