//! The command line: what can be asked, with examples.

mod control;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyedge_topologies::units;
use clap::{Parser, Subcommand, ValueEnum};

pub(crate) use control::{
    ControllerArgs, CtlArgs, CtlCommand, DevArgs, LeaderCommand, MembersCommand, SecurityArgs,
    TargetCommand, VipCommand,
};

const AFTER_HELP: &str = "\
Examples:
  anyedge sim topologies/global-14.toml              14 cities, one run, a report and a verdict
  anyedge sim topologies/two-pops.toml --json -      the same as JSON on stdout
  anyedge sim topologies/two-pops.toml --set link.tokyo-guangzhou.loss=1%
                                                     the same with a key of the file set otherwise
  anyedge check topologies/*.toml                    every mistake at once, with its place
  anyedge dev topologies/two-pops.toml               three controllers on this machine; then: anyedge ctl targets
  anyedge lab up topologies/two-pops.toml            real packets, in network namespaces (root)

Exit codes: 0 service levels kept, 1 one broken, 2 bad input, 3 internal error.";

/// An anycast edge network that can be rehearsed and then run.
#[derive(Parser, Debug)]
#[command(name = "anyedge", version, about, after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Runs a topology in the deterministic simulator and judges its service levels
    Sim(SimArgs),
    /// Reads topology files and prints every mistake with its place
    Check(CheckArgs),
    /// Starts three controllers on this machine with a topology applied
    Dev(DevArgs),
    /// Speaks with controllers: shows and changes the table that they keep
    Ctl(CtlArgs),
    /// Runs one controller
    Controller(ControllerArgs),
    /// Runs a topology with real packets in network namespaces on this machine
    Lab(LabArgs),
    /// Runs one node of a topology (what `lab up` starts in each namespace)
    #[command(hide = true)]
    Node(NodeArgs),
}

/// `anyedge sim`
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyedge sim topologies/global-14.toml
  anyedge sim topologies/global-14.toml --seed 7 --duration 120s
  anyedge sim topologies/two-pops.toml --json report.json
  anyedge sim topologies/two-pops.toml --json - | jq .digest
  anyedge sim topologies/pop-down.toml --set fault.0.at=5s --set defaults.ccn.encap=gre

The same topology, seed and version give the same digest, in every process.")]
pub(crate) struct SimArgs {
    /// The topology file
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// Root of all randomness [default: the file's, else 1]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Simulated time in which clients send, such as 60s [default: the file's]
    #[arg(long, value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// Also writes the report as JSON, to a file or with `-` to stdout (and then no tables)
    #[arg(long, value_name = "PATH|-")]
    pub(crate) json: Option<PathBuf>,
    /// What the trace digest covers of each packet
    #[arg(long, value_enum, default_value_t = DigestCover::Headers)]
    pub(crate) digest: DigestCover,
    /// Lists every link with its packets and losses
    #[arg(long)]
    pub(crate) links: bool,
    /// No progress on stderr
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// Keys of a topology file that are set otherwise.
#[derive(clap::Args, Debug)]
pub(crate) struct Overrides {
    /// Sets a key of the file before it is read, such as link.tokyo-guangzhou.loss=1% or fault.0.at=5s; may be
    /// given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// How much of each packet the digest covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum DigestCover {
    /// All headers and the length
    Headers,
    /// Every byte
    Full,
}

/// `anyedge check`
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  anyedge check topologies/*.toml")]
pub(crate) struct CheckArgs {
    /// The topology files
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// The mistakes as JSON on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `anyedge lab`
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples (as root):
  anyedge lab up topologies/two-pops.toml
  anyedge lab exec client.osaka curl -s http://203.0.113.10/
  anyedge lab status
  anyedge lab down

Each node is a process of this program in a namespace of its own, named as in the file.")]
pub(crate) struct LabArgs {
    #[command(subcommand)]
    pub(crate) command: LabCommand,
}

#[derive(Subcommand, Debug)]
pub(crate) enum LabCommand {
    /// Builds the namespaces and starts every node; returns when all of them answer
    Up {
        /// The topology file
        file: PathBuf,
        #[command(flatten)]
        overrides: Overrides,
        /// The lab's name
        #[arg(long, default_value = "lab")]
        name: String,
    },
    /// Shows each node: namespace, process, whether it answers
    Status {
        /// The lab's name
        #[arg(long, default_value = "lab")]
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Runs a command in a node's namespace and returns its exit code
    Exec {
        /// The lab's name
        #[arg(long, default_value = "lab")]
        name: String,
        /// The node, as in the file: pop.tokyo, region.guangzhou.clb-1, host.web-1, client.osaka
        node: String,
        /// The command and its arguments, passed on untouched
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Stops every node and removes everything that `up` made
    Down {
        /// The lab's name
        #[arg(long, default_value = "lab")]
        name: String,
    },
}

/// `anyedge node`
#[derive(clap::Args, Debug)]
pub(crate) struct NodeArgs {
    /// The topology file
    #[arg(long)]
    pub(crate) topology: PathBuf,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// The node, as in the file
    #[arg(long)]
    pub(crate) name: String,
    /// The file with its certificate, where a path of its own is a gRPC stream
    #[arg(long)]
    pub(crate) identity: Option<PathBuf>,
    /// Where to say that the node is ready
    #[arg(long)]
    pub(crate) ready: Option<PathBuf>,
}

fn duration(text: &str) -> Result<Duration, String> {
    units::duration_above_zero(text).map_err(|wrong| match wrong.hint {
        Some(hint) => format!("{}: {hint}", wrong.reason),
        None => wrong.reason,
    })
}
