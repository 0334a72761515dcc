//! Faults of links: what of a lab's wires they are, and who is told.
//!
//! Where wires have the file's links ([`crate::lab::modelled`]) every link can go down and get worse, each direction by
//! itself. Elsewhere a link can only go down, and only when a wire is its own (`bare.rs`).

use anyedge_net::link::Change;
use anyedge_topologies::{Degrade, Kind, Topology};
use anyhow::Result;

use super::bare;
use crate::lab::name::LabName;
use crate::lab::orders::{self, Act, LinkTold, Order};
use crate::lab::refused::{Refused, refuse};

/// What happens to a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkFault {
    /// Nothing gets through.
    Down,
    /// It gets worse.
    Worse(Change),
}

impl LinkFault {
    /// As a command line says it: `down`, or `loss 5% delay 40ms`.
    ///
    /// # Errors
    /// [`Refused`] when the words say nothing of a link.
    pub fn of_words(words: &[String]) -> Result<LinkFault> {
        if words == ["down"] {
            return Ok(LinkFault::Down);
        }
        let change = Degrade::change_of(words.iter().map(String::as_str));
        let change = change.map_err(|wrong| {
            let hint = wrong
                .hint
                .map_or_else(String::new, |hint| format!(": {hint}"));
            Refused::because(format!("{}{hint}", wrong.reason))
        })?;
        Ok(LinkFault::Worse(change))
    }
}

/// A link between two objects, or one direction of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its ends: `pop.tokyo` and `region.guangzhou`.
    pub ends: [String; 2],
    /// Only what is sent from this end; `None`: both ways.
    pub from: Option<String>,
}

impl Stretch {
    /// The link that a command line calls `name`: a link of the file (`tokyo-guangzhou`), the link of a host
    /// (`host.web-1`), or any two ends, `client.osaka--pop.tokyo`.
    ///
    /// # Errors
    /// [`Refused`] when there is no such link.
    pub fn find(topology: &Topology, name: &str, from: Option<&str>) -> Result<Stretch> {
        let bare = name.strip_prefix("link.").unwrap_or(name);
        let host = name
            .strip_prefix("host.")
            .and_then(|host| topology.hosts.get(host));
        let ends = if let Some(link) = topology.links.get(bare) {
            link.ends.objects()
        } else if let Some(host) = host {
            of_host(topology, &host.name)
        } else if let Some((near, far)) = name.split_once("--") {
            [near.to_owned(), far.to_owned()]
        } else {
            let known: Vec<&str> = topology.links.keys().map(String::as_str).collect();
            refuse!(
                "there is no link `{name}`; known: {}, host.NAME, or two ends such as client.NAME--pop.NAME",
                known.join(", ")
            );
        };
        if let Some(from) = from
            && !ends.iter().any(|end| end == from)
        {
            refuse!(
                "`{from}` is no end of `{name}`: {} and {} are",
                ends[0],
                ends[1]
            );
        }
        Ok(Stretch {
            ends,
            from: from.map(str::to_owned),
        })
    }

    /// Its directions, as wires call them.
    fn directions(&self) -> Vec<String> {
        let [near, far] = &self.ends;
        let both = [(near, far), (far, near)];
        let wanted = both
            .iter()
            .filter(|(sender, _)| self.from.as_ref().is_none_or(|from| from == *sender));
        wanted
            .map(|(sender, to)| format!("{sender}>{to}"))
            .collect()
    }
}

fn of_host(topology: &Topology, host: &str) -> [String; 2] {
    let region = &topology.hosts[host].region;
    [Kind::Host.object(host), Kind::Region.object(region)]
}

/// The fault begins.
///
/// # Errors
/// [`Refused`] when the lab has no such wire, or none that could do this.
pub fn begin(lab: &LabName, topology: &Topology, of: &Stretch, fault: &LinkFault) -> Result<()> {
    let act = match fault {
        LinkFault::Down => Act::Down,
        LinkFault::Worse(change) => Act::Worse(change.into()),
    };
    if orders::are_taken(lab) {
        return tell(lab, of, act);
    }
    match (fault, &of.from) {
        (LinkFault::Down, None) => bare::set(lab, topology, &of.ends, false),
        _ => refuse!(
            "wires of the lab `{lab}` are as the kernel has them and can only go down, both ways; \
             `anyedge lab up --links file` gives them the file's links"
        ),
    }
}

/// The fault is over.
///
/// # Errors
/// As [`begin`].
pub fn end(lab: &LabName, topology: &Topology, of: &Stretch, fault: &LinkFault) -> Result<()> {
    if !orders::are_taken(lab) {
        return bare::set(lab, topology, &of.ends, true);
    }
    match fault {
        LinkFault::Down => tell(lab, of, Act::Up),
        LinkFault::Worse(_) => tell(lab, of, Act::Restore),
    }
}

/// Ends all faults of links. Modelled ones whose process is new have none.
pub(super) fn end_all(lab: &LabName, topology: &Topology, are_new: bool) -> Result<()> {
    bare::set_all_up(lab, topology)?;
    if orders::are_taken(lab) && !are_new {
        for act in [Act::Restore, Act::Up] {
            let links = Vec::new();
            orders::give(lab, &Order { links, act })?;
        }
    }
    Ok(())
}

/// How all links stand, where wires have the file's.
///
/// # Errors
/// [`Refused`] where they have not.
pub fn list(lab: &LabName) -> Result<Vec<LinkTold>> {
    if !orders::are_taken(lab) {
        refuse!("wires of the lab `{lab}` are as the kernel has them: nothing counts them");
    }
    let order = Order {
        links: Vec::new(),
        act: Act::Tell,
    };
    Ok(orders::give(lab, &order)?.links)
}

fn tell(lab: &LabName, of: &Stretch, act: Act) -> Result<()> {
    let links = of.directions();
    orders::give(lab, &Order { links, act }).map(drop)
}
