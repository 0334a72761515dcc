//! Import of networks in GML (Graph Modelling Language, M. Himsolt 1997), as the Internet Topology Zoo publishes them.
//!
//! A node with coordinates becomes a POP and a population of clients in its city, one of them the place of the region.
//! GML's edges are not kept as such: a POP's link leads to the region over the shortest way along them. Its round trip is
//! what light in a fibre needs along that way, but no less than what is usual over the distance of its ends; its rate is
//! that of the slowest edge on the way. All of that is assumed, and the file says so.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::book::FILE;
use crate::diagnostic::{Diagnostic, Mistakes, Wrong};
use crate::nearest::did_you_mean;
use crate::place::{Coordinates, FIBRE_KM_PER_MS};

mod graph;
mod value;

use graph::{Graph, Node};

/// Longest name of a POP: the names of its link and its population are made of it.
const NAME_MAX: usize = 30;

/// A network that was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The topology file.
    pub text: String,
    /// What of the network is not in it, and why, in sentences.
    pub left_out: Vec<String>,
}

/// Makes a topology file of a GML text, `file` its name in messages. The region is at the node whose label is `region`,
/// else at the one with most edges.
///
/// # Errors
/// What is no GML, and a network without two places.
pub fn import(file: &str, text: &str, region: Option<&str>) -> Result<Imported, Vec<Diagnostic>> {
    let mistakes = Mistakes::new(file, text, &[]);
    let made = value::parse(text)
        .and_then(|root| Graph::of(&root))
        .and_then(|graph| topology(&graph, region).map_err(|wrong| (0..0, wrong)));
    made.map_err(|(span, wrong)| {
        mistakes.add(FILE, span, wrong);
        mistakes.into_sorted()
    })
}

fn topology(graph: &Graph, region: Option<&str>) -> Result<Imported, Wrong> {
    let placed = graph.nodes.iter().filter(|node| node.at.is_some());
    let placed: Vec<&Node> = placed.collect();
    if placed.len() < 2 {
        let reason = "fewer than two nodes have a Latitude and a Longitude";
        return Err(Wrong::new(
            reason,
            "a network of the Topology Zoo, or coordinates",
        ));
    }
    let home = home(graph, &placed, region)?;
    let names = names(&placed);
    let ways = graph.ways_from(home.id);
    let (mut pops, mut left_out) = (Vec::new(), Vec::new());
    for node in graph.nodes.iter().filter(|node| node.at.is_none()) {
        left_out.push(format!(
            "{} has no coordinates: ways lead through it",
            node.told()
        ));
    }
    for node in &placed {
        match ways.get(&node.id) {
            Some(way) => pops.push((*node, way)),
            None => left_out.push(format!("{} has no way to {}", node.told(), home.told())),
        }
    }
    let mut text = head(graph, home, &names);
    for (node, way) in &pops {
        let name = &names[&node.id];
        let at = node.at.unwrap_or(Coordinates {
            lat_udeg: 0,
            lon_udeg: 0,
        });
        let home_at = home.at.unwrap_or(at);
        let place = written(at);
        let light =
            Duration::from_micros(libm::round(2.0 * way.km / FIBRE_KM_PER_MS * 1_000.0) as u64);
        let rtt = light
            .max(at.round_trip(home_at))
            .max(Duration::from_micros(100));
        let rate = way.rate_bps.filter(|rate| *rate > 0);
        let rate = rate.map_or(String::new(), |rate| format!("rate = \"{rate}bps\"\n"));
        let _ = write!(
            text,
            "\n[pop.{name}]\n{place}\n[link.{name}-home]\nbetween = [\"pop.{name}\", \"region.home\"]\n\
             rtt = \"{}us\"\n{rate}source = \"{} km along edges of the GML\"\nassumed = true\n\n\
             [client.{name}]\n{place}load = {{ kind = \"request\", rate = \"2/s\", size = \"10KiB\", to = \"service:web\" }}\n",
            rtt.as_micros(),
            libm::round(way.km) as u64,
        );
    }
    Ok(Imported { text, left_out })
}

/// The node where the region is.
fn home<'g>(graph: &Graph, placed: &[&'g Node], region: Option<&str>) -> Result<&'g Node, Wrong> {
    let Some(wanted) = region else {
        let edges = |node: &&&Node| (graph.edges_of(node.id), core::cmp::Reverse(node.id));
        let busiest = placed.iter().max_by_key(edges);
        return busiest
            .copied()
            .ok_or_else(|| Wrong::new("no node", "two at least"));
    };
    let is_it =
        |node: &&&Node| node.label.eq_ignore_ascii_case(wanted) || slug(&node.label) == wanted;
    placed.iter().find(is_it).copied().ok_or_else(|| {
        let labels = placed.iter().map(|node| node.label.as_str());
        let reason = format!("no node with coordinates is called \"{wanted}\"");
        Wrong::new(reason, did_you_mean(wanted, labels))
    })
}

/// What a topology calls each node: its label in plain letters, numbered where several have one.
fn names(placed: &[&Node]) -> BTreeMap<i64, String> {
    let mut taken: BTreeMap<String, u32> = BTreeMap::new();
    let mut names = BTreeMap::new();
    for node in placed {
        let plain = match slug(&node.label) {
            plain if plain.is_empty() => format!("node-{}", node.id.unsigned_abs()),
            plain => plain,
        };
        let mut name = plain.clone();
        while taken.contains_key(&name) {
            let number = taken.get_mut(&plain).map_or(2, |number| {
                *number += 1;
                *number
            });
            name = format!("{plain}-{number}");
        }
        taken.insert(name.clone(), 1);
        names.insert(node.id, name);
    }
    names
}

/// A label in lower-case letters, digits and inner hyphens.
fn slug(label: &str) -> String {
    let mut plain = String::new();
    for c in label.chars() {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => plain.push(c),
            _ if !plain.is_empty() && !plain.ends_with('-') => plain.push('-'),
            _ => {}
        }
    }
    plain.truncate(NAME_MAX);
    plain.trim_end_matches('-').to_owned()
}

fn head(graph: &Graph, home: &Node, names: &BTreeMap<i64, String>) -> String {
    let network = graph.name.as_deref().unwrap_or("a network");
    // A comment of TOML has no control characters.
    let plain = |text: &str| text.replace(|c: char| c.is_control(), " ");
    let name = match slug(network) {
        name if name.is_empty() => "imported".to_owned(),
        name => name,
    };
    let at = home.at.unwrap_or(Coordinates {
        lat_udeg: 0,
        lon_udeg: 0,
    });
    format!(
        "# {}: {} nodes and {} edges, imported from GML. Coordinates and edges are the network's; round trips are what\n\
         # light in a fibre needs along the edges, or what is usual over the distance; region, servers and clients are made up.\n\
         schema = 1\nname = \"{name}\"\n\n\
         [vip.service]\naddress = \"203.0.113.10\"\nclb = \"main\"\n\n\
         # At {}.\n[region.home]\nclb_nodes = 2\n{}\n\
         [clb.main]\nregion = \"home\"\nlistener.web = {{ port = \"tcp/80\", targets = \"web\" }}\n\n\
         [targets.web]\nport = 8080\nservers = [{{ ip = \"10.0.0.11\" }}, {{ ip = \"10.0.0.12\" }}]\n",
        plain(network),
        graph.nodes.len(),
        graph.edges.len(),
        names[&home.id],
        written(at),
    )
}

fn written(at: Coordinates) -> String {
    let degrees = |udeg: i32| {
        let sign = if udeg < 0 { "-" } else { "" };
        let whole = udeg.unsigned_abs();
        format!("{sign}{}.{:06}", whole / 1_000_000, whole % 1_000_000)
    };
    format!(
        "lat = {}\nlon = {}\n",
        degrees(at.lat_udeg),
        degrees(at.lon_udeg)
    )
}

#[cfg(test)]
mod tests;
