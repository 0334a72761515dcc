//! `anyedge plot`: one figure of a sweep's runs over another, the mean with confidence bands, as SVG or as JSON.
//!
//! Runs with one value from left to right are one point. Where that has more values than a drawing has room for, such as
//! seeds or another figure, neighbours are put together, equally many in each class.

mod draw;
mod figures;
mod lines;
mod statistics;

use std::io::{self, Write as _};

use serde_json::{Value, json};

use crate::args::PlotArgs;
use crate::exit::Exit;
use crate::mistakes;
use figures::Runs;
use lines::{Line, Lines};

/// Why there is no drawing.
enum Trouble {
    /// What was asked for is not there.
    Asked(String),
    /// The machine failed.
    Failed(String),
}

/// Reads a folder and draws.
pub(crate) fn run(args: &PlotArgs) -> Exit {
    match drawn(args) {
        Ok(()) => Exit::Kept,
        Err(Trouble::Asked(why)) => {
            mistakes::complain(&why);
            Exit::BadInput
        }
        Err(Trouble::Failed(why)) => {
            mistakes::complain(&why);
            Exit::Internal
        }
    }
}

fn drawn(args: &PlotArgs) -> Result<(), Trouble> {
    let runs = Runs::read(args).map_err(Trouble::Asked)?;
    let lines = Lines::of(&runs, args).map_err(Trouble::Asked)?;
    if let Some(path) = &args.out {
        let failed =
            |error: &dyn std::fmt::Display| Trouble::Failed(format!("{}: {error}", path.display()));
        let svg = draw::svg(&lines, args.band).map_err(|error| failed(&error))?;
        std::fs::write(path, svg).map_err(|error| failed(&error))?;
    }
    let text = if args.json {
        let text = serde_json::to_string_pretty(&told(&lines));
        text.map_err(|error| Trouble::Failed(error.to_string()))?
    } else {
        let points: usize = lines.lines.iter().map(|line| line.points.len()).sum();
        let out = args.out.as_deref().unwrap_or(&args.folder);
        format!("{}: {points} points of {} runs", out.display(), runs.len())
    };
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Trouble::Failed(format!("stdout: {error}")))
        }
        _ => Ok(()),
    }
}

fn told(lines: &Lines) -> Value {
    let line = |line: &Line| {
        let points = line.points.iter().map(|point| {
            let of = &point.of;
            json!({
                "x": lines.category(point.x).map_or_else(|| json!(point.x), |name| json!(name)),
                "runs": of.count,
                "mean": of.mean,
                "ci95": of.confidence.map(|half| [of.mean - half, of.mean + half]),
                "p10": of.p10,
                "p90": of.p90,
            })
        });
        json!({ "name": line.name, "points": points.collect::<Vec<Value>>() })
    };
    json!({
        "x": lines.x_name,
        "y": lines.y_name,
        "classes": lines.has_classes,
        "lines": lines.lines.iter().map(line).collect::<Vec<Value>>(),
    })
}
