//! Fragments, from end to end: ticks that fit no packet, cut by their sender, put together by their receiver.
//!
//! Ticks of 4,000 bytes go through POP, CLB node and vSwitch in pieces, and their echoes come back so, over tunnels
//! that take less than the hosts' links: in IPv4 nodes cut the pieces again, in IPv6 the ends learn what the path
//! takes, each from one lost datagram. The switch that spoils it is played beside it: without fragments the large
//! ticks are lost, and small ones of the same clients go on.

use anyedge_net::rng::Seed;
use anyedge_net::route_table::Mechanisms;
use anyedge_sim::report::Report;
use anyedge_sim::run::Options;
use anyedge_tests::story;

/// One POP, one region with three CLB nodes: fragments come to one that is not their flow's.
const NETWORK: &str = r#"
schema = 1
name = "fragments"
duration = "8s"
drain = "5s"
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
clb_nodes = 3

[link.west-home]
between = ["pop.west", "region.home"]
rtt = "20ms"

[clb.main]
region = "home"
listener.tick = { port = "udp/7000", scheduler = "maglev", targets = "web" }

[targets.web]
port = 7000
servers = [
    { ip = ["10.0.0.1", "fd00::1"], host = "web-1" },
    { ip = ["10.0.0.2", "fd00::2"], host = "web-2" },
]

[client.four]
count = 6
public = { west = "8ms" }
load = [
    { kind = "tick", rate = "60/s", arrivals = "fixed", size = "4000B", start = "1s", to = "game:tick" },
    { kind = "tick", rate = "60/s", arrivals = "fixed", size = "200B", start = "1s", to = "game:tick" },
]

[client.six]
count = 6
family = "v6"
public = { west = "8ms" }
load = [
    { kind = "tick", rate = "60/s", arrivals = "fixed", size = "4000B", start = "1s", to = "game:tick" },
    { kind = "tick", rate = "60/s", arrivals = "fixed", size = "200B", start = "1s", to = "game:tick" },
]
"#;

const SENT: u64 = 420;
const HOSTS: u64 = 6;

fn play(text: &str, mechanisms: Mechanisms) -> Report {
    let options = Options {
        seed: Some(Seed(5)),
        mechanisms,
        ..Options::default()
    };
    story::play(text, &options)
}

/// What was sent and what of it failed, by load: large ticks, small ticks.
fn ends(report: &Report, client: &str) -> Vec<(u64, u64)> {
    let mut clients = report.clients.iter();
    let client = clients
        .find(|entry| entry.name == client)
        .expect("the network has it");
    let loads = client.loads.iter().map(|load| &load.service.requests);
    loads
        .map(|requests| (requests.sent, requests.failed.values().sum()))
        .collect()
}

/// The network under each encapsulation over each underlay.
fn each_encapsulation() -> impl Iterator<Item = (String, String)> {
    let encaps = ["gre", "gre-udp"].into_iter();
    let both = encaps.flat_map(|encap| ["v4", "v6"].map(|underlay| (encap, underlay)));
    both.map(|(encap, underlay)| {
        let defaults =
            format!("[defaults]\nccn.encap = \"{encap}\"\nccn.underlay = \"{underlay}\"\n");
        let text = NETWORK.replacen("[defaults]\n", &defaults, 1);
        (format!("{encap} over {underlay}"), text)
    })
}

#[test]
fn ticks_larger_than_a_packet_are_answered_over_every_encapsulation() {
    for (name, text) in each_encapsulation() {
        let report = play(&text, Mechanisms::ALL);
        assert_eq!(
            ends(&report, "four"),
            [(SENT, 0), (SENT, 0)],
            "{name}: in IPv4 nodes cut what is too long"
        );
        let [(sent, failed), small] = ends(&report, "six")[..] else {
            panic!("two loads: {:?}", ends(&report, "six"));
        };
        assert_eq!((sent, small), (SENT, (SENT, 0)), "{name}");
        // A host sends ticks 100 ms apart, so one is on the way while an end learns; the answers' end learns too.
        assert!(
            (HOSTS..=2 * HOSTS).contains(&failed),
            "{name}: {failed} were lost to learn the path's MTU"
        );
    }
}

#[test]
fn without_fragments_large_ticks_are_lost_and_small_ones_go_on() {
    let without = Mechanisms {
        fragments: false,
        ..Mechanisms::ALL
    };
    let report = play(NETWORK, without);
    for client in ["four", "six"] {
        assert_eq!(ends(&report, client), [(SENT, SENT), (SENT, 0)], "{client}");
    }
    assert!(report.drops["Fragment"] > 0);
}

#[test]
fn the_loss_of_one_piece_is_the_loss_of_its_tick_alone() {
    let lossy = NETWORK.replace("rtt = \"20ms\"", "rtt = \"20ms\"\nloss = \"1%\"");
    let report = play(&lossy, Mechanisms::ALL);
    let [(large, lost), (small, lost_small)] = ends(&report, "four")[..] else {
        panic!("two loads");
    };
    assert_eq!((large, small), (SENT, SENT));
    // Some five packets each way in the place of one.
    assert!(
        lost > 2 * lost_small,
        "{lost} of {large}, {lost_small} of {small}"
    );
    assert!(lost < SENT / 4, "{lost} of {large}");
}
