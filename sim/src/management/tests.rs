//! The management network as services see it: how far nodes are apart, what cuts them off, and how machines start.

use core::time::Duration;

use crate::report::Report;
use crate::run::{Options, run, run_with};
use crate::services::Services;
use crate::services::echo::{network, play};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn dropped(report: &Report, reason: &str) -> u64 {
    report.drops.get(reason).copied().unwrap_or_default()
}

/// Two round trips, and what a few small packets take on the wire.
fn takes(answer: Option<Duration>, rtt_ms: u64) -> bool {
    answer.is_some_and(|took| (ms(2 * rtt_ms)..ms(2 * rtt_ms + 1)).contains(&took))
}

#[test]
fn every_node_reaches_every_other_over_the_best_way_of_the_backbone() {
    for (from, to, rtt_ms) in [
        ("controller.a", "controller.c", 52),
        ("controller.b", "controller.a", 178 + 52),
        ("pop.tokyo", "controller.b", 178 + 52),
        ("region.guangzhou.clb-2", "controller.a", 52),
        ("host.web-1", "controller.b", 178),
        ("controller.c", "region.guangzhou.clb-1", 0),
    ] {
        let (notes, _) = play("", from, to);
        let asked = notes.asked();
        assert!(
            asked.len() >= 50,
            "{from} to {to}: {} questions",
            asked.len()
        );
        let on_time = asked.iter().all(|(at, answer)| {
            // Half a millisecond within a region.
            takes(*answer, rtt_ms) || rtt_ms == 0 && *answer < Some(ms(2)) || *at > ms(5_000)
        });
        assert!(on_time, "{from} to {to}: {asked:?}");
    }
}

#[test]
fn a_backbone_link_that_is_down_lengthens_the_way_or_ends_it() {
    let first = "[[fault]]\nat = \"2s\"\nfor = \"2s\"\ndown = \"link.tokyo-guangzhou\"\n";
    let (notes, _) = play(first, "controller.a", "controller.c");
    let at = |from, until| {
        let asked = notes.asked();
        let within = |(at, _): &&(Duration, _)| (ms(from)..ms(until)).contains(at);
        asked.iter().filter(within).map(|(_, took)| *took).collect()
    };
    let all = |answers: Vec<Option<Duration>>, rtt| answers.iter().all(|own| takes(*own, rtt));
    assert!(all(at(0, 1_800), 52));
    assert!(all(at(2_000, 3_800), 68 + 36));
    assert!(all(at(4_000, 5_500), 52));
    let second = "[[fault]]\nat = \"2s\"\nfor = \"2s\"\ndown = \"link.tokyo-singapore\"\n";
    let (notes, report) = play(&(first.to_owned() + second), "controller.a", "controller.c");
    assert_eq!(notes.answered(0, 1_800), "all");
    assert_eq!(notes.answered(2_000, 3_000), "none");
    assert_eq!(notes.answered(4_000, 5_000), "all");
    assert!(dropped(&report, "LinkDown") > 0);
}

#[test]
fn what_is_on_a_way_that_grows_longer_is_lost_and_sent_again() {
    let fault = "[[fault]]\nat = \"2.01s\"\ndown = \"link.tokyo-guangzhou\"\n";
    let (notes, report) = play(fault, "controller.a", "controller.c");
    assert!(dropped(&report, "LinkDown") > 0);
    let asked = notes.asked();
    let struck = asked.iter().find(|(at, _)| *at == ms(2_000));
    let (_, took) = struck.expect("a question was under way");
    assert!(
        took.is_none_or(|took| took > ms(900)),
        "TCP's first timer is 1 s"
    );
}

#[test]
fn a_way_has_a_loss_and_a_rate_of_its_own() {
    let usual = "probe = false";
    let lossy = network("");
    assert_eq!(lossy.defaults.management.rate_bps, 1_000_000_000);
    let text = crate::services::echo::NETWORK.replace(
        usual,
        &format!("{usual}\nmanagement.loss = \"20%\"\nmanagement.rate = \"64Kbps\""),
    );
    let topology = anyedge_topologies::Topology::parse("x.toml", &text).expect("good");
    let plan = super::Management::of(&topology, 7);
    let [from, to] = ["pop.tokyo", "region.guangzhou"].map(|name| {
        plan.ways
            .spots()
            .iter()
            .position(|spot| spot.to_string() == name)
    });
    let leg = (from.expect("a place"), to.expect("a place"));
    let (spec, rank) = plan.plan(leg).expect("a way");
    assert_eq!((spec.rate_bps, spec.delay), (64_000, ms(26)));
    assert_eq!(spec.loss, anyedge_topologies::Loss::Share(200_000));
    assert_eq!(spec.name, "management/pop.tokyo>region.guangzhou");
    assert_eq!(rank, 7 + leg.0 * plan.ways.spots().len() + leg.1);
}

#[test]
fn a_machine_that_was_down_starts_its_services_again_and_answers() {
    let fault = "[[fault]]\nat = \"2s\"\nfor = \"2s\"\ndown = \"pop.tokyo\"\n";
    let (notes, report) = play(fault, "controller.c", "pop.tokyo");
    assert_eq!(notes.boots("pop.tokyo"), [ms(0), ms(4_000)]);
    assert_eq!(notes.boots("pop.frankfurt"), [ms(0)]);
    assert_eq!(notes.answered(0, 1_900), "all");
    assert_eq!(notes.answered(2_000, 3_000), "none");
    assert_eq!(notes.answered(4_000, 5_000), "all");
    assert!(dropped(&report, "PopDown") > 0);
}

#[test]
fn a_region_that_is_down_takes_its_machines_with_it_and_a_node_that_is_added_starts_then() {
    let region = "[[fault]]\nat = \"1s\"\nfor = \"1s\"\ndown = \"region.guangzhou\"\n";
    let added = "[[fault]]\nat = \"3s\"\nadd = \"region.guangzhou.clb-3\"\n";
    let (notes, _) = play(
        &(region.to_owned() + added),
        "controller.a",
        "region.guangzhou.clb-3",
    );
    for machine in [
        "region.guangzhou.clb-1",
        "region.guangzhou.clb-2",
        "host.web-1",
    ] {
        assert_eq!(notes.boots(machine), [ms(0), ms(2_000)], "{machine}");
    }
    assert_eq!(
        notes.boots("controller.c"),
        [ms(0)],
        "a controller is no part of it"
    );
    assert_eq!(notes.boots("region.guangzhou.clb-3"), [ms(3_000)]);
    assert_eq!(notes.answered(0, 2_500), "none");
    assert_eq!(notes.answered(3_000, 4_500), "all");
}

#[test]
fn nodes_without_services_send_nothing_and_tables_from_nobody_are_refused() {
    let topology = network("");
    let silent = run(&topology, &Options::default(), &mut |_| {}).expect("it builds");
    assert!(
        silent
            .links
            .iter()
            .all(|link| !link.name.contains("management"))
    );
    let (_, spoken) = play("", "controller.a", "controller.b");
    assert_ne!(
        silent.digest, spoken.digest,
        "the digest covers what services send"
    );
    let mut services = Services::new();
    services.on_boot("pop.lima", |_| {});
    let refused = run_with(&topology, &Options::default(), &services, &mut |_| {});
    let refused = refused.expect_err("there is none").to_string();
    assert_eq!(refused, "there is no machine pop.lima");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let fault = "[[fault]]\nat = \"2s\"\nfor = \"1s\"\ndown = \"pop.tokyo\"\n";
    let digest = || play(fault, "controller.c", "pop.tokyo").1.digest;
    assert_eq!(digest(), digest());
}
