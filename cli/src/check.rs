//! `anyedge check`: reads topology files and prints every mistake with its place.

use std::io::{self, Write as _};

use anyedge_topologies::{Diagnostic, Topology};
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
        let name = file.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| OTHER_TOOLS.contains(&name)) {
            mistakes::complain(&format!("{}: no topology, skipped", file.display()));
            continue;
        }
        match Topology::load(file) {
            Ok(topology) if !args.json => {
                let _ = writeln!(stdout, "{}: {}", file.display(), summary(&topology));
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

fn as_json(mistake: &Diagnostic) -> Value {
    json!({
        "file": mistake.file,
        "line": mistake.line,
        "column": mistake.column,
        "object": mistake.object,
        "reason": mistake.reason,
        "hint": mistake.hint,
    })
}
