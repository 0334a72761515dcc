//! Loads whose sizes, service times and pauses are drawn: what arrives has the distribution that the file asks for.

use anyedge_sim::report::{Latency, Report};
use anyedge_sim::run::Options;
use anyedge_tests::story::play;

use super::NETWORK;

fn failed(report: &Report) -> u64 {
    report.clients[0].service.requests.failed.values().sum()
}

fn delivered(report: &Report, name: &str) -> u64 {
    let link = report.links.iter().find(|link| link.name == name);
    link.expect("a link of the network").delivered
}

/// Runs the network with its load, and with what its servers need, in the place of its own.
fn with(load: &str, service: &str) -> Report {
    let loads = NETWORK.find("load = [").expect("it has a load");
    let text = format!("{}load = {load}\n", &NETWORK[..loads]);
    let text = text.replace("port = 8080\n", &format!("port = 8080\n{service}\n"));
    play(&text, &Options::default())
}

fn latency(report: &Report) -> Latency {
    assert_eq!(
        failed(report),
        0,
        "{:?}",
        report.clients[0].service.requests
    );
    report.clients[0]
        .service
        .latency_ms
        .expect("there are answers")
}

const FIXED: &str = "{ kind = \"request\", rate = \"100/s\", size = \"1KiB\", to = \"game:web\" }";

#[test]
fn a_service_time_is_added_to_every_answer() {
    let quick = latency(&with(FIXED, ""));
    let slow = latency(&with(FIXED, "service = \"40ms\""));
    for (quick, slow) in [(quick.p50, slow.p50), (quick.p99, slow.p99)] {
        assert!((slow - quick - 40.0).abs() < 0.5, "{quick} and {slow}");
    }
}

#[test]
fn service_times_have_their_distribution() {
    let quick = latency(&with(FIXED, ""));
    let drawn = latency(&with(
        FIXED,
        "service = { kind = \"exponential\", mean = \"100ms\" }",
    ));
    // ln 2 and ln 10 times the mean.
    assert!((drawn.p50 - quick.p50 - 69.3).abs() < 10.0, "{drawn:?}");
    assert!((drawn.p90 - quick.p50 - 230.3).abs() < 30.0, "{drawn:?}");
}

#[test]
fn workers_that_are_too_few_make_requests_wait() {
    // 100/s over two servers of one worker that needs 25 ms: 125 % of what they can do.
    let report = with(FIXED, "service = \"25ms\"\nworkers = 1");
    let requests = &report.clients[0].service.requests;
    assert!(requests.ok > 500, "{requests:?}");
    let latency = report.clients[0]
        .service
        .latency_ms
        .expect("there are answers");
    assert!(latency.p99 > 1_000.0, "{latency:?}");
}

#[test]
fn drawn_sizes_carry_as_many_bytes_as_their_mean_says() {
    let drawn = "{ kind = \"request\", rate = \"100/s\", size = { kind = \"exponential\", mean = \"20KiB\" }, to = \"game:web\" }";
    let fixed = "{ kind = \"request\", rate = \"100/s\", size = \"20KiB\", to = \"game:web\" }";
    let packets = |report: &Report| delivered(report, "pop.tokyo>client.osaka") as f64;
    let (drawn, fixed) = (with(drawn, ""), with(fixed, ""));
    assert_eq!(failed(&drawn), 0);
    let ratio = packets(&drawn) / packets(&fixed);
    assert!((0.9..1.15).contains(&ratio), "{ratio}");
    assert!(
        latency(&drawn).p99 > latency(&fixed).p99,
        "large ones take longer"
    );
    assert_eq!(
        drawn.clients[0].service.requests.sent,
        fixed.clients[0].service.requests.sent
    );
}

#[test]
fn a_load_with_pauses_sends_in_its_phases_alone() {
    let bursts = "{ kind = \"request\", rate = \"100/s\", arrivals = \"fixed\", size = \"1KiB\", to = \"game:web\", on = \"1s\", off = \"2s\" }";
    let report = with(bursts, "");
    assert_eq!(report.clients[0].service.requests.sent, 400);
    assert!(
        (1.8..2.3).contains(&report.clients[0].gap_s),
        "{}",
        report.clients[0].gap_s
    );
}
