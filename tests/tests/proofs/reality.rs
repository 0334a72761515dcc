//! 227 cities and 14 POPs as WonderNetwork measured them on 2018-11-10: which POP clients enter by, and how far it is.
//!
//! The figures that are wanted are of the data itself (rows WN-1 and WN-2 of its published figures): round trips to
//! the best POP of 25.2, 98.7 and 165.5 ms at p50, p90 and p99, and 21.6 % of the cities whose nearest POP is not the
//! fastest. The run gets there by BGP's choice, real packets and a load client's clock.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyedge_sim::report::Report;
use anyedge_sim::run::Options;
use anyedge_tests::{dataset, story};

/// The POPs' cities, and what stands in for them in the data.
const POPS: [(&str, &str); 14] = [
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
const CITIES: usize = 227;
/// Of a figure.
const TOLERANCE: f64 = 0.03;

const HEAD: &str = "\
schema = 1
duration = \"2s\"
drain = \"2s\"
[defaults]
routes = \"static\"
probe = false
bgp = false
[vip.game]
address = \"203.0.113.10\"
clb = \"main\"
[region.guangzhou]
[clb.main]
region = \"guangzhou\"
listener.web = { port = \"tcp/80\", targets = \"web\" }
[targets.web]
port = 8080
servers = [{ ip = \"10.0.0.11\" }]
";

/// A city of the data.
struct City {
    name: String,
    /// Latitude and longitude, as they are written.
    at: [String; 2],
}

/// The cities that are no POP's.
fn cities(data: &Path) -> Vec<City> {
    let text = fs::read_to_string(data.join("rtt/cities.csv")).expect("the data has cities");
    let mut cities = Vec::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [name, lat, lon, ..] = fields[..] else {
            panic!("{line}");
        };
        if POPS.iter().all(|(_, place)| *place != name) {
            let at = [lat, lon].map(|degrees| {
                let degrees: f64 = degrees.parse().expect("a coordinate");
                format!("{degrees:.4}")
            });
            cities.push(City {
                name: name.to_owned(),
                at,
            });
        }
    }
    cities
}

/// Kilometres between two cities, both ways round: the data has some pairs in one direction alone, and a few in none.
fn distances(data: &Path) -> BTreeMap<(String, String), f64> {
    let file = data.join("rtt/wondernetwork_2018_long.csv");
    let text = fs::read_to_string(file).expect("the data has round trips");
    let mut all = BTreeMap::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        if let Ok(km) = fields[6].parse() {
            let [from, to] = [fields[0], fields[1]].map(str::to_owned);
            all.insert((to.clone(), from.clone()), km);
            all.insert((from, to), km);
        }
    }
    all
}

/// The POPs, their links by the great circle, and the cities, each of which pings the VIP.
fn topology(cities: &[City], rtt: &str) -> String {
    let mut text = HEAD.to_owned();
    for (pop, _) in POPS {
        let ends = format!("[\"pop.{pop}\", \"region.guangzhou\"]");
        let _ = writeln!(text, "[pop.{pop}]\n[link.{pop}]\nbetween = {ends}");
    }
    text.push_str(rtt);
    for (number, City { at: [lat, lon], .. }) in cities.iter().enumerate() {
        let load = "{ kind = \"ping\", rate = \"5/s\", to = \"game\" }";
        let place = format!("lat = {lat}\nlon = {lon}");
        let _ = writeln!(text, "[client.c{number}]\n{place}\nload = {load}");
    }
    text
}

/// `[rtt]` with the data's matrix.
fn matrix(data: &Path, cities: &[City]) -> String {
    let file = data.join("rtt/wondernetwork_2018_long.csv");
    let mut places = String::new();
    for (pop, place) in POPS {
        let _ = write!(places, "{pop} = \"{place}\", ");
    }
    for (number, city) in cities.iter().enumerate() {
        let _ = write!(places, "c{number} = {:?}, ", city.name);
    }
    format!(
        "[rtt]\nmatrix = {file:?}\nfrom = \"src\"\nto = \"dst\"\nrtt = \"avg_ms\"\n\
         source = \"WonderNetwork, 2018-11-10\"\nplaces = {{ {} }}\n",
        places.trim_end_matches(", ")
    )
}

/// Median round trips of the cities, least first.
fn medians(report: &Report) -> Vec<f64> {
    let clients = report.clients.iter();
    let each = clients.map(|client| {
        let latency = client.service.latency_ms;
        latency
            .unwrap_or_else(|| panic!("client.{} was not answered", client.name))
            .p50
    });
    let mut all: Vec<f64> = each.collect();
    all.sort_by(f64::total_cmp);
    all
}

/// Between the two nearest ranks.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() - 1) as f64 * share;
    let (below, part) = (at.floor() as usize, at.fract());
    let above = sorted[(below + 1).min(sorted.len() - 1)];
    sorted[below] + (above - sorted[below]) * part
}

#[test]
fn cities_enter_by_the_pops_and_in_the_times_that_were_measured() {
    let Some(data) = dataset::folder() else {
        return;
    };
    let data = data.canonicalize().expect("it is there");
    let cities = cities(&data);
    assert_eq!(cities.len(), CITIES);
    let text = topology(&cities, &matrix(&data, &cities));
    let report = story::play(&text, &Options::default());
    let times = medians(&report);
    for (share, wanted) in [(0.5, 25.2), (0.9, 98.7), (0.99, 165.5)] {
        let found = quantile(&times, share);
        let off = (found / wanted - 1.0).abs();
        assert!(
            off < TOLERANCE,
            "{share}: {found:.1} ms, {wanted} ms wanted"
        );
    }

    let kilometres = distances(&data);
    let is_elsewhere = |client: &&anyedge_sim::report::ClientReport| {
        let number: usize = client.name[1..].parse().expect("c and a number");
        let city = &cities[number].name;
        let far = |place: &str| kilometres.get(&(city.clone(), place.to_owned()));
        let known = POPS
            .iter()
            .filter_map(|(pop, place)| Some((far(place)?, pop)));
        let nearest = known.min_by(|a, b| f64::total_cmp(a.0, b.0));
        client.pop.as_deref() != nearest.map(|(_, pop)| *pop)
    };
    let elsewhere = report.clients.iter().filter(is_elsewhere).count();
    let share = 100.0 * elsewhere as f64 / CITIES as f64;
    assert!((share - 21.6).abs() < 1.0, "{share:.1} %");
}

/// What a file gets that has nothing measured: the same median within a quarter, each city by itself within a few times.
#[test]
fn the_great_circle_stands_in_for_what_nobody_measured() {
    let Some(data) = dataset::folder() else {
        return;
    };
    let cities = cities(&data);
    let report = story::play(&topology(&cities, ""), &Options::default());
    let median = quantile(&medians(&report), 0.5);
    assert!((18.9..31.5).contains(&median), "{median:.1} ms");
    assert_eq!(report.assumed_links.len(), POPS.len());
}
