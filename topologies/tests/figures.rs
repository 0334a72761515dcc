//! Every figure of the shipped files against the data it was transcribed from.
//!
//! Needs the data sets, in the folder that `ANYEDGE_DATA` names (by default `../shared/data` from the project's
//! root); without them each test says so and checks nothing of them. Which city stands in for which POP, and
//! which figure of a pair is used, is written down here a second time, on purpose.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use anyedge_topologies::{Client, Link, LinkEnds, Topology, units};

/// City of the public data for each POP.
const STAND_INS: [(&str, &str); 14] = [
    ("beijing", "Zhangjiakou"),
    ("shanghai", "Shanghai"),
    ("guangzhou", "Shenzhen"),
    ("hong-kong", "Hong Kong"),
    ("toronto", "Toronto"),
    ("silicon-valley", "San Jose"),
    ("frankfurt", "Frankfurt"),
    ("virginia", "Washington"),
    ("moscow", "Moscow"),
    ("singapore", "Singapore"),
    ("seoul", "Seoul"),
    ("mumbai", "Pune"),
    ("bangkok", "Bangkok"),
    ("tokyo", "Tokyo"),
];
/// Cities whose means are congested on the day of the data: their least round trip is used.
const CONGESTED: [&str; 4] = ["Zhangjiakou", "Shanghai", "Shenzhen", "Bangkok"];
/// Region of the backbone data for each POP that it has.
const BACKBONE: [(&str, &str); 8] = [
    ("toronto", "Canada Central (Toronto)"),
    ("silicon-valley", "West US (California)"),
    ("frankfurt", "Germany West Central (Frankfurt)"),
    ("virginia", "East US (Virginia)"),
    ("singapore", "Southeast Asia (Singapore)"),
    ("seoul", "Korea Central (Seoul)"),
    ("mumbai", "West India (Mumbai)"),
    ("tokyo", "Japan East (Tokyo)"),
];
/// Files whose figures are from the data.
const SOURCED: [&str; 11] = [
    "global-14.toml",
    "two-pops.toml",
    "pop-down.toml",
    "link-down.toml",
    "clb-node-down.toml",
    "controllers-down.toml",
    "clb-node-added.toml",
    "grey-link.toml",
    "pop-drain.toml",
    "region-down.toml",
    "syn-flood.toml",
];
const HONG_KONG: &str = "East Asia (Hong Kong)";
const FIBRE_KM_PER_MS: f64 = 204.19;

/// Rows of a table without quotes, by (first, second) column.
type Pairs = BTreeMap<(String, String), Vec<String>>;

#[expect(
    clippy::print_stderr,
    reason = "a test that checks nothing has to say so"
)]
fn pairs(file: &str) -> Option<Pairs> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data =
        env::var_os("ANYEDGE_DATA").map_or_else(|| root.join("../../shared/data"), PathBuf::from);
    let Ok(text) = fs::read_to_string(data.join("rtt").join(file)) else {
        eprintln!("SKIPPED: no {file}; set ANYEDGE_DATA to the folder of the data sets");
        return None;
    };
    let row = |line: &str| {
        let cells: Vec<String> = line.split(',').map(str::to_owned).collect();
        ((cells[0].clone(), cells[1].clone()), cells)
    };
    Some(text.lines().skip(1).map(row).collect())
}

fn load(name: &str) -> Topology {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    Topology::load(path).expect("a shipped topology")
}

/// The POP and the region of a link.
fn ends(link: &Link) -> (&str, &str) {
    match &link.ends {
        LinkEnds::Ccn { pop, region } => (pop, region),
        LinkEnds::Backbone { .. } => panic!("link.{} has no POP", link.name),
    }
}

fn stand_in(pop: &str) -> &'static str {
    STAND_INS
        .iter()
        .find(|(name, _)| *name == pop)
        .map(|(_, city)| *city)
        .expect("one of the 14")
}

/// The city that a client's `source` names after the comma.
fn city_of(client: &Client) -> &str {
    let source = client
        .source
        .as_deref()
        .expect("a client says where its figures are from");
    source
        .strip_prefix("WonderNetwork 2018-11-10, ")
        .expect("source and date")
}

fn measured(pairs: &Pairs, client: &str, pop_city: &str) -> Duration {
    let key = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let row = pairs
        .get(&key(client, pop_city))
        .or_else(|| pairs.get(&key(pop_city, client)));
    let row = row.unwrap_or_else(|| panic!("no row {client} - {pop_city}"));
    let column = if CONGESTED.contains(&pop_city) { 3 } else { 2 };
    units::duration(&format!("{}ms", row[column])).expect("milliseconds")
}

#[test]
fn public_round_trips_are_those_of_the_data() {
    let Some(pairs) = pairs("wondernetwork_2018_long.csv") else {
        return;
    };
    let mut checked = 0;
    for topology in SOURCED.map(load) {
        for client in topology.clients.values() {
            let city = city_of(client);
            for (pop, rtt) in &client.pop_rtts {
                assert_eq!(
                    *rtt,
                    measured(&pairs, city, stand_in(pop)),
                    "{} to {pop}",
                    client.name
                );
                checked += 1;
            }
            for (region, rtt) in &client.region_rtts {
                assert_eq!(
                    *rtt,
                    measured(&pairs, city, stand_in(region)),
                    "{} to {region}",
                    client.name
                );
            }
        }
    }
    assert!(checked > 60 * 14, "only {checked} figures");
}

/// Extra delay each way is uniform in 0..=J, so the round trip's variance is J^2 / 6.
#[test]
fn public_jitter_gives_the_deviation_of_the_pings_to_the_nearest_pop() {
    let Some(pairs) = pairs("wondernetwork_2018_long.csv") else {
        return;
    };
    let topology = load("global-14.toml");
    for client in topology.clients.values() {
        let (pop, _) = client
            .pop_rtts
            .iter()
            .min_by_key(|(_, rtt)| **rtt)
            .expect("a client has public paths");
        let key = (city_of(client).to_owned(), stand_in(pop).to_owned());
        let back = (key.1.clone(), key.0.clone());
        let row = pairs.get(&key).or_else(|| pairs.get(&back));
        let mdev: f64 = row.expect("a measured pair")[5].parse().expect("a figure");
        let wanted = mdev * 6_f64.sqrt();
        let given = client.line.jitter.as_secs_f64() * 1e3;
        assert!(
            (given - wanted).abs() < 0.0051,
            "{}: {given} ms, not {wanted}",
            client.name
        );
    }
}

#[test]
fn backbone_links_are_those_of_the_data() {
    let Some(pairs) = pairs("azure_p50_2024-04-09.csv") else {
        return;
    };
    let mut checked = 0;
    for topology in SOURCED.map(load) {
        let to_guangzhou = |link: &&Link| matches!(&link.ends, LinkEnds::Ccn { region, .. } if region == "guangzhou");
        let measured = topology.links.values().filter(|link| !link.assumed);
        for link in measured.filter(to_guangzhou) {
            let (_, region) = BACKBONE
                .iter()
                .find(|(pop, _)| *pop == ends(link).0)
                .expect("a POP that Azure has");
            let there = pairs.get(&(HONG_KONG.to_owned(), (*region).to_owned()));
            let row = there.or_else(|| pairs.get(&((*region).to_owned(), HONG_KONG.to_owned())));
            let ms: u64 = row.expect("a pair with Hong Kong")[2]
                .parse()
                .expect("whole milliseconds");
            assert_eq!(
                link.rtt,
                Duration::from_millis(ms + 4),
                "link.{}",
                link.name
            );
            let source = link
                .source
                .as_deref()
                .expect("a link says where its figure is from");
            assert!(
                source.contains(&format!("{ms} ms, + 4 ms")) && source.contains(region),
                "{source}"
            );
            checked += 1;
        }
    }
    assert_eq!(checked, BACKBONE.len() + 2 * (SOURCED.len() - 1));
}

#[test]
fn assumed_links_follow_the_great_circle() {
    let topology = load("global-14.toml");
    let assumed: Vec<&Link> = topology
        .links
        .values()
        .filter(|link| link.assumed)
        .collect();
    let names: Vec<&str> = assumed.iter().map(|link| ends(link).0).collect();
    assert_eq!(
        names,
        [
            "bangkok",
            "beijing",
            "guangzhou",
            "hong-kong",
            "moscow",
            "shanghai"
        ]
    );
    let coordinates = |place: &anyedge_topologies::Place| place.coordinates.expect("a known city");
    for link in assumed {
        let tenths = link.rtt.as_micros() / 100;
        let expected = match ends(link).0 {
            "guangzhou" => 10.0,
            "hong-kong" => 40.0,
            pop => {
                let (from, to) = (
                    &topology.pops[pop].place,
                    &topology.regions[ends(link).1].place,
                );
                let km = coordinates(from).distance_km(coordinates(to));
                libm::round(10.0 * 2.0 * km * 1.5 / FIBRE_KM_PER_MS)
            }
        };
        assert_eq!(
            tenths.to_string(),
            expected.to_string(),
            "link.{} in 0.1 ms",
            link.name
        );
    }
}

#[test]
fn the_world_is_served_by_fourteen_pops() {
    let topology = load("global-14.toml");
    let pops: Vec<&String> = topology.pops.keys().collect();
    assert_eq!(
        topology.vips["world"].publish.iter().collect::<Vec<_>>(),
        pops
    );
    assert_eq!(pops.len(), 14);
    assert!(
        topology.clients.len() >= 60,
        "{} cities",
        topology.clients.len()
    );
    assert_eq!(topology.home_region("world").clb_nodes.len(), 3);
    for client in topology.clients.values() {
        assert_eq!(client.pop_rtts.len(), 14, "client.{}", client.name);
        assert!(
            client.loads.iter().all(|load| load.direct),
            "client.{}",
            client.name
        );
        assert!(client.place.coordinates.is_some(), "client.{}", client.name);
    }
}
