//! The windows of P-HC02, P-HC05 and P-HC07.

use super::*;

#[test]
fn a_silent_target_is_abnormal_10_s_after_its_first_failed_check_was_sent_and_a_timeout() {
    let mut node = node_with(defaults());
    let start = node.now;
    let log = node.live(secs(60), the_second(Answer::Silence));
    let sent = log.sent_to(second());
    assert!(
        sent[0] - start <= secs(3),
        "the phase leaves room for the timeout"
    );
    assert_eq!(sent[2] - sent[0], secs(10), "P-HC05");
    assert_eq!(
        log.changes(second()),
        [(sent[2] + secs(2), Health::Abnormal)]
    );
    assert_eq!(log.changes(first()), []);
}

#[test]
fn a_target_that_refuses_is_abnormal_with_its_third_refusal() {
    let mut node = node_with(defaults());
    let log = node.live(secs(60), the_second(Answer::Rst));
    let sent = log.sent_to(second());
    assert_eq!(log.changes(second()), [(sent[2], Health::Abnormal)]);
    assert_eq!(sent[2] - sent[0], secs(10), "P-HC05");
    assert_eq!(log.flagged(second(), tcp::RST), [], "nothing to end");
}

#[test]
fn checks_are_sent_at_a_fixed_interval_whatever_comes_of_them() {
    for answer in [Answer::SynAck, Answer::Rst, Answer::Silence] {
        let mut node = node_with(defaults());
        let log = node.live(secs(100), all(answer));
        let sent = log.sent_to(first());
        assert_eq!(sent.len(), 20, "P-HC05: {answer:?}");
        assert!(sent.windows(2).all(|pair| pair[1] - pair[0] == secs(5)));
    }
}

#[test]
fn a_target_that_recovers_is_healthy_10_s_after_its_first_good_check_was_sent() {
    let mut node = node_with(defaults());
    let back = node.now + secs(40);
    let dead_until_then = move |now: Instant, _| {
        if now < back {
            Answer::Silence
        } else {
            Answer::SynAck
        }
    };
    let log = node.live(secs(80), dead_until_then);
    let good = log.sent_to(second()).into_iter().find(|at| *at >= back);
    let good = good.expect("checks go on");
    let [(_, Health::Abnormal), (healthy_at, Health::Healthy)] = log.changes(second())[..] else {
        panic!("{:?}", log.changes(second()));
    };
    assert_eq!(healthy_at - good, secs(10), "P-HC05");
}

#[test]
fn a_new_target_takes_no_flow_for_its_interval_times_the_healthy_threshold() {
    let brief = HealthCheck {
        interval: secs(2),
        timeout: secs(1),
        ..HealthCheck::default()
    };
    for (check, window) in [(HealthCheck::default(), secs(15)), (brief, secs(6))] {
        let mut node = node_with(without_the_second(checked(check.clone(), [10, 10])));
        node.live(secs(20), all(Answer::SynAck));
        let bound_at = node.now;
        let applied = node.apply(checked(check, [10, 10]));
        let detecting = Event::TargetHealth {
            target: second(),
            target_port: 8_080,
            health: Health::Detecting,
        };
        assert!(applied.events.contains(&detecting));
        let nanosecond = Duration::from_nanos(1);
        node.live(window - nanosecond, all(Answer::SynAck));
        assert_eq!(node.new_flows(0, 4), [first(); 4], "P-HC02");
        let log = node.live(nanosecond, all(Answer::SynAck));
        assert_eq!(
            log.changes(second()),
            [(bound_at + window, Health::Healthy)],
            "P-HC02"
        );
        let taken = node.new_flows(10, 4);
        assert_eq!(
            taken.iter().filter(|target| **target == second()).count(),
            2
        );
    }
}

#[test]
fn a_new_target_that_is_silent_becomes_abnormal_without_any_flow() {
    let mut node = node_with(without_the_second(defaults()));
    node.live(secs(20), all(Answer::SynAck));
    node.apply(defaults());
    let log = node.live(secs(60), the_second(Answer::Silence));
    let sent = log.sent_to(second());
    assert_eq!(
        log.changes(second()),
        [(sent[2] + secs(2), Health::Abnormal)]
    );
    assert_eq!(node.new_flows(0, 4), [first(); 4]);
}

#[test]
fn a_check_is_ended_by_a_rst_when_it_is_answered_and_when_it_is_not() {
    let mut node = node_with(defaults());
    let log = node.live(secs(30), the_second(Answer::Silence));
    assert_eq!(
        log.sent_to(first()),
        log.flagged(first(), tcp::RST),
        "P-HC07"
    );
    let ended: Vec<Instant> = log
        .sent_to(second())
        .into_iter()
        .map(|at| at + secs(2))
        .collect();
    let resets = log.flagged(second(), tcp::RST);
    assert_eq!(resets, ended[..resets.len()], "P-HC07");
    let answered =
        log.flagged(first(), tcp::SYN).len() + log.flagged(backend(1, Family::V6), tcp::SYN).len();
    assert_eq!(log.drops, vec![DropReason::HealthCheck; answered]);
}

#[test]
fn a_target_that_fails_twice_in_a_row_and_then_answers_stays_healthy() {
    let mut node = node_with(defaults());
    let start = node.now;
    let flaps = move |now: Instant, _| match ((now - start).as_secs() / 5) % 3 {
        2 => Answer::SynAck,
        _ => Answer::Silence,
    };
    let log = node.live(secs(300), flaps);
    assert_eq!(log.events, []);
}

#[test]
fn every_threshold_counts_results_in_a_row() {
    for (unhealthy, healthy) in [(2, 2), (2, 10), (10, 2), (5, 7)] {
        let check = HealthCheck {
            unhealthy,
            healthy,
            ..HealthCheck::default()
        };
        let mut node = node_with(checked(check, [10, 10]));
        let back = node.now + secs(100);
        let answers = move |now: Instant, _| {
            if now < back {
                Answer::Rst
            } else {
                Answer::SynAck
            }
        };
        let log = node.live(secs(200), answers);
        let sent = log.sent_to(first());
        let good = sent.partition_point(|at| *at < back);
        assert_eq!(
            log.changes(first()),
            [
                (sent[usize::from(unhealthy) - 1], Health::Abnormal),
                (sent[good + usize::from(healthy) - 1], Health::Healthy),
            ]
        );
    }
}

/// Its default is 10|5|2|5: interval, timeout, fall and rise.
#[test]
fn by_the_profile_of_qingcloud_a_target_is_down_after_10_s_and_up_after_40() {
    let mut node = node_with(checked(HealthCheck::qingcloud(), [10, 10]));
    let back = node.now + secs(100);
    let answers = move |now: Instant, _| {
        if now < back {
            Answer::Rst
        } else {
            Answer::SynAck
        }
    };
    let log = node.live(secs(200), answers);
    let sent = log.sent_to(first());
    let good = sent.iter().copied().find(|at| *at >= back);
    let good = good.expect("checks go on");
    let [(down, Health::Abnormal), (up, Health::Healthy)] = log.changes(first())[..] else {
        panic!("{:?}", log.changes(first()));
    };
    assert_eq!((down - sent[0], up - good), (secs(10), secs(40)), "P-HC17");
}

#[test]
fn nodes_check_in_phases_of_their_own() {
    let first_sent = |name: &str| {
        let mut table = defaults();
        table.nodes[CLB_NODE.index()].name = name.to_owned();
        let mut stage = Stage::new(ClbNode::new(name, Limits::of(64), Seed(7)), table);
        let log = stage.live(secs(5), all(Answer::SynAck));
        [first(), second()].map(|target| log.sent_to(target)[0])
    };
    let one = first_sent("region.guangzhou.clb-1");
    assert_eq!(
        one,
        first_sent("region.guangzhou.clb-1"),
        "drawn from the seed"
    );
    assert_ne!(one[0], one[1]);
    assert_ne!(one, first_sent("region.guangzhou.clb-2"));
}
