//! One process of a live network: a POP, a CLB node or a vSwitch with its forwarder on devices, or a demo backend.
//!
//! Its table comes from controllers, or from the topology file alone. It opens its devices in the namespace that it was
//! started in, gives up every right that it needs no more, and works until it is asked to end. It says that it is ready
//! by answering on its control socket ([`crate::control`]) and to the service manager. See docs/node.md.

mod beginning;
mod desk;
mod events;
mod following;
mod forwarding;
mod last_table;
mod metrics;
mod metrics_server;
mod place;
mod privileges;
mod service_manager;
mod speakers;
mod standing;
mod table_work;
mod vip_routes;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyedge_net::route_table::NodeKind;
use anyedge_pop::pop::Pop;
use anyedge_region::{ClbNode, Limits, VSwitch};
use anyedge_topologies::Topology;
use anyhow::{Context, Result, anyhow};

use crate::backend;
use crate::entropy;
use crate::lab::modelled;
use crate::prefix::Prefix;
use beginning::Beginning;
pub(crate) use beginning::founding_table;
pub(crate) use desk::{Desk, End};
use forwarding::Forwarding;

/// What names of backend processes start with, in the place of a kind.
const BACKEND: &str = "backend";

/// What a process is told on its command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeArgs {
    /// The topology file.
    pub topology: PathBuf,
    /// What it is: `pop.tokyo`, `region.guangzhou.clb-1`, `host.web-1` (its vSwitch) or `backend.web-1`.
    pub name: String,
    /// Keys of the file that are set otherwise, as `key=value`.
    pub overrides: Vec<String>,
    /// The file with its certificate, for controllers and for paths that show one.
    pub identity: Option<PathBuf>,
    /// The control socket on which it shall say that it is ready.
    pub ready: Option<PathBuf>,
    /// The controllers whose table it follows; none: the file's own.
    pub controllers: Vec<SocketAddr>,
    /// The table that the controllers were founded with, to begin with before it has heard them.
    pub founding: Option<PathBuf>,
    /// Where it keeps its last table.
    pub data: Option<PathBuf>,
    /// Where it answers a Prometheus server.
    pub metrics: Option<SocketAddr>,
    /// Threads of its data plane; none said: as the machine has processors.
    pub workers: Option<usize>,
    /// For how long these look for the next packet before they sleep.
    pub busy_poll: Duration,
    /// Networks of clients: what hosts without a vSwitch answer them is led to the device of a CLB node.
    pub clients: Vec<Prefix>,
    /// The lab that it belongs to, of the process that works at a lab's wires.
    pub lab: Option<String>,
    /// The user that it runs as, once it has taken its rights along.
    pub user: Option<String>,
}

/// The command line that starts the process `name`: the `node` subcommand of the same binary.
pub fn arguments(
    (topology, overrides): (&Path, &[String]),
    name: &str,
    ready: &Path,
) -> Vec<String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let words = [
        "node",
        "--topology",
        &text(topology),
        "--name",
        name,
        "--ready",
        &text(ready),
        // The nodes of a lab share one machine.
        "--workers",
        "1",
        "--busy-poll",
        "0s",
    ];
    let set = overrides.iter().flat_map(|text| ["--set", text]);
    words.into_iter().chain(set).map(str::to_owned).collect()
}

/// The name of the backend process on a host.
pub fn backend_name(host: &str) -> String {
    format!("{BACKEND}.{host}")
}

/// Runs the process until it is asked to end.
///
/// # Errors
/// When the file, the arguments and the machine do not fit together, or a device fails.
pub fn run(args: &NodeArgs) -> Result<()> {
    // Before there is a second thread, which would be asked in the first one's place.
    let desk = Desk::new()?;
    let topology = load(args)?;
    if let Some(host) = args
        .name
        .strip_prefix(BACKEND)
        .and_then(|rest| rest.strip_prefix('.'))
    {
        return backend::run(&topology, host, args, desk);
    }
    if args.name == modelled::WIRES {
        return modelled::run(&topology, args, desk);
    }
    privileges::keep_those_of_a_node(args.user.as_deref())?;
    let Some((beginning, following)) = Beginning::find(args, &topology, &desk)? else {
        return Ok(());
    };
    let flows_max = usize::try_from(topology.defaults.flows_max)
        .context("more flows than memory has addresses")?;
    let limits = Limits::of(flows_max);
    let seed = entropy::seed()?;
    let kind = beginning.route_table.nodes[beginning.own.index()].kind;
    let forwarding = Forwarding {
        args,
        topology: &topology,
        desk,
        beginning,
        following,
    };
    match kind {
        NodeKind::Pop => forwarding.run(Pop::new(&args.name, seed)),
        NodeKind::ClbNode(_) => forwarding.run(ClbNode::new(&args.name, limits, seed)),
        NodeKind::Host(_) => forwarding.run(VSwitch::new(&args.name, limits, seed)),
    }
}

/// Reads the topology file; all of its mistakes in one error.
fn load(args: &NodeArgs) -> Result<Topology> {
    Topology::load_with(&args.topology, &args.overrides).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        anyhow!("{}", lines.join("\n"))
    })
}
