//! What the simulator does beside what theory says of it, as one table: `tests/goldens/theory.txt`.
//!
//! A row is a quantity that a formula gives, the formula's figure, the simulator's, and how far these may be from each
//! other: not at all, a share of the figure, or three standard deviations of a count that is drawn. Runs are
//! deterministic, so the table is compared word for word; `ANYEDGE_UPDATE_GOLDENS=1` renews it, and a row that is off
//! fails all the same.

use std::fmt::Write as _;
use std::fs;

use anyedge_tests::binary::root;

use super::{little, losses, queues, stalls, wires};

/// How far a figure may be from theory's.
#[derive(Clone, Copy)]
pub(super) enum Within {
    /// Not at all.
    Exactly,
    /// So large a part of theory's figure.
    Share(f64),
    /// Three of these, which is the standard deviation of what is drawn.
    ThreeSigma(f64),
    /// At least theory's figure.
    OrAbove,
    /// At most theory's figure.
    OrBelow,
}

/// A quantity, by theory and in the simulator.
pub(super) struct Row {
    pub(super) what: String,
    pub(super) theory: f64,
    pub(super) found: f64,
    pub(super) within: Within,
}

impl Row {
    fn holds(&self) -> bool {
        let off = (self.found - self.theory).abs();
        match self.within {
            Within::Exactly => off == 0.0,
            Within::Share(share) => off <= share * self.theory.abs(),
            Within::ThreeSigma(sigma) => off <= 3.0 * sigma,
            Within::OrAbove => self.found >= self.theory,
            Within::OrBelow => self.found <= self.theory,
        }
    }

    fn line(&self) -> String {
        let off = self.found - self.theory;
        let (off, within) = match self.within {
            Within::Exactly => (format!("{off}"), "exact".to_owned()),
            Within::Share(share) => (
                format!("{:+.2} %", 100.0 * off / self.theory),
                format!("{} %", 100.0 * share),
            ),
            Within::ThreeSigma(sigma) => {
                (format!("{:+.2} sigma", off / sigma), "3 sigma".to_owned())
            }
            Within::OrAbove => (String::new(), "at least".to_owned()),
            Within::OrBelow => (String::new(), "at most".to_owned()),
        };
        let (theory, found) = (figure(self.theory), figure(self.found));
        let line = format!(
            "{:<66} {theory:>12} {found:>12} {off:>12}  {within}",
            self.what
        );
        line.trim_end().to_owned()
    }
}

/// Whole numbers as they are, others with six digits.
fn figure(value: f64) -> String {
    if value.fract() == 0.0 {
        return format!("{value}");
    }
    let whole_digits = value.abs().log10().floor().max(0.0) as usize + 1;
    format!("{value:.*}", 6_usize.saturating_sub(whole_digits))
}

#[test]
fn the_simulator_does_what_theory_says() {
    let parts = [
        ("A wire, in ns", wires::rows()),
        ("A queue, in ms unless it says else", queues::rows()),
        (
            "Little's law over every queue of an edge: packets or requests there",
            little::rows(),
        ),
        ("Loss in bursts", losses::rows()),
        (
            "An open loop before a server that stalls for 1 s",
            stalls::rows(),
        ),
    ];
    let mut table = format!(
        "{:<66} {:>12} {:>12} {:>12}  within\n",
        "", "theory", "simulator", "off"
    );
    let mut off = Vec::new();
    for (title, rows) in &parts {
        writeln!(table, "\n{title}").expect("writing to a string works");
        for row in rows {
            let line = row.line();
            writeln!(table, "  {line}").expect("writing to a string works");
            if !row.holds() {
                off.push(line);
            }
        }
    }
    assert!(off.is_empty(), "off:\n{}\n\nof\n{table}", off.join("\n"));
    let golden = root().join("tests/goldens/theory.txt");
    if std::env::var_os("ANYEDGE_UPDATE_GOLDENS").is_some() {
        fs::write(&golden, &table).expect("the golden can be written");
    }
    let committed = fs::read_to_string(golden).expect("the golden is committed");
    assert_eq!(table, committed, "ANYEDGE_UPDATE_GOLDENS=1 writes it anew");
}
