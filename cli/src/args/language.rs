//! The command line of what is about the files themselves: their layout, their schema, files of other tools.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `anyedge fmt`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  anyedge fmt planned.toml                 lays it out, in place
  anyedge fmt --check topologies/*.toml    says which are laid out otherwise, and exits 1
  anyedge fmt - < planned.toml             from stdin to stdout

Comments stay, and values are written as they were.
Exit codes: 0 laid out, 1 with --check something is not, 2 bad input, 3 internal error.")]
pub(crate) struct FmtArgs {
    /// The files, or `-` for stdin
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Changes nothing, and says which files would be
    #[arg(long)]
    pub(crate) check: bool,
}

/// `anyedge schema`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  anyedge schema > anyedge.schema.json
  #:schema ./anyedge.schema.json           as the first line of a topology, for editors that know it")]
pub(crate) struct SchemaArgs {}

/// `anyedge import`
#[derive(Subcommand, Debug)]
pub(crate) enum ImportCommand {
    /// A network in GML, as the Internet Topology Zoo has them
    #[command(after_help = "\
Examples:
  anyedge import gml Abilene.gml --out abilene.toml
  anyedge import gml Abilene.gml --region Denver | anyedge fmt -

Each node with coordinates becomes a POP and a population of clients; one of them is the place of the region, and links
lead there over the shortest way along the edges.")]
    Gml(GmlArgs),
}

/// `anyedge import gml`
#[derive(Args, Debug)]
pub(crate) struct GmlArgs {
    /// The GML file
    pub(crate) file: PathBuf,
    /// The label of the node where the region is [default: the one with most edges]
    #[arg(long, value_name = "LABEL")]
    pub(crate) region: Option<String>,
    /// The topology file to write, which must not be there [default: stdout]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}
