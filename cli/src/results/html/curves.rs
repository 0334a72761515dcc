//! Latency distributions: through the edge against straight over the public Internet, for each service and each city.
//!
//! A service is what loads of one kind go to: requests and ticks in one curve would say nothing about either.

use anyedge_sim::report::Report;
use hdrhistogram::Histogram;
use maud::{Markup, html};

use super::Page;
use super::figures::{at, count, digits};
use super::ranges::ranges;
use super::scale::Scale;

/// Cities that are drawn one by one; the others are in the table.
const CITIES_MAX: usize = 60;
/// So many cities are drawn at once; more, when one asks for them.
const OPEN_MAX: usize = 12;
/// Nanoseconds in a millisecond.
const NANOS: f64 = 1e6;
/// Quantiles of the tail's marks, and what stands there.
const TAIL: [(f64, &str); 5] = [
    (0.0, "0"),
    (0.9, "90"),
    (0.99, "99"),
    (0.999, "99.9"),
    (0.9999, "99.99 %"),
];

type Latencies = Histogram<u64>;

/// Two distributions of one load.
struct Pair {
    name: String,
    edge: Latencies,
    direct: Option<Latencies>,
}

impl Pair {
    fn all(&self) -> impl Iterator<Item = (&'static str, &Latencies)> {
        let direct = self.direct.as_ref().map(|direct| ("direct", direct));
        direct.into_iter().chain([("edge", &self.edge)])
    }
}

/// The section.
pub(super) fn section(page: &Page<'_>) -> Markup {
    let services = services(page.report);
    let has_direct = services.iter().any(|service| service.direct.is_some());
    html! {
        section #latency {
            h2 { "Latency" @if has_direct { ": anycast against direct" } }
            p .key {
                span .swatch.edge {} "through the edge (anycast)"
                @if has_direct { span .swatch.direct {} "direct: the same load straight over the public Internet" }
            }
            @for service in &services {
                h3 { (service.name) }
                div .pair {
                    figure { (distribution(service)) figcaption { "Share of requests answered within" } }
                    figure { (tail(service)) figcaption { "The tail: latency by percentile" } }
                }
            }
            @if services.is_empty() { p .note { "No request was answered." } }
            p .note { "From the time at which a request was due to its answer, in milliseconds, logarithmic." }
            (ranges(page.report))
            (cities(page.report))
        }
    }
}

/// What loads of one kind to one listener saw, of all populations together.
fn services(report: &Report) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    for load in report.clients.iter().flat_map(|client| &client.loads) {
        let own = load.stats.intended();
        if own.is_empty() {
            continue;
        }
        let direct = load.direct_latencies.as_ref().filter(|it| !it.is_empty());
        let name = format!("{} to {}", load.kind, load.to);
        match pairs.iter_mut().find(|pair| pair.name == name) {
            Some(pair) => {
                add(&mut pair.edge, own);
                match (&mut pair.direct, direct) {
                    (Some(all), Some(own)) => add(all, own),
                    (none, own) => *none = none.take().or_else(|| own.cloned()),
                }
            }
            None => pairs.push(Pair {
                name,
                edge: own.clone(),
                direct: direct.cloned(),
            }),
        }
    }
    pairs
}

fn add(all: &mut Latencies, own: &Latencies) {
    // All have the same bounds; were one wider, its outliers would be left out.
    let _ = all.add(own);
}

/// Milliseconds below which a share of all is.
fn quantile(of: &Latencies, share: f64) -> f64 {
    of.value_at_quantile(share).max(1) as f64 / NANOS
}

/// Latencies of all pairs on one axis.
fn axis<'p>(pairs: impl Iterator<Item = &'p Pair>, places: (f64, f64)) -> Scale {
    let (mut low, mut high) = (f64::MAX, f64::MIN);
    for (_, latencies) in pairs.flat_map(Pair::all) {
        low = low.min(quantile(latencies, 0.001));
        high = high.max(quantile(latencies, 0.999));
    }
    if high < low * 2.0 {
        (low, high) = (low / 1.5, high * 1.5);
    }
    Scale::log((low * 0.95, high * 1.05), places)
}

fn distribution(pair: &Pair) -> Markup {
    let (width, height) = (500.0, 250.0);
    let x = axis([pair].into_iter(), (46.0, width - 24.0));
    let y = Scale::linear((0.0, 1.0), (height - 28.0, 12.0));
    html! {
        svg .chart viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(format!("Distribution of latency, {}", pair.name)) {
            @for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
                line .grid x1="46" x2=(at(width - 24.0)) y1=(at(y.at(share))) y2=(at(y.at(share))) {}
                text .tick x="40" y=(at(y.at(share) + 4.0)) text-anchor="end" { (digits(share * 100.0)) " %" }
            }
            @for tick in x.ticks(9) {
                line .grid x1=(at(x.at(tick))) x2=(at(x.at(tick))) y1="12" y2=(at(height - 28.0)) {}
                text .tick x=(at(x.at(tick))) y=(at(height - 10.0)) text-anchor="middle" { (digits(tick)) }
            }
            @for (class, latencies) in pair.all() {
                path class=(format!("curve {class}")) d=(curve(latencies, &x, &y)) {}
            }
            @for (class, latencies) in pair.all() {
                @let median = quantile(latencies, 0.5);
                circle class=(format!("median {class}")) cx=(at(x.at(median))) cy=(at(y.at(0.5))) r="4" {
                    title { "median " (digits(median)) " ms of " (count(latencies.len())) }
                }
            }
        }
    }
}

fn curve(latencies: &Latencies, x: &Scale, y: &Scale) -> String {
    let shares = (0..=100).map(|step| f64::from(step) / 100.0);
    let points = shares.map(|share| (x.at(quantile(latencies, share)), y.at(share)));
    path(points)
}

/// A line through points; those that are where the one before is are left out.
pub(super) fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut text = String::new();
    let mut before = String::new();
    for (x, y) in points {
        let own = format!("{} {}", at(x), at(y));
        if own != before {
            text.push(if text.is_empty() { 'M' } else { 'L' });
            text.push_str(&own);
            before = own;
        }
    }
    text
}

/// Latency by percentile, each nine as wide as the one before.
fn tail(pair: &Pair) -> Markup {
    let (width, height) = (500.0, 250.0);
    let last = libm::log10(1.0 / (1.0 - TAIL[4].0));
    let nines = |share: f64| libm::log10(1.0 / (1.0 - share)).min(last);
    let x = Scale::linear((0.0, last), (46.0, width - 26.0));
    let y = axis([pair].into_iter(), (height - 28.0, 12.0));
    let line = |latencies: &Latencies| {
        // As far as there are requests to tell.
        let told = nines(1.0 - 1.0 / latencies.len().max(2) as f64);
        let steps = (0..=80).map(|step| f64::from(step) / 80.0 * told);
        path(steps.map(|nines| {
            let share = 1.0 - libm::pow(10.0, -nines);
            (x.at(nines), y.at(quantile(latencies, share)))
        }))
    };
    html! {
        svg .chart viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(format!("Tail of latency, {}", pair.name)) {
            @for tick in y.ticks(8) {
                line .grid x1="46" x2=(at(width - 26.0)) y1=(at(y.at(tick))) y2=(at(y.at(tick))) {}
                text .tick x="40" y=(at(y.at(tick) + 4.0)) text-anchor="end" { (digits(tick)) }
            }
            @for (share, text) in TAIL {
                @let place = x.at(nines(share));
                line .grid x1=(at(place)) x2=(at(place)) y1="12" y2=(at(height - 28.0)) {}
                text .tick x=(at(place)) y=(at(height - 10.0)) text-anchor="middle" { (text) }
            }
            @for (class, latencies) in pair.all() {
                path class=(format!("curve {class}")) d=(line(latencies)) {}
            }
        }
    }
}

/// A small curve for each city and load, all on one axis.
fn cities(report: &Report) -> Markup {
    let pairs = report.clients.iter().flat_map(|client| {
        let answered = client
            .loads
            .iter()
            .filter(|load| !load.stats.intended().is_empty());
        answered.map(|load| {
            let several = client.loads.len() > 1;
            let kind = if several {
                format!(" {}", load.kind)
            } else {
                String::new()
            };
            Pair {
                name: format!("{}{kind}", client.name),
                edge: load.stats.intended().clone(),
                direct: load.direct_latencies.clone().filter(|it| !it.is_empty()),
            }
        })
    });
    let pairs: Vec<Pair> = pairs.take(CITIES_MAX).collect();
    if pairs.len() < 2 {
        return html! {};
    }
    let x = axis(pairs.iter(), (8.0, 212.0));
    html! {
        details open[pairs.len() <= OPEN_MAX] {
            summary { "Distributions by city" }
            div .cities {
                @for pair in &pairs {
                    figure .city { (small(pair, &x)) }
                }
            }
            @if pairs.len() == CITIES_MAX { p .note { "The first " (CITIES_MAX) "; all are in the table." } }
        }
    }
}

fn small(pair: &Pair, x: &Scale) -> Markup {
    let y = Scale::linear((0.0, 1.0), (84.0, 24.0));
    let median = |of: &Latencies| digits(quantile(of, 0.5));
    html! {
        svg .chart viewBox="0 0 220 102" role="img" aria-label=(format!("Distribution of latency, {}", pair.name)) {
            text .label x="8" y="13" { (pair.name) }
            text .tick x="212" y="13" text-anchor="end" {
                tspan .edge { (median(&pair.edge)) }
                @if let Some(direct) = &pair.direct { " / " tspan .direct { (median(direct)) } }
                " ms"
            }
            line .grid x1="8" x2="212" y1="84" y2="84" {}
            @for tick in x.ticks(5) {
                line .grid x1=(at(x.at(tick))) x2=(at(x.at(tick))) y1="22" y2="84" {}
                text .tick x=(at(x.at(tick))) y="97" text-anchor="middle" { (digits(tick)) }
            }
            @for (class, latencies) in pair.all() {
                path class=(format!("curve {class}")) d=(curve(latencies, x, &y)) {}
            }
        }
    }
}
