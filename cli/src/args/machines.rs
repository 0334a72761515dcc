//! The command line of what is for machines of their own: the doctor, bundles, files for other tools.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Overrides;

/// `anyedge doctor`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  anyedge doctor                                        what any node needs of its machine
  anyedge doctor two-pops.toml --name pop.tokyo         also the addresses, ports and ways of that node

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
