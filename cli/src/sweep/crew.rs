//! The threads of a sweep. Each takes the next run, looks whether it is there whole, else makes it.
//!
//! Runs share nothing but the list that they are taken from. One that panics is told at the end and the others go on; when a
//! file cannot be written, nobody begins another run.

use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyedge_live::huge_pages::HugePages;
use anyedge_net::rng::Seed;
use anyedge_sim::run::{self, Options};
use anyedge_topologies::Topology;

use super::Plan;
use super::folder::Folder;
use super::plan::Planned;
use super::progress::Progress;
use super::row_set::{self, Level};
use super::summary::Summary;

/// As much as a main thread has.
const STACK: usize = 8 << 20;
/// How often progress is told where no run ends.
const TOLD_EVERY: Duration = Duration::from_millis(500);

/// What became of a run.
pub(super) enum Outcome {
    /// It is there already.
    Found(Vec<Level>),
    /// It was made.
    Made(Vec<Level>),
    /// The topology cannot be built.
    Refused(String),
    /// A bug, or a file that could not be written.
    Failed(String),
}

/// Who works, and on what.
pub(super) struct Crew<'s> {
    pub(super) file: &'s Path,
    pub(super) plan: &'s Plan,
    pub(super) folder: &'s Folder,
    pub(super) present: &'s BTreeSet<String>,
    pub(super) duration: Option<Duration>,
    pub(super) jobs: usize,
}

impl Crew<'_> {
    /// Does all of `runs`, and notes in `summary` what became of each.
    pub(super) fn work(
        &self,
        runs: &[Planned],
        mut progress: Progress,
        mut summary: Summary,
    ) -> Summary {
        let next = AtomicUsize::new(0);
        let is_over = AtomicBool::new(false);
        let (sender, outcomes) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..self.jobs.min(runs.len()) {
                let sender = sender.clone();
                let work = || self.one_of_many(runs, &next, &is_over, sender);
                let spawned = thread::Builder::new()
                    .stack_size(STACK)
                    .spawn_scoped(scope, work);
                if let Err(error) = spawned {
                    summary.note(Outcome::Failed(format!("a thread: {error}")));
                }
            }
            drop(sender);
            loop {
                match outcomes.recv_timeout(TOLD_EVERY) {
                    Ok(outcome) => {
                        progress.note(&outcome);
                        summary.note(outcome);
                    }
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                }
                progress.tell(&summary);
            }
        });
        progress.finish();
        summary
    }

    fn one_of_many(
        &self,
        runs: &[Planned],
        next: &AtomicUsize,
        is_over: &AtomicBool,
        sender: mpsc::Sender<Outcome>,
    ) {
        let mut last: Option<(usize, Topology)> = None;
        while !is_over.load(Ordering::Relaxed) {
            let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            let outcome = self.one(*run, &mut last);
            if matches!(outcome, Outcome::Failed(_)) && !self.folder.is_writable() {
                is_over.store(true, Ordering::Relaxed);
            }
            if sender.send(outcome).is_err() {
                return;
            }
        }
    }

    fn one(&self, run: Planned, last: &mut Option<(usize, Topology)>) -> Outcome {
        let name = self.plan.name(run);
        if self.present.contains(&name)
            && let Some(levels) = self.folder.verify(&name)
        {
            return Outcome::Found(levels);
        }
        let made = panic::catch_unwind(AssertUnwindSafe(|| self.make(run, &name, last)));
        made.unwrap_or_else(|_| {
            *last = None;
            Outcome::Failed(format!("{}: ended in a panic", self.told(run)))
        })
    }

    fn make(&self, run: Planned, name: &str, last: &mut Option<(usize, Topology)>) -> Outcome {
        let setting = &self.plan.settings[run.setting];
        if last.as_ref().is_none_or(|(own, _)| *own != run.setting) {
            *last = match Topology::load_with(self.file, &setting.overrides) {
                Ok(topology) if topology.hash == self.plan.hashes[run.setting] => {
                    Some((run.setting, topology))
                }
                _ => None,
            };
        }
        let Some((_, topology)) = last else {
            let file = self.file.display();
            return Outcome::Refused(format!("{file} was changed while the sweep was under way"));
        };
        let options = Options {
            seed: Some(Seed(run.seed)),
            duration: self.duration,
            ..Options::default()
        };
        let mut pages = HugePages::new();
        let ran = run::run(topology, &options, &mut |progress| {
            pages.follow(progress.packet_hops);
        });
        let report = match ran {
            Ok(report) => report,
            Err(error) => return Outcome::Refused(format!("{}: {error}", self.told(run))),
        };
        let bytes = row_set::bytes(name, &self.plan.identity, &setting.cells, &report);
        match bytes.and_then(|bytes| self.folder.put(name, &bytes)) {
            Ok(()) => Outcome::Made(row_set::levels(&report)),
            Err(error) => Outcome::Failed(error),
        }
    }

    /// A run as a command that does it alone.
    fn told(&self, run: Planned) -> String {
        let overrides = self.plan.settings[run.setting].overrides.iter();
        let set: String = overrides.map(|text| format!(" --set '{text}'")).collect();
        let file = self.file.display();
        let duration = self
            .duration
            .map(|time| format!(" --duration {}ns", time.as_nanos()));
        let duration = duration.unwrap_or_default();
        format!("anyedge sim {file} --seed {}{duration}{set}", run.seed)
    }
}
