//! Edits of targets: a node that amends what it derived does all that one does which lays it anew at each table.
//!
//! Both get the same tables, packets and time. The second one's tables have, every other time, a load balancer more at
//! the end, of another region: that is no edit, so it begins from the names each time, and means nothing else.

use std::sync::Arc;

use anyedge_net::route_table::{HealthCheck, Listener, Target};
use anyedge_net::time::Instant;
use proptest::prelude::*;

use super::*;

/// Which listener: by load balancer and place.
type Place = (usize, usize);

#[derive(Clone, Debug)]
enum Edit {
    Weight(Place, usize, u8),
    Unbind(Place, usize),
    Bind(Place, u8, usize),
    /// The same server on the other host.
    Rehost(Place, usize),
    Port(Place, usize, u16),
    Reverse(Place),
    Health(Place, u8),
    Spread(Place),
    FailOpen(usize, bool),
    Drain(usize, u64),
    Nothing,
}

#[derive(Clone, Debug)]
enum Act {
    Edits(Vec<Edit>),
    Pass(u64),
    Open(u32, bool),
    Say(u32),
}

/// The ways in which servers are checked, by number; none for others.
fn asked(number: u8) -> Option<HealthCheck> {
    let slow = HealthCheck {
        interval: secs(9),
        ..HealthCheck::default()
    };
    let hasty = HealthCheck {
        interval: secs(2),
        timeout: Duration::from_millis(300),
        unhealthy: 2,
        healthy: 1,
        ..HealthCheck::default()
    };
    let ways = [HealthCheck::default(), slow, hasty];
    ways.get(usize::from(number)).cloned()
}

/// A server of a small pool: addresses of both families, two ports.
fn server(number: u8) -> Target {
    let family = if number.is_multiple_of(4) {
        Family::V6
    } else {
        Family::V4
    };
    Target {
        address: backend(1 + number % 7, family),
        port: 8_080 + u16::from(number / 7 % 2),
        weight: 1 + number % 3,
        host: if number.is_multiple_of(2) {
            WEB_1
        } else {
            WEB_2
        },
    }
}

fn change(listener: &mut Listener, edit: &Edit) {
    let targets = &mut listener.targets;
    match *edit {
        Edit::Weight(_, at, weight) => {
            if let Some(target) = targets.get_mut(at) {
                target.weight = weight;
            }
        }
        Edit::Unbind(_, at) if at < targets.len() => {
            targets.remove(at);
        }
        Edit::Bind(_, number, at) => {
            let target = server(number);
            let is_it = |it: &Target| (it.address, it.port) == (target.address, target.port);
            if !targets.iter().any(is_it) {
                targets.insert(at.min(targets.len()), target);
            }
        }
        Edit::Rehost(_, at) => {
            if let Some(target) = targets.get_mut(at) {
                target.host = if target.host == WEB_1 { WEB_2 } else { WEB_1 };
            }
        }
        Edit::Port(_, at, port) => {
            let taken = targets.get(at).is_none_or(|it| {
                let place = (it.address, port);
                targets.iter().any(|it| (it.address, it.port) == place)
            });
            if !taken {
                targets[at].port = port;
            }
        }
        Edit::Reverse(_) => targets.reverse(),
        Edit::Health(_, number) => listener.health = asked(number),
        Edit::Spread(_) => {
            listener.scheduler = match listener.scheduler {
                Scheduler::WeightedRoundRobin => maglev(targets),
                Scheduler::Maglev { .. } => Scheduler::WeightedLeastConnections,
                Scheduler::WeightedLeastConnections | Scheduler::IpHash { .. } => {
                    Scheduler::WeightedRoundRobin
                }
            }
        }
        Edit::Unbind(..) | Edit::FailOpen(..) | Edit::Drain(..) | Edit::Nothing => {}
    }
    if matches!(listener.scheduler, Scheduler::Maglev { .. }) {
        listener.scheduler = maglev(&listener.targets);
    }
}

fn edit(table: &mut RouteTable, edit: &Edit) {
    match edit {
        Edit::Weight(place, ..)
        | Edit::Unbind(place, _)
        | Edit::Bind(place, ..)
        | Edit::Rehost(place, _)
        | Edit::Port(place, ..)
        | Edit::Reverse(place)
        | Edit::Health(place, _)
        | Edit::Spread(place) => {
            let listener = &mut table.clbs[place.0].listeners[place.1];
            change(Arc::make_mut(listener), edit);
        }
        Edit::FailOpen(clb, fail_open) => table.clbs[*clb].fail_open = *fail_open,
        Edit::Drain(clb, drain) => {
            table.clbs[*clb].unbind_drain = Some(secs(*drain)).filter(|drain| *drain > secs(0));
        }
        Edit::Nothing => {}
    }
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let place = || (0_usize..2, 0_usize..3);
    prop_oneof![
        2 => (place(), 0_usize..6, 0_u8..3).prop_map(|(at, target, weight)| Edit::Weight(at, target, weight)),
        3 => (place(), 0_usize..6).prop_map(|(at, target)| Edit::Unbind(at, target)),
        4 => (place(), 0_u8..14, 0_usize..6).prop_map(|(at, server, place)| Edit::Bind(at, server, place)),
        1 => (place(), 0_usize..6).prop_map(|(at, target)| Edit::Rehost(at, target)),
        1 => (place(), 0_usize..6, 8_080_u16..8_083).prop_map(|(at, target, port)| Edit::Port(at, target, port)),
        1 => place().prop_map(Edit::Reverse),
        2 => (place(), 0_u8..5).prop_map(|(at, number)| Edit::Health(at, number)),
        1 => place().prop_map(Edit::Spread),
        1 => (0_usize..2, any::<bool>()).prop_map(|(clb, fail_open)| Edit::FailOpen(clb, fail_open)),
        1 => (0_usize..2, 0_u64..6).prop_map(|(clb, drain)| Edit::Drain(clb, drain)),
        1 => Just(Edit::Nothing),
    ]
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        5 => proptest::collection::vec(any_edit(), 1..3).prop_map(Act::Edits),
        3 => (0_u64..6_000_000_000).prop_map(Act::Pass),
        3 => (0_u32..60, any::<bool>()).prop_map(|(number, v6)| Act::Open(number, v6)),
        2 => (0_u32..60).prop_map(Act::Say),
    ]
}

/// The two nodes, and what the last table was.
struct Twins {
    amending: Stage<ClbNode>,
    laying: Stage<ClbNode>,
    table: RouteTable,
    has_guest: bool,
}

impl Twins {
    fn new() -> Twins {
        let mut table = routes();
        for clb in 0..2 {
            for listener in 0..2 {
                edit(&mut table, &Edit::Health((clb, listener), clb as u8));
            }
        }
        Twins {
            amending: node_with(table.clone()),
            laying: node_with(table.clone()),
            table,
            has_guest: false,
        }
    }

    fn apply(&mut self, edits: &[Edit]) -> [Outcome; 2] {
        for change in edits {
            edit(&mut self.table, change);
        }
        self.table.revision.0 += 1;
        self.has_guest = !self.has_guest;
        let mut with_guest = self.table.clone();
        if self.has_guest {
            let mut guest = with_guest.clbs[OTHER.index()].clone();
            (guest.name, guest.listeners) = ("zzz".to_owned(), Vec::new());
            with_guest.clbs.push(guest);
        }
        [
            self.amending.apply(self.table.clone()),
            self.laying.apply(with_guest),
        ]
    }

    fn each(&mut self, act: impl Fn(&mut Stage<ClbNode>) -> Outcome) -> [Outcome; 2] {
        [act(&mut self.amending), act(&mut self.laying)]
    }

    /// Time passes for both, and checks are answered as the server and the second say.
    fn live(&mut self, duration: Duration) -> [Vec<(Instant, String)>; 2] {
        [&mut self.amending, &mut self.laying].map(|node| live(node, duration))
    }

    fn derived(&self) -> [Vec<String>; 2] {
        let table = &self.table;
        [&self.amending, &self.laying].map(|node| derived(&node.forwarder, table))
    }
}

/// All that a node keeps of listeners and targets.
fn derived(node: &ClbNode, table: &RouteTable) -> Vec<String> {
    let mut all = node.checks.shown();
    all.push(format!("{:?}", node.unbinding));
    for (clb, listener, _) in node.served.places() {
        let listener = &table.clbs[clb.index()].listeners[usize::from(*listener)];
        for target in &listener.targets {
            let host = node.sync.host_of(&target.address, target.port);
            all.push(format!("{target:?} on {host:?}"));
        }
    }
    let none = node.sync.host_of(&backend(1, Family::V4), 9);
    all.push(format!("{none:?}"));
    all
}

fn live(node: &mut Stage<ClbNode>, duration: Duration) -> Vec<(Instant, String)> {
    let until = node.now + duration;
    let mut log = Vec::new();
    while let Some(due) = node.forwarder.poll_timeout().filter(|due| due.at <= until) {
        let mut outcomes = vec![node.pass(due.at - node.now)];
        while let Some(outcome) = outcomes.pop() {
            note(node.now, &outcome, &mut log);
            for (meta, bytes) in &outcome.sent {
                outcomes.extend(answered(node, meta, bytes));
            }
        }
    }
    node.now = until;
    log
}

fn note(now: Instant, outcome: &Outcome, log: &mut Vec<(Instant, String)>) {
    let Outcome {
        sent,
        drops,
        events,
    } = outcome;
    log.extend(sent.iter().map(|sent| (now, format!("{sent:?}"))));
    log.extend(drops.iter().map(|reason| (now, format!("{reason:?}"))));
    log.extend(events.iter().map(|event| (now, format!("{event:?}"))));
}

/// The answer to a check, from where it was sent to; servers are well and ill in turn, each at its own times.
fn answered(node: &mut Stage<ClbNode>, meta: &Meta, bytes: &[u8]) -> Option<Outcome> {
    let path = meta.port.path()?;
    let (key, inner) = untunnelled(bytes);
    let parsed = sound(inner);
    let is_check = parsed.flow.src_port >= crate::health::PORT_MIN;
    if parsed.tcp_flags != tcp::SYN || !is_check {
        return None;
    }
    let number = u64::from(*parsed.flow.dst.octets().last()?) + u64::from(parsed.flow.dst_port);
    let seconds = node.now.as_nanos() / 1_000_000_000;
    let flags = match (number + seconds / 11) % 3 {
        0 => tcp::RST | tcp::ACK,
        1 if number.is_multiple_of(2) => return None,
        _ => tcp::SYN | tcp::ACK,
    };
    let l4 = parsed.l4(inner);
    let sequence = u32::from_be_bytes([l4[4], l4[5], l4[6], l4[7]]);
    let answer = crate::testbed::Segment {
        acknowledgement: sequence.wrapping_add(1),
        ..crate::testbed::Segment::new(parsed.flow.reversed(), flags)
    };
    Some(node.tunnel(path, meta.peer, key, &answer.packet()))
}

fn shown([one, other]: &[Outcome; 2]) -> [Vec<(Instant, String)>; 2] {
    [one, other].map(|outcome| {
        let mut log = Vec::new();
        note(Instant::ZERO, outcome, &mut log);
        log
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn a_node_that_amends_does_what_one_does_that_lays_all_anew(
        acts in proptest::collection::vec(any_act(), 1..50),
    ) {
        let mut twins = Twins::new();
        for act in acts {
            let [amending, laying] = match &act {
                Act::Edits(edits) => shown(&twins.apply(edits)),
                Act::Pass(nanos) => twins.live(Duration::from_nanos(*nanos)),
                Act::Open(number, v6) => {
                    let family = if *v6 { Family::V6 } else { Family::V4 };
                    let port = if number.is_multiple_of(3) { 81 } else { WEB };
                    let flow = client_flow(family, tcp::PROTOCOL, port, *number);
                    shown(&twins.each(|node| node.say(flow, tcp::SYN)))
                }
                Act::Say(number) => {
                    let flow = web_flow(*number);
                    shown(&twins.each(|node| node.say(flow, tcp::ACK)))
                }
            };
            prop_assert_eq!(amending, laying, "after {:?}", act);
            let [amending, laying] = twins.derived();
            prop_assert_eq!(amending, laying, "after {:?}", act);
        }
        let [amending, laying] = twins.live(secs(40));
        prop_assert_eq!(amending, laying, "from then on");
    }
}

#[test]
fn a_table_with_another_target_is_an_edit_and_one_with_another_name_is_not() {
    let mut twins = Twins::new();
    let (old, place) = (
        twins.table.clone(),
        (twins.amending.forwarder.own, Some(HERE)),
    );
    edit(&mut twins.table, &Edit::Unbind((1, 0), 0));
    let node = &twins.amending.forwarder;
    let edits = node.edits(&old, &twins.table, place);
    let edits = edits.expect("names are the same");
    let [only] = &edits.listeners[..] else {
        panic!("{} listeners", edits.listeners.len());
    };
    assert_eq!((only.clb, only.place), (ALT, 0));
    assert_eq!((only.gone.len(), only.come.len()), (1, 0));
    let mut renamed = twins.table.clone();
    Arc::make_mut(&mut renamed.clbs[0].listeners[0]).name = "other".to_owned();
    assert!(node.edits(&old, &renamed, place).is_none());
    renamed = twins.table.clone();
    renamed.nodes[WEB_1.index()].name = "host.other".to_owned();
    assert!(node.edits(&old, &renamed, place).is_none());
    assert!(node.edits(&old, &twins.table, (GONE, place.1)).is_none());
}

const HERE: anyedge_net::id::RegionId = anyedge_net::id::RegionId(0);
const GONE: NodeId = NodeId(99);
