//! Ways over the backbone, around what is cut, and along the great circle.

use std::path::Path;

use super::*;

fn sample(more: &str) -> Topology {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sample.toml");
    let text = std::fs::read_to_string(path).expect("the sample");
    Topology::parse("x.toml", &(text + more)).expect("the sample with more is good")
}

fn between(topology: &Topology, from: &Spot, to: &Spot, cut: &[&str]) -> Option<Duration> {
    let ways = Ways::of(topology);
    let cut = cut.iter().map(|name| (*name).to_owned()).collect();
    let position = |spot| ways.position(spot).expect("a spot of the file");
    ways.rtt(position(from), position(to), &cut)
}

fn pop(name: &str) -> Spot {
    Spot::Pop(name.to_owned())
}

const SECOND_REGION: &str = r#"
[region.singapore]
[link.guangzhou-singapore]
between = ["region.guangzhou", "region.singapore"]
rtt = "36ms"
[link.tokyo-singapore]
between = ["pop.tokyo", "region.singapore"]
rtt = "68ms"
"#;

#[test]
fn the_best_way_over_links_goes_over_other_spots_and_around_what_is_cut() {
    let topology = sample(SECOND_REGION);
    let home = Spot::Region("guangzhou".to_owned());
    let ms = Duration::from_millis;
    assert_eq!(between(&topology, &pop("tokyo"), &home, &[]), Some(ms(52)));
    assert_eq!(
        between(&topology, &pop("tokyo"), &pop("frankfurt"), &[]),
        Some(ms(52 + 178))
    );
    assert_eq!(
        between(&topology, &pop("tokyo"), &home, &["tokyo-guangzhou"]),
        Some(ms(68 + 36))
    );
    let both = ["tokyo-guangzhou", "tokyo-singapore"];
    assert_eq!(between(&topology, &pop("tokyo"), &home, &both), None);
    assert_eq!(
        between(&topology, &home, &home, &both),
        Some(topology.defaults.host_rtt)
    );
}

#[test]
fn a_city_that_no_link_reaches_is_as_far_as_the_great_circle_says_and_never_cut() {
    let topology = sample("[controller.a]\nat = \"osaka\"\n");
    let osaka = Spot::City("osaka".to_owned());
    let every_link = ["tokyo-guangzhou", "frankfurt-guangzhou"];
    let rtt = between(&topology, &osaka, &pop("tokyo"), &every_link).expect("both are known");
    // 392 km there and back at 204.19 km/ms, x 2.05.
    assert!((7_900..8_000).contains(&rtt.as_micros()), "{rtt:?}");
}

#[test]
fn every_node_has_an_address_that_another_node_does_not_move() {
    let plain = sample("");
    let more = sample("[[fault]]\nat = \"5s\"\nadd = \"region.guangzhou.clb-4\"\n");
    let names: Vec<String> = plain.managed().into_iter().map(|node| node.name).collect();
    assert_eq!(
        names,
        [
            "controller.a",
            "controller.b",
            "controller.c",
            "pop.frankfurt",
            "pop.tokyo",
            "region.guangzhou.clb-1",
            "region.guangzhou.clb-2",
            "region.guangzhou.clb-3",
            "host.web-1",
            "host.web-2",
            "operator",
        ]
    );
    let mut seen = BTreeSet::new();
    for node in more.managed() {
        assert_eq!(node.address.iter().count(), 2, "{}", node.name);
        assert!(node.address.iter().all(|address| seen.insert(address)));
        if node.added_at.is_none() {
            assert!(plain.managed().contains(&node), "{}", node.name);
        }
    }
    assert_eq!(more.managed().len(), plain.managed().len() + 1);
}
