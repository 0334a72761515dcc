//! The watch over CLB nodes: who is believed, after how long, and who cannot sway it.
//!
//! Times are in milliseconds; a majority is believed after a second.

use super::*;

const CONFIRM: Duration = Duration::from_millis(1_000);
const CLB: &str = "region.guangzhou.clb-1";
const POPS: [&str; 3] = ["pop.tokyo", "pop.frankfurt", "pop.seoul"];

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

fn found(membership: Membership) -> Vec<(String, Membership)> {
    vec![(CLB.to_owned(), membership)]
}

/// A watch to which three POPs reported `CLB` up at time 0.
fn watch() -> Watch {
    let mut watch = Watch::new(CONFIRM);
    for pop in POPS {
        watch.report(at(0), pop, CLB, true);
    }
    watch
}

/// A watch that found `CLB` lost at 1,100 ms.
fn bereaved() -> Watch {
    let mut watch = watch();
    for pop in POPS {
        watch.report(at(100), pop, CLB, false);
    }
    assert_eq!(watch.poll(at(1_100)), found(Membership::Lost));
    watch
}

#[test]
fn a_majority_is_believed_exactly_after_the_time_to_confirm() {
    let mut watch = watch();
    watch.report(at(100), POPS[0], CLB, false);
    assert_eq!(watch.wake_at(), None, "one of three is no majority");
    watch.report(at(250), POPS[1], CLB, false);
    assert_eq!(watch.wake_at(), Some(at(1_250)));
    watch.report(at(700), POPS[2], CLB, false);
    let before = Instant::from_nanos(at(1_250).as_nanos() - 1);
    assert_eq!(watch.poll(before), []);
    assert_eq!(watch.poll(at(1_250)), found(Membership::Lost));
    assert_eq!((watch.poll(at(9_000)), watch.wake_at()), (vec![], None));
}

#[test]
fn half_of_the_reporters_are_no_majority() {
    let mut watch = watch();
    watch.report(at(0), "pop.osaka", CLB, true);
    watch.report(at(10), POPS[0], CLB, false);
    watch.report(at(10), POPS[1], CLB, false);
    assert_eq!((watch.wake_at(), watch.poll(at(60_000))), (None, vec![]));
}

#[test]
fn a_node_is_in_again_when_a_majority_has_seen_it_up_for_as_long() {
    let mut watch = bereaved();
    watch.report(at(2_000), POPS[0], CLB, true);
    assert_eq!(watch.poll(at(5_000)), [], "two still see it down");
    watch.report(at(5_000), POPS[1], CLB, true);
    assert_eq!(watch.wake_at(), Some(at(6_000)));
    assert_eq!(watch.poll(at(6_000)), found(Membership::In));
}

#[test]
fn a_reporter_that_cannot_make_up_its_mind_starts_the_wait_again() {
    let mut watch = watch();
    watch.report(at(0), POPS[0], CLB, false);
    for round in 0..20 {
        watch.report(at(round * 900), POPS[1], CLB, false);
        assert_eq!(watch.poll(at(round * 900 + 899)), []);
        watch.report(at(round * 900 + 899), POPS[1], CLB, true);
    }
    watch.report(at(18_000), POPS[1], CLB, false);
    assert_eq!(watch.wake_at(), Some(at(19_000)));
}

#[test]
fn what_is_repeated_does_not_start_the_wait_again() {
    let mut watch = watch();
    for millis in [0, 300, 600, 900] {
        watch.report(at(millis), POPS[0], CLB, false);
        watch.report(at(millis), POPS[1], CLB, false);
    }
    assert_eq!(watch.poll(at(1_000)), found(Membership::Lost));
}

#[test]
fn what_is_found_does_not_depend_on_when_it_is_asked_for() {
    let mut watch = watch();
    watch.report(at(0), POPS[0], CLB, false);
    watch.report(at(0), POPS[1], CLB, false);
    // Nobody polls at 1,000 ms; a report at 1,500 ms comes too late to change it.
    watch.report(at(1_500), POPS[1], CLB, true);
    assert_eq!(watch.wake_at(), Some(at(1_500)));
    assert_eq!(watch.poll(at(1_500)), found(Membership::Lost));
    assert_eq!(watch.poll(at(2_500)), found(Membership::In));
}

#[test]
fn a_forgotten_reporter_counts_for_nothing() {
    let mut watch = watch();
    watch.report(at(100), POPS[0], CLB, false);
    watch.forget(POPS[1]);
    assert_eq!(watch.wake_at(), None, "one of two is no majority");
    watch.forget(POPS[2]);
    assert_eq!(
        watch.wake_at(),
        Some(at(100)),
        "the wait is yet to be dated"
    );
    assert_eq!(watch.poll(at(3_000)), []);
    assert_eq!(watch.poll(at(4_000)), found(Membership::Lost));
}

#[test]
fn a_node_that_nobody_reports_on_stays_what_it_is() {
    let mut alive = watch();
    alive.report(at(0), POPS[0], CLB, false);
    alive.report(at(0), POPS[1], CLB, false);
    let mut lost = bereaved();
    for watch in [&mut alive, &mut lost] {
        POPS.iter().for_each(|pop| watch.forget(pop));
        assert_eq!((watch.wake_at(), watch.poll(at(60_000))), (None, vec![]));
    }
    lost.report(at(70_000), POPS[0], CLB, true);
    assert_eq!(lost.poll(at(71_000)), found(Membership::In));
}

#[test]
fn several_nodes_are_found_in_the_order_of_their_names() {
    let mut watch = Watch::new(CONFIRM);
    for subject in ["b", "c", "a"] {
        watch.report(at(0), POPS[0], subject, false);
    }
    let names: Vec<String> = watch
        .poll(at(1_000))
        .into_iter()
        .map(|found| found.0)
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn opinions_are_bounded_and_known_reporters_go_on_being_heard() {
    let mut watch = Watch::new(CONFIRM);
    watch.report(at(0), POPS[0], CLB, true);
    for n in 1..OPINIONS_MAX {
        watch.report(at(0), POPS[0], &n.to_string(), true);
    }
    watch.report(at(0), POPS[1], CLB, true);
    assert_eq!(watch.ignored(), 1);
    watch.report(at(0), POPS[0], CLB, false);
    assert_eq!(watch.poll(at(1_000)), found(Membership::Lost));
    watch.forget(POPS[0]);
    watch.report(at(2_000), POPS[1], CLB, true);
    assert_eq!(watch.ignored(), 1, "there is room again");
}
