//! Time to a new leader after the leader is killed: a histogram over 1,000 seeds.
//!
//! Five controllers on a network of 5 ms there and back, timeouts from 150 to 300 ms, in virtual time. The number of
//! seeds may be given as an argument.

#![expect(clippy::print_stdout, reason = "a bench tells what it found")]

use core::time::Duration;

use anyedge_net::rng::Seed;
use anyedge_tests::controllers::election::time_to_a_new_leader;

/// Width of a bucket.
const BUCKET: Duration = Duration::from_millis(50);
/// Runs that a mark of a bar stands for, of a thousand.
const MARK: usize = 5;

fn main() {
    let count = std::env::args().find_map(|given| given.parse().ok());
    let count: u64 = count.unwrap_or(1_000);
    let found: Vec<_> = (1..=count)
        .map(|seed| time_to_a_new_leader(Seed(seed), "0%"))
        .collect();
    let mut times: Vec<Duration> = found.iter().copied().flatten().collect();
    times.sort_unstable();
    println!(
        "{count} runs, {} without a new leader",
        found.len() - times.len()
    );
    let Some(worst) = times.last() else {
        return;
    };
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_millis();
    println!(
        "median {} ms, p90 {} ms, p99 {} ms, worst {} ms",
        at(50),
        at(90),
        at(99),
        worst.as_millis()
    );
    let buckets = worst.as_nanos() / BUCKET.as_nanos() + 1;
    for bucket in 0..buckets {
        let inside = |time: &&Duration| time.as_nanos() / BUCKET.as_nanos() == bucket;
        let runs = times.iter().filter(inside).count();
        let from = bucket * BUCKET.as_millis();
        let bar = "#".repeat((runs * 1_000 / times.len()).div_ceil(MARK));
        println!(
            "{from:>5} to {:>5} ms {runs:>5} {bar}",
            from + BUCKET.as_millis()
        );
    }
}
