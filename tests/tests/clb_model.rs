//! The CLB node against a naive one: the same random traffic, edits, faults and silences, and every packet has the same
//! fate.
//!
//! One seed is one life of a load balancer: its schedulers, limits, timeouts and security groups are drawn, then clients and
//! targets send what they like, whether it makes sense or not, while targets lose weight, leave and come back, and the ways
//! to their hosts fail and heal. `ANYEDGE_MODEL_SEEDS` says how
//! many lives; a failure names the seed and the step.

#[path = "../../region/src/testbed.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the testbed serves others as well"
)]
mod testbed;

#[path = "clb_model/naive.rs"]
mod naive;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyedge_net::event::{Event, FlowEnd};
use anyedge_net::flow::{Address, Family, FlowKey};
use anyedge_net::forwarder::LocalEvent;
use anyedge_net::rng::{Rng, Seed};
use anyedge_net::route_table::{FlowLimits, Listener, RouteTable, Scheduler};
use anyedge_net::security_group::{Direction, Filter, Precedence, Rule};
use anyedge_net::slot;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::{tcp, udp};
use anyedge_region::{ClbNode, Limits};

use naive::{Fate, Naive, Server};
use testbed::stage::{Outcome, Stage};
use testbed::*;

const STEPS: usize = 160;
/// What either side says later than at first, most often.
const LATER: [u8; 8] = [
    tcp::ACK,
    tcp::ACK,
    tcp::ACK,
    tcp::ACK,
    tcp::ACK,
    tcp::FIN | tcp::ACK,
    tcp::FIN | tcp::ACK,
    tcp::RST,
];
/// Few, so that tuples clash.
const CLIENTS: u64 = 6;
const PORTS: u64 = 3;
/// The walk that cuts flows takes so many at once.
const FLOWS_MAX: usize = 60;

/// A life of a load balancer.
struct Life {
    rng: Rng,
    table: RouteTable,
    real: Stage<ClbNode>,
    naive: Naive,
}

fn seeds() -> u64 {
    let asked = std::env::var("ANYEDGE_MODEL_SEEDS").ok();
    asked.map_or(10_000, |seeds| seeds.parse().expect("a number of seeds"))
}

#[test]
#[expect(clippy::print_stderr, reason = "it says what it looked at")]
fn every_packet_has_the_fate_that_a_naive_load_balancer_gives_it() {
    let base = routes();
    let mut counts = [0_u64; 3];
    for seed in 0..seeds() {
        let mut life = Life::new(seed, &base);
        for step in 0..STEPS {
            life.step(&mut counts, &format!("seed {seed}, step {step}"));
        }
    }
    let [to_targets, to_clients, dropped] = counts;
    eprintln!("{to_targets} packets to targets, {to_clients} to clients, {dropped} dropped");
    assert!(
        to_targets > dropped / 4 && to_clients > 0,
        "it is a life worth looking at"
    );
}

impl Life {
    fn new(seed: u64, base: &RouteTable) -> Life {
        let mut rng = Seed(seed).stream("model", "life");
        let mut table = base.clone();
        // They have models of their own: what a flood does, and how often resets are sent.
        table.mechanisms.syn_gate = false;
        let clb = &mut table.clbs[0];
        clb.unbind_drain = one_of(&mut rng, &[None, Some(secs(5)), Some(secs(60))]);
        clb.rst_on_unbind = rng.below(2) == 0;
        for listener in &mut clb.listeners {
            draw(&mut rng, Arc::make_mut(listener));
        }
        let refused =
            (rng.below(3) == 0).then(|| client_flow(Family::V4, tcp::PROTOCOL, 80, 0).src);
        table.clbs[0].security.filter = refused.map(all_but);
        let node = ClbNode::new(CLB_NODE_NAME, Limits::of(256), Seed(seed));
        let seeded = (Seed(seed), CLB_NODE_NAME);
        let naive = Naive::new(&table.clbs[0], table.hash_key, seeded, refused);
        let real = Stage::new(node, table.clone());
        Life {
            rng,
            table,
            real,
            naive,
        }
    }

    fn step(&mut self, counts: &mut [u64; 3], place: &str) {
        match self.rng.below(20) {
            0 => self.edit(place),
            1..3 => self.silence(place),
            3 => self.fault(),
            4..12 => {
                let fate = self.client_sends(place);
                count(counts, fate);
            }
            _ => {
                let fate = self.target_sends(place);
                count(counts, fate);
            }
        }
    }

    fn client_sends(&mut self, place: &str) -> Fate {
        let known = self.known_flow();
        let (key, flags) = match known {
            Some((key, _)) if key.protocol == tcp::PROTOCOL => (key, one_of(&mut self.rng, &LATER)),
            Some((key, _)) => (key, 0),
            None => {
                let key = self.any_flow();
                let flags = [tcp::SYN, tcp::SYN, tcp::SYN, tcp::SYN, tcp::ACK, tcp::RST];
                (key, one_of(&mut self.rng, &flags))
            }
        };
        if self.naive.flows(self.real.now) >= FLOWS_MAX && flags & tcp::ACK == 0 {
            return Fate::Client;
        }
        let sequence = one_of(&mut self.rng, &[1_000, 1_000, 1_000, 5_000]);
        let packet = packet(key, flags, sequence);
        let gre = GreKey::new(MAIN.0, false, slot::of_hash(key.hash(&HASH_KEY)));
        let outcome = self.real.tunnel(FROM_TOKYO, TOKYO, gre, &packet);
        let now = self.real.now;
        let wanted = self.naive.hear_client(now, key, flags, sequence);
        let what = format!("{place}: {key:?} {flags:#x} at {now:?}");
        assert_eq!(fate(&outcome), wanted, "{what}");
        wanted
    }

    fn target_sends(&mut self, place: &str) -> Fate {
        let known = self.known_flow();
        let (key, server) = known.unwrap_or_else(|| {
            let key = self.any_flow();
            let number = 1 + self.rng.below(2) as u8;
            (key, (backend(number, key.family()), 8_080))
        });
        let flags = match (key.protocol, self.rng.below(3)) {
            (tcp::PROTOCOL, 0) => one_of(&mut self.rng, &LATER),
            (tcp::PROTOCOL, _) => tcp::SYN | tcp::ACK,
            _ => 0,
        };
        let reply = answer_flow(&key, server.0, server.1);
        let packet = packet(reply, flags, 9_000);
        let is_first = server.0 == backend(1, key.family());
        let from = if is_first {
            (TO_WEB_1, WEB_1)
        } else {
            (TO_WEB_2, WEB_2)
        };
        let gre = GreKey::new(MAIN.0, false, slot::of_hash(key.hash(&HASH_KEY)));
        let outcome = self.real.tunnel(from.0, from.1, gre, &packet);
        let now = self.real.now;
        let wanted = self.naive.hear_target(now, key, server, flags);
        let what = format!("{place}: answer to {key:?} {flags:#x} at {now:?}");
        assert_eq!(fate(&outcome), wanted, "{what}");
        wanted
    }

    /// Most often, one that is there, and its target.
    fn known_flow(&mut self) -> Option<(FlowKey, Server)> {
        let number = self.rng.bits();
        let known = self.naive.one_of(number);
        known.filter(|_| self.rng.below(3) > 0)
    }

    fn silence(&mut self, place: &str) {
        let time = one_of(
            &mut self.rng,
            &[
                Duration::from_millis(70),
                Duration::from_millis(70),
                Duration::from_millis(400),
                secs(1),
                secs(1),
                secs(9),
                secs(9),
                secs(31),
                secs(55),
                secs(130),
            ],
        );
        let outcome = self.real.pass(time);
        let cut: BTreeSet<FlowKey> = self.naive.pass(self.real.now).into_iter().collect();
        assert_eq!(cut_by(&outcome), cut, "{place}: cut after {time:?}");
    }

    /// The way to a host fails, or is there again.
    fn fault(&mut self) {
        let host = self.rng.below(2) as u8 + 1;
        // Most of the time there is a way.
        let up = self.rng.below(3) > 0;
        let path = if host == 1 { TO_WEB_1 } else { TO_WEB_2 };
        self.real.event(LocalEvent::PathState { path, up });
        for family in [Family::V4, Family::V6] {
            self.naive.set_way(backend(host, family), up);
        }
    }

    fn edit(&mut self, place: &str) {
        let clb = &mut self.table.clbs[0];
        let at = self.rng.below(clb.listeners.len() as u64) as usize;
        let listener = Arc::make_mut(&mut clb.listeners[at]);
        let all = targets([10, 10]);
        let target = all[self.rng.below(all.len() as u64) as usize];
        let there = listener
            .targets
            .iter()
            .position(|it| it.address == target.address);
        match (self.rng.below(3), there) {
            (0, Some(at)) => drop(listener.targets.remove(at)),
            (_, Some(at)) => listener.targets[at].weight = one_of(&mut self.rng, &[0, 5, 10, 20]),
            (_, None) => listener.targets.push(target),
        }
        let tables = maglev(&listener.targets);
        if let (Scheduler::IpHash { v4, v6 }, Some(fresh)) =
            (&mut listener.scheduler, tables.tables())
        {
            (*v4, *v6) = (Arc::clone(fresh.0), Arc::clone(fresh.1));
        }
        self.table.revision.0 += 1;
        let outcome = self.real.apply(self.table.clone());
        let cut = self.naive.apply(self.real.now, &self.table.clbs[0]);
        let cut: BTreeSet<FlowKey> = cut.into_iter().collect();
        assert_eq!(cut_by(&outcome), cut, "{place}: cut by an edit");
    }

    fn any_flow(&mut self) -> FlowKey {
        let (protocol, port) = one_of(
            &mut self.rng,
            &[
                (tcp::PROTOCOL, 80),
                (tcp::PROTOCOL, 81),
                (udp::PROTOCOL, 7_000),
                (tcp::PROTOCOL, 82),
            ],
        );
        let family = one_of(&mut self.rng, &[Family::V4, Family::V4, Family::V6]);
        let client = self.rng.below(CLIENTS) as u32;
        let src_port = 40_000 + self.rng.below(PORTS) as u16;
        FlowKey {
            src_port,
            ..client_flow(family, protocol, port, client)
        }
    }
}

/// A security group that lets everybody in but one.
fn all_but(client: Address) -> Arc<Filter> {
    let rules = [format!("{client}+tcp/1-65535 drop"), "any allow".to_owned()];
    let rules = rules.map(|text| Rule::parse(Direction::Ingress, &text).expect("a rule"));
    Arc::new(Filter::compile(&[&rules], Precedence::First))
}

/// How a listener spreads and limits its flows.
fn draw(rng: &mut Rng, listener: &mut Listener) {
    listener.targets = targets([one_of(rng, &[5, 10, 30]), one_of(rng, &[0, 10, 20])]);
    let hashed = maglev(&listener.targets);
    let (v4, v6) = hashed.tables().expect("the testbed makes Maglev tables");
    let hashed = Scheduler::IpHash {
        v4: Arc::clone(v4),
        v6: Arc::clone(v6),
    };
    listener.scheduler = match rng.below(4) {
        0 => hashed,
        1 | 2 => Scheduler::WeightedLeastConnections,
        _ => Scheduler::WeightedRoundRobin,
    };
    if matches!(listener.scheduler, Scheduler::WeightedRoundRobin) && rng.below(2) == 0 {
        listener.session_expire = Some(secs(30));
    }
    listener.limits = FlowLimits {
        connections_max: one_of(rng, &[None, None, Some(4)]),
        per_second_max: one_of(rng, &[None, None, Some(2)]),
    };
    if listener.protocol == tcp::PROTOCOL {
        listener.idle_timeout = one_of(rng, &[None, Some(secs(60)), Some(secs(10))]);
    }
    listener.reschedule_on.weight_zero = rng.below(3) == 0;
}

fn one_of<T: Clone>(rng: &mut Rng, all: &[T]) -> T {
    all[rng.below(all.len() as u64) as usize].clone()
}

fn packet(flow: FlowKey, flags: u8, sequence: u32) -> Vec<u8> {
    if flow.protocol == udp::PROTOCOL {
        return datagram(flow, b"tick");
    }
    Segment {
        sequence,
        ..Segment::new(flow, flags)
    }
    .packet()
}

/// What became of the one packet that arrived.
fn fate(outcome: &Outcome) -> Fate {
    if let [reason] = outcome.drops[..] {
        return Fate::Dropped(reason);
    }
    let (_, bytes) = outcome.only_sent();
    let flow = sound(untunnelled(bytes).1).flow;
    let is_vip = |address: Address| address == vip(address.family());
    if is_vip(flow.src) {
        Fate::Client
    } else {
        Fate::Target((flow.dst, flow.dst_port))
    }
}

/// The flows that were cut.
fn cut_by(outcome: &Outcome) -> BTreeSet<FlowKey> {
    let cut = outcome.events.iter().filter_map(|event| match event {
        Event::FlowClosed {
            flow,
            end: FlowEnd::Unbound,
        } => Some(*flow),
        _ => None,
    });
    cut.collect()
}

fn count(counts: &mut [u64; 3], fate: Fate) {
    match fate {
        Fate::Target(_) => counts[0] += 1,
        Fate::Client => counts[1] += 1,
        Fate::Dropped(_) => counts[2] += 1,
    }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
