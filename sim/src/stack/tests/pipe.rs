//! The wire between two hosts: a constant delay, seeded loss, and a tap that may swallow packets.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::packet::{Packet, Pool};
use anyedge_net::port::PortId;
use anyedge_net::rng::{Rng, Seed};
use anyedge_net::time::Instant;
use anyedge_topologies::TcpStack;

use super::super::{FlowId, FlowTimer, HostConfig, HostStack, Io, ListenerId, Outcome};

/// The client's position.
pub(super) const CLIENT: usize = 0;
/// The server's position.
pub(super) const SERVER: usize = 1;
/// Where the server listens.
pub(super) const WEB: &str = "10.0.0.2:80";

/// Swallows a packet of the given sender when it says so.
type Tap = Box<dyn FnMut(usize, &[u8]) -> bool>;

/// Changes a packet of the given sender.
type Edit = Box<dyn FnMut(usize, &mut Packet)>;

enum Event {
    Packet(usize, Packet),
    Timer(usize, FlowTimer),
}

pub(super) struct Pipe {
    pub(super) now: Instant,
    pub(super) hosts: [HostStack; 2],
    pub(super) pool: Pool,
    pub(super) delay: Duration,
    pub(super) loss_ppm: u32,
    /// Swallows a packet of the given sender when it says so.
    pub(super) tap: Tap,
    /// Changes a packet of the given sender on its way.
    pub(super) edit: Edit,
    /// A digest over the times and bytes of all deliveries.
    pub(super) digest: u64,
    pub(super) delivered: u64,
    pub(super) drops: Vec<DropReason>,
    /// Fragments that wait at a host.
    pub(super) held: usize,
    rng: Rng,
    queue: BTreeMap<(Instant, u64), Event>,
    scheduled: u64,
}

pub(super) fn config(position: usize, seed: u64) -> HostConfig {
    let addresses = match position {
        CLIENT => ["10.0.0.1", "2001:db8::1"],
        _ => ["10.0.0.2", "2001:db8::2"],
    };
    let addresses = addresses
        .iter()
        .map(|text| text.parse().expect("a literal"))
        .collect();
    HostConfig::new(format!("host-{position}"), addresses, Seed(seed))
}

/// Both hosts, speaking these.
pub(super) fn configs(tcp: [TcpStack; 2], seed: u64) -> [HostConfig; 2] {
    [CLIENT, SERVER].map(|position| HostConfig {
        tcp: tcp[position],
        ..config(position, seed)
    })
}

pub(super) fn addr(text: &str) -> SocketAddr {
    text.parse().expect("a literal")
}

pub(super) fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl Pipe {
    pub(super) fn new(seed: u64) -> Pipe {
        Pipe::of([config(CLIENT, seed), config(SERVER, seed)])
    }

    /// Between hosts that speak these.
    pub(super) fn speaking(tcp: [TcpStack; 2], seed: u64) -> Pipe {
        Pipe::of(configs(tcp, seed))
    }

    pub(super) fn of(configs: [HostConfig; 2]) -> Pipe {
        let mut pool = Pool::new(100_000);
        // Slots come with whatever they held: nothing of it may reach the wire.
        let dirty: Vec<_> = (0..64)
            .map(|_| {
                let bytes = [0xaa; 1_600];
                pool.lend_copy(&bytes, anyedge_net::packet::Meta::plain(PortId::LOCAL))
                    .expect("the pool is fresh")
            })
            .collect();
        dirty.into_iter().for_each(|packet| pool.take_back(packet));
        Pipe {
            now: Instant::from_nanos(1_000_000),
            rng: configs[0].seed.stream("pipe", "loss"),
            hosts: configs.map(|config| HostStack::new(&config)),
            pool,
            delay: Duration::from_millis(10),
            loss_ppm: 0,
            tap: Box::new(|_, _| false),
            edit: Box::new(|_, _| {}),
            digest: 0,
            delivered: 0,
            drops: Vec::new(),
            held: 0,
            queue: BTreeMap::new(),
            scheduled: 0,
        }
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.scheduled += 1;
        self.queue.insert((at, self.scheduled), event);
    }

    /// Works on one host, flushes it, and sends on what it sent.
    pub(super) fn with<R>(
        &mut self,
        host: usize,
        f: impl FnOnce(&mut HostStack, &mut Io<'_>) -> R,
    ) -> R {
        let (mut out, mut timers) = (Vec::new(), Vec::new());
        let mut io = Io {
            now: self.now,
            pool: &mut self.pool,
            out: &mut out,
            timers: &mut timers,
        };
        let result = f(&mut self.hosts[host], &mut io);
        self.hosts[host].flush(&mut io);
        assert!(!self.hosts[host].needs_flush());
        for mut packet in out {
            (self.edit)(host, &mut packet);
            let lost = (self.tap)(host, packet.bytes()) || self.rng.one_in_ppm(self.loss_ppm);
            if lost {
                self.pool.take_back(packet);
            } else {
                self.schedule(self.now + self.delay, Event::Packet(1 - host, packet));
            }
        }
        for (at, timer) in timers {
            assert!(at > self.now, "time must pass before a timer");
            self.schedule(at, Event::Timer(host, timer));
        }
        result
    }

    /// The next event; false when there is none.
    pub(super) fn step(&mut self) -> bool {
        let Some(((at, _), event)) = self.queue.pop_first() else {
            return false;
        };
        self.now = at;
        match event {
            Event::Timer(host, timer) => self.with(host, |stack, io| stack.handle_timer(timer, io)),
            Event::Packet(host, packet) => self.deliver(host, packet),
        }
        true
    }

    pub(super) fn deliver(&mut self, host: usize, packet: Packet) {
        self.delivered += 1;
        for byte in self
            .now
            .as_nanos()
            .to_le_bytes()
            .iter()
            .chain(packet.bytes())
        {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        match self.with(host, |stack, io| stack.handle_packet(packet, io)) {
            Outcome::Delivered => {}
            Outcome::Held => self.held += 1,
            Outcome::Dropped(reason) => self.drops.push(reason),
        }
        for outcome in self.hosts[host].ended().drain(..) {
            self.held -= 1;
            if let Outcome::Dropped(reason) = outcome {
                self.drops.push(reason);
            }
        }
    }

    /// Lets time pass.
    pub(super) fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self
            .queue
            .first_key_value()
            .is_some_and(|((at, _), _)| *at <= until)
        {
            self.step();
        }
        self.now = until;
    }

    /// Lets things happen until `poll` is ready.
    pub(super) fn wait<R>(&mut self, mut poll: impl FnMut(&mut Pipe) -> Poll<R>) -> R {
        loop {
            if let Poll::Ready(result) = poll(self) {
                return result;
            }
            assert!(self.step(), "nothing is left to happen");
        }
    }

    pub(super) fn listen(&mut self, backlog: usize) -> ListenerId {
        let (id, local) = self.hosts[SERVER]
            .tcp_listen(addr(WEB), backlog)
            .expect("the port is free");
        assert_eq!(local, addr(WEB));
        id
    }

    pub(super) fn connect(&mut self) -> FlowId {
        self.connect_to(addr(WEB)).expect("ports are free")
    }

    pub(super) fn connect_to(&mut self, remote: SocketAddr) -> io::Result<FlowId> {
        self.with(CLIENT, |stack, io| stack.tcp_connect(None, remote, io.now))
    }

    pub(super) fn connected(&mut self, flow: FlowId) -> io::Result<()> {
        self.wait(|pipe| pipe.hosts[CLIENT].tcp_poll_connect(flow, &context()))
    }

    pub(super) fn accept(&mut self, listener: ListenerId) -> FlowId {
        self.wait(|pipe| pipe.hosts[SERVER].tcp_poll_accept(listener, &context()))
            .expect("it listens")
    }

    /// A connection between the hosts, client's end first.
    pub(super) fn establish(&mut self) -> [FlowId; 2] {
        let listener = self.listen(8);
        let client = self.connect();
        self.connected(client).expect("the server listens");
        [client, self.accept(listener)]
    }

    pub(super) fn write(&mut self, host: usize, flow: FlowId, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let count = self.wait(|pipe| {
                pipe.with(host, |stack, io| {
                    stack.tcp_poll_write(flow, &context(), data, io.now)
                })
            })?;
            data = &data[count..];
        }
        Ok(())
    }

    pub(super) fn read(&mut self, host: usize, flow: FlowId) -> io::Result<Vec<u8>> {
        let mut into = [0; 4_000];
        let count = self.wait(|pipe| {
            pipe.with(host, |stack, _| {
                stack.tcp_poll_read(flow, &context(), &mut into)
            })
        })?;
        Ok(into[..count].to_vec())
    }

    pub(super) fn read_to_end(&mut self, host: usize, flow: FlowId) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            match self.read(host, flow)? {
                part if part.is_empty() => return Ok(all),
                part => all.extend(part),
            }
        }
    }

    pub(super) fn close(&mut self, host: usize, flow: FlowId) -> io::Result<()> {
        self.with(host, |stack, io| stack.tcp_close(flow, io.now))
    }

    pub(super) fn release(&mut self, host: usize, flow: FlowId) {
        self.with(host, |stack, io| stack.tcp_release(flow, io.now, false));
    }

    pub(super) fn abort(&mut self, host: usize, flow: FlowId) {
        self.with(host, |stack, io| stack.tcp_release(flow, io.now, true));
    }

    /// Ends the run: every slot is back.
    pub(super) fn finish(mut self) {
        for (_, event) in std::mem::take(&mut self.queue) {
            if let Event::Packet(_, packet) = event {
                self.pool.take_back(packet);
            }
        }
        for host in &mut self.hosts {
            host.crash(DropReason::RunEnded, &mut self.pool);
        }
        assert_eq!(self.pool.loaned(), 0, "slots are missing");
    }
}

/// `count` bytes in which every position differs from its neighbours.
pub(super) fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 31 + at / 251) as u8).collect()
}
