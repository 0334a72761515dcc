//! BGP in both worlds: two speakers on simulated TCP and on this machine's kernel, by the same cases; then what only
//! the simulator can show: a lossy wire, and a wire that is cut.

use std::time::Duration;

use anyedge_net::rng::Seed;
use anyedge_net::time::Instant;
use anyedge_pop::bgp::State;
use anyedge_sim::pair::{PairRun, Wire};
use anyedge_tests::bgp::{cases, kept_for};
use anyedge_tests::two_machines::{LIMIT, RTT, all_hold, live, simulate, simulated};

#[test]
fn speakers_in_the_simulator_keep_their_promises() {
    all_hold(cases(), |run| simulate(0, run));
    all_hold(cases(), |run| simulate(1, run));
}

#[test]
fn speakers_on_the_kernel_keep_their_promises() {
    all_hold(cases(), |run| live(0, run));
    all_hold(cases(), |run| live(1, run));
}

#[test]
fn a_lossy_wire_ends_no_session() {
    let wire = Wire {
        rtt: Duration::from_millis(200),
        loss_ppm: 10_000,
    };
    let kept = |seed| {
        PairRun::new(Seed(seed), wire, 20 * LIMIT)
            .run(|a, b| kept_for(simulated(a, b, 0), 10 * LIMIT))
    };
    let end = kept(1);
    let (took, changes) = end.value.clone().expect("it ends").expect("it comes up");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(changes, []);
    // The same seed, the same packets.
    assert_eq!(end, kept(1));
    assert_ne!(end.digest, kept(2).digest);
}

#[test]
fn a_cut_wire_ends_the_session_by_its_hold_time_and_it_comes_back() {
    let wire = Wire {
        rtt: RTT,
        loss_ppm: 0,
    };
    let [from, to] = [20, 40].map(Duration::from_secs);
    let end = PairRun::new(Seed(1), wire, 3 * LIMIT)
        .cut(from, to)
        .run(|a, b| kept_for(simulated(a, b, 0), LIMIT));
    let (_, changes) = end.value.expect("it ends").expect("it comes back");
    let (lost_at, lost) = changes[0];
    assert_eq!(lost, State::Idle);
    // The last keepalive was up to 3 s old.
    let lost_after = lost_at.since(Instant::ZERO + from);
    let hold = Duration::from_secs(9);
    assert!(
        hold >= lost_after && lost_after >= hold - Duration::from_millis(3_100),
        "{lost_after:?}"
    );
    let (back_at, back) = changes[changes.len() - 1];
    assert_eq!(back, State::Established);
    let back_after = back_at.since(Instant::ZERO + to);
    assert!(back_after < Duration::from_secs(18), "{back_after:?}");
}
