//! What a leader makes of reports: pure, without a host.
//!
//! The small world of the table's tests: two POPs, two CLB nodes, two hosts.

use anyedge_proto::control::v1::{PathReport, TargetReport};

use super::*;
use crate::table::tests::table;

const CLB_1: &str = "region.guangzhou.clb-1";
const CLB_2: &str = "region.guangzhou.clb-2";
const NODES: [&str; 6] = [
    "pop.tokyo",
    "pop.frankfurt",
    CLB_1,
    CLB_2,
    "host.web-1",
    "host.kr-1",
];
const WEB: &str = "gz-main/web/10.0.0.11:8080";

const fn ms(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// A leader and its table, as its term begins at 0.
struct Leader {
    table: Table,
    standing: Standing,
}

impl Leader {
    fn new() -> Leader {
        Leader {
            table: table(),
            standing: Standing::new(3, ms(0), Patience::default()),
        }
    }

    fn take(&mut self, now: Instant, report: &NodeReport) -> NodeReportReply {
        let taken = self.standing.take(now, &self.table, report);
        taken.expect("the table knows the node")
    }

    /// All nodes say that they are there, and the POPs that they see `clb_node` up or down.
    fn hear_all(&mut self, now: Instant, clb_node: &str, up: bool) {
        for (number, name) in NODES.iter().enumerate() {
            let sees = name.starts_with("pop.").then(|| session(clb_node, up));
            self.take(now, &report(name, number as u64, sees));
        }
    }

    /// What is changed at `now`, as it is applied.
    fn change(&mut self, now: Instant) -> Vec<Change> {
        let Some(command) = self.standing.look(now, now, &self.table) else {
            return Vec::new();
        };
        let revision = self.table.revision() + 1;
        let applied = self.table.apply(revision, &command);
        applied.expect("what the keeper wants makes sense");
        match command.change {
            Change::All(changes) => changes,
            change => vec![change],
        }
    }

    fn set(&mut self, clb_node: &str, to: Membership) {
        let revision = self.table.revision() + 1;
        let command = Command::new(self.table.at(), member(clb_node, to));
        self.table.apply(revision, &command).expect("it is there");
    }
}

fn member(clb_node: &str, to: Membership) -> Change {
    Change::SetMember {
        clb_node: clb_node.to_owned(),
        membership: Some(to),
        weight: None,
    }
}

fn session(clb_node: &str, up: bool) -> PathReport {
    PathReport {
        node: clb_node.to_owned(),
        path: "tokyo-guangzhou".to_owned(),
        up,
        gone: false,
    }
}

fn report(node: &str, series: u64, paths: impl IntoIterator<Item = PathReport>) -> NodeReport {
    NodeReport {
        node: node.to_owned(),
        in_force: 1,
        paths: paths.into_iter().collect(),
        targets: Vec::new(),
        series,
        number: 0,
    }
}

#[test]
fn a_clb_node_that_a_majority_finds_dead_for_long_enough_is_lost_and_comes_back() {
    let mut leader = Leader::new();
    leader.hear_all(ms(10), CLB_1, true);
    assert_eq!(leader.change(ms(10)), []);
    leader.hear_all(ms(500), CLB_1, false);
    assert_eq!(leader.change(ms(1_499)), []);
    let wake_at = leader.standing.wake_at(ms(1_499), ms(1_499), &leader.table);
    assert_eq!(wake_at, Some(ms(1_500)));
    assert_eq!(leader.change(ms(1_500)), [member(CLB_1, Membership::Lost)]);
    assert_eq!(leader.change(ms(1_501)), [], "once");
    leader.hear_all(ms(2_000), CLB_1, true);
    assert_eq!(leader.change(ms(3_000)), [member(CLB_1, Membership::In)]);
}

#[test]
fn nothing_is_decided_before_a_majority_of_nodes_was_heard_or_the_grace_is_over() {
    let mut leader = Leader::new();
    for (number, at) in [0, 2_500, 5_000, 7_500].into_iter().enumerate() {
        let report = report("pop.tokyo", number as u64, [session(CLB_1, false)]);
        leader.take(ms(at), &report);
        assert_eq!(leader.change(ms(at)), []);
    }
    let again = report("pop.tokyo", 9, [session(CLB_1, false)]);
    leader.take(ms(9_999), &again);
    assert_eq!(leader.change(ms(10_000)), [], "it has to last from now on");
    leader.take(ms(10_500), &again);
    assert_eq!(leader.change(ms(11_000)), [member(CLB_1, Membership::Lost)]);
}

#[test]
fn who_falls_silent_has_no_say_and_has_to_tell_everything_when_it_is_back() {
    let mut leader = Leader::new();
    leader.hear_all(ms(0), CLB_1, false);
    assert_eq!(leader.change(ms(500)), []);
    let mut late = report("pop.tokyo", 0, []);
    late.number = 1;
    assert_eq!(leader.change(ms(3_000)), [], "all are silent by then");
    assert!(leader.take(ms(3_001), &late).wants_all);
    assert!(leader.standing.nodes.values().all(|node| node.is_silent));
    late.number = 0;
    assert!(!leader.take(ms(3_002), &late).wants_all);
}

#[test]
fn a_report_that_does_not_follow_is_not_taken() {
    let mut leader = Leader::new();
    let mut second = report("pop.tokyo", 7, [session(CLB_1, false)]);
    second.number = 1;
    assert!(
        leader.take(ms(0), &second).wants_all,
        "the first is missing"
    );
    leader.take(ms(1), &report("pop.tokyo", 7, []));
    assert!(!leader.take(ms(2), &second).wants_all);
    assert!(!leader.take(ms(3), &second).wants_all, "the same again");
    second.number = 3;
    assert!(leader.take(ms(4), &second).wants_all, "one is missing");
    second.number = 2;
    second.series = 8;
    assert!(leader.take(ms(5), &second).wants_all, "of another series");
}

#[test]
fn nodes_that_the_table_does_not_know_are_refused_and_what_it_does_not_know_is_left_out() {
    let mut leader = Leader::new();
    let strange = report("pop.nowhere", 1, []);
    let taken = leader.standing.take(ms(0), &leader.table, &strange);
    assert_eq!(taken, Err(UnknownNode));
    assert!(leader.standing.nodes.is_empty());
    let target = |name: &str| TargetReport {
        target: name.to_owned(),
        detail: Detail::Dead.into(),
    };
    let mut known = report(CLB_1, 1, [session("region.x.clb-1", false)]);
    known.targets = vec![target(WEB), target("gz-main/web/10.9.9.9:1")];
    leader.take(ms(0), &known);
    assert_eq!(leader.standing.health.of(WEB), Detail::Dead);
    assert_eq!(
        leader.standing.health.of("gz-main/web/10.9.9.9:1"),
        Detail::Unknown
    );
    assert_eq!(leader.standing.opinions.wake_at(), None);
    known.node = "pop.tokyo".to_owned();
    known.targets[0].detail = Detail::Alive.into();
    leader.take(ms(0), &known);
    assert_eq!(
        leader.standing.health.of(WEB),
        Detail::Dead,
        "a POP checks nobody"
    );
}

#[test]
fn a_drained_node_that_was_lost_is_drained_again() {
    let mut leader = Leader::new();
    leader.set(CLB_1, Membership::Drained);
    leader.hear_all(ms(0), CLB_1, false);
    assert_eq!(leader.change(ms(0)), []);
    assert_eq!(leader.change(ms(1_000)), [member(CLB_1, Membership::Lost)]);
    leader.hear_all(ms(1_100), CLB_1, true);
    assert_eq!(
        leader.change(ms(2_100)),
        [member(CLB_1, Membership::Drained)]
    );
}

#[test]
fn a_node_that_an_operator_took_out_stays_out_and_one_that_is_put_in_has_time_to_be_seen() {
    let put_in = || {
        let mut leader = Leader::new();
        leader.set(CLB_1, Membership::Absent);
        leader.hear_all(ms(0), CLB_1, false);
        assert_eq!(leader.change(ms(0)), []);
        assert_eq!(leader.change(ms(1_500)), []);
        leader.set(CLB_1, Membership::In);
        assert_eq!(leader.change(ms(1_600)), []);
        let wake_at = leader.standing.wake_at(ms(1_600), ms(1_600), &leader.table);
        assert_eq!(wake_at, Some(ms(1_600)), "from then on it counts");
        assert_eq!(leader.change(ms(1_600)), []);
        leader
    };
    let mut dead = put_in();
    dead.hear_all(ms(2_500), CLB_1, false);
    assert_eq!(dead.change(ms(2_599)), []);
    assert_eq!(dead.change(ms(2_600)), [member(CLB_1, Membership::Lost)]);
    let mut seen = put_in();
    seen.hear_all(ms(2_500), CLB_1, true);
    assert_eq!(seen.change(ms(9_000)), []);
}

#[test]
fn a_new_leader_takes_back_a_node_that_is_lost_in_its_table_once_a_majority_sees_it() {
    let mut leader = Leader::new();
    leader.set(CLB_2, Membership::Lost);
    leader.hear_all(ms(0), CLB_2, true);
    assert_eq!(leader.change(ms(0)), []);
    assert_eq!(leader.change(ms(999)), []);
    assert_eq!(leader.change(ms(1_000)), [member(CLB_2, Membership::In)]);
}

#[test]
fn a_change_is_on_the_condition_of_what_was_looked_at() {
    let mut leader = Leader::new();
    leader.hear_all(ms(0), CLB_1, false);
    leader.change(ms(0));
    let command = leader
        .standing
        .look(ms(1_000), ms(1_000), &leader.table)
        .expect("it is lost");
    leader.set(CLB_1, Membership::Absent);
    let refused = leader.table.apply(9, &command);
    assert!(refused.is_err(), "the operator came first");
    leader.standing.put_off(ms(1_000));
    assert_eq!(leader.change(ms(1_300)), []);
}

#[test]
fn what_does_not_come_through_is_tried_again_after_a_while() {
    let mut leader = Leader::new();
    leader.hear_all(ms(0), CLB_1, false);
    leader.change(ms(0));
    let look = |leader: &mut Leader, now| leader.standing.look(now, now, &leader.table);
    assert!(look(&mut leader, ms(1_000)).is_some());
    leader.standing.put_off(ms(1_000));
    assert!(look(&mut leader, ms(1_199)).is_none());
    let wake_at = leader.standing.wake_at(ms(1_199), ms(1_199), &leader.table);
    assert_eq!(wake_at, Some(ms(1_200)));
    assert!(look(&mut leader, ms(1_200)).is_some());
}

#[test]
fn slots_settle_when_they_are_due_by_the_tables_time() {
    let mut leader = Leader::new();
    leader.set(CLB_1, Membership::Lost);
    leader.set(CLB_1, Membership::In);
    let at = leader.table.settles_at().expect("slots moved");
    let now = ms(5);
    let early = Instant::from_nanos(at.as_nanos() - 1);
    assert_eq!(leader.standing.look(now, early, &leader.table), None);
    let wake_at = leader.standing.wake_at(now, early, &leader.table);
    assert_eq!(wake_at, Some(Instant::from_nanos(now.as_nanos() + 1)));
    let settle = leader.standing.look(now, at, &leader.table);
    assert_eq!(settle, Some(Command::new(at, Change::Settle)));
}
