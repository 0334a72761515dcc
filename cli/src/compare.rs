//! `anyedge compare`: one topology in both worlds, and how far their latencies are apart.

use anyedge_live::lab::{self, Links, Wishes, play};
use anyedge_live::load::apart;
use anyedge_sim::report::{LoadReport, Report};
use anyedge_sim::run::Options;
use anyedge_topologies::Topology;
use anyhow::{Context as _, Error, Result, anyhow};
use serde::Serialize;

use crate::args::CompareArgs;
use crate::exit::Exit;
use crate::{mistakes, tables};

/// How far apart medians may be, in per cent, of loads that do not begin with a handshake.
const P50_PERCENT_MAX: f64 = 5.0;
/// The same of 99th percentiles.
const P99_PERCENT_MAX: f64 = 15.0;

/// A load in both worlds.
#[derive(Serialize)]
pub(crate) struct Pair {
    pub(crate) client: String,
    pub(crate) to: String,
    pub(crate) kind: &'static str,
    pub(crate) sim_answered: u64,
    pub(crate) lab_answered: u64,
    pub(crate) lab_failed: u64,
    /// Median and 99th percentile in the simulator, ms.
    pub(crate) sim_ms: [f64; 2],
    /// The same in the lab.
    pub(crate) lab_ms: [f64; 2],
    /// How much longer they are in the lab, in per cent.
    pub(crate) longer_percent: [f64; 2],
    /// Kolmogorov and Smirnov's distance, 0 to 1.
    pub(crate) distance: f64,
    /// Within 5 % and 15 %; none of loads that begin with a handshake, whose TCP stacks are others.
    pub(crate) kept: Option<bool>,
}

/// Runs both worlds and compares them.
pub(crate) fn run(args: &CompareArgs) -> Exit {
    // A lab plays no faults of a file.
    let calm = ["fault=[]".to_owned(), "slo=[]".to_owned()];
    let overrides: Vec<String> = args.overrides.set.iter().cloned().chain(calm).collect();
    let topology = match Topology::load_with(&args.file, &overrides) {
        Ok(topology) => topology,
        Err(found) => {
            mistakes::print(&args.file, &found);
            return Exit::BadInput;
        }
    };
    match compare(args, &topology).and_then(|pairs| publish(args, &pairs)) {
        Ok(true) => Exit::Kept,
        Ok(false) => Exit::Broken,
        Err(error) => mistakes::failed(&error),
    }
}

fn compare(args: &CompareArgs, topology: &Topology) -> Result<Vec<Pair>> {
    let options = Options {
        duration: Some(args.duration),
        ..Options::default()
    };
    let report = anyedge_sim::run::run(topology, &options, &mut |_| {});
    let report = report.map_err(|error| anyhow!("{}: {error}", args.file.display()))?;
    let accounts = in_a_lab(args, topology)?;
    let pairs = accounts.iter().filter_map(|account| {
        let simulated = load_of(&report, &account.client, account.number)?;
        pair(simulated, account)
    });
    Ok(pairs.collect())
}

fn in_a_lab(args: &CompareArgs, topology: &Topology) -> Result<Vec<play::Account>> {
    let name = format!("compare{}", std::process::id());
    let wishes = Wishes {
        links: Links::AsInFile,
        ..Wishes::default()
    };
    lab::up_with(&args.file, topology, &name, wishes)?;
    let played = name
        .parse()
        .and_then(|lab| play::play(topology, &lab, args.duration));
    let down = lab::down(&name).with_context(|| format!("anyedge lab down --name {name}"));
    let accounts = played?;
    down?;
    Ok(accounts)
}

fn load_of<'a>(report: &'a Report, client: &str, number: usize) -> Option<&'a LoadReport> {
    let mut clients = report.clients.iter();
    let client = clients.find(|entry| entry.name == client)?;
    client.loads.get(number)
}

fn pair(simulated: &LoadReport, account: &play::Account) -> Option<Pair> {
    let (sim, lab) = (&simulated.intended, account.stats.intended());
    let distance = apart(sim, lab)?;
    let quantiles = [0.5, 0.99];
    let millis = |nanos: u64| nanos as f64 / 1e6;
    let sim_ms = quantiles.map(|quantile| millis(sim.value_at_quantile(quantile)));
    let lab_ms = quantiles.map(|quantile| millis(lab.value_at_quantile(quantile)));
    let longer = |place: usize| (lab_ms[place] / sim_ms[place] - 1.0) * 100.0;
    let longer_percent = [longer(0), longer(1)];
    let is_warm = ["tick", "keep-alive"].contains(&simulated.kind);
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
        kept: is_warm.then_some(is_near),
    })
}

fn publish(args: &CompareArgs, pairs: &[Pair]) -> Result<bool> {
    let text = if args.json {
        serde_json::to_string_pretty(pairs).map_err(Error::from)? + "\n"
    } else {
        tables::pairs(pairs, args.duration)
    };
    mistakes::say(&text);
    Ok(pairs.iter().all(|pair| pair.kept != Some(false)))
}
