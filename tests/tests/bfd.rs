//! BFD in both worlds, by the same cases; then what only the simulator can show: a wire that is cut, and one that loses
//! packets.

use std::time::Duration;

use anyedge_net::rng::Seed;
use anyedge_net::time::Instant;
use anyedge_pop::bfd::{Diagnostic, State};
use anyedge_sim::pair::{PairRun, Wire};
use anyedge_tests::bfd::{DETECTION, cases, watched_for};
use anyedge_tests::two_machines::{LIMIT, RTT, all_hold, live, simulate, simulated};

#[test]
fn bfd_in_the_simulator_keeps_its_promises() {
    all_hold(cases(), |run| simulate(0, run));
    all_hold(cases(), |run| simulate(1, run));
}

#[test]
fn bfd_on_the_kernel_keeps_its_promises() {
    all_hold(cases(), |run| live(0, run));
    all_hold(cases(), |run| live(1, run));
}

#[test]
fn a_cut_wire_is_missed_within_the_detection_time() {
    let wire = Wire {
        rtt: RTT,
        loss_ppm: 0,
    };
    let cut_at = Duration::from_secs(20);
    let end = PairRun::new(Seed(1), wire, LIMIT)
        .cut(cut_at, cut_at * 3 / 2)
        .run(|a, b| watched_for(simulated(a, b, 0), 2 * cut_at));
    let (_, changes) = end.value.expect("it ends").expect("it comes up");
    let (at, state, why) = changes[0];
    assert_eq!((state, why), (State::Down, Diagnostic::TIME_EXPIRED));
    // The last packet before the cut arrived half a round trip after it, at most.
    let took = at.since(Instant::ZERO + cut_at);
    assert!(took <= DETECTION + RTT / 2, "{took:?}");
    assert!(took >= DETECTION * 2 / 3, "{took:?}");
    let (_, state, _) = changes[changes.len() - 1];
    assert_eq!(state, State::Up);
}

#[test]
fn one_packet_in_a_hundred_may_be_lost_without_a_flap() {
    let wire = Wire {
        rtt: RTT,
        loss_ppm: 10_000,
    };
    let run = |seed| {
        PairRun::new(Seed(seed), wire, 10 * LIMIT)
            .run(|a, b| watched_for(simulated(a, b, 0), 5 * LIMIT))
    };
    let end = run(1);
    let (_, changes) = end.value.clone().expect("it ends").expect("it comes up");
    assert_eq!(changes, []);
    assert_eq!(end, run(1));
    assert_ne!(end.digest, run(2).digest);
}
