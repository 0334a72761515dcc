//! The command line of loads and of the server that answers them.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyedge_live::load::{Arrivals, LoadKind, Order, Rate};
use anyedge_topologies::units::{self, Frequency};
use clap::{Args, ValueEnum};

use super::{duration, understood};

/// `anyedge load`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  anyedge load --to 203.0.113.10:80 --rate 2000/s --duration 60s --hgrm out.hgrm
  anyedge load --to 203.0.113.10:7000 --kind tick --rate 30/s --size 200B
  anyedge load --to 203.0.113.10 --kind ping --rate 10/s
  anyedge load --to [2001:db8:113::10]:80 --kind bulk --rate 1/s --size 100MiB --json -
  anyedge lab exec client.osaka anyedge load --to 203.0.113.10:80 --rate 200/s

Open loop: requests are sent when they are due, whatever the answers do, and latency counts from then; `actual` counts
from when one was really sent. The same clients as in the simulator, so the other end is `anyedge serve`, or what a lab
runs as its demo backend. Ctrl-C ends the load early and tells what came of it.

Exit codes: 0 everything was answered, 1 something was not, 2 bad input, 3 internal error.")]
pub(crate) struct LoadArgs {
    /// Where to: a VIP and port; of pings a VIP alone will do
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = destination)]
    to: SocketAddr,
    /// What is sent
    #[arg(long, value_enum, default_value_t = Kind::Request)]
    kind: Kind,
    /// How often, such as 2000/s or 30/m
    #[arg(long, value_parser = rate, default_value = "10/s")]
    rate: Rate,
    /// How long
    #[arg(long, value_parser = duration, default_value = "10s")]
    duration: Duration,
    /// Bytes of an answer, a tick or a transfer [default: 10KiB, of a tick 200B, of a ping 56B, of bulk and upload 100MiB]
    #[arg(long, value_parser = size)]
    size: Option<u64>,
    /// What is not answered by then has failed; of bulk and upload, what makes no progress for so long
    #[arg(long, value_parser = duration, default_value = "10s")]
    timeout: Duration,
    /// How arrivals lie in time
    #[arg(long, value_enum, default_value_t = Spread::Poisson)]
    arrivals: Spread,
    /// At most so many at a time; more wait, and their latency grows meanwhile
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: u32,
    /// Writes percentiles in HdrHistogram's format: of intended latency into FILE, of actual beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) hgrm: Option<PathBuf>,
    /// Also writes what came of it as JSON, to a file or with `-` to stdout (and then no table)
    #[arg(long, value_name = "PATH|-")]
    pub(crate) json: Option<PathBuf>,
    /// No progress on stderr
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Kind {
    /// A request on a TCP connection of its own
    Request,
    /// The same on connections that are kept for the next ones
    KeepAlive,
    /// A UDP datagram that is echoed
    Tick,
    /// An ICMP echo, which a POP answers
    Ping,
    /// A download, as fast as TCP goes
    Bulk,
    /// An upload, as fast as TCP goes
    Upload,
}

/// How arrivals lie in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Spread {
    /// As independent users come
    Poisson,
    /// Evenly
    Fixed,
}

/// `anyedge serve`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  anyedge serve --listen 10.0.0.11:8080
  curl http://10.0.0.11:8080/ip          the client's address, as it arrived

Answers HTTP/1.1, the requests, transfers and ticks of `anyedge load`, and echoes other datagrams. One line a request on
stdout.")]
pub(crate) struct ServeArgs {
    /// Where it listens, with TCP and UDP; may be given several times
    #[arg(long, value_name = "ADDRESS:PORT", required = true)]
    pub(crate) listen: Vec<SocketAddr>,
}

impl LoadArgs {
    /// The load.
    pub(crate) fn order(&self) -> Order {
        const KIB: u64 = 1 << 10;
        const MIB: u64 = 1 << 20;
        let (kind, size) = match self.kind {
            Kind::Request => (LoadKind::Request, 10 * KIB),
            Kind::KeepAlive => (LoadKind::KeepAlive, 10 * KIB),
            Kind::Tick => (LoadKind::Tick, 200),
            Kind::Ping => (LoadKind::Ping, 56),
            Kind::Bulk => (LoadKind::Download { pace: 0 }, 100 * MIB),
            Kind::Upload => (LoadKind::Upload { pace: 0 }, 100 * MIB),
        };
        Order {
            to: self.to,
            kind,
            rate: self.rate,
            arrivals: match self.arrivals {
                Spread::Poisson => Arrivals::Poisson,
                Spread::Fixed => Arrivals::Fixed,
            },
            size: self.size.unwrap_or(size),
            timeout: self.timeout,
            duration: self.duration,
            in_flight_max: self.in_flight,
        }
    }
}

/// A socket's address; of an address alone the port is 0.
fn destination(text: &str) -> Result<SocketAddr, String> {
    let alone = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    let both = text.parse().or_else(|_| alone());
    both.map_err(|_| "such as 203.0.113.10:80 or [2001:db8:113::10]:80".to_owned())
}

fn rate(text: &str) -> Result<Rate, String> {
    let Frequency { count, per } = understood(units::frequency(text))?;
    Ok(Rate { count, per })
}

fn size(text: &str) -> Result<u64, String> {
    understood(units::bytes(text))
}
