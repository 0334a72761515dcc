//! Who gets new flows: P-HC03, P-HC04, and what is done when nobody should.

use anyedge_net::route_table::Target;

use super::*;

/// The event of listener `web`.
const fn all_abnormal(begins: bool) -> Event {
    Event::AllTargetsAbnormal {
        clb: MAIN,
        listener: 0,
        begins,
    }
}

/// Events of listeners as a whole.
fn whole(log: &Log) -> Vec<Event> {
    let events = log.events.iter().map(|(_, event)| *event);
    events
        .filter(|event| matches!(event, Event::AllTargetsAbnormal { .. }))
        .collect()
}

#[test]
fn an_abnormal_target_gets_no_new_flow_and_keeps_those_it_has() {
    let mut node = node_with(defaults());
    let flows = [web_flow(1), web_flow(2)];
    let targets = flows.map(|flow| node.establish(flow));
    assert_ne!(targets[0], targets[1]);
    node.live(secs(30), the_second(Answer::Silence));
    assert_eq!(node.new_flows(10, 6), [first(); 6]);
    for (flow, target) in flows.into_iter().zip(targets) {
        assert_eq!(target_of(&node.say(flow, tcp::ACK)), target);
        node.answer(flow, target, tcp::ACK).only_sent();
    }
}

#[test]
fn with_health_off_a_dead_target_goes_on_to_get_flows() {
    let mut table = defaults();
    table.mechanisms.health = false;
    let mut node = node_with(table);
    let log = node.live(secs(60), the_second(Answer::Silence));
    assert_eq!((log.segments.len(), log.events.len()), (0, 0));
    assert!(node.new_flows(0, 4).contains(&second()));
}

#[test]
fn a_target_of_weight_0_is_checked_all_the_same() {
    let mut node = node_with(checked(HealthCheck::default(), [10, 0]));
    let log = node.live(secs(60), the_second(Answer::Silence));
    assert_eq!(log.sent_to(second()).len(), 12, "P-HC04");
    assert_eq!(log.changes(second()).len(), 1);
    node.apply(defaults());
    assert_eq!(
        node.new_flows(0, 4),
        [first(); 4],
        "weighted, and still abnormal"
    );
}

#[test]
fn with_all_targets_abnormal_all_get_flows_until_one_is_well() {
    let mut node = node_with(defaults());
    let log = node.live(secs(30), all(Answer::Silence));
    assert_eq!(whole(&log), [all_abnormal(true)], "P-HC03");
    let taken = node.new_flows(0, 10);
    assert_eq!(taken.iter().filter(|target| **target == first()).count(), 5);
    let log = node.live(secs(60), |_, target| {
        if target.octets().last() == first().octets().last() {
            Answer::SynAck
        } else {
            Answer::Silence
        }
    });
    assert_eq!(log.changes(first()).len(), 1);
    assert_eq!(node.new_flows(20, 4), [first(); 4]);
    assert_eq!(
        whole(&log),
        [],
        "IPv6 still has none: fd00::11 is no 10.0.0.11"
    );
    let log = node.live(secs(60), all(Answer::SynAck));
    assert_eq!(whole(&log), [all_abnormal(false)]);
}

#[test]
fn without_fail_open_a_client_is_refused_when_all_targets_are_abnormal() {
    let mut refusing = defaults();
    refusing.clbs[0].fail_open = false;
    let mut switched_off = defaults();
    switched_off.mechanisms.fail_open = false;
    for table in [refusing, switched_off] {
        let mut node = node_with(table);
        let log = node.live(secs(30), all(Answer::Silence));
        assert_eq!(whole(&log), [all_abnormal(true)]);
        let refused = node.say(web_flow(1), tcp::SYN);
        refused.told(DropReason::NoTarget);
    }
}

#[test]
fn all_weights_0_is_no_question_of_health() {
    let mut node = node_with(checked(HealthCheck::default(), [0, 0]));
    for answer in [Answer::SynAck, Answer::Silence] {
        let log = node.live(secs(30), all(answer));
        assert_eq!(whole(&log), []);
        node.say(web_flow(1), tcp::SYN).told(DropReason::NoTarget);
    }
}

#[test]
fn a_target_of_weight_0_does_not_help_when_those_of_weight_are_abnormal() {
    let mut node = node_with(checked(HealthCheck::default(), [0, 10]));
    let log = node.live(secs(30), the_second(Answer::Silence));
    assert_eq!(whole(&log), [all_abnormal(true)]);
    assert_eq!(node.new_flows(0, 4), [second(); 4]);
}

#[test]
fn maglev_moves_only_the_flows_of_the_abnormal_target() {
    let table = || {
        let mut table = defaults();
        set_web(&mut table, |web| web.scheduler = maglev(&web.targets));
        table
    };
    let mut well = node_with(table());
    let before = well.new_flows(0, 30);
    let mut node = node_with(table());
    node.live(secs(30), the_second(Answer::Silence));
    assert_eq!(node.new_flows(0, 30), [first(); 30]);
    let mut node = node_with(table());
    node.live(secs(30), all(Answer::Silence));
    assert_eq!(
        node.new_flows(0, 30),
        before,
        "all abnormal: as if all were well"
    );
}

#[test]
fn listeners_of_a_load_balancer_that_check_a_server_alike_share_the_check() {
    let mut table = defaults();
    let check = table.clbs[0].listeners[0].health.clone();
    std::sync::Arc::make_mut(&mut table.clbs[0].listeners[1]).health = check;
    let mut node = node_with(table);
    let log = node.live(secs(60), the_second(Answer::Silence));
    assert_eq!(log.sent_to(second()).len(), 12);
    assert_eq!(log.changes(second()).len(), 1);
    let too = client_flow(Family::V4, tcp::PROTOCOL, 81, 7);
    assert_eq!(
        [node.open(too), node.open(FlowKey { src_port: 9, ..too })],
        [first(); 2]
    );
}

#[test]
fn what_is_not_checked_is_taken_to_be_alive() {
    let mut node = node();
    let log = node.live(secs(60), all(Answer::Silence));
    assert_eq!((log.segments.len(), log.events.len()), (0, 0));
    let mut taken = node.new_flows(0, 2);
    taken.sort();
    assert_eq!(taken, [first(), second()]);
}

/// S-BE15: one server, healthy on 8080 and abnormal on 8085.
#[test]
fn a_server_is_healthy_on_one_port_and_abnormal_on_another() {
    let mut table = defaults();
    set_web(&mut table, |web| {
        let of_first = web.targets.iter().copied();
        let mut both: Vec<Target> = of_first
            .filter(|target| target.address == first())
            .collect();
        both.push(Target {
            port: 8_085,
            ..both[0]
        });
        both.reverse();
        web.targets = both;
    });
    let mut node = node_with(table);
    let log = node.live_by_flow(secs(60), |_, flow| {
        if flow.dst_port == 8_085 {
            Answer::Silence
        } else {
            Answer::SynAck
        }
    });
    let changed: Vec<(u16, Health)> = log
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::TargetHealth {
                target_port,
                health,
                ..
            } => Some((*target_port, *health)),
            _ => None,
        })
        .collect();
    assert_eq!(changed, [(8_085, Health::Abnormal)]);
    for number in 0..4 {
        let flow = web_flow(number);
        let outcome = node.say(flow, tcp::SYN);
        let (_, bytes) = outcome.only_sent();
        let sent = sound(untunnelled(bytes).1).flow;
        assert_eq!((sent.dst, sent.dst_port), (first(), 8_080));
    }
}

#[test]
fn all_targets_of_a_host_fail_with_it_and_come_back_with_it() {
    let mut table = defaults();
    set_web(&mut table, |web| {
        let [one, other] = web.targets[..2] else {
            panic!("two");
        };
        let also = |last: u8| anyedge_net::route_table::Target {
            address: Address::v4([10, 0, 0, last]),
            ..one
        };
        web.targets = vec![one, also(31), also(41), also(42), other];
    });
    let of_host = |events: &Log| {
        let abnormal = |(_, event): &&(Instant, Event)| matches!(event, Event::TargetHealth { health: Health::Abnormal, target, .. } if *target != second());
        events.events.iter().filter(abnormal).count()
    };
    let mut node = node_with(table);
    let calm = node.live(secs(20), all(Answer::SynAck));
    assert_eq!(of_host(&calm), 0);
    let path = |up| LocalEvent::PathState { path: TO_WEB_1, up };
    node.event(path(false));
    let log = node.live(secs(30), all(Answer::SynAck));
    assert_eq!(of_host(&log), 4, "S-EN06: all of the host, and no other");
    assert_eq!(node.new_flows(0, 8), [second(); 8]);
    node.event(path(true));
    let log = node.live(secs(30), all(Answer::SynAck));
    let back = |(_, event): &&(Instant, Event)| {
        matches!(
            event,
            Event::TargetHealth {
                health: Health::Healthy,
                ..
            }
        )
    };
    assert_eq!(log.events.iter().filter(back).count(), 4);
}
