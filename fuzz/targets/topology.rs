//! A topology file: whatever is in it, every mistake has a place in it, and what is accepted means the same after
//! it was laid out anew.
//!
//! The file lies in a folder that is not there, so what it includes or names beside itself is refused.

use anyedge_topologies::{Diagnostic, Topology, format, lint};

pub(crate) const FILE: &str = "no-such-folder/fuzzed.toml";

pub(crate) fn check(bytes: &[u8]) {
    let read = Topology::parse_bytes(FILE, bytes);
    if let Err(mistakes) = &read {
        placed(mistakes, bytes);
    }
    let Ok(text) = core::str::from_utf8(bytes) else {
        assert!(read.is_err(), "a topology is text");
        return;
    };
    match format::parse(FILE, text) {
        Ok(laid_out) => laid_out_anew(read, &laid_out),
        Err(mistakes) => {
            placed(&mistakes, bytes);
            assert!(read.is_err(), "a topology is TOML");
        }
    }
}

fn laid_out_anew(read: Result<Topology, Vec<Diagnostic>>, laid_out: &str) {
    let again = format::parse(FILE, laid_out);
    assert_eq!(again.as_deref(), Ok(laid_out), "laid out twice");
    match (read, Topology::parse(FILE, laid_out)) {
        (Ok(before), Ok(after)) => {
            // Of the text itself.
            let hash = before.hash;
            assert_eq!(before, Topology { hash, ..after });
            lint::parse(FILE, laid_out, &[]).expect("it is accepted");
        }
        (Err(before), Err(after)) => {
            placed(&after, laid_out.as_bytes());
            assert_eq!(reasons(&before), reasons(&after), "{laid_out}");
        }
        (before, after) => panic!("{before:?}\nlaid out anew {after:?}\n{laid_out}"),
    }
}

fn reasons(mistakes: &[Diagnostic]) -> Vec<(&str, &str)> {
    let mistakes = mistakes.iter();
    let reasons = mistakes.map(|mistake| (mistake.object.as_str(), mistake.reason.as_str()));
    let mut reasons: Vec<_> = reasons.collect();
    reasons.sort_unstable();
    reasons
}

/// Every mistake has its line and column in the file, and words.
pub(crate) fn placed(mistakes: &[Diagnostic], bytes: &[u8]) {
    assert!(!mistakes.is_empty(), "refused without a mistake");
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    for mistake in mistakes {
        assert!(
            mistake.file == FILE && mistake.option.is_none(),
            "{mistake:?}"
        );
        let line = mistake.line.checked_sub(1).and_then(|at| lines.get(at));
        let line = line.unwrap_or_else(|| panic!("no such line: {mistake:?}"));
        let characters = String::from_utf8_lossy(line).chars().count();
        assert!(
            (1..=characters + 1).contains(&mistake.column),
            "{mistake:?}"
        );
        let span = &mistake.span;
        assert!(
            span.start <= span.end && span.end <= bytes.len(),
            "{mistake:?}"
        );
        assert!(!mistake.reason.is_empty() && !mistake.object.is_empty());
    }
}
