//! Long flows: each kind carries its bytes, each way of spoiling one has its own cause, marks add up.

use core::future::poll_fn;
use core::pin::Pin;
use core::time::Duration;
use std::sync::Arc;

use anyedge_net::host::{DatagramMeta, Host, TcpListener as _, TcpStream as _, UdpSocket};
use anyedge_net::time::Instant;
use anyedge_traffic::backend::{self, BackendConfig, Ending, SharedBackendStats, Unobserved};
use anyedge_traffic::clients;
use anyedge_traffic::failure::Failure;
use anyedge_traffic::load::{Load, LoadKind, Rate, Share};
use anyedge_traffic::long_flow::{Course, HEADER_BYTES, Header};
use anyedge_traffic::stats::{SharedStats, Stats};
use anyedge_traffic::{pattern, tick};
use futures_io::AsyncRead as _;
use proptest::prelude::*;

use super::loopback::{LoopbackHost, LoopbackTcp, World};
use super::open_loop::{load, secs, server_address};
use super::talk::{say, write_all};

const SIZE: u64 = 1_000_000;
const PACE: u64 = 100_000;

/// The kinds, and how long one such flow takes.
fn kinds() -> [(LoadKind, u64); 4] {
    [
        (LoadKind::Download { pace: PACE }, 10),
        (LoadKind::Upload { pace: PACE }, 10),
        (LoadKind::HalfClosed { pace: PACE }, 10),
        (LoadKind::Idle { silence: secs(60) }, 60),
    ]
}

fn world() -> (World, LoopbackHost, LoopbackHost, SharedBackendStats) {
    let world = World::new(Duration::from_millis(1));
    let client = world.host("client.osaka", "10.1.0.2");
    let server = world.host("host.web-1", "10.0.0.11");
    let config = BackendConfig::on(vec![server_address()]);
    let counts = backend::serve(&server, config, Arc::new(Unobserved)).expect("a free address");
    (world, client, server, counts)
}

/// One flow per second from 0 s to 5 s.
fn long(kind: LoadKind) -> Load {
    Load {
        rate: Rate {
            count: 1,
            per: secs(1),
        },
        size: SIZE,
        timeout: secs(30),
        stop: Instant::ZERO + secs(5),
        ..load(kind)
    }
}

fn run(world: &World, client: &LoopbackHost, load: &Load, marks: &[u64], until: u64) -> Stats {
    let at = |second: &u64| Instant::ZERO + secs(*second);
    let stats = SharedStats::with_marks(marks.iter().map(at).collect());
    clients::start(client, load, Share::WHOLE, &stats).expect("the load is good");
    world.run_until(secs(until));
    let mut stats = stats.lock();
    stats.close(world.now(), load.stop);
    stats.clone()
}

#[test]
fn each_kind_carries_its_bytes_in_its_time_and_is_kept_at_every_mark() {
    for (kind, seconds) in kinds() {
        let (world, client, _, counts) = world();
        let stats = run(&world, &client, &long(kind), &[0, 3, 8, 100], 80);
        assert_eq!((stats.sent(), stats.ok()), (5, 5), "{kind:?}");
        let took = stats.intended().max() / 1_000_000;
        let wanted = seconds * 1_000 - 100..seconds * 1_000 + 100;
        assert!(wanted.contains(&took), "{kind:?}: {took} ms");
        let established: Vec<(u64, u64)> = stats
            .marks()
            .iter()
            .map(|mark| (mark.established, mark.kept))
            .collect();
        assert_eq!(established, [(0, 0), (3, 3), (5, 5), (0, 0)], "{kind:?}");
        assert!(
            stats.longest_gap() < Duration::from_millis(120),
            "{kind:?}: {:?}, and a rest is no gap",
            stats.longest_gap()
        );
        let counts = counts.snapshot();
        assert_eq!(
            (counts.long_flows(), counts.ended(Ending::Answered)),
            (5, 5),
            "{kind:?}"
        );
        assert_eq!((counts.open(), world.tasks_alive()), (0, 2), "{kind:?}");
    }
}

#[test]
fn a_flow_that_is_held_up_shows_the_gap_at_its_mark_and_catches_up() {
    for (kind, _) in &kinds()[..3] {
        let (world, client, server, _) = world();
        match kind {
            LoadKind::Upload { .. } => world.stall(&server, secs(6), secs(9)),
            _ => world.stall(&client, secs(6), secs(9)),
        }
        let stats = run(&world, &client, &long(*kind), &[2, 6, 12], 40);
        assert_eq!((stats.ok(), stats.broken_flows()), (5, 0), "{kind:?}");
        let [before, fault, after] = stats.marks() else {
            panic!("three marks");
        };
        assert!(
            before.gap_max >= secs(2),
            "{kind:?}: it overlaps {before:?}"
        );
        assert_eq!((fault.established, fault.kept), (5, 5), "{kind:?}");
        let gap = fault.gap_max.as_millis();
        assert!((2_950..3_150).contains(&gap), "{kind:?}: {gap} ms");
        let recovered = fault.recovered_at.expect("it did recover");
        let late = recovered - (Instant::ZERO + secs(9));
        assert!(late < Duration::from_millis(5), "{kind:?}: {late:?}");
        assert!(after.gap_max < Duration::from_millis(150), "{kind:?}");
        assert!(stats.longest_gap() >= Duration::from_millis(2_950));
        let took = stats.intended().max() / 1_000_000;
        assert!(took < 10_200, "{kind:?}: caught up, {took} ms");
    }
}

#[test]
fn a_plain_request_is_a_flow_too() {
    let (world, client, _, _) = world();
    world.stall(&client, Duration::from_millis(2_003), secs(4));
    let load = Load {
        stop: Instant::ZERO + secs(3),
        ..load(LoadKind::Request)
    };
    let at = Instant::ZERO + Duration::from_micros(2_002_500);
    let stats = SharedStats::with_marks(vec![at]);
    clients::start(&client, &load, Share::WHOLE, &stats).expect("the load is good");
    world.run_until(secs(20));
    let stats = stats.lock();
    let mark = &stats.marks()[0];
    assert!(
        mark.established > 0 && mark.kept == mark.established,
        "{mark:?}"
    );
    assert!(mark.handshaking > 0, "{mark:?}");
    assert!(mark.gap_max > Duration::from_millis(1_900), "{mark:?}");
    assert_eq!(mark.recovered_at, Some(Instant::ZERO + secs(4)));
}

#[test]
fn a_flow_without_progress_for_its_timeout_is_broken_once_and_for_that_cause() {
    for (kind, _) in kinds() {
        let (world, client, server, _) = world();
        world.stall(&client, secs(6), secs(1_000));
        world.stall(&server, secs(6), secs(1_000));
        let load = Load {
            timeout: secs(5),
            ..long(kind)
        };
        let stats = run(&world, &client, &load, &[6], 100);
        assert_eq!(stats.failed(Failure::Timeout), 5, "{kind:?}");
        assert_eq!((stats.ok(), stats.broken_flows()), (0, 5), "{kind:?}");
        let mark = &stats.marks()[0];
        assert_eq!((mark.established, mark.kept), (5, 0), "{kind:?}");
        assert_eq!(mark.broken[Failure::Timeout as usize], 5, "{kind:?}");
        assert_eq!(mark.broken_total(), 5, "{kind:?}");
        assert_eq!((mark.gap_max, mark.recovered_at), (Duration::ZERO, None));
    }
}

#[test]
fn what_the_run_cuts_off_and_what_never_connects_are_told_apart_from_what_breaks() {
    let (world, client, _, _) = world();
    let stats = run(
        &world,
        &client,
        &long(LoadKind::Download { pace: PACE }),
        &[3],
        4,
    );
    let mark = &stats.marks()[0];
    assert_eq!(
        (mark.established, mark.kept, mark.broken_total()),
        (3, 0, 3)
    );
    assert_eq!(mark.broken[Failure::RunEnded as usize], 3);

    let world = World::new(Duration::from_millis(1));
    let client = world.host("client.osaka", "10.1.0.2");
    world.black_hole("10.0.0.11");
    let stats = run(
        &world,
        &client,
        &long(LoadKind::Upload { pace: 0 }),
        &[3],
        60,
    );
    let mark = &stats.marks()[0];
    assert_eq!((mark.handshaking, mark.established), (3, 0));
    assert_eq!(
        (stats.failed(Failure::Timeout), stats.broken_flows()),
        (5, 0)
    );
}

/// Sends `bytes` of a download, one of them altered if `wrong`, then closes or resets.
async fn misbehave(mut stream: LoopbackTcp, bytes: u64, wrong: bool, resets: bool) {
    let mut request = [0; HEADER_BYTES];
    poll_fn(|context| Pin::new(&mut stream).poll_read(context, &mut request))
        .await
        .expect("the client asks first");
    let mut answer = vec![0; bytes as usize];
    pattern::fill(0, &mut answer);
    if wrong {
        answer[bytes as usize / 2] ^= 1;
    }
    write_all(&mut stream, &answer).await.unwrap_or_default();
    if resets {
        stream.abort();
    }
}

#[test]
fn one_wrong_byte_of_a_million_a_reset_and_an_early_end_are_found() {
    let cases = [
        (SIZE, true, false, Failure::WrongAnswer, 0),
        (SIZE / 2, false, true, Failure::Reset, 5),
        (SIZE - 1, false, false, Failure::ClosedEarly, 5),
    ];
    for (bytes, wrong, resets, cause, broken) in cases {
        let world = World::new(Duration::from_millis(1));
        let client = world.host("client.osaka", "10.1.0.2");
        let server = world.host("host.web-1", "10.0.0.11");
        let mut listener = server
            .tcp_listen(server_address(), 10)
            .expect("the address is free");
        let host = server.clone();
        server.spawn(async move {
            while let Ok(stream) = listener.accept().await {
                host.spawn(misbehave(stream, bytes, wrong, resets));
            }
        });
        let stats = run(
            &world,
            &client,
            &long(LoadKind::Download { pace: 0 }),
            &[],
            60,
        );
        assert_eq!(stats.failed(cause), 5, "{cause:?}");
        assert_eq!(stats.broken_flows(), broken, "{cause:?}");
    }
}

fn header(course: Course, bytes: u64, measure: u64) -> [u8; HEADER_BYTES] {
    Header {
        course,
        bytes,
        measure,
    }
    .encode()
}

#[test]
fn a_wrong_byte_of_an_upload_is_told_with_its_place_after_all_was_read() {
    let (world, client, _, counts) = world();
    let mut body = vec![0; 50_000];
    pattern::fill(0, &mut body);
    body[40_123] ^= 1;
    let opening = header(Course::Upload, 50_000, 0);
    let heard = say(
        &client,
        server_address(),
        &[&opening, &body],
        Duration::ZERO,
    );
    world.run_until(secs(1));
    assert_eq!(heard.done().bytes, b"wrong byte at 40123\n");
    assert_eq!(counts.snapshot().ended(Ending::Malformed), 1);
}

#[test]
fn a_client_that_does_not_keep_to_its_course_is_left() {
    let more = |opening: [u8; HEADER_BYTES]| [&opening[..], &[0]].concat();
    let longer = {
        let mut body = vec![0; 11];
        pattern::fill(0, &mut body);
        [&header(Course::Upload, 10, 0)[..], &body].concat()
    };
    for opening in [
        more(header(Course::Download, 10, 0)),
        more(header(Course::HalfClosed, 10, 0)),
        more(header(Course::Idle, 10, 0)),
        longer,
        header(Course::Download, u64::MAX, 0).to_vec(),
    ] {
        let (world, client, _, counts) = world();
        let heard = say(&client, server_address(), &[&opening], Duration::ZERO);
        world.run_until(secs(1));
        assert!(heard.done().bytes.len() <= 10, "{opening:?}");
        assert_eq!(counts.snapshot().ended(Ending::Malformed), 1, "{opening:?}");
    }
}

#[test]
fn a_silence_is_granted_as_announced_and_no_longer() {
    let world = World::new(Duration::from_millis(1));
    let client = world.host("client.osaka", "10.1.0.2");
    let server = world.host("host.web-1", "10.0.0.11");
    let config = BackendConfig {
        idle_timeout: secs(5),
        ..BackendConfig::on(vec![server_address()])
    };
    let counts = backend::serve(&server, config, Arc::new(Unobserved)).expect("a free address");
    let speak_twice = |announced: u64| {
        let opening = header(Course::Idle, 10, announced);
        say(&client, server_address(), &[&opening, &opening], secs(15))
    };
    let announced = speak_twice(15_000);
    let unannounced = speak_twice(0);
    world.run_until(secs(100));
    assert_eq!(announced.done().bytes, pattern::at(0, 20));
    assert!(unannounced.done().broke.is_some());
    assert_eq!(counts.snapshot().ended(Ending::TimedOut), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_after_any_header_end_in_one_way(
        course in 0u8..6,
        bytes in 0u64..5_000,
        measure in 0u64..5_000,
        body in prop::collection::vec(any::<u8>(), 0..200),
        cut in 1usize..30,
    ) {
        let (world, client, _, counts) = world();
        let mut opening = header(Course::Download, bytes, measure).to_vec();
        opening[2] = course;
        opening.extend_from_slice(&body);
        let pieces: Vec<&[u8]> = opening.chunks(cut).collect();
        say(&client, server_address(), &pieces, Duration::from_millis(1));
        world.run_until(secs(10_000));
        let counts = counts.snapshot();
        prop_assert_eq!((counts.accepted(), counts.open()), (1, 0));
    }
}

/// Answers ticks under the name of `server` until `until`.
fn answer_ticks(server: &LoopbackHost, marks: fn(Instant) -> Option<u16>) {
    let socket = server
        .udp_bind(server_address())
        .expect("the address is free");
    let host = server.clone();
    server.spawn(async move {
        let mut buffer = vec![0; 2_000];
        while let Ok((length, meta)) = socket.recv(&mut buffer).await {
            let Some(target) = marks(host.now()) else {
                continue;
            };
            let mark = tick::mark("host.web", ([10, 0, 0, 1], target).into());
            tick::answer(&mut buffer[..length], mark);
            socket
                .send(&buffer[..length], DatagramMeta::to(meta.peer))
                .expect("the client is there");
        }
    });
}

/// 100 ticks per second from 0 s to 10 s, answered as `marks` says.
fn ticks(marks: fn(Instant) -> Option<u16>) -> Stats {
    let world = World::new(Duration::from_millis(1));
    let client = world.host("client.osaka", "10.1.0.2");
    let server = world.host("host.web-1", "10.0.0.11");
    answer_ticks(&server, marks);
    let load = Load {
        rate: Rate {
            count: 100,
            per: secs(1),
        },
        size: 100,
        timeout: secs(1),
        in_flight_max: 1_000,
        ..load(LoadKind::Tick)
    };
    run(&world, &client, &load, &[2, 5], 20)
}

fn after(now: Instant, second: u64) -> bool {
    now >= Instant::ZERO + secs(second)
}

#[test]
fn the_ticks_of_a_socket_are_one_flow_that_a_pause_does_not_break() {
    let calm = ticks(|_| Some(1));
    assert_eq!((calm.ok(), calm.broken_flows()), (1_000, 0));
    for mark in calm.marks() {
        assert_eq!((mark.established, mark.kept), (1, 1));
    }
    let paused = ticks(|now| (!after(now, 5) || after(now, 8)).then_some(1));
    assert_eq!((paused.ok(), paused.broken_flows()), (700, 0));
    let mark = &paused.marks()[1];
    let gap = mark.gap_max.as_millis();
    assert!((2_990..3_020).contains(&gap), "{gap} ms");
    assert_eq!((mark.established, mark.kept), (1, 1));
}

#[test]
fn ticks_that_another_target_answers_are_a_broken_flow_and_a_new_one() {
    let stats = ticks(|now| Some(1 + u16::from(after(now, 6))));
    assert_eq!((stats.ok(), stats.broken_flows()), (1_000, 1));
    for mark in stats.marks() {
        assert_eq!((mark.established, mark.kept), (1, 0));
        assert_eq!(mark.broken[Failure::OtherTarget as usize], 1);
    }
}

#[test]
fn ticks_that_nobody_answers_any_more_are_a_broken_flow() {
    let stats = ticks(|now| (!after(now, 6)).then_some(1));
    assert_eq!(stats.broken_flows(), 1);
    assert_eq!(stats.marks()[1].broken[Failure::Timeout as usize], 1);
}
