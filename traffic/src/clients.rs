//! Load generators: the client end of every flow.
//!
//! [`start`] makes one host of a population send its share of a [`Load`]. Arrivals come from the
//! [`schedule`](crate::schedule) and are never held back by answers; only `in_flight_max` can make one
//! wait, and then its intended latency grows and its timeout runs all the same. When the load's `stop` has
//! passed and everything has an outcome, the tasks end by themselves.

mod deadline;
mod echoed;
mod pacer;
mod request_load;
mod syn_flood;
mod talk;
mod tick_load;
mod tick_window;

use std::io;

use anyedge_net::host::{Host, RawHost};

use crate::load::{Load, LoadKind, Share};
use crate::schedule::Schedule;
use crate::stats::SharedStats;
use echoed::{Datagrams, Pings, Way};
use pacer::Pacer;

/// Starts `share` of `load` on `host` and returns; outcomes are counted in `stats`. An error is about the
/// load itself (`InvalidInput`) or the host's socket; `Unsupported` for a flood of SYNs, which takes a
/// [`RawHost`]: see [`start_raw`].
pub fn start<H: Host>(host: &H, load: &Load, share: Share, stats: &SharedStats) -> io::Result<()> {
    load.check()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let pacer = Pacer::new(Schedule::on(host, load, share), load.timeout);
    match load.kind {
        LoadKind::Request | LoadKind::KeepAlive => {
            host.spawn(request_load::run(host.clone(), load, pacer, stats.clone()));
        }
        LoadKind::Download { .. }
        | LoadKind::Upload { .. }
        | LoadKind::Idle { .. }
        | LoadKind::HalfClosed { .. } => {
            stats.lock().judge_gaps_within_flows();
            host.spawn(request_load::run(host.clone(), load, pacer, stats.clone()));
        }
        LoadKind::SynFlood => {
            let reason = "a flood of SYNs needs a host that may spoof its source: only the simulator has one";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        LoadKind::Tick => {
            let way = Datagrams::open(host, load.to)?;
            start_ticks(host, load, way, pacer, stats);
        }
        LoadKind::Ping => {
            let way = Pings::open(host, load.to.ip())?;
            start_ticks(host, load, way, pacer, stats);
        }
    }
    Ok(())
}

fn start_ticks<H: Host, W: Way>(host: &H, load: &Load, way: W, pacer: Pacer, stats: &SharedStats) {
    let ticks = tick_load::run(host.clone(), load, way, pacer, stats.clone());
    host.spawn(ticks);
}

/// As [`start`], for a host that may also send floods of SYNs.
pub fn start_raw<H: RawHost>(
    host: &H,
    load: &Load,
    share: Share,
    stats: &SharedStats,
) -> io::Result<()> {
    if load.kind == LoadKind::SynFlood {
        load.check()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let schedule = Schedule::on(host, load, share);
        host.spawn(syn_flood::run(host.clone(), load, schedule, stats.clone()));
        return Ok(());
    }
    start(host, load, share, stats)
}
