//! Tests of runs whose route tables come from controllers.

mod machines;
mod scaling;

use anyedge_topologies::Topology;

use crate::report::{ControlReport, Report};
use crate::run::{Options, run};

const NETWORK: &str = r#"
schema = 1
name = "controlled"
duration = "6s"
drain = "5s"
seed = 5
convergence = "500ms"

[defaults]
routes = "raft"

[vip.game]
address = "203.0.113.10"
publish = ["tokyo", "singapore"]
clb = "main"

[pop.tokyo]
[pop.singapore]

[region.guangzhou]
clb_nodes = 3

[link.tokyo-guangzhou]
between = ["pop.tokyo", "region.guangzhou"]
rtt = "52ms"
[link.singapore-guangzhou]
between = ["pop.singapore", "region.guangzhou"]
rtt = "40ms"

[clb.main]
region = "guangzhou"
listener.web = { port = "tcp/80", scheduler = "wrr", targets = "web" }

[targets.web]
port = 8080
servers = [{ ip = "10.0.0.11" }, { ip = "10.0.0.12" }]

[client.osaka]
public = { tokyo = "9ms", singapore = "75ms" }
load = { kind = "request", rate = "20/s", size = "10KiB", to = "game:web" }
"#;

/// The network with more tables, and its load from `start` to the end at `duration`, in seconds.
fn network((start, duration): (u64, u64), more: &str) -> Topology {
    let load = format!("to = \"game:web\", start = \"{start}s\"");
    let text = NETWORK
        .replace("to = \"game:web\"", &load)
        .replace("duration = \"6s\"", &format!("duration = \"{duration}s\""));
    let text = format!("{text}\n{more}");
    Topology::parse("controlled.toml", &text).expect("a sound file")
}

fn play(times: (u64, u64), more: &str) -> (Report, ControlReport) {
    let report = run(&network(times, more), &Options::default(), &mut |_| {});
    let report = report.expect("it can be built");
    let control = report.control.clone().expect("it has controllers");
    assert_eq!(control.tables_refused, 0);
    assert!(control.stopped.is_empty(), "{control:?}");
    (report, control)
}

fn fault(at: &str, length: &str, what: &str) -> String {
    format!("[[fault]]\nat = \"{at}\"\nfor = \"{length}\"\n{what}\n")
}

fn assert_all_served(report: &Report) {
    let requests = &report.clients[0].service.requests;
    assert!(requests.sent > 0);
    assert_eq!((requests.ok, &requests.failed), (requests.sent, &[].into()));
}

fn by_pop(report: &Report, pop: &str) -> u64 {
    report.clients[0].pops.get(pop).copied().unwrap_or(0)
}

#[test]
fn a_network_in_service_serves_from_the_first_moment_and_elects_one_leader() {
    let (report, control) = play((0, 6), "");
    assert_all_served(&report);
    assert_eq!((control.controllers, control.elections), (3, 1));
    assert_eq!((control.revisions, control.not_in_force), (0, 0));
}

#[test]
fn a_cold_start_comes_into_service_by_the_first_command() {
    let cold = NETWORK.replace("routes = \"raft\"", "routes = \"raft\"\nstart = \"cold\"");
    let cold = cold.replace("to = \"game:web\"", "to = \"game:web\", start = \"5s\"");
    let topology = Topology::parse("cold.toml", &cold).expect("a sound file");
    let report = run(&topology, &Options::default(), &mut |_| {}).expect("it can be built");
    assert_all_served(&report);
    let control = report.control.expect("it has controllers");
    assert_eq!((control.revisions, control.not_in_force), (1, 0));
    assert!(control.in_force_ms.is_some());
}

#[test]
fn a_clb_node_that_dies_is_found_by_reports_and_leaves_the_table() {
    let (_, control) = play(
        (0, 6),
        "[[fault]]\nat = \"2s\"\ndown = \"region.guangzhou.clb-2\"\n",
    );
    assert_eq!(
        (control.revisions, control.not_in_force),
        (1, 0),
        "{control:?}"
    );
    let in_force = control.in_force_ms.expect("one revision");
    assert!(in_force.max > 20.0 && in_force.max < 200.0, "{in_force:?}");
}

#[test]
fn controllers_that_are_all_away_for_a_minute_withdraw_nothing() {
    let all =
        ["a", "b", "c"].map(|name| fault("3s", "60s", &format!("down = \"controller.{name}\"")));
    let (report, control) = play((0, 68), &all.concat());
    assert_all_served(&report);
    assert_eq!(by_pop(&report, "singapore"), 0, "Osaka stays at Tokyo");
    assert_eq!((control.elections, control.revisions), (2, 0));
}

#[test]
fn a_drain_that_is_ordered_while_the_leader_dies_happens_once() {
    for after_us in [0, 500, 1_000, 2_000, 3_000, 4_000, 5_000] {
        let dies = format!("{}us", 3_000_000 + after_us);
        let faults = [
            fault("3s", "6s", "drain = \"pop.tokyo\""),
            fault(&dies, "4s", "down = \"controller.leader\""),
        ];
        let (report, control) = play((0, 12), &faults.concat());
        assert_all_served(&report);
        assert!(by_pop(&report, "singapore") > 0, "it was drained");
        assert_eq!(
            (control.revisions, control.not_in_force),
            (2, 0),
            "{dies}: {control:?}"
        );
        assert!(control.elections >= 2, "{dies}: {control:?}");
    }
}

#[test]
fn a_pop_comes_back_with_nothing_and_announces_only_when_it_has_a_table() {
    let away = [
        fault("2s", "3s", "down = \"pop.tokyo\""),
        fault("2s", "8s", "partition = \"pop.tokyo\""),
    ];
    // Tokyo is up from 5 s on, and reaches a controller from 10 s on.
    let (report, _) = play((4, 20), &away.concat());
    assert_all_served(&report);
    assert!(by_pop(&report, "singapore") > 0 && by_pop(&report, "tokyo") > 0);
    let (report, _) = play((4, 10), &away.concat());
    assert_eq!(by_pop(&report, "tokyo"), 0, "it has no table");
}

#[test]
fn a_pop_that_no_controller_reaches_serves_on_and_gets_what_it_missed_when_one_does() {
    let weight = "[[fault]]\nat = \"3s\"\nweight = \"host.web-1\"\nto = 20\n";
    for cut in ["partition = \"pop.tokyo\"", "stale = \"pop.tokyo\""] {
        let apart = fault("2s", "8s", cut) + weight;
        let (report, control) = play((0, 7), &apart);
        assert_all_served(&report);
        assert_eq!(
            (control.revisions, control.not_in_force),
            (1, 1),
            "{control:?}"
        );
        let (report, control) = play((0, 16), &apart);
        assert_all_served(&report);
        assert_eq!(
            (control.revisions, control.not_in_force),
            (1, 0),
            "{control:?}"
        );
    }
}

#[test]
fn targets_that_were_unbound_are_bound_again_as_they_were() {
    let (report, control) = play((0, 10), &fault("3s", "3s", "unbind = \"host.web-1\""));
    assert_eq!(
        (control.revisions, control.not_in_force),
        (2, 0),
        "{control:?}"
    );
    assert!(report.faults.iter().all(|fault| fault.refused.is_none()));
}

#[test]
fn a_controller_that_lost_its_disk_joins_as_another() {
    let down = |name: &str, more: &str| format!("down = \"controller.{name}\"{more}");
    // When a and b are gone for good, c and whoever a became are the majority only if a is one of three again.
    let faults = [
        fault("3s", "2s", &down("a", "\nwipe = true")),
        fault("15s", "20s", &down("b", "")),
        fault("20s", "3s", "drain = \"pop.tokyo\""),
    ];
    let (_, control) = play((0, 30), &faults.concat());
    assert_eq!(
        (control.revisions, control.not_in_force),
        (2, 0),
        "{control:?}"
    );
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let faults = fault("2s", "2s", "down = \"controller.leader\"");
    let (one, control) = play((0, 6), &faults);
    let (other, _) = play((0, 6), &faults);
    assert_eq!(one.digest, other.digest);
    assert_eq!(control.elections, 2);
}
