//! Requests: what is sent never depends on what is answered, and each has exactly one outcome.

use core::net::SocketAddr;
use core::time::Duration;

use anyedge_net::host::{Host, TcpListener as _, TcpStream as _};
use anyedge_net::time::Instant;
use anyedge_traffic::backend::{self, BackendConfig, Ending, Unobserved};
use anyedge_traffic::clients;
use anyedge_traffic::exchange::HEADER_BYTES;
use anyedge_traffic::failure::Failure;
use anyedge_traffic::load::{Arrivals, Load, LoadKind, Rate, Share};
use anyedge_traffic::pattern;
use anyedge_traffic::stats::{SharedStats, Stats};
use std::sync::Arc;

use super::loopback::{LoopbackHost, LoopbackTcp, World};
use super::talk::write_all;

const SERVER: &str = "10.0.0.11";
const MILLI: Duration = Duration::from_millis(1);

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn server_address() -> SocketAddr {
    SocketAddr::new(SERVER.parse().expect("a good address"), 8_080)
}

/// 1,000 per second, fixed, from 0 s to 10 s.
pub(crate) fn load(kind: LoadKind) -> Load {
    Load {
        stream: "game:web".into(),
        kind,
        rate: Rate {
            count: 1_000,
            per: secs(1),
        },
        arrivals: Arrivals::Fixed,
        size: 1_000,
        sizes: None,
        bursts: None,
        request_size: 100,
        to: server_address(),
        timeout: secs(5),
        start: Instant::ZERO,
        stop: Instant::ZERO + secs(10),
        in_flight_max: 64,
    }
}

/// A world with a client, a server that serves, and 1 ms between them.
pub(crate) fn world_with_backend() -> (World, LoopbackHost, LoopbackHost) {
    let world = World::new(MILLI);
    let client = world.host("client.osaka", "10.1.0.2");
    let server = world.host("host.web-1", SERVER);
    let config = BackendConfig::on(vec![server_address()]);
    backend::serve(&server, config, Arc::new(Unobserved)).expect("the address is free");
    (world, client, server)
}

/// Runs `load` from `client` for 20 s and closes the account.
pub(crate) fn run(world: &World, client: &LoopbackHost, load: &Load) -> Stats {
    let stats = SharedStats::default();
    clients::start(client, load, Share::WHOLE, &stats).expect("the load is good");
    world.run_until(secs(20));
    let mut stats = stats.lock();
    stats.close(world.now(), load.stop);
    stats.clone()
}

pub(crate) fn millis(histogram: &hdrhistogram::Histogram<u64>, quantile: f64) -> u64 {
    histogram.value_at_quantile(quantile) / 1_000_000
}

#[test]
fn a_stalled_server_shows_in_intended_latency_and_never_in_what_is_sent() {
    for kind in [LoadKind::Request, LoadKind::Tick] {
        let (world, client, _) = world_with_backend();
        let calm = run(&world, &client, &load(kind));
        assert_eq!((calm.sent(), calm.ok()), (10_000, 10_000), "{kind:?}");
        assert!(millis(calm.intended(), 0.99) < 10, "{kind:?}");

        let (world, client, server) = world_with_backend();
        world.stall(&server, secs(4), secs(5));
        let stalled = run(&world, &client, &load(kind));
        assert_eq!((stalled.sent(), stalled.ok()), (10_000, 10_000), "{kind:?}");
        let (intended, actual) = (
            millis(stalled.intended(), 0.99),
            millis(stalled.actual(), 0.99),
        );
        assert!((900..1_010).contains(&intended), "{kind:?} {intended}");
        // What a closed loop would have reported: 64 slow ones in 10,000.
        assert!(actual < 10, "{kind:?} {actual}");
        assert!(
            stalled.longest_gap() >= Duration::from_millis(990),
            "{kind:?}"
        );
    }
}

#[test]
fn what_waits_for_its_whole_timeout_fails_and_the_rest_is_still_answered() {
    for kind in [LoadKind::Request, LoadKind::Tick] {
        let (world, client, server) = world_with_backend();
        world.stall(&server, secs(4), secs(5));
        let load = Load {
            timeout: Duration::from_millis(300),
            ..load(kind)
        };
        let stats = run(&world, &client, &load);
        assert_eq!(stats.sent(), 10_000);
        let late = stats.failed(Failure::Timeout);
        assert!((690..=710).contains(&late), "{kind:?} {late}");
        assert_eq!(stats.ok() + late, 10_000);
        assert!(millis(stats.intended(), 1.0) <= 300);
    }
}

#[test]
fn the_tasks_end_when_the_last_outcome_is_known() {
    for kind in [LoadKind::Request, LoadKind::Tick] {
        let world = World::new(MILLI);
        let client = world.host("client.osaka", "10.1.0.2");
        world.black_hole(SERVER);
        let stats = SharedStats::default();
        let load = Load {
            in_flight_max: 10,
            ..load(kind)
        };
        clients::start(&client, &load, Share::WHOLE, &stats).expect("the load is good");
        world.run_until(Duration::from_millis(14_998));
        assert!(world.tasks_alive() > 0);
        world.run_until(secs(15));
        assert_eq!(world.tasks_alive(), 0, "{kind:?}");
        let stats = stats.lock();
        assert_eq!(
            (stats.sent(), stats.failed(Failure::Timeout)),
            (10_000, 10_000)
        );
        assert_eq!((stats.unfinished(), stats.broken_flows()), (0, 0));
    }
}

#[test]
fn what_the_run_cuts_off_has_ended_with_the_run() {
    for kind in [LoadKind::Request, LoadKind::Tick] {
        let (world, client, server) = world_with_backend();
        world.stall(&server, secs(4), secs(9));
        let stats = SharedStats::default();
        let load = load(kind);
        clients::start(&client, &load, Share::WHOLE, &stats).expect("the load is good");
        world.run_until(Duration::from_millis(6_500));
        let mut stats = stats.lock();
        stats.close(world.now(), load.stop);
        assert_eq!(stats.sent(), 6_501);
        let cut = stats.failed(Failure::RunEnded);
        assert!((2_500..2_510).contains(&cut), "{cut}");
        assert_eq!(stats.ok() + cut, 6_501);
    }
}

#[test]
fn a_population_sends_the_rate_together_and_big_answers_arrive_whole() {
    let (world, _, _) = world_with_backend();
    let stats = SharedStats::default();
    let load = Load {
        rate: Rate {
            count: 7,
            per: secs(1),
        },
        size: 1_000_000,
        request_size: 100_000,
        ..load(LoadKind::Request)
    };
    for index in 0..3 {
        let client = world.host(
            &format!("client.osaka-{index}"),
            &format!("10.1.0.{}", 2 + index),
        );
        clients::start(&client, &load, Share { index, of: 3 }, &stats).expect("the load is good");
    }
    world.run_until(secs(20));
    let stats = stats.lock();
    assert_eq!((stats.sent(), stats.ok()), (70, 70));
}

#[test]
fn a_load_that_cannot_be_run_is_refused() {
    let (_, client, _) = world_with_backend();
    let good = load(LoadKind::Request);
    let start = |load: Load| {
        let refused = clients::start(&client, &load, Share::WHOLE, &SharedStats::default());
        refused.map_err(|error| error.kind())
    };
    let invalid = Err(std::io::ErrorKind::InvalidInput);
    assert_eq!(
        start(Load {
            request_size: HEADER_BYTES as u32 - 1,
            ..good.clone()
        }),
        invalid
    );
    assert_eq!(
        start(Load {
            in_flight_max: 0,
            ..good.clone()
        }),
        invalid
    );
    assert_eq!(
        start(Load {
            size: 1 << 31,
            ..good.clone()
        }),
        invalid
    );
    assert_eq!(
        start(Load {
            kind: LoadKind::Tick,
            size: 15,
            ..good.clone()
        }),
        invalid
    );
    assert_eq!(
        start(Load {
            rate: Rate {
                count: 1,
                per: secs(0)
            },
            ..good.clone()
        }),
        invalid
    );
    assert_eq!(start(good), Ok(()));
}

#[test]
fn nobody_there_and_no_way_there_are_told_apart() {
    let world = World::new(MILLI);
    let client = world.host("client.osaka", "10.1.0.2");
    let refused = run(&world, &client, &load(LoadKind::Request));
    assert_eq!(refused.failed(Failure::Refused), 10_000);
    assert_eq!(refused.longest_gap(), secs(10));

    for kind in [LoadKind::Request, LoadKind::Tick] {
        let world = World::new(MILLI);
        world.unreachable(SERVER);
        let client = world.host("client.osaka", "10.1.0.2");
        let unreachable = run(&world, &client, &load(kind));
        assert_eq!(unreachable.failed(Failure::Unreachable), 10_000, "{kind:?}");
        assert_eq!(unreachable.broken_flows(), 0);
    }
}

/// What a bad server does with a connection once the client's request is in.
#[derive(Clone, Copy, Debug)]
enum Misdeed {
    Reset,
    HalfAnswer,
    Silence,
    OtherBytes,
    TooMuch,
}

async fn misbehave(host: LoopbackHost, mut stream: LoopbackTcp, misdeed: Misdeed) {
    match misdeed {
        Misdeed::Reset => stream.abort(),
        Misdeed::Silence => host.sleep_until(Instant::ZERO + secs(100)).await,
        Misdeed::HalfAnswer | Misdeed::OtherBytes | Misdeed::TooMuch => {
            let answer = match misdeed {
                Misdeed::HalfAnswer => pattern::at(0, 500),
                Misdeed::OtherBytes => pattern::at(1, 1_000),
                _ => pattern::at(0, 1_001),
            };
            let mut request = [0; 100];
            core::future::poll_fn(|context| {
                futures_io::AsyncRead::poll_read(
                    core::pin::Pin::new(&mut stream),
                    context,
                    &mut request,
                )
            })
            .await
            .expect("the client sends first");
            write_all(&mut stream, answer)
                .await
                .expect("the client listens");
        }
    }
}

#[test]
fn each_misdeed_of_a_server_has_its_own_cause_and_only_cut_flows_are_broken() {
    let cases = [
        (Misdeed::Reset, Failure::Reset, 10),
        (Misdeed::HalfAnswer, Failure::ClosedEarly, 10),
        (Misdeed::Silence, Failure::Timeout, 10),
        (Misdeed::OtherBytes, Failure::WrongAnswer, 0),
        (Misdeed::TooMuch, Failure::WrongAnswer, 0),
    ];
    for (misdeed, cause, broken) in cases {
        let world = World::new(MILLI);
        let client = world.host("client.osaka", "10.1.0.2");
        let server = world.host("host.web-1", SERVER);
        let mut listener = server
            .tcp_listen(server_address(), 10)
            .expect("the address is free");
        let host = server.clone();
        server.spawn(async move {
            while let Ok(stream) = listener.accept().await {
                host.spawn(misbehave(host.clone(), stream, misdeed));
            }
        });
        let load = Load {
            rate: Rate {
                count: 1,
                per: secs(1),
            },
            ..load(LoadKind::Request)
        };
        let stats = run(&world, &client, &load);
        assert_eq!((stats.sent(), stats.failed(cause)), (10, 10), "{misdeed:?}");
        assert_eq!(stats.broken_flows(), broken, "{misdeed:?}");
    }
}

#[test]
fn a_request_that_times_out_resets_its_connection_at_the_server() {
    let world = World::new(MILLI);
    let client = world.host("client.osaka", "10.1.0.2");
    let server = world.host("host.web-1", SERVER);
    let config = BackendConfig::on(vec![server_address()]);
    let counts =
        backend::serve(&server, config, Arc::new(Unobserved)).expect("the address is free");
    world.stall(&server, Duration::from_millis(2), secs(8));
    let load = Load {
        rate: Rate {
            count: 1,
            per: secs(100),
        },
        ..load(LoadKind::Request)
    };
    let stats = run(&world, &client, &load);
    assert_eq!(
        (stats.failed(Failure::Timeout), stats.broken_flows()),
        (1, 1)
    );
    let counts = counts.snapshot();
    assert_eq!(
        (
            counts.accepted(),
            counts.ended(Ending::Broken),
            counts.open()
        ),
        (1, 1, 0)
    );
}

#[test]
fn requests_on_kept_connections_need_few_of_them_and_no_handshake() {
    let median = |kind| {
        let world = World::new(MILLI);
        let client = world.host("client.osaka", "10.1.0.2");
        let server = world.host("host.web-1", SERVER);
        let config = BackendConfig::on(vec![server_address()]);
        let counts = backend::serve(&server, config, Arc::new(Unobserved)).expect("a free address");
        let load = load(kind);
        let stats = SharedStats::default();
        clients::start(&client, &load, Share::WHOLE, &stats).expect("the load is good");
        world.run_until(secs(15));
        stats.lock().close(world.now(), load.stop);
        let stats = stats.lock().clone();
        assert_eq!((stats.sent(), stats.ok()), (10_000, 10_000), "{kind:?}");
        let counts = counts.snapshot();
        assert_eq!(counts.exchanges(), 10_000);
        assert_eq!(
            counts.ended(Ending::Answered),
            counts.accepted(),
            "all ended well"
        );
        (counts.accepted(), stats.intended().value_at_quantile(0.5))
    };
    let (connections, with_handshake) = median(LoadKind::Request);
    assert_eq!(connections, 10_000);
    let (connections, without) = median(LoadKind::KeepAlive);
    assert!((1..=10).contains(&connections), "{connections} connections");
    let saved = Duration::from_nanos(with_handshake - without);
    assert!(
        saved > MILLI * 2 - MILLI / 10,
        "{saved:?} saved of a round trip"
    );
}
