//! `anyedge sim`: one run, with progress, a report for people or as JSON, and the verdict as exit code.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyedge_live::huge_pages::HugePages;
use anyedge_live::memory;
use anyedge_net::rng::Seed;
use anyedge_sim::digest::Cover;
use anyedge_sim::report::Report;
use anyedge_sim::run::{self, Options, Progress};
use anyedge_topologies::Topology;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::{DigestCover, SimArgs};
use crate::captures::Captures;
use crate::exit::Exit;
use crate::{mistakes, results, tables};

/// Steps of the progress bar: tenths of a per cent.
const BAR_LEN: u64 = 1_000;

pub(crate) fn run(args: &SimArgs) -> Exit {
    let topology = match Topology::load_with(&args.file, &args.overrides.set) {
        Ok(topology) => topology,
        Err(found) => {
            mistakes::print(&args.file, &found);
            return Exit::BadInput;
        }
    };
    let options = Options {
        seed: args.seed.map(Seed),
        duration: args.duration,
        cover: match args.digest {
            DigestCover::Headers => Cover::Headers,
            DigestCover::Full => Cover::Full,
        },
        ..Options::default()
    };
    let captures = args.results.pcap.as_deref().map(Captures::into);
    let captures = match captures.transpose() {
        Ok(captures) => captures,
        Err(error) => {
            mistakes::complain(&error);
            return Exit::Internal;
        }
    };
    let bar = progress_bar(args.quiet);
    let started = Instant::now();
    let mut pages = HugePages::new();
    let mut progress = |progress: Progress| {
        pages.follow(progress.packet_hops);
        show(&bar, progress);
    };
    let ran = match &captures {
        Some(captures) => {
            let watcher = Box::new(captures.clone());
            run::run_watched(&topology, &options, watcher, &mut progress)
        }
        None => run::run(&topology, &options, &mut progress),
    };
    bar.finish_and_clear();
    let report = match ran {
        // The simulated world knows neither our clock nor our memory.
        Ok(report) => Report {
            wall_s: started.elapsed().as_secs_f64(),
            memory_peak_bytes: memory::peak_bytes(),
            ..report
        },
        Err(error) => {
            mistakes::complain(&format!("{}: {error}", args.file.display()));
            return Exit::BadInput;
        }
    };
    let written = results::write(&args.results, &topology, &report);
    let captured = captures.map_or(Ok(()), |captures| captures.finish());
    match publish(args, &report).and(written).and(captured) {
        Ok(()) if report.kept() => Exit::Kept,
        Ok(()) => Exit::Broken,
        Err(error) => {
            mistakes::complain(&error);
            Exit::Internal
        }
    }
}

fn publish(args: &SimArgs, report: &Report) -> Result<(), String> {
    let json = || {
        serde_json::to_string_pretty(report).map_err(|error| format!("the report as JSON: {error}"))
    };
    let on_stdout = |text: &str| match writeln!(io::stdout().lock(), "{text}") {
        // A reader such as `head` that has seen enough is no failure of ours.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("stdout: {error}")),
        _ => Ok(()),
    };
    match args.json.as_deref() {
        Some(path) if path == Path::new("-") => on_stdout(&json()?),
        Some(path) => {
            fs::write(path, json()? + "\n")
                .map_err(|error| format!("{}: {error}", path.display()))?;
            on_stdout(&tables::render(report, args.links))
        }
        None => on_stdout(&tables::render(report, args.links)),
    }
}

pub(crate) fn progress_bar(quiet: bool) -> ProgressBar {
    let target = if quiet {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let bar = ProgressBar::with_draw_target(Some(BAR_LEN), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3}%  {msg}  {eta} left") {
        bar.set_style(style);
    }
    bar
}

pub(crate) fn show(bar: &ProgressBar, progress: Progress) {
    let share = progress.at.as_secs_f64() / progress.end.max(Duration::from_nanos(1)).as_secs_f64();
    bar.set_position((share.min(1.0) * BAR_LEN as f64) as u64);
    bar.set_message(format!(
        "{:.1}s simulated, {} packet hops",
        progress.at.as_secs_f64(),
        progress.packet_hops
    ));
}
