//! A run's report as one page of HTML that needs nothing else: no network, no file beside it.
//!
//! All text of the topology goes through the template's escaping; nothing of it is ever part of a script or a style.
//! The page holds nothing of the machine that wrote it and no time of the day: the same run gives the same bytes.
//! Drawings are SVG at the width of a screen and, where letters would become too small, once more at that of a phone.

mod clients;
mod curves;
mod faults;
mod figures;
mod globe;
mod labels;
mod losses;
mod map;
mod palette;
mod ranges;
mod scale;
mod shares;
mod summary;
mod timeline;

use anyedge_sim::report::Report;
use anyedge_topologies::Topology;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use palette::Palette;

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/script.js");
/// Nothing is fetched from anywhere, whatever the page may hold.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// The sections that one can go to, by their ids.
const SECTIONS: [(&str, &str); 8] = [
    ("map", "Map"),
    ("levels", "Service levels"),
    ("latency", "Latency"),
    ("timeline", "Timeline"),
    ("budget", "Failover"),
    ("cities", "Cities"),
    ("shares", "Targets"),
    ("drops", "Losses"),
];

/// What every section draws from.
struct Page<'a> {
    topology: &'a Topology,
    report: &'a Report,
    palette: Palette,
}

/// What a drawing is made for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Medium {
    /// A screen.
    Wide,
    /// A phone.
    Narrow,
}

impl Medium {
    /// Width of a drawing, in units that are pixels there.
    const fn width(self) -> f64 {
        match self {
            Medium::Wide => 1_166.0,
            Medium::Narrow => 344.0,
        }
    }
}

/// A drawing for each medium, of which one is seen.
fn both(draw: impl Fn(Medium) -> Markup) -> Markup {
    html! {
        div .wide { (draw(Medium::Wide)) }
        div .narrow { (draw(Medium::Narrow)) }
    }
}

/// The whole page.
pub(super) fn text(topology: &Topology, report: &Report) -> String {
    let page = Page {
        topology,
        report,
        palette: Palette::of(topology),
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content=(format!("anyedge {}", report.version));
                title { (report.topology) " · anyedge" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    (summary::head(&page))
                    nav aria-label="Sections" {
                        @for (id, name) in SECTIONS { a href=(format!("#{id}")) { (name) } }
                    }
                    (map::section(&page))
                    (summary::levels(&page))
                    (curves::section(&page))
                    (timeline::section(&page))
                    (faults::section(&page))
                    (clients::section(&page))
                    (shares::section(&page))
                    (losses::section(&page))
                    (summary::control(&page))
                    footer { p { "Land: Natural Earth, public domain. The same topology, seed and version give the same page." } }
                }
                div #tip role="status" hidden {}
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

#[cfg(test)]
mod tests;
