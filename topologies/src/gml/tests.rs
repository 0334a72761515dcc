//! Networks in GML as topologies that have no mistake.

use super::*;
use crate::Topology;

/// Part of Abilene, as the Topology Zoo has it.
const ABILENE: &str = r#"
graph [
  DateObtained "22/10/10"
  Network "Abilene"
  node [ id 0 label "New York" Country "United States" Longitude -74.00597 Internal 1 Latitude 40.71427 ]
  node [ id 1 label "Chicago" Longitude -87.65005 Latitude 41.85003 ]
  node [ id 2 label "Washington DC" Longitude -77.03637 Latitude 38.89511 ]
  node [ id 3 label "Seattle" Longitude -122.33207 Latitude 47.60621 ]
  node [ id 4 label "Denver" Longitude -104.9847 Latitude 39.73915 ]
  node [ id 5 label "?" ]
  node [ id 6 label "Chicago" Longitude -87.7 Latitude 41.9 ]
  node [ id 7 label "Island" Longitude 10.0 Latitude 10.0 ]
  edge [ source 0 target 1 LinkSpeedRaw 10000000000.0 ]
  edge [ source 0 target 2 ]
  edge [ source 1 target 5 ]
  edge [ source 5 target 4 LinkSpeedRaw 2500000000 ]
  edge [ source 4 target 3 ]
  edge [ source 1 target 6 ]
]
"#;

fn read(text: &str) -> Topology {
    Topology::parse("abilene.toml", text).unwrap_or_else(|mistakes| {
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        panic!("{}\n{text}", told.join("\n"))
    })
}

#[test]
fn a_network_becomes_a_topology_without_a_mistake() {
    let imported = import("a.gml", ABILENE, None).expect("it is GML");
    let topology = read(&imported.text);
    let pops: Vec<&str> = topology.pops.keys().map(String::as_str).collect();
    let all = [
        "chicago",
        "chicago-2",
        "denver",
        "new-york",
        "seattle",
        "washington-dc",
    ];
    assert_eq!(pops, all);
    assert_eq!(topology.name, "abilene");
    assert_eq!(imported.left_out.len(), 2, "{:?}", imported.left_out);
    assert!(imported.text.contains("# At chicago."), "most edges");
    let rtt = |name: &str| topology.links[&format!("{name}-home")].rtt.as_secs_f64() * 1e3;
    // 2,786 km by the great circle, usually 2.05 times as long as light needs.
    assert!((50.0..60.0).contains(&rtt("seattle")), "{}", rtt("seattle"));
    let km = |name: &str| -> u64 {
        let source = topology.links[&format!("{name}-home")].source.as_deref();
        let km = source.and_then(|source| source.split(' ').next());
        km.and_then(|km| km.parse().ok()).expect("a distance")
    };
    assert!(
        km("washington-dc") > km("new-york") + 300,
        "it is behind it"
    );
    assert_eq!(topology.links["seattle-home"].line.rate_bps, 2_500_000_000);
    assert!(topology.links.values().all(|link| link.assumed));
    assert_eq!(
        crate::format::parse("x", &imported.text).as_deref(),
        Ok(&*imported.text)
    );
}

#[test]
fn the_region_is_where_it_is_wanted() {
    let imported = import("a.gml", ABILENE, Some("seattle")).expect("it is GML");
    assert!(imported.text.contains("# At seattle."));
    let wrong = import("a.gml", ABILENE, Some("Seatle")).expect_err("no such node");
    assert_eq!(wrong[0].hint.as_deref(), Some("did you mean `Seattle`?"));
}

#[test]
fn what_is_no_gml_has_its_place() {
    for (text, place) in [
        ("graph [\n node [ id 0\n", "a.gml:2:7: "),
        ("graph [\n node 3x\n]", "a.gml:2:7: "),
        ("graph [\n node [ label \"x ]\n]", "a.gml:2:15: "),
        ("graph [\n node [ label \"x\" ]\n]", "a.gml:2:7: "),
        ("graph [\n node [ id 0 Latitude 91 ]\n]", "a.gml:2:23: "),
        (
            "graph [\n node [ id 0 ]\n edge [ source 0 target 9 ]\n]",
            "a.gml:3:7: ",
        ),
        ("graph [ ] ]", "a.gml:1:11: "),
        ("graph [\n 9 ]", "a.gml:2:2: "),
        ("", "a.gml:1:1: "),
    ] {
        let mistakes = import("a.gml", text, None).expect_err(text);
        assert!(
            mistakes[0].to_string().starts_with(place),
            "{text}: {}",
            mistakes[0]
        );
        assert!(mistakes[0].hint.is_some());
    }
}

#[test]
fn what_a_network_is_called_is_a_comment_whatever_is_in_it() {
    let named = ABILENE.replace("\"Abilene\"", "\"Abi\u{1}le\u{7f}ne \\ \"");
    let imported = import("a.gml", &named, None).expect("it is GML");
    assert!(imported.text.starts_with("# Abi le ne \\ : "));
    read(&imported.text);
}

#[test]
fn a_hundred_nodes_with_one_long_name_have_names_that_are_short_enough() {
    let node = |id: usize| {
        format!(
            "node [ id {id} label \"A name of more than thirty letters\" Latitude 1 Longitude {id} ]"
        )
    };
    let edge = |id: usize| format!("edge [ source 0 target {id} ]");
    let nodes: String = (0..120).map(node).collect();
    let edges: String = (1..120).map(edge).collect();
    let imported = import("a.gml", &format!("graph [ {nodes} {edges} ]"), None);
    read(&imported.expect("it is GML").text);
}
