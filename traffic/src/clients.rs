//! Load generators: the client end of every flow.
//!
//! [`start`] makes one host of a population send its share of a [`Load`]. Arrivals come from the
//! [`schedule`](crate::schedule) and are never held back by answers; only `in_flight_max` can make one
//! wait, and then its intended latency grows and its timeout runs all the same. When the load's `stop` has
//! passed and everything has an outcome, the tasks end by themselves.

mod deadline;
mod pacer;
mod request_load;
mod talk;
mod tick_load;
mod tick_window;

use std::io;

use anyedge_net::host::Host;

use crate::load::{Load, LoadKind, Share};
use crate::schedule::Schedule;
use crate::stats::SharedStats;
use pacer::Pacer;

/// Starts `share` of `load` on `host` and returns; outcomes are counted in `stats`. An error is about the
/// load itself (`InvalidInput`) or the host's socket.
pub fn start<H: Host>(host: &H, load: &Load, share: Share, stats: &SharedStats) -> io::Result<()> {
    load.check()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let pacer = Pacer::new(Schedule::on(host, load, share), load.timeout);
    match load.kind {
        LoadKind::Request => {
            host.spawn(request_load::run(host.clone(), load, pacer, stats.clone()));
        }
        LoadKind::Download { .. }
        | LoadKind::Upload { .. }
        | LoadKind::Idle { .. }
        | LoadKind::HalfClosed { .. } => {
            stats.lock().judge_gaps_within_flows();
            host.spawn(request_load::run(host.clone(), load, pacer, stats.clone()));
        }
        LoadKind::Tick => host.spawn(tick_load::run(host.clone(), load, pacer, stats.clone())?),
    }
    Ok(())
}
