//! How far a sweep has come: a bar with the time that is left on a terminal, a plain line now and then elsewhere.
//!
//! The time that is left is reckoned by the runs that were really made: those that were there already take none.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::crew::Outcome;
use super::summary::Summary;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Where it is shown.
enum Shown {
    Nowhere,
    Bar(ProgressBar),
    Lines { next: Instant },
}

/// How far a sweep has come.
pub(super) struct Progress {
    shown: Shown,
    runs: usize,
    done: usize,
    made: usize,
    /// When the first run that was made can have begun.
    began: Instant,
}

impl Progress {
    pub(super) fn new(runs: usize, is_quiet: bool) -> Progress {
        let began = Instant::now();
        let shown = if is_quiet {
            Shown::Nowhere
        } else if io::stderr().is_terminal() {
            Shown::Bar(bar(runs))
        } else {
            Shown::Lines {
                next: began + LINE_EVERY,
            }
        };
        Progress {
            shown,
            runs,
            done: 0,
            made: 0,
            began,
        }
    }

    /// A run is over.
    pub(super) fn note(&mut self, outcome: &Outcome) {
        self.done += 1;
        match outcome {
            Outcome::Found(_) if self.made == 0 => self.began = Instant::now(),
            Outcome::Found(_) => {}
            Outcome::Made(_) | Outcome::Refused(_) | Outcome::Failed(_) => self.made += 1,
        }
    }

    fn left(&self) -> Option<Duration> {
        let each = self.began.elapsed().as_secs_f64() / self.made as f64;
        let left = each * (self.runs - self.done) as f64;
        (self.made > 0).then(|| Duration::from_secs_f64(left))
    }

    /// Shows it, if it is time.
    pub(super) fn tell(&mut self, summary: &Summary) {
        let left = self
            .left()
            .map_or_else(String::new, |left| format!("{} left", HumanDuration(left)));
        let broken = match summary.runs_broken() {
            0 => String::new(),
            some => format!("{some} with a service level broken  "),
        };
        let (done, runs) = (self.done, self.runs);
        match &mut self.shown {
            Shown::Nowhere => {}
            Shown::Bar(bar) => {
                bar.set_position(done as u64);
                bar.set_message(format!("{broken}{left}"));
            }
            Shown::Lines { next } => {
                let now = Instant::now();
                if now >= *next && done < runs {
                    *next = now + LINE_EVERY;
                    let _ = writeln!(io::stderr().lock(), "{done} of {runs} runs  {broken}{left}");
                }
            }
        }
    }

    pub(super) fn finish(self) {
        if let Shown::Bar(bar) = self.shown {
            bar.finish_and_clear();
        }
    }
}

fn bar(runs: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(runs as u64), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of {len} runs  {msg}") {
        bar.set_style(style);
    }
    bar
}
