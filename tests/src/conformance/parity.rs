//! Known differences between the worlds: the table in `docs/parity.md`, and whether it is true.
//!
//! A row says what a world does instead in the very words of the case. What differs without a row is an
//! error, and so is a row whose difference is gone or reads otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::Finding;

/// A world's cell in a row in which only the other one differs.
const HOLDS: &str = "holds";

/// Where a case is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum World {
    /// `anyedge_sim`.
    Simulator,
    /// `anyedge_live`.
    Kernel,
}

/// The table.
#[derive(Clone, Default, Debug)]
pub struct Parity {
    /// Case: what the simulator and the kernel do instead.
    rows: BTreeMap<String, [Option<String>; 2]>,
}

impl Parity {
    /// Reads the first table of `text` whose columns are case, simulator, kernel, why.
    ///
    /// # Errors
    /// A row that is not four cells, names a case twice, or in which nobody differs or no reason is given.
    pub fn read(text: &str) -> Result<Parity, String> {
        let table = text
            .lines()
            .skip_while(|line| cells(line) != ["case", "simulator", "kernel", "why"])
            .skip(2)
            .take_while(|line| line.starts_with('|'));
        let mut rows = BTreeMap::new();
        for line in table {
            let [case, simulator, kernel, why] = cells(line)[..] else {
                return Err(format!("not four cells: {line}"));
            };
            let differs = [simulator, kernel].map(|cell| (cell != HOLDS).then(|| cell.to_owned()));
            if differs == [None, None] || why.is_empty() {
                return Err(format!("{case}: nobody differs, or nobody knows why"));
            }
            if rows.insert(case.to_owned(), differs).is_some() {
                return Err(format!("{case}: two rows"));
            }
        }
        Ok(Parity { rows })
    }

    /// The cases that are named.
    pub fn cases(&self) -> impl Iterator<Item = &str> {
        self.rows.keys().map(String::as_str)
    }

    /// Compares what was found in `world` with the table: one line for each case, and what is wrong.
    pub fn judge(&self, world: World, findings: &[(&str, Finding)]) -> (String, Vec<String>) {
        let mut lines = String::new();
        let mut wrong = Vec::new();
        for (case, finding) in findings {
            let declared = self
                .rows
                .get(*case)
                .and_then(|row| row[world as usize].as_deref());
            let found = finding.as_ref().err().map(String::as_str);
            match found {
                None => writeln!(lines, "{case}: ok"),
                Some(difference) => writeln!(lines, "{case}: differs: {difference}"),
            }
            .expect("a String takes every line");
            if found != declared {
                let cell = |text: Option<&str>| text.unwrap_or(HOLDS).to_owned();
                wrong.push(format!(
                    "{case}: found `{}`, docs/parity.md says `{}`",
                    cell(found),
                    cell(declared)
                ));
            }
        }
        let known: BTreeSet<&str> = findings.iter().map(|(case, _)| *case).collect();
        let unknown = self.cases().filter(|case| !known.contains(case));
        wrong.extend(unknown.map(|case| format!("{case}: in docs/parity.md, but no case")));
        (lines, wrong)
    }
}

/// The cells of a line of a table, without the marks of code.
fn cells(line: &str) -> Vec<&str> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    inner
        .split('|')
        .map(|cell| cell.trim().trim_matches('`'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
| case | simulator | kernel | why |
|---|---|---|---|
| `one` | `late` | holds | a reason |
";

    fn wrong(world: World, findings: &[(&str, Finding)]) -> Vec<String> {
        let parity = Parity::read(TEXT).expect("the table is sound");
        parity.judge(world, findings).1
    }

    #[test]
    fn a_declared_difference_passes_in_its_world_alone() {
        let late = || Err("late".to_owned());
        assert!(wrong(World::Simulator, &[("one", late()), ("two", Ok(()))]).is_empty());
        assert!(wrong(World::Kernel, &[("one", Ok(())), ("two", Ok(()))]).is_empty());
        assert_eq!(wrong(World::Kernel, &[("one", late())]).len(), 1);
        assert_eq!(wrong(World::Simulator, &[("one", Ok(()))]).len(), 1);
        assert_eq!(
            wrong(World::Simulator, &[("one", Err("early".into()))]).len(),
            1
        );
        assert_eq!(
            wrong(World::Simulator, &[("one", late()), ("two", late())]).len(),
            1
        );
        assert_eq!(
            wrong(World::Kernel, &[("two", Ok(()))]).len(),
            1,
            "a row without its case"
        );
    }

    #[test]
    fn a_row_says_who_differs_and_why() {
        let with = |row: &str| Parity::read(&format!("{TEXT}{row}\n"));
        assert!(with("| two | holds | `x` | a reason |").is_ok());
        assert!(with("| two | holds | holds | a reason |").is_err());
        assert!(with("| two | holds | `x` | |").is_err());
        assert!(with("| one | holds | `x` | a reason |").is_err());
        assert!(with("| two | holds | `x` |").is_err());
    }
}
