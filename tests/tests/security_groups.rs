//! Security groups in runs: the five scenarios of the reference, what a client that is refused sees, and health checks.
//!
//! The shipped files are the scenarios; a story changes a line of one and says what comes of it.

use std::fs;

use anyedge_sim::report::{ClientReport, Report};
use anyedge_sim::run::Options;
use anyedge_tests::binary::root;
use anyedge_tests::story::play;

/// Clients begin when targets have been checked.
const LATER: (&str, &str) = ("to = \"shop:web\"", "start = \"6s\", to = \"shop:web\"");

/// The shipped file of a scenario, with texts replaced.
fn scenario(number: u32, changes: &[(&str, &str)]) -> Report {
    let file = root().join(format!("topologies/security-group-{number}.toml"));
    let mut text = fs::read_to_string(file).expect("a shipped file");
    for (before, after) in changes {
        assert!(text.contains(before), "scenario {number} has no {before}");
        text = text.replace(before, after);
    }
    play(&text, &Options::default())
}

fn client<'r>(report: &'r Report, name: &str) -> &'r ClientReport {
    let found = report.clients.iter().find(|client| client.name == name);
    found.unwrap_or_else(|| panic!("no client {name}"))
}

fn passes(report: &Report, name: &str) -> bool {
    let all = &client(report, name).service.requests;
    assert!(all.sent > 50, "{name} sent {}", all.sent);
    match all.ok {
        0 => false,
        ok => {
            assert_eq!(ok, all.sent, "{name} is served in part");
            true
        }
    }
}

/// Every request ended in silence: none was refused, none was reset.
fn times_out(report: &Report, name: &str) -> bool {
    let all = &client(report, name).service.requests;
    all.ok == 0 && all.failed.get("timeout") == Some(&all.sent) && all.sent > 50
}

fn dropped(report: &Report, reason: &str) -> u64 {
    report.drops.get(reason).copied().unwrap_or(0)
}

#[test]
fn in_scenario_1_two_clients_pass_and_the_third_times_out_in_silence() {
    let report = scenario(1, &[]);
    assert!(passes(&report, "a") && passes(&report, "b"));
    assert!(times_out(&report, "c"));
    assert!(dropped(&report, "TargetSecurityGroup") > 50);
}

#[test]
fn in_scenario_2_everybody_passes_on_the_port_that_is_open() {
    let report = scenario(2, &[]);
    for name in ["a", "b", "c"] {
        assert!(passes(&report, name), "{name}");
    }
    let shut = scenario(2, &[("+8080 allow", "+8081 allow")]);
    assert!(times_out(&shut, "a"));
}

#[test]
fn in_scenario_3_clients_reach_their_vip_and_no_other() {
    let report = scenario(3, &[]);
    assert!(passes(&report, "a") && passes(&report, "b"));
    assert!(times_out(&report, "c") && times_out(&report, "a-elsewhere"));
    assert!(dropped(&report, "ClientSecurityGroup") > 50);
    let by_listener = scenario(3, &[("\"backend\"", "\"listener\"")]);
    assert!(passes(&by_listener, "a-elsewhere"), "no line is of port 80");
    let written_so = [
        ("\"backend\"", "\"listener\""),
        (
            "egress = [\n    \"vip.shop+8080 allow\",\n    \"0.0.0.0/0+8080 drop\"",
            "uplink = [\n    \"vip.shop+80 allow\",\n    \"0.0.0.0/0+80 drop\"",
        ),
    ];
    let restricted = scenario(3, &written_so);
    assert!(passes(&restricted, "a") && times_out(&restricted, "a-elsewhere"));
}

#[test]
fn in_scenario_4_health_checks_need_no_rule() {
    let report = scenario(4, &[]);
    assert!(passes(&report, "a") && passes(&report, "b") && times_out(&report, "c"));
    let with = |exempt: &str| {
        let flag = format!("sg_probes_exempt = {exempt}\nfail_open = false");
        scenario(4, &[("sg_probes_exempt = true", &flag), LATER])
    };
    assert!(whole(&with("true"), "a"), "they are let in");
    let before_2016 = with("false");
    assert!(!whole(&before_2016, "a"), "its targets are abnormal");
}

/// Whether all requests of a client were answered.
fn whole(report: &Report, name: &str) -> bool {
    let all = &client(report, name).service.requests;
    all.ok == all.sent
}

#[test]
fn a_blacklist_holds_in_its_order_and_fails_in_the_reverse_one() {
    let report = scenario(5, &[]);
    assert!(times_out(&report, "a") && times_out(&report, "b") && passes(&report, "c"));
    let lines = "    \"client.a+8080 drop\",\n    \"client.b+8080 drop\",\n    \"0.0.0.0/0+8080 accept\",\n";
    let reversed = "    \"0.0.0.0/0+8080 accept\",\n    \"client.b+8080 drop\",\n    \"client.a+8080 drop\",\n";
    let report = scenario(5, &[(lines, reversed)]);
    assert!(passes(&report, "a") && passes(&report, "b") && passes(&report, "c"));
}

#[test]
fn without_a_rule_for_the_vip_targets_become_abnormal() {
    let forgotten = [
        ("    \"vip.shop+8080 allow\",\n", ""),
        LATER,
        (
            "region = \"guangzhou\"\nlistener",
            "region = \"guangzhou\"\nfail_open = false\nlistener",
        ),
    ];
    let report = scenario(1, &forgotten);
    assert!(!whole(&report, "a"), "no target takes flows");
    assert!(whole(&scenario(1, &forgotten[1..]), "a"));
}

#[test]
fn the_load_balancers_own_group_is_asked_by_the_listeners_port() {
    let own = "[security_group.front]\ningress = [\"client.a+80 allow\", \"client.b+80 allow\"]\n\n[targets.web]";
    let bound = [
        ("[targets.web]", own),
        (
            "region = \"guangzhou\"\nlistener",
            "region = \"guangzhou\"\nsecurity_groups = [\"front\"]\nlistener",
        ),
    ];
    let report = scenario(2, &bound);
    assert!(passes(&report, "a") && passes(&report, "b") && times_out(&report, "c"));
    assert!(dropped(&report, "ClbSecurityGroup") > 50);
}
