//! Lines with their bands as one SVG: what a band says stands above it.
//!
//! Between two points a band is drawn straight. Where points are not to be joined (words, or one alone) it is a bar.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::RGBAColor;

use super::lines::{Line, Lines, Point};
use crate::args::Band;

const SIZE: (u32, u32) = (960, 560);
const COLOURS: [RGBColor; 8] = [
    RGBColor(31, 99, 178),
    RGBColor(214, 106, 20),
    RGBColor(34, 139, 84),
    RGBColor(178, 40, 62),
    RGBColor(120, 82, 169),
    RGBColor(128, 96, 60),
    RGBColor(20, 150, 160),
    RGBColor(90, 90, 90),
];
/// About how many figures an axis has.
const TICKS: f64 = 7.0;
/// How much of its colour a band of means has, and one of runs.
const MEANS: f64 = 0.32;
const RUNS: f64 = 0.14;

const SMALL: (&str, i32) = ("sans-serif", 13);
/// How far lines are apart where they stand above one word.
const APART: f64 = 0.09;

type Failed = Box<dyn std::error::Error>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;

/// One kind of band: how far it goes below and above at a point, and how much of its colour it has.
#[derive(Clone, Copy)]
struct Kind {
    at: fn(&Point) -> Option<(f64, f64)>,
    shade: f64,
}

const OF_MEANS: Kind = Kind {
    at: |point| {
        let half = point.of.confidence?;
        Some((point.of.mean - half, point.of.mean + half))
    },
    shade: MEANS,
};
const OF_RUNS: Kind = Kind {
    at: |point| (point.of.count > 1).then_some((point.of.p10, point.of.p90)),
    shade: RUNS,
};

/// Numbers in a range, of which some have a tick.
struct Axis {
    numbers: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Axis {
    fn new(range: Range<f64>, ticks: Vec<f64>) -> Axis {
        Axis {
            numbers: range.into(),
            ticks,
        }
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.numbers.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.numbers.range()
    }
}

/// The whole file.
pub(super) fn svg(lines: &Lines, band: Band) -> Result<String, Failed> {
    let mut text = String::new();
    page(&mut text, lines, band)?;
    Ok(text)
}

fn kinds(band: Band) -> Vec<Kind> {
    match band {
        Band::Mean => vec![OF_MEANS],
        Band::Runs => vec![OF_RUNS],
        Band::Both => vec![OF_RUNS, OF_MEANS],
    }
}

fn page(text: &mut String, lines: &Lines, band: Band) -> Result<(), Failed> {
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let rest = headline(&root, lines, band)?;
    let kinds = kinds(band);
    let (x, y) = (x_range(lines), y_range(lines, &kinds));
    let x_ticks = if lines.categories.is_empty() {
        ticks(x.start, x.end)
    } else {
        (0..lines.categories.len())
            .map(|place| place as f64)
            .collect()
    };
    let y_ticks = ticks(y.start, y.end);
    let mut chart = ChartBuilder::on(&rest)
        .margin(10)
        .margin_right(28)
        .x_label_area_size(46)
        .y_label_area_size(72)
        .build_cartesian_2d(Axis::new(x, x_ticks), Axis::new(y, y_ticks))?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc(lines.x_name.as_str())
        .x_label_formatter(&|x| match lines.category(*x) {
            Some(name) if !lines.categories.is_empty() => name.to_owned(),
            _ => short(*x),
        })
        .y_label_formatter(&|y| short(*y))
        .draw()?;
    let middle = lines.lines.len().saturating_sub(1) as f64 / 2.0;
    for ((place, line), colour) in lines.lines.iter().enumerate().zip(COLOURS) {
        if lines.categories.is_empty() && line.points.len() > 1 {
            joined(&mut chart, line, &kinds, colour)?;
        } else if lines.categories.is_empty() {
            apart(&mut chart, line, &kinds, (colour, 0.0))?;
        } else {
            let shift = (place as f64 - middle) * APART;
            apart(&mut chart, line, &kinds, (colour, shift))?;
        }
    }
    root.present()?;
    Ok(())
}

/// A line through its points, within its bands.
fn joined(
    chart: &mut Chart<'_, '_>,
    line: &Line,
    kinds: &[Kind],
    colour: RGBColor,
) -> Result<(), Failed> {
    for kind in kinds {
        chart.draw_series(areas(line, *kind, colour.mix(kind.shade)))?;
    }
    let means = || line.points.iter().map(|point| (point.x, point.of.mean));
    chart.draw_series(LineSeries::new(means(), colour.stroke_width(2)))?;
    chart.draw_series(means().map(|at| Circle::new(at, 3, colour.filled())))?;
    Ok(())
}

/// Points with bars, so far to the right of where they are.
fn apart(
    chart: &mut Chart<'_, '_>,
    line: &Line,
    kinds: &[Kind],
    (colour, shift): (RGBColor, f64),
) -> Result<(), Failed> {
    for kind in kinds {
        chart.draw_series(bars(line, *kind, colour.mix(kind.shade * 2.0), shift))?;
    }
    let means = line
        .points
        .iter()
        .map(|point| (point.x + shift, point.of.mean));
    chart.draw_series(means.map(|at| Circle::new(at, 4, colour.filled())))?;
    Ok(())
}

/// What is drawn and what its colours are; the area below.
fn headline<'a>(root: &Area<'a>, lines: &Lines, band: Band) -> Result<Area<'a>, Failed> {
    let named: Vec<&str> = lines.lines.iter().map(|line| line.name.as_str()).collect();
    let named = if named == [""] { Vec::new() } else { named };
    // Eight lines at most, two in a row.
    let rows = i32::try_from(named.len().div_ceil(2)).unwrap_or(0);
    let (head, rest) = root.split_vertically(56 + rows * 18);
    head.draw(&Text::new(
        lines.y_name.clone(),
        (16, 10),
        ("sans-serif", 20),
    ))?;
    head.draw(&Text::new(legend(lines, band), (16, 36), SMALL))?;
    for ((place, name), colour) in (0..).zip(named).zip(COLOURS) {
        let (x, y) = (16 + place % 2 * 460, 56 + place / 2 * 18);
        head.draw(&Rectangle::new(
            [(x, y + 3), (x + 16, y + 10)],
            colour.filled(),
        ))?;
        head.draw(&Text::new(name.to_owned(), (x + 24, y), SMALL))?;
    }
    Ok(rest)
}

fn legend(lines: &Lines, band: Band) -> String {
    let counts = || {
        lines
            .lines
            .iter()
            .flat_map(|line| &line.points)
            .map(|it| it.of.count)
    };
    let (least, most) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
    let runs = if least == most {
        format!("{most}")
    } else {
        format!("{least} to {most}")
    };
    let means = "the mean's 95 % confidence by Student's t";
    let spread = "the 10th percentile of runs to the 90th";
    let band = match band {
        Band::Mean => format!("band: {means}"),
        Band::Runs => format!("band: {spread}"),
        Band::Both => format!("inner band: {means}; outer: {spread}"),
    };
    let classes = if lines.has_classes {
        ", neighbours together"
    } else {
        ""
    };
    format!("Mean of {runs} runs a point{classes}; {band}")
}

/// A polygon for each stretch of points that have a band.
fn areas(line: &Line, kind: Kind, colour: RGBAColor) -> Vec<Polygon<(f64, f64)>> {
    let known: Vec<Option<(f64, f64, f64)>> = line
        .points
        .iter()
        .map(|point| (kind.at)(point).map(|(low, high)| (point.x, low, high)))
        .collect();
    let stretches = known.split(Option::is_none);
    let stretches = stretches.map(|stretch| stretch.iter().flatten().copied().collect::<Vec<_>>());
    let wide = stretches.filter(|stretch| stretch.len() > 1);
    let areas = wide.map(|stretch| {
        let above = stretch.iter().map(|(x, _, high)| (*x, *high));
        let below = stretch.iter().rev().map(|(x, low, _)| (*x, *low));
        Polygon::new(above.chain(below).collect::<Vec<_>>(), colour.filled())
    });
    areas.collect()
}

fn bars(line: &Line, kind: Kind, colour: RGBAColor, shift: f64) -> Vec<PathElement<(f64, f64)>> {
    let known = line.points.iter().filter_map(|point| {
        let (low, high) = (kind.at)(point)?;
        let ends = vec![(point.x + shift, low), (point.x + shift, high)];
        Some(PathElement::new(ends, colour.stroke_width(10)))
    });
    known.collect()
}

fn x_range(lines: &Lines) -> Range<f64> {
    if !lines.categories.is_empty() {
        return -0.5..lines.categories.len() as f64 - 0.5;
    }
    let all = || {
        lines
            .lines
            .iter()
            .flat_map(|line| &line.points)
            .map(|it| it.x)
    };
    widened(
        all().fold(f64::INFINITY, f64::min),
        all().fold(f64::NEG_INFINITY, f64::max),
        0.02,
    )
}

fn y_range(lines: &Lines, kinds: &[Kind]) -> Range<f64> {
    let points = || lines.lines.iter().flat_map(|line| &line.points);
    let bands = || points().flat_map(|point| kinds.iter().filter_map(|kind| (kind.at)(point)));
    let means = || points().map(|point| point.of.mean);
    let least = means()
        .chain(bands().map(|(low, _)| low))
        .fold(f64::INFINITY, f64::min);
    let most = means()
        .chain(bands().map(|(_, high)| high))
        .fold(f64::NEG_INFINITY, f64::max);
    let range = widened(least, most, 0.06);
    // A figure that is never below nothing, and not far above it, is shown from there.
    if least >= 0.0 && least < most / 2.0 {
        0.0..range.end
    } else {
        range
    }
}

fn widened(least: f64, most: f64, share: f64) -> Range<f64> {
    let room = (most - least) * share;
    let room = if room > 0.0 {
        room
    } else {
        most.abs().max(1.0) * 0.1
    };
    least - room..most + room
}

/// Round figures within a range, evenly apart.
fn ticks(least: f64, most: f64) -> Vec<f64> {
    let rough = (most - least) / TICKS;
    let power = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|figure| figure * power);
    let step = steps
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(steps[3]);
    let first = (least / step).ceil() as i64;
    let last = (most / step).floor() as i64;
    (first..=last).map(|place| place as f64 * step).collect()
}

/// Six digits at most.
fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value:.0}");
    }
    let digits = 5 - value.abs().log10().floor() as i32;
    let text = format!("{value:.*}", digits.clamp(0, 9) as usize);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_range() {
        assert_eq!(ticks(0.0, 7.0), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        assert_eq!(ticks(-0.02, 1.02).len(), 6);
        assert_eq!(ticks(61.0, 69.0).first(), Some(&62.0));
    }

    #[test]
    fn figures_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.1, "0.1"),
            (61.25, "61.25"),
            (1e7, "10000000"),
            (0.3, "0.3"),
            (-2.5, "-2.5"),
        ] {
            assert_eq!(short(value), text);
        }
        assert_eq!(short(0.1 + 0.2), "0.3");
    }
}
