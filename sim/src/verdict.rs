//! The verdict: each expectation of each service level against what was measured.
//!
//! Latency expectations are about intended latency. A percentile of no answers at all is kept by nothing:
//! a service that answers nobody has not been fast. Nor is the time of a fault that had no such time, and the worst of
//! several faults is one that has none.

use core::time::Duration;

use anyedge_net::time::Instant;
use anyedge_topologies::{Expectation, Metric, Slo, SloOf, Threshold, Topology};
use anyedge_traffic::stats::{Span, Stats};
use hdrhistogram::Histogram;

use crate::report::{FaultReport, ListenerReport, SloReport};

const OF_ITS_KIND: &str = "the file's reader gives each metric a threshold of its kind";
const OF_ITS_SUBJECT: &str = "the file's reader gives each subject metrics of its own";

/// The parts of the run that service levels are about, each once.
pub(crate) fn spans(topology: &Topology) -> Vec<Span> {
    let mut spans: Vec<Span> = topology.slos.iter().filter_map(span).collect();
    spans.sort_unstable();
    spans.dedup();
    spans
}

/// The part of the run that a service level is about; `None`: all of it.
pub(crate) fn span(slo: &Slo) -> Option<Span> {
    slo.window.map(|window| Span {
        from: Instant::ZERO + window.from,
        to: Instant::ZERO + window.to,
    })
}

/// What clients were given within the time that counts.
struct Judged<'a> {
    sent: u64,
    ok: u64,
    broken_flows: u64,
    intended: &'a Histogram<u64>,
    gap: Duration,
}

/// Judges a service level by the account of its clients.
pub(crate) fn clients(slo: &Slo, stats: &Stats) -> Vec<SloReport> {
    let within = span(slo);
    let mut windows = stats.windows().iter();
    let window = windows.find(|window| Some(window.span) == within);
    let empty = Stats::default();
    // Clients of which none sent anything have no window.
    let stats = if within.is_some() { &empty } else { stats };
    let judged = window.map_or(
        Judged {
            sent: stats.sent(),
            ok: stats.ok(),
            broken_flows: stats.broken_flows(),
            intended: stats.intended(),
            gap: stats.longest_gap(),
        },
        |window| Judged {
            sent: window.sent,
            ok: window.ok,
            broken_flows: window.broken_flows,
            intended: &window.intended,
            gap: window.longest_gap,
        },
    );
    all(slo, |expectation| measure(expectation, &judged))
}

/// Judges a service level by the new flows of its listener.
pub(crate) fn listener(slo: &Slo, listeners: &[ListenerReport]) -> Vec<SloReport> {
    let own = listeners
        .iter()
        .find(|own| own.listener == slo.of.to_string());
    all(slo, |expectation| {
        let opened = own.map_or(0, |own| own.opened);
        match (expectation.metric, own) {
            (Metric::Opened, _) => count(expectation, opened),
            (_, None) => ("no flows".to_owned(), false),
            (Metric::Imbalance, Some(own)) => {
                let ppm = (own.imbalance * 1e6).round() as u64;
                share(expectation, ppm, 1_000_000, "no flows")
            }
            (Metric::Share(wanted), Some(own)) => {
                let targets = own.targets.iter();
                let meant = targets.filter(|it| it.target.parse().is_ok_and(|at| wanted.is(at)));
                let part = meant.map(|target| target.opened).sum();
                share(expectation, part, opened, "no flows")
            }
            _ => unreachable!("{OF_ITS_SUBJECT}"),
        }
    })
}

/// Judges a service level by what came of its fault, or of the one that fared worst.
pub(crate) fn faults(slo: &Slo, faults: &[FaultReport]) -> Vec<SloReport> {
    let own = |fault: &&FaultReport| {
        fault.begins
            && match slo.of {
                SloOf::Fault(number) => fault.fault == number,
                _ => true,
            }
    };
    all(slo, |expectation| {
        let told = faults.iter().filter(own);
        let told: Vec<(String, bool)> = told.map(|fault| of_fault(expectation, fault)).collect();
        let broken = told.iter().find(|(_, kept)| !kept).or(told.last());
        let never = || ("did not happen".to_owned(), false);
        broken.cloned().unwrap_or_else(never)
    })
}

fn of_fault(expectation: &Expectation, fault: &FaultReport) -> (String, bool) {
    let time = |seconds: Option<f64>, none: &str| match seconds {
        Some(seconds) => duration(expectation, Duration::from_secs_f64(seconds)),
        None => (none.to_owned(), false),
    };
    let broken = fault.flows_broken.values().sum();
    match expectation.metric {
        Metric::Detected => time(fault.detected_s, "nobody noticed"),
        Metric::Withdrawn => time(fault.withdrawn_s, "nothing was withdrawn"),
        Metric::Failover => time(fault.moved_s, "no flow moved"),
        Metric::Recovery => time(fault.recovered_s, "no flow was kept"),
        Metric::Gap => time(fault.gap_max_s, "no flow was kept"),
        Metric::BrokenFlows => count(expectation, broken),
        Metric::Kept => share(
            expectation,
            fault.flows_kept,
            fault.flows_established,
            "no flows",
        ),
        _ => unreachable!("{OF_ITS_SUBJECT}"),
    }
}

/// Each expectation with what `measured` says of it.
fn all(slo: &Slo, measured: impl Fn(&Expectation) -> (String, bool)) -> Vec<SloReport> {
    let of = match slo.window {
        Some(window) => format!("{}, {:?} to {:?}", slo.of, window.from, window.to),
        None => slo.of.to_string(),
    };
    let report = |expectation: &Expectation| {
        let (measured, kept) = measured(expectation);
        SloReport {
            of: of.clone(),
            expect: expectation.text.clone(),
            measured,
            kept,
        }
    };
    slo.expect.iter().map(report).collect()
}

fn measure(expectation: &Expectation, judged: &Judged<'_>) -> (String, bool) {
    let percentile = |quantile: f64| latency(expectation, judged.intended, quantile);
    match expectation.metric {
        Metric::P50 => percentile(0.5),
        Metric::P90 => percentile(0.9),
        Metric::P99 => percentile(0.99),
        Metric::P999 => percentile(0.999),
        Metric::Max => percentile(1.0),
        Metric::Gap => duration(expectation, judged.gap),
        Metric::Success => share(expectation, judged.ok, judged.sent, "no requests"),
        Metric::Failed => count(expectation, judged.sent - judged.ok),
        Metric::Sent => count(expectation, judged.sent),
        Metric::BrokenFlows => count(expectation, judged.broken_flows),
        _ => unreachable!("{OF_ITS_SUBJECT}"),
    }
}

fn latency(expectation: &Expectation, intended: &Histogram<u64>, quantile: f64) -> (String, bool) {
    if intended.is_empty() {
        return ("no answers".to_owned(), false);
    }
    let nanos = intended.value_at_quantile(quantile);
    duration(expectation, Duration::from_nanos(nanos))
}

fn duration(expectation: &Expectation, measured: Duration) -> (String, bool) {
    let Threshold::Duration(threshold) = expectation.value else {
        unreachable!("{OF_ITS_KIND}");
    };
    let text = if measured < Duration::from_secs(1) {
        format!("{:.1}ms", measured.as_secs_f64() * 1e3)
    } else {
        format!("{:.2}s", measured.as_secs_f64())
    };
    (text, expectation.comparison.holds(measured, threshold))
}

/// A part of a whole; `none` says that there is no whole.
fn share(expectation: &Expectation, part: u64, whole: u64, none: &str) -> (String, bool) {
    let Threshold::SharePpm(threshold) = expectation.value else {
        unreachable!("{OF_ITS_KIND}");
    };
    if whole == 0 {
        return (none.to_owned(), false);
    }
    // Cross-multiplied: exact, so that 99.9 % of a million is not lost to rounding.
    let measured = u128::from(part) * 1_000_000;
    let wanted = u128::from(threshold) * u128::from(whole);
    let percent = part as f64 * 100.0 / whole as f64;
    (
        format!("{percent:.3}%"),
        expectation.comparison.holds(measured, wanted),
    )
}

fn count(expectation: &Expectation, measured: u64) -> (String, bool) {
    let Threshold::Count(threshold) = expectation.value else {
        unreachable!("{OF_ITS_KIND}");
    };
    (
        measured.to_string(),
        expectation.comparison.holds(measured, threshold),
    )
}
