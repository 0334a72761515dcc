//! What came of a sweep: how many runs there are, and which service levels broke in how many of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::crew::Outcome;
use super::row_set::Level;
use super::{Plan, Shard};
use crate::args::SweepArgs;
use crate::exit::Exit;
use crate::tables;

/// Troubles that are told at most.
const TROUBLES_MAX: usize = 5;

/// In how many runs a service level was asked for, and in how many broken.
#[derive(Clone, Copy, Default)]
struct Tally {
    runs: usize,
    broken: usize,
}

/// What came of it so far.
pub(super) struct Summary {
    topology: String,
    out: PathBuf,
    shard: Shard,
    settings: usize,
    seeds: usize,
    runs: usize,
    found: usize,
    made: usize,
    runs_broken: usize,
    refused: usize,
    failed: usize,
    /// By whose they are and what they expect.
    levels: BTreeMap<(String, String), Tally>,
    troubles: Vec<String>,
}

impl Summary {
    pub(super) fn new(args: &SweepArgs, plan: &Plan, runs: usize) -> Summary {
        Summary {
            topology: plan.identity.topology.clone(),
            out: args.out.clone(),
            shard: args.shard,
            settings: plan.settings.len(),
            seeds: plan.seeds.count(),
            runs,
            found: 0,
            made: 0,
            runs_broken: 0,
            refused: 0,
            failed: 0,
            levels: BTreeMap::new(),
            troubles: Vec::new(),
        }
    }

    /// A run is over.
    pub(super) fn note(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Found(levels) => {
                self.found += 1;
                self.judge(levels);
            }
            Outcome::Made(levels) => {
                self.made += 1;
                self.judge(levels);
            }
            Outcome::Refused(why) => {
                self.refused += 1;
                self.troubles.push(why);
            }
            Outcome::Failed(why) => {
                self.failed += 1;
                self.troubles.push(why);
            }
        }
    }

    fn judge(&mut self, levels: Vec<Level>) {
        self.runs_broken += usize::from(levels.iter().any(|level| !level.kept));
        for Level { of, expect, kept } in levels {
            let tally = self.levels.entry((of, expect)).or_default();
            tally.runs += 1;
            tally.broken += usize::from(!kept);
        }
    }

    pub(super) fn runs_broken(&self) -> usize {
        self.runs_broken
    }

    /// What went wrong, each once.
    pub(super) fn troubles(&self) -> Vec<&str> {
        let mut told: Vec<&str> = Vec::new();
        for why in &self.troubles {
            if !told.contains(&why.as_str()) && told.len() < TROUBLES_MAX {
                told.push(why);
            }
        }
        told
    }

    pub(super) fn exit(&self) -> Exit {
        if self.failed > 0 {
            Exit::Internal
        } else if self.refused > 0 {
            Exit::BadInput
        } else if self.runs_broken > 0 {
            Exit::Broken
        } else {
            Exit::Kept
        }
    }

    /// Runs that have a file.
    fn whole(&self) -> usize {
        self.found + self.made
    }

    pub(super) fn json(&self, took: Duration, jobs: usize) -> Value {
        let levels = self.levels.iter().map(|((of, expect), tally)| {
            json!({ "of": of, "expect": expect, "runs": tally.runs, "broken": tally.broken })
        });
        json!({
            "topology": self.topology,
            "version": env!("CARGO_PKG_VERSION"),
            "out": self.out,
            "shard": self.shard.to_string(),
            "settings": self.settings,
            "seeds": self.seeds,
            "runs": self.runs,
            "found": self.found,
            "made": self.made,
            "refused": self.refused,
            "failed": self.failed,
            "not_begun": self.not_begun(),
            "runs_broken": self.runs_broken,
            "slos": levels.collect::<Vec<Value>>(),
            "jobs": jobs,
            "wall_s": took.as_secs_f64(),
        })
    }

    /// Runs that nobody began, since files could not be written.
    fn not_begun(&self) -> usize {
        self.runs
            .saturating_sub(self.whole() + self.refused + self.failed)
    }

    pub(super) fn text(&self, took: Duration, jobs: usize) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{}: {} x {}{}: {}, {} made in {:.1} s by {}, {} there already, in {}",
            self.topology,
            counted(self.settings, "setting"),
            counted(self.seeds, "seed"),
            match self.shard.to_string().as_str() {
                "1/1" => String::new(),
                shard => format!(", shard {shard}"),
            },
            counted(self.runs, "run"),
            self.made,
            took.as_secs_f64(),
            counted(jobs, "job"),
            self.found,
            self.out.display(),
        );
        for (count, what) in [
            (self.refused, "could not be built"),
            (self.failed, "failed"),
            (self.not_begun(), "not begun"),
        ] {
            if count > 0 {
                let _ = writeln!(text, "{}: {what}", counted(count, "run"));
            }
        }
        text.push('\n');
        if self.levels.is_empty() {
            text.push_str("Verdict: no service level is asked for\n");
            return text;
        }
        let mut table = tables::table(&["of", "expect", "broken in", "of runs"], 2);
        for ((of, expect), tally) in &self.levels {
            table.add_row([
                of,
                expect,
                &tally.broken.to_string(),
                &tally.runs.to_string(),
            ]);
        }
        let _ = writeln!(text, "{table}\n");
        let _ = match self.runs_broken {
            0 => writeln!(
                text,
                "Verdict: all service levels kept in {}",
                counted(self.whole(), "run")
            ),
            some => writeln!(
                text,
                "Verdict: service levels BROKEN in {some} of {}",
                counted(self.whole(), "run")
            ),
        };
        text
    }
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
