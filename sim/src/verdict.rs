//! The verdict: each expectation of each service level against what was measured.
//!
//! Latency expectations are about intended latency. A percentile of no answers at all is kept by nothing:
//! a service that answers nobody has not been fast.

use core::time::Duration;

use anyedge_topologies::{Expectation, Metric, Slo, Threshold};
use anyedge_traffic::stats::Stats;

use crate::report::SloReport;

/// Judges `slo` by the account of its clients.
pub(crate) fn judge<'a>(slo: &'a Slo, stats: &'a Stats) -> impl Iterator<Item = SloReport> + 'a {
    slo.expect.iter().map(move |expectation| {
        let (measured, kept) = measure(expectation, stats);
        SloReport {
            of: slo.of.to_string(),
            expect: expectation.text.clone(),
            measured,
            kept,
        }
    })
}

fn measure(expectation: &Expectation, stats: &Stats) -> (String, bool) {
    let percentile = |quantile: f64| latency(expectation, stats, quantile);
    match expectation.metric {
        Metric::P50 => percentile(0.5),
        Metric::P90 => percentile(0.9),
        Metric::P99 => percentile(0.99),
        Metric::P999 => percentile(0.999),
        Metric::Max => percentile(1.0),
        Metric::Gap => duration(expectation, stats.longest_gap()),
        Metric::Success => share(expectation, stats),
        Metric::Failed => count(expectation, stats.failed_total()),
        Metric::Sent => count(expectation, stats.sent()),
        Metric::BrokenFlows => count(expectation, stats.broken_flows()),
    }
}

fn latency(expectation: &Expectation, stats: &Stats, quantile: f64) -> (String, bool) {
    if stats.intended().is_empty() {
        return ("no answers".to_owned(), false);
    }
    duration(
        expectation,
        Duration::from_nanos(stats.intended().value_at_quantile(quantile)),
    )
}

fn duration(expectation: &Expectation, measured: Duration) -> (String, bool) {
    let Threshold::Duration(threshold) = expectation.value else {
        unreachable!("the file's reader gives each metric a threshold of its kind");
    };
    let text = if measured < Duration::from_secs(1) {
        format!("{:.1}ms", measured.as_secs_f64() * 1e3)
    } else {
        format!("{:.2}s", measured.as_secs_f64())
    };
    (text, expectation.comparison.holds(measured, threshold))
}

fn share(expectation: &Expectation, stats: &Stats) -> (String, bool) {
    let Threshold::SharePpm(threshold) = expectation.value else {
        unreachable!("the file's reader gives each metric a threshold of its kind");
    };
    if stats.sent() == 0 {
        return ("no requests".to_owned(), false);
    }
    // Cross-multiplied: exact, so that 99.9 % of a million is not lost to rounding.
    let measured = u128::from(stats.ok()) * 1_000_000;
    let wanted = u128::from(threshold) * u128::from(stats.sent());
    let percent = stats.ok() as f64 * 100.0 / stats.sent() as f64;
    (
        format!("{percent:.3}%"),
        expectation.comparison.holds(measured, wanted),
    )
}

fn count(expectation: &Expectation, measured: u64) -> (String, bool) {
    let Threshold::Count(threshold) = expectation.value else {
        unreachable!("the file's reader gives each metric a threshold of its kind");
    };
    (
        measured.to_string(),
        expectation.comparison.holds(measured, threshold),
    )
}
