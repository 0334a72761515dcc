//! What moves flows that are under way to other targets, and how slowly; and how long a flow may be silent.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyedge_net::event::Health;
use anyedge_net::route_table::{HealthCheck, Listener, RescheduleOn};

use super::*;

const NOTHING: RescheduleOn = RescheduleOn {
    unbind: false,
    weight_zero: false,
    unhealthy: false,
    scale_out: false,
};

/// Routes whose `web` listener moves flows `on` these, with targets of these weights, changed further.
fn routes_with(
    revision: u64,
    (on, weights): (RescheduleOn, [u8; 2]),
    change: impl Fn(&mut RouteTable),
) -> RouteTable {
    let mut table = routes();
    table.revision = Revision(revision);
    let web = Arc::make_mut(&mut table.clbs[0].listeners[0]);
    web.targets = targets(weights);
    web.reschedule_on = on;
    change(&mut table);
    table
}

fn web(table: &mut RouteTable) -> &mut Listener {
    Arc::make_mut(&mut table.clbs[0].listeners[0])
}

/// Flows of these numbers with a whole handshake, each with its target.
fn establish(node: &mut Stage<ClbNode>, count: u32) -> Vec<(FlowKey, Address)> {
    let flows = (0..count).map(web_flow);
    flows.map(|flow| (flow, node.establish(flow))).collect()
}

/// Flows that were cut.
fn cut(outcome: &Outcome) -> BTreeSet<FlowKey> {
    let flows = outcome.events.iter().filter_map(|event| match event {
        Event::FlowClosed {
            flow,
            end: FlowEnd::Unbound,
        } => Some(*flow),
        _ => None,
    });
    flows.collect()
}

/// Those of the flows that have the first target.
fn on_first(flows: &[(FlowKey, Address)]) -> BTreeSet<FlowKey> {
    let first = backend(1, Family::V4);
    let flows = flows.iter().filter(|(_, target)| *target == first);
    flows.map(|(flow, _)| *flow).collect()
}

#[test]
fn a_target_that_loses_its_weight_loses_its_flows_where_the_listener_says_so() {
    for is_on in [true, false] {
        let on = RescheduleOn {
            weight_zero: is_on,
            ..NOTHING
        };
        let mut node = node_with(routes_with(1, (on, [10, 10]), |_| {}));
        let flows = establish(&mut node, 10);
        let outcome = node.apply(routes_with(2, (on, [0, 10]), |_| {}));
        let expected = if is_on {
            on_first(&flows)
        } else {
            BTreeSet::new()
        };
        assert_eq!(cut(&outcome), expected);
        assert_eq!(
            outcome.sent.len(),
            expected.len() * 2,
            "a RST to both ends of each"
        );
    }
}

#[test]
fn udp_flows_go_on_at_another_target() {
    let on = RescheduleOn {
        weight_zero: true,
        ..NOTHING
    };
    let tick = |revision, weights| {
        routes_with(revision, (NOTHING, [10, 10]), |table| {
            let tick = Arc::make_mut(&mut table.clbs[0].listeners[2]);
            tick.scheduler = Scheduler::WeightedRoundRobin;
            tick.targets = targets(weights);
            tick.reschedule_on = on;
        })
    };
    let mut node = node_with(tick(1, [10, 0]));
    let flow = client_flow(Family::V4, udp::PROTOCOL, TICK_PORT, 1);
    assert_eq!(node.open(flow), backend(1, Family::V4));
    node.apply(tick(2, [0, 10]));
    assert_eq!(node.open(flow), backend(2, Family::V4));
}

#[test]
fn a_new_target_gets_its_share_of_the_flows_under_way() {
    let on = RescheduleOn {
        scale_out: true,
        ..NOTHING
    };
    let alone = routes_with(1, (on, [10, 10]), |table| {
        web(table).targets.retain(|target| target.host == WEB_1);
    });
    let mut node = Stage::new(ClbNode::new(CLB_NODE_NAME, Limits::of(512), Seed(7)), alone);
    establish(&mut node, 200);
    let mut outcome = node.apply(routes_with(2, (on, [10, 10]), |_| {}));
    let mut moved = cut(&outcome);
    for _ in 0..10 {
        outcome = node.pass(Duration::from_millis(1));
        moved.extend(cut(&outcome));
    }
    assert!((80..120).contains(&moved.len()), "{} of 200", moved.len());
    assert_eq!(cut(&node.pass(secs(5))).len(), 0, "once");
}

/// Routes whose web targets are checked.
fn checked(on: RescheduleOn) -> RouteTable {
    routes_with(1, (on, [10, 10]), |table| {
        web(table).health = Some(HealthCheck::default());
    })
}

/// Time passes while the targets that `answers` names answer checks; gives the flows that were cut.
fn live(
    node: &mut Stage<ClbNode>,
    seconds: u64,
    answers: &[u8],
) -> (BTreeSet<FlowKey>, Vec<Health>) {
    let (mut gone, mut healths) = (BTreeSet::new(), Vec::new());
    for _ in 0..seconds * 10 {
        let mut outcome = node.pass(Duration::from_millis(100));
        gone.extend(cut(&outcome));
        for (meta, bytes) in core::mem::take(&mut outcome.sent) {
            let (key, inner) = untunnelled(&bytes);
            let parsed = sound(inner);
            let number = if meta.peer == WEB_1 { 1 } else { 2 };
            let is_check =
                parsed.tcp_flags == tcp::SYN && parsed.flow.src == vip(parsed.flow.family());
            if !is_check || !answers.contains(&number) {
                continue;
            }
            let answer = Segment {
                sequence: 77,
                acknowledgement: tcp::sequence(inner, &parsed).wrapping_add(1),
                ..Segment::new(parsed.flow.reversed(), tcp::SYN | tcp::ACK)
            };
            let path = if number == 1 { TO_WEB_1 } else { TO_WEB_2 };
            let told = node.tunnel(path, meta.peer, key, &answer.packet());
            gone.extend(cut(&told));
        }
        healths.extend(outcome.events.iter().filter_map(|event| match event {
            Event::TargetHealth { health, .. } => Some(*health),
            _ => None,
        }));
    }
    (gone, healths)
}

#[test]
fn an_abnormal_target_loses_its_flows_where_the_listener_says_so() {
    for is_on in [true, false] {
        let on = RescheduleOn {
            unhealthy: is_on,
            ..NOTHING
        };
        let mut node = node_with(checked(on));
        live(&mut node, 1, &[1, 2]);
        let flows = establish(&mut node, 10);
        let (gone, healths) = live(&mut node, 30, &[2]);
        assert!(healths.contains(&Health::Abnormal), "{healths:?}");
        let expected = if is_on {
            on_first(&flows)
        } else {
            BTreeSet::new()
        };
        assert_eq!(gone, expected);
    }
}

#[test]
fn with_all_targets_abnormal_flows_stay_where_they_are() {
    let on = RescheduleOn {
        unhealthy: true,
        ..NOTHING
    };
    let mut node = node_with(checked(on));
    live(&mut node, 1, &[1, 2]);
    let flows = establish(&mut node, 10);
    let (gone, _) = live(&mut node, 30, &[]);
    // The first to be found abnormal may lose its flows before the other is found, too.
    assert!(gone.len() <= 5, "{} of {}", gone.len(), flows.len());
    for number in 20..24 {
        node.open(web_flow(number));
    }
    assert_eq!(live(&mut node, 10, &[]).0.len(), 0);
}

#[test]
fn flows_are_cut_one_after_the_other_within_the_spread() {
    let spread = |revision, weights| {
        let on = RescheduleOn {
            weight_zero: true,
            ..NOTHING
        };
        routes_with(revision, (on, weights), |table| {
            table.clbs[0].unbind_spread = secs(10);
        })
    };
    let mut node = Stage::new(
        ClbNode::new(CLB_NODE_NAME, Limits::of(512), Seed(7)),
        spread(1, [10, 10]),
    );
    establish(&mut node, 200);
    let mut counts = vec![cut(&node.apply(spread(2, [0, 10]))).len()];
    for _ in 0..10 {
        counts.push(cut(&node.pass(secs(1))).len());
    }
    assert_eq!(counts.iter().sum::<usize>(), 100, "{counts:?}");
    let busiest = counts.iter().max().expect("eleven counts");
    assert!(*busiest <= 25, "{counts:?}");
    assert_eq!(cut(&node.pass(secs(20))).len(), 0);
}

#[test]
fn unbinding_with_a_spread_ends_with_all_flows_cut() {
    let spread = |revision, all: bool| {
        routes_with(revision, (NOTHING, [10, 10]), |table| {
            table.clbs[0].unbind_drain = Some(secs(2));
            table.clbs[0].unbind_spread = secs(4);
            web(table)
                .targets
                .retain(|target| all || target.host == WEB_2);
        })
    };
    let mut node = node_with(spread(1, true));
    let flows = establish(&mut node, 20);
    let mut gone = cut(&node.apply(spread(2, false)));
    gone.extend(cut(&node.pass(Duration::from_millis(1_999))));
    assert_eq!(gone.len(), 0, "the drain comes first");
    gone.extend(cut(&node.pass(secs(5))));
    assert_eq!(gone, on_first(&flows));
}

#[test]
fn a_listener_that_moves_flows_at_unbinding_does_not_wait_for_the_drain() {
    let on = RescheduleOn {
        unbind: true,
        ..NOTHING
    };
    let table = |revision, all: bool| {
        routes_with(revision, (on, [10, 10]), |table| {
            table.clbs[0].unbind_drain = Some(secs(60));
            web(table)
                .targets
                .retain(|target| all || target.host == WEB_2);
        })
    };
    let mut node = node_with(table(1, true));
    let flows = establish(&mut node, 10);
    assert_eq!(cut(&node.apply(table(2, false))), on_first(&flows));
}

#[test]
fn an_established_flow_may_be_silent_as_long_as_its_listener_says() {
    let table = routes_with(1, (NOTHING, [10, 10]), |table| {
        web(table).idle_timeout = Some(secs(60));
    });
    let mut node = node_with(table);
    let flow = web_flow(0);
    node.establish(flow);
    node.pass(secs(59));
    node.say(flow, tcp::ACK).only_sent();
    node.pass(secs(60));
    let late = node.say(flow, tcp::ACK);
    assert_eq!(late.drops, [DropReason::NoFlow]);
    assert!(
        late.events.contains(&ended(flow, FlowEnd::IdleTimeout)),
        "{:?}",
        late.events
    );
}
