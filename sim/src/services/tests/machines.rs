//! What befalls the controllers' machines and their network, and that orders come through all the same.
//!
//! Each story orders a weight while something is wrong. One of three that does not lead may be slow, full or cut off:
//! it costs nobody anything. For a leader's disk, or those of two, every order waits, and none is lost.

use super::{assert_all_served, fault, network, play};
use crate::report::{ControlReport, Latency};
use crate::run::{Options, run};

/// Ordered amid what is wrong from 2 s to 8 s.
const WEIGHT: &str = "[[fault]]\nat = \"4s\"\nweight = \"host.web-1\"\nto = 20\n";

/// What is wrong from 2 s to 8 s, and how the order fared by the end. Nobody's request fails.
fn ordered_amid(wrong: &[&str]) -> ControlReport {
    let wrong: String = wrong.iter().map(|what| fault("2s", "6s", what)).collect();
    let (report, control) = play((0, 14), &(wrong + WEIGHT));
    assert_all_served(&report);
    assert_eq!(
        (control.revisions, control.not_in_force),
        (1, 0),
        "{control:?}"
    );
    control
}

/// How long the slowest command took at the leader, in milliseconds.
fn took(control: &ControlReport) -> f64 {
    control.commit_ms.map_or(0.0, |Latency { max, .. }| max)
}

/// Strikes the disk of each controller alone: how many of them make an order take `longer`
/// milliseconds. It takes the others next to nothing.
fn made_it_long(longer: f64, what: &str, order: impl Fn(&[&str]) -> ControlReport) -> usize {
    let alone = ["a", "b", "c"].map(|name| {
        let control = order(&[&format!("disk = \"controller.{name}\"\n{what}")]);
        assert_eq!(control.elections, 1, "{name}: {control:?}");
        let took = took(&control);
        assert!(took < 5.0 || took >= longer, "{name}: {control:?}");
        took >= longer
    });
    alone.iter().filter(|is_long| **is_long).count()
}

#[test]
fn a_slow_disk_costs_time_where_it_leads_and_two_wherever_they_are() {
    let slow = "sync = \"80ms\"";
    assert_eq!(made_it_long(80.0, slow, ordered_amid), 1, "that who leads");
    let two = ["b", "c"].map(|name| format!("disk = \"controller.{name}\"\n{slow}"));
    let control = ordered_amid(&[&two[0], &two[1]]);
    assert!((80.0..200.0).contains(&took(&control)), "{control:?}");
    assert_eq!(control.elections, 1);
}

#[test]
fn what_is_ordered_waits_for_room_on_the_leaders_disk_or_on_two_and_is_not_lost() {
    let full = "full = true";
    // The first order fits the last sector of every log. The second comes at 5 s, and there is room again at 8 s.
    let ordered_twice = |until: u64, wrong: &[&str]| {
        let second = "[[fault]]\nat = \"5s\"\nweight = \"host.web-2\"\nto = 20\n";
        let wrong: String = wrong.iter().map(|what| fault("2s", "6s", what)).collect();
        let (report, control) = play((0, until), &(wrong + WEIGHT + second));
        assert_all_served(&report);
        assert_eq!(control.not_in_force, 0);
        control
    };
    let alone = |wrong: &[&str]| {
        let control = ordered_twice(14, wrong);
        assert_eq!(control.revisions, 2);
        control
    };
    assert_eq!(made_it_long(3_000.0, full, alone), 1, "that who leads");
    let two = ["b", "c"].map(|name| format!("disk = \"controller.{name}\"\n{full}"));
    let revisions = |until| ordered_twice(until, &[&two[0], &two[1]]).revisions;
    assert_eq!((revisions(7), revisions(14)), (1, 2));
}

#[test]
fn a_leader_that_is_cut_off_both_ways_or_one_way_is_replaced_and_what_was_ordered_happens_once() {
    for direction in ["both", "in", "out"] {
        let cut = format!("partition = \"controller.leader\"\ndirection = \"{direction}\"");
        let control = ordered_amid(&[&cut]);
        assert!(control.elections >= 2, "{direction}: {control:?}");
    }
}

#[test]
fn a_leader_behind_a_grey_partition_is_slow_at_most() {
    let grey = "partition = \"controller.leader\"\nloss = \"20%\"";
    let control = ordered_amid(&[grey]);
    assert!(took(&control) < 4_000.0, "while it lasts: {control:?}");
}

#[test]
fn a_leader_that_dies_without_its_disk_is_replaced_and_comes_back_as_another() {
    let control = ordered_amid(&["down = \"controller.leader\"\nwipe = true"]);
    assert!(control.elections >= 2, "{control:?}");
}

#[test]
fn clocks_that_jump_and_drift_change_nothing_that_was_ordered() {
    let clocks = [
        "clock = \"controller.a\"\ndrift = \"50000ppm\"",
        "clock = \"controller.b\"\ndrift = \"-50000ppm\"",
    ];
    let jump = "[[fault]]\nat = \"3s\"\nclock = \"controller.c\"\njump = \"1h\"\n";
    let wrong: String = clocks.iter().map(|what| fault("2s", "6s", what)).collect();
    let (report, control) = play((0, 14), &(wrong + jump + WEIGHT));
    assert_all_served(&report);
    assert_eq!((control.revisions, control.not_in_force), (1, 0));
}

#[test]
fn with_certificates_nodes_are_told_who_asks_and_orders_come_through_as_well() {
    let faults = [
        fault("2s", "6s", "drain = \"pop.tokyo\""),
        fault("3s", "2s", "down = \"controller.leader\"\nwipe = true"),
        fault("4s", "3s", "down = \"region.guangzhou.clb-2\""),
    ];
    let topology = network((0, 14), &faults.concat());
    let run_of = |is_secured: bool| {
        let mut topology = topology.clone();
        topology.defaults.management_tls = is_secured;
        run(&topology, &Options::default(), &mut |_| {}).expect("it can be built")
    };
    let [plain, secured] = [false, true].map(run_of);
    assert_all_served(&secured);
    assert_ne!(plain.digest, secured.digest);
    assert_eq!(secured.digest, run_of(true).digest);
    for report in [plain, secured] {
        let control = report.control.expect("it has controllers");
        // Drained and back, lost and back.
        assert_eq!(
            (control.revisions, control.not_in_force),
            (4, 0),
            "{control:?}"
        );
        assert!(control.elections >= 2, "{control:?}");
        assert!(report.faults.iter().all(|fault| fault.refused.is_none()));
    }
}
