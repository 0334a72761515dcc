//! `anyedge check`: reads topology files and prints every mistake with its place.

use std::io::{self, Write as _};
use std::path::Path;

use anyedge_topologies::{Diagnostic, Routes, Spread, SpreadPoint, Topology};
use serde_json::{Value, json};

use crate::args::CheckArgs;
use crate::exit::Exit;
use crate::mistakes;

/// Files of other tools that stand beside topologies, so that `topologies/*.toml` means the topologies.
const OTHER_TOOLS: [&str; 2] = ["Cargo.toml", "clippy.toml"];

pub(crate) fn run(args: &CheckArgs) -> Exit {
    let mut all = Vec::new();
    let mut stdout = io::stdout().lock();
    for file in &args.files {
        if is_of_another_tool(file) {
            continue;
        }
        match Topology::load_with(file, &args.overrides.set) {
            Ok(topology) if !args.json => {
                let _ = writeln!(stdout, "{}: {}", file.display(), summary(&topology));
                for line in settings(&topology) {
                    let _ = writeln!(stdout, "  {line}");
                }
            }
            Ok(_) => {}
            Err(found) => {
                if !args.json {
                    mistakes::print(file, &found);
                }
                all.extend(found);
            }
        }
    }
    if args.json {
        let list: Vec<Value> = all.iter().map(as_json).collect();
        let _ = writeln!(stdout, "{:#}", json!({ "schema": 1, "mistakes": list }));
    }
    if all.is_empty() {
        Exit::Kept
    } else {
        Exit::BadInput
    }
}

/// Whether a file is no topology, which is said then.
pub(crate) fn is_of_another_tool(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str());
    let is = name.is_some_and(|name| OTHER_TOOLS.contains(&name));
    if is {
        mistakes::complain(&format!("{}: no topology, skipped", file.display()));
    }
    is
}

fn summary(topology: &Topology) -> String {
    let clients: u32 = topology.clients.values().map(|client| client.count).sum();
    let clb_nodes: usize = topology
        .regions
        .values()
        .map(|region| region.clb_nodes.len())
        .sum();
    let vips: Vec<&str> = topology.vips.keys().map(String::as_str).collect();
    format!(
        "ok: vip {}, {} POPs, {} regions with {clb_nodes} CLB nodes, {} backend hosts, {clients} clients, {} faults, \
         {} service levels",
        vips.join(" "),
        topology.pops.len(),
        topology.regions.len(),
        topology.hosts.len(),
        topology.faults.len(),
        topology
            .slos
            .iter()
            .map(|slo| slo.expect.len())
            .sum::<usize>(),
    )
}

/// What holds in this file, by its own words or by default, of paths, targets, tables, the Internet and simulated hosts.
fn settings(topology: &Topology) -> [String; 7] {
    let paths = topology.probing.map_or_else(
        || "not probed, taken to be up".to_owned(),
        |probing| {
            format!(
                "probed every {:?}, down after {} intervals of silence, grey above {} of loss",
                probing.interval,
                probing.multiplier,
                percent(probing.grey_loss_ppm)
            )
        },
    );
    let listeners = topology
        .clbs
        .values()
        .flat_map(|clb| clb.listeners.values());
    let (checked, unchecked): (Vec<_>, Vec<_>) =
        listeners.partition(|listener| listener.health.is_some());
    let way = match topology.defaults.routes {
        Routes::Raft => "by the controllers".to_owned(),
        Routes::Static => format!("at the nodes {:?} later", topology.table_delay),
    };
    let tables = format!(
        "tables: written {:?} after a node is lost or back, {way}; a slot that moved settles for {:?}",
        topology.publish_after, topology.slot_settle
    );
    let announcements = format!(
        "announcements: withdrawn after {:?} without a path, again after {:?} with one",
        topology.announcing.withdraw_after, topology.announcing.readvertise_after,
    );
    let internet = format!(
        "Internet: sees an announcement {}; forgets it {}",
        by_share(&topology.convergence.announce),
        by_share(&topology.convergence.withdraw)
    );
    let tcp = format!("simulated hosts: TCP {}", topology.defaults.tcp.word());
    [
        format!("paths: {paths}"),
        format!(
            "targets: those of {} listeners are checked, of {} not",
            checked.len(),
            unchecked.len()
        ),
        tables,
        controllers(topology),
        announcements,
        internet,
        tcp,
    ]
}

fn controllers(topology: &Topology) -> String {
    let all = topology.controllers.values();
    let all: Vec<String> = all
        .map(|controller| format!("{} at {}", controller.name, controller.at))
        .collect();
    let use_of_them = match topology.defaults.routes {
        Routes::Raft => "give out the tables",
        Routes::Static => "idle, the tables are static",
    };
    format!(
        "controllers: {}; election timeout {:?}; {use_of_them}",
        all.join(", "),
        topology.election_timeout
    )
}

/// `80% in 10s, 100% in 38s`.
fn by_share(spread: &Spread) -> String {
    match spread {
        Spread::Fixed(time) => format!("all in {time:?}"),
        Spread::Points(points) => {
            let point =
                |point: &SpreadPoint| format!("{} in {:?}", percent(point.share_ppm), point.time);
            points.iter().map(point).collect::<Vec<_>>().join(", ")
        }
    }
}

/// Parts per million, as a file writes them.
fn percent(ppm: u32) -> String {
    let digits = format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
    format!("{}%", digits.trim_end_matches('0').trim_end_matches('.'))
}

pub(crate) fn as_json(mistake: &Diagnostic) -> Value {
    json!({
        "file": mistake.file,
        "option": mistake.option,
        "line": mistake.line,
        "column": mistake.column,
        "object": mistake.object,
        "reason": mistake.reason,
        "hint": mistake.hint,
    })
}
