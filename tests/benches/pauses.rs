//! How long packets wait for a table: a CLB node of 100,000 targets and 100,000 flows is given batches of 32 packets
//! without a break, and after every twentieth a table in which one target is another. Each call is timed; every packet
//! must come through. A scheduler that takes the core away shows in the worst call of either.

#![expect(clippy::print_stdout, reason = "a bench tells what it found")]

use std::time::{Duration, Instant as Clock};

use anyedge_net::forwarder::BATCH_MAX;
use anyedge_net::route_table::HealthCheck;
use anyedge_tests::busy_node::BusyNode;

const FLOWS: u32 = 100_000;
const TABLES: usize = 5_000;
const BATCHES_PER_TABLE: usize = 20;

fn main() {
    // `cargo test --benches` asks whether it runs.
    let tables = if std::env::args().any(|arg| arg == "--bench") {
        TABLES
    } else {
        2
    };
    for (checks, health) in [
        ("unchecked", None),
        ("checked", Some(HealthCheck::default())),
    ] {
        let mut busy = BusyNode::new(FLOWS, health);
        let (mut applies, mut first, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..tables {
            let start = Clock::now();
            busy.apply_next();
            applies.push(start.elapsed());
            for turn in 0..BATCHES_PER_TABLE {
                busy.fill();
                let start = Clock::now();
                let sent = busy.forward();
                let spent = start.elapsed();
                assert_eq!(sent, BATCH_MAX, "every packet comes through");
                if turn == 0 { &mut first } else { &mut others }.push(spent);
            }
        }
        assert_eq!(busy.dropped(), 0);
        for (what, mut times) in [
            ("a table", applies),
            ("the batch after a table", first),
            ("any other batch", others),
        ] {
            print(&format!("{checks}: {what}"), &mut times);
        }
    }
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |permille: usize| times[(times.len() - 1) * permille / 1_000];
    println!(
        "{what}: median {:?}, p99 {:?}, p99.9 {:?}, worst {:?} of {}",
        at(500),
        at(990),
        at(999),
        at(1_000),
        times.len()
    );
}
