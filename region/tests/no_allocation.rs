//! The forwarders ask for no memory: a million packets with GRE through CLB node and vSwitch and back, with
//! flows that begin, flows that end, and packets of no flow, under an allocator that counts.
//!
//! Alone in its binary, since the count is the process's.

use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::Event;
use anyedge_net::flow::{Family, FlowKey};
use anyedge_net::forwarder::{BATCH_MAX, Forwarder};
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::ledger::Ledger;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::{Meta, Packet, Pool};
use anyedge_net::port::{PortId, PortKind};
use anyedge_net::rng::Seed;
use anyedge_net::route_table::{HealthCheck, Security};
use anyedge_net::security_group::{Direction, Filter, Precedence, Rule};
use anyedge_net::slot;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::toa::Toa;
use anyedge_net::wire::{tcp, udp};
use anyedge_region::{ClbNode, Limits, VSwitch};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[path = "../src/testbed.rs"]
#[allow(dead_code, reason = "the testbed serves other tests as well")]
mod testbed;
use testbed::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Clients, of which each round gives the next a packet: a flow's packets come 4,000 apart.
const CLIENTS: usize = 4_000;

/// The two nodes, the outbox that both put packets in, and what came of them.
struct Chain {
    clb_node: ClbNode,
    vswitch: VSwitch,
    out: Outbox,
    batch: Vec<Packet>,
    ledgers: [Ledger; 2],
    now: Instant,
    opened: u64,
    closed: u64,
}

impl Chain {
    /// With or without checks of the targets of TCP listeners; with or without security groups, persistence and TOA.
    fn new(checked: bool, ruled: bool) -> Chain {
        let limits = Limits::of(8_192);
        let mut chain = Chain {
            clb_node: ClbNode::new(CLB_NODE_NAME, limits, Seed(7)),
            vswitch: VSwitch::new(WEB_1_NAME, limits, Seed(7)),
            out: Outbox::new(Pool::new(256)),
            batch: Vec::with_capacity(BATCH_MAX),
            ledgers: [Ledger::default(), Ledger::default()],
            now: Instant::from_nanos(1),
            opened: 0,
            closed: 0,
        };
        let mut table = routes();
        for listener in &mut table.clbs[0].listeners {
            Arc::make_mut(listener).targets = targets([10, 0]);
            if checked && listener.protocol == tcp::PROTOCOL {
                Arc::make_mut(listener).health = Some(HealthCheck::default());
            }
            if listener.protocol == udp::PROTOCOL {
                Arc::make_mut(listener).scheduler = maglev(&targets([10, 0]));
            } else if ruled {
                let listener = Arc::make_mut(listener);
                listener.session_expire = Some(Duration::from_secs(60));
                listener.source.toa = Some(Toa::Kind254);
            }
        }
        if ruled {
            let rules = ["198.18.0.0/15+80 drop", "any allow"];
            let rules = rules.map(|text| Rule::parse(Direction::Ingress, text).expect("a rule"));
            let filter = Arc::new(Filter::compile(&[&rules], Precedence::First));
            table.clbs[0].security.filter = Some(Arc::clone(&filter));
            let security = Security {
                hosts: [(WEB_1, filter)].into(),
                flush_on_change: false,
            };
            table.security = security.into();
        }
        let table = Arc::new(table);
        chain.ledgers[0].apply(
            &mut chain.clb_node,
            chain.now,
            Arc::clone(&table),
            &mut chain.out,
        );
        chain.ledgers[1].apply(&mut chain.vswitch, chain.now, table, &mut chain.out);
        chain
    }

    fn lend(&mut self, bytes: &[u8]) {
        let meta = tunnel(FROM_TOKYO, TOKYO);
        self.batch.push(
            self.out
                .pool_mut()
                .lend_copy(bytes, meta)
                .expect("a slot is free"),
        );
    }

    /// Sends the batch through both nodes to the backend, and the backend's answers back.
    fn run(&mut self) {
        self.clb_node_takes();
        self.deliver();
    }

    /// Brings what the CLB node sent to the backend, and the answers back.
    fn deliver(&mut self) {
        self.take_for(Some(WEB_1), |packet| {
            packet.meta = tunnel(TO_WEB_1, CLB_NODE)
        });
        self.vswitch_takes();
        self.take_for(None, answer);
        self.vswitch_takes();
        self.take_for(Some(CLB_NODE), |packet| {
            packet.meta = tunnel(TO_WEB_1, WEB_1)
        });
        self.clb_node_takes();
        self.take_for(Some(WEB_1), |packet| {
            packet.meta = tunnel(TO_WEB_1, CLB_NODE)
        });
        // What the clients get goes to tokyo; the resets that end checks go to the backend, which says no more.
        if !self.batch.is_empty() {
            self.vswitch_takes();
            while let Some(packet) = self.out.sent_mut().pop() {
                self.out.pool_mut().take_back(packet);
            }
        }
    }

    fn clb_node_takes(&mut self) {
        self.ledgers[0].packets(&mut self.clb_node, self.now, &mut self.batch, &mut self.out);
    }

    fn vswitch_takes(&mut self) {
        self.ledgers[1].packets(&mut self.vswitch, self.now, &mut self.batch, &mut self.out);
    }

    /// Makes the next batch of what was sent to `peer`, or without a tunnel; the rest has arrived.
    fn take_for(&mut self, peer: Option<NodeId>, change: impl Fn(&mut Packet)) {
        while let Some(mut packet) = self.out.sent_mut().pop() {
            if packet.meta.peer == peer.unwrap_or(NodeId::UNKNOWN) {
                change(&mut packet);
                self.batch.push(packet);
            } else {
                assert_eq!(packet.meta.port.kind(), Some(PortKind::Tunnel));
                self.out.pool_mut().take_back(packet);
            }
        }
        for event in self.out.events_mut().drain(..) {
            match event {
                Event::FlowOpened { .. } => self.opened += 1,
                Event::FlowClosed { .. } => self.closed += 1,
                _ => {}
            }
        }
    }

    fn pass(&mut self, duration: Duration) {
        self.now += duration;
        while self
            .clb_node
            .poll_timeout()
            .is_some_and(|deadline| deadline.at <= self.now)
        {
            self.ledgers[0].timeout(&mut self.clb_node, self.now, &mut self.out);
        }
        while self
            .vswitch
            .poll_timeout()
            .is_some_and(|deadline| deadline.at <= self.now)
        {
            self.ledgers[1].timeout(&mut self.vswitch, self.now, &mut self.out);
        }
        self.deliver();
    }

    fn packets(&self) -> u64 {
        self.ledgers.iter().map(|ledger| ledger.received).sum()
    }
}

fn tunnel(path: PathId, peer: NodeId) -> Meta {
    Meta {
        peer,
        ..Meta::plain(PortId::tunnel(path))
    }
}

/// Turns a packet into what a backend might answer, in place. Checksums survive the exchange of two ends;
/// that of TCP is not right after the flags change, which no forwarder looks at.
fn answer(packet: &mut Packet) {
    packet.meta = Meta::plain(PortId::BACKEND);
    let bytes = packet.bytes_mut();
    let (at, len, l4) = if bytes[0] >> 4 == 4 {
        (12, 4, 20)
    } else {
        (8, 16, 40)
    };
    let (source, destination) = bytes[at..at + 2 * len].split_at_mut(len);
    source.swap_with_slice(destination);
    let (source, destination) = bytes[l4..l4 + 4].split_at_mut(2);
    source.swap_with_slice(destination);
    let is_syn = bytes.get(l4 + 13).is_some_and(|flags| *flags == tcp::SYN);
    if is_syn {
        bytes[l4 + 13] |= tcp::ACK;
        let numbers = bytes[l4 + 4..l4 + 12].first_chunk().expect("eight bytes");
        let next = (u64::from_be_bytes(*numbers) >> 32) as u32 + 1;
        bytes[l4 + 8..l4 + 12].copy_from_slice(&next.to_be_bytes());
    }
}

/// The packets of every client, one list for each step of a flow's life: SYN, ACK, FIN or silence, a stray.
fn scripts() -> Vec<[Vec<u8>; 4]> {
    let script = |number: usize| {
        let family = if number.is_multiple_of(3) {
            Family::V6
        } else {
            Family::V4
        };
        let number = number as u32;
        let wrap = |flow: FlowKey, packet: Vec<u8>| {
            let key = GreKey::new(MAIN.0, false, slot::of_hash(flow.hash(&HASH_KEY)));
            tunnelled(&packet, key)
        };
        let tick = client_flow(family, udp::PROTOCOL, 7_000, number);
        if number.is_multiple_of(5) {
            return core::array::from_fn(|_| wrap(tick, datagram(tick, b"tick")));
        }
        let web = client_flow(family, tcp::PROTOCOL, 80, number);
        let last = if number.is_multiple_of(2) {
            tcp::FIN | tcp::ACK
        } else {
            tcp::RST
        };
        let stray = client_flow(family, tcp::PROTOCOL, 80, number + 100_000);
        [
            wrap(
                web,
                Segment {
                    mss: Some(1_460),
                    ..Segment::new(web, tcp::SYN)
                }
                .packet(),
            ),
            wrap(web, segment(web, tcp::ACK)),
            wrap(web, segment(web, last)),
            wrap(stray, segment(stray, tcp::ACK)),
        ]
    };
    (0..CLIENTS).map(script).collect()
}

/// One step of every client's life.
fn step(chain: &mut Chain, scripts: &[[Vec<u8>; 4]], step: usize) {
    for clients in scripts.chunks(BATCH_MAX) {
        for script in clients {
            chain.lend(&script[step % 4]);
        }
        chain.run();
        chain.pass(Duration::from_millis(40));
    }
    if step % 4 == 3 {
        chain.pass(Duration::from_secs(130));
    }
}

#[test]
fn a_million_packets_ask_for_no_memory_with_checks_of_targets_and_without_and_with_all_rules() {
    assert_eq!(a_million_packets(false, false), 0);
    for ruled in [false, true] {
        let answers = a_million_packets(true, ruled);
        assert!(answers > 200, "checks were answered: {answers}");
    }
}

/// Returns how many checks were answered.
fn a_million_packets(checked: bool, ruled: bool) -> u64 {
    let scripts = scripts();
    let mut chain = Chain::new(checked, ruled);
    for round in 0..8 {
        step(&mut chain, &scripts, round);
    }
    let (packets, opened, closed) = (chain.packets(), chain.opened, chain.closed);
    let region = Region::new(ALLOCATOR);
    let mut round = 8;
    while chain.packets() < packets + 1_000_000 {
        step(&mut chain, &scripts, round);
        round += 1;
    }
    let change = region.change();
    assert_eq!(
        (
            change.allocations,
            change.reallocations,
            change.bytes_allocated
        ),
        (0, 0, 0)
    );

    // It was the mixture that it claims to be.
    assert!(chain.opened - opened > 50_000 && chain.closed - closed > 50_000);
    assert!(chain.ledgers[0].dropped.of(DropReason::NoFlow) > 50_000);
    assert!(chain.ledgers[0].originated > 1_000);
    assert_eq!(
        chain.ledgers[1].dropped.total(),
        0,
        "the vSwitch passes all that the CLB node passes"
    );
    assert_eq!(chain.out.pool().loaned(), 0);
    chain.ledgers[0].dropped.of(DropReason::HealthCheck)
}
