//! What faults may strike: every object with a name, hosts and CLB nodes included.
//!
//! Hosts follow from the targets and CLB nodes from their region's number, so both are known only when the
//! other tables were read. A node that another fault adds counts as known.

use std::collections::{BTreeMap, BTreeSet};

use crate::controller;
use crate::diagnostic::Wrong;
use crate::host::Host;
use crate::names::{Kind, Names};
use crate::nearest::{did_you_mean, listed};
use crate::region::{self, Region};

/// Everything that a fault may name.
#[derive(Debug)]
pub(crate) struct Objects {
    names: Names,
    /// Full names.
    clb_nodes: BTreeSet<String>,
}

impl Objects {
    /// `names` are the file's, `added` what its faults want to add.
    pub(crate) fn new<'a>(
        names: &Names,
        hosts: &BTreeMap<String, Host>,
        regions: &BTreeMap<String, Region>,
        added: impl Iterator<Item = &'a str>,
    ) -> Self {
        let mut names = names.clone();
        for name in hosts.keys() {
            names.insert(Kind::Host, name);
        }
        if names.of(Kind::Controller).next().is_none() {
            controller::USUAL
                .iter()
                .for_each(|name| names.insert(Kind::Controller, name));
        }
        let nodes = regions.values().flat_map(|region| &region.clb_nodes);
        let known = added.filter(|name| {
            region::node_number(name).is_some_and(|(region, _)| names.has(Kind::Region, region))
        });
        let clb_nodes = nodes
            .map(|node| node.name.clone())
            .chain(known.map(str::to_owned))
            .collect();
        Self { names, clb_nodes }
    }

    /// Full name of the object of one of `kinds` that `text` means.
    pub(super) fn resolve(&self, text: &str, kinds: &[Kind]) -> Result<String, Wrong> {
        if text.starts_with("region.") && text.contains(".clb-") {
            let of_kinds = kinds.iter().flat_map(|kind| self.full(*kind));
            let known = of_kinds.collect::<Vec<_>>();
            let hint = listed(known.iter().map(String::as_str));
            return Err(Wrong::new(format!("{text} is no {}", either(kinds)), hint));
        }
        let found = self.names.resolve(text, kinds);
        found.map(|(kind, name)| kind.object(&name))
    }

    /// As [`Objects::resolve`], and CLB nodes by their full names.
    pub(super) fn resolve_with_nodes(&self, text: &str, kinds: &[Kind]) -> Result<String, Wrong> {
        if text.contains(".clb-") {
            return self.clb_node(text);
        }
        self.resolve(text, kinds).map_err(|mut wrong| {
            if let (Some(hint), Some(node)) = (&mut wrong.hint, self.clb_nodes.first())
                && hint.starts_with("known:")
            {
                *hint += &format!(", or a CLB node such as {node}");
            }
            wrong
        })
    }

    /// As [`Objects::resolve_with_nodes`], and whoever leads the controllers.
    pub(super) fn resolve_with_leader(&self, text: &str, kinds: &[Kind]) -> Result<String, Wrong> {
        let leader = Kind::Controller.object(controller::LEADER);
        if text == leader {
            return Ok(leader);
        }
        self.resolve_with_nodes(text, kinds)
    }

    fn clb_node(&self, text: &str) -> Result<String, Wrong> {
        if self.clb_nodes.contains(text) {
            return Ok(text.to_owned());
        }
        let hint = did_you_mean(text, self.clb_nodes.iter().map(String::as_str));
        Err(Wrong::new(format!("there is no {text}"), hint))
    }

    fn full(&self, kind: Kind) -> impl Iterator<Item = String> {
        self.names.of(kind).map(move |name| kind.object(name))
    }
}

/// `pop or host`.
fn either(kinds: &[Kind]) -> String {
    let words: Vec<&str> = kinds.iter().map(|kind| kind.word()).collect();
    words.join(" or ")
}
