//! The command line of `anyedge explain`.

use std::path::PathBuf;
use std::time::Duration;

use anyedge_topologies::SOURCE_PORT;
use clap::Args;

use super::{Overrides, moment};

/// `anyedge explain`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  anyedge explain topologies/two-pops.toml --from osaka --to game:web
  anyedge explain topologies/pop-down.toml --from osaka --to 203.0.113.10:80 --at 25s
  anyedge explain topologies/clb-node-down.toml --from osaka/3 --to game:80 --at 12s --source-port 20001
  anyedge explain topologies/global-14.toml --from paris --to game:web --json | jq -r .target

The file is run in the simulator with its loads and faults; at that time the client starts one flow more, which is
followed until its answer. Each step is what the node itself did with the packet, and what it went by: the POP by BGP, the
CLB node by the slot of the flow's hash in the table that is in force there, the target by the listener's rule and the
health that this node has found, the way back. Another source port is another flow.

Exit codes: 0 the client had its answer, 1 it had none or was refused, 2 bad input, 3 internal error.")]
pub(crate) struct ExplainArgs {
    /// The topology file
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// Who starts the flow: a client's city, and which of its hosts if not the first, such as osaka/3
    #[arg(long, value_name = "CITY[/HOST]")]
    pub(crate) from: String,
    /// Where to: a VIP by name or address, and a listener by name or port, such as game:web or 203.0.113.10:80
    #[arg(long, value_name = "VIP:PORT")]
    pub(crate) to: String,
    /// When, counted from the beginning of the run
    #[arg(long, value_name = "TIME", value_parser = moment, default_value = "1s")]
    pub(crate) at: Duration,
    /// The flow's source port
    #[arg(long, value_name = "PORT", default_value_t = SOURCE_PORT,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) source_port: u16,
    /// Root of all randomness [default: the file's, else 1]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// No progress on stderr
    #[arg(long, short)]
    pub(crate) quiet: bool,
}
