//! Who got the new flows of each listener, beside what weights promise.

use anyedge_sim::report::ListenerReport;
use maud::{Markup, html};

use super::Page;
use super::figures::{count, percent};

/// The section.
pub(super) fn section(page: &Page<'_>) -> Markup {
    html! {
        section #shares {
            h2 { "Target shares" }
            @for listener in &page.report.listeners { (shares(listener)) }
            @if page.report.listeners.is_empty() {
                p .note { "No listener got a new flow." }
            } @else {
                p .note { "New flows by target; the mark is its share by weight, of the targets of its IP version." }
            }
        }
    }
}

fn shares(listener: &ListenerReport) -> Markup {
    let is_v6 = |target: &str| target.starts_with('[');
    let weights = |v6: bool| -> u64 {
        let own = listener.targets.iter().filter(|it| is_v6(&it.target) == v6);
        own.map(|it| u64::from(it.weight)).sum()
    };
    let opened = |v6: bool| -> u64 {
        let own = listener.targets.iter().filter(|it| is_v6(&it.target) == v6);
        own.map(|it| it.opened).sum()
    };
    let part = |own: u64, all: u64| own as f64 * 100.0 / all.max(1) as f64;
    let shares = listener.targets.iter().map(|it| {
        let v6 = is_v6(&it.target);
        let got = part(it.opened, opened(v6));
        (it, got, part(u64::from(it.weight), weights(v6)), opened(v6))
    });
    // Nobody comes over the other IP version: its targets have no share of nothing.
    let shares: Vec<_> = shares.filter(|(_, _, _, all)| *all > 0).collect();
    let widest = shares
        .iter()
        .map(|(_, got, due, _)| got.max(*due))
        .fold(1.0, f64::max);
    html! {
        h3 { (listener.listener) " " span .soft {
            (count(listener.opened)) " new flows; the fullest target has "
            (format!("{:.0} %", listener.imbalance * 100.0)) " more than its share"
        } }
        div .bars {
            @for (target, got, due, all) in &shares {
                div .bar-row {
                    span .bar-name { (target.target) span .soft { " weight " (target.weight) } }
                    span .bar {
                        span .fill.share style=(format!("width:{:.2}%", got * 100.0 / widest)) {}
                        span .due style=(format!("left:{:.2}%", (due * 100.0 / widest).min(99.5))) title=(format!("{due:.1} % by weight")) {}
                    }
                    span .bar-value { (percent(target.opened, *all)) span .soft { " " (count(target.opened)) } }
                }
            }
        }
    }
}
