//! Each mechanism has a story, and a switch that makes this story fail.
//!
//! With everything on every story ends well. Each switch spoils its own story and those that say they rest on
//! it, and no other. Path MTU has its stories elsewhere, with its own switches. Tables are static, so that they take
//! long enough to nodes for what happens meanwhile to show.

use anyedge_net::rng::Seed;
use anyedge_net::route_table::Mechanisms;
use anyedge_sim::report::{LoadReport, Report};
use anyedge_sim::run::Options;
use anyedge_tests::story;

/// Two POPs, a home region with three CLB nodes, a region to make a detour over.
const NETWORK: &str = r#"
schema = 1
name = "mechanisms"
duration = "30s"
drain = "90s"
convergence = "3s"
slot_settle = "4s"
table_delay = "400ms"

[defaults]
routes = "static"
flows_max = 4096

[vip.game]
address = "203.0.113.10"
clb = "main"

[pop.west]
lat = 39
lon = -9

[pop.east]
lat = 41
lon = 29

[region.home]
lat = 50
lon = 9
clb_nodes = 3

[region.relay]
lat = 48
lon = 2

[link.west-home]
between = ["pop.west", "region.home"]
rtt = "20ms"

[link.east-home]
between = ["pop.east", "region.home"]
rtt = "40ms"

[link.west-relay]
between = ["pop.west", "region.relay"]
rtt = "12ms"

[link.relay-home]
between = ["region.relay", "region.home"]
rtt = "14ms"

[clb.main]
region = "home"
listener.web = { port = "tcp/80", scheduler = "wrr", targets = "web", health = { interval = "3s", timeout = "2s", unhealthy = 2, healthy = 2 } }
listener.tick = { port = "udp/7000", scheduler = "wrr", targets = "web" }

[targets.web]
port = 8080
servers = [
    { ip = "10.0.0.1", host = "web-1" },
    { ip = "10.0.0.2", host = "web-2" },
    { ip = "10.0.0.3", host = "web-3" },
    { ip = "10.0.0.4", host = "web-4" },
]

[client.near]
count = 8
public = { west = "8ms", east = "60ms" }
load = [
    { kind = "download", rate = "4/s", size = "200KiB", pace = "10KiB/s", arrivals = "fixed", start = "2s", stop = "8s", timeout = "20s", to = "game:web" },
    { kind = "upload", rate = "2/s", size = "200KiB", pace = "10KiB/s", arrivals = "fixed", start = "2s", stop = "8s", timeout = "20s", to = "game:web" },
    { kind = "request", rate = "20/s", size = "2KiB", start = "2s", timeout = "15s", to = "game:web" },
    { kind = "tick", rate = "80/s", arrivals = "fixed", size = "100B", start = "2s", to = "game:tick" },
]
"#;

fn play(faults: &str, mechanisms: Mechanisms) -> Report {
    let text = format!("{NETWORK}\n{faults}");
    let options = Options {
        seed: Some(Seed(7)),
        mechanisms,
        ..Options::default()
    };
    story::play(&text, &options)
}

/// What a story looks at.
#[derive(Debug)]
struct Seen {
    downloads_failed: u64,
    uploads_failed: u64,
    uploads_timed_out: u64,
    requests_failed: u64,
    requests_p90_ms: f64,
    ticks_sent: u64,
    ticks_failed: u64,
    tick_gap_s: f64,
    /// Of the client that a story brings with it, if it sends ticks.
    guest_ticks_failed: u64,
}

impl Seen {
    fn of(report: &Report) -> Seen {
        let [downloads, uploads, requests, ticks] = &report.clients[0].loads[..] else {
            panic!("four loads: {:?}", report.clients[0]);
        };
        let failed = |load: &LoadReport| load.service.requests.failed.values().sum();
        let timed_out = |load: &LoadReport| {
            let failed = &load.service.requests.failed;
            failed.get("timeout").copied().unwrap_or_default()
        };
        Seen {
            downloads_failed: failed(downloads),
            uploads_failed: failed(uploads),
            uploads_timed_out: timed_out(uploads),
            requests_failed: failed(requests),
            requests_p90_ms: requests.service.latency_ms.map_or(f64::MAX, |ms| ms.p90),
            ticks_sent: ticks.service.requests.sent,
            ticks_failed: failed(ticks),
            tick_gap_s: ticks.gap_s,
            guest_ticks_failed: report
                .clients
                .get(1)
                .map_or(0, |guest| failed(&guest.loads[0])),
        }
    }

    fn kept_all(&self) -> bool {
        self.downloads_failed + self.uploads_failed == 0
    }
}

/// A story: its faults, what is on, how it ends well, and the switch that spoils it.
struct Story {
    name: &'static str,
    faults: &'static str,
    told_with: Mechanisms,
    ends_well: fn(&Seen) -> bool,
    turn_off: fn(&mut Mechanisms),
    /// The other stories' switches that spoil it too.
    rests_on: &'static [&'static str],
}

const STORIES: [Story; 14] = [
    Story {
        name: "a CLB node that crashes takes no flow with it",
        faults: "[[fault]]\nat = \"12s\"\ndown = \"region.home.clb-2\"",
        told_with: Mechanisms::ALL,
        ends_well: Seen::kept_all,
        turn_off: |on| on.replication = false,
        rests_on: &[],
    },
    Story {
        name: "what a CLB node took over survives the crash of that node too",
        faults: "[[fault]]\nat = \"10s\"\ndown = \"region.home.clb-2\"\n[[fault]]\nat = \"18s\"\ndown = \"region.home.clb-3\"",
        told_with: Mechanisms::ALL,
        ends_well: Seen::kept_all,
        turn_off: |on| on.bulk_sync = false,
        rests_on: &["a CLB node that crashes takes no flow with it"],
    },
    Story {
        name: "a CLB node that returns with nothing in mind serves the flows of its slots",
        faults: "[[fault]]\nat = \"10s\"\nfor = \"6s\"\ndown = \"region.home.clb-2\"",
        told_with: Mechanisms::ALL,
        ends_well: Seen::kept_all,
        turn_off: |on| on.second_chance = false,
        rests_on: &["a CLB node that crashes takes no flow with it"],
    },
    Story {
        name: "a crashed CLB node is passed over before anybody publishes a table",
        faults: "[[fault]]\nat = \"12s\"\ndown = \"region.home.clb-2\"",
        told_with: Mechanisms::ALL,
        ends_well: |seen| seen.ticks_failed < 10,
        turn_off: |on| on.fallback = false,
        rests_on: &[],
    },
    Story {
        name: "two CLB nodes drained at once still serve what has not been handed over",
        faults: "[[fault]]\nat = \"12s\"\ndrain = \"region.home.clb-1\"\n[[fault]]\nat = \"12s\"\ndrain = \"region.home.clb-2\"",
        // Nothing is sent in bulk, so that all depends on who is asked.
        told_with: Mechanisms {
            bulk_sync: false,
            ..Mechanisms::ALL
        },
        ends_well: Seen::kept_all,
        turn_off: |on| on.slot_history = false,
        rests_on: &[
            "a CLB node that crashes takes no flow with it",
            "a CLB node that returns with nothing in mind serves the flows of its slots",
        ],
    },
    Story {
        name: "a silent client's download goes on when its POP dies",
        faults: "[[fault]]\nat = \"12s\"\ndown = \"pop.west\"",
        told_with: Mechanisms::ALL,
        ends_well: |seen| seen.downloads_failed == 0,
        turn_off: |on| on.return_pop = false,
        rests_on: &[],
    },
    Story {
        name: "a detour over another region is taken before the POP withdraws",
        faults: "[[fault]]\nat = \"12s\"\ndown = \"link.west-home\"",
        told_with: Mechanisms::ALL,
        ends_well: |seen| seen.tick_gap_s < 1.0,
        turn_off: |on| on.detour = false,
        rests_on: &[],
    },
    Story {
        name: "a link that loses packets one way is left though its probes still arrive",
        faults: "[[fault]]\nat = \"8s\"\ndegrade = \"link.west-home\"\ndirection = \"from region.home\"\nloss = \"30%\"",
        told_with: Mechanisms::ALL,
        ends_well: |seen| seen.ticks_failed * 100 <= seen.ticks_sent * 7,
        turn_off: |on| on.grey = false,
        // There is no other way than the detour.
        rests_on: &["a detour over another region is taken before the POP withdraws"],
    },
    Story {
        name: "a link that gets slow is left for one that is now faster",
        faults: "[link.west-home-north]\nbetween = [\"pop.west\", \"region.home\"]\nrtt = \"30ms\"\n[[fault]]\nat = \"4s\"\ndegrade = \"link.west-home\"\ndelay = \"150ms\"",
        told_with: Mechanisms::ALL,
        ends_well: |seen| seen.requests_p90_ms < 300.0,
        turn_off: |on| on.measured_cost = false,
        rests_on: &[],
    },
    Story {
        name: "downloads go on when the MTU of their link shrinks",
        faults: "[[fault]]\nat = \"8s\"\nfor = \"14s\"\ndegrade = \"link.west-home\"\nmtu = 1300",
        told_with: Mechanisms::ALL,
        ends_well: |seen| seen.downloads_failed + seen.requests_failed == 0,
        turn_off: |on| on.full_size_probes = false,
        rests_on: &["a link that loses packets one way is left though its probes still arrive"],
    },
    Story {
        name: "ticks larger than a packet are answered",
        faults: "[client.pieces]\npublic = { west = \"8ms\" }\nload = { kind = \"tick\", rate = \"20/s\", size = \"4000B\", start = \"2s\", to = \"game:tick\" }",
        told_with: Mechanisms::ALL,
        ends_well: |seen| seen.guest_ticks_failed == 0,
        turn_off: |on| on.fragments = false,
        rests_on: &[],
    },
    Story {
        name: "connections are made during a flood of SYNs",
        faults: "[client.swarm]\ncount = 4\npublic = { west = \"8ms\" }\nload = { kind = \"syn-flood\", rate = \"4000/s\", start = \"8s\", stop = \"14s\", to = \"game:web\" }",
        told_with: Mechanisms::ALL,
        ends_well: |seen| seen.kept_all() && seen.requests_failed == 0,
        turn_off: |on| on.syn_gate = false,
        rests_on: &[],
    },
    Story {
        name: "a client whose flow nobody knows is told at once",
        faults: "[[fault]]\nat = \"12s\"\ndown = \"region.home.clb-1\"\n[[fault]]\nat = \"12s\"\ndown = \"region.home.clb-2\"",
        told_with: Mechanisms::ALL,
        ends_well: |seen| seen.uploads_failed > 0 && seen.uploads_timed_out == 0,
        turn_off: |on| on.reset_on_miss = false,
        rests_on: &[],
    },
    Story {
        name: "a target that answers too late gets no new flow",
        faults: "[[fault]]\nat = \"5s\"\ndegrade = \"host.web-2\"\ndelay = \"1100ms\"",
        told_with: Mechanisms::ALL,
        ends_well: |seen| seen.requests_p90_ms < 1_000.0,
        turn_off: |on| on.health = false,
        rests_on: &[],
    },
];

fn told(story: &Story, turn_off: fn(&mut Mechanisms)) -> bool {
    let mut mechanisms = story.told_with;
    turn_off(&mut mechanisms);
    let seen = Seen::of(&play(story.faults, mechanisms));
    (story.ends_well)(&seen)
}

#[test]
fn every_story_ends_well() {
    let badly: Vec<&str> = STORIES
        .iter()
        .filter(|story| !told(story, |_| ()))
        .map(|story| story.name)
        .collect();
    assert!(badly.is_empty(), "{badly:#?}");
}

#[test]
fn each_switch_spoils_exactly_the_stories_that_rest_on_its_mechanism() {
    let mut wrong = Vec::new();
    for switch in &STORIES {
        let spoiled: Vec<&str> = STORIES
            .iter()
            .filter(|story| !told(story, switch.turn_off))
            .map(|story| story.name)
            .collect();
        let expected: Vec<&str> = STORIES
            .iter()
            .filter(|story| story.name == switch.name || story.rests_on.contains(&switch.name))
            .map(|story| story.name)
            .collect();
        wrong.extend((spoiled != expected).then_some((switch.name, spoiled)));
    }
    assert!(wrong.is_empty(), "each with what it spoils: {wrong:#?}");
}

#[test]
fn with_all_targets_abnormal_all_are_asked() {
    // Their answers come, but later than the checks wait for.
    let slow = |n: u32| {
        format!("[[fault]]\nat = \"4s\"\ndegrade = \"host.web-{n}\"\ndelay = \"1100ms\"\n")
    };
    let faults: String = (1..=4).map(slow).collect();
    let failed = |mechanisms| Seen::of(&play(&faults, mechanisms)).requests_failed;
    assert_eq!(failed(Mechanisms::ALL), 0);
    let closed = Mechanisms {
        fail_open: false,
        ..Mechanisms::ALL
    };
    assert!(failed(closed) > 100);
}
