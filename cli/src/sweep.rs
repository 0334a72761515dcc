//! `anyedge sweep`: a topology under many seeds and settings, on all cores, a Parquet file for each run.
//!
//! A run's name is made of what it depends on: the file with what is set in it, the version, the duration and the seed. So what
//! is to be run and what is there already can be told by names alone, in any order, by any number of machines.
//!
//! Invariant: the files of a sweep do not depend on who made them, when, how often they were interrupted, or with how many jobs.

pub(crate) mod axis;
mod crew;
pub(crate) mod folder;
mod plan;
mod progress;
pub(crate) mod row_set;
mod summary;
mod value_list;

use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::thread;
use std::time::{Duration, Instant};

use anyedge_topologies::{Diagnostic, Topology};
use xxhash_rust::xxh3::xxh3_64;

use crate::args::SweepArgs;
use crate::exit::Exit;
use crate::mistakes;
use axis::Axis;
use crew::Crew;
use folder::{Column, Folder, Identity, Trouble};
use plan::Setting;
use progress::Progress;
use summary::Summary;

pub(crate) use plan::{Seeds, Shard};

/// Shape of the files.
const SCHEMA: u32 = 1;
/// Mistakes that are shown at most, over all settings.
const MISTAKES_MAX: usize = 20;

/// Runs what is not there yet.
pub(crate) fn run(args: &SweepArgs) -> Exit {
    let started = Instant::now();
    let jobs = args.jobs.map_or_else(cores, NonZeroUsize::get);
    let planned = match Plan::of(args, jobs) {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    let folder = match Folder::claim(&args.out, &planned.identity) {
        Ok(folder) => folder,
        Err(Trouble::Taken(why)) => return refused(&why),
        Err(Trouble::Failed(why)) => return broken_down(&why),
    };
    let present = match folder.present() {
        Ok(present) => present,
        Err(why) => return broken_down(&why),
    };
    let mut runs = plan::runs(planned.settings.len(), &planned.seeds, args.shard);
    // What is there is looked at first: what is left then takes as long as the runs say.
    runs.sort_by_key(|run| !present.contains(&planned.name(*run)));
    let progress = Progress::new(runs.len(), args.quiet);
    let crew = Crew {
        file: &args.file,
        plan: &planned,
        folder: &folder,
        present: &present,
        duration: args.duration,
        jobs,
    };
    let summary = Summary::new(args, &planned, runs.len());
    let summary = crew.work(&runs, progress, summary);
    let text = if args.json {
        serde_json::to_string_pretty(&summary.json(started.elapsed(), jobs)).unwrap_or_default()
    } else {
        summary.text(started.elapsed(), jobs)
    };
    for why in summary.troubles() {
        mistakes::complain(why);
    }
    match writeln!(io::stdout().lock(), "{}", text.trim_end()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            broken_down(&format!("stdout: {error}"))
        }
        _ => summary.exit(),
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn refused(why: &str) -> Exit {
    mistakes::complain(why);
    Exit::BadInput
}

fn broken_down(why: &str) -> Exit {
    mistakes::complain(why);
    Exit::Internal
}

/// All that is to be run, checked.
struct Plan {
    identity: Identity,
    settings: Vec<Setting>,
    /// Of the topology under each setting.
    hashes: Vec<u64>,
    seeds: Seeds,
}

impl Plan {
    /// Reads the options, and the file under every setting; mistakes are told, all at once.
    fn of(args: &SweepArgs, jobs: usize) -> Result<Plan, Exit> {
        let axes: Vec<Result<Axis, String>> =
            args.set.iter().map(|text| Axis::parse(text)).collect();
        let wrong: Vec<&String> = axes.iter().filter_map(|axis| axis.as_ref().err()).collect();
        for why in &wrong {
            mistakes::complain(why);
        }
        if !wrong.is_empty() {
            return Err(Exit::BadInput);
        }
        let axes: Vec<Axis> = axes.into_iter().flatten().collect();
        let seeds = args.seeds.as_ref().map_or(1, Seeds::count);
        let settings = plan::settings(&axes, seeds).map_err(|why| refused(&why))?;
        let Checked { hashes, name, seed } = match check(args, &settings, jobs) {
            Ok(checked) => checked,
            Err(found) => {
                mistakes::print(&args.file, &found);
                return Err(Exit::BadInput);
            }
        };
        let seeds = args.seeds.clone().unwrap_or_else(|| Seeds::one(seed));
        let plain = Topology::load(&args.file);
        let hash = match &plain {
            Ok(topology) => topology.hash,
            // It has a mistake that every setting mends.
            Err(_) => xxh3_64(&std::fs::read(&args.file).unwrap_or_default()),
        };
        let identity = Identity {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            topology: name,
            topology_hash: format!("{hash:016x}"),
            duration_ns: args.duration.map(nanos),
            columns: axes.iter().map(Column::from).collect(),
        };
        Ok(Plan {
            identity,
            settings,
            hashes,
            seeds,
        })
    }

    /// The name of a run, which is that of its file.
    fn name(&self, run: plan::Planned) -> String {
        let Identity {
            schema,
            version,
            duration_ns,
            ..
        } = &self.identity;
        let depends = (schema, version, duration_ns, self.hashes[run.setting]);
        let hash = xxh3_64(format!("{depends:?}").as_bytes());
        format!("{hash:016x}-{}", run.seed)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What the topology is under every setting.
struct Checked {
    hashes: Vec<u64>,
    /// No setting changes it that makes sense.
    name: String,
    /// The file's own, which no setting may change.
    seed: u64,
}

/// Reads the file under every setting; else the mistakes, each once.
fn check(args: &SweepArgs, settings: &[Setting], jobs: usize) -> Result<Checked, Vec<Diagnostic>> {
    let each = settings.len().div_ceil(jobs).max(1);
    type Loaded = Result<(u64, String, u64), Vec<Diagnostic>>;
    let loaded: Vec<Loaded> = thread::scope(|scope| {
        let load = |setting: &Setting| {
            let topology = Topology::load_with(&args.file, &setting.overrides)?;
            Ok((topology.hash, topology.name, topology.seed))
        };
        let parts = settings.chunks(each);
        let parts =
            parts.map(|part| scope.spawn(move || part.iter().map(load).collect::<Vec<Loaded>>()));
        let parts: Vec<_> = parts.collect();
        let done = parts.into_iter().map(thread::ScopedJoinHandle::join);
        done.flat_map(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut checked = Checked {
        hashes: Vec::new(),
        name: String::new(),
        seed: 0,
    };
    for own in loaded {
        match own {
            Ok((hash, name, seed)) => {
                checked.hashes.push(hash);
                checked.name = name;
                checked.seed = seed;
            }
            Err(own) => {
                for mistake in own {
                    if !found.contains(&mistake) {
                        found.push(mistake);
                    }
                }
            }
        }
    }
    found.truncate(MISTAKES_MAX);
    if found.is_empty() {
        Ok(checked)
    } else {
        Err(found)
    }
}
