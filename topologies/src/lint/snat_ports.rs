//! L06: fewer SNAT ports than flows at a time.
//!
//! A load balancer of NAT64 has 55,000 ports of an address towards one server. How many flows there are at a time follows
//! from the loads of the file: how often one begins, and how long it has its port.

use std::collections::BTreeMap;

use anyedge_ccn::table::object::IpVersion;
use anyedge_ccn::table::snat::{BLOCK_PORTS, BLOCKS_PER_ADDRESS};

use crate::clb::{Clb, Listener};
use crate::client::Client;
use crate::diagnostic::Wrong;
use crate::load::{Load, LoadKind};
use crate::names::Kind;

use super::{Case, Rule};

/// Seconds for which a flow has its port after both sides have closed.
const CLOSING_S: f64 = 10.0;
/// Seconds for which one has it whose handshake does not complete.
const HALF_OPEN_S: f64 = 30.0;

pub(super) fn find(case: &Case<'_>, rule: &'static Rule) {
    let clbs = case.topology.clbs.values();
    for clb in clbs.filter(|clb| clb.ip_version == IpVersion::Nat64) {
        let ports = clb.snat.len() as f64 * f64::from(BLOCKS_PER_ADDRESS * BLOCK_PORTS);
        let crowds = crowds(case, clb).into_iter();
        let most = crowds.max_by(|(_, one), (_, other)| one.total_cmp(other));
        let Some((targets, flows)) = most.filter(|(_, flows)| *flows > ports) else {
            continue;
        };
        let reason = format!(
            "about {flows:.0} flows at a time to a server of targets.{targets}, by the loads; {} {ports:.0} ports",
            match clb.snat.len() {
                1 => "1 address has".to_owned(),
                many => format!("{many} addresses have"),
            },
        );
        let wanted = (flows / ports * clb.snat.len() as f64).ceil();
        let hint = format!("{wanted:.0} addresses, 10 at most; or more servers");
        let object = Kind::Clb.object(&clb.name);
        case.found(rule, &object, "snat", Wrong::new(reason, hint));
    }
}

/// Flows at a time to the server of each set of targets that gets most of them.
fn crowds<'c>(case: &Case<'c>, clb: &'c Clb) -> BTreeMap<&'c str, f64> {
    let mut crowds: BTreeMap<&str, f64> = BTreeMap::new();
    for client in case.topology.clients.values() {
        for load in &client.loads {
            let is_bound = case.vips_of(clb).any(|vip| vip.name == load.vip);
            let listener = clb.listeners.get(&load.listener).filter(|_| is_bound);
            if let Some(listener) = listener {
                let flows = flows_of(client, load) * greatest_share(case, listener);
                *crowds.entry(&listener.targets).or_default() += flows;
            }
        }
    }
    crowds
}

/// The part of new flows that the heaviest server gets.
fn greatest_share(case: &Case<'_>, listener: &Listener) -> f64 {
    let targets = case.topology.targets.get(&listener.targets);
    let weights = targets.into_iter().flat_map(|targets| &targets.servers);
    let weights: Vec<f64> = weights.map(|server| f64::from(server.weight)).collect();
    let all: f64 = weights.iter().sum();
    if all > 0.0 {
        weights.into_iter().fold(0.0, f64::max) / all
    } else {
        0.0
    }
}

/// Flows of a load at a time.
fn flows_of(client: &Client, load: &Load) -> f64 {
    let took = |bytes: u64, pace: u64| bytes as f64 / pace.max(1) as f64;
    let held_s = match load.kind {
        // One flow of each host, or a connection of each that is kept.
        LoadKind::Tick { .. } | LoadKind::KeepAlive { .. } => return f64::from(client.count),
        LoadKind::Ping { .. } => return 0.0,
        LoadKind::SynFlood => HALF_OPEN_S,
        LoadKind::Request { .. } => CLOSING_S,
        LoadKind::Idle { idle, .. } => idle.as_secs_f64() + CLOSING_S,
        LoadKind::Download { pace: 0, .. }
        | LoadKind::Upload { pace: 0, .. }
        | LoadKind::HalfClosed { pace: 0, .. } => CLOSING_S,
        LoadKind::Download { bytes, pace }
        | LoadKind::Upload { bytes, pace }
        | LoadKind::HalfClosed { bytes, pace } => took(bytes, pace) + CLOSING_S,
    };
    let per_second = load.rate.count as f64 / load.rate.per.as_secs_f64();
    per_second * held_s
}
