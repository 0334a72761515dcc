//! The naive CLB: lists that are searched from end to end, and nothing remembered that could be looked up.
//!
//! It says what becomes of each packet. Written from the documents (docs/scheduling.md, docs/flows.md, docs/unbind.md) in the
//! plainest way, so that one reads it and believes it; slow in everything.

use std::time::Duration;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::{Address, Family, FlowKey, HashKey};
use anyedge_net::rng::Seed;
use anyedge_net::route_table::{Clb, Listener, Scheduler};
use anyedge_net::time::Instant;
use anyedge_net::wire::tcp;
use anyedge_region::expiry::TICK;

/// Address and port.
pub(super) type Server = (Address, u16);

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It goes to that target.
    Target(Server),
    /// It goes back to the client.
    Client,
    /// It ends.
    Dropped(DropReason),
}

/// What both sides of a connection have said so far.
#[derive(Clone, Copy, Default)]
struct Said {
    syn_ack: bool,
    established: bool,
    client_fin: bool,
    target_fin: bool,
    reset: bool,
}

/// A flow.
struct Flow {
    key: FlowKey,
    target: Server,
    /// Of TCP alone.
    said: Option<Said>,
    isn: u32,
    idle: Duration,
    last_seen: Instant,
}

impl Flow {
    fn is_over(&self) -> bool {
        self.said
            .is_some_and(|said| said.reset || (said.client_fin && said.target_fin))
    }

    fn deadline(&self) -> Instant {
        let Some(said) = self.said else {
            return self.last_seen + Duration::from_secs(120);
        };
        let patience = if self.is_over() {
            Duration::from_secs(10)
        } else if said.client_fin || said.target_fin {
            Duration::from_secs(240)
        } else if said.established {
            self.idle
        } else {
            Duration::from_secs(30)
        };
        self.last_seen + patience
    }

    /// It counts until it is collected, which is up to a tick after its end.
    fn counts(&self, now: Instant) -> bool {
        let tick = TICK.as_nanos() as u64;
        let collected = (self.deadline().as_nanos() / tick + 1) * tick;
        !self.is_over() && now.as_nanos() < collected
    }

    fn hear(&mut self, now: Instant, from_client: bool, flags: u8) {
        let was_reset = self.said.is_some_and(|said| said.reset);
        if !was_reset {
            self.last_seen = now;
        }
        let is_closing = self.is_over() && !was_reset;
        let Some(said) = &mut self.said else {
            return;
        };
        if was_reset || is_closing {
            return;
        }
        let (syn, ack) = (flags & tcp::SYN != 0, flags & tcp::ACK != 0);
        let (fin, rst) = (flags & tcp::FIN != 0, flags & tcp::RST != 0);
        if rst {
            said.reset = true;
        } else if from_client {
            if said.syn_ack && !syn && (ack || fin) {
                said.established = true;
            }
            said.client_fin |= fin && said.established;
        } else if syn && ack {
            said.syn_ack = true;
        } else {
            said.target_fin |= fin && said.established;
        }
    }
}

/// A round of one family: who is in it, with weight and credit.
type Round = Vec<(Server, i64, i64)>;

/// One listener's memory.
struct Port {
    rounds: [Round; 2],
    /// Client, where it stays, until when.
    stays: Vec<(Address, Server, Instant)>,
    /// A second, and how many flows it saw opened.
    opened: (u64, u32),
}

/// Targets whose flows are to be cut.
struct Cut {
    listener: (u8, u16),
    server: Server,
    at: Instant,
}

/// The load balancer, with all that it knows.
pub(super) struct Naive {
    clb: Clb,
    hash_key: HashKey,
    flows: Vec<Flow>,
    ports: Vec<Port>,
    cuts: Vec<Cut>,
    /// Backends that no way leads to.
    cut_off: Vec<Address>,
    /// Whose TCP flows the security groups refuse.
    refused: Option<Address>,
}

impl Naive {
    /// The load balancer `clb` on the node of that name, whose rounds start where `seed` says.
    pub(super) fn new(
        clb: &Clb,
        hash_key: HashKey,
        (seed, name): (Seed, &str),
        refused: Option<Address>,
    ) -> Naive {
        let port = |listener: &std::sync::Arc<Listener>| {
            let purpose = format!("wrr {}/{}", clb.name, listener.name);
            let mut rng = seed.stream(name, &purpose);
            let rounds = [Family::V4, Family::V6].map(|family| {
                let mut round = members(listener, family);
                let weights = round.iter().map(|(_, weight, _)| *weight);
                let divisor = weights.clone().fold(0, gcd);
                let period = weights.sum::<i64>().checked_div(divisor).unwrap_or(0) as u64;
                let offset = rng.bits().checked_rem(period).unwrap_or(0);
                for _ in 0..offset {
                    pick(&mut round, |_| 0);
                }
                round
            });
            Port {
                rounds,
                stays: Vec::new(),
                opened: (0, 0),
            }
        };
        Naive {
            ports: clb.listeners.iter().map(port).collect(),
            clb: clb.clone(),
            hash_key,
            flows: Vec::new(),
            cuts: Vec::new(),
            cut_off: Vec::new(),
            refused,
        }
    }

    /// A way leads to a backend, or none.
    pub(super) fn set_way(&mut self, backend: Address, up: bool) {
        self.cut_off.retain(|other| *other != backend);
        if !up {
            self.cut_off.push(backend);
        }
    }

    fn is_refused(&self, key: &FlowKey) -> bool {
        key.protocol == tcp::PROTOCOL && self.refused == Some(key.src)
    }

    /// How many flows it has that are not over.
    pub(super) fn flows(&self, now: Instant) -> usize {
        self.flows.iter().filter(|flow| flow.counts(now)).count()
    }

    /// One of its flows and where it goes, by any number.
    pub(super) fn one_of(&self, number: u64) -> Option<(FlowKey, Server)> {
        let at = number.checked_rem(self.flows.len() as u64)?;
        let flow = &self.flows[at as usize];
        Some((flow.key, flow.target))
    }

    /// The same load balancer from now on as `clb`; gives the flows that are cut.
    pub(super) fn apply(&mut self, now: Instant, clb: &Clb) -> Vec<FlowKey> {
        for (at, (old, new)) in self.clb.listeners.iter().zip(&clb.listeners).enumerate() {
            if std::sync::Arc::ptr_eq(old, new) {
                continue;
            }
            let listener = (new.protocol, new.port);
            let has = |it: &Listener, server: Server| {
                it.targets.iter().any(|one| server_of(one) == server)
            };
            let weight = |it: &Listener, server: Server| {
                let target = it.targets.iter().find(|one| server_of(one) == server);
                target.map_or(0, |target| target.weight)
            };
            for server in new.targets.iter().map(server_of) {
                self.cuts
                    .retain(|cut| (cut.listener, cut.server) != (listener, server));
                let is_shut = weight(old, server) > 0 && weight(new, server) == 0;
                if new.reschedule_on.weight_zero && has(old, server) && is_shut {
                    self.cuts.push(Cut {
                        listener,
                        server,
                        at: now,
                    });
                }
            }
            let gone = old.targets.iter().map(server_of);
            for server in gone.filter(|server| !has(new, *server)) {
                let at = now + clb.unbind_drain.unwrap_or_default();
                self.cuts
                    .retain(|cut| (cut.listener, cut.server) != (listener, server));
                self.cuts.push(Cut {
                    listener,
                    server,
                    at,
                });
            }
            for (round, family) in self.ports[at]
                .rounds
                .iter_mut()
                .zip([Family::V4, Family::V6])
            {
                let mut fresh = members(new, family);
                let total: i64 = fresh.iter().map(|(_, weight, _)| weight).sum();
                for (server, _, credit) in &mut fresh {
                    let before = round.iter().find(|(old, ..)| old == server);
                    *credit = before
                        .map_or(0, |(_, _, credit)| *credit)
                        .clamp(-total, total);
                }
                *round = fresh;
            }
        }
        self.clb = clb.clone();
        self.pass(now)
    }

    /// It is `now`; gives the flows that are cut.
    pub(super) fn pass(&mut self, now: Instant) -> Vec<FlowKey> {
        let mut gone = Vec::new();
        let due: Vec<&Cut> = self.cuts.iter().filter(|cut| cut.at <= now).collect();
        self.flows.retain(|flow| {
            let listener = (flow.key.protocol, flow.key.dst_port);
            let mut of_it = due
                .iter()
                .filter(|cut| (cut.listener, cut.server) == (listener, flow.target));
            let is_cut = of_it.any(|cut| cut.at < flow.deadline()) && !flow.is_over();
            if is_cut {
                gone.push(flow.key);
            }
            !is_cut
        });
        self.cuts.retain(|cut| cut.at > now);
        gone
    }

    /// A client's packet.
    pub(super) fn hear_client(&mut self, now: Instant, key: FlowKey, flags: u8, seq: u32) -> Fate {
        let opens = key.protocol != tcp::PROTOCOL || flags == tcp::SYN;
        self.flows
            .retain(|flow| flow.key != key || now < flow.deadline());
        if let Some(at) = self.flows.iter().position(|flow| flow.key == key) {
            let flow = &mut self.flows[at];
            let said = flow.said.unwrap_or_default();
            let is_alive = said.established && !flow.is_over();
            let is_fresh = flow.said.is_some() && flags == tcp::SYN && seq != flow.isn;
            if !is_fresh || is_alive {
                if self.cut_off.contains(&flow.target.0) {
                    return Fate::Dropped(DropReason::NoPath);
                }
                flow.hear(now, true, flags);
                return Fate::Target(flow.target);
            }
            if self.is_refused(&key) {
                return Fate::Dropped(DropReason::ClbSecurityGroup);
            }
            self.flows.remove(at);
        }
        if !opens {
            return Fate::Dropped(DropReason::NoFlow);
        }
        if self.is_refused(&key) {
            return Fate::Dropped(DropReason::ClbSecurityGroup);
        }
        match self.open(now, key, seq) {
            Ok(target) => Fate::Target(target),
            Err(reason) => Fate::Dropped(reason),
        }
    }

    /// A target's packet: from `server` to the client of `key`.
    pub(super) fn hear_target(
        &mut self,
        now: Instant,
        key: FlowKey,
        server: Server,
        flags: u8,
    ) -> Fate {
        let is_it = |flow: &Flow| {
            let (src, port) = (flow.key.src, flow.key.src_port);
            flow.target == server
                && (src, port, flow.key.protocol) == (key.src, key.src_port, key.protocol)
        };
        self.flows
            .retain(|flow| !is_it(flow) || now < flow.deadline());
        match self.flows.iter_mut().find(|flow| is_it(flow)) {
            Some(flow) => {
                flow.hear(now, false, flags);
                Fate::Client
            }
            None => Fate::Dropped(DropReason::NoFlow),
        }
    }

    fn open(&mut self, now: Instant, key: FlowKey, seq: u32) -> Result<Server, DropReason> {
        let mut listeners = self.clb.listeners.iter();
        let is_it = |listener: &std::sync::Arc<Listener>| {
            (listener.protocol, listener.port) == (key.protocol, key.dst_port)
        };
        let at = listeners.position(is_it).ok_or(DropReason::NoListener)?;
        let listener = std::sync::Arc::clone(&self.clb.listeners[at]);
        self.check_limits(now, &listener, at)?;
        let target = self.target_for(now, &key, &listener, at)?;
        if self.cut_off.contains(&target.0) {
            return Err(DropReason::NoPath);
        }
        let clash = |flow: &Flow| {
            let ours = (
                flow.target,
                flow.key.src,
                flow.key.src_port,
                flow.key.protocol,
            );
            ours == (target, key.src, key.src_port, key.protocol)
        };
        self.flows
            .retain(|flow| !clash(flow) || now < flow.deadline());
        if self.flows.iter().any(clash) {
            return Err(DropReason::TupleTaken);
        }
        self.ports[at].opened.1 += 1;
        if let Some(expire) = listener.session_expire {
            let stays = &mut self.ports[at].stays;
            stays.retain(|(client, ..)| *client != key.src);
            stays.push((key.src, target, now + expire));
        }
        self.flows.push(Flow {
            key,
            target,
            said: (key.protocol == tcp::PROTOCOL).then(Said::default),
            isn: seq,
            idle: listener.idle_timeout.unwrap_or(Duration::from_secs(900)),
            last_seen: now,
        });
        Ok(target)
    }

    fn check_limits(
        &mut self,
        now: Instant,
        listener: &Listener,
        at: usize,
    ) -> Result<(), DropReason> {
        let here = |flow: &&Flow| {
            (flow.key.protocol, flow.key.dst_port) == (listener.protocol, listener.port)
        };
        let active = self
            .flows
            .iter()
            .filter(here)
            .filter(|flow| flow.counts(now));
        let active = active.count() as u32;
        if listener
            .limits
            .connections_max
            .is_some_and(|most| active >= most)
        {
            return Err(DropReason::ConnectionsMax);
        }
        let second = now.as_nanos() / 1_000_000_000;
        let opened = &mut self.ports[at].opened;
        if opened.0 != second {
            *opened = (second, 0);
        }
        if listener
            .limits
            .per_second_max
            .is_some_and(|most| opened.1 >= most)
        {
            return Err(DropReason::PerSecondMax);
        }
        Ok(())
    }

    fn target_for(
        &mut self,
        now: Instant,
        key: &FlowKey,
        listener: &Listener,
        at: usize,
    ) -> Result<Server, DropReason> {
        let stays = self.ports[at].stays.iter();
        let mut stays = stays.filter(|(client, _, until)| *client == key.src && now < *until);
        if let Some((_, server, _)) = stays.next() {
            let target = listener
                .targets
                .iter()
                .find(|target| server_of(target) == *server);
            if target.is_some_and(|target| target.weight > 0) {
                return Ok(*server);
            }
        }
        let flows = &self.flows;
        let load = |server: Server| {
            let here = flows.iter().filter(|flow| {
                (flow.key.protocol, flow.key.dst_port) == (listener.protocol, listener.port)
            });
            here.filter(|flow| flow.target == server && flow.counts(now))
                .count() as i64
        };
        let round = &mut self.ports[at].rounds[usize::from(key.family() == Family::V6)];
        let picked = match &listener.scheduler {
            Scheduler::WeightedRoundRobin => pick(round, |_| 0),
            Scheduler::WeightedLeastConnections => pick(round, load),
            Scheduler::IpHash { v4, v6 } => {
                let table = if key.family() == Family::V4 { v4 } else { v6 };
                let index = table.lookup(self.hash_key.hash_bytes(key.src.octets()));
                index.map(|index| server_of(&listener.targets[usize::from(index)]))
            }
            Scheduler::Maglev { v4, v6 } => {
                let table = if key.family() == Family::V4 { v4 } else { v6 };
                let index = table.lookup(key.hash(&self.hash_key));
                index.map(|index| server_of(&listener.targets[usize::from(index)]))
            }
        };
        picked.ok_or(DropReason::NoTarget)
    }
}

/// The next of a smooth weighted round, of those whose load is the least for their weight.
fn pick(round: &mut Round, load: impl Fn(Server) -> i64) -> Option<Server> {
    let loads: Vec<i64> = round.iter().map(|(server, ..)| load(*server)).collect();
    let is_least = |one: usize| {
        (0..round.len()).all(|other| loads[one] * round[other].1 <= loads[other] * round[one].1)
    };
    let least: Vec<usize> = (0..round.len()).filter(|one| is_least(*one)).collect();
    let total: i64 = least.iter().map(|at| round[*at].1).sum();
    for at in &least {
        round[*at].2 += round[*at].1;
    }
    let best = least.iter().map(|at| round[*at].2).max()?;
    let first = least.into_iter().find(|at| round[*at].2 == best)?;
    round[first].2 -= total;
    Some(round[first].0)
}

fn members(listener: &Listener, family: Family) -> Round {
    let targets = listener.targets.iter();
    let takes = targets.filter(|target| target.weight > 0 && target.address.family() == family);
    takes
        .map(|target| (server_of(target), i64::from(target.weight), 0))
        .collect()
}

fn server_of(target: &anyedge_net::route_table::Target) -> Server {
    (target.address, target.port)
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
