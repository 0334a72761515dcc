//! The graph that a GML text describes, and shortest ways in it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::value::{Entry, Misread, Value};
use crate::diagnostic::Wrong;
use crate::place::Coordinates;

/// Nodes at most: each is a POP and a population.
const NODES_MAX: usize = 2_000;

/// A network.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) name: Option<String>,
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: i64,
    pub(super) label: String,
    pub(super) at: Option<Coordinates>,
}

#[derive(Debug)]
pub(super) struct Edge {
    ends: [i64; 2],
    rate_bps: Option<u64>,
}

/// The shortest way to a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) km: f64,
    /// Of its slowest edge, of those that say one.
    pub(super) rate_bps: Option<u64>,
}

impl Node {
    /// As a sentence names it.
    pub(super) fn told(&self) -> String {
        format!("node {} (\"{}\")", self.id, self.label)
    }
}

impl Graph {
    pub(super) fn of(root: &[Entry]) -> Result<Graph, Misread> {
        let graph = root.iter().find(|entry| entry.key == "graph");
        let entries = graph.and_then(|graph| match &graph.value {
            Value::List(entries) => Some(entries),
            _ => None,
        });
        let Some(entries) = entries else {
            let wrong = Wrong::new("there is no `graph [ .. ]`", "a file in GML");
            return Err((0..0, wrong));
        };
        let mut graph = Graph::default();
        let mut known = BTreeSet::new();
        for entry in entries {
            match (entry.key.as_str(), &entry.value) {
                ("Network" | "label", Value::Text(name)) => {
                    graph.name.get_or_insert_with(|| name.clone());
                }
                ("node", Value::List(of)) => {
                    let node = Node::of(entry, of)?;
                    if !known.insert(node.id) || known.len() > NODES_MAX {
                        let reason = format!("node {} is there already", node.id);
                        let hint = format!("an `id` of its own, {NODES_MAX} nodes at most");
                        return Err((entry.span.clone(), Wrong::new(reason, hint)));
                    }
                    graph.nodes.push(node);
                }
                ("edge", Value::List(of)) => {
                    let edge = Edge::of(entry, of)?;
                    graph.edges.push(edge);
                }
                _ => {}
            }
        }
        // Edges may stand before their nodes.
        let strange = |edge: &Edge| edge.ends.iter().find(|end| !known.contains(end)).copied();
        if let Some(end) = graph.edges.iter().find_map(strange) {
            let ends = |entry: &&Entry| entry.key == "edge";
            let span = entries
                .iter()
                .find(ends)
                .map_or(0..0, |edge| edge.span.clone());
            let reason = format!("an edge leads to node {end}, which is not there");
            return Err((
                span,
                Wrong::new(reason, "`source` and `target` are `id`s of nodes"),
            ));
        }
        Ok(graph)
    }

    pub(super) fn edges_of(&self, id: i64) -> usize {
        self.edges
            .iter()
            .filter(|edge| edge.ends.contains(&id))
            .count()
    }

    /// Where everybody is; who has no coordinates is in the middle of its neighbours, as far as they have some.
    fn guess_places(&self) -> BTreeMap<i64, Coordinates> {
        let given = self
            .nodes
            .iter()
            .filter_map(|node| Some((node.id, node.at?)));
        let given: BTreeMap<i64, Coordinates> = given.collect();
        let mut places = given.clone();
        for node in self.nodes.iter().filter(|node| node.at.is_none()) {
            let edges = self.edges.iter().filter_map(|edge| edge.from(node.id));
            let near: Vec<Coordinates> = edges.filter_map(|end| given.get(&end).copied()).collect();
            let Ok(count @ 1..) = i64::try_from(near.len()) else {
                continue;
            };
            let mean = |of: fn(&Coordinates) -> i32| {
                let sum: i64 = near.iter().map(|at| i64::from(of(at))).sum();
                i32::try_from(sum / count).unwrap_or_default()
            };
            let at = Coordinates {
                lat_udeg: mean(|at| at.lat_udeg),
                lon_udeg: mean(|at| at.lon_udeg),
            };
            places.insert(node.id, at);
        }
        places
    }

    /// The shortest ways from a node to all that it reaches (Dijkstra), by great circles along the edges.
    pub(super) fn ways_from(&self, from: i64) -> BTreeMap<i64, Way> {
        let places = self.guess_places();
        let mut ways: BTreeMap<i64, Way> = BTreeMap::new();
        let start = Way {
            km: 0.0,
            rate_bps: None,
        };
        let mut best: BTreeMap<i64, Way> = BTreeMap::from([(from, start)]);
        // Metres, so that lengths have an order.
        let mut open = BinaryHeap::from([Reverse((0_u64, from))]);
        while let Some(Reverse((_, here))) = open.pop() {
            let Some(way) = best
                .get(&here)
                .copied()
                .filter(|_| !ways.contains_key(&here))
            else {
                continue;
            };
            ways.insert(here, way);
            for edge in &self.edges {
                let Some(next) = edge.from(here) else {
                    continue;
                };
                let (Some(one), Some(other)) = (places.get(&here), places.get(&next)) else {
                    continue;
                };
                let further = Way {
                    km: way.km + one.distance_km(*other),
                    rate_bps: match (way.rate_bps, edge.rate_bps) {
                        (Some(one), Some(other)) => Some(one.min(other)),
                        (one, other) => one.or(other),
                    },
                };
                if best.get(&next).is_none_or(|known| further.km < known.km) {
                    best.insert(next, further);
                    open.push(Reverse((libm::round(further.km * 1_000.0) as u64, next)));
                }
            }
        }
        ways
    }
}

impl Node {
    fn of(entry: &Entry, of: &[Entry]) -> Result<Node, Misread> {
        let label = of
            .iter()
            .find_map(|own| match (own.key.as_str(), &own.value) {
                ("label", Value::Text(text) | Value::Number(text)) => Some(text.clone()),
                _ => None,
            });
        let lat = degrees(of, "Latitude", 90)?;
        let lon = degrees(of, "Longitude", 180)?;
        let at = lat
            .zip(lon)
            .map(|(lat_udeg, lon_udeg)| Coordinates { lat_udeg, lon_udeg });
        Ok(Node {
            id: identity(entry, of, "id")?,
            label: label.unwrap_or_default(),
            at,
        })
    }
}

impl Edge {
    fn of(entry: &Entry, of: &[Entry]) -> Result<Edge, Misread> {
        let rate = number(of, "LinkSpeedRaw").and_then(|(_, text)| text.parse::<f64>().ok());
        let rate = rate.filter(|rate| *rate >= 1.0 && *rate <= 1e14);
        Ok(Edge {
            ends: [
                identity(entry, of, "source")?,
                identity(entry, of, "target")?,
            ],
            rate_bps: rate.map(|rate| libm::round(rate) as u64),
        })
    }

    /// The other end, of one that this edge has.
    fn from(&self, end: i64) -> Option<i64> {
        match self.ends {
            [one, other] if one == end => Some(other),
            [one, other] if other == end => Some(one),
            _ => None,
        }
    }
}

/// The number at a key, and its place.
fn number<'e>(of: &'e [Entry], key: &str) -> Option<(&'e Entry, &'e str)> {
    of.iter().find_map(|own| match &own.value {
        Value::Number(text) if own.key == key => Some((own, text.as_str())),
        _ => None,
    })
}

fn identity(entry: &Entry, of: &[Entry], key: &str) -> Result<i64, Misread> {
    let found = number(of, key).and_then(|(_, text)| text.parse().ok());
    found.ok_or_else(|| {
        let reason = format!("`{key}` of this {} is no whole number", entry.key);
        (entry.span.clone(), Wrong::new(reason, format!("{key} 0")))
    })
}

/// Degrees in millionths; `None` where there are none.
fn degrees(of: &[Entry], key: &str, most: i32) -> Result<Option<i32>, Misread> {
    let Some((own, text)) = number(of, key) else {
        return Ok(None);
    };
    let found = text
        .parse::<f64>()
        .ok()
        .filter(|degrees| degrees.abs() <= f64::from(most));
    match found {
        Some(degrees) => Ok(Some(libm::round(degrees * 1e6) as i32)),
        None => {
            let reason = format!("{text} is no such angle");
            Err((
                own.span.clone(),
                Wrong::new(reason, format!("-{most} to {most} degrees")),
            ))
        }
    }
}
