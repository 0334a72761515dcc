//! A run's report as files: a page for people; CSV, JUnit, and percentiles as `.hgrm` files for other tools.
//!
//! All are written when the run is over, whatever its verdict; a file that cannot be written is exit code 3, said with
//! its name, and the others are written all the same.

mod csv;
mod hgrm;
mod html;
mod junit;
pub(crate) mod rows;

use std::fs;
use std::path::Path;

use anyedge_sim::report::Report;
use anyedge_topologies::Topology;

use crate::args::ResultArgs;

/// Writes what was asked for; the mistakes, if some could not be.
pub(crate) fn write(args: &ResultArgs, topology: &Topology, report: &Report) -> Result<(), String> {
    let mut failed = Vec::new();
    let mut note = |path: &Path, done: Result<(), String>| {
        failed.extend(
            done.err()
                .map(|error| format!("{}: {error}", path.display())),
        );
    };
    if let Some(path) = &args.report {
        note(path, save(path, &html::text(topology, report)));
    }
    if let Some(path) = &args.csv {
        note(path, csv::text(report).and_then(|text| save(path, &text)));
    }
    if let Some(path) = &args.junit {
        note(path, junit::text(report).and_then(|text| save(path, &text)));
    }
    if let Some(folder) = &args.hgrm {
        note(folder, hgrm::write(folder, report));
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(failed.join("\n"))
    }
}

fn save(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| error.to_string())
}
