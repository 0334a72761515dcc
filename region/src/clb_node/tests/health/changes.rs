//! New versions of the routes and restarts: what is remembered of a target, and what is not.

use proptest::prelude::*;

use super::*;

#[test]
fn a_node_that_starts_forwards_at_once_to_all_targets_of_its_first_table() {
    let mut node = node_with(defaults());
    let mut taken = node.new_flows(0, 2);
    taken.sort();
    assert_eq!(taken, [first(), second()]);
    let log = node.live(secs(25), all(Answer::SynAck));
    assert_eq!(log.events, [], "healthy they were, and are");
}

#[test]
fn a_new_version_of_the_routes_neither_delays_nor_forgets() {
    let mut undisturbed = node_with(defaults());
    let expected = undisturbed.live(secs(60), the_second(Answer::Silence));
    let mut node = node_with(defaults());
    let mut log = Log::default();
    for _ in 0..60 {
        let part = node.live(secs(1), the_second(Answer::Silence));
        log.events.extend(part.events);
        log.segments.extend(part.segments);
        node.apply(defaults());
    }
    assert_eq!(log.events, expected.events);
    assert_eq!(log.sent_to(second()), expected.sent_to(second()));
    assert_eq!(node.new_flows(0, 4), [first(); 4]);
}

#[test]
fn another_weight_or_another_check_does_not_make_a_target_new() {
    let mut node = node_with(defaults());
    node.live(secs(30), the_second(Answer::Silence));
    let slower = HealthCheck {
        interval: secs(30),
        ..HealthCheck::default()
    };
    for table in [
        checked(HealthCheck::default(), [10, 90]),
        checked(slower, [10, 90]),
    ] {
        let applied = node.apply(table);
        assert_eq!(applied.events.len(), 1, "{:?}", applied.events);
        assert_eq!(node.open(web_flow(applied.events.len() as u32)), first());
    }
    let log = node.live(secs(61), all(Answer::SynAck));
    assert_eq!(log.sent_to(second()).len(), 2, "every 30 s");
}

#[test]
fn a_target_that_was_unbound_and_is_bound_again_is_new() {
    let mut node = node_with(defaults());
    node.live(secs(30), all(Answer::SynAck));
    node.apply(without_the_second(defaults()));
    node.live(secs(5), all(Answer::SynAck));
    node.apply(defaults());
    assert_eq!(node.new_flows(0, 4), [first(); 4]);
    let log = node.live(secs(15), all(Answer::SynAck));
    assert_eq!(log.changes(second()), [(node.now, Health::Healthy)]);
}

#[test]
fn checks_that_begin_later_find_known_targets_alive_and_those_that_end_leave_them_open() {
    let mut node = node();
    let applied = node.apply(defaults());
    assert_eq!(applied.events.len(), 1, "{:?}", applied.events);
    node.live(secs(30), the_second(Answer::Silence));
    assert_eq!(node.new_flows(0, 4), [first(); 4]);
    let applied = node.apply(routes());
    let closed = Event::TargetHealth {
        target: second(),
        target_port: 8_080,
        health: Health::Closed,
    };
    assert!(applied.events.contains(&closed), "{:?}", applied.events);
    assert!(node.new_flows(10, 2).contains(&second()));
}

#[test]
fn checks_of_thousands_of_targets_spread_over_the_interval() {
    let mut table = defaults();
    set_web(&mut table, |web| {
        let one = web.targets[0];
        let numbered = (0..4_000_u16).map(|port| anyedge_net::route_table::Target {
            port: 1_000 + port,
            ..one
        });
        web.targets = numbered.collect();
    });
    let mut node = node_with(table);
    let log = node.live(secs(10), all(Answer::SynAck));
    let sent = log.sent_to(first());
    assert_eq!(sent.len(), 8_000);
    let busiest = sent
        .chunk_by(|a, b| (*b - *a).as_nanos() == 0)
        .map(<[Instant]>::len)
        .max();
    assert!(busiest < Some(5), "{busiest:?} at one instant");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pass(u64),
    Apply {
        weights: [u8; 2],
        lacks_second: bool,
        fail_open: bool,
    },
    Open(u32),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u64..8_000_000_000).prop_map(Step::Pass),
        1 => (proptest::array::uniform2(0_u8..3), any::<bool>(), any::<bool>())
            .prop_map(|(weights, lacks_second, fail_open)| Step::Apply { weights, lacks_second, fail_open }),
        2 => (0_u32..40).prop_map(Step::Open),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// The stage asserts the conservation of packets after each call.
    #[test]
    fn whatever_targets_answer_no_packet_is_lost_and_no_check_is_forgotten(
        steps in proptest::collection::vec(any_step(), 1..60),
        answers in proptest::collection::vec(0_u8..3, 1..30),
    ) {
        let mut node = node_with(defaults());
        let said = core::cell::Cell::new(0_usize);
        let answer = |_: Instant, _: Address| {
            said.set(said.get() + 1);
            match answers[said.get() % answers.len()] {
                0 => Answer::SynAck,
                1 => Answer::Rst,
                _ => Answer::Silence,
            }
        };
        for step in steps {
            match step {
                Step::Pass(nanos) => drop(node.live(Duration::from_nanos(nanos), answer)),
                Step::Apply { weights, lacks_second, fail_open } => {
                    let mut table = checked(HealthCheck::default(), weights);
                    table.clbs[0].fail_open = fail_open;
                    node.apply(if lacks_second { without_the_second(table) } else { table });
                }
                Step::Open(number) => {
                    let outcome = node.say(web_flow(number), tcp::SYN);
                    prop_assert!(outcome.sent.len() == 1, "to a target, or a reset");
                }
            }
            let wake = node.forwarder.poll_timeout().map(|due| due.at);
            prop_assert!(wake.is_some_and(|at| at <= node.now + secs(5)), "{:?}", wake);
        }
    }
}
