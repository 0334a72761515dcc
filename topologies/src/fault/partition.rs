//! `partition = ["controller.a", ..]`: nodes that cannot reach others over the management network.
//!
//! One side is the verb's value, the other `against`, by default every other node. A partition may be one-way, and it
//! may be grey: then it takes a share of the packets. Tunnels, which carry clients' packets, are not struck.

use std::fmt;

use anyedge_net::link::Loss;

use crate::diagnostic::Wrong;
use crate::loss;
use crate::reader::Reader;
use crate::units::PPM_WHOLE;

use super::machine::MACHINES;
use super::{FaultVerb, Objects};

const EXAMPLE: &str = "[\"controller.a\", \"pop.tokyo\"]";

/// Nodes that cannot reach others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Full names of one side; `controller.leader` is whoever leads when it begins.
    pub nodes: Vec<String>,
    /// Full names of the other side; empty: every other node.
    pub against: Vec<String>,
    /// What is lost of what `nodes` send to the others.
    pub outwards: Loss,
    /// What is lost of what the others send to `nodes`.
    pub inwards: Loss,
}

/// The two sides, and which way.
impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.nodes.join(", "))?;
        if !self.against.is_empty() {
            write!(f, " from {}", self.against.join(", "))?;
        }
        match (self.outwards, self.inwards) {
            (_, Loss::Share(0)) => f.write_str(", outwards"),
            (Loss::Share(0), _) => f.write_str(", inwards"),
            _ => Ok(()),
        }
    }
}

pub(super) fn read(reader: &mut Reader<'_>, objects: &Objects) -> Option<(FaultVerb, String)> {
    let nodes = side(reader, "partition", objects);
    let against = side(reader, "against", objects).unwrap_or_default();
    let loss = loss::read(reader, "loss", "\"30%\"").unwrap_or(Loss::Share(PPM_WHOLE));
    let ways = reader.parse("direction", "\"both\"", |text| match text {
        "both" => Ok((loss, loss)),
        "out" => Ok((loss, Loss::NONE)),
        "in" => Ok((Loss::NONE, loss)),
        _ => Err(Wrong::new(
            format!("there is no direction \"{text}\""),
            "\"both\", \"out\" for what the first side sends, or \"in\" for what it gets",
        )),
    });
    let (outwards, inwards) = ways.unwrap_or((loss, loss));
    if loss == Loss::NONE
        && let Some(field) = reader.field("loss")
    {
        let hint = "more than 0%, or leave it out for all of them";
        reader.wrong_at(&field, Wrong::new("no packet is lost", hint));
    }
    let nodes = nodes?;
    if let Some(field) = reader.field("against")
        && let Some(both) = nodes.iter().find(|node| against.contains(node))
    {
        let wrong = Wrong::new(format!("{both} is on both sides"), "each node on one");
        reader.wrong_at(&field, wrong);
    }
    let partition = Partition {
        nodes,
        against,
        outwards,
        inwards,
    };
    let object = partition.to_string();
    Some((FaultVerb::Partition(partition), object))
}

/// The nodes at `key`, each once.
fn side(reader: &mut Reader<'_>, key: &'static str, objects: &Objects) -> Option<Vec<String>> {
    let field = reader.field(key)?;
    let fields = reader.list(key, EXAMPLE)?;
    if fields.is_empty() {
        let hint = format!("such as {key} = {EXAMPLE}");
        reader.wrong_at(&field, Wrong::new("no node", hint));
    }
    let read = fields.iter().map(|one| {
        reader.parse_field(one, "\"controller.a\"", |text| {
            objects.resolve_with_leader(text, &MACHINES)
        })
    });
    let read: Vec<Option<String>> = read.collect();
    let mut nodes = read.into_iter().collect::<Option<Vec<String>>>()?;
    nodes.sort();
    nodes.dedup();
    Some(nodes)
}
