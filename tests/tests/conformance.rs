//! One contract, two worlds: every case of the host conformance suite on the simulator and on this machine's
//! kernel, over IPv4 and IPv6.
//!
//! What differs must stand in `docs/parity.md`, word for word, and what stands there must differ. Every case
//! has a thread and a world of its own and a limit, so that one that hangs fails under its name.

use std::fs;

use anyedge_tests::binary::root;
use anyedge_tests::conformance::parity::{Parity, World};
use anyedge_tests::conformance::{Finding, Pair, Run, cases};
use anyedge_tests::two_machines::{bounded, live, simulate};

#[test]
fn the_simulator_keeps_the_contract_of_hosts() {
    let families = [0, 1];
    keeps_the_contract(
        World::Simulator,
        families.map(|family| move |run| simulate(family, run)),
    );
}

#[test]
fn the_kernel_keeps_the_contract_of_hosts() {
    let families = [0, 1];
    keeps_the_contract(
        World::Kernel,
        families.map(|family| move |run| live(family, run)),
    );
}

/// Runs every case in each of a world's families and compares with the table of known differences.
#[expect(
    clippy::print_stdout,
    reason = "the list of cases is what this test tells"
)]
fn keeps_the_contract<H, D>(world: World, families: [D; 2])
where
    H: anyedge_net::host::Host,
    D: Fn(fn(Pair<H>) -> Run) -> Finding + Copy + Send + 'static,
{
    let text = fs::read_to_string(root().join("docs/parity.md")).expect("the table is committed");
    let parity = Parity::read(&text).expect("the table is sound");
    let mut findings = Vec::new();
    for case in cases::<H>() {
        let [v4, v6] = families.map(|family| bounded(move || family(case.run)));
        let finding = if v4 == v6 {
            v4
        } else {
            Err(format!("IPv4: {v4:?}, IPv6: {v6:?}"))
        };
        findings.push((case.name, finding));
    }
    let (lines, wrong) = parity.judge(world, &findings);
    println!("{world:?}\n{lines}");
    assert!(wrong.is_empty(), "{world:?}:\n{}", wrong.join("\n"));
}
