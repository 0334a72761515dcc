//! What a check sends and takes for an answer: echoes, datagrams, exchanges; from where, and to which port.

use std::sync::Arc;

use anyedge_net::route_table::{Exchange, Method, ProbeSource};
use anyedge_net::wire::icmp;

use super::*;
use crate::testbed::{Segment, icmp_error};

const TICK: usize = 2;

/// The routes with one listener checked, and no other.
fn checked_at(listener: usize, check: &HealthCheck) -> RouteTable {
    let mut table = routes();
    Arc::make_mut(&mut table.clbs[0].listeners[listener]).health = Some(check.clone());
    table
}

fn by(method: Method) -> HealthCheck {
    HealthCheck {
        method,
        ..HealthCheck::default()
    }
}

fn dns() -> Arc<Exchange> {
    Arc::new(Exchange {
        request: vec![0xf1, 0x3e, 0x01],
        reply: vec![0xf1, 0x3e],
    })
}

impl Stage<ClbNode> {
    /// Time passes, and the hosts of targets answer what is sent to them as `plays` says.
    fn played(
        &mut self,
        duration: Duration,
        mut plays: impl FnMut(&Parsed, &[u8]) -> Vec<Vec<u8>>,
    ) -> Log {
        let until = self.now + duration;
        let mut log = Log::default();
        while let Some(due) = self.forwarder.poll_timeout().filter(|due| due.at <= until) {
            let mut outcomes = vec![self.pass(due.at - self.now)];
            while let Some(outcome) = outcomes.pop() {
                let now = self.now;
                let events = outcome.events.iter().map(|event| (now, *event));
                log.events.extend(events);
                log.drops.extend(&outcome.drops);
                for (_, bytes) in &outcome.sent {
                    let (key, inner) = untunnelled(bytes);
                    let parsed = sound(inner);
                    log.segments.push((now, parsed));
                    for answer in plays(&parsed, inner) {
                        outcomes.push(self.host_sends(key, parsed.flow.dst, &answer));
                    }
                }
            }
        }
        self.now = until;
        log
    }
}

/// The echo of a request.
fn echo_of(packet: &[u8]) -> Vec<u8> {
    let mut answer = packet.to_vec();
    assert!(icmp::answer_echo(&mut answer, &sound(packet)));
    answer
}

/// The word that nobody listens on the port of a datagram.
fn refusal_of(parsed: &Parsed, packet: &[u8]) -> Vec<u8> {
    let closed = |kind: u8, code: u8| [kind, code, 0, 0, 0, 0, 0, 0];
    let heads = [
        closed(icmp::V4_UNREACHABLE, icmp::V4_CODE_PORT),
        closed(icmp::V6_UNREACHABLE, icmp::V6_CODE_PORT),
    ];
    icmp_error(parsed.flow.dst, parsed.flow.src, heads, packet)
}

fn is_echo(parsed: &Parsed) -> bool {
    matches!(parsed.flow.protocol, icmp::PROTOCOL_V4 | icmp::PROTOCOL_V6)
}

#[test]
fn a_udp_port_is_well_while_the_echo_is_answered_and_nobody_refuses_the_datagram() {
    let play = |pings: bool, refuses: bool| {
        let mut node = node_with(checked_at(TICK, &by(Method::UdpPort)));
        node.played(secs(60), |parsed, packet| {
            let is_second = parsed.flow.dst == second();
            match is_echo(parsed) {
                true if pings || !is_second => vec![echo_of(packet)],
                false if refuses && is_second => vec![refusal_of(parsed, packet)],
                true | false => Vec::new(),
            }
        })
    };
    let closed = play(true, true);
    let sent: Vec<Instant> = closed.flagged(second(), 0);
    assert_eq!(sent[0], sent[1], "an echo and a datagram");
    assert_eq!(sent[4] - sent[0], secs(10));
    assert_eq!(
        closed.changes(second()),
        [(sent[4], Health::Abnormal)],
        "P-HC08: a port that is closed"
    );
    assert_eq!(closed.changes(first()), []);
    let gone = play(false, false);
    let sent = gone.flagged(second(), 0);
    assert_eq!(
        gone.changes(second()),
        [(sent[4] + secs(2), Health::Abnormal)],
        "P-HC08: a host that is gone"
    );
    // The hole of P-HC08: a host that limits its ICMP errors hides that the port is closed.
    assert_eq!(play(true, false).changes(second()), []);
}

#[test]
fn a_ping_is_all_that_a_target_is_asked_for_where_the_listener_says_so() {
    for listener in [0, TICK] {
        let mut node = node_with(checked_at(listener, &by(Method::Ping)));
        let log = node.played(secs(60), |parsed, packet| {
            assert!(is_echo(parsed), "P-HC09: nothing else is sent");
            match parsed.flow.dst == second() {
                true => Vec::new(),
                false => vec![echo_of(packet)],
            }
        });
        let sent = log.flagged(second(), 0);
        let down = [(sent[2] + secs(2), Health::Abnormal)];
        assert_eq!(log.changes(second()), down);
        assert_eq!(log.changes(first()), []);
        assert!(log.drops.iter().all(|it| *it == DropReason::HealthCheck));
    }
}

#[test]
fn a_custom_check_compares_the_beginning_of_the_answer() {
    let answers: [(&[u8], bool); 4] = [
        (&[0xf1, 0x3e], true),
        (&[0xf1, 0x3e, 0x81, 0x80], true),
        (&[0xf1, 0x3f], false),
        (&[0xf1], false),
    ];
    for (answer, well) in answers {
        let mut node = node_with(checked_at(TICK, &by(Method::UdpExchange(dns()))));
        let log = node.played(secs(60), |parsed, packet| {
            assert_eq!(udp::payload(packet, parsed), Some(&[0xf1, 0x3e, 0x01][..]));
            vec![datagram(parsed.flow.reversed(), answer)]
        });
        let is_well = log.changes(second()).is_empty();
        assert_eq!(is_well, well, "P-HC11: {answer:x?}");
    }
}

/// A TCP target that answers the request of a check with these pieces, and then closes or not.
fn says(parsed: &Parsed, packet: &[u8], pieces: &[&[u8]], closes: bool) -> Vec<Vec<u8>> {
    let flow = parsed.flow.reversed();
    let numbers = tcp::numbers(packet, parsed).expect("a segment");
    let segment = |flags: u8, sequence: u32, payload: &[u8]| {
        let segment = Segment {
            sequence,
            acknowledgement: numbers.end,
            payload,
            ..Segment::new(flow, flags)
        };
        segment.packet()
    };
    if parsed.tcp_flags & tcp::SYN != 0 {
        return vec![segment(tcp::SYN | tcp::ACK, 7_000, &[])];
    }
    if tcp::payload(packet, parsed).is_none_or(<[u8]>::is_empty) {
        return Vec::new();
    }
    assert_eq!(tcp::payload(packet, parsed), Some(&[0xf1, 0x3e, 0x01][..]));
    assert_eq!(numbers.acknowledged, Some(7_001));
    let mut sequence = 7_001;
    // An acknowledgement of its own first, as kernels do.
    let mut said = vec![segment(tcp::ACK, sequence, &[])];
    for piece in pieces {
        said.push(segment(tcp::ACK | tcp::PSH, sequence, piece));
        sequence += piece.len() as u32;
    }
    if closes {
        said.push(segment(tcp::FIN | tcp::ACK, sequence, &[]));
    }
    said
}

#[test]
fn over_tcp_a_custom_check_speaks_once_the_connection_is_open_and_cuts_it_when_it_was_answered() {
    let answers: [(&[&[u8]], bool, bool); 5] = [
        (&[&[0xf1, 0x3e, 0x81]], false, true),
        (&[&[0xf1], &[0x3e]], false, true),
        (&[&[0xf1, 0x3f]], false, false),
        (&[&[0xf1]], true, false),
        (&[], false, false),
    ];
    for (pieces, closes, well) in answers {
        let mut node = node_with(checked_at(0, &by(Method::TcpExchange(dns()))));
        let log = node.played(secs(60), |parsed, packet| {
            says(parsed, packet, pieces, closes)
        });
        let is_well = log.changes(second()).is_empty();
        assert_eq!(is_well, well, "P-HC11: {pieces:x?} {closes}");
        let begun = log.sent_to(second()).len();
        let cut = log.flagged(second(), tcp::RST).len();
        assert!(cut + 1 >= begun, "{cut} of {begun} connections were cut");
        assert!(!log.drops.contains(&DropReason::NoFlow), "{:?}", log.drops);
    }
}

#[test]
fn another_port_may_be_checked_than_the_one_that_gets_the_flows() {
    let check = HealthCheck {
        port: Some(9_000),
        ..HealthCheck::default()
    };
    let mut node = node_with(checked(check, [10, 10]));
    let log = node.live_by_flow(secs(60), |_, flow| match flow.dst_port {
        9_000 => Answer::SynAck,
        _ => Answer::Rst,
    });
    assert_eq!(log.changes(second()), [], "P-HC13");
    let targets = node.new_flows(0, 4);
    assert!(targets.contains(&second()));
    let outcome = node.client_sends(&web_flow(9), &segment(web_flow(9), tcp::SYN));
    let (_, bytes) = outcome.only_sent();
    assert_eq!(sound(untunnelled(bytes).1).flow.dst_port, 8_080);
}

#[test]
fn checks_come_from_the_vip_or_from_an_address_of_100_64_0_0_10() {
    let check = HealthCheck {
        source: ProbeSource::Shared,
        ..HealthCheck::default()
    };
    let mut node = node_with(checked(check, [10, 10]));
    let log = node.live(secs(60), the_second(Answer::Rst));
    let of = |family| {
        log.segments
            .iter()
            .filter(move |(_, it)| it.family == family)
    };
    assert!(of(Family::V4).count() > 20);
    let shared = Address::v4([100, 64, 0, 1]);
    assert!(
        of(Family::V4).all(|(_, it)| it.flow.src == shared),
        "P-HC14"
    );
    assert!(of(Family::V6).all(|(_, it)| it.flow.src == vip(Family::V6)));
    assert_eq!(log.changes(first()), [], "answers to it are found");
    assert_eq!(log.changes(second()).len(), 1);
}

#[test]
fn a_target_that_falls_again_and_again_has_to_succeed_more_often() {
    let check = HealthCheck {
        damping: Some(secs(600)),
        ..HealthCheck::default()
    };
    let mut node = node_with(checked(check, [10, 10]));
    let mut needed = Vec::new();
    for _ in 0..6 {
        let down = node.live(secs(20), the_second(Answer::Rst));
        assert_eq!(down.changes(second()).len(), 1);
        let mut good = 0;
        while node
            .live(secs(5), all(Answer::SynAck))
            .changes(second())
            .is_empty()
        {
            good += 1;
        }
        needed.push(good + 1);
    }
    assert_eq!(
        needed,
        [3, 3, 6, 12, 24, 24],
        "doubled from the third on, up to eight times"
    );
    node.live(secs(601), all(Answer::SynAck));
    node.live(secs(20), the_second(Answer::Rst));
    let log = node.live(secs(15), all(Answer::SynAck));
    assert_eq!(
        log.changes(second()).len(),
        1,
        "what is long ago is forgotten"
    );
}

#[test]
fn thousands_of_checks_do_not_beat_together() {
    let mut table = routes();
    set_web(&mut table, |web| {
        web.health = Some(HealthCheck::default());
        web.targets = (0..4_000_u16)
            .map(|number| anyedge_net::route_table::Target {
                port: 1_000 + number,
                ..targets([10, 10])[0]
            })
            .collect();
    });
    let mut node = node_with(table);
    node.live(secs(10), all(Answer::SynAck));
    let began = node.now;
    let log = node.live(secs(10), all(Answer::SynAck));
    let mut by_100_ms = [0_u32; 100];
    for at in log.sent_to(first()) {
        let tenth = (at - began).as_millis() as usize / 100;
        by_100_ms[tenth.min(99)] += 1;
    }
    let sent: u32 = by_100_ms.iter().sum();
    assert_eq!(sent, 8_000, "each twice in 10 s");
    // They are spread over the 3 s of 5 that leave room for a timeout: 133 in a tenth of a second, as drawn.
    let most = by_100_ms.iter().max().expect("tenths");
    assert!(*most < 200, "{by_100_ms:?}");
    let busy = by_100_ms.iter().filter(|sent| **sent > 80).count();
    assert_eq!(busy, 60, "{by_100_ms:?}");
}

/// A client's SYN, and the RST of the target that gets it: who that was, and what became of the RST.
fn refused(node: &mut Stage<ClbNode>, number: u32) -> (Address, Outcome) {
    let flow = web_flow(number);
    let target = node.open(flow);
    (target, node.answer(flow, target, tcp::RST | tcp::ACK))
}

#[test]
fn the_third_client_that_a_target_refuses_blocks_it_for_10_s() {
    let check = HealthCheck {
        passive: true,
        ..HealthCheck::default()
    };
    let mut node = node_with(checked(check, [10, 10]));
    node.live(secs(20), all(Answer::SynAck));
    let mut refusals = Vec::new();
    let mut number = 0;
    while refusals.len() < 3 {
        number += 1;
        let flow = web_flow(number);
        if node.open(flow) == second() {
            refusals.push(node.answer(flow, second(), tcp::RST | tcp::ACK));
            // The client sends its SYN again and may get another target.
            node.open(flow);
        }
    }
    let blocked = |health| Event::TargetHealth {
        target: second(),
        target_port: 8_080,
        health,
    };
    for outcome in &refusals {
        assert_eq!(
            outcome.drops,
            [DropReason::TargetRefused],
            "no client hears of it"
        );
    }
    assert!(!refusals[1].events.contains(&blocked(Health::Blocked)));
    assert!(
        refusals[2].events.contains(&blocked(Health::Blocked)),
        "P-HC15"
    );
    assert_eq!(node.new_flows(1_000, 6), [first(); 6]);
    let nanosecond = Duration::from_nanos(1);
    node.live(secs(10) - nanosecond, all(Answer::SynAck));
    assert_eq!(
        node.new_flows(2_000, 6),
        [first(); 6],
        "P-HC15: to the last nanosecond"
    );
    let log = node.live(nanosecond, all(Answer::SynAck));
    assert_eq!(log.changes(second()), [(node.now, Health::Healthy)]);
    assert!(node.new_flows(3_000, 6).contains(&second()));
}

#[test]
fn a_client_hears_of_a_refusal_when_there_is_nobody_else_and_where_nobody_asked() {
    let passive = HealthCheck {
        passive: true,
        ..HealthCheck::default()
    };
    for (check, weights) in [(passive, [10, 0]), (HealthCheck::default(), [10, 10])] {
        let mut node = node_with(checked(check, weights));
        for number in 0..8 {
            let (target, outcome) = refused(&mut node, number);
            assert!(weights[1] > 0 || target == first());
            outcome.only_sent();
        }
    }
}
