//! Packets that ended otherwise than at their receiver, by cause and by link.

use std::collections::BTreeMap;

use anyedge_sim::report::{LinkReport, Report};
use maud::{Markup, html};

use super::Page;
use super::figures::{count, digits, percent};

/// Rows of the table of links at most: those that lost most.
const LINKS_MAX: usize = 400;

/// Whether a cause takes packets that somebody wanted elsewhere: probes, checks and entries end where they are meant to.
pub(super) fn is_loss(cause: &str) -> bool {
    !matches!(cause, "Probe" | "HealthCheck" | "Entries" | "RunEnded")
}

/// The section.
pub(super) fn section(page: &Page<'_>) -> Markup {
    let report = page.report;
    let (lost, taken): (Vec<_>, Vec<_>) =
        report.drops.iter().partition(|(cause, _)| is_loss(cause));
    html! {
        section #drops {
            h2 { "Packets lost" }
            @if lost.is_empty() {
                p .note { "None." }
            } @else {
                (bars(&lost, "lost"))
            }
            @if !taken.is_empty() {
                h3 { "Ended where they were meant to" }
                (bars(&taken, "taken"))
                p .note { "Probes, health checks and flow entries that nodes took in, and what was on its way when the run ended." }
            }
            (links(report))
            (assumed(report))
        }
    }
}

fn bars(causes: &[(&&'static str, &u64)], class: &str) -> Markup {
    let mut causes: Vec<(&str, u64)> = causes
        .iter()
        .map(|(cause, packets)| (**cause, **packets))
        .collect();
    causes.sort_by_key(|(cause, packets)| (core::cmp::Reverse(*packets), *cause));
    let most = causes
        .iter()
        .map(|(_, packets)| *packets)
        .max()
        .unwrap_or(1)
        .max(1);
    html! {
        div .bars {
            @for (cause, packets) in causes {
                div .bar-row {
                    span .bar-name { (cause) }
                    span .bar { span class=(format!("fill {class}")) style=(format!("width:{:.2}%", packets as f64 * 100.0 / most as f64)) {} }
                    span .bar-value { (count(packets)) }
                }
            }
        }
    }
}

fn links(report: &Report) -> Markup {
    let mut links: Vec<&LinkReport> = report.links.iter().collect();
    let lost = |link: &LinkReport| link.dropped.values().sum::<u64>();
    links.sort_by_key(|link| {
        (
            core::cmp::Reverse((lost(link), link.delivered)),
            link.name.as_str(),
        )
    });
    html! {
        details {
            summary { "Links (" (links.len()) ")" }
            div .scroll { table .sorts {
                thead { tr {
                    th { button type="button" { "link" } }
                    th .figure { button type="button" { "delivered" } }
                    th .figure { button type="button" { "MB" } }
                    th .figure { button type="button" { "lost" } }
                    th .figure { button type="button" { "share" } }
                    th { button type="button" { "causes" } }
                } }
                tbody {
                    @for link in links.iter().take(LINKS_MAX) {
                        @let lost = lost(link);
                        @let megabytes = link.delivered_bytes as f64 / 1e6;
                        tr {
                            td { (link.name) }
                            td .figure data-v=(link.delivered) { (count(link.delivered)) }
                            td .figure data-v=(link.delivered_bytes) { (digits(megabytes)) }
                            td .figure data-v=(lost) { (count(lost)) }
                            td .figure data-v=(format!("{:.6}", lost as f64 / (lost + link.delivered).max(1) as f64)) {
                                (percent(lost, lost + link.delivered))
                            }
                            td { (causes(&link.dropped)) }
                        }
                    }
                }
            } }
            @if links.len() > LINKS_MAX { p .note { "The " (LINKS_MAX) " that lost most." } }
        }
    }
}

/// Causes and how many each took, in one line.
pub(super) fn causes(of: &BTreeMap<&'static str, u64>) -> String {
    let told = of
        .iter()
        .map(|(cause, packets)| format!("{} {cause}", count(*packets)));
    told.collect::<Vec<_>>().join(", ")
}

fn assumed(report: &Report) -> Markup {
    if report.assumed_links.is_empty() {
        return html! {};
    }
    html! {
        details {
            summary { "Backbone links whose figures are assumed, not measured (" (report.assumed_links.len()) ")" }
            div .scroll { table {
                thead { tr { th { "link" } th .figure { "RTT ms" } th { "rests on" } } }
                tbody {
                    @for link in &report.assumed_links {
                        tr {
                            td { (link.name) }
                            td .figure { (digits(link.rtt_ms)) }
                            td { (link.source.as_deref().unwrap_or("-")) }
                        }
                    }
                }
            } }
        }
    }
}
