//! Stories on the smallest topology: what a reader of its file would expect to happen, happens.

use std::fs;
use std::time::Duration;

use anyedge_sim::report::Report;
use anyedge_sim::run::{Options, run};
use anyedge_tests::binary::root;
use anyedge_tests::story::play;
use anyedge_topologies::Topology;

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

fn shipped(name: &str, options: &Options) -> (Topology, Report) {
    let file = root().join("topologies").join(name);
    let topology = Topology::load(&file).expect("a shipped file has no mistake");
    let report = run(&topology, options, &mut |_| {}).expect("it builds");
    (topology, report)
}

fn missed(report: &Report) -> Vec<String> {
    let missed = report.slos.iter().filter(|slo| !slo.kept);
    missed
        .map(|slo| format!("{} {}", slo.of, slo.expect))
        .collect()
}

/// A POP, a line: whichever of them fails, clients are served by another.
#[test]
fn the_loss_of_a_pop_and_of_a_line_keep_their_promises() {
    for name in ["pop-down.toml", "link-down.toml"] {
        let (_, report) = shipped(name, &Options::default());
        assert!(!report.slos.is_empty());
        assert_eq!(missed(&report), Vec::<String>::new(), "S-AC09: {name}");
    }
}

/// One address for clients of 60 cities, no name that is resolved differently for each: they enter by POPs near
/// them, and all are served from the one region where the backends are.
#[test]
fn one_address_is_entered_near_every_city_and_served_from_one_region() {
    let (topology, report) = shipped("global-14.toml", &calm(6));
    assert_eq!(topology.vips.len(), 1, "S-AC10");
    let vip = topology.vips.values().next().expect("one");
    assert_eq!(vip.publish.len(), 14);
    let home = &topology.clbs[&vip.clb].region;
    assert!(topology.hosts.values().all(|host| host.region == *home));
    let mut entered = std::collections::BTreeSet::new();
    for client in &report.clients {
        let name = client.name.trim_start_matches("client.");
        let own = &topology.clients[name];
        let nearest = vip
            .publish
            .iter()
            .filter_map(|pop| Some((own.preference(pop)?, pop)));
        let (_, nearest) = nearest.min().expect("it has ways");
        let pop = client.pop.as_deref().expect("it entered");
        assert_eq!(pop.trim_start_matches("pop."), nearest, "S-AC11: {name}");
        assert!(client.service.requests.failed.is_empty(), "{client:?}");
        entered.insert(nearest);
    }
    assert!(entered.len() >= 10, "S-AC10: {entered:?}");
}

/// Players enter near them, by UDP, and the backbone carries their ticks: the file's own promises.
#[test]
fn players_over_udp_are_served_from_far_without_an_ingress_of_their_own() {
    let (topology, report) = shipped("game-udp.toml", &Options::default());
    assert_eq!(missed(&report), Vec::<String>::new(), "S-AC12");
    let ticks: u64 = report.clients.iter().map(|it| it.service.requests.ok).sum();
    assert!(ticks > 10_000, "{ticks}");
    let udp = |clb: &anyedge_topologies::Clb| {
        let mut listeners = clb.listeners.iter();
        listeners.all(|(_, it)| it.protocol == anyedge_topologies::Protocol::Udp)
    };
    assert!(topology.clbs.values().all(udp));
}

/// Where the region is, and where the address is announced, have nothing to do with each other.
#[test]
fn the_home_region_need_not_be_where_the_address_is_announced() {
    let (topology, report) = shipped("global-14.toml", &calm(3));
    let vip = topology.vips.values().next().expect("one");
    let home = topology.clbs[&vip.clb].region.clone();
    let text = fs::read_to_string(root().join("topologies/global-14.toml")).expect("shipped");
    let others: Vec<&String> = vip.publish.iter().filter(|pop| **pop != home).collect();
    assert_eq!(others.len(), 13);
    let clb = "clb = \"gz-main\" # no `publish`: all POPs announce it";
    assert!(text.contains(clb));
    let text = text.replace(clb, &format!("clb = \"gz-main\"\npublish = {others:?}"));
    let away = play(&text, &calm(3));
    let sent = |report: &Report| -> u64 {
        report
            .clients
            .iter()
            .map(|it| it.service.requests.sent)
            .sum()
    };
    assert_eq!(sent(&away), sent(&report));
    for client in &away.clients {
        assert!(
            client.service.requests.failed.is_empty(),
            "S-AC04: {client:?}"
        );
    }
}

/// Half of the servers are of a zone that loses its power: the others carry on.
#[test]
fn the_loss_of_a_zone_costs_what_its_detection_takes() {
    let (topology, report) = shipped("zone-down.toml", &Options::default());
    assert_eq!(topology.faults.len(), 3);
    assert_eq!(missed(&report), Vec::<String>::new(), "S-BE02");
    let lost: u64 = report.clients[0].service.requests.failed.values().sum();
    assert!(lost > 50, "{lost}: it is a loss all the same");
}

/// Clients that stay where they are make targets of one weight unequal, and the report says by how much.
#[test]
fn persistence_makes_load_uneven_and_the_report_says_how_much() {
    let imbalance = |listener: &str| {
        let calm_web =
            "listener.web = { port = \"tcp/80\", scheduler = \"wrr\", targets = \"web\" }";
        let text = two_pops();
        assert!(text.contains(calm_web));
        let report = play(&text.replace(calm_web, listener), &calm(10));
        let web = report
            .listeners
            .iter()
            .find(|it| it.listener == "gz-main/web");
        let web = web.expect("it had flows");
        assert!(web.opened > 300, "{web:?}");
        assert_eq!(
            web.opened,
            web.targets.iter().map(|it| it.opened).sum::<u64>()
        );
        web.imbalance
    };
    let with = |rest: &str| {
        imbalance(&format!(
            "listener.web = {{ port = \"tcp/80\", scheduler = \"wrr\", targets = \"web\"{rest} }}"
        ))
    };
    let (spread, stays) = (with(""), with(", session_expire = \"60s\""));
    assert!(spread < 0.05, "by weight: {spread}");
    // Osaka's only host stays with one of two: all of its flows are that one's.
    assert!(stays > 0.4, "S-BE05: {stays}");
}

/// Berlin has IPv6 alone, and its own public lines: they lose, and nobody else's do.
#[test]
fn public_ipv6_lines_lose_by_themselves() {
    let text = two_pops().replace("family = \"v6\"", "family = \"v6\"\npublic_loss = \"3%\"");
    let report = play(&text, &calm(7));
    let lost = |client: &str| -> u64 {
        let links = report
            .links
            .iter()
            .filter(|link| link.name.contains(client));
        links.filter_map(|link| link.dropped.get("LinkLoss")).sum()
    };
    assert_eq!(lost("client.osaka"), 0, "IPv4 lines are another matter");
    assert!(lost("client.berlin") > 10, "S-V611");
}

/// Nobody has anything when the run begins; an operator gives the controllers a table with an IPv6 address, and its clients
/// are answered seconds later, with all of announcing and hearing of it.
#[test]
fn an_ipv6_address_is_usable_within_seconds_of_its_creation() {
    let cold = "ccn.encap = \"gre-udp\"\nstart = \"cold\"";
    let text = two_pops().replace("ccn.encap = \"gre-udp\"", cold);
    let report = play(&text, &calm(20));
    let berlin = report.clients.iter().find(|it| it.name.contains("berlin"));
    let berlin = berlin.expect("it is in the file");
    let sent = berlin.service.requests.sent as f64 / 20.0;
    let failed: u64 = berlin.service.requests.failed.values().sum();
    let waited = failed as f64 / sent;
    assert!(waited < 10.0, "S-V610: {waited} s until the first answer");
    assert!(berlin.service.requests.ok > 400, "{berlin:?}");
}
