//! An open loop: what is sent does not depend on what is answered, and the wait that a stall causes is all accounted for.
//!
//! A server stands still for 1 s of 10 s at 1,000 requests/s. Those due in that second wait between 1 s and nothing, so a
//! tenth of all latencies is spread evenly up to 1 s and the 99th percentile of the intended ones is 0.9 s. A client that
//! has 64 in flight at most finds 64 slow ones in 10,000: the actual ones, from the real start, stay low. (G. Tene, "How
//! not to measure latency", 2013: coordinated omission.)

use anyedge_sim::report::LoadReport;
use anyedge_sim::run::Options;
use anyedge_tests::story;

use super::edge::Edge;
use super::theory::{Row, Within};

fn play(stall: bool) -> LoadReport {
    let fault = if stall {
        "[[fault]]\nhang = \"host.tick-1\"\nat = \"4s\"\nfor = \"1s\"\n"
    } else {
        ""
    };
    let client = format!(
        "public = {{ tokyo = \"1ms\" }}
load = {{ kind = \"tick\", rate = \"1000/s\", arrivals = \"fixed\", timeout = \"5s\", in_flight_max = 64, to = \"game:tick\" }}
{fault}"
    );
    let edge = Edge {
        top: "duration = \"10s\"",
        defaults: "",
        rtt: "1ms",
        listener: "tick",
        port: "udp/7000",
        client: &client,
    };
    let mut report = story::play(&edge.text(), &Options::default());
    report.clients.remove(0).loads.remove(0)
}

pub(super) fn rows() -> Vec<Row> {
    let (calm, stalled) = (play(false), play(true));
    let intended = |load: &LoadReport| load.stats.intended().value_at_quantile(0.99) as f64 / 1e6;
    let actual = |load: &LoadReport| load.stats.actual().value_at_quantile(0.99) as f64 / 1e6;
    let row = |what: &str, theory: f64, found: f64, within: Within| Row {
        what: what.to_owned(),
        theory,
        found,
        within,
    };
    vec![
        row(
            "ticks sent, with the stall and without",
            calm.service.requests.sent as f64,
            stalled.service.requests.sent as f64,
            Within::Exactly,
        ),
        row(
            "ticks answered",
            calm.service.requests.ok as f64,
            stalled.service.requests.ok as f64,
            Within::Exactly,
        ),
        row(
            "intended latency, p99, ms",
            900.0,
            intended(&stalled),
            Within::OrAbove,
        ),
        row(
            "actual latency, p99, ms",
            10.0,
            actual(&stalled),
            Within::OrBelow,
        ),
        row(
            "intended latency without the stall, p99, ms",
            10.0,
            intended(&calm),
            Within::OrBelow,
        ),
    ]
}
