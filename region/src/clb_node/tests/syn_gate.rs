//! The SYN gate: what shuts it, how a client gets through, and a whole flood in virtual time.

use std::collections::{BTreeMap, VecDeque};

use anyedge_net::forwarder::BATCH_MAX;
use anyedge_net::rng::Rng;
use anyedge_net::time::Instant;

use super::*;
use crate::clb_node::{HALF_OPEN_MIN, PROVED_FOR, SHUT_MIN};

/// Flows that the node of these tests holds: so few that the floor of the gate's limits is what counts.
const FLOWS_MAX: usize = 2_000;

fn small(syn_gate: bool) -> Stage<ClbNode> {
    let mut table = routes();
    table.mechanisms.syn_gate = syn_gate;
    let limits = Limits::of(FLOWS_MAX);
    Stage::new(ClbNode::new(CLB_NODE_NAME, limits, Seed(7)), table)
}

fn gate(shut: bool) -> Event {
    Event::SynGate {
        clb: MAIN,
        listener: 0,
        shut,
    }
}

impl Stage<ClbNode> {
    /// Strangers' SYNs until the gate of `web` shuts; how many it took.
    fn flood(&mut self) -> u32 {
        for number in 0..FLOWS_MAX as u32 {
            let outcome = self.say(web_flow(1_000_000 + number), tcp::SYN);
            outcome.only_sent();
            if outcome.events.contains(&gate(true)) {
                return number + 1;
            }
        }
        panic!("the gate never shut");
    }

    /// A SYN is refused at the gate; the acknowledgement number of the SYN-ACK that answers it.
    fn challenged(&mut self, flow: FlowKey, sequence: u32) -> u32 {
        let syn = Segment {
            sequence,
            ..Segment::new(flow, tcp::SYN)
        }
        .packet();
        let outcome = self.client_sends(&flow, &syn);
        let (meta, bytes) = outcome.told(DropReason::SynGate);
        assert_eq!((meta.port, meta.peer), (PortId::tunnel(FROM_TOKYO), TOKYO));
        let (key, inner) = untunnelled(bytes);
        assert_eq!(key, key_of(&flow));
        acknowledged(&flow, inner)
    }

    /// The client answers a challenge as RFC 9293 §3.10.7.3 says.
    fn prove(&mut self, flow: FlowKey, cookie: u32) -> Outcome {
        let reset = Segment {
            sequence: cookie,
            acknowledgement: 0,
            ..Segment::new(flow, tcp::RST)
        };
        self.client_sends(&flow, &reset.packet())
    }
}

/// The acknowledgement number of a challenge to the client of `flow`.
fn acknowledged(flow: &FlowKey, inner: &[u8]) -> u32 {
    let parsed = sound(inner);
    assert_eq!(parsed.flow, flow.reversed());
    assert_eq!(parsed.tcp_flags, tcp::SYN | tcp::ACK);
    let at = usize::from(parsed.l4_offset) + 8;
    let number = inner[at..at + 4].try_into().expect("four bytes");
    u32::from_be_bytes(number)
}

#[test]
fn cookies_are_those_of_the_nodes_own_seed() {
    let cookie = |seed| {
        let limits = Limits::of(FLOWS_MAX);
        let mut node = Stage::new(ClbNode::new(CLB_NODE_NAME, limits, seed), routes());
        node.flood();
        node.challenged(web_flow(1), 1_000)
    };
    assert_eq!(cookie(Seed(7)), cookie(Seed(7)));
    assert_ne!(cookie(Seed(7)), cookie(Seed(8)));
}

#[test]
fn a_client_behind_a_shut_gate_proves_its_address_and_its_next_syn_passes() {
    for family in [Family::V4, Family::V6] {
        let mut node = small(true);
        assert_eq!(node.flood(), HALF_OPEN_MIN as u32 + 1);
        let held = node.forwarder.flows();
        let flow = client_flow(family, tcp::PROTOCOL, WEB, 1);
        let cookie = node.challenged(flow, 1_000);
        assert_ne!(cookie, 1_001, "a client must not take it for the answer");
        assert_eq!(node.forwarder.flows(), held, "nothing is kept");
        assert_eq!(node.prove(flow, cookie).only_drop(), DropReason::SynGate);
        node.pass(secs(1));
        node.establish(flow);
        let next = FlowKey {
            src_port: 40_001,
            ..flow
        };
        node.establish(next);
        node.pass(PROVED_FOR);
        let later = FlowKey {
            src_port: 40_002,
            ..flow
        };
        node.flood();
        node.challenged(later, 1_000);
    }
}

#[test]
fn a_reset_that_holds_no_cookie_proves_nothing() {
    let mut node = small(true);
    node.flood();
    let flow = web_flow(1);
    let cookie = node.challenged(flow, 1_000);
    for wrong in [cookie ^ 1, 0, 1_001] {
        assert_eq!(node.prove(flow, wrong).only_drop(), DropReason::NoFlow);
    }
    let other = web_flow(2);
    assert_eq!(node.prove(other, cookie).only_drop(), DropReason::NoFlow);
    node.pass(secs(16));
    assert_eq!(
        node.prove(flow, cookie).only_drop(),
        DropReason::NoFlow,
        "too late"
    );
    node.challenged(flow, 1_000);
}

#[test]
fn a_client_that_would_have_to_accept_the_cookie_is_left_alone() {
    let mut node = small(true);
    node.flood();
    let flow = web_flow(1);
    let cookie = node.challenged(flow, 1_000);
    let syn = Segment {
        sequence: cookie.wrapping_sub(1),
        ..Segment::new(flow, tcp::SYN)
    };
    let outcome = node.client_sends(&flow, &syn.packet());
    assert_eq!(outcome.only_drop(), DropReason::SynGate);
}

#[test]
fn flows_that_are_there_pass_a_shut_gate() {
    let mut node = small(true);
    let (old, young, ended) = (web_flow(1), web_flow(2), web_flow(3));
    let target = node.establish(old);
    let begun = node.open(young);
    node.establish(ended);
    node.say(ended, tcp::RST).only_sent();
    node.flood();
    assert_eq!(target_of(&node.say(old, tcp::ACK)), target);
    assert_eq!(target_of(&node.say(young, tcp::SYN)), begun, "sent again");
    node.answer(young, begun, tcp::SYN | tcp::ACK).only_sent();
    node.say(young, tcp::ACK).only_sent();
    let fresh = node.challenged(ended, 5_000);
    assert_eq!(node.prove(ended, fresh).only_drop(), DropReason::SynGate);
    let again = Segment {
        sequence: 5_000,
        ..Segment::new(ended, tcp::SYN)
    };
    node.client_sends(&ended, &again.packet()).only_sent();
}

#[test]
fn other_listeners_and_udp_do_not_notice() {
    let mut node = small(true);
    node.flood();
    node.establish(client_flow(Family::V4, tcp::PROTOCOL, 81, 1));
    node.open(client_flow(Family::V4, udp::PROTOCOL, TICK_PORT, 1));
}

#[test]
fn the_gate_opens_when_half_open_flows_have_run_out() {
    let mut node = small(true);
    node.flood();
    let events = node.pass(secs(30) + 2 * SHUT_MIN).events;
    let opened = events.iter().filter(|event| **event == gate(false));
    assert_eq!(opened.count(), 1);
    assert_eq!(node.forwarder.half_open(), 0);
    node.open(web_flow(1));
}

#[test]
fn a_gate_stays_shut_over_a_new_version_and_opens_when_it_is_turned_off() {
    let mut node = small(true);
    node.flood();
    let mut table = routes();
    table.clbs[0].listeners.remove(1);
    assert_eq!(node.apply(table).events.len(), 1);
    node.challenged(web_flow(1), 1_000);
    let mut table = routes();
    table.mechanisms.syn_gate = false;
    assert!(node.apply(table).events.contains(&gate(false)));
    node.open(web_flow(1));
}

/// What a flood left behind.
#[derive(Default, Debug)]
struct Aftermath {
    begun: u32,
    succeeded: u32,
    /// Packets of flows established before that did not pass.
    lost: u32,
    flows_most: usize,
    half_open_most: usize,
    spoofed_answered: u32,
}

/// A genuine client's connection between its packets.
struct Attempt {
    flow: FlowKey,
    tries: u32,
}

/// A node under 10,000 spoofed SYNs a second and 1,000 genuine connections a second from 500 addresses.
struct Flood {
    node: Stage<ClbNode>,
    rng: Rng,
    /// SYNs of genuine clients by the time at which they are sent.
    syns: BTreeMap<Instant, VecDeque<Attempt>>,
    after: Aftermath,
    begun_at: Instant,
}

const GENUINE_PER_MILLI: u32 = 1;
const SPOOFED_PER_MILLI: u32 = 10;
const FLOOD_MILLIS: u64 = 30_000;
const TABLE: usize = 65_536;
const ESTABLISHED: u32 = 200;

impl Flood {
    fn new(syn_gate: bool) -> Flood {
        let mut table = routes();
        table.mechanisms.syn_gate = syn_gate;
        let limits = Limits::of(TABLE);
        let node = Stage::new(ClbNode::new(CLB_NODE_NAME, limits, Seed(7)), table);
        let begun_at = node.now;
        Flood {
            node,
            rng: Seed(7).stream("flood", "spoofed"),
            syns: BTreeMap::new(),
            after: Aftermath::default(),
            begun_at,
        }
    }

    fn run(mut self) -> Aftermath {
        let old: Vec<FlowKey> = (0..ESTABLISHED)
            .map(|number| web_flow(900_000 + number))
            .collect();
        for flow in &old {
            self.node.establish(*flow);
        }
        for milli in 0..FLOOD_MILLIS + 4_000 {
            if milli < FLOOD_MILLIS {
                self.begin(milli);
                self.spoof(SPOOFED_PER_MILLI);
            }
            self.send_syns();
            let flow = old[milli as usize % old.len()];
            self.after.lost += u32::from(self.node.say(flow, tcp::ACK).sent.len() != 1);
            self.after.flows_most = self.after.flows_most.max(self.node.forwarder.flows());
            let half_open = self.node.forwarder.half_open();
            self.after.half_open_most = self.after.half_open_most.max(half_open);
            self.node.pass(Duration::from_millis(1));
        }
        self.after
    }

    /// Genuine clients begin: 500 addresses in turn, each time from another port.
    fn begin(&mut self, milli: u64) {
        let now = self.node.now;
        for _ in 0..GENUINE_PER_MILLI {
            let number = self.after.begun;
            let flow = FlowKey {
                src_port: 20_000 + (number / 500) as u16,
                ..web_flow(number % 500)
            };
            self.after.begun += 1;
            let attempt = Attempt { flow, tries: 0 };
            self.syns.entry(now).or_default().push_back(attempt);
        }
        debug_assert_eq!(self.node.now, self.begun_at + Duration::from_millis(milli));
    }

    fn spoof(&mut self, syns: u32) {
        let meta = Meta {
            peer: TOKYO,
            ..Meta::plain(PortId::tunnel(FROM_TOKYO))
        };
        let syns: Vec<_> = (0..syns)
            .map(|_| {
                let flow = FlowKey {
                    src_port: self.rng.bits() as u16 | 1,
                    ..web_flow(1_000_000 + self.rng.below(8_000_000) as u32)
                };
                (meta, tunnelled(&segment(flow, tcp::SYN), key_of(&flow)))
            })
            .collect();
        self.after.spoofed_answered += self.node.batch(&syns).sent.len() as u32;
    }

    /// A client tries three times, 1 s and 2 s apart; it answers a challenge as it should.
    fn send_syns(&mut self) {
        while let Some(entry) = self.syns.first_entry() {
            if *entry.key() > self.node.now {
                return;
            }
            for attempt in entry.remove() {
                self.try_once(attempt);
            }
        }
    }

    fn try_once(&mut self, attempt: Attempt) {
        let Attempt { flow, tries } = attempt;
        let outcome = self.node.say(flow, tcp::SYN);
        let again = |syns: &mut BTreeMap<Instant, VecDeque<Attempt>>, now: Instant| {
            if tries < 2 {
                let at = now + secs(1 << tries);
                let attempt = Attempt {
                    flow,
                    tries: tries + 1,
                };
                syns.entry(at).or_default().push_back(attempt);
            }
        };
        match (&outcome.sent[..], &outcome.drops[..]) {
            ([(_, challenge)], [DropReason::SynGate]) => {
                let cookie = acknowledged(&flow, untunnelled(challenge).1);
                self.node.prove(flow, cookie);
                again(&mut self.syns, self.node.now);
            }
            ([_], []) => {
                let target = target_of(&outcome);
                self.node
                    .answer(flow, target, tcp::SYN | tcp::ACK)
                    .only_sent();
                self.node.say(flow, tcp::ACK).only_sent();
                self.node
                    .answer(flow, target, tcp::FIN | tcp::ACK)
                    .only_sent();
                self.node.say(flow, tcp::FIN | tcp::ACK).only_sent();
                self.after.succeeded += 1;
            }
            _ => again(&mut self.syns, self.node.now),
        }
    }
}

#[test]
fn a_flood_ten_times_the_genuine_rate_costs_no_established_flow_and_hardly_a_connection() {
    let after = Flood::new(true).run();
    assert_eq!(after.begun, 30_000);
    assert_eq!(after.lost, 0);
    assert!(after.succeeded * 100 >= after.begun * 99, "{after:?}");
    assert!(after.half_open_most <= TABLE / 8 + 16, "{after:?}");
    assert!(after.flows_most <= TABLE / 2, "{after:?}");
}

#[test]
fn without_the_gate_the_same_flood_shuts_genuine_clients_out() {
    let after = Flood::new(false).run();
    assert_eq!(after.lost, 0, "half-open flows evict nobody");
    assert!(after.succeeded * 100 < after.begun * 50, "{after:?}");
    assert_eq!(after.half_open_most, TABLE / 2);
}

/// Also for whoever comes last of a millisecond's.
#[test]
fn a_flood_of_half_a_million_a_second_leaves_a_challenge_for_who_is_there() {
    const SYNS_PER_MILLI: usize = 500;
    let mut flood = Flood::new(true);
    for _ in 0..100 {
        flood.node.pass(Duration::from_millis(1));
        for _ in 0..SYNS_PER_MILLI.div_ceil(BATCH_MAX) {
            flood.spoof(BATCH_MAX as u32);
        }
    }
    let flow = web_flow(1);
    let cookie = flood.node.challenged(flow, 7);
    flood.node.prove(flow, cookie);
    flood.node.say(flow, tcp::SYN).only_sent();
}
