//! What a file with a mistake is answered with, word for word.
//!
//! `mistakes.txt` holds cases: a headline, lines that replace or follow lines of `sample.toml`, and the answer. A
//! case line `-TEXT` takes the first line that starts with TEXT out; any other line is put in its place, or at
//! the end where nothing was taken out; `--set KEY=VALUE` is an override. `UPDATE_GOLDEN=1 cargo test -p anyedge-topologies --test mistakes`
//! writes the answers anew.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyedge_topologies::{Diagnostic, Topology};

const ANSWER: &str = "=> ";
const OVERRIDE: &str = "--set ";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Applies a case's lines to the sample.
fn edited(sample: &str, edits: &[&str]) -> String {
    let mut lines: Vec<String> = sample.lines().map(str::to_owned).collect();
    let mut at = lines.len();
    for edit in edits {
        if let Some(start) = edit.strip_prefix('-') {
            let found = lines.iter().position(|line| line.starts_with(start));
            at = found.unwrap_or_else(|| panic!("no line starts with {start}"));
            lines.remove(at);
        } else {
            lines.insert(at, (*edit).to_owned());
            at += 1;
        }
    }
    lines.join("\n") + "\n"
}

fn answer(mistakes: &[Diagnostic]) -> String {
    let text: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    text.join("\n")
        .lines()
        .map(|line| format!("{ANSWER}{line}\n"))
        .collect()
}

#[test]
fn every_mistake_has_its_place_and_says_what_would_be_right() {
    let sample = fs::read_to_string(folder().join("sample.toml")).expect("the sample");
    let golden = folder().join("mistakes.txt");
    let text = fs::read_to_string(&golden).expect("the cases");
    let mut produced = String::new();
    let mut cases = 0;
    for case in text
        .split("\n\n")
        .map(str::trim)
        .filter(|case| !case.is_empty())
    {
        let question: Vec<&str> = case
            .lines()
            .filter(|line| !line.starts_with(ANSWER))
            .collect();
        let [headline, edits @ ..] = question.as_slice() else {
            panic!("a case has a headline: {case}");
        };
        assert!(headline.starts_with("# "), "{headline}");
        let (overrides, changes): (Vec<&str>, Vec<&str>) =
            edits.iter().partition(|edit| edit.starts_with(OVERRIDE));
        let edited = edited(&sample, &changes);
        let overrides: Vec<String> = overrides
            .iter()
            .map(|edit| edit[OVERRIDE.len()..].to_owned())
            .collect();
        let mistakes = Topology::parse_with("x.toml", &edited, &overrides).expect_err(headline);
        for mistake in &mistakes {
            assert!(mistake.hint.is_some(), "{headline}: no hint: {mistake}");
        }
        let given = answer(&mistakes);
        produced += &format!(
            "{headline}\n{}{given}\n",
            edits.iter().map(|l| format!("{l}\n")).collect::<String>()
        );
        cases += 1;
    }
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, produced.trim_end().to_owned() + "\n")
            .expect("the golden file is writable");
        return;
    }
    assert!(cases >= 250, "only {cases} cases");
    let (produced, committed) = (produced.trim_end(), text.trim_end());
    // Where they part is what is wanted, not 2,000 lines twice.
    let lines = produced.lines().zip(committed.lines()).enumerate();
    for (number, (given, known)) in lines {
        let line = number + 1;
        assert_eq!(
            given, known,
            "line {line}; UPDATE_GOLDEN=1 writes the answers anew"
        );
    }
    assert_eq!(produced.len(), committed.len(), "one ends before the other");
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake_too() {
    let mistakes = Topology::load("no/such.toml").expect_err("it is not there");
    assert_eq!(mistakes.len(), 1);
    assert!(
        mistakes[0]
            .to_string()
            .starts_with("no/such.toml:1:1: file: cannot be read: "),
        "{}",
        mistakes[0]
    );
}

#[test]
fn bytes_that_are_not_utf8_are_placed() {
    let mistakes =
        Topology::parse_bytes("x.toml", b"schema = 1\nname = \"\xff\"\n").expect_err("not UTF-8");
    assert_eq!(
        mistakes[0].to_string(),
        "x.toml:2:9: file: not UTF-8 text\n  hint: save the file as UTF-8"
    );
}

#[test]
fn the_span_of_a_mistake_covers_the_value() {
    let text = "schema = 7\n";
    let mistakes = Topology::parse("x.toml", text).expect_err("unknown schema");
    assert_eq!(&text[mistakes[0].span.clone()], "7");
}

#[test]
fn a_bracket_in_a_comment_is_no_bracket() {
    let text = "schema = 1\n[vip.game]\npublish = [\"tokyo\" # one # [two\nclb = \"main\"\n";
    let mistakes = Topology::parse("x.toml", text).expect_err("it is never closed");
    let never_closed = &mistakes[0];
    assert!(
        never_closed.reason.contains("never closed"),
        "{never_closed}"
    );
    assert_eq!((never_closed.line, never_closed.column), (3, 11));
}
