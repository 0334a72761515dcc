//! Every line of every shipped topology is changed, and what is refused is refused with its place.
//!
//! A change is small and of the kind that a hand makes: a line lost or twice, a key or a value misspelt, a value of
//! another type, out of range or empty. Each line gets two of them in turn, so that one run reads some thousand files;
//! reading never panics, and each mistake names a line and a column that the file has, and what would be right.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use anyedge_topologies::{Diagnostic, Topology, lint};

/// Changes that a line gets.
const OF_A_LINE: usize = 2;

/// All `*.toml` of this folder and of `bench`.
fn shipped() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = [root.to_owned(), root.join("bench")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).expect("the folder is there"))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .filter(|path| !path.ends_with("Cargo.toml") && !path.ends_with("clippy.toml"))
        .collect();
    files.sort();
    files
}

/// What one change puts in a line's place; `None` takes the line out.
type Change = fn(&str) -> Option<String>;

const CHANGES: [Change; 16] = [
    |_| None,
    |line| Some(format!("{line}\n{line}")),
    |line| Some(swapped(line)),
    |line| with_value(line, ""),
    |line| with_value(line, "true"),
    |line| with_value(line, "\"\""),
    |line| with_value(line, "-1"),
    |line| with_value(line, "99999999999999999999"),
    |line| with_value(line, "[]"),
    |line| with_value(line, "{ a = 1 }"),
    |line| with_value(line, "\"99999999s\""),
    |line| with_value(line, "\"tokoy\""),
    |line| Some(line.replacen('"', "", 1)),
    |line| Some(line.replacen(|c: char| c.is_ascii_digit(), "x", 1)),
    |line| Some(line.replacen(|c: char| c.is_ascii_digit(), "9999999", 1)),
    |line| Some(line[..line.trim_end().len().saturating_sub(1)].to_owned()),
];

/// The line with the two letters in the middle of its first word the other way round.
fn swapped(line: &str) -> String {
    let start = line.find(|c: char| c.is_ascii_alphabetic());
    let Some(start) = start else {
        return format!("{line}?");
    };
    let word = line[start..].find(|c: char| !c.is_ascii_alphanumeric());
    let end = word.map_or(line.len(), |length| start + length);
    let mut bytes = line.as_bytes().to_vec();
    let middle = (start + end) / 2;
    if middle > start {
        bytes.swap(middle, middle - 1);
    }
    String::from_utf8(bytes).expect("two ASCII letters changed places")
}

/// The line with another value for its first key.
fn with_value(line: &str, value: &str) -> Option<String> {
    let (key, _) = line.split_once('=').unwrap_or((line, ""));
    Some(format!("{key}= {value}"))
}

/// The file with line `at` changed.
fn changed(lines: &[&str], at: usize, change: Change) -> String {
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        let line = if index == at {
            change(line)
        } else {
            Some((*line).to_owned())
        };
        if let Some(line) = line {
            text += &line;
            text.push('\n');
        }
    }
    text
}

fn has_its_place(text: &str, mistake: &Diagnostic) {
    let lines: Vec<&str> = text.split('\n').collect();
    let line = lines.get(mistake.line - 1);
    let line = line.unwrap_or_else(|| panic!("no such line: {mistake}"));
    assert!(
        (1..=line.chars().count() + 1).contains(&mistake.column),
        "no such column: {mistake}"
    );
    assert!(mistake.span.end <= text.len(), "{mistake:?}");
    assert!(
        !mistake.object.is_empty() && !mistake.reason.is_empty(),
        "{mistake:?}"
    );
    assert!(mistake.hint.is_some(), "what would be right? {mistake}");
    let place = format!("x.toml:{}:{}: ", mistake.line, mistake.column);
    assert!(mistake.to_string().starts_with(&place), "{mistake}");
}

/// Reads a changed file, and looks through it if it is without a mistake.
fn read(text: &str) -> Result<(), Vec<Diagnostic>> {
    Topology::parse("x.toml", text)?;
    lint::parse("x.toml", text, &[]).map(|_| ())
}

#[test]
fn a_changed_line_is_read_or_refused_with_its_place_and_never_a_panic() {
    let (mut all, mut refused) = (0, 0);
    for file in shipped() {
        let text = fs::read_to_string(&file).expect("readable");
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            for turn in 0..OF_A_LINE {
                let which = (at * OF_A_LINE + turn) % CHANGES.len();
                let mutant = changed(&lines, at, CHANGES[which]);
                let told = || format!("{}:{}, change {which}", file.display(), at + 1);
                let outcome = panic::catch_unwind(AssertUnwindSafe(|| read(&mutant)));
                all += 1;
                match outcome {
                    Ok(Ok(())) => {}
                    Ok(Err(mistakes)) => {
                        refused += 1;
                        assert!(!mistakes.is_empty(), "{}: no reason", told());
                        let each = || mistakes.iter().for_each(|it| has_its_place(&mutant, it));
                        assert!(
                            panic::catch_unwind(AssertUnwindSafe(each)).is_ok(),
                            "{}",
                            told()
                        );
                    }
                    Err(_) => panic!("{}: reading it panics", told()),
                }
            }
        }
    }
    assert!(all > 3_000, "only {all} changes");
    assert!(refused > all / 2, "only {refused} of {all} are refused");
}
