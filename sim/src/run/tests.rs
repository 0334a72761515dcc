//! One run for each verb of a fault, on a network of two POPs and three CLB nodes: what it does to the world and
//! what the report says of it.

use core::time::Duration;

use anyedge_topologies::Topology;

use super::{Options, run};
use crate::report::{FaultReport, Report};

const NETWORK: &str = r#"
schema = 1
name = "acts"
duration = "12s"
seed = 3
convergence = "1s"
withdraw_after = "300ms"
readvertise_after = "500ms"
publish_after = "500ms"

[vip.game]
address = "203.0.113.10"
publish = ["tokyo", "seoul"]
clb = "main"

[pop.tokyo]
[pop.seoul]

[region.guangzhou]
clb_nodes = 3

[link.tokyo-guangzhou]
between = ["pop.tokyo", "region.guangzhou"]
rtt = "52ms"

[link.seoul-guangzhou]
between = ["pop.seoul", "region.guangzhou"]
rtt = "40ms"

[clb.main]
region = "guangzhou"
listener.web = { port = "tcp/80", scheduler = "wrr", targets = "web" }
listener.tick = { port = "udp/7000", scheduler = "wrr", targets = "web" }

[targets.web]
port = 8080
servers = [{ ip = "10.0.0.11" }, { ip = "10.0.0.12" }]

[client.osaka]
public = { tokyo = "9ms", seoul = "30ms" }
load = [
    { kind = "request", rate = "40/s", size = "4KiB", to = "game:web", timeout = "3s" },
    { kind = "tick", rate = "40/s", size = "200B", to = "game:tick" },
]
"#;

/// Runs the network with `faults`, each without its header.
fn play(faults: &[&str]) -> Report {
    let mut text = NETWORK.to_owned();
    for fault in faults {
        text.push_str("\n[[fault]]\n");
        text.push_str(fault);
        text.push('\n');
    }
    let topology = Topology::parse("acts.toml", &text).unwrap_or_else(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"))
    });
    run(&topology, &Options::default(), &mut |_| {}).expect("the topology builds")
}

fn dropped(report: &Report, reason: &str) -> u64 {
    report.drops.get(reason).copied().unwrap_or_default()
}

fn delivered(report: &Report, name: &str) -> u64 {
    let link = report.links.iter().find(|link| link.name == name);
    link.expect("a link of the network").delivered
}

fn entries(report: &Report, pop: &str) -> u64 {
    let pops = &report.clients[0].pops;
    pops.get(pop).copied().unwrap_or_default()
}

fn failed(report: &Report) -> u64 {
    report.clients[0].service.requests.failed.values().sum()
}

fn fault<'r>(report: &'r Report, what: &str) -> &'r FaultReport {
    let found = report.faults.iter().find(|fault| fault.what == what);
    found.unwrap_or_else(|| panic!("no `{what}` in {:?}", report.faults))
}

fn within(time: Option<f64>, from: f64, to: f64) -> bool {
    time.is_some_and(|time| (from..=to).contains(&time))
}

#[test]
fn a_network_without_faults_loses_nothing_and_reports_none() {
    let report = play(&[]);
    assert!(report.faults.is_empty());
    assert_eq!(
        failed(&report),
        0,
        "{:?}",
        report.clients[0].service.requests
    );
    assert_eq!(entries(&report, "seoul"), 0);
}

#[test]
fn a_pop_that_crashes_is_missed_by_its_router_and_its_clients_enter_elsewhere() {
    let report = play(&["at = \"3s\"\nfor = \"4s\"\ndown = \"pop.tokyo\""]);
    assert!(dropped(&report, "PopDown") > 0);
    assert!(entries(&report, "seoul") > 0 && entries(&report, "tokyo") > 0);
    let down = fault(&report, "down pop.tokyo");
    assert!(within(down.withdrawn_s, 1.6, 2.0), "{down:?}");
    assert!(within(down.detected_s, 0.1, 1.0), "{down:?}");
    assert_eq!(fault(&report, "up pop.tokyo").withdrawn_s, None);
}

#[test]
fn a_crash_is_missed_after_the_hold_time_without_bfd_and_at_once_without_routers() {
    for (bgp, from, to) in [
        // Keepalives come each second; the last may have come just before.
        ("{ hold = \"3s\", bfd = false }", 2.9, 4.1),
        (
            "{ bfd = { interval = \"100ms\", multiplier = 5 } }",
            1.3,
            1.6,
        ),
        ("false", 0.9, 1.1),
    ] {
        let down = "at = \"3s\"\nfor = \"6s\"\ndown = \"pop.tokyo\"";
        let report = play(&[&format!("{down}\n[defaults]\nbgp = {bgp}")]);
        let down = fault(&report, "down pop.tokyo");
        assert!(within(down.withdrawn_s, from, to), "{bgp}: {down:?}");
    }
}

#[test]
fn a_pop_that_has_drained_for_long_enough_withdraws() {
    let drain = "at = \"2s\"\nfor = \"6s\"\ndrain = \"pop.tokyo\"";
    let bgp = "[defaults]\nbgp = { graceful_shutdown = \"2s\" }";
    // Naha has no other way in: it goes on by the POP that leaves, until there is no way at all.
    let naha = "[client.naha]\npublic = { tokyo = \"20ms\" }\n\
                load = { kind = \"tick\", rate = \"40/s\", size = \"200B\", to = \"game:tick\" }";
    let report = play(&[&format!("{drain}\n{bgp}\n{naha}")]);
    let of = |name: &str| {
        let mut clients = report.clients.iter();
        let client = clients.find(|client| client.name == name);
        &client.expect("a population of the network").service
    };
    let osaka: u64 = of("osaka").requests.failed.values().sum();
    assert_eq!(osaka, 0, "{:?}", of("osaka").requests);
    // Not before 2 s + 2 s + 1 s, and until it is announced again and that was heard, at 9 s.
    let lost: u64 = of("naha").requests.failed.values().sum();
    assert!(
        (120..200).contains(&lost),
        "{lost}: {:?}",
        of("naha").requests
    );
}

#[test]
fn a_clb_node_that_crashes_is_lost_to_the_table_and_in_again_when_it_is_back() {
    let report = play(&["at = \"3s\"\nfor = \"4s\"\ndown = \"region.guangzhou.clb-2\""]);
    assert!(dropped(&report, "ClbNodeDown") > 0);
    assert!(report.flows.lost > 0, "its connection table is gone");
    let down = fault(&report, "down region.guangzhou.clb-2");
    assert!(within(down.detected_s, 0.1, 1.0), "{down:?}");
    let up = fault(&report, "up region.guangzhou.clb-2");
    assert!(within(up.detected_s, 0.0, 3.0), "{up:?}");
    let sent = report.clients[0].service.requests.sent;
    assert!(failed(&report) < sent / 20, "{} of {sent}", failed(&report));
}

#[test]
fn a_region_that_goes_down_takes_its_nodes_and_its_machines_with_it() {
    let report = play(&["at = \"3s\"\nfor = \"2s\"\ndown = \"region.guangzhou\""]);
    assert!(dropped(&report, "RegionDown") > 0);
    let down = fault(&report, "down region.guangzhou");
    assert!(within(down.detected_s, 0.1, 1.0), "{down:?}");
    let requests = &report.clients[0].service.requests;
    assert!(
        requests.ok > requests.sent / 3,
        "it comes back: {requests:?}"
    );
}

#[test]
fn a_machine_that_hangs_accepts_and_never_answers_until_it_goes_on() {
    let report = play(&["at = \"3s\"\nfor = \"5s\"\nhang = \"host.web-1\""]);
    let requests = &report.clients[0].service.requests;
    assert!(requests.failed.contains_key("timeout"), "{requests:?}");
    assert!(!requests.failed.contains_key("refused"), "{requests:?}");
    assert_eq!(dropped(&report, "HostDown"), 0);
    assert!(requests.ok > requests.sent / 2);
    assert_eq!(report.faults.len(), 2);
}

#[test]
fn a_machine_of_weight_zero_gets_no_new_flow_until_it_has_its_weight_again() {
    let way = "region.guangzhou>host.web-1";
    let calm = delivered(&play(&[]), way);
    for verb in ["drain = \"host.web-1\"", "weight = \"host.web-1\"\nto = 0"] {
        let all = play(&[&format!("at = \"0s\"\n{verb}")]);
        let half = play(&[&format!("at = \"0s\"\nfor = \"6s\"\n{verb}")]);
        // Probes of the path, and what they find, go on.
        let (all, half) = (delivered(&all, way), delivered(&half, way));
        assert!(all < half && half < calm, "{verb}: {all}, {half}, {calm}");
    }
}

#[test]
fn a_drained_clb_node_gets_no_new_flow_and_breaks_none() {
    let report = play(&["at = \"3s\"\nfor = \"4s\"\ndrain = \"region.guangzhou.clb-1\""]);
    assert_eq!(
        failed(&report),
        0,
        "{:?}",
        report.clients[0].service.requests
    );
    assert_eq!(dropped(&report, "ClbNodeDown"), 0);
    assert_eq!(fault(&report, "drain region.guangzhou.clb-1").refused, None);
}

#[test]
fn a_clb_node_that_is_added_serves_from_then_on() {
    let report = play(&["at = \"3s\"\nadd = \"region.guangzhou.clb-4\""]);
    let sent = report.clients[0].service.requests.sent;
    assert!(failed(&report) * 50 < sent, "{} of {sent}", failed(&report));
    assert_eq!(report.faults.len(), 1);
    assert_eq!(fault(&report, "add region.guangzhou.clb-4").refused, None);
}

#[test]
fn a_pop_that_withdraws_goes_on_forwarding_until_all_have_heard() {
    let report = play(&["at = \"3s\"\nfor = \"4s\"\nwithdraw = \"pop.tokyo\""]);
    assert_eq!(
        failed(&report),
        0,
        "{:?}",
        report.clients[0].service.requests
    );
    assert!(entries(&report, "seoul") > 0);
    let withdrawn = fault(&report, "withdraw pop.tokyo");
    assert!(within(withdrawn.withdrawn_s, 1.0, 1.1), "{withdrawn:?}");
    assert_eq!(withdrawn.detected_s, None);
}

#[test]
fn a_pop_that_drains_sends_its_clients_away_and_forwards_until_they_are_gone() {
    let report = play(&["at = \"3s\"\nfor = \"4s\"\ndrain = \"pop.tokyo\""]);
    assert_eq!(
        failed(&report),
        0,
        "{:?}",
        report.clients[0].service.requests
    );
    let (tokyo, seoul) = (entries(&report, "tokyo"), entries(&report, "seoul"));
    assert!(tokyo > 0 && seoul > 0, "{tokyo} by tokyo, {seoul} by seoul");
    let drained = fault(&report, "drain pop.tokyo");
    assert!(within(drained.withdrawn_s, 0.0, 1.2), "{drained:?}");
    assert_eq!(drained.refused, None);
}

#[test]
fn a_pop_without_a_path_withdraws_and_announces_again_once_it_has_had_one_for_a_while() {
    let report = play(&["at = \"3s\"\nfor = \"4s\"\ndown = \"link.tokyo-guangzhou\""]);
    let down = fault(&report, "down link.tokyo-guangzhou");
    assert!(within(down.detected_s, 0.1, 0.6), "{down:?}");
    let least = 0.3 + 1.0;
    assert!(within(down.withdrawn_s, least, least + 0.6), "{down:?}");
    assert!(entries(&report, "seoul") > 0);
    let latest = report.clients[0].pops.values().sum::<u64>();
    assert!(
        entries(&report, "tokyo") > latest / 2,
        "its clients come back"
    );
}

#[test]
fn a_node_that_gets_no_tables_goes_on_by_its_last_one_and_catches_up() {
    let report = play(&[
        "at = \"1s\"\nfor = \"8s\"\nstale = \"pop.tokyo\"",
        "at = \"3s\"\nfor = \"2s\"\ndrain = \"host.web-1\"",
        "at = \"4s\"\nfor = \"2s\"\ndrain = \"region.guangzhou.clb-3\"",
    ]);
    assert_eq!(
        failed(&report),
        0,
        "{:?}",
        report.clients[0].service.requests
    );
    assert_eq!(report.faults.len(), 6);
}

#[test]
fn a_worn_link_damages_doubles_and_overtakes_and_nothing_wrong_gets_through() {
    let wear = "at = \"2s\"\nfor = \"8s\"\ndegrade = \"link.tokyo-guangzhou\"\n\
                corrupt = \"2%\"\nduplicate = \"5%\"\nreorder = \"5%\"\n";
    let report = play(&[wear]);
    let found = dropped(&report, "BadChecksum") + dropped(&report, "Malformed");
    assert!(found > 0, "{:?}", report.drops);
    let requests = &report.clients[0].service.requests;
    assert!(
        !requests.failed.contains_key("wrong_answer"),
        "{requests:?}"
    );
    assert!(requests.ok > requests.sent * 9 / 10, "{requests:?}");
    let host = play(&["at = \"2s\"\nfor = \"8s\"\ndegrade = \"host.web-1\"\nmtu = 900"]);
    assert!(dropped(&host, "LinkMtu") > 0);
}

#[test]
fn the_same_run_with_faults_of_all_kinds_has_the_same_digest() {
    let faults = [
        "at = \"1s\"\nfor = \"2s\"\ndegrade = \"link.tokyo-guangzhou\"\ncorrupt = \"1%\"\nreorder = \"3%\"",
        "at = \"2s\"\nfor = \"3s\"\ndown = \"region.guangzhou.clb-2\"",
        "at = \"3s\"\nfor = \"3s\"\nhang = \"host.web-2\"",
        "at = \"4s\"\nfor = \"3s\"\nwithdraw = \"pop.tokyo\"",
    ];
    let (one, other) = (play(&faults), play(&faults));
    assert_eq!((one.digest, one.events), (other.digest, other.events));
    assert!(Duration::from_secs_f64(one.virtual_s) >= Duration::from_secs(12));
}

#[test]
fn the_run_over_time_adds_up_to_the_run_and_shows_where_a_fault_was() {
    let report = play(&[r#"at = "4s"
for = "4s"
down = "pop.tokyo""#]);
    let timeline = &report.timeline;
    let sum = |counts: &[u64]| counts.iter().sum::<u64>();
    let requests = report.clients.iter().map(|client| &client.service.requests);
    let (sent, ok) = requests.fold((0, 0), |(sent, ok), all| (sent + all.sent, ok + all.ok));
    assert_eq!((sum(&timeline.due), sum(&timeline.ok)), (sent, ok));
    for (pop, packets) in &timeline.pops {
        let entered: u64 = report
            .clients
            .iter()
            .filter_map(|client| client.pops.get(pop))
            .sum();
        assert_eq!(sum(packets), entered, "{pop}");
    }
    for (cause, all) in report
        .drops
        .iter()
        .filter(|(cause, _)| **cause != "RunEnded")
    {
        assert_eq!(sum(&timeline.drops[cause]), *all, "{cause}");
    }
    let long = timeline.due.len();
    assert!(
        (timeline.every_s - 0.1).abs() < 1e-9 && (120..400).contains(&long),
        "{long}"
    );
    let lists = timeline.pops.values().chain(timeline.drops.values());
    assert!(lists.into_iter().all(|list| list.len() == long));
    let within = |list: &[u64], from: usize, to: usize| sum(&list[from..to]);
    let unanswered = |from, to| within(&timeline.due, from, to) - within(&timeline.ok, from, to);
    assert_eq!(unanswered(0, 38), 0, "before the fault");
    assert!(unanswered(40, 55) > 10, "until clients enter elsewhere");
    let down = &timeline.drops["PopDown"];
    assert_eq!((within(down, 0, 40), within(down, 85, long)), (0, 0));
    assert!(within(down, 40, 80) > 0);
    assert_eq!(
        within(&timeline.pops["seoul"], 0, 40),
        0,
        "its catchment is empty till then"
    );
    assert!(within(&timeline.pops["seoul"], 55, 80) > 100);
    let osaka = &report.clients[0];
    let gap = osaka.gap_from_s.map(|from| from..from + osaka.gap_s);
    assert!(
        gap.is_some_and(|gap| gap.contains(&4.5)),
        "{:?}",
        osaka.gap_from_s
    );
}
