//! The failover budget: what of each fault's time went into noticing, withdrawing, moving and recovering.

use anyedge_sim::report::FaultReport;
use maud::{Markup, html};

use super::Page;
use super::figures::{count, digits, seconds};
use super::losses::causes;
use crate::tables::differences;

/// The parts of the budget, in their order.
const PARTS: [&str; 4] = ["detected", "withdrawn", "moved", "recovered"];

/// The section.
pub(super) fn section(page: &Page<'_>) -> Markup {
    let faults = &page.report.faults;
    let longest = faults.iter().filter_map(total).fold(1e-6, f64::max);
    html! {
        section #budget {
            h2 { "Failover budget" }
            @if faults.is_empty() {
                p .note { "Nothing was done to the network." }
            } @else {
                p .key { @for part in PARTS { span .item { span class=(format!("dot part {part}")) {} (part) } } }
                @for fault in faults { (row(fault, longest)) }
                p .note { "Each part is the time that it adds to those before it. Flows are those that were established when it began." }
            }
        }
    }
}

fn times(fault: &FaultReport) -> [Option<f64>; 4] {
    [
        fault.detected_s,
        fault.withdrawn_s,
        fault.moved_s,
        fault.recovered_s,
    ]
}

fn total(fault: &FaultReport) -> Option<f64> {
    times(fault).into_iter().flatten().last()
}

fn row(fault: &FaultReport, longest: f64) -> Markup {
    let parts = PARTS.into_iter().zip(differences(times(fault)));
    let parts =
        parts.filter_map(|(part, added)| Some((part, added.filter(|added| *added >= 0.000_5)?)));
    let parts: Vec<(&str, f64)> = parts.collect();
    html! {
        div .fault-row {
            div .fault-what { b { (fault.what) } span .soft { " at " (digits(fault.at_s)) " s" } }
            div .stack {
                @for (part, added) in &parts {
                    @let share = added * 100.0 / longest;
                    span class=(format!("part {part}")) style=(format!("width:{share:.2}%")) title=(format!("{part}: +{}", seconds(*added))) {
                        @if share > 9.0 { (seconds(*added)) }
                    }
                }
                @if parts.is_empty() { span .nothing { "no sign of it" } }
            }
            div .fault-total { @if let Some(total) = total(fault) { (seconds(total)) } @else { "-" } }
            div .fault-told {
                @for (part, added) in &parts { span { (part) " +" (seconds(*added)) } }
                @if let Some(router) = fault.router_s { span { "router " (seconds(router)) } }
                (flows(fault))
            }
        }
    }
}

fn flows(fault: &FaultReport) -> Markup {
    html! {
        span { (count(fault.flows_established)) " flows, " (count(fault.flows_kept)) " kept" }
        @if !fault.flows_broken.is_empty() { span .bad { "broken: " (causes(&fault.flows_broken)) } }
        @if fault.flows_handshaking > 0 { span { (count(fault.flows_handshaking)) " in handshake" } }
        @if let Some(gap) = fault.gap_max_s { span { "longest gap " (seconds(gap)) } }
        @if let Some(why) = &fault.refused { span .bad { "refused: " (why) } }
    }
}
