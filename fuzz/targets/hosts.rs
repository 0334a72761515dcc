//! A simulated host that speaks the Linux-like TCP: any packets, segments at and around its connections' windows, what its services
//! call, and time. What leaves is a packet of the host with a right checksum, no timer is due at once or without end, and when
//! the host is gone no slot is missing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::{Address, Family};
use anyedge_net::packet::{Meta, Pool};
use anyedge_net::port::PortId;
use anyedge_net::rng::Seed;
use anyedge_net::time::Instant;
use anyedge_net::wire::ip::Header;
use anyedge_net::wire::{self, ip, ipv4, tcp};
use anyedge_sim::stack::{FlowId, FlowTimer, HostConfig, HostStack, Io, ListenerId};
use anyedge_topologies::TcpStack;

use crate::input::Input;
use crate::sealing::{is_sound, seal};

/// Things that happen in one input.
const STEPS_MAX: usize = 256;
/// Timers that ring while an input lets time pass: a connection has a few, and the shortest is of milliseconds.
const RINGS_MAX: usize = 20_000;
const FLOWS_MAX: usize = 8;
const MTU: usize = 1_500;
const HOST: [u8; 4] = [10, 0, 0, 2];
const PEER: [u8; 4] = [10, 0, 0, 1];
const WEB: u16 = 80;
/// What a header has room for (RFC 9293 §3.1).
const OPTIONS_LEN_MAX: usize = 40;

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut bench = Bench::new();
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        match input.byte() % 8 {
            0 => bench.take_any(&mut input),
            1..=4 => bench.take_segment(&mut input),
            5 => bench.pass(Duration::from_millis(input.byte().into())),
            6 => bench.pass(Duration::from_secs(input.byte().into())),
            _ => bench.call(&mut input),
        }
    }
    bench.finish();
}

/// What the host said last of a connection, by which the next segment of its peer is in step.
#[derive(Clone, Copy)]
struct Spoken {
    own_port: u16,
    peer_port: u16,
    /// The number behind its last byte, and the one that it waits for.
    next: u32,
    awaits: u32,
}

struct Bench {
    host: HostStack,
    pool: Pool,
    now: Instant,
    timers: BTreeMap<(Instant, u64), FlowTimer>,
    armed: u64,
    listener: ListenerId,
    flows: Vec<FlowId>,
    spoken: Option<Spoken>,
}

impl Bench {
    fn new() -> Bench {
        let addresses = ["10.0.0.2", "2001:db8::2"].map(|text| text.parse().expect("a literal"));
        let mut host = HostStack::new(&HostConfig {
            tcp: TcpStack::LinuxLike,
            flows_max: FLOWS_MAX,
            ..HostConfig::new("host", addresses.to_vec(), Seed(1))
        });
        let any = |port| SocketAddr::from(([0, 0, 0, 0], port));
        let (listener, _) = host.tcp_listen(any(WEB), 4).expect("the port is free");
        host.udp_bind(any(7_000)).expect("the port is free");
        Bench {
            host,
            pool: Pool::new(4_096),
            now: Instant::from_nanos(1_000_000),
            timers: BTreeMap::new(),
            armed: 0,
            listener,
            flows: Vec::new(),
            spoken: None,
        }
    }

    /// Acts on the host, and looks at what leaves.
    fn with<R>(&mut self, act: impl FnOnce(&mut HostStack, &mut Io<'_>) -> R) -> R {
        let (mut out, mut timers) = (Vec::new(), Vec::new());
        let mut io = Io {
            now: self.now,
            pool: &mut self.pool,
            out: &mut out,
            timers: &mut timers,
        };
        let result = act(&mut self.host, &mut io);
        self.host.flush(&mut io);
        assert!(!self.host.needs_flush());
        self.host.ended().clear();
        for packet in out {
            self.spoken = said(packet.bytes()).or(self.spoken);
            self.pool.take_back(packet);
        }
        for (at, timer) in timers {
            assert!(at > self.now, "time must pass before a timer");
            self.armed += 1;
            self.timers.insert((at, self.armed), timer);
        }
        result
    }

    fn take(&mut self, bytes: &[u8]) {
        let Some(packet) = self.pool.lend_copy(bytes, Meta::plain(PortId::LOCAL)) else {
            return;
        };
        let _ = self.with(|host, io| host.handle_packet(packet, io));
    }

    fn take_any(&mut self, input: &mut Input<'_>) {
        let choice = input.byte();
        let mut bytes = input.counted().to_vec();
        seal(&mut bytes, choice);
        self.take(&bytes);
    }

    /// A segment of the connection that the host spoke of last, its numbers as far beside those that would be right as the input
    /// says; or to its port 80.
    fn take_segment(&mut self, input: &mut Input<'_>) {
        let [flags, kind, options_len] = input.take();
        let scale = [0, 1, 1_448, 65_536][usize::from(kind & 3)];
        let mut beside = || i32::from(input.u16() as i16).wrapping_mul(scale) as u32;
        let (seq, ack) = (beside(), beside());
        let (window, payload_len) = (input.u16(), usize::from(input.u16()) % 1_461);
        let spoken = self.spoken.filter(|_| kind & 4 == 0).unwrap_or(Spoken {
            own_port: WEB,
            peer_port: 1_024 + u16::from(options_len >> 6),
            next: 0,
            awaits: 1,
        });
        let mut options = sacked(spoken.next, kind >> 3 & 3, input);
        let room = OPTIONS_LEN_MAX - options.len();
        options.extend_from_slice(input.slice(usize::from(options_len & 63).min(room)));
        options.resize(options.len().next_multiple_of(4), 0);
        let header_len = tcp::HEADER_LEN + options.len();
        let mut bytes = vec![0; ipv4::HEADER_LEN + header_len + payload_len];
        let (src, dst) = (Address::v4(PEER), Address::v4(HOST));
        Header {
            src,
            dst,
            protocol: tcp::PROTOCOL,
            ttl: 64,
            tos: kind >> 6,
            payload_len: header_len + payload_len,
        }
        .write(&mut bytes);
        let segment = &mut bytes[ipv4::HEADER_LEN..];
        segment[..2].copy_from_slice(&spoken.peer_port.to_be_bytes());
        segment[2..4].copy_from_slice(&spoken.own_port.to_be_bytes());
        segment[4..8].copy_from_slice(&spoken.awaits.wrapping_add(seq).to_be_bytes());
        segment[8..12].copy_from_slice(&spoken.next.wrapping_add(ack).to_be_bytes());
        segment[12] = (header_len / 4 * 16) as u8;
        segment[13] = flags;
        segment[14..16].copy_from_slice(&window.to_be_bytes());
        segment[tcp::HEADER_LEN..header_len].copy_from_slice(&options);
        tcp::fill_checksum(segment, src, dst);
        self.take(&bytes);
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut rings = 0;
        while let Some((&(at, number), _)) = self.timers.first_key_value()
            && at <= until
        {
            let timer = self.timers.remove(&(at, number)).expect("it is the first");
            self.now = at;
            self.with(|host, io| host.handle_timer(timer, io));
            rings += 1;
            assert!(rings < RINGS_MAX, "timers ring without end");
        }
        self.now = until;
    }

    fn call(&mut self, input: &mut Input<'_>) {
        let [what, which] = input.take();
        let context = Context::from_waker(Waker::noop());
        if what.is_multiple_of(8) {
            let listener = self.listener;
            let accepted = self.with(|host, _| host.tcp_poll_accept(listener, &context));
            if let Poll::Ready(flow) = accepted {
                self.flows.push(flow.expect("it listens"));
            }
            return;
        }
        if what % 8 == 1 {
            let to = SocketAddr::from((PEER, 5_000 + u16::from(which)));
            let called = self.with(|host, io| host.tcp_connect(None, to, io.now));
            return self.flows.extend(called);
        }
        if self.flows.is_empty() {
            return;
        }
        let place = usize::from(which) % self.flows.len();
        let flow = self.flows[place];
        let mut into = [0; 4_096];
        self.with(|host, io| match what % 8 {
            2 => drop(host.tcp_poll_read(flow, &context, &mut into)),
            3 | 4 => drop(host.tcp_poll_write(flow, &context, &into, io.now)),
            5 => drop(host.tcp_close(flow, io.now)),
            6 => drop(host.tcp_poll_connect(flow, &context)),
            _ => host.tcp_release(flow, io.now, which & 0x80 != 0),
        });
        if what % 8 == 7 {
            self.flows.swap_remove(place);
        }
    }

    fn finish(mut self) {
        self.host.crash(DropReason::RunEnded, &mut self.pool);
        assert_eq!(self.pool.loaned(), 0, "slots are missing");
    }
}

/// A SACK option (RFC 2018) of so many blocks, which lie before `next`; none of none.
fn sacked(next: u32, blocks: u8, input: &mut Input<'_>) -> Vec<u8> {
    let mut option = Vec::new();
    if blocks > 0 {
        option.extend([1, 1, 5, 2 + 8 * blocks]);
    }
    for _ in 0..2 * blocks {
        let before = u32::from(input.u16());
        option.extend(next.wrapping_sub(before).to_be_bytes());
    }
    option
}

/// What a packet of the host says of a connection of IPv4, if it is a segment of one.
fn said(bytes: &[u8]) -> Option<Spoken> {
    assert!(bytes.len() <= MTU, "{} bytes", bytes.len());
    let parsed = wire::parse(bytes).expect("a host sends packets");
    assert_ne!(is_sound(bytes, &parsed), Some(false), "{parsed:?}");
    let source = ip::source(bytes).expect("it is a packet");
    if source.family() == Family::V4 {
        assert_eq!(source, Address::v4(HOST), "it is the host's");
    }
    let payload = tcp::payload(bytes, &parsed)?;
    let flow = parsed.flow;
    if flow.protocol != tcp::PROTOCOL || parsed.family != Family::V4 {
        return None;
    }
    let flags = parsed.l4(bytes)[13];
    let has = |flag: u8| u32::from(flags & flag != 0);
    let len = payload.len() as u32 + has(tcp::SYN) + has(tcp::FIN);
    Some(Spoken {
        own_port: flow.src_port,
        peer_port: flow.dst_port,
        next: tcp::sequence(bytes, &parsed).wrapping_add(len),
        awaits: tcp::acknowledged(bytes, &parsed),
    })
}
