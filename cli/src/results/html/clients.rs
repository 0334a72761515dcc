//! Each city and load in a table that sorts by what one presses.

use anyedge_sim::report::{ClientReport, Latency, LoadReport};
use maud::{Markup, html};

use super::Page;
use super::figures::{count, digits, percent, seconds};
use super::losses::causes;
use super::map::shares;

/// The columns: what they are called, and whether they are figures. Those of [`DIRECT`] are there where something runs
/// over the direct path.
const COLUMNS: [(&str, bool); 15] = [
    ("city", false),
    ("load", false),
    ("POP", false),
    ("requests", true),
    ("answered", true),
    ("p50 ms", true),
    ("p90", true),
    ("p99", true),
    ("p99.9", true),
    ("direct p50", true),
    ("direct p99", true),
    ("gain ms", true),
    ("broken flows", true),
    ("longest gap", true),
    ("failed by", false),
];

const DIRECT: core::ops::Range<usize> = 9..12;

/// The section.
pub(super) fn section(page: &Page<'_>) -> Markup {
    let mut loads = page.report.clients.iter().flat_map(|client| &client.loads);
    let has_direct = loads.any(|load| load.service.direct_ms.is_some());
    let columns = COLUMNS.into_iter().enumerate();
    let columns = columns.filter(|(number, _)| has_direct || !DIRECT.contains(number));
    html! {
        section #cities {
            h2 { "Cities" }
            div .scroll {
                table .sorts {
                    thead { tr {
                        @for (_, (name, is_figure)) in columns {
                            th .figure[is_figure] aria-sort="none" { button type="button" { (name) } }
                        }
                    } }
                    tbody {
                        @for client in &page.report.clients {
                            @for load in &client.loads { (row(page, client, load, has_direct)) }
                        }
                    }
                }
            }
            p .note {
                "Press a column's name to sort by it."
                @if has_direct { " Gain: median of the direct path less median through the edge." }
                @if page.report.clients.iter().any(|client| client.gain_assumed) {
                    " * rests on a backbone link whose figures are assumed."
                }
            }
        }
    }
}

fn row(page: &Page<'_>, client: &ClientReport, load: &LoadReport, has_direct: bool) -> Markup {
    let service = &load.service;
    let requests = &service.requests;
    let ways: Vec<String> = shares(client)
        .map(|(pop, share)| format!("{pop} {:.1} %", share * 100.0))
        .collect();
    let own = |pick: fn(&Latency) -> f64| service.latency_ms.as_ref().map(pick);
    let direct = |pick: fn(&Latency) -> f64| service.direct_ms.as_ref().map(pick);
    let answered = requests.ok as f64 / requests.sent.max(1) as f64;
    html! {
        tr {
            td { b { (client.name) } }
            td { (load.kind) " " span .soft { (load.to) } }
            td title=(ways.join(", ")) {
                span class=(format!("dot {}", page.palette.pop(client.pop.as_deref()))) {}
                (client.pop.as_deref().unwrap_or("-"))
            }
            @match load.syns_sent {
                Some(syns) => td .figure data-v=(syns) { (count(syns)) " SYNs" },
                None => td .figure data-v=(requests.sent) { (count(requests.sent)) },
            }
            td .figure.bad[requests.ok < requests.sent] data-v=(format!("{answered:.6}")) { (percent(requests.ok, requests.sent)) }
            (millis(own(|latency| latency.p50)))
            (millis(own(|latency| latency.p90)))
            (millis(own(|latency| latency.p99)))
            (millis(own(|latency| latency.p999)))
            @if has_direct {
                (millis(direct(|latency| latency.p50)))
                (millis(direct(|latency| latency.p99)))
                (gain(service.gain_ms, client.gain_assumed))
            }
            td .figure.bad[load.broken_flows > 0] data-v=(load.broken_flows) { (count(load.broken_flows)) }
            td .figure data-v=(format!("{:.6}", load.gap_s)) { (seconds(load.gap_s)) }
            td { (causes(&requests.failed)) }
        }
    }
}

fn millis(value: Option<f64>) -> Markup {
    html! {
        @match value {
            Some(value) => td .figure data-v=(format!("{value:.3}")) { (digits(value)) },
            None => td .figure { "-" },
        }
    }
}

fn gain(gain: Option<f64>, assumed: bool) -> Markup {
    html! {
        @match gain {
            Some(gain) => td .figure.good[gain > 0.0].bad[gain < 0.0] data-v=(format!("{gain:.3}")) {
                (format!("{gain:+.1}")) @if assumed { "*" }
            },
            None => td .figure { "-" },
        }
    }
}
