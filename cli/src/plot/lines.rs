//! Runs as lines of points: a line for each object and each value of `--by`, a point for the runs with one value from left to
//! right.

use std::collections::BTreeMap;

use super::figures::{Column, Run, Runs};
use super::statistics::Summary;
use crate::args::PlotArgs;
use crate::sweep::axis::Cell;

/// More values than that are put together in classes.
const VALUES_MAX: usize = 40;
const CLASSES: usize = 20;
/// More lines than that nobody can tell apart.
const LINES_MAX: usize = 8;

/// A point of a line.
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) of: Summary,
}

/// A line, from left to right.
pub(super) struct Line {
    /// Empty where there is one alone.
    pub(super) name: String,
    pub(super) points: Vec<Point>,
}

/// All that is drawn.
pub(super) struct Lines {
    pub(super) x_name: String,
    pub(super) y_name: String,
    pub(super) lines: Vec<Line>,
    /// Values that are no numbers stand at 0, 1, 2, ..
    pub(super) categories: Vec<String>,
    pub(super) has_classes: bool,
}

impl Lines {
    /// What the runs say.
    ///
    /// # Errors
    /// Too many lines, or none; figures that are words.
    pub(super) fn of(runs: &Runs, args: &PlotArgs) -> Result<Lines, String> {
        let objects: Vec<String> = runs.objects().into_iter().collect();
        if objects.len() > LINES_MAX {
            let some = objects[..LINES_MAX].join(", ");
            return Err(format!(
                "--y {}: {} objects have it, which are too many lines\n  hint: name one before it, such as '{} {}'; {some}, ..",
                args.y,
                objects.len(),
                objects[0],
                args.y
            ));
        }
        let mut lines: BTreeMap<Key, Vec<(Cell, f64)>> = BTreeMap::new();
        for run in runs.all() {
            for (place, object) in objects.iter().enumerate() {
                if let Some(point) = point_of(runs, run, object) {
                    let key = Key(place, run.by().cloned());
                    lines.entry(key).or_default().push(point);
                }
            }
        }
        if lines.is_empty() {
            return Err(format!(
                "no run has both --x {} and --y {} as numbers",
                args.x, args.y
            ));
        }
        if lines.len() > LINES_MAX {
            let hint = "a column with fewer values, or one object of --y";
            return Err(format!(
                "{} lines, at most {LINES_MAX}\n  hint: {hint}",
                lines.len()
            ));
        }
        let categories = categories(lines.values().flatten().map(|(x, _)| x));
        let mut has_classes = false;
        let drawn = lines.into_iter().map(|(Key(place, by), points)| {
            let points = points.iter().map(|(x, y)| (position(x, &categories), *y));
            let (points, are_classes) = together(points.collect());
            has_classes |= are_classes;
            let object = (objects.len() > 1).then(|| objects[place].clone());
            let by = args
                .by
                .as_ref()
                .zip(by)
                .map(|(name, value)| format!("{name} = {value}{}", unit_of(runs, name)));
            let name: Vec<String> = object.into_iter().chain(by).collect();
            Line {
                name: name.join(", "),
                points,
            }
        });
        let drawn = drawn.collect();
        Ok(Lines {
            x_name: runs.name(&runs.x),
            y_name: y_name(runs, &objects),
            lines: drawn,
            categories,
            has_classes,
        })
    }

    /// What stands at a place that is no number.
    pub(super) fn category(&self, x: f64) -> Option<&str> {
        self.categories.get(x.round() as usize).map(String::as_str)
    }
}

fn unit_of(runs: &Runs, name: &str) -> String {
    let unit = runs.unit(name);
    unit.map_or_else(String::new, |unit| format!(" {unit}"))
}

fn y_name(runs: &Runs, objects: &[String]) -> String {
    match (&runs.y, objects) {
        (
            Column::Figure {
                object: None,
                metric,
            },
            [object],
        ) => {
            let object = Some(object.clone());
            let metric = metric.clone();
            runs.name(&Column::Figure { object, metric })
        }
        (column, _) => runs.name(column),
    }
}

fn point_of(runs: &Runs, run: &Run, object: &str) -> Option<(Cell, f64)> {
    let x = run.x(&runs.x, object)?;
    let y = run.y(&runs.y, object)?;
    Some((x, y))
}

/// Which line: the number of its object, and what `--by` says. Numbers are ordered as such.
struct Key(usize, Option<Cell>);

impl Ord for Key {
    fn cmp(&self, other: &Key) -> std::cmp::Ordering {
        let number = |cell: &Option<Cell>| cell.as_ref().and_then(number);
        let word = |cell: &Option<Cell>| cell.as_ref().map(ToString::to_string);
        let by_number = match (number(&self.1), number(&other.1)) {
            (Some(one), Some(other)) => one.total_cmp(&other),
            (None, None) => std::cmp::Ordering::Equal,
            (one, other) => one.is_some().cmp(&other.is_some()),
        };
        let by_object = self.0.cmp(&other.0);
        by_object
            .then(by_number)
            .then_with(|| word(&self.1).cmp(&word(&other.1)))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key {}

fn number(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Integer(integer) => Some(*integer as f64),
        Cell::Number(number) => Some(*number),
        Cell::Truth(_) | Cell::Text(_) => None,
    }
}

/// The values, if some are no numbers, in their order.
fn categories<'c>(cells: impl Iterator<Item = &'c Cell> + Clone) -> Vec<String> {
    if cells.clone().all(|cell| number(cell).is_some()) {
        return Vec::new();
    }
    let mut all: Vec<String> = cells.map(ToString::to_string).collect();
    all.sort();
    all.dedup();
    all
}

fn position(cell: &Cell, categories: &[String]) -> f64 {
    match number(cell) {
        Some(number) if categories.is_empty() => number,
        _ => {
            let name = cell.to_string();
            categories.iter().position(|own| *own == name).unwrap_or(0) as f64
        }
    }
}

/// One point for each value; for classes of neighbours, where those are too many.
fn together(mut pairs: Vec<(f64, f64)>) -> (Vec<Point>, bool) {
    pairs.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let same = pairs.chunk_by(|(one, _), (other, _)| one == other);
    let groups: Vec<&[(f64, f64)]> = same.collect();
    let are_classes = groups.len() > VALUES_MAX;
    let each = pairs.len().div_ceil(CLASSES).max(1);
    let groups = if are_classes {
        pairs.chunks(each).collect()
    } else {
        groups
    };
    let points = groups.iter().map(|group| {
        let values: Vec<f64> = group.iter().map(|(_, y)| *y).collect();
        let sum: f64 = group.iter().map(|(x, _)| *x).sum();
        let x = if are_classes {
            sum / group.len() as f64
        } else {
            group[0].0
        };
        let of = Summary::of(&values);
        Point { x, of }
    });
    (points.collect(), are_classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_point_and_many_values_are_classes() {
        let (points, are_classes) = together(vec![(2.0, 1.0), (1.0, 5.0), (2.0, 3.0)]);
        assert!(!are_classes);
        let told: Vec<(f64, usize, f64)> = points
            .iter()
            .map(|it| (it.x, it.of.count, it.of.mean))
            .collect();
        assert_eq!(told, [(1.0, 1, 5.0), (2.0, 2, 2.0)]);
        let many = (0..1_000).map(|seed| (f64::from(seed), 1.0));
        let (points, are_classes) = together(many.collect());
        assert!(are_classes);
        assert_eq!(points.len(), CLASSES);
        assert!(points.iter().all(|point| point.of.count == 50));
    }

    #[test]
    fn words_stand_side_by_side_and_numbers_where_they_are() {
        let words = [
            Cell::Text("gre-udp".to_owned()),
            Cell::Text("gre".to_owned()),
        ];
        let named = categories(words.iter());
        assert_eq!(named, ["gre", "gre-udp"]);
        assert!((position(&words[0], &named) - 1.0).abs() < 1e-9);
        let numbers = [Cell::Integer(3), Cell::Number(0.5)];
        assert!(categories(numbers.iter()).is_empty());
    }
}
