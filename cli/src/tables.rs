//! A report as tables for people: clients, verdict, faults, losses, and how the run can be repeated.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyedge_sim::report::{Latency, ListenerReport, Report, Service};
use comfy_table::{CellAlignment, Table, presets};

/// The whole report.
pub(crate) fn render(report: &Report, links: bool) -> String {
    let mut text = String::new();
    headline(&mut text, report);
    clients(&mut text, report);
    assumed(&mut text, report);
    losses(&mut text, report);
    shares(&mut text, report);
    if links {
        link_table(&mut text, report);
    }
    faults(&mut text, report);
    control(&mut text, report);
    verdict(&mut text, report);
    footer(&mut text, report);
    text
}

fn line(text: &mut String, content: &str) {
    text.push_str(content);
    text.push('\n');
}

/// A table whose first columns are words, and the others figures.
pub(crate) fn table(header: &[&str], left_columns: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index >= left_columns {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn headline(text: &mut String, report: &Report) {
    let requests: u64 = report
        .clients
        .iter()
        .map(|client| client.service.requests.sent)
        .sum();
    let _ = writeln!(
        text,
        "{}: {:.1} simulated seconds, {requests} requests, catchment: {}",
        report.topology, report.virtual_s, report.catchment
    );
    for set in &report.overrides {
        let _ = writeln!(text, "with {set}");
    }
    text.push('\n');
}

fn clients(text: &mut String, report: &Report) {
    let mut table = table(
        &[
            "client",
            "POP",
            "requests",
            "failed",
            "p50 ms",
            "p90",
            "p99",
            "p99.9",
            "actual p50",
            "p99",
            "direct p50",
            "p99",
            "gain ms",
        ],
        2,
    );
    for client in &report.clients {
        let pop = client.pop.as_deref().unwrap_or("-");
        match client.loads.as_slice() {
            [load] if load.syns_sent.is_none() => {
                table.add_row(row(&client.name, pop, &client.service, client.gain_assumed));
            }
            // Requests and ticks in one percentile would say nothing about either.
            several => {
                for load in several {
                    let name = format!("{} {}", client.name, load.to);
                    let mut cells = row(&name, pop, &load.service, client.gain_assumed);
                    if let Some(syns) = load.syns_sent {
                        cells[2] = format!("{syns} SYNs");
                    }
                    table.add_row(cells);
                }
            }
        }
    }
    let _ = writeln!(text, "{table}");
    line(
        text,
        "Latency counts from the time at which a request was due; `actual` from when it was sent.",
    );
    if report.clients.iter().any(|client| client.gain_assumed) {
        line(
            text,
            "* the gain rests on a backbone link whose figures are assumed, see below.",
        );
    }
    text.push('\n');
}

/// What came of a load that was really sent.
pub(crate) fn load(service: &Service, lasted_s: f64, gap_s: f64) -> String {
    let mut table = table(
        &[
            "requests",
            "answered",
            "failed",
            "p50 ms",
            "p90",
            "p99",
            "p99.9",
            "max",
            "actual p50",
            "p99",
        ],
        0,
    );
    let requests = &service.requests;
    let show = |latency: &Option<Latency>, pick: fn(&Latency) -> f64| {
        latency
            .as_ref()
            .map_or_else(|| "-".to_owned(), |latency| format!("{:.3}", pick(latency)))
    };
    table.add_row([
        requests.sent.to_string(),
        requests.ok.to_string(),
        counts(&requests.failed),
        show(&service.latency_ms, |latency| latency.p50),
        show(&service.latency_ms, |latency| latency.p90),
        show(&service.latency_ms, |latency| latency.p99),
        show(&service.latency_ms, |latency| latency.p999),
        show(&service.latency_ms, |latency| latency.max),
        show(&service.actual_ms, |latency| latency.p50),
        show(&service.actual_ms, |latency| latency.p99),
    ]);
    let mut text = format!("{table}\n");
    line(
        &mut text,
        "Latency counts from the time at which a request was due; `actual` from when it was sent.",
    );
    line(
        &mut text,
        &format!("{lasted_s:.1} s, longest time without an answer {gap_s:.3} s"),
    );
    text
}

fn row(name: &str, pop: &str, service: &Service, gain_assumed: bool) -> Vec<String> {
    let show = |latency: &Option<Latency>, pick: fn(&Latency) -> f64| {
        latency
            .as_ref()
            .map_or_else(|| "-".to_owned(), |latency| format!("{:.1}", pick(latency)))
    };
    let gain = service.gain_ms.map_or_else(
        || "-".to_owned(),
        |gain| format!("{gain:+.1}{}", if gain_assumed { "*" } else { "" }),
    );
    vec![
        name.to_owned(),
        pop.to_owned(),
        service.requests.sent.to_string(),
        counts(&service.requests.failed),
        show(&service.latency_ms, |latency| latency.p50),
        show(&service.latency_ms, |latency| latency.p90),
        show(&service.latency_ms, |latency| latency.p99),
        show(&service.latency_ms, |latency| latency.p999),
        show(&service.actual_ms, |latency| latency.p50),
        show(&service.actual_ms, |latency| latency.p99),
        show(&service.direct_ms, |latency| latency.p50),
        show(&service.direct_ms, |latency| latency.p99),
        gain,
    ]
}

fn assumed(text: &mut String, report: &Report) {
    if report.assumed_links.is_empty() {
        return;
    }
    line(
        text,
        "Backbone links whose figures are assumed, not measured:",
    );
    let mut table = table(&["link", "source", "RTT ms"], 2);
    for link in &report.assumed_links {
        let source = link.source.clone().unwrap_or_default();
        table.add_row([link.name.clone(), source, format!("{:.1}", link.rtt_ms)]);
    }
    let _ = writeln!(text, "{table}\n");
}

/// Listeners whose new flows are not spread by weight, and by how much.
fn shares(text: &mut String, report: &Report) {
    let mut told = false;
    let many = |it: &&ListenerReport| it.opened >= 100 && it.imbalance >= 0.1;
    for listener in report.listeners.iter().filter(many) {
        let part = |opened: u64| opened as f64 * 100.0 / listener.opened as f64;
        let targets = listener.targets.iter().map(|it| {
            format!(
                "{} (weight {}) {:.0}%",
                it.target,
                it.weight,
                part(it.opened)
            )
        });
        let targets: Vec<String> = targets.collect();
        let _ = writeln!(
            text,
            "New flows of {}: {}; {:.0}% above its share by weight at most",
            listener.listener,
            targets.join(", "),
            listener.imbalance * 100.0,
        );
        told = true;
    }
    if told {
        text.push('\n');
    }
}

fn losses(text: &mut String, report: &Report) {
    if report.drops.is_empty() {
        line(text, "Packets lost: none\n");
        return;
    }
    let causes: Vec<String> = report
        .drops
        .iter()
        .map(|(cause, count)| format!("{cause} {count}"))
        .collect();
    let _ = writeln!(text, "Packets lost: {}\n", causes.join(", "));
}

fn link_table(text: &mut String, report: &Report) {
    let mut table = table(&["link", "dropped", "delivered"], 2);
    for link in &report.links {
        let causes: Vec<String> = link
            .dropped
            .iter()
            .map(|(cause, count)| format!("{count} {cause}"))
            .collect();
        table.add_row([
            link.name.clone(),
            causes.join(", "),
            link.delivered.to_string(),
        ]);
    }
    let _ = writeln!(text, "{table}\n");
}

/// The failover budget: each part as the time that it added, and their sum.
fn faults(text: &mut String, report: &Report) {
    if report.faults.is_empty() {
        return;
    }
    let mut table = table(
        &[
            "fault",
            "broken",
            "at s",
            "detected",
            "withdrawn",
            "moved",
            "recovered",
            "= s",
            "flows",
            "kept",
            "longest gap s",
        ],
        2,
    );
    for fault in &report.faults {
        let parts = [
            fault.detected_s,
            fault.withdrawn_s,
            fault.moved_s,
            fault.recovered_s,
        ];
        let seconds = |time: Option<f64>| time.map_or("-".to_owned(), |time| format!("{time:.3}"));
        let mut row = vec![
            fault.what.clone(),
            counts(&fault.flows_broken),
            format!("{:.3}", fault.at_s),
        ];
        row.extend(
            differences(parts)
                .map(|part| part.map_or("-".to_owned(), |part| format!("+{part:.3}"))),
        );
        row.extend([
            seconds(parts.into_iter().flatten().last()),
            fault.flows_established.to_string(),
            fault.flows_kept.to_string(),
            seconds(fault.gap_max_s),
        ]);
        table.add_row(row);
    }
    let _ = writeln!(text, "{table}");
    for fault in &report.faults {
        if let Some(why) = &fault.refused {
            let _ = writeln!(text, "{} was refused: {why}", fault.what);
        }
    }
    line(
        text,
        "Each part is the time that it adds to those before it; flows are those established when it began.\n",
    );
}

/// How the controllers fared.
fn control(text: &mut String, report: &Report) {
    let Some(control) = &report.control else {
        return;
    };
    let _ = writeln!(
        text,
        "Controllers: {}; {} elections, term {}; {} commands, {} revisions",
        control.controllers, control.elections, control.term, control.commands, control.revisions
    );
    let times = |latency: Latency| {
        let Latency { p50, p99, max, .. } = latency;
        format!("p50 {p50:.1} ms, p99 {p99:.1} ms, at most {max:.1} ms")
    };
    if let Some(commit) = control.commit_ms {
        let _ = writeln!(text, "  committed: {}", times(commit));
    }
    if let Some(in_force) = control.in_force_ms {
        let _ = writeln!(text, "  in force on every POP: {}", times(in_force));
    }
    for (count, what) in [
        (
            control.not_in_force,
            "revisions not in force on every POP at the end",
        ),
        (
            control.tables_refused,
            "tables of other nodes or paths that no forwarder was given",
        ),
    ] {
        if count > 0 {
            let _ = writeln!(text, "  {count} {what}");
        }
    }
    for (controller, why) in &control.stopped {
        let _ = writeln!(text, "  {controller} stopped: {why}");
    }
    text.push('\n');
}

/// What each time adds to the last one before it.
pub(crate) fn differences(times: [Option<f64>; 4]) -> [Option<f64>; 4] {
    let mut before = 0.0;
    times.map(|time| {
        let added = time? - before;
        before = time?;
        Some(added)
    })
}

fn counts(causes: &BTreeMap<&'static str, u64>) -> String {
    if causes.is_empty() {
        return "0".to_owned();
    }
    let causes = causes
        .iter()
        .map(|(cause, count)| format!("{count} {cause}"));
    causes.collect::<Vec<_>>().join(", ")
}

fn verdict(text: &mut String, report: &Report) {
    if report.slos.is_empty() {
        line(text, "Verdict: no service level is asked for");
        return;
    }
    let mut table = table(&["", "of", "expect", "measured"], 4);
    for slo in &report.slos {
        let mark = if slo.kept { "kept" } else { "BROKEN" };
        table.add_row([mark, &slo.of, &slo.expect, &slo.measured]);
    }
    let _ = writeln!(text, "{table}\n");
    let broken = report.slos.iter().filter(|slo| !slo.kept).count();
    let _ = match broken {
        0 => writeln!(
            text,
            "Verdict: all {} service levels kept",
            report.slos.len()
        ),
        _ => writeln!(
            text,
            "Verdict: {broken} of {} service levels BROKEN",
            report.slos.len()
        ),
    };
}

fn footer(text: &mut String, report: &Report) {
    let _ = write!(
        text,
        "Digest {} (seed {}), {} events, {} packet hops in {:.2} s with {:.0} MB; TCP: {}",
        report.digest,
        report.seed,
        report.events,
        report.packet_hops,
        report.wall_s,
        report.memory_peak_bytes as f64 / 1e6,
        report.tcp_stack
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_budget_add_up_to_the_whole() {
        for times in [
            [Some(0.3), Some(3.0), Some(3.25), Some(3.5)],
            [Some(0.5), None, None, Some(1.5)],
            [None, Some(10.0), Some(12.0), Some(12.0)],
        ] {
            let sum: f64 = differences(times).into_iter().flatten().sum();
            assert_eq!(Some(sum), times[3]);
        }
        assert_eq!(differences([None; 4]), [None; 4]);
    }
}
