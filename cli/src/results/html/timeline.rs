//! The run over time: faults, requests, throughput, who enters where, losses, and each city's gaps, on one axis.

use std::collections::BTreeMap;

use anyedge_sim::report::{ClientReport, LoadReport, TimelineReport};
use anyedge_traffic::stats::Course;
use maud::{Markup, html};
use serde_json::json;

use super::curves::path;
use super::figures::{at, digits, seconds, short};
use super::losses::is_loss;
use super::palette::class;
use super::ranges::shortened;
use super::scale::{Scale, rounded_up};
use super::{Medium, Page, both};

/// Cities with a lane of their own: those that were served worst.
const LANES_MAX: usize = 40;
/// Causes of losses that are told apart.
const CAUSES_MAX: usize = 6;
/// Requests that are due in a cell of a lane, on average, and cells at least.
const CELL_REQUESTS: u64 = 4;
const CELLS_MIN: u64 = 20;
const LANE: f64 = 17.0;
const TOP: f64 = 8.0;

/// The time axis of one drawing, and how finely it is drawn.
struct Frame {
    width: f64,
    left: f64,
    x: Scale,
    /// Intervals that are drawn as one.
    step: usize,
    every_s: f64,
    bands: Vec<Band>,
}

/// The time of a fault.
struct Band {
    what: String,
    from: f64,
    to: f64,
}

/// Something that is so much in each interval.
struct Series {
    name: String,
    class: String,
    values: Vec<f64>,
}

/// A panel's subject.
struct Panel {
    title: &'static str,
    unit: &'static str,
    series: Vec<Series>,
    /// One above the other, and not each from zero.
    stacked: bool,
}

/// The section.
pub(super) fn section(page: &Page<'_>) -> Markup {
    let panels = panels(page);
    html! {
        section #timeline {
            h2 { "Timeline" }
            (both(|medium| {
                let frame = Frame::of(page, medium);
                html! {
                    (bands(&frame))
                    @for panel in &panels { (drawn(panel, &frame)) }
                    (lanes(page, &frame))
                }
            }))
            p .note {
                "Intervals of " (seconds(page.report.timeline.every_s)) ". A request counts where it was due, whenever its answer came; "
                "throughput is IP packets between clients and POPs."
            }
        }
    }
}

impl Frame {
    fn of(page: &Page<'_>, medium: Medium) -> Frame {
        let end = page.report.virtual_s.max(1e-3);
        let (left, points_max) = match medium {
            Medium::Wide => (112.0, 400),
            Medium::Narrow => (74.0, 140),
        };
        let width = medium.width();
        let intervals = page.report.timeline.due.len();
        Frame {
            width,
            left,
            x: Scale::linear((0.0, end), (left, width - 10.0)),
            step: intervals.div_ceil(points_max).max(1),
            every_s: page.report.timeline.every_s,
            bands: faults(page, end),
        }
    }

    /// Values of several intervals as one.
    fn thinned(&self, values: &[f64]) -> Vec<f64> {
        let mean = |several: &[f64]| several.iter().sum::<f64>() / several.len() as f64;
        values.chunks(self.step).map(mean).collect()
    }

    fn interval(&self) -> f64 {
        self.every_s * self.step as f64
    }
}

/// The faults that began within the run, by what the report calls them.
fn faults(page: &Page<'_>, end: f64) -> Vec<Band> {
    let faults = page.topology.faults.iter();
    let begun = faults.filter(|fault| fault.at.as_secs_f64() < end);
    let band = |fault: &anyedge_topologies::Fault| {
        let from = fault.at.as_secs_f64();
        let mut told = page.report.faults.iter();
        let own =
            told.find(|it| libm::fabs(it.at_s - from) < 1e-9 && it.what.contains(&fault.object));
        let lasts = fault.lasts.map_or(end, |lasts| from + lasts.as_secs_f64());
        Band {
            what: own.map_or_else(|| fault.object.clone(), |it| it.what.clone()),
            from,
            to: lasts.min(end),
        }
    };
    begun.map(band).collect()
}

fn panels(page: &Page<'_>) -> Vec<Panel> {
    let timeline = &page.report.timeline;
    let every = timeline.every_s.max(1e-3);
    let rate = |counts: &[u64], unit: f64| -> Vec<f64> {
        counts
            .iter()
            .map(|count| *count as f64 * unit / every)
            .collect()
    };
    let series = |name: &str, class: &str, values: Vec<f64>| Series {
        name: name.to_owned(),
        class: class.to_owned(),
        values,
    };
    let unanswered = timeline.due.iter().zip(&timeline.ok);
    let unanswered: Vec<u64> = unanswered
        .map(|(due, ok)| due.saturating_sub(*ok))
        .collect();
    let pops = timeline
        .pops
        .iter()
        .map(|(pop, packets)| series(pop, page.palette.pop(Some(pop)), rate(packets, 1.0)));
    vec![
        Panel {
            title: "Requests",
            unit: "a second",
            series: vec![
                series("answered", "good", rate(&timeline.ok, 1.0)),
                series("not answered", "bad", rate(&unanswered, 1.0)),
            ],
            stacked: true,
        },
        Panel {
            title: "Throughput",
            unit: "Mbit/s",
            series: vec![
                series("to clients", "p0", rate(&timeline.to_clients_bytes, 8e-6)),
                series(
                    "from clients",
                    "p1",
                    rate(&timeline.from_clients_bytes, 8e-6),
                ),
            ],
            stacked: false,
        },
        Panel {
            title: "Entering, by POP",
            unit: "packets a second",
            series: pops.collect(),
            stacked: true,
        },
        Panel {
            title: "Lost, by cause",
            unit: "packets a second",
            series: losses(timeline, |counts| rate(counts, 1.0)),
            stacked: true,
        },
    ]
}

/// The causes that took most, and all others as one.
fn losses(timeline: &TimelineReport, rate: impl Fn(&[u64]) -> Vec<f64>) -> Vec<Series> {
    let causes: BTreeMap<_, _> = timeline
        .drops
        .iter()
        .filter(|(cause, _)| is_loss(cause))
        .collect();
    let mut causes: Vec<_> = causes.into_iter().collect();
    causes.sort_by_key(|(cause, lost)| (core::cmp::Reverse(lost.iter().sum::<u64>()), **cause));
    let others = causes.split_off(causes.len().min(CAUSES_MAX));
    let mut found: Vec<Series> = causes
        .iter()
        .enumerate()
        .map(|(number, (cause, lost))| Series {
            name: (**cause).to_owned(),
            // From the reds on, which are no POP's in small networks.
            class: class(7 + number),
            values: rate(lost),
        })
        .collect();
    if !others.is_empty() {
        let mut sum = vec![0; timeline.due.len()];
        for (_, lost) in &others {
            for (all, own) in sum.iter_mut().zip(lost.iter()) {
                *all += own;
            }
        }
        found.push(Series {
            name: format!("{} other causes", others.len()),
            class: "none".to_owned(),
            values: rate(&sum),
        });
    }
    found
}

/// A bar for each fault, those at the same time below each other.
fn bands(frame: &Frame) -> Markup {
    if frame.bands.is_empty() {
        return html! {};
    }
    let mut ends: Vec<f64> = Vec::new();
    let mut rows = Vec::new();
    for band in &frame.bands {
        let x = frame.x.at(band.from);
        let text = band.what.chars().count() as f64 * 6.6 + 12.0;
        // A name that would leave the drawing stands to the left of its end.
        let start = x.min(frame.width - text).max(0.0);
        let row = ends.iter().position(|end| *end <= start);
        let row = row.unwrap_or(ends.len());
        let end = (start + text).max(frame.x.at(band.to)) + 6.0;
        match ends.get_mut(row) {
            Some(last) => *last = end,
            None => ends.push(end),
        }
        rows.push((band, row, start));
    }
    let height = 20.0 * ends.len() as f64 + 2.0;
    html! {
        div .panel {
            h3 { "Faults" }
            svg .chart viewBox=(format!("0 0 {} {}", at(frame.width), at(height))) role="img" aria-label="Faults over time" {
                @for (band, row, start) in rows {
                    @let y = 20.0 * row as f64 + 1.0;
                    @let width = (frame.x.at(band.to) - frame.x.at(band.from)).max(2.0);
                    rect .fault x=(at(frame.x.at(band.from))) y=(at(y)) width=(at(width)) height="18" rx="3" {
                        title { (band.what) ": " (digits(band.from)) " s to " (digits(band.to)) " s" }
                    }
                    text .fault-name x=(at(start + 6.0)) y=(at(y + 13.0)) { (band.what) }
                }
            }
        }
    }
}

fn shading(frame: &Frame, bottom: f64) -> Markup {
    html! {
        @for band in &frame.bands {
            @let width = (frame.x.at(band.to) - frame.x.at(band.from)).max(1.0);
            rect .band x=(at(frame.x.at(band.from))) y=(at(TOP)) width=(at(width)) height=(at(bottom - TOP)) {}
        }
    }
}

fn drawn(panel: &Panel, frame: &Frame) -> Markup {
    if panel.series.is_empty() {
        return html! {};
    }
    let (height, bottom) = (132.0, 110.0);
    let series: Vec<(&Series, Vec<f64>)> = panel
        .series
        .iter()
        .map(|it| (it, frame.thinned(&it.values)))
        .collect();
    let most = series.iter().map(|(_, values)| values);
    let most = if panel.stacked {
        tops(most).into_iter().fold(0.0, f64::max)
    } else {
        most.flatten().copied().fold(0.0, f64::max)
    };
    let y = Scale::linear((0.0, rounded_up(most)), (bottom, TOP));
    let told = series.iter().map(|(it, values)| {
        let values: Vec<f64> = values
            .iter()
            .map(|value| libm::round(value * 100.0) / 100.0)
            .collect();
        json!({ "name": it.name, "values": values })
    });
    let told = json!(told.collect::<Vec<_>>()).to_string();
    html! {
        div .panel {
            h3 { (panel.title) " " span .soft { (panel.unit) } }
            svg .chart.strip viewBox=(format!("0 0 {} {}", at(frame.width), at(height))) role="img"
                aria-label=(format!("{} over time, {}", panel.title, panel.unit))
                data-left=(at(frame.left)) data-right=(at(frame.width - 10.0)) data-every=(format!("{:.4}", frame.interval()))
                data-end=(format!("{:.4}", frame.x.to())) data-series=(told) {
                (shading(frame, bottom))
                @for tick in y.ticks(3) {
                    line .grid x1=(at(frame.left)) x2=(at(frame.width - 10.0)) y1=(at(y.at(tick))) y2=(at(y.at(tick))) {}
                    text .tick x=(at(frame.left - 6.0)) y=(at(y.at(tick) + 4.0)) text-anchor="end" { (short(tick)) }
                }
                (areas(&series, panel.stacked, frame, &y))
                (seconds_axis(frame, bottom))
                line .cursor x1="0" x2="0" y1=(at(TOP)) y2=(at(bottom)) {}
            }
            @if panel.series.len() > 1 || panel.stacked {
                p .key { @for (it, _) in &series { span .item { span class=(format!("dot {}", it.class)) {} (it.name) } } }
            }
        }
    }
}

/// The sum of all series in each interval.
fn tops<'v>(all: impl Iterator<Item = &'v Vec<f64>>) -> Vec<f64> {
    let mut sum: Vec<f64> = Vec::new();
    for values in all {
        sum.resize(sum.len().max(values.len()), 0.0);
        for (top, value) in sum.iter_mut().zip(values) {
            *top += value;
        }
    }
    sum
}

fn areas(series: &[(&Series, Vec<f64>)], stacked: bool, frame: &Frame, y: &Scale) -> Markup {
    let long = series.first().map_or(0, |(_, values)| values.len());
    let middle = |place: usize| frame.x.at((place as f64 + 0.5) * frame.interval());
    let mut below = vec![0.0; long];
    let mut drawn = Vec::new();
    for (it, values) in series {
        let floor = below.clone();
        let top: Vec<f64> = values
            .iter()
            .zip(&floor)
            .map(|(value, floor)| value + floor)
            .collect();
        let line = |heights: &[f64]| -> Vec<(f64, f64)> {
            let points = heights.iter().enumerate();
            points
                .map(|(place, height)| (middle(place), y.at(*height)))
                .collect()
        };
        let edge = path(line(&top).into_iter());
        let back = line(&floor).into_iter().rev();
        let area = path(line(&top).into_iter().chain(back)) + "Z";
        drawn.push((it, area, edge));
        if stacked {
            below = top;
        }
    }
    html! {
        @for (it, area, edge) in drawn {
            path class=(format!("area {}", it.class)) d=(area) {}
            @if !stacked { path class=(format!("edge-line {}", it.class)) d=(edge) {} }
        }
    }
}

fn seconds_axis(frame: &Frame, bottom: f64) -> Markup {
    let about = if frame.width > 500.0 { 12 } else { 5 };
    html! {
        @for tick in frame.x.ticks(about) {
            line .grid x1=(at(frame.x.at(tick))) x2=(at(frame.x.at(tick))) y1=(at(bottom)) y2=(at(bottom + 4.0)) {}
            text .tick x=(at(frame.x.at(tick))) y=(at(bottom + 17.0)) text-anchor="middle" { (digits(tick)) " s" }
        }
    }
}

/// What of a city's requests was answered, over time, and its longest gap.
fn lanes(page: &Page<'_>, frame: &Frame) -> Markup {
    let mut clients: Vec<&ClientReport> = page.report.clients.iter().collect();
    let left_out = clients.len().saturating_sub(LANES_MAX);
    if left_out > 0 {
        let served = |client: &ClientReport| {
            let requests = &client.service.requests;
            requests.ok as f64 / requests.sent.max(1) as f64
        };
        clients.sort_by(|a, b| {
            served(a)
                .total_cmp(&served(b))
                .then(b.gap_s.total_cmp(&a.gap_s))
        });
        clients.truncate(LANES_MAX);
        clients.sort_by(|a, b| a.name.cmp(&b.name));
    }
    let bottom = TOP + LANE * clients.len() as f64;
    html! {
        div .panel {
            h3 { "Gaps, by city " span .soft { "share of the requests due that were answered" } }
            svg .chart viewBox=(format!("0 0 {} {}", at(frame.width), at(bottom + 22.0))) role="img" aria-label="Answered requests by city over time" {
                (shading(frame, bottom))
                @for (row, client) in clients.iter().enumerate() {
                    (lane(client, frame, TOP + LANE * row as f64))
                }
                (seconds_axis(frame, bottom))
            }
            p .key {
                @for (class, told) in [("h0", "all"), ("h1", "99 % and more"), ("h2", "90 %"), ("h3", "50 %"), ("h4", "less")] {
                    span .item { span class=(format!("dot {class}")) {} (told) }
                }
                span .item { span .gap-key {} "longest gap" }
            }
            @if left_out > 0 { p .note { "The " (LANES_MAX) " that were served worst; " (left_out) " others are in the table." } }
        }
    }
}

fn lane(client: &ClientReport, frame: &Frame, y: f64) -> Markup {
    let mut course = Course::default();
    for load in &client.loads {
        course.merge(load.stats.course());
    }
    let own = course.every().as_secs_f64();
    let step = lane_step(client, &course, frame);
    let parts = course.intervals().chunks(step).map(|several| {
        let due: u64 = several.iter().map(|one| one.due).sum();
        let ok: u64 = several.iter().map(|one| one.ok).sum();
        heat(ok, due)
    });
    let runs = runs(parts);
    let wide = own * step as f64;
    let letters = ((frame.left - 8.0) / 6.4) as usize;
    let gap = gap(client, &course);
    html! {
        text .tick x=(at(frame.left - 6.0)) y=(at(y + 12.0)) text-anchor="end" { (shortened(&client.name, letters)) title { (client.name) } }
        @for (class, from, to) in runs {
            @let (left, right) = (frame.x.at(from as f64 * wide), frame.x.at(to as f64 * wide));
            rect class=(class) x=(at(left)) y=(at(y + 2.0)) width=(at(right - left)) height="12" {}
        }
        @if let Some(from) = gap {
            @let (left, right) = (frame.x.at(from), frame.x.at(from + client.gap_s));
            path .gap d=(format!("M{} {}v3H{}v-3", at(left), at(y + 12.5), at(right))) {
                title { (client.name) ": " (seconds(client.gap_s)) " without an answer, from " (digits(from)) " s on" }
            }
        }
    }
}

/// How many intervals of a course are one cell of its lane: so many that some requests are due in each.
fn lane_step(client: &ClientReport, course: &Course, frame: &Frame) -> usize {
    let intervals = course.intervals().len();
    let drawn = (frame.interval() / course.every().as_secs_f64()).max(1.0) as usize;
    let cells = (client.service.requests.sent / CELL_REQUESTS).max(CELLS_MIN) as usize;
    drawn.max(intervals.div_ceil(cells)).max(1)
}

/// When the longest gap of a city began, if it was one: a request that was due in it came to nothing, or it was within a
/// long flow. Between requests that are few and far apart there is always one.
fn gap(client: &ClientReport, course: &Course) -> Option<f64> {
    let from = client.gap_from_s?;
    let every = course.every().as_secs_f64();
    let first = (from / every) as usize;
    let last = ((from + client.gap_s) / every) as usize;
    let within = course.intervals().iter().take(last + 1).skip(first);
    let lost = within.into_iter().any(|one| one.ok < one.due);
    let is_long =
        |load: &LoadReport| matches!(load.kind, "download" | "upload" | "idle" | "half-closed");
    (lost || client.loads.iter().any(is_long)).then_some(from)
}

/// The class of what part was answered; `None` where nothing was due.
fn heat(ok: u64, due: u64) -> Option<&'static str> {
    let share = ok as f64 / due as f64;
    match share {
        _ if due == 0 => None,
        all if all >= 1.0 => Some("h0"),
        most if most >= 0.99 => Some("h1"),
        many if many >= 0.9 => Some("h2"),
        half if half >= 0.5 => Some("h3"),
        _ => Some("h4"),
    }
}

/// Equal neighbours as one: class, first interval, interval behind the last.
fn runs(parts: impl Iterator<Item = Option<&'static str>>) -> Vec<(&'static str, usize, usize)> {
    let mut found: Vec<(&'static str, usize, usize)> = Vec::new();
    for (place, class) in parts.enumerate() {
        let Some(class) = class else {
            continue;
        };
        match found.last_mut() {
            Some((last, _, to)) if *last == class && *to == place => *to = place + 1,
            _ => found.push((class, place, place + 1)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_neighbours_are_one_and_silence_parts_them() {
        let parts = [
            heat(5, 5),
            heat(9, 9),
            None,
            heat(1, 1),
            heat(1, 4),
            heat(19, 20),
        ];
        let wanted = [("h0", 0, 2), ("h0", 3, 4), ("h4", 4, 5), ("h2", 5, 6)];
        assert_eq!(runs(parts.into_iter()), wanted);
    }
}
