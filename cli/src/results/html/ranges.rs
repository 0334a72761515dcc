//! City by city, from the median to the 99th percentile: through the edge and over the direct path, on one axis.

use anyedge_sim::report::{ClientReport, Latency, LoadReport, Report};
use maud::{Markup, html};

use super::figures::{at, digits};
use super::scale::Scale;
use super::{Medium, both};

/// Rows at most; of more, those that gain most and those that gain least.
const ROWS_MAX: usize = 48;
const ROW: f64 = 17.0;

/// A city's load and its latencies.
struct Row<'a> {
    name: String,
    edge: &'a Latency,
    direct: Option<&'a Latency>,
}

impl Row<'_> {
    /// What the edge gains; where nothing is compared, how slow it is.
    fn rank(&self) -> f64 {
        self.direct
            .map_or(-self.edge.p50, |direct| direct.p50 - self.edge.p50)
    }

    fn all(&self) -> impl Iterator<Item = (&'static str, &Latency)> {
        let direct = self.direct.map(|direct| ("direct", direct));
        direct.into_iter().chain([("edge", self.edge)])
    }
}

/// The drawing, for both media.
pub(super) fn ranges(report: &Report) -> Markup {
    let loads = report
        .clients
        .iter()
        .flat_map(|client| client.loads.iter().map(move |load| (client, load)));
    let mut rows: Vec<Row<'_>> = loads
        .filter_map(|(client, load)| row(client, load))
        .collect();
    if rows.len() < 2 {
        return html! {};
    }
    rows.sort_by(|a, b| {
        b.rank()
            .total_cmp(&a.rank())
            .then_with(|| a.name.cmp(&b.name))
    });
    let left_out = rows.len().saturating_sub(ROWS_MAX);
    rows.drain(ROWS_MAX.min(rows.len()) / 2..ROWS_MAX.min(rows.len()) / 2 + left_out);
    let has_direct = rows.iter().any(|row| row.direct.is_some());
    html! {
        h3 { "By city " span .soft {
            "median to 99th percentile, ms"
            @if has_direct { "; what gains most by the edge comes first" } @else { "; the fastest first" }
        } }
        (both(|medium| drawing(&rows, medium)))
        @if left_out > 0 { p .note { (left_out) " cities between are left out; all are in the table." } }
    }
}

fn row<'a>(client: &ClientReport, load: &'a LoadReport) -> Option<Row<'a>> {
    let kind = if client.loads.len() > 1 {
        format!(" {}", load.kind)
    } else {
        String::new()
    };
    Some(Row {
        name: format!("{}{kind}", client.name),
        edge: load.service.latency_ms.as_ref()?,
        direct: load.service.direct_ms.as_ref(),
    })
}

fn drawing(rows: &[Row<'_>], medium: Medium) -> Markup {
    let (left, letters, about) = match medium {
        Medium::Wide => (150.0, 24, 12),
        Medium::Narrow => (96.0, 13, 4),
    };
    let width = medium.width();
    let all = || rows.iter().flat_map(Row::all).map(|(_, latency)| latency);
    let low = all()
        .map(|latency| latency.p50)
        .fold(f64::MAX, f64::min)
        .max(0.001);
    let high = all().map(|latency| latency.p99).fold(low * 2.0, f64::max);
    let x = Scale::log((low * 0.9, high * 1.1), (left, width - 58.0));
    let bottom = 6.0 + ROW * rows.len() as f64;
    html! {
        svg .chart.ranges viewBox=(format!("0 0 {} {}", at(width), at(bottom + 20.0))) role="img" aria-label="Latency by city" {
            @for tick in x.ticks(about) {
                line .grid x1=(at(x.at(tick))) x2=(at(x.at(tick))) y1="2" y2=(at(bottom)) {}
                text .tick x=(at(x.at(tick))) y=(at(bottom + 15.0)) text-anchor="middle" { (digits(tick)) }
            }
            @for (number, row) in rows.iter().enumerate() {
                (marks(row, 6.0 + ROW * (number as f64 + 0.5), &x, (left, letters, width)))
            }
        }
    }
}

fn marks(row: &Row<'_>, y: f64, x: &Scale, (left, letters, width): (f64, usize, f64)) -> Markup {
    let name = shortened(&row.name, letters);
    let told = row.all().map(|(path, latency)| {
        format!(
            "{path}: median {}, p99 {} ms",
            digits(latency.p50),
            digits(latency.p99)
        )
    });
    let told: Vec<String> = told.collect();
    html! {
        g {
            title { (row.name) "; " (told.join("; ")) }
            rect .row x="0" y=(at(y - ROW / 2.0)) width=(at(width)) height=(at(ROW)) {}
            text .tick x=(at(left - 8.0)) y=(at(y + 4.0)) text-anchor="end" { (name) }
            @if let Some(direct) = row.direct {
                @let gain = direct.p50 - row.edge.p50;
                line class=(if gain > 0.0 { "gain good" } else { "gain bad" })
                    x1=(at(x.at(row.edge.p50))) x2=(at(x.at(direct.p50))) y1=(at(y)) y2=(at(y)) {}
                text class=(if gain > 0.0 { "tick good" } else { "tick bad" }) x=(at(width - 2.0)) y=(at(y + 4.0)) text-anchor="end" {
                    (format!("{gain:+.0}"))
                }
            }
            @for (class, latency) in row.all() {
                line class=(format!("tail {class}")) x1=(at(x.at(latency.p50))) x2=(at(x.at(latency.p99))) y1=(at(y)) y2=(at(y)) {}
                circle class=(format!("median {class}")) cx=(at(x.at(latency.p50))) cy=(at(y)) r="4" {}
            }
        }
    }
}

/// A name of so many letters at most.
pub(super) fn shortened(name: &str, letters: usize) -> String {
    if name.chars().count() <= letters {
        return name.to_owned();
    }
    let kept: String = name.chars().take(letters.saturating_sub(1)).collect();
    kept + "…"
}
