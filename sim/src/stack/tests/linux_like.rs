//! What the Linux-like TCP does on the wire: how much at first, how losses are repaired and when, what it makes of garbage.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use anyedge_net::packet::{Meta, Packet};
use anyedge_net::port::PortId;
use anyedge_net::rng::{Rng, Seed};
use anyedge_net::wire::{self, tcp};

use super::super::{FlowId, TcpBuffers};
use super::pipe::*;
use super::{LINUX_LIKE, Pair};

const BOTH: Pair = [LINUX_LIKE; 2];
/// Payload of a full segment.
const MSS: usize = 1_460;

/// Numbers of payload that a packet carries: the first, and how many.
fn payload(bytes: &[u8]) -> (u32, usize) {
    let parsed = wire::parse(bytes).expect("hosts send sound packets");
    let payload = tcp::payload(bytes, &parsed).expect("it is TCP and whole");
    (tcp::sequence(bytes, &parsed), payload.len())
}

fn flags(bytes: &[u8]) -> u8 {
    wire::parse(bytes)
        .expect("hosts send sound packets")
        .tcp_flags
}

/// Swallows those of the server's segments with data whose turn it is, counted from 0; those that are sent again count.
fn lose(pipe: &mut Pipe, turns: &'static [usize]) {
    let mut turn = 0;
    pipe.tap = Box::new(move |from, bytes| {
        if from != SERVER || payload(bytes).1 == 0 {
            return false;
        }
        turn += 1;
        turns.contains(&(turn - 1))
    });
}

fn again(pipe: &Pipe) -> u64 {
    pipe.hosts[SERVER].stats().retransmissions
}

/// A connection, and how long the server's data, FIN behind it, take to the client.
fn download(pipe: &mut Pipe, count: usize) -> Duration {
    let [client, server] = pipe.establish();
    pipe.run_for(Duration::from_secs(1));
    let start = pipe.now;
    // In one step, so that the FIN goes with the last of the data.
    pipe.with(SERVER, |stack, io| {
        let taken = stack.tcp_poll_write(server, &context(), &pattern(count), io.now);
        assert!(matches!(taken, Poll::Ready(Ok(taken)) if taken == count));
        stack.tcp_release(server, io.now, false);
    });
    let all = pipe.read_to_end(CLIENT, client).expect("it ends by FIN");
    assert_eq!(all, pattern(count));
    pipe.now - start
}

#[test]
fn ten_segments_go_at_first_and_an_answer_takes_one_way() {
    let mut pipe = Pipe::speaking(BOTH, 1);
    assert_eq!(download(&mut pipe, 10 * MSS), Duration::from_millis(10));
    let mut pipe = Pipe::speaking(BOTH, 1);
    assert_eq!(download(&mut pipe, 11 * MSS), Duration::from_millis(30));
    assert_eq!(download_trips(64_000), 3, "10, 20 and the rest");
}

fn download_trips(count: usize) -> u128 {
    let mut pipe = Pipe::speaking(BOTH, 1);
    download(&mut pipe, count).as_millis().div_ceil(20)
}

#[test]
fn several_losses_of_a_window_are_repaired_in_a_round_trip() {
    let mut pipe = Pipe::speaking(BOTH, 1);
    lose(&mut pipe, &[1, 4, 5]);
    // The window, and one round trip.
    assert_eq!(download(&mut pipe, 10 * MSS), Duration::from_millis(30));
    assert_eq!(again(&pipe), 3, "and nothing but what was lost");
    pipe.finish();
}

#[test]
fn a_segment_that_is_lost_again_needs_no_timeout_while_others_arrive() {
    let mut pipe = Pipe::speaking(BOTH, 1);
    let (mut first, mut lost) = (None, 0);
    pipe.tap = Box::new(move |from, bytes| {
        let (number, len) = payload(bytes);
        let is_first = from == SERVER && len > 0 && *first.get_or_insert(number) == number;
        lost += usize::from(is_first);
        is_first && lost <= 2
    });
    let took = download(&mut pipe, 40 * MSS);
    assert!(took < Duration::from_millis(200), "{took:?}");
    assert_eq!(again(&pipe), 2);
}

#[test]
fn a_lost_tail_is_probed_for_before_a_timeout() {
    let mut pipe = Pipe::speaking(BOTH, 1);
    lose(&mut pipe, &[9]);
    // The round trip of the others, two of silence, and the probe's way.
    assert_eq!(
        download(&mut pipe, 10 * MSS),
        Duration::from_millis(20 + 40 + 10)
    );
    assert_eq!(again(&pipe), 1);
    let mut pipe = Pipe::speaking(BOTH, 1);
    lose(&mut pipe, &[7, 8, 9]);
    let took = download(&mut pipe, 10 * MSS);
    assert!(
        took < Duration::from_millis(120),
        "the probe shows the others: {took:?}"
    );
}

#[test]
fn what_is_alone_and_lost_comes_again_after_200_ms_and_a_round_trip() {
    let mut pipe = Pipe::speaking(BOTH, 1);
    lose(&mut pipe, &[0, 1]);
    // 220 ms, twice that, and the way.
    assert_eq!(
        download(&mut pipe, 100),
        Duration::from_millis(220 + 440 + 10)
    );
    assert_eq!(again(&pipe), 2);
}

#[test]
fn a_lone_segment_is_acknowledged_after_40_ms_and_two_at_once() {
    let mut pipe = Pipe::speaking(BOTH, 1);
    let [client, server] = pipe.establish();
    pipe.run_for(Duration::from_secs(1));
    let acks: Arc<Mutex<usize>> = Arc::default();
    let counted = Arc::clone(&acks);
    pipe.tap = Box::new(move |from, _| {
        *counted.lock().expect("one thread") += usize::from(from == CLIENT);
        false
    });
    let after = |pipe: &mut Pipe, ms| {
        pipe.run_for(Duration::from_millis(ms));
        std::mem::take(&mut *acks.lock().expect("one thread"))
    };
    pipe.write(SERVER, server, &[1; 100]).expect("it is open");
    assert_eq!((after(&mut pipe, 49), after(&mut pipe, 2)), (0, 1));
    pipe.write(SERVER, server, &[1; 2 * MSS])
        .expect("it is open");
    assert_eq!((after(&mut pipe, 11), after(&mut pipe, 100)), (1, 0));
    pipe.read(CLIENT, client).expect("it is open");
}

#[test]
fn a_fin_that_overtakes_data_is_kept() {
    let mut pipe = Pipe::speaking(BOTH, 1);
    lose(&mut pipe, &[2]);
    assert_eq!(download(&mut pipe, 5 * MSS + 10), Duration::from_millis(30));
    assert_eq!(again(&pipe), 1);
    pipe.finish();
}

#[test]
fn streams_stay_intact_where_every_tenth_packet_is_lost() {
    for seed in 0..20 {
        let mut pipe = Pipe::speaking(BOTH, seed);
        pipe.loss_ppm = 100_000;
        let [client, server] = pipe.establish();
        pipe.write(CLIENT, client, &pattern(1_000))
            .expect("it is open");
        let mut request = Vec::new();
        while request.len() < 1_000 {
            request.extend(pipe.read(SERVER, server).expect("it is open"));
        }
        let data = pattern(60_000);
        pipe.write(SERVER, server, &data)
            .expect("the buffer has room");
        pipe.release(SERVER, server);
        assert_eq!(
            pipe.read_to_end(CLIENT, client).expect("it ends by FIN"),
            data
        );
        pipe.release(CLIENT, client);
        pipe.finish();
    }
}

/// An other end, or something on the way, that knows nothing of SACK: its option is no-operations.
#[test]
fn without_sack_losses_are_repaired_by_repeated_acknowledgements() {
    let mut pipe = Pipe::speaking(BOTH, 1);
    pipe.edit = Box::new(|from, packet| {
        let parsed = wire::parse(packet.bytes()).expect("hosts send sound packets");
        if parsed.tcp_flags & tcp::SYN != 0 {
            let segment = &mut packet.bytes_mut()[20..];
            assert_eq!(
                segment[26..28],
                if from == CLIENT { [4, 2] } else { [1, 1] }
            );
            segment[26..28].fill(1);
            tcp::fill_checksum(segment, parsed.flow.src, parsed.flow.dst);
        }
    });
    lose(&mut pipe, &[2, 5]);
    let took = download(&mut pipe, 20 * MSS);
    assert!(took < Duration::from_millis(150), "{took:?}");
    assert_eq!(again(&pipe), 2);
    pipe.finish();
}

#[test]
fn a_connection_of_the_same_ends_opens_while_the_one_before_waits() {
    let mut pipe = Pipe::speaking(BOTH, 1);
    let listener = pipe.listen(8);
    for _ in 0..3 {
        let local = Some(addr("10.0.0.1:4000"));
        let client = pipe
            .with(CLIENT, |stack, io| {
                stack.tcp_connect(local, addr(WEB), io.now)
            })
            .expect("the tuple is free");
        pipe.connected(client).expect("the server listens");
        let server = pipe.accept(listener);
        // The server closes first, so the record is its own.
        for (host, flow) in [(SERVER, server), (CLIENT, client)] {
            pipe.release(host, flow);
            pipe.run_for(Duration::from_millis(50));
        }
        assert!(pipe.drops.is_empty());
    }
    pipe.finish();
}

/// Makes the IPv4 header say how long the packet is.
fn tell_length(bytes: &mut [u8]) {
    let len = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&len.to_be_bytes());
    bytes[10..12].fill(0);
    let check = anyedge_net::checksum::internet(&bytes[..20]);
    bytes[10..12].copy_from_slice(&check.to_be_bytes());
}

/// The server's last segment as it would come from somebody else: with other flags, at another place.
fn forged(pipe: &mut Pipe, [client, server]: [FlowId; 2], flags: u8, ahead: u32) -> Packet {
    let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
    let kept = Arc::clone(&seen);
    pipe.tap = Box::new(move |from, bytes| {
        if from == SERVER {
            *kept.lock().expect("one thread") = bytes.to_vec();
        }
        false
    });
    pipe.write(SERVER, server, b"x").expect("it is open");
    pipe.run_for(Duration::from_millis(500));
    pipe.read(CLIENT, client).expect("it is open");
    let mut bytes = seen.lock().expect("one thread").clone();
    let parsed = wire::parse(&bytes).expect("hosts send sound packets");
    let next = tcp::sequence(&bytes, &parsed).wrapping_add(1 + ahead);
    bytes.truncate(parsed.total_len - 1);
    tell_length(&mut bytes);
    let segment = &mut bytes[20..];
    segment[4..8].copy_from_slice(&next.to_be_bytes());
    segment[13] = flags;
    tcp::fill_checksum(segment, parsed.flow.src, parsed.flow.dst);
    pipe.pool
        .lend_copy(&bytes, Meta::plain(PortId::LOCAL))
        .expect("the pool is large")
}

#[test]
fn a_reset_or_a_syn_that_is_a_guess_ends_nothing() {
    for (flags, ahead, ends) in [
        (tcp::RST, 1_000, false),
        (tcp::RST, 100_000, false),
        (tcp::SYN, 0, false),
        (tcp::SYN | tcp::ACK, 500, false),
        (tcp::RST, 0, true),
    ] {
        let mut pipe = Pipe::speaking(BOTH, 1);
        let ends_of = pipe.establish();
        let packet = forged(&mut pipe, ends_of, flags, ahead);
        pipe.deliver(CLIENT, packet);
        pipe.run_for(Duration::from_secs(1));
        let [client, server] = ends_of;
        pipe.write(SERVER, server, b"still here")
            .expect("it has heard nothing");
        match pipe.read(CLIENT, client) {
            Ok(read) => assert!(!ends && read == b"still here", "{flags} {ahead}"),
            Err(error) => assert!(ends && error.kind() == ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn a_window_that_is_shut_is_asked_for_and_opens() {
    let small = TcpBuffers {
        receive: 3_000,
        send: 65_536,
    };
    let mut both = configs(BOTH, 1);
    both.iter_mut().for_each(|config| config.buffers = small);
    let mut pipe = Pipe::of(both);
    let [client, server] = pipe.establish();
    pipe.write(SERVER, server, &pattern(20_000))
        .expect("the buffer has room");
    pipe.release(SERVER, server);
    pipe.run_for(Duration::from_secs(100));
    // What tells of room is lost: the next question is answered all the same.
    pipe.tap = Box::new(|from, _| from == CLIENT);
    pipe.read(CLIENT, client).expect("it is open");
    pipe.run_for(Duration::from_secs(1));
    pipe.tap = Box::new(|_, _| false);
    pipe.run_for(Duration::from_secs(61));
    let rest = pipe.read_to_end(CLIENT, client).expect("it ends by FIN");
    assert_eq!(rest.len(), 20_000 - 3_000);
    pipe.finish();
}

/// Segments of every kind at every place near the window, with options of random bytes: nothing panics, no slot is lost, and
/// what comes from the other end still arrives as long as no reset has struck.
#[test]
fn garbage_at_and_around_the_window_harms_nobody() {
    let (mut struck, mut whole) = (0, 0);
    for seed in 0..200 {
        let mut rng = Seed(seed).stream("garbage", "segments");
        let mut pipe = Pipe::speaking(BOTH, seed);
        let [client, server] = pipe.establish();
        pipe.write(SERVER, server, &pattern(30_000))
            .expect("the buffer has room");
        let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let kept = Arc::clone(&seen);
        pipe.tap = Box::new(move |from, bytes| {
            if from == SERVER {
                *kept.lock().expect("one thread") = bytes.to_vec();
            }
            false
        });
        for _ in 0..60 {
            pipe.run_for(Duration::from_millis(rng.below(8)));
            let template = seen.lock().expect("one thread").clone();
            if template.is_empty() {
                continue;
            }
            let garbage = damaged(&template, &mut rng);
            if let Some(packet) = pipe.pool.lend_copy(&garbage, Meta::plain(PortId::LOCAL)) {
                pipe.deliver(CLIENT, packet);
            }
        }
        // Forged data may be in the stream, and a forged acknowledgement may have said what never came. A client that was told
        // so waits for ever, as any would without keep-alives.
        pipe.close(SERVER, server).ok();
        pipe.run_for(Duration::from_secs(600));
        let mut into = vec![0; 65_536];
        let read = |pipe: &mut Pipe, into: &mut [u8]| {
            pipe.with(CLIENT, |stack, _| {
                stack.tcp_poll_read(client, &context(), into)
            })
        };
        let first = read(&mut pipe, &mut into);
        whole += usize::from(into[..30_000] == pattern(30_000));
        // What came before a reset is read before it is told.
        let second = first.is_ready().then(|| read(&mut pipe, &mut into));
        if let Poll::Ready(Err(error)) = second.unwrap_or(first) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            struck += 1;
        }
        pipe.finish();
    }
    assert!(
        struck > 0 && whole > 20,
        "{struck} reset, {whole} with what was sent"
    );
}

/// A segment like `template`, with other flags, numbers near its own, and options of random bytes.
fn damaged(template: &[u8], rng: &mut Rng) -> Vec<u8> {
    let parsed = wire::parse(template).expect("hosts send sound packets");
    let options = rng.below(11) as usize * 4;
    let data = rng.below(2_000) as usize;
    let mut bytes = template[..40].to_vec();
    bytes.resize(40 + options, 0);
    bytes[40..]
        .iter_mut()
        .for_each(|byte| *byte = rng.below(12) as u8);
    bytes.resize(40 + options + data, 0x5a);
    tell_length(&mut bytes);
    let segment = &mut bytes[20..];
    let (first, len) = payload(template);
    let acknowledged = tcp::acknowledged(template, &parsed);
    for (at, number) in [(4, first.wrapping_add(len as u32)), (8, acknowledged)] {
        let spread = [1, 10, 3_000, 70_000, u32::MAX.into()][rng.below(5) as usize];
        let moved = number
            .wrapping_add(rng.below(spread) as u32)
            .wrapping_sub((spread / 2) as u32);
        segment[at..at + 4].copy_from_slice(&moved.to_be_bytes());
    }
    segment[12] = ((20 + options) as u8 / 4) << 4;
    segment[13] = match rng.below(3) {
        0 => rng.below(64) as u8,
        _ => tcp::ACK | (rng.below(2) as u8),
    };
    let window = rng.below(65_536) as u16;
    segment[14..16].copy_from_slice(&window.to_be_bytes());
    tcp::fill_checksum(segment, parsed.flow.src, parsed.flow.dst);
    bytes
}

#[test]
fn a_segment_says_what_it_is() {
    let mut pipe = Pipe::speaking(BOTH, 1);
    let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
    let kept = Arc::clone(&seen);
    pipe.tap = Box::new(move |from, bytes| {
        if from == SERVER {
            kept.lock().expect("one thread").push(flags(bytes));
        }
        false
    });
    download(&mut pipe, 2 * MSS);
    let said = seen.lock().expect("one thread").clone();
    assert_eq!(
        said,
        [
            tcp::SYN | tcp::ACK,
            tcp::ACK,
            tcp::ACK | tcp::PSH | tcp::FIN,
        ]
    );
}
