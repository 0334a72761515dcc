//! A comparison as one SVG page: both distributions of every load, both failovers, and answers over time.
//!
//! Distributions have a logarithmic axis of time, each its own. A failover is a row for each stamp, from the fault on.

use std::ops::Range;
use std::path::Path;

use anyedge_live::load::ANSWERS_EVERY;
use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::failover::{Stamps, in_lab, in_sim};
use super::loads::load_of;
use super::{Comparison, Worlds};

const WIDTH: u32 = 1_260;
const COLUMNS: usize = 3;
const HEAD: i32 = 64;
const PANEL: i32 = 240;
const FAILOVER: i32 = 230;
const ANSWERS: i32 = 220;
/// Panels of a kind at most.
const PANELS_MAX: usize = 30;
/// Points of a curve.
const POINTS: u32 = 500;
/// The simulator's colour, and the lab's.
const COLOURS: [RGBColor; 2] = [RGBColor(31, 99, 178), RGBColor(214, 106, 20)];
const WORLDS: [&str; 2] = ["simulator", "lab"];
const GREY: RGBColor = RGBColor(140, 140, 140);
/// What the rows of a failover are called, from below.
const ROWS: [&str; 3] = [
    "echoes answered again",
    "clients enter elsewhere",
    "router misses the POP",
];
/// From here on a range of times is wide.
const WIDE: f64 = 12.0;
/// Ticks of a narrow range, about.
const TICKS: f64 = 5.0;
/// Counts of answers that are one point of a line.
const SUMMED: usize = 3;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws `comparison` into `file`.
pub(super) fn draw(file: &Path, comparison: &Comparison, both: &[Worlds; 2]) -> Result<()> {
    let mut text = String::new();
    page(&mut text, comparison, both)?;
    std::fs::write(file, text)?;
    Ok(())
}

/// What a panel of answers shows: a population, and answers a second in each world.
struct Answers {
    client: String,
    lines: [Vec<(f64, f64)>; 2],
}

fn page(text: &mut String, comparison: &Comparison, both: &[Worlds; 2]) -> Result<()> {
    let [calm, storm] = both;
    let curves = curves(calm);
    let failovers = failovers(storm);
    let answers = answers(storm);
    // Each list is cut to PANELS_MAX.
    let count = |len: usize| i32::try_from(len).unwrap_or(0);
    let rows = count(curves.len().div_ceil(COLUMNS));
    let height =
        HEAD + rows * PANEL + count(failovers.len()) * FAILOVER + count(answers.len()) * ANSWERS;
    let size = (WIDTH, height.unsigned_abs());
    let root = SVGBackend::with_string(text, size).into_drawing_area();
    root.fill(&WHITE)?;
    let (head, rest) = root.split_vertically(HEAD);
    headline(&head, comparison)?;
    let (grid, mut rest) = rest.split_vertically(rows * PANEL);
    if rows > 0 {
        let panels = grid.split_evenly((curves.len().div_ceil(COLUMNS), COLUMNS));
        for (panel, curve) in panels.iter().zip(&curves) {
            curve.draw(panel)?;
        }
    }
    for (title, stamps) in &failovers {
        let (panel, below) = rest.split_vertically(FAILOVER);
        failover(&panel, title, *stamps)?;
        rest = below;
    }
    for own in &answers {
        let (panel, below) = rest.split_vertically(ANSWERS);
        own.draw(&panel, storm)?;
        rest = below;
    }
    root.present()?;
    Ok(())
}

fn headline(area: &Area<'_>, comparison: &Comparison) -> Result<()> {
    let title = format!("{}: simulator and lab", comparison.topology);
    area.draw(&Text::new(title, (14, 12), ("sans-serif", 22)))?;
    let [sim, lab] = &comparison.tcp_stacks;
    let [left, middle] = [14, 330];
    for ((colour, x), stack) in COLOURS.iter().zip([left, middle]).zip([sim, lab]) {
        let world = if x == left { WORLDS[0] } else { WORLDS[1] };
        area.draw(&Rectangle::new([(x, 44), (x + 18, 52)], colour.filled()))?;
        let label = format!("{world} (TCP: {stack})");
        area.draw(&Text::new(label, (x + 26, 42), ("sans-serif", 13)))?;
    }
    Ok(())
}

/// A load's distributions: milliseconds and shares.
struct Curve {
    title: String,
    lines: [Vec<(f64, f64)>; 2],
}

fn curves(calm: &Worlds) -> Vec<Curve> {
    let Some(report) = calm.sim.first() else {
        return Vec::new();
    };
    let accounts = calm.lab.accounts.iter();
    let curves = accounts.filter_map(|account| {
        let load = load_of(report, &account.client, account.number)?;
        let (sim, lab) = (load.stats.actual(), account.stats.actual());
        let line = |at: &dyn Fn(f64) -> u64| {
            let shares = (0..=POINTS).map(|point| f64::from(point) / f64::from(POINTS));
            let points = shares.map(|share| (at(share) as f64 / 1e6, share));
            points.collect::<Vec<_>>()
        };
        (!sim.is_empty() && !lab.is_empty()).then(|| Curve {
            title: format!("{}: {} to {}", account.client, load.kind, load.to),
            lines: [
                line(&|share| sim.value_at_quantile(share)),
                line(&|share| lab.value_at_quantile(share)),
            ],
        })
    });
    curves.take(PANELS_MAX).collect()
}

impl Curve {
    fn draw(&self, area: &Area<'_>) -> Result<()> {
        let all = || self.lines.iter().flatten().map(|(millis, _)| *millis);
        let least = all().fold(f64::INFINITY, f64::min).max(1e-3) * 0.8;
        let most = all().fold(0.0, f64::max).max(least) * 1.25;
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 15))
            .margin(8)
            .margin_right(24)
            .x_label_area_size(38)
            .y_label_area_size(46)
            .build_cartesian_2d(
                (least..most)
                    .log_scale()
                    .with_key_points(ticks(least, most)),
                0.0..1.0,
            )?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .y_labels(5)
            .x_desc("ms")
            .x_label_formatter(&|millis| short(*millis))
            .y_label_formatter(&|share| format!("{share:.2}"))
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS) {
            // A value that all have in common is a line straight up.
            let foot = line.first().map(|(millis, _)| (*millis, 0.0));
            let points = foot.into_iter().chain(line.iter().copied());
            chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
        }
        Ok(())
    }
}

/// Round figures between two others: evenly apart in a narrow range, as 1, 2, 5, 10 in a wide one.
fn ticks(least: f64, most: f64) -> Vec<f64> {
    let power = |of: f64| 10f64.powf(of.log10().floor());
    let round = |of: f64| [1.0, 2.0, 5.0].map(|figure| figure * power(of));
    if most < least * WIDE {
        let rough = (most - least) / TICKS;
        let fits = |step: &f64| *step >= rough;
        let step = round(rough)
            .into_iter()
            .find(fits)
            .unwrap_or(10.0 * power(rough));
        let first = (least / step).ceil();
        let ticks = (0..=TICKS as u32).map(|tick| (first + f64::from(tick)) * step);
        return ticks.filter(|tick| *tick <= most).collect();
    }
    let decades = std::iter::successors(Some(power(least)), |decade| Some(decade * 10.0));
    let decades = decades.take_while(|decade| *decade <= most);
    let ticks = decades.flat_map(round);
    ticks.filter(|tick| (least..=most).contains(tick)).collect()
}

fn short(value: f64) -> String {
    if value >= 10.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

/// Every fault in which something was moved: its name, and the stamps of both worlds.
fn failovers(storm: &Worlds) -> Vec<(String, [Stamps; 2])> {
    let Some(report) = storm.sim.first() else {
        return Vec::new();
    };
    let numbered = report.faults.iter().enumerate();
    let stamped = numbered.map(|(number, fault)| {
        let stamps = [in_sim(report, fault), in_lab(&storm.lab, report, number)];
        (format!("{} at {} s", fault.what, fault.at_s), stamps)
    });
    let moved = stamped.filter(|(title, stamps)| {
        let is_fault = !title.starts_with("up ");
        is_fault && stamps.iter().any(|own| own.0[1].is_some())
    });
    moved.take(PANELS_MAX).collect()
}

fn failover(area: &Area<'_>, title: &str, stamps: [Stamps; 2]) -> Result<()> {
    let times = stamps.iter().flat_map(|own| own.0.iter().flatten());
    let most = times.copied().fold(0.1, f64::max) * 1.18;
    let rows: Range<f64> = -0.5..2.5;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 15))
        .margin(8)
        .margin_right(24)
        .x_label_area_size(38)
        .y_label_area_size(170)
        .build_cartesian_2d(0.0..most, rows)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .disable_y_mesh()
        .y_labels(3)
        .x_desc("seconds after the fault")
        .y_label_formatter(&|row| {
            let place = (0..ROWS.len()).find(|place| (*place as f64 - row).abs() < 0.01);
            place.map_or_else(String::new, |place| ROWS[place].to_owned())
        })
        .draw()?;
    for ((world, own), colour) in stamps.iter().enumerate().zip(COLOURS) {
        let lift = if world == 0 { 0.2 } else { -0.2 };
        for (place, time) in own.0.iter().enumerate() {
            let Some(time) = time else { continue };
            let row = (ROWS.len() - 1 - place) as f64 + lift;
            chart.draw_series([PathElement::new(
                vec![(0.0, row), (*time, row)],
                colour.stroke_width(3),
            )])?;
            chart.draw_series([Circle::new((*time, row), 5, colour.filled())])?;
            let label = EmptyElement::at((*time, row))
                + Text::new(format!("{time:.3} s"), (10, -7), ("sans-serif", 13));
            chart.draw_series([label])?;
        }
    }
    Ok(())
}

fn answers(storm: &Worlds) -> Vec<Answers> {
    let Some(report) = storm.sim.first() else {
        return Vec::new();
    };
    let clients = report.clients.iter().take(PANELS_MAX);
    let all = clients.map(|client| {
        let sim = client.loads.iter().map(|load| load.stats.answers());
        let lab = storm.lab.accounts.iter();
        let lab = lab.filter(|account| account.client == client.name);
        let lab = lab.map(|account| account.stats.answers());
        Answers {
            client: client.name.clone(),
            lines: [line(sim), line(lab)],
        }
    });
    all.collect()
}

/// Answers a second of all loads together.
fn line<'a>(loads: impl Iterator<Item = &'a [u32]>) -> Vec<(f64, f64)> {
    let mut sum: Vec<u32> = Vec::new();
    for counts in loads {
        if sum.len() < counts.len() {
            sum.resize(counts.len(), 0);
        }
        for (all, own) in sum.iter_mut().zip(counts) {
            *all += own;
        }
    }
    let width = ANSWERS_EVERY.as_secs_f64() * SUMMED as f64;
    let points = sum.chunks(SUMMED).enumerate().map(|(place, counts)| {
        let count: u32 = counts.iter().sum();
        ((place as f64 + 0.5) * width, f64::from(count) / width)
    });
    points.collect()
}

impl Answers {
    fn draw(&self, area: &Area<'_>, storm: &Worlds) -> Result<()> {
        let end = storm.duration.as_secs_f64();
        let counts = self.lines.iter().flatten().map(|(_, count)| *count);
        let most = counts.fold(1.0, f64::max) * 1.25;
        let title = format!("{}: answers a second, all loads", self.client);
        let mut chart = ChartBuilder::on(area)
            .caption(title, ("sans-serif", 15))
            .margin(8)
            .margin_right(24)
            .x_label_area_size(38)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..end, 0.0..most)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc("seconds")
            .y_labels(5)
            .y_label_formatter(&|count| format!("{count:.0}"))
            .draw()?;
        let faults = storm.sim.first().map_or(&[][..], |report| &report.faults);
        for (place, fault) in faults.iter().enumerate() {
            let at = fault.at_s;
            chart.draw_series([PathElement::new(vec![(at, 0.0), (at, most)], GREY)])?;
            // Neighbours at two heights, so that they do not meet.
            let below = if place % 2 == 0 { 2 } else { 17 };
            let label = EmptyElement::at((at, most))
                + Text::new(
                    fault.what.clone(),
                    (5, below),
                    ("sans-serif", 12).into_font().color(&GREY),
                );
            chart.draw_series([label])?;
        }
        for (line, colour) in self.lines.iter().zip(COLOURS) {
            let shown = line.iter().copied().filter(|(at, _)| *at <= end);
            chart.draw_series(LineSeries::new(shown, colour.stroke_width(2)))?;
        }
        Ok(())
    }
}
