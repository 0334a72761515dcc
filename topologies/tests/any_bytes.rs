//! Whatever the bytes, reading gives a topology or mistakes with a place, and never panics; nor does looking through it.
//!
//! The inputs are the shipped files with lines cut, swapped or doubled and bytes changed, so that most of them
//! are almost right, which is where a reader has its blind spots.

use std::fs;
use std::path::Path;

use anyedge_topologies::{Diagnostic, Topology, lint};
use proptest::prelude::*;

const FILES: [&str; 12] = [
    "global-14.toml",
    "two-pops.toml",
    "region-down.toml",
    "clb-node-added.toml",
    "bench/dumbbell-udp.toml",
    "bench/dumbbell-tcp.toml",
    "tests/sample.toml",
    "tests/standby.toml",
    "security-group-3.toml",
    "tests/lint/L01-hit.toml",
    "tests/lint/L09-line.toml",
    "tests/lint/L16-hit.toml",
];

/// Words and signs that a topology is made of.
const WORDS: [&str; 24] = [
    "\"",
    "[",
    "]",
    "{",
    "}",
    "=",
    ".",
    "[[fault]]",
    "\"pop.tokyo\"",
    "\"guangzhou\"",
    "0",
    "-1",
    "1e9",
    "true",
    "\"9ms\"",
    "\"\"",
    "é",
    "\0",
    "\"99999999999999999999999s\"",
    "0x7fffffffffffffffffffffff",
    "load",
    "public",
    "1979-05-27",
    "[client.osaka]",
];

/// One change of a text: what it does, where, and with which word.
type Change = (u8, prop::sample::Index, prop::sample::Index);

fn changed(text: &str, changes: &[Change]) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
    for (what, place, detail) in changes {
        if lines.is_empty() {
            break;
        }
        let at = place.index(lines.len());
        let inside = detail.index(lines[at].len() + 1);
        match what % 6 {
            0 => drop(lines.remove(at)),
            1 => lines[at].truncate(inside),
            2 => lines.insert(at, lines[detail.index(lines.len())].clone()),
            3 => lines.swap(at, detail.index(text.lines().count()).min(at)),
            4 => drop(lines[at].splice(inside..inside, WORDS[detail.index(WORDS.len())].bytes())),
            _ => match lines[at].get_mut(inside) {
                Some(byte) => *byte ^= 1 << (detail.index(8)),
                None => lines[at].push(0xff),
            },
        }
    }
    lines.join(&b'\n')
}

fn read(bytes: &[u8]) {
    let Err(mistakes) = Topology::parse_bytes("x.toml", bytes) else {
        let text = str::from_utf8(bytes).expect("it was read");
        let found = lint::parse("x.toml", text, &[]).expect("it was read without a mistake");
        return are_placed(bytes, found.into_iter().map(|finding| finding.at));
    };
    assert!(!mistakes.is_empty(), "refused without a reason");
    are_placed(bytes, mistakes.into_iter());
}

fn are_placed(bytes: &[u8], found: impl Iterator<Item = Diagnostic>) {
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    for mistake in found {
        assert!(
            (1..=lines).contains(&mistake.line) && mistake.column >= 1,
            "{mistake}"
        );
        assert!(
            mistake.span.start <= mistake.span.end && mistake.span.end <= bytes.len(),
            "{mistake:?}"
        );
        assert!(
            !mistake.reason.is_empty() && !mistake.object.is_empty(),
            "{mistake:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_is_read_or_refused_with_a_place(
        file in prop::sample::select(FILES.to_vec()),
        changes in prop::collection::vec(any::<Change>(), 1..6),
    ) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = fs::read_to_string(path).expect("a shipped file");
        read(&changed(&text, &changes));
    }

    #[test]
    fn arbitrary_bytes_are_refused_with_a_place(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read(&bytes);
    }

    #[test]
    fn any_value_at_any_key_is_read_or_refused_with_a_place(
        line in any::<prop::sample::Index>(),
        word in prop::sample::select(WORDS.to_vec()),
    ) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILES[6]);
        let text = fs::read_to_string(path).expect("a shipped file");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let at = line.index(lines.len());
        if let Some((key, _)) = lines[at].clone().split_once('=') {
            lines[at] = format!("{key}= {word}");
        }
        read(lines.join("\n").as_bytes());
    }
}
