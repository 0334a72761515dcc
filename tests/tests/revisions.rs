//! Nodes that hold different revisions: a POP is two behind while clients change to it in mid-flow.
//!
//! Its subject are forwarders, so tables are static: each is where it is at the same time in every version.

use anyedge_net::rng::Seed;
use anyedge_net::route_table::Mechanisms;
use anyedge_sim::report::Report;
use anyedge_sim::run::Options;
use anyedge_tests::story;

/// Three POPs; a fifth of the clients enters at `mid` until it withdraws at 20 s, then at `east`, which gets
/// no table from 10 s to 40 s. Meanwhile a CLB node is added and another drained: two revisions.
const FILE: &str = r#"
schema = 1
name = "revisions"
duration = "45s"
drain = "60s"
convergence = "3s"

[defaults]
routes = "static"
flows_max = 4096

[vip.game]
address = ["203.0.113.10", "2001:db8:113::10"]
clb = "main"

[pop.west]
lat = 39
lon = -9

[pop.mid]
lat = 48
lon = 16

[pop.east]
lat = 41
lon = 29

[region.home]
lat = 50
lon = 9
clb_nodes = 3

[link.west-home]
between = ["pop.west", "region.home"]
rtt = "20ms"

[link.mid-home]
between = ["pop.mid", "region.home"]
rtt = "30ms"

[link.east-home]
between = ["pop.east", "region.home"]
rtt = "40ms"

[clb.main]
region = "home"
listener.web = { port = "tcp/80", scheduler = "wrr", targets = "web" }
listener.tick = { port = "udp/7000", scheduler = "wrr", targets = "web" }

[targets.web]
port = 8080
servers = [{ ip = "10.0.0.1" }, { ip = "10.0.0.2" }, { ip = "10.0.0.3" }, { ip = "10.0.0.4" }]

[client.staying]
count = 8
public = { west = "8ms", mid = "40ms", east = "60ms" }
load = [
    { kind = "download", rate = "8/s", size = "350KiB", pace = "10KiB/s", arrivals = "fixed", start = "2s", stop = "12s", timeout = "30s", to = "game:web" },
    { kind = "upload", rate = "4/s", size = "350KiB", pace = "10KiB/s", arrivals = "fixed", start = "2s", stop = "12s", timeout = "30s", to = "game:web" },
    { kind = "tick", rate = "80/s", arrivals = "fixed", size = "100B", start = "2s", to = "game:tick" },
]

[client.moving]
count = 2
public = { west = "70ms", mid = "8ms", east = "30ms" }
load = [
    { kind = "download", rate = "2/s", size = "350KiB", pace = "10KiB/s", arrivals = "fixed", start = "2s", stop = "12s", timeout = "30s", to = "game:web" },
    { kind = "upload", rate = "1/s", size = "350KiB", pace = "10KiB/s", arrivals = "fixed", start = "2s", stop = "12s", timeout = "30s", to = "game:web" },
    { kind = "tick", rate = "20/s", arrivals = "fixed", size = "100B", start = "2s", to = "game:tick" },
]

[[fault]]
at = "10s"
for = "30s"
stale = "pop.east"

[[fault]]
at = "14s"
add = "region.home.clb-4"

[[fault]]
at = "17s"
drain = "region.home.clb-1"

[[fault]]
at = "20s"
withdraw = "pop.mid"
"#;

fn play(seed: u64, mechanisms: Mechanisms) -> Report {
    let options = Options {
        seed: Some(Seed(seed)),
        mechanisms,
        ..Options::default()
    };
    story::play(FILE, &options)
}

#[test]
fn a_fifth_of_the_clients_changes_to_a_pop_two_revisions_behind_and_no_flow_breaks() {
    for seed in 1..=10 {
        let report = play(seed, Mechanisms::ALL);
        assert!(report.flows.moved > 0, "nobody changed POP");
        assert!(
            report.flows.closed.contains_key("HandedOver"),
            "no slot moved"
        );
        for client in &report.clients {
            assert_eq!(client.broken_flows, 0, "seed {seed}: {}", client.name);
            for load in client.loads.iter().filter(|load| load.kind != "tick") {
                let requests = &load.service.requests;
                assert!(
                    requests.failed.is_empty(),
                    "seed {seed}: {} {requests:?}",
                    load.kind
                );
            }
        }
        let moving = report.clients.iter().find(|client| client.name == "moving");
        let entered = &moving.expect("it is in the file").pops;
        assert!(
            entered.contains_key("mid") && entered.contains_key("east"),
            "{entered:?}"
        );
    }
}

#[test]
fn without_the_second_chance_a_pop_that_is_behind_breaks_flows() {
    let without = Mechanisms {
        second_chance: false,
        ..Mechanisms::ALL
    };
    let broken = |seed| -> u64 {
        let report = play(seed, without);
        report
            .clients
            .iter()
            .map(|client| client.broken_flows)
            .sum()
    };
    assert!((1..=3).map(broken).sum::<u64>() > 0);
}
