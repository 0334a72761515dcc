//! Every rule of `anyedge lint` by a file that it hits and one that it misses, in `tests/lint`.
//!
//! A line of such a file ends in `# <- L01: VALUE` where a finding is to be, at that value and for that rule; elsewhere
//! there is to be none. `messages.txt` has what is said, word for word: `UPDATE_GOLDEN=1 cargo test -p anyedge-topologies
//! --test lint` writes it anew. What the reader refuses already is a mistake at that place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyedge_topologies::lint::{self, Finding, Kept, RULES, Rule};
use anyedge_topologies::{Diagnostic, Topology};

const MARK: &str = "# <- ";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint")
}

/// The topologies of a folder, by name without ending.
fn topologies(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let files = entries.map(|entry| entry.expect("a readable folder").path());
    let topologies = files.filter(|path| path.extension().is_some_and(|end| end == "toml"));
    let named = topologies.map(|path| {
        let name = path.file_stem().expect("a file has a name");
        let text = fs::read_to_string(&path).expect("readable");
        (name.to_string_lossy().into_owned(), text)
    });
    named
        .filter(|(name, _)| name != "Cargo" && name != "clippy")
        .collect()
}

/// Rule, line, column and value of a finding.
type Place = (String, usize, usize, String);

/// Where a text says that findings are to be.
fn marked(text: &str) -> BTreeSet<Place> {
    let lines = text.lines().enumerate();
    let marked = lines.filter_map(|(number, line)| Some((number, line.split_once(MARK)?)));
    let place = |(number, (line, mark)): (usize, (&str, &str))| {
        let (rule, value) = mark.split_once(": ").expect("a rule and a value");
        let at = line.rfind(value).expect("the line has the value");
        let column = line[..at].chars().count() + 1;
        (rule.to_owned(), number + 1, column, value.to_owned())
    };
    marked.map(place).collect()
}

fn place(rule: &str, at: &Diagnostic, text: &str) -> Place {
    let value = text[at.span.clone()].to_owned();
    (rule.to_owned(), at.line, at.column, value)
}

/// What becomes of a file: its findings, or, of one that is refused, its mistakes as those of `rule`.
fn found(name: &str, text: &str) -> (BTreeSet<Place>, Vec<String>) {
    let file = format!("{name}.toml");
    match lint::parse(&file, text, &[]) {
        Ok(findings) => {
            let places = findings.iter();
            let places = places.map(|finding| place(finding.rule.id, &finding.at, text));
            let said = findings.iter().map(ToString::to_string);
            (places.collect(), said.collect())
        }
        Err(mistakes) => {
            let rule = rule_of(name);
            assert_eq!(rule.kept(), Kept::Refused, "{name}: {mistakes:?}");
            let places = mistakes.iter().map(|at| place(rule.id, at, text));
            let said = mistakes.iter().map(ToString::to_string);
            (places.collect(), said.collect())
        }
    }
}

/// The rule that a file is named after.
fn rule_of(name: &str) -> &'static Rule {
    let (id, _) = name.split_once('-').expect("a rule and what becomes of it");
    Rule::named(id).unwrap_or_else(|| panic!("no rule {id}"))
}

#[test]
fn every_rule_finds_what_it_is_for_at_its_value_and_nothing_else() {
    let files = topologies(&folder());
    for (name, text) in &files {
        let (places, _) = found(name, text);
        assert_eq!(places, marked(text), "{name}");
    }
    for rule in &RULES {
        let [hit, miss] = ["hit", "miss"].map(|end| files.get(&format!("{}-{end}", rule.id)));
        if rule.kept() == Kept::Later {
            assert!(hit.is_none() && miss.is_none(), "{} is not built", rule.id);
            continue;
        }
        let hit = marked(hit.unwrap_or_else(|| panic!("{} has no hit", rule.id)));
        assert!(!hit.is_empty(), "{} finds something", rule.id);
        assert!(hit.iter().all(|(id, ..)| id == rule.id), "{hit:?}");
        let miss = marked(miss.unwrap_or_else(|| panic!("{} has no miss", rule.id)));
        assert!(miss.is_empty(), "{miss:?}");
    }
}

#[test]
fn a_finding_says_what_surprises_and_what_mends_it() {
    let mut said = String::new();
    for (name, text) in topologies(&folder()) {
        for message in found(&name, &text).1 {
            assert!(message.contains("\n  hint: "), "{message}");
            said += &format!("{message}\n");
        }
    }
    let golden = folder().join("messages.txt");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, said).expect("the golden file is writable");
        return;
    }
    let known = fs::read_to_string(&golden).expect("the golden file is there");
    assert_eq!(said, known, "UPDATE_GOLDEN=1 writes it anew");
}

/// The words of the reference.
#[test]
fn an_egress_rule_with_the_backends_port_is_told_the_listeners() {
    let text = &topologies(&folder())["L03-hit"];
    let findings = lint::parse("x.toml", text, &[]).expect("no mistake");
    assert_eq!(
        findings[0].at.reason,
        "egress rule vip.shop+8080 never matches listener 80; did you mean 80?"
    );
    let compat = ["defaults.sg_egress_port=backend".to_owned()];
    let findings = lint::parse("x.toml", text, &compat).expect("no mistake");
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn what_an_override_brings_is_found_in_the_override() {
    let text = &topologies(&folder())["L12-miss"];
    let overrides = ["targets.web.servers.1.weight=0".to_owned()];
    let findings = lint::parse("x.toml", text, &overrides).expect("no mistake");
    assert_eq!(ids(&findings), ["L12"]);
    let overrides = ["vip.shop.publish=[\"tokyo\"]".to_owned()];
    let findings = lint::parse("x.toml", text, &overrides).expect("no mistake");
    assert_eq!(ids(&findings), ["L13"]);
    assert_eq!(
        findings[0].at.place(),
        "--set vip.shop.publish=[\"tokyo\"]",
        "{}",
        findings[0]
    );
}

#[test]
fn a_file_with_a_mistake_gives_its_mistakes() {
    let text = "schema = 1\ndurration = \"9s\"\n";
    let of_lint = lint::parse("x.toml", text, &[]).expect_err("a typo");
    let of_reading = Topology::parse("x.toml", text).expect_err("a typo");
    assert_eq!(of_lint, of_reading);
    assert_eq!(
        lint::load("no/such.toml", &[]).expect_err("absent").len(),
        1
    );
}

#[test]
fn a_group_of_very_many_rules_is_looked_through() {
    let text = &topologies(&folder())["L01-miss"];
    let rule = |n: u32| {
        let (a, b) = (n / 250, n % 250);
        format!(
            "\"198.18.{a}.{b}/32+tcp/{}-{} allow\",\n",
            1_000 + n,
            2_000 + n
        )
    };
    let rules: String = (0..511).map(rule).collect();
    let (before, after) = text.split_once("ingress = [").expect("a group");
    let (_, after) = after.split_once("\n]\n").expect("its end");
    let many = format!("{before}ingress = [\n{rules}\"vip.shop+8080 allow\"]\n{after}");
    let findings = lint::parse("x.toml", &many, &[]).expect("no mistake");
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn rules_are_numbered_and_explain_themselves() {
    let ids: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
    let numbered: Vec<String> = (1..=RULES.len()).map(|n| format!("L{n:02}")).collect();
    assert_eq!(ids, numbered);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lint.md");
    let page = fs::read_to_string(page).expect("docs/lint.md is there");
    for rule in &RULES {
        let told = rule.explanation();
        assert!(told.starts_with(&format!("{}: {}\n", rule.id, rule.title)));
        let refused = told.contains("A file with this is refused");
        let later = told.contains("Not built yet");
        let kept = [(refused, Kept::Refused), (later, Kept::Later)];
        assert!(kept.iter().all(|(is, kept)| *is == (rule.kept() == *kept)));
        let row = format!("| {} | {} |", rule.id, rule.title);
        assert!(page.contains(&row), "docs/lint.md has no `{row}`");
    }
    let known = Rule::named("l03").map(|rule| rule.id);
    assert_eq!((known, Rule::named("L99").is_none()), (Some("L03"), true));
}

fn ids(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.rule.id).collect()
}

/// The shipped topologies are small on purpose, and what is found in them is part of their story: most POPs have one
/// line.
#[test]
fn what_is_found_in_the_shipped_topologies_is_known() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shipped = [root.to_owned(), root.join("bench")];
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, text) in shipped.iter().flat_map(|folder| topologies(folder)) {
        let findings = lint::parse(&name, &text, &[]).expect("a shipped file has no mistake");
        found.insert(name, ids(&findings));
    }
    let known: BTreeMap<String, Vec<&str>> = SHIPPED
        .iter()
        .map(|(name, ids)| ((*name).to_owned(), ids.to_vec()))
        .collect();
    assert_eq!(found, known);
}

/// What is found in each, in the order of the file.
const SHIPPED: &[(&str, &[&str])] = &[
    ("autoscaling", &["L13", "L13"]),
    ("clb-node-added", &["L13"]),
    ("clb-node-down", &["L13"]),
    ("controllers-down", &["L13"]),
    ("dumbbell-tcp", &["L13", "L13"]),
    ("dumbbell-udp", &["L13", "L13"]),
    ("ecmp-rehash", &["L13"]),
    ("encapsulations", &["L13", "L13"]),
    ("forwarder", &["L13", "L13"]),
    ("game-udp", &["L13"]),
    ("global-14", &["L13"]),
    ("grey-link", &[]),
    ("idle-100k", &["L13", "L13"]),
    ("ipv6-dual-stack", &["L13"]),
    ("link-down", &[]),
    ("nat64", &["L13"]),
    ("pop-down", &["L13"]),
    ("pop-drain", &["L13"]),
    ("pop-maintenance", &["L13"]),
    ("region-down", &["L13", "L15"]),
    ("security-group-1", &["L13"]),
    ("security-group-2", &["L13"]),
    ("security-group-3", &["L13", "L13"]),
    ("security-group-4", &["L13", "L13"]),
    ("security-group-5", &["L13"]),
    ("syn-flood", &["L13"]),
    ("two-pops", &["L13"]),
    ("weights-and-drain", &["L13", "L13"]),
    ("zone-down", &["L13", "L13"]),
];
