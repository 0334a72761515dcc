//! Two sessions joined without a network, and one against a peer that does what no peer should.

mod agreement;
mod collisions;
mod hostile;
mod life;
mod restarts;

use core::net::{Ipv4Addr, Ipv6Addr};
use std::collections::BTreeSet;

use anyedge_net::rng::{Rng, Seed};

use super::*;

const A: usize = 0;
const B: usize = 1;

/// Two speakers and what is between them: bytes take no time.
struct Peers {
    now: Instant,
    ends: [Session; 2],
    /// Open connections: each end's number of it.
    wires: Vec<[u32; 2]>,
    numbers: u32,
    /// Attempts go nowhere.
    is_cut: bool,
    /// Attempts of both are taken at once, so that they cross.
    crossing: Option<Vec<usize>>,
    events: [Vec<Event>; 2],
    sent: [usize; 2],
}

fn config(end: usize) -> Config {
    let ids = [[192, 0, 2, 1], [192, 0, 2, 2]];
    let ases = [65_001, 65_002];
    Config {
        passive: end == B,
        next_hop_v4: Some(ids[end].into()),
        next_hop_v6: Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, end as u16 + 1)),
        ..Config::new(ases[end], ids[end].into(), ases[1 - end])
    }
}

fn session(config: Config, end: usize) -> Session {
    Session::new(config, Seed(1).stream(["a", "b"][end], "bgp"))
}

fn offers(prefixes: &[&str]) -> BTreeMap<IpNet, Offer> {
    let offer = |text: &&str| (text.parse().expect("a prefix"), Offer::default());
    prefixes.iter().map(offer).collect()
}

impl Peers {
    fn new(a: Config, b: Config) -> Peers {
        Peers {
            now: Instant::ZERO,
            ends: [session(a, A), session(b, B)],
            wires: Vec::new(),
            numbers: 0,
            is_cut: false,
            crossing: None,
            events: [Vec::new(), Vec::new()],
            sent: [0, 0],
        }
    }

    /// Both started and established, the second listening.
    fn established() -> Peers {
        let mut peers = Peers::new(config(A), config(B));
        peers.start();
        peers.expect(State::Established);
        peers
    }

    fn start(&mut self) {
        for end in [B, A] {
            self.ends[end].start(self.now);
        }
        self.settle();
    }

    fn expect(&self, state: State) {
        let states = self.ends.each_ref().map(Session::state);
        assert_eq!(states, [state; 2], "{:?}", self.events);
    }

    /// Carries out what both want done, until neither wants anything.
    fn settle(&mut self) {
        loop {
            let mut is_quiet = true;
            for end in [A, B] {
                while let Some(output) = self.ends[end].poll(self.now) {
                    is_quiet = false;
                    self.carry_out(end, output);
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    fn carry_out(&mut self, end: usize, output: Output) {
        match output {
            Output::Event(event) => self.events[end].push(event),
            Output::Connect => match &mut self.crossing {
                Some(attempts) => attempts.push(end),
                None if self.is_cut => self.ends[end].handle_connect_failed(self.now),
                None => self.join(end),
            },
            Output::Send { connection, bytes } => {
                self.sent[end] += bytes.len();
                self.ends[end].handle_sent(self.now, connection, bytes.len());
                if let Some(wire) = self.wire(end, connection) {
                    let there = self.wires[wire][1 - end];
                    self.ends[1 - end].handle_bytes(self.now, there, &bytes);
                }
            }
            Output::Close { connection } => {
                if let Some(wire) = self.wire(end, connection) {
                    let [a, b] = self.wires.remove(wire);
                    self.ends[1 - end].handle_closed(self.now, [a, b][1 - end]);
                }
            }
        }
    }

    fn wire(&self, end: usize, connection: u32) -> Option<usize> {
        self.wires.iter().position(|wire| wire[end] == connection)
    }

    /// A connection that `end` opens.
    fn join(&mut self, end: usize) {
        self.numbers += 1;
        let number = self.numbers;
        self.wires.push([number; 2]);
        self.ends[1 - end].handle_connected(self.now, number, Side::Incoming);
        if self.wire(end, number).is_some() {
            self.ends[end].handle_connected(self.now, number, Side::Outgoing);
        }
    }

    /// All connections end without a word.
    fn break_wires(&mut self) {
        for [a, b] in core::mem::take(&mut self.wires) {
            self.ends[A].handle_closed(self.now, a);
            self.ends[B].handle_closed(self.now, b);
        }
        self.settle();
    }

    /// Lets time pass, deadline by deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let due = self.ends.iter().filter_map(Session::poll_timeout);
            match due.map(|deadline| deadline.at).min() {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
            for session in &mut self.ends {
                session.handle_timeout(self.now);
            }
            self.settle();
        }
        self.now = end;
    }

    fn want(&mut self, end: usize, prefixes: &[&str], drains: bool) {
        self.ends[end].want(&offers(prefixes), drains);
        self.settle();
    }

    /// Prefixes that `end` has been told.
    fn learned(&self, end: usize) -> BTreeSet<String> {
        let routes = self.ends[end].routes_in().iter();
        routes.map(|(prefix, _)| prefix.to_string()).collect()
    }

    fn expect_learned(&self, end: usize, prefixes: &[&str]) {
        let expected: BTreeSet<_> = prefixes.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(self.learned(end), expected, "{:?}", self.events[end]);
    }

    fn notified(&self, end: usize) -> Vec<Code> {
        let events = self.events[end].iter();
        let codes = events.filter_map(|event| match event {
            Event::NotificationReceived(notification) => Some(notification.code),
            _ => None,
        });
        codes.collect()
    }
}
