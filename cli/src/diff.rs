//! `anyedge diff`: what a change of a topology changes for its clients.
//!
//! Both files are run with one seed. Every source of randomness has a stream of its own, by name, so that what the change
//! does not touch happens in both runs alike (common random numbers): what is different is by the change.

mod findings;
mod show;

use std::io::{self, Write as _};
use std::path::Path;
use std::thread;

use anyedge_live::huge_pages::HugePages;
use anyedge_net::rng::Seed;
use anyedge_sim::report::Report;
use anyedge_sim::run::{self, Options};
use anyedge_topologies::Topology;
use indicatif::{MultiProgress, ProgressBar};

use crate::args::DiffArgs;
use crate::exit::Exit;
use crate::{mistakes, simulate};
use findings::Findings;

/// Runs both and compares them.
pub(crate) fn run(args: &DiffArgs) -> Exit {
    let after = args.after.as_deref().unwrap_or(&args.before);
    let loaded = [load(&args.before, &[]), load(after, &args.overrides.set)];
    let [Some(before), Some(after)] = loaded else {
        return Exit::BadInput;
    };
    let options = Options {
        seed: Some(Seed(args.seed.unwrap_or(before.seed))),
        duration: Some(args.duration.unwrap_or(before.duration)),
        ..Options::default()
    };
    let ran = both([&before, &after], options, args.quiet);
    let [before, after] = match ran {
        Ok(reports) => reports,
        Err(error) => {
            mistakes::complain(&error);
            return Exit::BadInput;
        }
    };
    let findings = Findings::of(&before, &after);
    match publish(args, &findings) {
        Ok(()) if findings.newly_broken() => Exit::Broken,
        Ok(()) => Exit::Kept,
        Err(error) => {
            mistakes::complain(&error);
            Exit::Internal
        }
    }
}

fn load(file: &Path, overrides: &[String]) -> Option<Topology> {
    Topology::load_with(file, overrides)
        .inspect_err(|found| mistakes::print(file, found))
        .ok()
}

/// Runs both at the same time, each with a bar of its own.
fn both(topologies: [&Topology; 2], options: Options, quiet: bool) -> Result<[Report; 2], String> {
    let bars = MultiProgress::new();
    let [one, other] = thread::scope(|scope| {
        let runs = topologies.map(|topology| {
            let bar = bars.add(simulate::progress_bar(quiet));
            scope.spawn(move || one_run(topology, &options, &bar))
        });
        runs.map(|run| run.join().map_err(|_| "a run ended in a panic".to_owned()))
    });
    Ok([one??, other??])
}

fn one_run(topology: &Topology, options: &Options, bar: &ProgressBar) -> Result<Report, String> {
    let mut pages = HugePages::new();
    let ran = run::run(topology, options, &mut |progress| {
        pages.follow(progress.packet_hops);
        simulate::show(bar, progress);
    });
    bar.finish_and_clear();
    ran.map_err(|error| format!("{}: {error}", topology.name))
}

fn publish(args: &DiffArgs, findings: &Findings) -> Result<(), String> {
    let text = if args.json {
        serde_json::to_string_pretty(findings).map_err(|error| error.to_string())?
    } else {
        show::text(findings)
    };
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("stdout: {error}")),
        _ => Ok(()),
    }
}

/// Whether a figure changed by more than half of a per cent: histograms have three digits.
fn is_other(before: Option<f64>, after: Option<f64>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => {
            (after - before).abs() > before.abs().max(after.abs()) / 200.0
        }
        (None, None) => false,
        (Some(_), None) | (None, Some(_)) => true,
    }
}
