//! The control API in both worlds: every promise of `anyedge_ccn::api` on simulated TCP and on this machine's kernel,
//! by the same cases.

use anyedge_tests::api::{cases, cases_of_two};
use anyedge_tests::two_machines::{all_hold, live, simulate};

#[test]
fn the_simulator_keeps_the_promises_of_the_api() {
    all_hold(cases(), |run| simulate(0, run));
}

#[test]
fn the_kernel_keeps_the_promises_of_the_api() {
    all_hold(cases(), |run| live(1, run));
}

/// A simulated machine has no way to itself, and these need one.
#[test]
fn two_members_keep_the_promises_of_the_api() {
    all_hold(cases_of_two(), |run| live(0, run));
}
