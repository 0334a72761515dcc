//! A load from this machine: the simulator's own clients on the kernel's sockets.
//!
//! Open loop: what is sent and when is settled before the first answer, so a slow network cannot make its own load
//! lighter, and latency counts from the time at which a request was due. The account is complete however the run ends.

use std::fs::File;
use std::future::Future;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use anyedge_net::host::Host as _;
use anyedge_net::time::Instant;
use anyedge_traffic::clients;
use anyedge_traffic::hgrm;
use anyedge_traffic::load::{Load, Share};
use anyedge_traffic::stats::{SharedStats, Stats};
use anyhow::{Context as _, Result};
use futures_util::future::{Either, select};
use hdrhistogram::Histogram;

use crate::foreground::{Foreground, asked_to_end};
use crate::lab::refused::Refused;

pub use anyedge_traffic::distance::kolmogorov_smirnov as apart;
pub use anyedge_traffic::load::{Arrivals, LoadKind, Rate};
pub use anyedge_traffic::stats::{ANSWERS_EVERY, Mark};

/// Between the call and the first request.
const START_AFTER: Duration = Duration::from_millis(100);
/// How often the caller is told how it goes.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Bytes of a request with its header.
const REQUEST_BYTES: u32 = 200;

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Where to.
    pub to: std::net::SocketAddr,
    /// What one unit of it is.
    pub kind: LoadKind,
    /// How often.
    pub rate: Rate,
    /// How the arrivals lie in time.
    pub arrivals: Arrivals,
    /// Bytes of an answer, a tick or a transfer.
    pub size: u64,
    /// What is not answered by then has failed.
    pub timeout: Duration,
    /// How long it goes on.
    pub duration: Duration,
    /// At most so many at a time.
    pub in_flight_max: u32,
}

/// How a load stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Since the first request was due.
    pub elapsed: Duration,
    /// Requests that were due.
    pub sent: u64,
    /// Those answered.
    pub ok: u64,
    /// Those that failed.
    pub failed: u64,
    /// Median and 99th percentile since the beginning, from the intended time, in ns.
    pub intended_nanos: [u64; 2],
}

/// What came of a load.
#[derive(Clone)]
pub struct Outcome {
    /// The account, closed.
    pub stats: Stats,
    /// How long requests were due.
    pub lasted: Duration,
    /// It was asked to end before its time.
    pub cut_short: bool,
}

impl Outcome {
    /// Writes the percentiles of intended latency into `file`, and those of actual latency beside it: into
    /// `out.actual.hgrm` for `out.hgrm`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_percentiles(&self, file: &Path) -> Result<()> {
        write(file, self.stats.intended())?;
        write(&file.with_extension("actual.hgrm"), self.stats.actual())
    }
}

fn write(path: &Path, latencies: &Histogram<u64>) -> Result<()> {
    let written = File::create(path).and_then(|file| {
        let mut file = BufWriter::new(file);
        hgrm::write(latencies, &mut file)?;
        file.flush()
    });
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Sends what is ordered and tells how it goes, until everything has an outcome or the process is asked to end.
///
/// # Errors
/// [`Refused`] when nothing such can be sent; else when the machine gives no socket.
pub fn run(order: &Order, tell: impl FnMut(&Progress)) -> Result<Outcome> {
    let foreground = Foreground::new("load")?;
    let host = foreground.host().clone();
    let start = host.now() + START_AFTER;
    let load = Load {
        stream: "load".to_owned(),
        kind: order.kind,
        rate: order.rate,
        arrivals: order.arrivals,
        size: order.size,
        sizes: None,
        bursts: None,
        request_size: REQUEST_BYTES,
        to: order.to,
        timeout: order.timeout,
        start,
        stop: start + order.duration,
        in_flight_max: order.in_flight_max,
    };
    load.check()
        .map_err(|error| Refused::because(error.to_string()))?;
    let stats = SharedStats::default();
    foreground.run(async {
        let asked = asked_to_end()?;
        clients::start(&host, &load, Share::WHOLE, &stats).context("cannot send this load")?;
        let cut_short = watch(&host, &load, &stats, asked, tell).await;
        let mut account = stats.lock();
        let now = host.now();
        account.close(now, load.stop);
        Ok(Outcome {
            lasted: now.min(load.stop) - start,
            stats: account.clone(),
            cut_short,
        })
    })
}

/// Waits until everything has an outcome; true when the process was asked to end before.
async fn watch(
    host: &crate::host::LiveHost,
    load: &Load,
    stats: &SharedStats,
    asked: impl Future<Output = ()>,
    mut tell: impl FnMut(&Progress),
) -> bool {
    let mut asked = std::pin::pin!(asked);
    let mut next = load.start + TELL_EVERY;
    loop {
        let end = load.stop + load.timeout;
        let wake = next.min(if host.now() < load.stop {
            load.stop
        } else {
            end
        });
        let woken = std::pin::pin!(host.sleep_until(wake));
        if let Either::Left(_) = select(asked.as_mut(), woken).await {
            return true;
        }
        let now = host.now();
        if now >= next {
            tell(&progress(load, stats, now));
            next = now + TELL_EVERY;
        }
        let is_done = now >= load.stop && stats.lock().unfinished() == 0;
        if is_done || now >= end {
            return false;
        }
    }
}

fn progress(load: &Load, stats: &SharedStats, now: Instant) -> Progress {
    let stats = stats.lock();
    let intended = stats.intended();
    Progress {
        elapsed: now - load.start,
        sent: stats.sent(),
        ok: stats.ok(),
        failed: stats.failed_total(),
        intended_nanos: [0.5, 0.99].map(|quantile| intended.value_at_quantile(quantile)),
    }
}
