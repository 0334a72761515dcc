//! Stories of CLB nodes: one crashes and returns, drains, or is added, while clients are in the middle of something.
//!
//! Requests of 300 KiB are long enough that dozens are under way at the fault. Each mechanism that carries them
//! is turned off once, to show that the story rests on it.

use std::fs;
use std::time::Duration;

use anyedge_net::route_table::Mechanisms;
use anyedge_sim::report::Report;
use anyedge_sim::run::Options;
use anyedge_tests::binary::root;
use anyedge_tests::story;

/// The shipped file with three CLB nodes, long requests and `fault` in place of its own.
fn three_nodes_with(fault: &str) -> String {
    let file = root().join("topologies/two-pops.toml");
    let text = fs::read_to_string(file).expect("the shipped file exists");
    let changes = [
        ("at = \"8s\"\nfor = \"4s\"\ndown = \"pop.tokyo\"", fault),
        ("clb_nodes = 1", "clb_nodes = 3"),
        ("size = \"10KiB\"", "size = \"300KiB\""),
    ];
    changes.iter().fold(text, |text, (old, new)| {
        assert!(text.contains(old), "the file has changed: {old}");
        text.replace(old, new)
    })
}

fn play(fault: &str, mechanisms: Mechanisms) -> Report {
    let text = three_nodes_with(fault);
    let options = Options {
        duration: Some(Duration::from_secs(16)),
        mechanisms,
        ..Options::default()
    };
    story::play(&text, &options)
}

/// Requests that failed, of all clients: all of them, and those that were reset.
fn failed(report: &Report) -> (u64, u64) {
    let clients = report.clients.iter();
    let causes = clients.map(|client| &client.loads[0].service.requests.failed);
    causes.fold((0, 0), |(all, reset), failed| {
        let resets = failed.get("reset").copied().unwrap_or_default();
        (all + failed.values().sum::<u64>(), reset + resets)
    })
}

fn handed_over(report: &Report) -> u64 {
    let closed = report.flows.closed.get("HandedOver");
    closed.copied().unwrap_or_default()
}

#[test]
fn a_node_that_is_added_takes_its_slots_over_in_the_middle_of_requests() {
    let fault = "at = \"8s\"\nadd = \"region.guangzhou.clb-4\"";
    let report = play(fault, Mechanisms::ALL);
    assert_eq!(failed(&report), (0, 0));
    assert!(handed_over(&report) > 0, "nothing was under way");
    let report = play(
        fault,
        Mechanisms {
            bulk_sync: false,
            second_chance: false,
            ..Mechanisms::ALL
        },
    );
    let (_, reset) = failed(&report);
    assert!(reset > 0, "the new node knew flows that nobody told it of");
}

#[test]
fn a_node_that_drains_costs_no_request() {
    let fault = "at = \"8s\"\nfor = \"4s\"\ndrain = \"region.guangzhou.clb-1\"";
    let report = play(fault, Mechanisms::ALL);
    assert_eq!(failed(&report), (0, 0));
    assert!(handed_over(&report) > 0, "nothing was under way");
}

#[test]
fn a_node_that_is_back_at_once_with_nothing_in_mind_resets_no_request() {
    let fault = "at = \"8s\"\nfor = \"300ms\"\ndown = \"region.guangzhou.clb-1\"";
    let report = play(fault, Mechanisms::ALL);
    assert!(report.flows.taken_over > 0, "nothing was under way");
    assert_eq!(failed(&report).1, 0);
    let mechanisms = Mechanisms {
        replication: false,
        ..Mechanisms::ALL
    };
    let report = play(fault, mechanisms);
    assert!(failed(&report).1 > 0, "nobody else knew its flows");
}
