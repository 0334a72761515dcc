//! The control API in both worlds: every promise of `anyedge_ccn::api` on simulated TCP and on this machine's kernel,
//! by the same cases.

use anyedge_net::host::Host;
use anyedge_tests::api::{cases, cases_of_two};
use anyedge_tests::conformance::{Case, Finding, Pair, Run};
use anyedge_tests::two_machines::{bounded, live, simulate};

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

fn all_hold<H: Host>(
    cases: Vec<Case<H>>,
    world: impl Fn(fn(Pair<H>) -> Run) -> Finding + Copy + Send + 'static,
) {
    let broken: Vec<_> = cases
        .into_iter()
        .filter_map(|case| {
            let finding = bounded(move || world(case.run));
            finding.err().map(|what| format!("{}: {what}", case.name))
        })
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
