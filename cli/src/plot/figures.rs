//! The figures of a sweep's runs that a drawing wants, read from their files.
//!
//! A column is one of the run (`seed`, a key that was set) or a figure of the report, which has an object. Counts by cause name
//! only what occurred, so one that a run does not have is 0 there; any other figure that it does not have is left out.

use std::collections::{BTreeMap, BTreeSet};

use anyedge_topologies::did_you_mean;

use crate::args::PlotArgs;
use crate::sweep::axis::Cell;
use crate::sweep::folder;
use crate::sweep::row_set::RowSet;

/// Fields of the report that count by cause.
const BY_CAUSE: [&str; 6] = [
    "drops",
    "dropped",
    "failed",
    "flows_broken",
    "closed",
    "pops",
];
/// What belongs to no object of the file.
const WHOLE: &str = "run";

/// A column as it was asked for.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Column {
    /// The same in all rows of a run.
    OfRun(String),
    /// A figure, of the object that it names or of whichever has it.
    Figure {
        object: Option<String>,
        metric: String,
    },
}

impl Column {
    fn parse(text: &str, of_run: &[String]) -> Column {
        if of_run.iter().any(|name| name == text) {
            return Column::OfRun(text.to_owned());
        }
        let (object, metric) = match text.trim().rsplit_once(' ') {
            Some((object, metric)) => (Some(object.to_owned()), metric.to_owned()),
            None => (None, text.to_owned()),
        };
        Column::Figure { object, metric }
    }

    fn is(&self, object: &str, metric: &str) -> bool {
        match self {
            Self::OfRun(_) => false,
            Self::Figure {
                object: own,
                metric: wanted,
            } => wanted == metric && own.as_ref().is_none_or(|own| own == object),
        }
    }

    fn counts_by_cause(&self) -> bool {
        let Self::Figure { metric, .. } = self else {
            return false;
        };
        metric.rsplit_once('.').is_some_and(|(list, _)| {
            let field = list.rsplit('.').next().unwrap_or(list);
            BY_CAUSE.contains(&field)
        })
    }
}

/// What one run says of a column, by object; of a column of the run, all objects alike.
#[derive(Debug)]
enum Said {
    OfRun(Cell),
    Figures(BTreeMap<String, f64>),
}

/// One run.
pub(super) struct Run {
    x: Said,
    y: Said,
    by: Option<Cell>,
}

/// All runs of a folder.
pub(super) struct Runs {
    pub(super) x: Column,
    pub(super) y: Column,
    /// Units of keys that were set.
    units: BTreeMap<String, String>,
    runs: Vec<Run>,
}

impl Runs {
    /// Reads the folder.
    ///
    /// # Errors
    /// A folder without runs, a file that is damaged, a column that no run has.
    pub(super) fn read(args: &PlotArgs) -> Result<Runs, String> {
        let folder = args.folder.display();
        let files = folder::runs(&args.folder).map_err(|error| format!("{folder}: {error}"))?;
        let Some(first) = files.first() else {
            let hint = format!("anyedge sweep FILE --seeds 1..100 --out {folder}");
            return Err(format!("{folder} has no runs\n  hint: {hint}"));
        };
        let first = RowSet::open(first)?;
        let of_run: Vec<String> = first.of_the_run().map(str::to_owned).collect();
        let (x, y) = (
            Column::parse(&args.x, &of_run),
            Column::parse(&args.y, &of_run),
        );
        if let Some(by) = &args.by
            && !of_run.contains(by)
        {
            let hint = did_you_mean(by, of_run.iter().map(String::as_str));
            return Err(format!(
                "--by {by}: no column of the runs in {folder}\n  hint: {hint}"
            ));
        }
        let columns = first
            .identity()
            .map(|identity| identity.columns)
            .unwrap_or_default();
        let units = columns
            .into_iter()
            .filter_map(|it| Some((it.key, it.unit?)));
        let mut names = BTreeSet::new();
        let mut runs = Vec::new();
        for path in &files {
            let damaged =
                |why: String| format!("{}: {why}\n  hint: run the sweep again", path.display());
            let file = RowSet::open(path).map_err(damaged)?;
            let run = Run::read(&file, [&x, &y], args.by.as_deref(), &mut names);
            runs.push(run.map_err(damaged)?);
        }
        let own = Runs {
            x,
            y,
            units: units.collect(),
            runs,
        };
        own.refuse_unknown(args, &of_run, &names)?;
        Ok(own)
    }

    fn refuse_unknown(
        &self,
        args: &PlotArgs,
        of_run: &[String],
        names: &BTreeSet<(String, String)>,
    ) -> Result<(), String> {
        for (option, text, column) in [("--x", &args.x, &self.x), ("--y", &args.y, &self.y)] {
            let Column::Figure { object, metric } = column else {
                continue;
            };
            if names
                .iter()
                .any(|(object, metric)| column.is(object, metric))
            {
                continue;
            }
            let fits = |known: &BTreeSet<(String, String)>| {
                known.iter().any(|(own, _)| Some(own) == object.as_ref())
            };
            let metrics_of = |wanted: Option<&String>| {
                let own = names
                    .iter()
                    .filter(|(own, _)| wanted.is_none_or(|it| it == own));
                own.map(|(_, metric)| metric.as_str())
                    .collect::<BTreeSet<&str>>()
            };
            let hint = match object {
                Some(own) if !fits(names) => {
                    let objects: BTreeSet<&str> =
                        names.iter().map(|(own, _)| own.as_str()).collect();
                    did_you_mean(own, objects.iter().copied())
                }
                Some(own) => did_you_mean(metric, metrics_of(Some(own)).iter().copied()),
                None => {
                    let columns = of_run.iter().map(String::as_str);
                    let all: BTreeSet<&str> = columns.chain(metrics_of(None)).collect();
                    did_you_mean(text, all.iter().copied())
                }
            };
            let what = match object {
                Some(own) if !fits(names) => format!("no run has an object `{own}`"),
                Some(own) => format!("{own} has no figure `{metric}`"),
                None => "neither a column nor a figure of any run".to_owned(),
            };
            return Err(format!("{option} {text}: {what}\n  hint: {hint}"));
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    pub(super) fn all(&self) -> &[Run] {
        &self.runs
    }

    /// The unit of a key that was set.
    pub(super) fn unit(&self, key: &str) -> Option<&str> {
        self.units.get(key).map(String::as_str)
    }

    /// A column's name as an axis has it, with its unit.
    pub(super) fn name(&self, column: &Column) -> String {
        match column {
            Column::OfRun(name) => match self.unit(name) {
                Some(unit) => format!("{name} ({unit})"),
                None => name.clone(),
            },
            Column::Figure { object, metric } => match object.as_deref() {
                None | Some(WHOLE) => metric.clone(),
                Some(object) => format!("{object} {metric}"),
            },
        }
    }

    /// The objects that have a line each: the run as a whole if it has the figure, else all that have it, but for those that
    /// are part of another such as a population's loads.
    pub(super) fn objects(&self) -> BTreeSet<String> {
        let mut objects = BTreeSet::new();
        for run in &self.runs {
            if let Said::Figures(figures) = &run.y {
                objects.extend(figures.keys().cloned());
            }
        }
        if objects.is_empty() || objects.contains(WHOLE) {
            return BTreeSet::from([WHOLE.to_owned()]);
        }
        let is_part = |object: &str| {
            let wholes = object.match_indices(' ').map(|(at, _)| &object[..at]);
            wholes.into_iter().any(|whole| objects.contains(whole))
        };
        let wholes = objects.iter().filter(|object| !is_part(object));
        wholes.cloned().collect()
    }
}

impl Run {
    fn read(
        file: &RowSet,
        wanted: [&Column; 2],
        by: Option<&str>,
        names: &mut BTreeSet<(String, String)>,
    ) -> Result<Run, String> {
        let of_run = |name: &str| {
            let cell = file.column(name, true)?.into_iter().next().flatten();
            let cell = cell.ok_or_else(|| format!("column `{name}` is empty"))?;
            Ok::<Cell, String>(match (name, cell) {
                // Unsigned, in a column that has no other width.
                ("seed", Cell::Integer(seed)) => Cell::Number(seed.cast_unsigned() as f64),
                (_, cell) => cell,
            })
        };
        let by = by.map(of_run).transpose()?;
        let mut figures = [BTreeMap::new(), BTreeMap::new()];
        if wanted
            .iter()
            .any(|column| matches!(column, Column::Figure { .. }))
        {
            let (objects, metrics) = (file.column("object", false)?, file.column("metric", false)?);
            let values = file.column("value", false)?;
            for ((object, metric), value) in objects.into_iter().zip(metrics).zip(values) {
                let (Some(Cell::Text(object)), Some(Cell::Text(metric))) = (object, metric) else {
                    continue;
                };
                let Some(Cell::Number(value)) = value else {
                    continue;
                };
                for (column, figures) in wanted.iter().zip(&mut figures) {
                    if column.is(&object, &metric) {
                        figures.insert(object.clone(), value);
                    }
                }
                names.insert((object, metric));
            }
        }
        let [x, y] = figures;
        let said = |column: &Column, figures| match column {
            Column::OfRun(name) => of_run(name).map(Said::OfRun),
            Column::Figure { .. } => Ok(Said::Figures(figures)),
        };
        Ok(Run {
            x: said(wanted[0], x)?,
            y: said(wanted[1], y)?,
            by,
        })
    }

    /// Of which line it is, beside its object.
    pub(super) fn by(&self) -> Option<&Cell> {
        self.by.as_ref()
    }

    /// Where it is from left to right, on the line of `object`.
    pub(super) fn x(&self, column: &Column, object: &str) -> Option<Cell> {
        said(&self.x, column, object)
    }

    /// How high it is.
    pub(super) fn y(&self, column: &Column, object: &str) -> Option<f64> {
        match said(&self.y, column, object)? {
            Cell::Number(number) => Some(number),
            Cell::Integer(integer) => Some(integer as f64),
            Cell::Truth(truth) => Some(f64::from(u8::from(truth))),
            Cell::Text(_) => None,
        }
    }
}

/// A figure of the line's own object, else of the one that has it.
fn said(of: &Said, column: &Column, object: &str) -> Option<Cell> {
    let figures = match of {
        Said::OfRun(cell) => return Some(cell.clone()),
        Said::Figures(figures) => figures,
    };
    let named = match column {
        Column::Figure {
            object: Some(own), ..
        } => figures.get(own),
        _ => figures.get(object).or_else(|| figures.get(WHOLE)),
    };
    let absent = column.counts_by_cause().then_some(0.0);
    named.copied().or(absent).map(Cell::Number)
}
