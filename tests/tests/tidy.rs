//! The house rules, as tests: file and function length, headers, names, dependency arrows, and that every
//! path in ARCHITECTURE.md exists.
//!
//! A file that must be longer says why in its header, in a line that starts with `//! Length:`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned as _;
use syn::visit::Visit;

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const BANNED_NAMES: &[&str] = &[
    "mod.rs",
    "utils.rs",
    "util.rs",
    "common.rs",
    "helpers.rs",
    "types.rs",
    "misc.rs",
];
const BANNED_WORDS: &[&str] = &[
    "FIXME",
    "XXX",
    "HACK",
    "todo!(",
    "unimplemented!(",
    "#[ignore",
    "#[should_panic",
];

/// What each crate may use of the others; an arrow that is not here is not allowed.
const ARROWS: &[(&str, &[&str])] = &[
    ("net", &[]),
    ("proto", &[]),
    ("ccn", &["proto", "net"]),
    ("pop", &["net", "ccn"]),
    ("region", &["net", "ccn"]),
    ("topologies", &["net", "ccn"]),
    ("traffic", &["net", "topologies"]),
    (
        "sim",
        &["net", "ccn", "pop", "region", "topologies", "traffic"],
    ),
    (
        "live",
        &["net", "ccn", "pop", "region", "topologies", "traffic"],
    ),
    (
        "cli",
        &[
            "net",
            "proto",
            "ccn",
            "sim",
            "live",
            "traffic",
            "topologies",
        ],
    ),
    (
        "tests",
        &[
            "net",
            "proto",
            "ccn",
            "pop",
            "region",
            "topologies",
            "traffic",
            "sim",
            "live",
        ],
    ),
    (
        "fuzz",
        &[
            "net",
            "proto",
            "ccn",
            "pop",
            "region",
            "topologies",
            "traffic",
            "sim",
        ],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the workspace")
        .to_path_buf()
}

/// Every file below the crates' folders whose name ends so, as (path from the root, text).
fn files(ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ARROWS
        .iter()
        .map(|(folder, _)| root().join(folder))
        .collect();
    folders.push(root().join("docs"));
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace can be read") {
            let path = entry.expect("its entries can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                let text = fs::read_to_string(&path).expect("source files are UTF-8");
                let name = path
                    .strip_prefix(root())
                    .expect("it was found there")
                    .display()
                    .to_string();
                found.push((name, text));
            }
        }
    }
    found.sort();
    assert!(
        !found.is_empty(),
        "no {ending} file found: the test looks in the wrong place"
    );
    found
}

fn assert_none(what: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{what}:\n  {}", offences.join("\n  "));
}

#[test]
fn files_are_short_or_say_why_not() {
    let long = files(".rs")
        .iter()
        .filter(|(_, text)| !text.lines().any(|line| line.starts_with("//! Length:")))
        .map(|(name, text)| (name, text.lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(name, lines)| format!("{name}: {lines} lines, at most {FILE_LINES_MAX}"))
        .collect::<Vec<_>>();
    assert_none("files that are too long", &long);
}

#[test]
fn every_file_opens_with_a_header() {
    let bare = files(".rs")
        .iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(name, _)| name.clone())
        .collect::<Vec<_>>();
    assert_none("files without a //! header", &bare);
}

#[test]
fn files_are_named_after_what_they_define() {
    let vague = files(".rs")
        .iter()
        .map(|(name, _)| name.clone())
        .filter(|name| {
            BANNED_NAMES
                .iter()
                .any(|banned| name.ends_with(&format!("/{banned}")))
        })
        .collect::<Vec<_>>();
    assert_none("file names that say nothing", &vague);
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    let mut offences = Vec::new();
    for (name, text) in files(".rs")
        .iter()
        .filter(|(name, _)| !name.ends_with("tests/tidy.rs"))
    {
        for (number, line) in text.lines().enumerate() {
            for word in BANNED_WORDS.iter().filter(|word| line.contains(**word)) {
                offences.push(format!("{name}:{}: {word}", number + 1));
            }
        }
    }
    assert_none("banned words", &offences);
}

struct Functions {
    file: String,
    long: Vec<String>,
}

impl Functions {
    fn measure(&mut self, name: &syn::Ident, block: &syn::Block) {
        let lines = block.span().end().line - block.span().start().line + 1;
        if lines > FUNCTION_LINES_MAX {
            let at = name.span().start().line;
            self.long.push(format!(
                "{}:{at}: {name} has {lines} lines, at most {FUNCTION_LINES_MAX}",
                self.file
            ));
        }
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.measure(&item.sig.ident, &item.block);
        syn::visit::visit_item_fn(self, item);
    }
    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.measure(&item.sig.ident, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }
    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.measure(&item.sig.ident, block);
        }
        syn::visit::visit_trait_item_fn(self, item);
    }
}

#[test]
fn functions_fit_a_screen() {
    let mut long = Vec::new();
    for (file, text) in files(".rs") {
        let parsed = syn::parse_file(&text).expect("the workspace compiles");
        let mut functions = Functions {
            file,
            long: Vec::new(),
        };
        functions.visit_file(&parsed);
        long.append(&mut functions.long);
    }
    assert_none("functions that do not fit a screen", &long);
}

#[test]
fn dependency_arrows_point_down_only() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> = ARROWS
        .iter()
        .map(|(folder, uses)| (*folder, uses.iter().copied().collect()))
        .collect();
    let manifest =
        fs::read_to_string(root().join("Cargo.toml")).expect("the workspace has a manifest");
    let mut offences = Vec::new();
    for folder in allowed.keys() {
        assert!(
            manifest.contains(&format!("\"{folder}\"")),
            "{folder} is no member of the workspace"
        );
        let text = fs::read_to_string(root().join(folder).join("Cargo.toml"))
            .expect("each crate has a manifest");
        // Dev-dependencies may look up: tests of a lower crate can use an upper one's builders.
        let own = text.split("[dev-dependencies]").next().unwrap_or_default();
        for line in own.lines() {
            let Some(used) = line
                .strip_prefix("anyedge-")
                .and_then(|rest| rest.split(['.', ' ']).next())
            else {
                continue;
            };
            if !allowed[folder].contains(used) {
                offences.push(format!("{folder} -> {used}"));
            }
        }
    }
    assert_none("arrows that ARCHITECTURE.md does not have", &offences);
}

#[test]
fn every_path_in_the_documents_exists() {
    let mut offences = Vec::new();
    let mut documents = files(".md");
    for name in ["ARCHITECTURE.md", "README.md"] {
        let text = fs::read_to_string(root().join(name)).expect("the document exists");
        documents.push((name.to_owned(), text));
    }
    let mut links = 0;
    for (document, text) in &documents {
        let folder = root()
            .join(document)
            .parent()
            .expect("a file has a folder")
            .to_path_buf();
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            links += 1;
            if !folder.join(path).exists() {
                offences.push(format!("{document}: {path}"));
            }
        }
    }
    assert!(
        links >= 20,
        "the documents link to the code: found {links} links"
    );
    assert_none("links to what does not exist", &offences);
}

#[test]
fn every_pure_crate_bans_what_would_break_a_rehearsal() {
    for folder in [
        "net",
        "ccn",
        "pop",
        "region",
        "topologies",
        "traffic",
        "sim",
    ] {
        let text = fs::read_to_string(root().join(folder).join("clippy.toml")).unwrap_or_default();
        for banned in [
            "std::time::Instant::now",
            "std::thread::spawn",
            "std::net::UdpSocket",
            "std::time::SystemTime",
        ] {
            assert!(
                text.contains(banned),
                "{folder}/clippy.toml does not ban {banned}"
            );
        }
    }
}
