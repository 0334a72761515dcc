//! Stories on the smallest topology: what a reader of its file would expect to happen, happens.

use std::fs;
use std::time::Duration;

use anyedge_sim::report::Report;
use anyedge_sim::run::Options;
use anyedge_tests::binary::root;
use anyedge_tests::story::play;

fn two_pops() -> String {
    fs::read_to_string(root().join("topologies/two-pops.toml")).expect("the shipped file exists")
}

/// Seconds of load, without the fault that the file has at 8 s.
fn calm(seconds: u64) -> Options {
    Options {
        duration: Some(Duration::from_secs(seconds)),
        ..Options::default()
    }
}

fn p50(report: &Report, client: &str) -> f64 {
    let client = report
        .clients
        .iter()
        .find(|entry| entry.name == client)
        .expect("the client is in the file");
    client.service.latency_ms.expect("it was answered").p50
}

#[test]
fn every_encapsulation_over_both_underlays_serves_everybody_alike() {
    let base = play(&two_pops(), &calm(5));
    for encap in ["gre", "gre-udp"] {
        for underlay in ["v4", "v6"] {
            let defaults = format!("ccn.encap = \"{encap}\"\nccn.underlay = \"{underlay}\"");
            let text = two_pops().replace("ccn.encap = \"gre-udp\"", &defaults);
            let report = play(&text, &calm(5));
            for client in &report.clients {
                assert!(
                    client.service.requests.failed.is_empty(),
                    "{encap} over {underlay}: {client:?}"
                );
                // A few more bytes on a link of 10 Gbit/s: well below a microsecond.
                let apart = (p50(&report, &client.name) - p50(&base, &client.name)).abs();
                assert!(
                    apart < 0.3,
                    "{encap} over {underlay}: {} is {apart} ms apart",
                    client.name
                );
            }
        }
    }
}

/// Without tunnels inside of the region the same flows get the same answers: they reach hosts that have no vSwitch,
/// and these send what they answer to the region's one CLB node.
#[test]
fn hosts_without_a_vswitch_answer_by_plain_routing() {
    let tunnelled = play(&two_pops(), &calm(5));
    let clb = "[clb.gz-main]";
    let text = two_pops().replace(clb, &format!("{clb}\nreturn = \"route\""));
    let plain = play(&text, &calm(5));
    assert_eq!(plain.clients.len(), tunnelled.clients.len());
    for (client, other) in plain.clients.iter().zip(&tunnelled.clients) {
        assert!(client.service.requests.failed.is_empty(), "{client:?}");
        let apart = (p50(&plain, &client.name) - p50(&tunnelled, &other.name)).abs();
        assert!(apart < 0.3, "{} is {apart} ms apart", client.name);
    }
    // CLB nodes probe POPs alone, and check targets as ever.
    assert!(plain.drops["Probe"] < tunnelled.drops["Probe"]);
    assert_eq!(plain.drops["HealthCheck"], tunnelled.drops["HealthCheck"]);
}

#[test]
fn a_lost_pop_costs_packets_until_the_internet_notices_and_its_clients_enter_elsewhere() {
    // The last answers over the direct path come 2 s after the load: still before the fault.
    let calm = play(&two_pops(), &calm(5));
    let osaka = |report: &Report| report.clients[1].clone();
    assert_eq!(osaka(&calm).pops.keys().collect::<Vec<_>>(), ["tokyo"]);
    assert!(
        calm.drops.is_empty() || !calm.drops.contains_key("PopDown"),
        "{:?}",
        calm.drops
    );

    let stormy = play(&two_pops(), &Options::default());
    assert_eq!(
        osaka(&stormy).pops.keys().collect::<Vec<_>>(),
        ["frankfurt", "tokyo"]
    );
    assert!(stormy.drops["PopDown"] > 0);
    // Down at 8 s, missed by its router within 0.9 s, convergence 3 s: silent for 3.9 s, and requests that began
    // meanwhile for a repeat of their SYN and the longer way.
    let gap = osaka(&stormy).gap_s;
    assert!((3.6..6.5).contains(&gap), "{gap} s");
    assert!(
        stormy.flows.moved > 0,
        "flows that lived through it changed their POP"
    );

    let sooner = two_pops().replace("convergence = \"3s\"", "convergence = \"1s\"");
    let sooner = play(&sooner, &Options::default());
    assert!(osaka(&sooner).gap_s < gap);
    assert!(sooner.drops["PopDown"] < stormy.drops["PopDown"]);
}

#[test]
fn a_client_far_from_any_pop_still_sees_what_the_direct_path_would_have_cost() {
    let report = play(&two_pops(), &calm(5));
    for client in &report.clients {
        let service = &client.service;
        let direct = service.direct_ms.expect("the direct path was tried");
        let here = service.latency_ms.expect("it was answered");
        assert_eq!(
            service
                .direct_requests
                .as_ref()
                .map(|requests| requests.sent),
            Some(service.requests.sent)
        );
        assert!(
            direct.p50 > here.p50,
            "{}: {direct:?} {here:?}",
            client.name
        );
        // The same load at the same times, so the gain is the difference of the ways alone.
        assert!(
            service
                .gain_ms
                .is_some_and(|gain| (gain - (direct.p50 - here.p50)).abs() < 0.001)
        );
    }
}

#[test]
fn loss_on_the_backbone_is_counted_where_it_happens() {
    let text = two_pops().replace(
        "ccn.encap = \"gre-udp\"",
        "ccn.encap = \"gre-udp\"\nccn.loss = \"2%\"",
    );
    let report = play(&text, &calm(7));
    let lost_on = |is_it: fn(&str) -> bool| -> u64 {
        let links = report.links.iter().filter(|link| is_it(&link.name));
        links.filter_map(|link| link.dropped.get("LinkLoss")).sum()
    };
    let backbone = lost_on(|name| {
        name.contains("pop.") && name.contains("region.") && !name.contains("client.")
    });
    assert!(backbone > 20, "{backbone}");
    assert_eq!(
        backbone, report.drops["LinkLoss"],
        "no other link loses anything"
    );
    let ticks = &report.clients[0].loads[1];
    assert!(
        ticks.service.requests.failed.contains_key("timeout"),
        "{ticks:?}"
    );
}
