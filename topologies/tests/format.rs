//! Laying out changes nothing of what a file says, nothing of its comments, and nothing when it is done again.

use std::fs;
use std::path::{Path, PathBuf};

use anyedge_topologies::{Topology, format};
use proptest::prelude::*;

fn shipped() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        root.to_owned(),
        root.join("bench"),
        root.join("tests"),
        root.join("tests/lint"),
    ];
    let entries = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).expect("it is there"));
    let files = entries.map(|entry| entry.expect("a readable folder").path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    files
}

/// The words of all comments.
fn comments(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.split_once('#'));
    lines
        .map(|(_, comment)| comment.trim().to_owned())
        .collect()
}

/// The file with blanks and blank lines where they do not matter.
fn untidy(text: &str, gaps: &[u8]) -> String {
    let mut gaps = gaps.iter().cycle();
    let mut out = String::new();
    for line in text.lines() {
        let gap = *gaps.next().unwrap_or(&0);
        out += &" ".repeat(usize::from(gap % 3));
        out += &match line.split_once(" = ") {
            Some((key, value)) if !line.starts_with('#') => {
                format!(
                    "{key}{}={}{value}",
                    " ".repeat(usize::from(gap % 4)),
                    " ".repeat(usize::from(gap % 2))
                )
            }
            _ => line.to_owned(),
        };
        out += ["\n", " \n", "\n\n", "\n\n\n"][usize::from(gap) % 4];
    }
    out
}

#[test]
fn what_a_file_says_and_its_comments_stay() {
    let files = shipped();
    assert!(files.len() > 50);
    for file in files {
        let text = fs::read_to_string(&file).expect("readable");
        let tidy = format::parse("x.toml", &text).expect("it is TOML");
        assert_eq!(
            format::parse("x.toml", &tidy).as_deref(),
            Ok(&*tidy),
            "{}",
            file.display()
        );
        assert_eq!(comments(&text), comments(&tidy), "{}", file.display());
        let said = |text: &str| text.parse::<toml::Table>().expect("it is TOML");
        assert_eq!(said(&text), said(&tidy), "{}", file.display());
        let read =
            |text: &str| Topology::parse("x.toml", text).map(|it| Topology { hash: 0, ..it });
        assert_eq!(read(&text).ok(), read(&tidy).ok(), "{}", file.display());
    }
}

/// The files that users copy from are laid out themselves.
#[test]
fn every_shipped_topology_is_laid_out() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own =
        |path: &&PathBuf| path.parent() == Some(root) || path.parent() == Some(&root.join("bench"));
    for file in shipped().iter().filter(own) {
        let formatted = format::load(file).expect("it is TOML");
        assert_eq!(
            formatted.before,
            formatted.after,
            "anyedge fmt {}",
            file.display()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn however_untidy_a_file_is_it_is_laid_out_alike(
        file in any::<prop::sample::Index>(),
        gaps in prop::collection::vec(any::<u8>(), 1..50),
    ) {
        let files = shipped();
        let text = fs::read_to_string(&files[file.index(files.len())]).expect("readable");
        let untidy = untidy(&text, &gaps);
        let tidy = format::parse("x.toml", &untidy).expect("it is TOML");
        let again = format::parse("x.toml", &tidy).expect("it is TOML");
        prop_assert_eq!(&again, &tidy);
        let said = |text: &str| text.parse::<toml::Table>().expect("it is TOML");
        prop_assert_eq!(said(&text), said(&tidy));
    }
}
