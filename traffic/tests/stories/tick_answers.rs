//! Ticks: which answers count, and that the moments of sending do not depend on them.

use core::time::Duration;
use std::sync::{Arc, Mutex};

use anyedge_net::host::{DatagramMeta, Host, UdpSocket};
use anyedge_net::time::Instant;
use anyedge_traffic::failure::Failure;
use anyedge_traffic::load::{Arrivals, Load, LoadKind, Rate};
use anyedge_traffic::tick;

use super::loopback::{LoopbackHost, World};
use super::open_loop::{load, run, secs, server_address};

/// What a server does with the tick of a sequence number.
#[derive(Clone, Copy)]
enum Answer {
    Echo,
    Never,
    Twice,
    Late,
    Altered,
    Longer,
    FromElsewhere,
}

/// How ticks are answered, and how many then fail for which cause.
type Case = (fn(u64) -> Answer, Failure, u64);

/// Answers each tick as `choose` says, and keeps the intended times it was told.
fn serve(server: &LoopbackHost, choose: fn(u64) -> Answer) -> Arc<Mutex<Vec<u64>>> {
    let told = Arc::<Mutex<Vec<u64>>>::default();
    let (host, tolds) = (server.clone(), told.clone());
    let socket = server
        .udp_bind(server_address())
        .expect("the address is free");
    let elsewhere = server.udp_bind(([0; 4], 0).into()).expect("any port");
    server.spawn(async move {
        let mut buffer = vec![0; 2_000];
        while let Ok((length, meta)) = socket.recv(&mut buffer).await {
            let tick = &mut buffer[..length];
            let intended = u64::from_be_bytes(tick[8..16].try_into().expect("eight bytes"));
            tolds
                .lock()
                .expect("nothing panics under the lock")
                .push(intended);
            let back = DatagramMeta::to(meta.peer);
            let sent = match choose(tick::sequence(tick).expect("long enough")) {
                Answer::Never => Ok(()),
                Answer::Echo => socket.send(tick, back),
                Answer::Twice => socket
                    .send(tick, back)
                    .and_then(|()| socket.send(tick, back)),
                Answer::Late => {
                    host.sleep_until(host.now() + secs(5)).await;
                    socket.send(tick, back)
                }
                Answer::Altered => {
                    tick[500] ^= 1;
                    socket.send(tick, back)
                }
                Answer::Longer => {
                    let longer = [&*tick, &[0]].concat();
                    socket.send(&longer, back)
                }
                Answer::FromElsewhere => elsewhere.send(tick, back),
            };
            sent.expect("the client is there");
        }
    });
    told
}

fn world(choose: fn(u64) -> Answer) -> (World, LoopbackHost, LoopbackHost, Arc<Mutex<Vec<u64>>>) {
    let world = World::new(Duration::from_millis(20));
    let client = world.host("client.osaka", "10.1.0.2");
    let server = world.host("host.web-1", "10.0.0.11");
    let told = serve(&server, choose);
    (world, client, server, told)
}

#[test]
fn each_kind_of_answer_gives_each_tick_exactly_one_outcome() {
    let cases: [Case; 6] = [
        (
            |tick| {
                if tick % 10 == 3 {
                    Answer::Never
                } else {
                    Answer::Echo
                }
            },
            Failure::Timeout,
            1_000,
        ),
        (
            |tick| {
                if tick % 10 == 3 {
                    Answer::Altered
                } else {
                    Answer::Echo
                }
            },
            Failure::WrongAnswer,
            1_000,
        ),
        (
            |tick| {
                if tick % 10 == 3 {
                    Answer::Longer
                } else {
                    Answer::Echo
                }
            },
            Failure::WrongAnswer,
            1_000,
        ),
        (
            |tick| {
                if tick % 10 == 3 {
                    Answer::FromElsewhere
                } else {
                    Answer::Echo
                }
            },
            Failure::Timeout,
            1_000,
        ),
        (|_| Answer::Twice, Failure::Timeout, 0),
        (|_| Answer::Never, Failure::Timeout, 10_000),
    ];
    for (case, (choose, cause, failed)) in cases.into_iter().enumerate() {
        let (world, client, _, _) = world(choose);
        let load = Load {
            in_flight_max: 10_000,
            ..load(LoadKind::Tick)
        };
        let stats = run(&world, &client, &load);
        let found = (stats.sent(), stats.ok(), stats.failed(cause));
        assert_eq!(found, (10_000, 10_000 - failed, failed), "case {case}");
    }
}

#[test]
fn an_answer_after_the_timeout_does_not_count() {
    let (world, client, _, _) = world(|_| Answer::Late);
    let one = Load {
        rate: Rate {
            count: 1,
            per: secs(100),
        },
        ..load(LoadKind::Tick)
    };
    let stats = run(&world, &client, &one);
    assert_eq!(
        (stats.sent(), stats.ok(), stats.failed(Failure::Timeout)),
        (1, 0, 1)
    );
}

#[test]
fn the_moments_of_sending_do_not_depend_on_the_answers() {
    let moments = |choose, stalled| {
        let (world, client, server, told) = world(choose);
        if stalled {
            world.stall(&server, secs(3), secs(6));
        }
        let load = Load {
            arrivals: Arrivals::Poisson,
            ..load(LoadKind::Tick)
        };
        let stats = run(&world, &client, &load);
        let told = told.lock().expect("nothing panics under the lock").clone();
        assert_eq!(stats.sent(), told.len() as u64);
        told
    };
    let answered = moments(|_| Answer::Echo, false);
    assert!(
        (9_600..10_400).contains(&answered.len()),
        "{}",
        answered.len()
    );
    assert_eq!(answered, moments(|_| Answer::Echo, true));
    assert!(answered.is_sorted());
    assert!(
        answered
            .iter()
            .all(|at| Instant::from_nanos(*at) < Instant::ZERO + secs(10))
    );
}

#[test]
fn a_lost_tick_holds_up_no_other() {
    let (world, client, _, _) = world(|tick| {
        if tick == 0 {
            Answer::Never
        } else {
            Answer::Echo
        }
    });
    let load = Load {
        in_flight_max: 50,
        ..load(LoadKind::Tick)
    };
    let stats = run(&world, &client, &load);
    assert_eq!((stats.ok(), stats.failed(Failure::Timeout)), (9_999, 1));
    assert_eq!(stats.intended().max(), stats.actual().max());
    assert!(stats.intended().max() < 42_000_000);
}
