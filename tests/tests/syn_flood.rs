//! A flood of SYNs, from end to end: spoofed SYNs at ten times the rate of genuine connections.
//!
//! Flows that were there lose nothing, and genuine connections go on, since behind a shut gate a client must prove
//! its address. The switch that spoils it is played beside it: without the gate half-open flows take all the room
//! that they may have, and genuine connections find none.

use anyedge_net::rng::Seed;
use anyedge_net::route_table::Mechanisms;
use anyedge_sim::report::Report;
use anyedge_sim::run::Options;
use anyedge_tests::story;

/// 1,000 genuine connections and 10,000 spoofed SYNs a second, while long flows are under way.
const NETWORK: &str = r#"
schema = 1
name = "syn-flood"
duration = "5s"
drain = "20s"
convergence = "1s"

[defaults]
routes = "static"
flows_max = 8192

[vip.game]
address = "203.0.113.10"
clb = "main"

[pop.west]
lat = 39
lon = -9

[region.home]
lat = 50
lon = 9
clb_nodes = 2

[link.west-home]
between = ["pop.west", "region.home"]
rtt = "10ms"

[clb.main]
region = "home"
listener.web = { port = "tcp/80", scheduler = "wrr", targets = "web" }

[targets.web]
port = 8080
servers = [
    { ip = "10.0.0.1", host = "web-1" },
    { ip = "10.0.0.2", host = "web-2" },
    { ip = "10.0.0.3", host = "web-3" },
    { ip = "10.0.0.4", host = "web-4" },
]

[client.genuine]
count = 100
public = { west = "8ms" }
load = [
    { kind = "request", rate = "1000/s", arrivals = "fixed", size = "100B", request_size = "100B", start = "2s", to = "game:web" },
    { kind = "download", rate = "20/s", arrivals = "fixed", size = "60KiB", pace = "10KiB/s", start = "0s", stop = "1s", to = "game:web" },
]

[client.attacker]
count = 10
public = { west = "8ms" }
load = { kind = "syn-flood", rate = "10000/s", start = "2s", to = "game:web" }
"#;

fn play(mechanisms: Mechanisms) -> Report {
    let options = Options {
        seed: Some(Seed(3)),
        mechanisms,
        ..Options::default()
    };
    story::play(NETWORK, &options)
}

/// SYNs of the flood, and what of requests and of downloads was sent and failed.
fn ends(report: &Report) -> (u64, [(u64, u64); 2]) {
    let loads = |name: &str| {
        let mut clients = report.clients.iter();
        let client = clients.find(|client| client.name == name);
        &client.expect("the network has it").loads
    };
    let of = |load: usize| {
        let requests = &loads("genuine")[load].service.requests;
        (requests.sent, requests.failed.values().sum())
    };
    let syns = loads("attacker")[0].syns_sent.expect("a flood counts them");
    (syns, [of(0), of(1)])
}

#[test]
fn a_flood_ten_times_the_genuine_rate_breaks_no_flow_and_hardly_a_connection() {
    let report = play(Mechanisms::ALL);
    let (syns, [(sent, failed), downloads]) = ends(&report);
    assert!((28_000..32_000).contains(&syns), "{syns}");
    assert_eq!((sent, downloads), (3_000, (20, 0)));
    assert!(failed * 100 <= sent, "{failed} of {sent} failed");
    assert!(report.drops["SynGate"] > 10_000, "{:?}", report.drops);
}

#[test]
fn without_the_gate_flows_live_on_but_connections_find_no_room() {
    let without = Mechanisms {
        syn_gate: false,
        ..Mechanisms::ALL
    };
    let report = play(without);
    let (_, [(sent, failed), downloads]) = ends(&report);
    assert_eq!(downloads, (20, 0), "what lives is never evicted");
    assert!(failed * 100 > 10 * sent, "{failed} of {sent} failed");
}
