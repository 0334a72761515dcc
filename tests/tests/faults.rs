//! Stories of faults: what a link or a machine that fails costs, and that it costs nothing once it is back.

use std::fs;
use std::time::Duration;

use anyedge_sim::report::{ClientReport, LinkReport, Report};
use anyedge_sim::run::Options;
use anyedge_tests::binary::root;
use anyedge_tests::story;

/// The shipped file with `fault` in place of its own.
fn two_pops_with(fault: &str) -> String {
    let file = root().join("topologies/two-pops.toml");
    let text = fs::read_to_string(file).expect("the shipped file exists");
    let own = "at = \"8s\"\nfor = \"4s\"\ndown = \"pop.tokyo\"";
    assert!(text.contains(own), "the file's fault has changed");
    text.replace(own, fault)
}

fn play_for(seconds: u64, text: &str) -> Report {
    let options = Options {
        duration: Some(Duration::from_secs(seconds)),
        ..Options::default()
    };
    story::play(text, &options)
}

fn play(fault: &str) -> Report {
    play_for(20, &two_pops_with(fault))
}

fn client<'r>(report: &'r Report, name: &str) -> &'r ClientReport {
    let found = report.clients.iter().find(|client| client.name == name);
    found.expect("the client is in the file")
}

fn link<'r>(report: &'r Report, name: &str) -> &'r LinkReport {
    let found = report.links.iter().find(|link| link.name == name);
    found.expect("the link is in the file")
}

fn dropped(report: &Report, name: &str, reason: &str) -> u64 {
    let dropped = &link(report, name).dropped;
    dropped.get(reason).copied().unwrap_or_default()
}

fn failed(report: &Report, name: &str) -> u64 {
    client(report, name).service.requests.failed.values().sum()
}

fn events(report: &Report) -> Vec<(f64, &str)> {
    let faults = report.faults.iter();
    faults
        .map(|fault| (fault.at_s, fault.what.as_str()))
        .collect()
}

/// The median latency of a client's UDP ticks, which wait for nothing but the way.
fn tick_p50(report: &Report, name: &str) -> f64 {
    let ticks = &client(report, name).loads[1];
    assert_eq!(ticks.kind, "tick");
    ticks.service.latency_ms.expect("it was answered").p50
}

const OUT: &str = "pop.tokyo>region.guangzhou";
const BACK: &str = "region.guangzhou>pop.tokyo";

#[test]
fn a_link_that_goes_down_loses_both_directions_and_carries_again_when_it_is_up() {
    let report = play("at = \"8s\"\nfor = \"4s\"\ndown = \"link.tokyo-guangzhou\"");
    assert_eq!(
        events(&report),
        [
            (8.0, "down link.tokyo-guangzhou"),
            (12.0, "up link.tokyo-guangzhou")
        ]
    );
    assert!(dropped(&report, OUT, "LinkDown") > 0);
    assert!(dropped(&report, BACK, "LinkDown") > 0);
    // The management network's way goes over the same link.
    let ways = report.links.iter();
    let ways = ways.filter(|link| link.name.ends_with(OUT) || link.name.ends_with(BACK));
    let lost: u64 = ways.filter_map(|link| link.dropped.get("LinkDown")).sum();
    assert_eq!(report.drops["LinkDown"], lost, "no other link went down");
    let gap = client(&report, "osaka").gap_s;
    assert!((4.0..8.0).contains(&gap), "silent for {gap} s");
    assert_eq!(failed(&report, "berlin"), 0, "berlin's way is another");
}

#[test]
fn a_link_that_never_returns_carries_nothing_more() {
    let lasting = play("at = \"8s\"\ndown = \"link.tokyo-guangzhou\"");
    let passing = play("at = \"8s\"\nfor = \"4s\"\ndown = \"link.tokyo-guangzhou\"");
    assert_eq!(events(&lasting), [(8.0, "down link.tokyo-guangzhou")]);
    assert!(failed(&lasting, "osaka") > failed(&passing, "osaka"));
    assert!(link(&lasting, OUT).delivered < link(&passing, OUT).delivered);
}

#[test]
fn a_backends_machine_that_crashes_loses_what_is_sent_to_it_and_serves_afresh_when_it_is_back() {
    let passing = play("at = \"8s\"\nfor = \"4s\"\ndown = \"host.web-1\"");
    assert_eq!(
        events(&passing),
        [(8.0, "down host.web-1"), (12.0, "up host.web-1")]
    );
    assert!(passing.drops["HostDown"] > 0);
    for name in ["osaka", "berlin"] {
        let requests = &client(&passing, name).service.requests;
        assert!(failed(&passing, name) > 0, "{name}: {requests:?}");
        assert!(requests.ok > requests.sent / 2, "{name}: {requests:?}");
        assert!(!requests.failed.contains_key("wrong_answer"));
    }
    let lasting = play("at = \"8s\"\ndown = \"host.web-1\"");
    assert_eq!(events(&lasting), [(8.0, "down host.web-1")]);
    assert!(
        failed(&lasting, "osaka") > failed(&passing, "osaka"),
        "the machine that came back serves"
    );
    assert!(
        link(&lasting, "region.guangzhou>host.web-2").delivered > 0,
        "the other machine goes on"
    );
}

#[test]
fn a_link_with_more_delay_takes_exactly_that_longer_in_the_directions_that_have_it() {
    let calm = play_for(5, &two_pops_with("at = \"8s\"\ndown = \"pop.tokyo\""));
    let with = |direction: &str| {
        let fault = format!(
            "at = \"0s\"\ndegrade = \"link.tokyo-guangzhou\"\ndelay = \"40ms\"\ndirection = \"{direction}\""
        );
        play_for(5, &two_pops_with(&fault))
    };
    for (direction, longer) in [
        ("both", 80.0),
        ("from pop.tokyo", 40.0),
        ("from region.guangzhou", 40.0),
    ] {
        let report = with(direction);
        let apart = tick_p50(&report, "osaka") - tick_p50(&calm, "osaka");
        assert!((apart - longer).abs() < 0.5, "{direction}: {apart} ms");
        let berlin = tick_p50(&report, "berlin") - tick_p50(&calm, "berlin");
        assert!(
            berlin.abs() < 0.001,
            "{direction}: berlin is {berlin} ms apart"
        );
    }
}

#[test]
fn a_grey_link_loses_in_one_direction_only_and_is_restored() {
    let report = play(
        "at = \"8s\"\nfor = \"4s\"\ndegrade = \"link.tokyo-guangzhou\"\nloss = \"30%\"\ndirection = \"from pop.tokyo\"",
    );
    assert_eq!(
        events(&report),
        [
            (8.0, "degrade link.tokyo-guangzhou from pop.tokyo"),
            (12.0, "restore link.tokyo-guangzhou from pop.tokyo")
        ]
    );
    let lost = dropped(&report, OUT, "LinkLoss");
    assert!(lost > 20, "{lost}");
    assert_eq!(dropped(&report, BACK, "LinkLoss"), 0);
    let lasting = play(
        "at = \"8s\"\ndegrade = \"link.tokyo-guangzhou\"\nloss = \"30%\"\ndirection = \"from pop.tokyo\"",
    );
    assert!(dropped(&lasting, OUT, "LinkLoss") > 2 * lost);
}

#[test]
fn a_link_with_less_rate_queues_and_is_fast_again_afterwards() {
    let slow = "at = \"4s\"\nfor = \"4s\"\ndegrade = \"link.tokyo-guangzhou\"\nrate = \"500Kbps\"";
    let calm = play_for(15, &two_pops_with("at = \"19s\"\ndown = \"pop.tokyo\""));
    let report = play_for(15, &two_pops_with(slow));
    let latency = |report: &Report| {
        let service = &client(report, "osaka").service;
        service.latency_ms.expect("it was answered")
    };
    assert!(latency(&report).p99 > 2.0 * latency(&calm).p99);
    assert!(
        (tick_p50(&report, "osaka") - tick_p50(&calm, "osaka")).abs() < 5.0,
        "most ticks met no queue"
    );
}

#[test]
fn a_link_that_loses_in_bursts_loses_the_share_of_its_states_and_every_run_the_same() {
    let model = "{ model = \"gilbert-elliott\", good_to_bad = \"2%\", bad_to_good = \"20%\", loss_bad = \"60%\" }";
    let fault = format!("at = \"0s\"\ndegrade = \"link.tokyo-guangzhou\"\nloss = {model}");
    let report = play(&fault);
    for way in [OUT, BACK] {
        let lost = dropped(&report, way, "LinkLoss") as f64;
        let share = lost / (lost + link(&report, way).delivered as f64);
        // 2 / 22 of all packets meet the bad state, which takes 60 % of them: 5.5 %.
        assert!((0.035..0.075).contains(&share), "{way}: {share}");
    }
    assert_eq!(report.digest, play(&fault).digest);
    let of_its_own = two_pops_with("at = \"8s\"\ndown = \"pop.tokyo\"")
        .replace("rtt = \"52ms\"", &format!("rtt = \"52ms\"\nloss = {model}"));
    let own = play_for(5, &of_its_own);
    assert!(dropped(&own, OUT, "LinkLoss") > 0);
}
