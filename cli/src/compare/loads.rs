//! Loads side by side: how far the latencies of the two worlds are apart.
//!
//! Latency counts from when a request was really sent: what a client's own timer is late by is no part of the network,
//! and the simulator's is never late. Medians must be within 5 %, 99th percentiles within 15 %.

use anyedge_live::lab::play::Account;
use anyedge_live::load::apart;
use anyedge_sim::report::{LoadReport, Report};
use serde::Serialize;

use super::Worlds;

/// How far apart medians may be, in per cent, of loads that do not begin with a handshake.
pub(super) const P50_PERCENT_MAX: f64 = 5.0;
/// The same of 99th percentiles.
pub(super) const P99_PERCENT_MAX: f64 = 15.0;
/// Kinds that do not begin with a handshake.
const WARM: [&str; 3] = ["tick", "ping", "keep-alive"];

/// A load in both worlds.
#[derive(Serialize)]
pub(super) struct Pair {
    pub(super) client: String,
    pub(super) to: String,
    pub(super) kind: &'static str,
    pub(super) sim_answered: u64,
    pub(super) lab_answered: u64,
    pub(super) lab_failed: u64,
    /// Median and 99th percentile in the simulator, ms.
    pub(super) sim_ms: [f64; 2],
    /// The same in the lab.
    pub(super) lab_ms: [f64; 2],
    /// How much longer they are in the lab, in per cent.
    pub(super) longer_percent: [f64; 2],
    /// Kolmogorov and Smirnov's distance, 0 to 1.
    pub(super) distance: f64,
    /// Within 5 % and 15 %; none of loads that begin with a handshake, whose TCP stacks are others.
    pub(super) near: Option<bool>,
}

/// Every load that was answered in both worlds.
pub(super) fn pairs(calm: &Worlds) -> Vec<Pair> {
    let Some(report) = calm.sim.first() else {
        return Vec::new();
    };
    let accounts = calm.lab.accounts.iter();
    let pairs = accounts.filter_map(|account| {
        let simulated = load_of(report, &account.client, account.number)?;
        pair(simulated, account)
    });
    pairs.collect()
}

/// A load of the simulator's report.
pub(super) fn load_of<'a>(
    report: &'a Report,
    client: &str,
    number: usize,
) -> Option<&'a LoadReport> {
    let mut clients = report.clients.iter();
    let client = clients.find(|entry| entry.name == client)?;
    client.loads.get(number)
}

fn pair(simulated: &LoadReport, account: &Account) -> Option<Pair> {
    let (sim, lab) = (simulated.stats.actual(), account.stats.actual());
    let distance = apart(sim, lab)?;
    let quantiles = [0.5, 0.99];
    let millis = |nanos: u64| nanos as f64 / 1e6;
    let sim_ms = quantiles.map(|quantile| millis(sim.value_at_quantile(quantile)));
    let lab_ms = quantiles.map(|quantile| millis(lab.value_at_quantile(quantile)));
    let longer = |place: usize| (lab_ms[place] / sim_ms[place] - 1.0) * 100.0;
    let longer_percent = [longer(0), longer(1)];
    let is_near =
        longer_percent[0].abs() <= P50_PERCENT_MAX && longer_percent[1].abs() <= P99_PERCENT_MAX;
    Some(Pair {
        client: account.client.clone(),
        to: simulated.to.clone(),
        kind: simulated.kind,
        sim_answered: simulated.service.requests.ok,
        lab_answered: account.stats.ok(),
        lab_failed: account.stats.failed_total(),
        sim_ms,
        lab_ms,
        longer_percent,
        distance,
        near: WARM.contains(&simulated.kind).then_some(is_near),
    })
}
