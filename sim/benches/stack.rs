//! What a host's transport costs: UDP echoes and TCP exchanges between two hosts, back to back.
//!
//! No links, no world: packets go straight from one stack into the other, so that the figures are the stacks'
//! own. Run with `cargo bench -p anyedge-sim --bench stack`; the times are of one thread.

#![allow(missing_docs, reason = "a binary")]
#![allow(clippy::print_stdout, reason = "its output is the result")]
#![allow(
    clippy::disallowed_methods,
    reason = "it measures real time, which decides nothing"
)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use anyedge_net::host::DatagramMeta;
use anyedge_net::packet::{Packet, Pool};
use anyedge_net::rng::Seed;
use anyedge_net::time::Instant;
use anyedge_sim::executor::{Executor, HostId};
use anyedge_sim::stack::{FlowId, FlowTimer, HostConfig, HostStack, Io, Outcome};

const CLIENT: usize = 0;
const SERVER: usize = 1;

struct Pair {
    hosts: [HostStack; 2],
    pool: Pool,
    now: Instant,
    out: Vec<Packet>,
    timers: Vec<(Instant, FlowTimer)>,
    due: BinaryHeap<Reverse<(Instant, usize, FlowTimer)>>,
    segments: u64,
}

impl Pair {
    fn new() -> Pair {
        let host = |name: &str, address: &str| {
            let address = address.parse().expect("a literal");
            HostStack::new(&HostConfig::new(name, vec![address], Seed(1)))
        };
        Pair {
            hosts: [host("client", "10.0.0.1"), host("server", "10.0.0.2")],
            pool: Pool::new(10_000),
            now: Instant::from_nanos(1),
            out: Vec::new(),
            timers: Vec::new(),
            due: BinaryHeap::new(),
            segments: 0,
        }
    }

    fn with<R>(&mut self, host: usize, f: impl FnOnce(&mut HostStack, &mut Io<'_>) -> R) -> R {
        let mut io = Io {
            now: self.now,
            pool: &mut self.pool,
            out: &mut self.out,
            timers: &mut self.timers,
        };
        let result = f(&mut self.hosts[host], &mut io);
        self.hosts[host].flush(&mut io);
        for (at, timer) in self.timers.drain(..) {
            self.due.push(Reverse((at, host, timer)));
        }
        result
    }

    /// Passes packets to and fro until both are silent.
    fn settle(&mut self, mut from: usize) {
        while !self.out.is_empty() {
            let mut packets = std::mem::take(&mut self.out);
            self.now += Duration::from_micros(10);
            while self
                .due
                .peek()
                .is_some_and(|Reverse((at, ..))| *at <= self.now)
            {
                let Some(Reverse((_, host, timer))) = self.due.pop() else {
                    break;
                };
                self.with(host, |stack, io| stack.handle_timer(timer, io));
            }
            for packet in packets.drain(..) {
                let to = 1 - from;
                let to_client = packet.bytes()[19] == 1;
                let to = if to_client { CLIENT } else { to.max(SERVER) };
                self.segments += 1;
                let outcome = self.with(to, |stack, io| stack.handle_packet(packet, io));
                assert_eq!(outcome, Outcome::Delivered);
            }
            from = 1 - from;
        }
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("a literal")
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn udp(payload: &[u8], rounds: u32) {
    let mut pair = Pair::new();
    let (tick, client) = pair.hosts[CLIENT]
        .udp_bind(addr("10.0.0.1:0"))
        .expect("free");
    let (echo, server) = pair.hosts[SERVER]
        .udp_bind(addr("10.0.0.2:7000"))
        .expect("free");
    let mut into = [0; 2_000];
    let start = std::time::Instant::now();
    for _ in 0..rounds {
        for (host, socket, peer, other, reader) in [
            (CLIENT, tick, server, SERVER, echo),
            (SERVER, echo, client, CLIENT, tick),
        ] {
            let meta = DatagramMeta::to(peer);
            pair.with(host, |stack, io| stack.udp_send(socket, payload, &meta, io))
                .expect("it fits");
            let packet = pair.out.pop().expect("it was sent");
            let outcome = pair.with(other, |stack, io| stack.handle_packet(packet, io));
            assert_eq!(outcome, Outcome::Delivered);
            let polled = pair.with(other, |stack, io| {
                stack.udp_poll_recv(reader, &context(), &mut into, io.pool)
            });
            assert!(matches!(polled, Poll::Ready(Ok((len, _))) if len == payload.len()));
        }
    }
    let nanos = start.elapsed().as_nanos() as f64 / f64::from(rounds);
    println!("udp echo of {} B: {nanos:.0} ns", payload.len());
}

fn read_some(pair: &mut Pair, host: usize, flow: FlowId, into: &mut [u8]) -> Option<usize> {
    match pair.with(host, |stack, _| stack.tcp_poll_read(flow, &context(), into)) {
        Poll::Ready(count) => Some(count.expect("nothing fails here")),
        Poll::Pending => None,
    }
}

fn tcp(rounds: u32) {
    let mut pair = Pair::new();
    let (listener, web) = pair.hosts[SERVER]
        .tcp_listen(addr("10.0.0.2:80"), 8)
        .expect("free");
    let (request, answer) = ([1; 1_000], [2; 10_000]);
    let mut into = [0; 16_384];
    let start = std::time::Instant::now();
    for _ in 0..rounds {
        let client = pair
            .with(CLIENT, |stack, io| stack.tcp_connect(None, web, io.now))
            .expect("free");
        pair.settle(CLIENT);
        let Poll::Ready(Ok(server)) = pair.hosts[SERVER].tcp_poll_accept(listener, &context())
        else {
            panic!("the handshake is complete");
        };
        let write = |stack: &mut HostStack, io: &mut Io<'_>| {
            stack.tcp_poll_write(client, &context(), &request, io.now)
        };
        assert!(pair.with(CLIENT, write).is_ready());
        pair.settle(CLIENT);
        assert_eq!(read_some(&mut pair, SERVER, server, &mut into), Some(1_000));
        let write = |stack: &mut HostStack, io: &mut Io<'_>| {
            stack.tcp_poll_write(server, &context(), &answer, io.now)
        };
        assert!(pair.with(SERVER, write).is_ready());
        pair.with(SERVER, |stack, io| stack.tcp_release(server, io.now, false));
        let mut total = 0;
        loop {
            match read_some(&mut pair, CLIENT, client, &mut into) {
                Some(0) => break,
                Some(count) => total += count,
                None if !pair.out.is_empty() => pair.settle(SERVER),
                None => {
                    let Some(Reverse((at, host, timer))) = pair.due.pop() else {
                        panic!("stuck")
                    };
                    pair.now = pair.now.max(at);
                    pair.with(host, |stack, io| stack.handle_timer(timer, io));
                }
            }
        }
        assert_eq!(total, 10_000);
        pair.with(CLIENT, |stack, io| stack.tcp_release(client, io.now, false));
        pair.settle(CLIENT);
        // Beyond delayed acknowledgements, so that ports and TIME-WAIT records do not pile up.
        pair.now += Duration::from_millis(20);
    }
    let seconds = start.elapsed().as_secs_f64();
    let segments = pair.segments as f64 / f64::from(rounds);
    println!(
        "tcp exchange of 1 KB and 10 KB: {:.0} per second, {segments:.1} segments, {:.0} ns per segment",
        f64::from(rounds) / seconds,
        seconds * 1e9 / pair.segments as f64,
    );
}

/// Tasks that each wake the next one, and themselves.
fn executor(polls: u64) {
    let mut executor = Executor::new();
    for _ in 0..64 {
        let mut left = polls / 64;
        executor.handle().spawn(
            HostId(0),
            std::future::poll_fn(move |context| {
                if left == 0 {
                    return Poll::Ready(());
                }
                left -= 1;
                context.waker().wake_by_ref();
                Poll::Pending
            }),
        );
    }
    let start = std::time::Instant::now();
    let polled = executor.run_ready();
    println!(
        "executor: {:.1} ns per wake and poll",
        start.elapsed().as_nanos() as f64 / polled as f64
    );
}

fn main() {
    for payload in [16, 1_000] {
        udp(&vec![7; payload], 500_000);
    }
    tcp(50_000);
    executor(20_000_000);
}
