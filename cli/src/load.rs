//! `anyedge load` and `anyedge serve`: the two ends of a flow, on this machine's own sockets.

use std::io::{self, Write as _};
use std::path::Path;

use anyedge_live::backend;
use anyedge_live::load::{self, LoadKind, Outcome, Progress};
use anyedge_sim::report::Service;
use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::args::{LoadArgs, ServeArgs};
use crate::exit::Exit;
use crate::mistakes::{complain, failed, say};
use crate::tables;

/// What came of a load, as JSON.
#[derive(Serialize)]
struct Report {
    /// How long requests were due.
    lasted_s: f64,
    /// It was ended before its time.
    cut_short: bool,
    #[serde(flatten)]
    service: Service,
    /// Flows that died after they were established.
    broken_flows: u64,
    /// Longest time without an answer; of transfers, without a byte that one of them wanted.
    gap_s: f64,
}

/// Sends a load and tells what came of it.
pub(crate) fn run(args: &LoadArgs) -> Exit {
    let order = args.order();
    if order.to.port() == 0 && order.kind != LoadKind::Ping {
        complain(
            "--to needs a port, such as 203.0.113.10:80; only a ping goes to an address alone",
        );
        return Exit::BadInput;
    }
    let outcome = load::run(&order, |progress| {
        if !args.quiet {
            show(progress);
        }
    });
    match outcome.and_then(|outcome| publish(args, &outcome)) {
        Ok(true) => Exit::Kept,
        Ok(false) => Exit::Broken,
        Err(error) => failed(&error),
    }
}

/// Serves until it is asked to end.
pub(crate) fn serve(args: &ServeArgs) -> Exit {
    backend::serve_until_asked(&args.listen).map_or_else(|error| failed(&error), |()| Exit::Kept)
}

/// Writes the account; true when everything was answered.
fn publish(args: &LoadArgs, outcome: &Outcome) -> Result<bool> {
    let stats = &outcome.stats;
    if let Some(file) = &args.hgrm {
        outcome.write_percentiles(file)?;
    }
    let report = Report {
        lasted_s: outcome.lasted.as_secs_f64(),
        cut_short: outcome.cut_short,
        service: Service::of(stats, None),
        broken_flows: stats.broken_flows(),
        gap_s: stats.longest_gap().as_secs_f64(),
    };
    let json = || serde_json::to_string_pretty(&report).context("the account as JSON");
    let table = || tables::load(&report.service, report.lasted_s, report.gap_s);
    match args.json.as_deref() {
        Some(path) if path == Path::new("-") => say(&(json()? + "\n")),
        Some(path) => {
            std::fs::write(path, json()? + "\n")
                .with_context(|| format!("cannot write {}", path.display()))?;
            say(&table());
        }
        None => say(&table()),
    }
    Ok(stats.failed_total() == 0)
}

fn show(progress: &Progress) {
    let Progress {
        elapsed,
        sent,
        ok,
        failed,
        intended_nanos: [p50, p99],
    } = *progress;
    let millis = |nanos: u64| nanos as f64 / 1e6;
    let line = format!(
        "{:>4.0} s  {sent} sent, {ok} answered, {failed} failed; p50 {:.3} ms, p99 {:.3} ms",
        elapsed.as_secs_f64(),
        millis(p50),
        millis(p99)
    );
    let _ = writeln!(io::stderr().lock(), "{line}");
}
