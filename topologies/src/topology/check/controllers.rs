//! Whether the controllers are as many as a majority wants, reach every node, and may agree in time.
//!
//! A file that names none gets the usual three. The election timeout follows from how far they are apart: a leader's
//! word must have come, and come again after a loss, before anybody stands against it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::book::Book;
use crate::controller;
use crate::defaults::Routes;
use crate::diagnostic::Wrong;
use crate::management::{self, Managed, Ways};
use crate::names::Kind;

use super::super::Topology;

/// The least election timeout that a file gets without asking.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// Round trips between the controllers that are farthest apart in an election timeout: the usual, and the least.
const ROUND_TRIPS: u32 = 10;
const ROUND_TRIPS_MIN: u32 = 2;

pub(super) fn check(book: &Book<'_>, topology: &mut Topology) {
    let named = book.names.of(Kind::Controller).next().is_some();
    if !named && let Some(home) = management::home(topology) {
        topology.controllers = controller::usual(&home);
    }
    management::give_addresses(book, topology);
    controller::check_count(book, topology);
    if !book.mistakes.is_empty() {
        return;
    }
    let ways = Ways::of(topology);
    if named || topology.defaults.routes == Routes::Raft {
        reached(book, topology, &ways);
    }
    election_timeout(book, topology, &ways);
}

fn rtt(ways: &Ways, one: &Managed, other: &Managed) -> Option<Duration> {
    let from = ways.position(&one.spot)?;
    let to = ways.position(&other.spot)?;
    ways.rtt(from, to, &BTreeSet::new())
}

/// Whether every node has a way to every controller.
fn reached(book: &Book<'_>, topology: &Topology, ways: &Ways) {
    let (controllers, nodes) = split(topology);
    for node in controllers.iter().chain(&nodes) {
        let mut others = controllers.iter();
        let Some(far) = others.find(|controller| rtt(ways, node, controller).is_none()) else {
            continue;
        };
        let reason = format!("no way to {} at {}", far.name, far.spot);
        let hint = format!(
            "a `city`, or `lat` and `lon`, for {} and {}, or links between them",
            node.spot, far.spot
        );
        let at = if controllers.contains(node) {
            node.name.clone()
        } else {
            node.spot.to_string()
        };
        book.report(&at, "at", Wrong::new(reason, hint));
    }
}

fn election_timeout(book: &Book<'_>, topology: &mut Topology, ways: &Ways) {
    let (controllers, _) = split(topology);
    let pairs = controllers.iter().flat_map(|one| {
        let others = controllers
            .iter()
            .filter(move |other| one.name < other.name);
        others.map(move |other| (one, other))
    });
    let farthest = pairs
        .filter_map(|(one, other)| Some((rtt(ways, one, other)?, one, other)))
        .max_by_key(|(rtt, _, _)| *rtt);
    let Some((farthest, one, other)) = farthest else {
        topology.election_timeout = topology.defaults.election_timeout.unwrap_or(TIMEOUT_MIN);
        return;
    };
    let usual = TIMEOUT_MIN.max(farthest * ROUND_TRIPS);
    topology.election_timeout = topology.defaults.election_timeout.unwrap_or(usual);
    if topology.election_timeout < farthest * ROUND_TRIPS_MIN {
        let reason = format!(
            "`election_timeout`: {:?} is over before a leader's word comes: {} and {} are {farthest:?} apart, there and back",
            topology.election_timeout, one.name, other.name
        );
        let hint = format!(
            "at least {:?}, or leave it out for {usual:?}",
            farthest * ROUND_TRIPS_MIN
        );
        book.report("defaults", "election_timeout", Wrong::new(reason, hint));
    }
}

/// The controllers and all other nodes.
fn split(topology: &Topology) -> (Vec<Managed>, Vec<Managed>) {
    let is_controller = |node: &Managed| node.name.starts_with("controller.");
    topology.managed().into_iter().partition(is_controller)
}
