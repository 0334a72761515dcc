//! A report as tables for people: clients, verdict, faults, losses, and how the run can be repeated.

use std::fmt::Write as _;

use anyedge_sim::report::{Latency, Report, Requests, Service};
use comfy_table::{CellAlignment, Table, presets};

/// The whole report.
pub(crate) fn render(report: &Report, links: bool) -> String {
    let mut text = String::new();
    headline(&mut text, report);
    clients(&mut text, report);
    assumed(&mut text, report);
    losses(&mut text, report);
    if links {
        link_table(&mut text, report);
    }
    faults(&mut text, report);
    verdict(&mut text, report);
    footer(&mut text, report);
    text
}

fn line(text: &mut String, content: &str) {
    text.push_str(content);
    text.push('\n');
}

fn table(header: &[&str], left_columns: usize) -> Table {
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
        "{}: {:.1} simulated seconds, {requests} requests, catchment: {}\n",
        report.topology, report.virtual_s, report.catchment
    );
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
            [] | [_] => {
                table.add_row(row(&client.name, pop, &client.service, client.gain_assumed));
            }
            // Requests and ticks in one percentile would say nothing about either.
            several => {
                for load in several {
                    let name = format!("{} {}", client.name, load.to);
                    table.add_row(row(&name, pop, &load.service, client.gain_assumed));
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
        failures(&service.requests),
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

fn failures(requests: &Requests) -> String {
    if requests.failed.is_empty() {
        return "0".to_owned();
    }
    requests
        .failed
        .iter()
        .map(|(cause, count)| format!("{count} {cause}"))
        .collect::<Vec<_>>()
        .join(", ")
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

fn faults(text: &mut String, report: &Report) {
    for fault in &report.faults {
        let _ = writeln!(text, "{:>8.3}s  {}", fault.at_s, fault.what);
    }
    if !report.faults.is_empty() {
        text.push('\n');
    }
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
        "Digest {} (seed {}), {} events, {} packet hops in {:.2} s; TCP: {}",
        report.digest,
        report.seed,
        report.events,
        report.packet_hops,
        report.wall_s,
        report.tcp_stack
    );
}
