//! Path MTU, from end to end: hosts send packets of 1,500 bytes that nobody may cut, over tunnels that take less.
//!
//! Two things help, and each suffices alone: ICMP errors, from which hosts learn, and the MSS clamp, with which
//! TCP never sends so much. Without both, large packets are lost and small ones pass: a black hole. Each test
//! plays the same network with and without what it is about, so the switch that spoils it is beside it.

use anyedge_net::rng::Seed;
use anyedge_net::route_table::Mechanisms;
use anyedge_sim::report::Report;
use anyedge_sim::run::Options;
use anyedge_tests::story;

/// One POP, one region with two CLB nodes, a population that downloads and uploads.
const NETWORK: &str = r#"
schema = 1
name = "path-mtu"
duration = "6s"
drain = "40s"
convergence = "1s"

[defaults]
routes = "static"

[vip.game]
address = ["203.0.113.10", "2001:db8::10"]
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
rtt = "20ms"

[clb.main]
region = "home"
listener.web = { port = "tcp/80", scheduler = "wrr", targets = "web" }

[targets.web]
port = 8080
servers = [
    { ip = ["10.0.0.1", "fd00::1"], host = "web-1" },
    { ip = ["10.0.0.2", "fd00::2"], host = "web-2" },
]

[client.near]
count = 4
family = "both"
public = { west = "8ms" }
load = [
    { kind = "download", rate = "2/s", size = "200KiB", arrivals = "fixed", start = "1s", stop = "5s", timeout = "20s", to = "game:web" },
    { kind = "upload", rate = "2/s", size = "200KiB", arrivals = "fixed", start = "1s", stop = "5s", timeout = "20s", to = "game:web" },
]
"#;

const ICMP_ALONE: Mechanisms = Mechanisms {
    mss_clamp: false,
    ..Mechanisms::ALL
};
const CLAMP_ALONE: Mechanisms = Mechanisms {
    icmp_errors: false,
    ..Mechanisms::ALL
};
const NEITHER: Mechanisms = Mechanisms {
    mss_clamp: false,
    icmp_errors: false,
    ..Mechanisms::ALL
};

fn play(text: &str, mechanisms: Mechanisms) -> Report {
    let options = Options {
        seed: Some(Seed(11)),
        mechanisms,
        ..Options::default()
    };
    story::play(text, &options)
}

/// What was sent and what of it failed, by load: downloads, uploads.
fn ends(report: &Report) -> Vec<(u64, u64)> {
    let loads = report.clients[0].loads.iter();
    loads
        .map(|load| {
            let requests = &load.service.requests;
            (requests.sent, requests.failed.values().sum())
        })
        .collect()
}

fn too_big(report: &Report) -> u64 {
    report.drops.get("TooBig").copied().unwrap_or_default()
}

/// The network under each encapsulation over each underlay.
fn each_encapsulation() -> impl Iterator<Item = (String, String)> {
    let encaps = ["gre", "gre-udp", "quic"].into_iter();
    let both = encaps.flat_map(|encap| ["v4", "v6"].map(|underlay| (encap, underlay)));
    both.map(|(encap, underlay)| {
        let defaults =
            format!("[defaults]\nccn.encap = \"{encap}\"\nccn.underlay = \"{underlay}\"\n");
        let text = NETWORK.replacen("[defaults]\n", &defaults, 1);
        (format!("{encap} over {underlay}"), text)
    })
}

#[test]
fn without_the_clamp_hosts_learn_from_icmp_errors_over_every_encapsulation() {
    for (name, text) in each_encapsulation() {
        let learned = play(&text, ICMP_ALONE);
        assert_eq!(ends(&learned), [(8, 0), (8, 0)], "{name}");
        assert!(too_big(&learned) > 0, "{name}: nothing had to be learned");
        // What just fits the tunnel just fits the link in its wrapping.
        assert_eq!(learned.drops.get("LinkMtu"), None, "{name}");
        assert_eq!(ends(&play(&text, NEITHER)), [(8, 8), (8, 8)], "{name}");
    }
}

#[test]
fn with_icmp_blocked_the_clamp_alone_suffices_over_every_encapsulation() {
    for (name, text) in each_encapsulation() {
        let clamped = play(&text, CLAMP_ALONE);
        assert_eq!(ends(&clamped), [(8, 0), (8, 0)], "{name}");
        assert_eq!(too_big(&clamped), 0, "{name}: no packet met a refusal");
    }
}

/// A public path that takes less than the tunnels: the clamp cannot know, only its router can tell.
fn narrow() -> String {
    NETWORK.replace("count = 4", "count = 4\npublic_mtu = 1400")
}

#[test]
fn a_router_on_the_public_path_is_heard_by_clients_and_by_the_targets_behind_the_vip() {
    let told = play(&narrow(), Mechanisms::ALL);
    assert_eq!(ends(&told), [(8, 0), (8, 0)]);
    assert!(told.drops["LinkMtu"] > 0);
    assert_eq!(ends(&play(&narrow(), CLAMP_ALONE)), [(8, 8), (8, 8)]);
}

/// Eight downloads ask by the west POP, 200 ms from the region. While their questions and answers are on the
/// way the Internet turns to the east POP: their routers' errors enter there, their flows are still the west's.
fn turned_while_asking() -> String {
    let load = "load = [\n    { kind = \"download\", rate = \"80/s\", size = \"200KiB\", arrivals = \"fixed\", start = \"2s\", stop = \"2100ms\", timeout = \"20s\", to = \"game:web\" },\n]\n";
    let text = narrow();
    let (before, _) = text.split_once("load = [").expect("it has loads");
    let text = before
        .replace("west = \"8ms\"", "west = \"8ms\", east = \"30ms\"")
        .replace("rtt = \"20ms\"", "rtt = \"200ms\"");
    format!(
        "{text}{load}
[pop.east]
lat = 41
lon = 29

[link.east-home]
between = [\"pop.east\", \"region.home\"]
rtt = \"40ms\"

[[fault]]
at = \"1350ms\"
withdraw = \"pop.west\"
"
    )
}

#[test]
fn an_error_that_arrives_at_another_pop_is_relayed_by_the_flow_that_it_quotes() {
    let report = play(&turned_while_asking(), Mechanisms::ALL);
    let refused: Vec<(&str, u64)> = report
        .links
        .iter()
        .filter_map(|link| Some((link.name.as_str(), *link.dropped.get("LinkMtu")?)))
        .collect();
    assert_eq!(
        refused,
        [("pop.west>client.near", 8)],
        "each flow learned once, about an answer that west sent"
    );
    let entered = &report.clients[0].pops;
    assert!(entered["east"] > entered["west"], "{entered:?}");
    assert_eq!(ends(&report), [(8, 0)]);
    assert_eq!(ends(&play(&turned_while_asking(), CLAMP_ALONE)), [(8, 8)]);
}
