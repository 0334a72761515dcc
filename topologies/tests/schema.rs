//! The JSON Schema is in step with the reader, accepts what is shipped and refuses what is misspelt.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyedge_topologies::schema::{asked, schema};
use serde_json::Value;

/// Faults that the reader knows as those of a later version, and refuses.
const PLANNED: [&str; 4] = ["cut", "lose", "pause", "slow"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_of(folder: &str) -> Vec<PathBuf> {
    let folder = fs::read_dir(root().join(folder)).expect("the folder is there");
    let files = folder.map(|entry| entry.expect("a readable folder").path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .filter(|path| !path.ends_with("Cargo.toml") && !path.ends_with("clippy.toml"))
        .collect();
    files.sort();
    files
}

/// Every shipped topology.
fn shipped() -> Vec<PathBuf> {
    [files_of(""), files_of("bench")].concat()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("readable")
}

fn as_json(text: &str) -> Value {
    let table: toml::Table = text.parse().expect("it is TOML");
    serde_json::to_value(table).expect("TOML without dates is JSON")
}

fn mistakes(validator: &jsonschema::Validator, file: &Value) -> Vec<String> {
    let told =
        |error: jsonschema::ValidationError<'_>| format!("{}: {error}", error.instance_path());
    validator.iter_errors(file).map(told).collect()
}

#[test]
fn every_shipped_topology_and_every_example_is_valid() {
    let validator = jsonschema::validator_for(&schema()).expect("it is a schema");
    let examples = [files_of("tests"), files_of("tests/lint")].concat();
    let files = [shipped(), examples].concat();
    assert!(files.len() > 40, "{files:?}");
    for file in files
        .iter()
        .filter(|file| !file.ends_with("every-key.toml"))
    {
        let found = mistakes(&validator, &as_json(&read(file)));
        assert!(found.is_empty(), "{}: {}", file.display(), found.join("\n"));
    }
}

#[test]
fn what_is_misspelt_is_refused() {
    let validator = jsonschema::validator_for(&schema()).expect("it is a schema");
    let sample = read(&root().join("tests/sample.toml"));
    for (from, to) in [
        ("schema = 1", "schema = 2"),
        ("rtt = \"52ms\"", "rtt = \"52\""),
        ("rate = \"10Gbps\"", "rat = \"10Gbps\""),
        ("clb_nodes = 3", "clb_nodes = 17"),
        ("scheduler = \"wrr\"", "scheduler = \"wfq\""),
        ("kind = \"request\"", "kind = \"ask\""),
        ("rate = \"200/s\"", "rate = \"200\""),
        ("gap < 40s", "gap << 40s"),
        ("port = \"tcp/80\"", "port = \"80\""),
        ("[pop.tokyo]", "[pops.tokyo]"),
    ] {
        assert!(sample.contains(from), "{from}");
        let broken = as_json(&sample.replacen(from, to, 1));
        assert!(
            !mistakes(&validator, &broken).is_empty(),
            "{to} is accepted"
        );
    }
}

/// The tables that may stand at a path, `client.*.load`.
fn tables_at<'s>(schema: &'s Value, path: &str) -> Vec<&'s Value> {
    let mut here = vec![schema];
    let mut parts = path.split('.').peekable();
    if parts.peek() == Some(&"file") {
        parts.next();
    }
    for part in parts {
        here = here
            .into_iter()
            .flat_map(|table| inside(schema, table))
            .collect();
        let next = |table: &&'s Value| table["properties"].get(part);
        // A name of one's own, as that of a listener.
        let named = here
            .iter()
            .filter_map(|table| table.get("additionalProperties"));
        let named: Vec<&Value> = named.filter(|own| own.is_object()).collect();
        let found: Vec<&Value> = here.iter().filter_map(next).collect();
        here = if found.is_empty() { named } else { found };
    }
    here.into_iter()
        .flat_map(|table| inside(schema, table))
        .collect()
}

/// The objects that a property may be, through references, choices and lists.
fn inside<'s>(schema: &'s Value, property: &'s Value) -> Vec<&'s Value> {
    if let Some(reference) = property["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return inside(schema, &schema["$defs"][name]);
    }
    if let Some(choices) = property["anyOf"].as_array() {
        return choices
            .iter()
            .flat_map(|choice| inside(schema, choice))
            .collect();
    }
    if let Some(items) = property.get("items") {
        return inside(schema, items);
    }
    match property["type"].as_str() {
        Some("object") => vec![property],
        _ => Vec::new(),
    }
}

/// The keys that the schema has for the tables at a path.
fn keys_at<'s>(schema: &'s Value, path: &str) -> BTreeSet<&'s str> {
    let tables = tables_at(schema, path).into_iter();
    let keys = tables.filter_map(|table| table["properties"].as_object());
    keys.flat_map(|keys| keys.keys().map(String::as_str))
        .collect()
}

/// The path with a `*` for the name of a listener.
fn plain(path: &str) -> String {
    let mut before = "";
    let parts = path.split('.').map(|part| {
        let own = if before == "listener" { "*" } else { part };
        before = part;
        own
    });
    parts.collect::<Vec<_>>().join(".")
}

/// `every-key.toml` is no topology: it only has each kind of table once, so that the reader asks for all keys.
#[test]
fn it_has_exactly_the_keys_that_the_reader_asks_for() {
    let schema = schema();
    let files = [shipped(), files_of("tests"), files_of("tests/lint")].concat();
    let mut known: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for file in &files {
        for (table, keys) in asked(&file.display().to_string(), &read(file)) {
            known.entry(plain(&table)).or_default().extend(keys);
        }
    }
    let mut wrong = Vec::new();
    for (table, keys) in &known {
        let has = keys_at(&schema, table);
        let planned = |key: &&&str| table == "fault" && PLANNED.contains(*key);
        for key in keys.difference(&has).filter(|key| !planned(key)) {
            wrong.push(format!(
                "{table}: the reader asks for `{key}`, and the schema lacks it"
            ));
        }
        for key in has.difference(keys) {
            wrong.push(format!(
                "{table}: the schema has `{key}`, and nobody asks for it"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let all: usize = known.values().map(BTreeSet::len).sum();
    assert!(all > 250, "only {all} keys");
}
