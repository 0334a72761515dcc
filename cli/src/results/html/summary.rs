//! The head of the page: what was run, the verdict, and what one wants to know first.

use anyedge_sim::report::{ControlReport, Latency, Report};
use maud::{Markup, html};

use super::Page;
use super::figures::{count, digits, percent, seconds, short};
use super::losses::is_loss;

/// The head.
pub(super) fn head(page: &Page<'_>) -> Markup {
    let report = page.report;
    html! {
        header {
            p .brand { "anyedge " (report.version) }
            div .title {
                h1 { (report.topology) }
                (verdict(report))
            }
            @if let Some(text) = &page.topology.description { p .lead { (text) } }
            dl .facts {
                div { dt { "simulated" } dd { (digits(report.virtual_s)) " s" } }
                div { dt { "seed" } dd { (report.seed) } }
                div { dt { "topology hash" } dd { code { (report.topology_hash) } } }
                div { dt { "digest" } dd { code { (report.digest) } } }
                div { dt { "TCP" } dd { (report.tcp_stack) } }
                @for set in &report.overrides { div { dt { "set" } dd { code { (set) } } } }
            }
            div .tiles { (tiles(page)) }
        }
    }
}

fn verdict(report: &Report) -> Markup {
    let broken = report.slos.iter().filter(|slo| !slo.kept).count();
    html! {
        @if report.slos.is_empty() {
            span .badge.none { "no service level asked for" }
        } @else if broken == 0 {
            span .badge.good { "✓ all " (report.slos.len()) " service levels kept" }
        } @else {
            span .badge.bad { "✗ " (broken) " of " (report.slos.len()) " service levels broken" }
        }
    }
}

fn tiles(page: &Page<'_>) -> Markup {
    let report = page.report;
    let sent: u64 = report
        .clients
        .iter()
        .map(|it| it.service.requests.sent)
        .sum();
    let ok: u64 = report.clients.iter().map(|it| it.service.requests.ok).sum();
    let broken: u64 = report.clients.iter().map(|it| it.broken_flows).sum();
    let lost = report.drops.iter().filter(|(cause, _)| is_loss(cause));
    let lost: u64 = lost.map(|(_, packets)| packets).sum();
    let longest = report.clients.iter().filter(|it| it.gap_s > 0.0);
    let longest = longest.max_by(|a, b| a.gap_s.total_cmp(&b.gap_s));
    let gains = report.clients.iter().filter_map(|it| it.service.gain_ms);
    let mut gains: Vec<f64> = gains.collect();
    gains.sort_by(f64::total_cmp);
    let tile = |figure: String, what: &str, more: String| {
        html! {
            div .tile { b { (figure) } span { (what) } small { (more) } }
        }
    };
    html! {
        (tile(percent(ok, sent), "requests answered", format!("{} of {}", count(ok), count(sent))))
        @if !gains.is_empty() {
            @let faster = gains.iter().filter(|gain| **gain > 0.0).count();
            (tile(format!("{:+.1} ms", gains[gains.len() / 2]), "median gain", format!("faster than direct in {faster} of {}", gains.len())))
        }
        (tile(count(broken), "flows broken", format!("{} established", count(report.flows.established))))
        @if let Some(client) = longest {
            (tile(seconds(client.gap_s), "longest gap", client.name.clone()))
        }
        (tile(short(lost as f64), "packets lost", format!("of {} hops", short(report.packet_hops as f64))))
        (tile(count(page.topology.faults.len() as u64), "faults", format!("{} flows moved", count(report.flows.moved))))
    }
}

/// The service levels, each with its verdict.
pub(super) fn levels(page: &Page<'_>) -> Markup {
    let slos = &page.report.slos;
    html! {
        section #levels {
            h2 { "Service levels" }
            @if slos.is_empty() {
                p .note { "The file asks for none." }
            } @else {
                div .scroll { table .levels {
                    thead { tr { th { "" } th { "of" } th { "expected" } th { "measured" } } }
                    tbody {
                        @for slo in slos {
                            tr .broken[!slo.kept] {
                                td { @if slo.kept { span .good { "✓ kept" } } @else { span .bad { "✗ broken" } } }
                                td { (slo.of) }
                                td { code { (slo.expect) } }
                                td { (slo.measured) }
                            }
                        }
                    }
                } }
            }
        }
    }
}

/// How the controllers fared, where there are some.
pub(super) fn control(page: &Page<'_>) -> Markup {
    let Some(control) = &page.report.control else {
        return html! {};
    };
    html! {
        section #control {
            h2 { "Controllers" }
            dl .facts {
                (figures(control))
                (times("committed", control.commit_ms))
                (times("in force on every POP", control.in_force_ms))
            }
            @for (controller, why) in &control.stopped { p .bad { (controller) " stopped: " (why) } }
        }
    }
}

fn figures(control: &ControlReport) -> Markup {
    html! {
        @for (what, figure) in [
            ("controllers", control.controllers as u64),
            ("elections", control.elections),
            ("term", control.term),
            ("commands", control.commands),
            ("revisions", control.revisions),
            ("not in force at the end", control.not_in_force),
            ("tables refused", control.tables_refused),
        ] {
            div { dt { (what) } dd { (count(figure)) } }
        }
    }
}

fn times(what: &str, latency: Option<Latency>) -> Markup {
    html! {
        @if let Some(Latency { p50, p99, max, .. }) = latency {
            div { dt { (what) } dd { "p50 " (digits(p50)) ", p99 " (digits(p99)) ", at most " (digits(max)) " ms" } }
        }
    }
}
