//! Health of targets: when which of them gets new flows, to the nanosecond.
//!
//! Backends are played by the test: each answers a check at once with a SYN+ACK or a RST, or is silent. The
//! names of rows (P-HC02 and others) are those of the product's published behaviour.

mod answers;
mod changes;
mod eligible;
mod kinds;
mod timing;

use anyedge_net::event::Health;
use anyedge_net::route_table::HealthCheck;
use anyedge_net::time::Instant;
use anyedge_net::wire::Parsed;

use super::*;

/// How a backend answers a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    SynAck,
    Rst,
    Silence,
}

/// What a node did while time passed.
#[derive(Default)]
struct Log {
    events: Vec<(Instant, Event)>,
    /// SYNs and RSTs to targets.
    segments: Vec<(Instant, Parsed)>,
    drops: Vec<DropReason>,
}

impl Log {
    /// When checks of `target` were sent.
    fn sent_to(&self, target: Address) -> Vec<Instant> {
        self.flagged(target, tcp::SYN)
    }

    /// When segments with just these flags were sent to `target`.
    fn flagged(&self, target: Address, flags: u8) -> Vec<Instant> {
        let segments = self.segments.iter();
        segments
            .filter(|(_, parsed)| parsed.flow.dst == target && parsed.tcp_flags == flags)
            .map(|(at, _)| *at)
            .collect()
    }

    /// What became of `target`, and when.
    fn changes(&self, target: Address) -> Vec<(Instant, Health)> {
        let of = |(at, event): &(Instant, Event)| match event {
            Event::TargetHealth {
                target: of, health, ..
            } if *of == target => Some((*at, *health)),
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }
}

/// The routes with the listener `web` of the main load balancer checked, and no other.
fn checked(check: HealthCheck, weights: [u8; 2]) -> RouteTable {
    let mut table = routes();
    set_web(&mut table, |web| {
        web.health = Some(check);
        web.targets = targets(weights);
    });
    table
}

fn defaults() -> RouteTable {
    checked(HealthCheck::default(), [10, 10])
}

fn set_web(table: &mut RouteTable, change: impl FnOnce(&mut anyedge_net::route_table::Listener)) {
    change(std::sync::Arc::make_mut(&mut table.clbs[0].listeners[0]));
}

/// The routes with `web` less the backend on host web-2.
fn without_the_second(mut table: RouteTable) -> RouteTable {
    set_web(&mut table, |web| {
        web.targets.retain(|target| target.host == WEB_1);
    });
    table
}

fn first() -> Address {
    backend(1, Family::V4)
}

fn second() -> Address {
    backend(2, Family::V4)
}

/// All backends answer in one way.
fn all(answer: Answer) -> impl Fn(Instant, Address) -> Answer {
    move |_, _| answer
}

/// The backends on host web-2 answer in this way; those on web-1 are well.
fn the_second(answer: Answer) -> impl Fn(Instant, Address) -> Answer {
    move |_, target| {
        let is_second =
            target.octets().last() == second().octets().last() || target == backend(2, Family::V6);
        if is_second { answer } else { Answer::SynAck }
    }
}

impl Stage<ClbNode> {
    /// Time passes, and each check that is sent gets the answer that `answers` says.
    fn live(&mut self, duration: Duration, answers: impl Fn(Instant, Address) -> Answer) -> Log {
        self.live_by_flow(duration, |now, flow| answers(now, flow.dst))
    }

    /// The same, with answers by the whole tuple of a check.
    fn live_by_flow(
        &mut self,
        duration: Duration,
        answers: impl Fn(Instant, &FlowKey) -> Answer,
    ) -> Log {
        let until = self.now + duration;
        let mut log = Log::default();
        while let Some(due) = self.forwarder.poll_timeout().filter(|due| due.at <= until) {
            let outcome = self.pass(due.at - self.now);
            self.answer_checks(outcome, &answers, &mut log);
        }
        self.now = until;
        log
    }

    fn answer_checks(
        &mut self,
        outcome: Outcome,
        answers: &impl Fn(Instant, &FlowKey) -> Answer,
        log: &mut Log,
    ) {
        let now = self.now;
        log.events
            .extend(outcome.events.iter().map(|event| (now, *event)));
        log.drops.extend(&outcome.drops);
        for (_, bytes) in &outcome.sent {
            let (key, inner) = untunnelled(bytes);
            let parsed = sound(inner);
            log.segments.push((now, parsed));
            if parsed.tcp_flags != tcp::SYN {
                continue;
            }
            let flags = match answers(now, &parsed.flow) {
                Answer::SynAck => tcp::SYN | tcp::ACK,
                Answer::Rst => tcp::RST | tcp::ACK,
                Answer::Silence => continue,
            };
            let outcome = self.answer_check(key, &parsed, inner, flags);
            self.answer_checks(outcome, answers, log);
        }
    }

    /// A backend answers the check `probe` with these flags.
    fn answer_check(&mut self, key: GreKey, parsed: &Parsed, probe: &[u8], flags: u8) -> Outcome {
        let answer = crate::testbed::Segment {
            acknowledgement: sequence_of(parsed, probe).wrapping_add(1),
            ..crate::testbed::Segment::new(parsed.flow.reversed(), flags)
        };
        self.host_sends(key, parsed.flow.dst, &answer.packet())
    }

    /// A packet arrives from the host of a backend.
    fn host_sends(&mut self, key: GreKey, target: Address, packet: &[u8]) -> Outcome {
        let is_first = target == first() || target == backend(1, Family::V6);
        let (path, host) = if is_first {
            (TO_WEB_1, WEB_1)
        } else {
            (TO_WEB_2, WEB_2)
        };
        self.tunnel(path, host, key, packet)
    }

    /// The targets of `count` new flows from client `from` on.
    fn new_flows(&mut self, from: u32, count: u32) -> Vec<Address> {
        (from..from + count)
            .map(|number| self.open(web_flow(number)))
            .collect()
    }
}

fn sequence_of(parsed: &Parsed, packet: &[u8]) -> u32 {
    let l4 = parsed.l4(packet);
    u32::from_be_bytes([l4[4], l4[5], l4[6], l4[7]])
}
