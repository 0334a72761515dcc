//! The backend's manners: protocols told apart, clients' addresses shown, slow and rude clients bounded.

use core::time::Duration;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

use anyedge_net::host::{DatagramMeta, Host, UdpSocket};
use anyedge_net::time::Instant;
use anyedge_traffic::backend::{self, BackendConfig, Ending, Seen, SharedBackendStats, What};
use anyedge_traffic::exchange::Header;
use anyedge_traffic::pattern;
use proptest::prelude::*;

use super::loopback::{LoopbackHost, World};
use super::open_loop::{secs, server_address};
use super::talk::{Heard, byte_by_byte, say};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: game\r\nConnection: close\r\n\r\n";
const AT_ONCE: Duration = Duration::ZERO;

struct Stage {
    world: World,
    client: LoopbackHost,
    counts: SharedBackendStats,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Stage {
    fn new() -> Stage {
        Stage::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut BackendConfig)) -> Stage {
        let world = World::new(Duration::from_millis(1));
        let client = world.host("client.osaka", "10.1.0.2");
        let server = world.host("host.web-1", "10.0.0.11");
        let mut config = BackendConfig::on(vec![server_address()]);
        change(&mut config);
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let log = seen.clone();
        let observer = move |seen: &Seen<'_>| {
            let what = match seen.what {
                What::Exchange {
                    request_bytes,
                    answer_bytes,
                } => {
                    format!("exchange {request_bytes} {answer_bytes}")
                }
                What::LongFlow { course, bytes } => format!("{course:?} {bytes}"),
                What::Http {
                    method,
                    path,
                    status,
                } => format!("{method} {path} {status}"),
                What::Tick { bytes } => format!("tick {bytes}"),
            };
            let line = format!("{} -> {} {what}", seen.client, seen.server);
            log.lock()
                .expect("nothing panics under the lock")
                .push(line);
        };
        let counts = backend::serve(&server, config, Arc::new(observer)).expect("a free address");
        Stage {
            world,
            client,
            counts,
            seen,
        }
    }

    fn say(&self, pieces: &[&[u8]], pause: Duration) -> Heard {
        say(&self.client, server_address(), pieces, pause)
    }

    fn seen(&self) -> Vec<String> {
        self.seen
            .lock()
            .expect("nothing panics under the lock")
            .clone()
    }

    fn ended(&self, ending: Ending) -> u64 {
        self.counts.snapshot().ended(ending)
    }
}

fn body(answer: &[u8]) -> &[u8] {
    let head = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a head has an end");
    &answer[head + 4..]
}

#[test]
fn a_web_client_is_told_its_own_address_in_an_answer_that_holds_no_date() {
    let stage = Stage::new();
    let heard = stage.say(&[GET], AT_ONCE);
    stage.world.run_until(secs(1));
    let answer = String::from_utf8(heard.done().bytes).expect("text");
    assert_eq!(
        answer,
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n\
         content-length: 40\r\n\r\nclient 10.1.0.2:40001\nserver host.web-1\n"
    );
    assert_eq!(stage.seen(), ["10.1.0.2:40001 -> 10.0.0.11:8080 GET / 200"]);
    assert_eq!(
        (
            stage.ended(Ending::Answered),
            stage.counts.snapshot().open()
        ),
        (1, 0)
    );
}

#[test]
fn both_protocols_are_known_when_every_byte_comes_alone() {
    let stage = Stage::new();
    let web = stage.say(&byte_by_byte(GET), Duration::from_millis(3));
    let mut request = Header {
        request_bytes: 40,
        answer_bytes: 50_000,
        keep: false,
    }
    .encode()
    .to_vec();
    request.extend_from_slice(&[7; 24]);
    let raw = stage.say(&byte_by_byte(&request), Duration::from_millis(3));
    stage.world.run_until(secs(1));
    assert!(web.done().bytes.starts_with(b"HTTP/1.1 200 OK\r\n"));
    let raw = raw.done();
    assert_eq!((raw.bytes.len(), raw.broke), (50_000, None));
    assert!(pattern::matches(0, &raw.bytes));
    assert_eq!(stage.ended(Ending::Answered), 2);
    assert_eq!(stage.counts.snapshot().exchanges(), 1);
}

#[test]
fn a_web_client_that_asks_for_a_pace_gets_its_bytes_at_that_pace() {
    let stage = Stage::new();
    let ask = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: game\r\nConnection: close\r\n\r\n");
        stage.say(&[request.as_bytes()], AT_ONCE)
    };
    let paced = ask("/bytes/1000000?pace=100000");
    let slow = ask("/bytes/90?pace=1");
    let refused: Vec<Heard> = ["pace=0", "pace=-1", "pace=", "speed=5", "pace=1&x", ""]
        .map(|query| ask(&format!("/bytes/5?{query}")))
        .to_vec();
    stage.world.run_until(Duration::from_millis(9_890));
    assert!(paced.get().is_none());
    stage.world.run_until(secs(100));
    assert!(pattern::matches(0, body(&paced.done().bytes)));
    assert_eq!(body(&paced.done().bytes).len(), 1_000_000);
    assert!(paced.done().at < Instant::ZERO + secs(10));
    assert_eq!(body(&slow.done().bytes), pattern::at(0, 90));
    for heard in refused {
        assert!(heard.done().bytes.starts_with(b"HTTP/1.1 404 "));
    }
}

#[test]
fn a_web_client_gets_the_bytes_it_asked_for_and_404_for_anything_else() {
    let stage = Stage::new();
    let ask = |line: &str| {
        let request = format!("{line} HTTP/1.1\r\nHost: game\r\nConnection: close\r\n\r\n");
        stage.say(&[request.as_bytes()], AT_ONCE)
    };
    let big = ask("GET /bytes/3000000");
    let none = ask("GET /bytes/0");
    let head = ask("HEAD /bytes/1073741824");
    let too_big = ask("GET /bytes/1073741825");
    let unknown = ask("GET /favicon.ico");
    let post = ask("POST /");
    stage.world.run_until(secs(5));
    let big = big.done().bytes;
    assert_eq!(body(&big).len(), 3_000_000);
    assert!(pattern::matches(0, body(&big)));
    let starts = |heard: &Heard, with: &[u8]| heard.done().bytes.starts_with(with);
    assert!(starts(&none, b"HTTP/1.1 200 ") && body(&none.done().bytes).is_empty());
    assert!(starts(&head, b"HTTP/1.1 200 ") && body(&head.done().bytes).is_empty());
    assert!(starts(&too_big, b"HTTP/1.1 404 "));
    assert!(starts(&unknown, b"HTTP/1.1 404 "));
    assert!(starts(&post, b"HTTP/1.1 405 "));
    assert_eq!(stage.counts.snapshot().http_requests(), 6);
}

#[test]
fn a_broken_header_closes_the_connection_at_once_and_is_counted() {
    let stage = Stage::new();
    let mut request = Header {
        request_bytes: 16,
        answer_bytes: 5,
        keep: false,
    }
    .encode();
    request[1] = 9;
    let version = stage.say(&[&request], AT_ONCE);
    let good = Header {
        request_bytes: 16,
        answer_bytes: 5,
        keep: false,
    }
    .encode();
    let too_long = stage.say(&[&[&good[..], b"more"].concat()], AT_ONCE);
    let garbage = stage.say(&[b"\x00\x01 what\r\n\r\n"], AT_ONCE);
    stage.world.run_until(secs(1));
    for heard in [&version, &too_long] {
        assert!(heard.done().bytes.is_empty());
        assert!(heard.done().at <= Instant::ZERO + Duration::from_millis(5));
    }
    assert!(garbage.done().bytes.starts_with(b"HTTP/1.1 400 "));
    assert_eq!(
        (
            stage.ended(Ending::Malformed),
            stage.counts.snapshot().open()
        ),
        (3, 0)
    );
}

#[test]
fn slow_heads_are_cut_off_and_hold_up_nobody_meanwhile() {
    let stage = Stage::new();
    let slow = stage.say(&byte_by_byte(&GET[..40]), secs(1));
    let raw = Header {
        request_bytes: 16,
        answer_bytes: 5,
        keep: false,
    }
    .encode();
    let slow_raw = stage.say(&byte_by_byte(&raw), secs(2));
    let mute = stage.say(&[&raw[..3]], AT_ONCE);
    stage.world.run_until(secs(1));
    let quick = stage.say(&[GET], AT_ONCE);
    stage.world.run_until(secs(2));
    assert!(quick.done().bytes.starts_with(b"HTTP/1.1 200 OK\r\n"));
    stage.world.run_until(secs(50));
    for heard in [&slow, &slow_raw, &mute] {
        let talk = heard.done();
        assert_eq!(talk.broke, Some(ErrorKind::ConnectionReset));
        assert!(talk.bytes.is_empty());
        let late = talk.at - (Instant::ZERO + secs(20));
        assert!(late < secs(3), "{:?}", talk.at);
    }
    assert_eq!(
        (
            stage.ended(Ending::TimedOut),
            stage.counts.snapshot().open()
        ),
        (3, 0)
    );
}

#[test]
fn an_idle_kept_alive_connection_ends_in_order_and_a_silent_one_counts_as_such() {
    let stage = Stage::new();
    let kept = stage.say(&[b"GET / HTTP/1.1\r\nHost: game\r\n\r\n"], AT_ONCE);
    let (host, to) = (stage.client.clone(), server_address());
    stage
        .client
        .spawn(async move { drop(host.tcp_connect(None, to).await) });
    stage.world.run_until(secs(19));
    assert_eq!((stage.ended(Ending::Silent), kept.get()), (1, None));
    stage.world.run_until(secs(41));
    assert_eq!(kept.done().broke, None);
    assert!(kept.done().bytes.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert_eq!(
        (
            stage.ended(Ending::Answered),
            stage.counts.snapshot().open()
        ),
        (1, 0)
    );
}

#[test]
fn a_client_that_does_not_read_is_cut_off_after_the_idle_timeout() {
    let stage = Stage::new();
    let raw = Header {
        request_bytes: 16,
        answer_bytes: 1 << 20,
        keep: false,
    }
    .encode();
    for request in [
        &raw[..],
        b"GET /bytes/1048576 HTTP/1.1\r\nHost: game\r\n\r\n",
    ] {
        let (host, request) = (stage.client.clone(), request.to_vec());
        stage.client.spawn(async move {
            let connected = host.tcp_connect(None, server_address()).await;
            let mut stream = connected.expect("the backend listens");
            super::talk::write_all(&mut stream, &request)
                .await
                .expect("it fits");
            host.sleep_until(Instant::ZERO + secs(1_000)).await;
        });
    }
    stage.world.run_until(secs(59));
    assert_eq!(stage.counts.snapshot().open(), 2);
    stage.world.run_until(secs(61));
    assert_eq!(
        (
            stage.counts.snapshot().open(),
            stage.ended(Ending::TimedOut)
        ),
        (0, 2)
    );
}

#[test]
fn connections_above_the_limit_are_reset_and_room_comes_back() {
    let stage = Stage::with(|config| config.connections_max = 2);
    let held: Vec<Heard> = (0..2).map(|_| stage.say(&[b"G"], AT_ONCE)).collect();
    stage.world.run_until(secs(1));
    let over = stage.say(&[GET], AT_ONCE);
    stage.world.run_until(secs(2));
    assert_eq!(over.done().broke, Some(ErrorKind::ConnectionReset));
    assert_eq!(
        (
            stage.ended(Ending::OverLimit),
            stage.counts.snapshot().open()
        ),
        (1, 2)
    );
    stage.world.run_until(secs(30));
    assert!(held.iter().all(|heard| heard.done().broke.is_some()));
    let after = stage.say(&[GET], AT_ONCE);
    stage.world.run_until(secs(31));
    assert!(after.done().bytes.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

#[test]
fn a_datagram_comes_back_with_its_class_and_without_its_congestion_mark() {
    let stage = Stage::new();
    let (host, back) = (stage.client.clone(), Arc::<Mutex<Option<_>>>::default());
    let result = back.clone();
    stage.client.spawn(async move {
        let socket = host.udp_bind(([0; 4], 0).into()).expect("any port");
        let meta = DatagramMeta {
            tos: 0xBB,
            ..DatagramMeta::to(server_address())
        };
        socket.send(b"hello", meta).expect("the backend is there");
        let mut buffer = [0; 10];
        let (length, meta) = socket.recv(&mut buffer).await.expect("it comes back");
        *result.lock().expect("nothing panics under the lock") =
            Some((buffer[..length].to_vec(), meta.peer, meta.tos));
    });
    stage.world.run_until(secs(1));
    let back = back.lock().expect("nothing panics under the lock").take();
    assert_eq!(back, Some((b"hello".to_vec(), server_address(), 0xB8)));
    assert_eq!(stage.seen(), ["10.1.0.2:40001 -> 10.0.0.11:8080 tick 5"]);
    assert_eq!(stage.counts.snapshot().ticks(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_a_client_sends_its_connection_ends_in_one_counted_way(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        magic in 0u8..4,
        cut in 0usize..200,
    ) {
        let mut bytes = bytes;
        let prefix: &[u8] = match magic {
            0 => b"",
            1 => b"\xAE\x01\x00\x00",
            2 => b"\xAE\x01\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00",
            _ => b"GET /bytes/",
        };
        bytes.splice(0..0, prefix.iter().copied());
        let stage = Stage::new();
        let (one, two) = bytes.split_at(cut.min(bytes.len()));
        let heard = stage.say(&[one, two], Duration::from_millis(5));
        stage.world.run_until(secs(200));
        prop_assert!(heard.get().is_some());
        let counts = stage.counts.snapshot();
        prop_assert_eq!((counts.accepted(), counts.open()), (1, 0));
        prop_assert_eq!(counts.ended(Ending::Stopped) + counts.ended(Ending::OverLimit), 0);
    }
}
