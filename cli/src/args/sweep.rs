//! The command line of `anyedge sweep` and `anyedge plot`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::duration;
use crate::sweep::{Seeds, Shard};

/// `anyedge sweep`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  anyedge sweep topologies/two-pops.toml --seeds 1..1000 --out runs
  anyedge sweep topologies/two-pops.toml --seeds 1..100 --set link.tokyo-guangzhou.loss=0,0.1%,1% --out runs
  anyedge sweep topologies/pop-down.toml --seeds 1..20,99 --set fault.0.at=5s,10s --set defaults.ccn.encap=gre,gre-udp \\
      --out runs --shard 3/16
  anyedge plot runs --x link.tokyo-guangzhou.loss --y 'client.osaka latency_ms.p99' --out loss.svg

Runs every seed under every combination of what is set, on all cores, and writes a Parquet file for each run. A run that is
there whole is not run again, so a sweep that was interrupted goes on where it was; more seeds and values may be added.

Exit codes: 0 service levels kept in all runs, 1 one broken in any, 2 bad input, 3 internal error.")]
pub(crate) struct SweepArgs {
    /// The topology file
    pub(crate) file: PathBuf,
    /// Roots of randomness: numbers and ranges with both of their ends, such as 1..1000 or 1..20,99 [default: the file's]
    #[arg(long, value_name = "A..B,..", value_parser = Seeds::parse)]
    pub(crate) seeds: Option<Seeds>,
    /// Sets a key of the file to each of these values, such as link.tokyo-guangzhou.loss=0,0.1%,1%; may be given several
    /// times, for each combination
    #[arg(long = "set", value_name = "KEY=VALUE,..")]
    pub(crate) set: Vec<String>,
    /// The folder of the results, a Parquet file for each run
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Runs at the same time [default: one for each core]
    #[arg(long, value_name = "COUNT")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Which part of the runs are this machine's, such as 3/16: together all shards are the whole
    #[arg(long, value_name = "I/N", value_parser = Shard::parse, default_value = "1/1")]
    pub(crate) shard: Shard,
    /// Simulated time in which clients send, such as 60s [default: the file's]
    #[arg(long, value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// What came of it as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// No progress on stderr
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// `anyedge plot`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  anyedge plot runs --x link.tokyo-guangzhou.loss --y 'client.osaka latency_ms.p99' --out loss.svg
  anyedge plot runs --x link.tokyo-guangzhou.loss --y latency_ms.p99 --by defaults.ccn.encap --band both --out encaps.svg
  anyedge plot runs --x seed --y packet_hops --out seeds.svg
  anyedge plot runs --x 'client.osaka requests.sent' --y 'client.osaka gap_s' --json

A column is one that the runs have (`seed`, or a key that was set), or a figure of the report: its object, a space and its
metric, as `anyedge sim --csv` has them. A metric alone is that of the run as a whole, else of every object that has it.")]
pub(crate) struct PlotArgs {
    /// The folder of a sweep
    pub(crate) folder: PathBuf,
    /// What to draw from left to right
    #[arg(long, value_name = "COLUMN")]
    pub(crate) x: String,
    /// What to draw from below to above
    #[arg(long, value_name = "METRIC")]
    pub(crate) y: String,
    /// A line for each value of this column
    #[arg(long, value_name = "COLUMN")]
    pub(crate) by: Option<String>,
    /// What the band about the mean is
    #[arg(long, value_enum, default_value_t = Band::Mean)]
    pub(crate) band: Band,
    /// The file to write
    #[arg(long, value_name = "FILE.svg", required_unless_present = "json")]
    pub(crate) out: Option<PathBuf>,
    /// The points as JSON on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a band says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Band {
    /// Where the mean is: 95 % confidence by Student's t
    Mean,
    /// Where eight runs of ten are: from the 10th percentile to the 90th
    Runs,
    /// One in the other
    Both,
}
