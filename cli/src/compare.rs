//! `anyedge compare`: one topology in both worlds: how far latencies are apart, and what a fault costs in each.
//!
//! The lab is played twice, and the simulator runs as often: calmly, for latencies, then with the file's faults, for the
//! failover. Both send at the same times. What is near and what is not is decided here and drawn by [`plot`].

mod failover;
mod loads;
mod plot;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyedge_live::lab::name::LabName;
use anyedge_live::lab::play::{self, Lateness, Played};
use anyedge_live::lab::{self, Links, Wishes};
use anyedge_net::rng::Seed;
use anyedge_sim::report::Report;
use anyedge_sim::run::Options;
use anyedge_topologies::units::Frequency;
use anyedge_topologies::{Arrivals, Load, LoadKind, Topology};
use anyhow::{Context as _, Error, Result, anyhow};
use serde::Serialize;

use crate::args::CompareArgs;
use crate::exit::Exit;
use crate::mistakes;
use failover::FaultPair;
use loads::Pair;

/// Runs of the simulator with faults, each with a seed of its own: what a fault costs depends on the moment at which it
/// falls between two packets of BFD, in both worlds.
const STORMS: u64 = 7;
/// How often a population pings each VIP that it has loads to, where the file has no ping of its own.
const PINGS: Frequency = Frequency {
    count: 20,
    per: Duration::from_secs(1),
};

/// How long an echo may take.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of an answer that is one segment, which no window and no pace of a TCP divides.
const WARM_BYTES_MAX: u64 = 1_024;

/// All that a comparison found.
#[derive(Serialize)]
struct Comparison {
    topology: String,
    /// TCP of the simulator's hosts, and of the lab's.
    tcp_stacks: [String; 2],
    /// How long each world sent calmly.
    calm_s: f64,
    loads: Vec<Pair>,
    entrances: Vec<Entrance>,
    faults: Vec<FaultPair>,
    /// By how much the machine woke a sleeper late during the calm run: p50, p99, p99.9 and the most, in ms.
    machine_late_ms: [f64; 4],
    /// Faults of the file that a lab cannot have, and that neither world had.
    not_played: Vec<String>,
    /// Whether all that is judged is near.
    near: bool,
}

/// The POPs by which a population entered.
#[derive(Serialize)]
struct Entrance {
    client: String,
    /// Calmly: in the simulator, in the lab.
    calm: [BTreeSet<String>; 2],
    /// While the file's faults happened.
    storm: [BTreeSet<String>; 2],
    near: bool,
}

/// A run of both worlds.
struct Worlds {
    /// The simulator's, the first with the topology's own seed.
    sim: Vec<Report>,
    lab: Played,
    duration: Duration,
}

/// Runs both worlds and compares them.
pub(crate) fn run(args: &CompareArgs) -> Exit {
    let load = |more: &[&str]| {
        let more = more.iter().map(|set| (*set).to_owned());
        let overrides: Vec<String> = args.overrides.set.iter().cloned().chain(more).collect();
        Topology::load_with(&args.file, &overrides)
    };
    // Between a lab's routers is no Internet that takes its time: they are neighbours.
    let both = load(&["fault=[]", "slo=[]"]).and_then(|calm| {
        let storm = load(&["slo=[]", "convergence=\"0s\""])?;
        Ok((calm, storm))
    });
    let (mut calm, mut storm) = match both {
        Ok(both) => both,
        Err(found) => {
            mistakes::print(&args.file, &found);
            return Exit::BadInput;
        }
    };
    let not_played = play::unplayable(&storm);
    storm
        .faults
        .retain(|fault| !not_played.contains(&fault.to_string()));
    for topology in [&mut calm, &mut storm] {
        add_probes(topology);
    }
    match compare(args, &calm, &storm).and_then(|both| publish(args, &both, not_played)) {
        Ok(true) => Exit::Kept,
        Ok(false) => Exit::Broken,
        Err(error) => mistakes::failed(&error),
    }
}

/// Gives each population a ping of each of its VIPs, and beside its requests the same on kept connections: what has no
/// handshake can be compared.
fn add_probes(topology: &mut Topology) {
    for client in topology.clients.values_mut() {
        let mut probes: Vec<Load> = Vec::new();
        let has = |loads: &[Load], kind: &str, to: &str| {
            let mut all = loads.iter();
            all.any(|load| load.kind.name() == kind && load.destination() == to)
        };
        for load in &client.loads {
            let mut ping = load.clone();
            ping.kind = LoadKind::Ping { payload_bytes: 56 };
            (ping.rate, ping.arrivals) = (PINGS, Arrivals::Fixed);
            (ping.timeout, ping.direct) = (PING_TIMEOUT, false);
            ping.listener.clear();
            if !has(&client.loads, "ping", &ping.vip) && !has(&probes, "ping", &ping.vip) {
                probes.push(ping);
            }
            if let LoadKind::Request {
                request_bytes,
                answer_bytes,
            } = load.kind
                && !has(&client.loads, "keep-alive", &load.destination())
            {
                let kind = LoadKind::KeepAlive {
                    request_bytes,
                    answer_bytes: answer_bytes.min(WARM_BYTES_MAX),
                };
                let mut kept = load.clone();
                (kept.kind, kept.direct) = (kind, false);
                probes.push(kept);
            }
        }
        client.loads.extend(probes);
    }
}

fn compare(args: &CompareArgs, calm: &Topology, storm: &Topology) -> Result<[Worlds; 2]> {
    let calm_s = args.duration;
    let storm_s = storm.duration;
    let has_faults = !storm.faults.is_empty();
    let simulate = |topology: &Topology, duration, seed| {
        let options = Options {
            seed: Some(seed),
            duration: Some(duration),
            ..Options::default()
        };
        let report = anyedge_sim::run::run(topology, &options, &mut |_| {});
        report.map_err(|error| anyhow!("{}: {error}", args.file.display()))
    };
    let own = Seed(calm.seed);
    let calmly = simulate(calm, calm_s, own)?;
    let storms = if has_faults { STORMS } else { 0 };
    let seeds = (0..storms).map(|number| Seed(calm.seed.wrapping_add(number)));
    let storms: Result<Vec<Report>> = seeds.map(|seed| simulate(storm, storm_s, seed)).collect();
    let storms = storms?;

    let name = format!("compare{}", std::process::id());
    let wishes = Wishes {
        links: Links::AsInFile,
        ..Wishes::default()
    };
    lab::up_with(&args.file, calm, &name, wishes)?;
    let played = name.parse().and_then(|lab: LabName| {
        let calmly = play::play(calm, &lab, calm_s)?;
        let stormily = if has_faults {
            play::play(storm, &lab, storm_s)?
        } else {
            Played::default()
        };
        Ok((calmly, stormily))
    });
    let down = lab::down(&name).with_context(|| format!("anyedge lab down --name {name}"));
    let (calmly_played, stormily_played) = played?;
    down?;
    Ok([
        Worlds {
            sim: vec![calmly],
            lab: calmly_played,
            duration: calm_s,
        },
        Worlds {
            sim: storms,
            lab: stormily_played,
            duration: storm_s,
        },
    ])
}

/// The POPs by which each population entered.
fn entrances([calm, storm]: &[Worlds; 2]) -> Vec<Entrance> {
    let in_lab = |played: &Played| {
        let mut pops: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for course in &played.courses {
            if let Some(client) = course.node.strip_prefix("client.") {
                let own = pops.entry(client.to_owned()).or_default();
                own.extend(course.turns.iter().filter_map(|turn| turn.pop.clone()));
            }
        }
        pops
    };
    let in_sim = |report: Option<&Report>| {
        let clients = report.map_or(&[][..], |report| &report.clients).iter();
        let pops =
            clients.map(|client| (client.name.clone(), client.pops.keys().cloned().collect()));
        pops.collect::<BTreeMap<String, BTreeSet<String>>>()
    };
    let [calm, storm] =
        [calm, storm].map(|worlds| [in_sim(worlds.sim.first()), in_lab(&worlds.lab)]);
    let of = |pair: &[BTreeMap<String, BTreeSet<String>>; 2], client: &str| {
        [0, 1].map(|world| pair[world].get(client).cloned().unwrap_or_default())
    };
    let clients = calm[0].keys().map(|client| {
        let (calm, storm) = (of(&calm, client), of(&storm, client));
        Entrance {
            client: client.clone(),
            near: calm[0] == calm[1] && storm[0] == storm[1],
            calm,
            storm,
        }
    });
    clients.collect()
}

/// Judges, writes and draws; true when all is near.
fn publish(args: &CompareArgs, both: &[Worlds; 2], not_played: Vec<String>) -> Result<bool> {
    let [calm, storm] = both;
    let loads = loads::pairs(calm);
    let entrances = entrances(both);
    let faults = failover::pairs(storm);
    let near = loads.iter().all(|pair| pair.near != Some(false))
        && entrances.iter().all(|entrance| entrance.near)
        && faults.iter().all(FaultPair::is_near);
    let first = calm.sim.first();
    let comparison = Comparison {
        topology: first.map_or_else(String::new, |report| report.topology.clone()),
        tcp_stacks: [
            first.map_or_else(String::new, |report| report.tcp_stack.to_owned()),
            kernels_tcp(),
        ],
        calm_s: calm.duration.as_secs_f64(),
        loads,
        entrances,
        faults,
        machine_late_ms: late_ms(calm.lab.lateness),
        not_played,
        near,
    };
    if let Some(file) = &args.plot {
        plot::draw(file, &comparison, both)
            .with_context(|| format!("cannot draw {}", file.display()))?;
    }
    let text = if args.json {
        serde_json::to_string_pretty(&comparison).map_err(Error::from)? + "\n"
    } else {
        told::told(&comparison)
    };
    mistakes::say(&text);
    Ok(near)
}

fn late_ms(of: Lateness) -> [f64; 4] {
    let Lateness {
        p50,
        p99,
        p999,
        max,
    } = of;
    [p50, p99, p999, max].map(|late| late.as_secs_f64() * 1e3)
}

/// What the lab's hosts speak: the kernel's own TCP.
fn kernels_tcp() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let release = read("/proc/sys/kernel/osrelease");
    let control = read("/proc/sys/net/ipv4/tcp_congestion_control");
    format!("Linux {}, {}", release.trim(), control.trim())
}
