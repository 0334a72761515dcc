//! The command line of what is for machines of their own: the doctor, bundles, files for other tools.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::control::SecurityArgs;
use super::{Overrides, duration};

/// `anyedge doctor`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  anyedge doctor                                        what any node needs of its machine
  anyedge doctor two-pops.toml --name pop.tokyo         also the addresses, ports and ways of that node
  anyedge doctor --server 10.0.0.1:7000 --cert node.pem --key node.key --ca ca.pem
                                                        also how far its clock is from the controllers'

Controllers and certificates are found as by `anyedge ctl`; without any their clocks are not looked at.
Exit codes: 0 a node would work, 1 something is bad, 2 bad input.")]
pub(crate) struct DoctorArgs {
    /// The topology file
    #[arg(requires = "name")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// The node that this machine shall be, as in the file
    #[arg(long, requires = "file")]
    pub(crate) name: Option<String>,
    /// A controller, to compare clocks with; may be said more than once
    #[arg(long, value_name = "ADDRESS:PORT", value_delimiter = ',')]
    pub(crate) server: Vec<String>,
    #[command(flatten)]
    pub(crate) security: SecurityArgs,
    /// How long a controller may take to answer
    #[arg(long, value_parser = duration, default_value = "3s", value_name = "TIME")]
    pub(crate) timeout: Duration,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `anyedge bundle`
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  anyedge bundle two-pops.toml --out bundle --controllers a=10.0.0.1:7300,b=10.0.0.2:7300,c=10.0.0.3:7300

Each folder of bundle/hosts is for one machine, and holds its keys; bundle/README.md says what to do with it.")]
pub(crate) struct BundleArgs {
    /// The topology file
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// The folder to make
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Where controllers listen [default: port 7300 of the management addresses that the file gives them]
    #[arg(long, value_name = "NAME=ADDRESS:PORT,..", value_delimiter = ',', value_parser = named)]
    pub(crate) controllers: Vec<(String, SocketAddr)>,
}

/// `anyedge export`
#[derive(Subcommand, Debug)]
pub(crate) enum ExportCommand {
    /// Writes a .clab.yml, for labs of containers over several machines
    #[command(after_help = "\
Example:
  anyedge bundle two-pops.toml --out bundle
  anyedge export containerlab two-pops.toml --out two-pops.clab.yml
  containerlab deploy -t two-pops.clab.yml")]
    Containerlab {
        /// The topology file
        file: PathBuf,
        #[command(flatten)]
        overrides: Overrides,
        /// Where to write it [default: stdout]
        #[arg(long, value_name = "PATH")]
        out: Option<PathBuf>,
    },
}

fn named(text: &str) -> Result<(String, SocketAddr), String> {
    let wrong = || format!("`{text}` is none: such as a=10.0.0.1:7300");
    let (name, address) = text.split_once('=').ok_or_else(wrong)?;
    let name = name.strip_prefix("controller.").unwrap_or(name);
    Ok((name.to_owned(), address.parse().map_err(|_| wrong())?))
}
