//! docs/features.md is true: every row is there, every test that it names exists, and each fails without its row.
//!
//! The gate turns twenty rows off, drawn by the commit, each for its own test alone; `ANYEDGE_ROWS` says which others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyedge_net::rng::Seed;
use anyedge_net::switch;
use anyedge_tests::binary;

/// Rows that the reference has, by what they begin with: how many, and which are left out or added.
const KINDS: [(&str, u32); 8] = [
    ("S-AC", 13),
    ("S-V6", 11),
    ("S-BE", 20),
    ("S-EN", 6),
    ("S-SG", 15),
    ("P-HC", 17),
    ("P-LB", 14),
    ("P-SA", 6),
];
/// Rows whose numbers have another form.
const OTHERS: [&str; 6] = ["A30", "P-LB04b", "P-SG1", "P-SG2", "P-SG3", "P-SG4"];
/// Rows that may wait: for layer 7, TLS and NAT gateways.
const LATER: [&str; 8] = [
    "S-V603", "S-SG15", "P-HC06", "P-HC10", "P-HC12", "P-HC16", "P-LB06", "P-SA04",
];
/// A test that takes longer without its row does not fail as it should.
const TIME_MAX: Duration = Duration::from_secs(120);
/// How many rows the gate turns off.
const DRAWN: usize = 20;

/// A row that a test shows.
#[derive(Clone)]
struct Row {
    id: String,
    package: String,
    /// The integration test's name; `None`: the library's tests.
    own: Option<String>,
    test: String,
    switch: String,
}

/// Rows by id, those that no test shows yet without one.
fn rows() -> BTreeMap<String, Option<Row>> {
    let page = binary::root().join("docs/features.md");
    let text = fs::read_to_string(page).expect("docs/features.md can be read");
    let lines = text.lines().filter(|line| {
        ["| S-", "| P-", "| A"]
            .iter()
            .any(|kind| line.starts_with(kind))
    });
    let mut rows = BTreeMap::new();
    for line in lines {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, what, test, switch] = cells[..] else {
            panic!("four columns: {line}");
        };
        assert!(!what.is_empty(), "{id} says nothing");
        let row = match test.split_once(": ").map_or(test, |(kind, _)| kind) {
            "later" => {
                assert!(LATER.contains(&id), "{id} is not among those that may wait");
                None
            }
            "open" => None,
            _ => Some(Row::read(id, test, switch)),
        };
        let before = rows.insert(id.to_owned(), row);
        assert!(before.is_none(), "{id} is there twice");
    }
    rows
}

impl Row {
    fn read(id: &str, test: &str, switch: &str) -> Row {
        let words: Vec<&str> = test.trim_matches('`').split(' ').collect();
        let (package, own, test) = match words[..] {
            [package, test] => (package, None, test),
            [package, "--bin", own, test] => (package, Some(own.to_owned()), test),
            [package, "--test", own, test] => (package, Some(own.to_owned()), test),
            _ => panic!("{id}: `{test}` is no package and test"),
        };
        assert!(!switch.is_empty(), "{id} has a test and no switch");
        Row {
            id: id.to_owned(),
            package: package.to_owned(),
            own,
            test: test.to_owned(),
            switch: switch.trim_matches('`').to_owned(),
        }
    }

    /// Runs the test without the row: it has to fail, as a test does and not as one that cannot be run.
    fn turn_off(&self, binary: &Path) -> Result<(), &'static str> {
        let mut run = Command::new(binary)
            .args(["--exact", &self.test])
            .env(switch::VARIABLE, &self.switch)
            .env("RUST_BACKTRACE", "0")
            .current_dir(binary::root().join(folder_of(&self.package)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a test can be run");
        let started = Instant::now();
        loop {
            match run.try_wait().expect("it is our child") {
                Some(status) if status.code() == Some(101) => return Ok(()),
                Some(_) => return Err("passes"),
                None if started.elapsed() > TIME_MAX => {
                    run.kill().expect("it is our child");
                    run.wait().expect("it is our child");
                    return Err("does not end");
                }
                None => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    fn binary<'a>(&self, binaries: &'a BTreeMap<(String, Option<String>), PathBuf>) -> &'a PathBuf {
        let key = (self.package.clone(), self.own.clone());
        let binary = binaries.get(&key);
        binary.unwrap_or_else(|| panic!("{}: no tests of {key:?}", self.id))
    }
}

#[test]
fn every_row_of_the_reference_has_its_line() {
    let numbered = KINDS
        .iter()
        .flat_map(|(kind, count)| (1..=*count).map(move |number| format!("{kind}{number:02}")));
    let others = OTHERS.iter().map(|row| (*row).to_owned());
    let wanted: BTreeSet<String> = numbered.chain(others).collect();
    let there: BTreeSet<String> = rows().into_keys().collect();
    assert_eq!(there, wanted);
}

#[test]
#[expect(clippy::print_stderr, reason = "it says what it looked at")]
fn every_test_is_there_and_fails_without_its_row() {
    let shown: Vec<Row> = rows().into_values().flatten().collect();
    let binaries = binary::of_tests();
    are_there(&shown, &binaries);
    let drawn = drawn(&shown);
    eprintln!(
        "{} rows of {} are shown, {} turned off",
        shown.len(),
        rows().len(),
        drawn.len()
    );
    let mut wrong = Vec::new();
    for row in &drawn {
        eprintln!("{}: {} without {}", row.id, row.test, row.switch);
        if let Err(what) = row.turn_off(row.binary(&binaries)) {
            wrong.push(format!("{}: {} {what}", row.id, row.test));
        }
    }
    assert!(wrong.is_empty(), "without their rows: {wrong:#?}");
}

/// Every test that is named is in its binary.
fn are_there(shown: &[Row], binaries: &BTreeMap<(String, Option<String>), PathBuf>) {
    let mut listed: BTreeMap<&PathBuf, String> = BTreeMap::new();
    for row in shown {
        let list = listed
            .entry(row.binary(binaries))
            .or_insert_with_key(|binary| {
                let output = Command::new(binary).arg("--list").output();
                let output = output.expect("a test binary can be run");
                String::from_utf8(output.stdout).expect("names are text")
            });
        let line = format!("{}: test", row.test);
        assert!(
            list.lines().any(|one| one == line),
            "{}: no test `{}`",
            row.id,
            row.test
        );
    }
}

/// Which rows are turned off: twenty by the commit, or as `ANYEDGE_ROWS` says.
fn drawn(shown: &[Row]) -> Vec<Row> {
    let asked = std::env::var("ANYEDGE_ROWS").unwrap_or_default();
    let mut rows = shown.to_vec();
    match asked.as_str() {
        "all" => {}
        "" => {
            let mut rng = Seed(seed_of_commit()).stream("features", "rows");
            for place in 0..rows.len() {
                let other = place + rng.below((rows.len() - place) as u64) as usize;
                rows.swap(place, other);
            }
            rows.truncate(DRAWN);
        }
        named => {
            let named: Vec<&str> = named.split(',').collect();
            rows.retain(|row| named.contains(&row.id.as_str()));
            assert_eq!(rows.len(), named.len(), "not all of {named:?} are shown");
        }
    }
    rows
}

/// Another for each commit, and the same each time that it is tested.
fn seed_of_commit() -> u64 {
    let commit = Command::new("git")
        .args(["rev-parse", "--short=15", "HEAD"])
        .current_dir(binary::root())
        .output();
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    commit
        .ok()
        .and_then(|commit| u64::from_str_radix(&commit, 16).ok())
        .unwrap_or(0)
}

fn folder_of(package: &str) -> &str {
    package.strip_prefix("anyedge-").unwrap_or(package)
}
