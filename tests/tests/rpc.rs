//! gRPC in both worlds: every promise of `anyedge_ccn::rpc` on simulated TCP and on this machine's kernel, by the
//! same cases; then what only the simulator can show: loss, a partition, and that real time changes nothing.

use std::thread;
use std::time::Duration;

use anyedge_net::rng::Seed;
use anyedge_sim::pair::{PairEnd, PairRun, Wire};
use anyedge_tests::conformance::Finding;
use anyedge_tests::rpc::{
    PacedFlow, Security, cases, everything_at_once, paced_datagrams, paced_flow,
    survives_a_partition,
};
use anyedge_tests::two_machines::{LIMIT, RTT, all_hold, live, simulate, simulated};

#[test]
fn the_simulator_keeps_the_promises_of_rpc() {
    all_hold(cases(), |run| simulate(0, run));
    all_hold(cases(), |run| simulate(1, run));
}

#[test]
fn the_kernel_keeps_the_promises_of_rpc() {
    all_hold(cases(), |run| live(0, run));
    all_hold(cases(), |run| live(1, run));
}

/// 200 ms away, losing one packet in a hundred.
const LOSSY: Wire = Wire {
    rtt: Duration::from_millis(200),
    loss_ppm: 10_000,
};

fn lossy_run(seed: u64, security: Security, between: &mut dyn FnMut()) -> PairEnd<Finding> {
    PairRun::new(Seed(seed), LOSSY, 10 * LIMIT)
        .between(between)
        .run(|a, b| everything_at_once(simulated(a, b, 0), security))
}

#[test]
fn calls_get_through_a_lossy_wire_and_real_time_changes_nothing() {
    real_time_changes_nothing(Security::Plain);
}

#[test]
fn under_tls_too_real_time_changes_nothing() {
    real_time_changes_nothing(Security::Tls);
}

fn real_time_changes_nothing(security: Security) {
    let fast = lossy_run(1, security, &mut || {});
    assert_eq!(fast.value, Some(Ok(())));
    // Eight seconds on the wall, more than one in each round trip: longer than any clock that hides in a
    // library is patient (the one in `h2`, left as it is, makes this test fail).
    let mut steps = 0;
    let slow = lossy_run(1, security, &mut || {
        steps += 1;
        if steps % 20 == 0 && (100..=400).contains(&steps) {
            thread::sleep(Duration::from_millis(500));
        }
    });
    assert!(steps >= 400, "only {steps} steps: the run was not slow");
    assert_eq!(fast, slow);
}

#[test]
fn real_time_changes_nothing_about_datagrams() {
    let run = |between: &mut dyn FnMut()| {
        PairRun::new(Seed(1), LOSSY, 3 * LIMIT)
            .between(between)
            .run(|a, b| paced_datagrams(simulated(a, b, 1)))
    };
    let fast = run(&mut || {});
    let flow = fast.value.clone().expect("it ends");
    let flow = flow.expect("frames arrive in order");
    assert!((1_000..6_000).contains(&flow.arrived), "{flow:?}");
    let mut steps = 0;
    let slow = run(&mut || {
        steps += 1;
        if steps % 100 == 0 && steps <= 1_000 {
            thread::sleep(Duration::from_millis(500));
        }
    });
    assert!(steps >= 1_000, "only {steps} steps: the run was not slow");
    assert_eq!(fast, slow);
}

/// A datagram that is lost holds up nobody: what arrives does so at once.
#[test]
#[expect(clippy::print_stdout, reason = "docs/ccn.md quotes these figures")]
fn a_lost_datagram_of_a_quic_link_holds_up_nobody() {
    let one_way = Duration::from_millis(25);
    for (loss_ppm, least) in [(0, 6_000), (1_000, 5_980), (10_000, 5_800)] {
        let rtt = Duration::from_millis(50);
        let wire = Wire { rtt, loss_ppm };
        let run = PairRun::new(Seed(1), wire, 3 * LIMIT);
        let end = run.run(|a, b| paced_datagrams(simulated(a, b, 0)));
        let flow = end.value.expect("it ends").expect("frames arrive in order");
        println!("loss {loss_ppm} ppm: {flow:?}");
        assert!(flow.arrived >= least, "{flow:?}");
        assert!(flow.p50 < one_way + Duration::from_millis(1), "{flow:?}");
        assert!(flow.p99 < 3 * one_way, "{flow:?}");
    }
}

#[test]
fn another_seed_loses_other_packets() {
    let [one, other] = [1, 2].map(|seed| lossy_run(seed, Security::Plain, &mut || {}));
    assert_eq!(other.value, Some(Ok(())));
    assert_ne!(one.digest, other.digest);
}

#[test]
fn a_partition_ends_calls_in_time_and_is_forgotten_after_it() {
    let wire = Wire {
        rtt: RTT,
        loss_ppm: 0,
    };
    let [from, to] = [2, 10].map(Duration::from_secs);
    let end = PairRun::new(Seed(1), wire, LIMIT)
        .cut(from, to)
        .run(|a, b| survives_a_partition(simulated(a, b, 0)));
    assert_eq!(end.value, Some(Ok(())));
}

/// TCP loses nothing, so what a lost segment costs is time: that of all frames behind it.
#[test]
#[expect(clippy::print_stdout, reason = "docs/ccn.md quotes these figures")]
fn a_lost_segment_of_a_grpc_link_holds_up_the_frames_behind_it() {
    let flow = |loss_ppm| -> PacedFlow {
        let rtt = Duration::from_millis(50);
        let wire = Wire { rtt, loss_ppm };
        let end = PairRun::new(Seed(1), wire, 3 * LIMIT).run(|a, b| paced_flow(simulated(a, b, 0)));
        let flow = end.value.expect("it ends").expect("frames arrive in order");
        println!("loss {loss_ppm} ppm: {flow:?}");
        flow
    };
    let [none, some, much] = [0, 1_000, 10_000].map(flow);
    let one_way = Duration::from_millis(25);
    assert_eq!(none.arrived, 6_000);
    assert!(none.p99 < one_way + Duration::from_millis(1), "{none:?}");
    // The first frames wait once until the congestion window has opened.
    assert!(none.max <= 4 * one_way, "{none:?}");
    // A retransmission takes a round trip at least.
    assert!(some.max > 4 * one_way, "{some:?}");
    assert!(much.p99 > 3 * one_way, "{much:?}");
    assert!(much.p50 < 2 * one_way, "{much:?}");
}
