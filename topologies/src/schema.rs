//! The JSON Schema of a topology file, for editors: what each key is, and what it means.
//!
//! Its source is `schema/keys.txt`, a line for each key: table, key, type, meaning. The types are few, and a figure's is
//! a pattern of its unit. What a schema can say is less than what the reader checks (references, ranges, contradictions):
//! a file that it refuses has a mistake, and one that it accepts may have one. A test keeps it in step: it has exactly the
//! keys that the reader asks for, and accepts every shipped file.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::topology::asked_of;

/// The keys.
const KEYS: &str = include_str!("schema/keys.txt");
/// The table of a whole file.
const FILE: &str = "file";

/// Figures by the name of their type, each as a pattern and an example.
const FIGURES: [(&str, &str, &str); 10] = [
    ("time", r"^[0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h)$", "9ms"),
    (
        "rate",
        r"^([0-9]+(\.[0-9]+)?[KMGT]?bps|unlimited)$",
        "10Gbps",
    ),
    ("size", r"^[0-9]+(\.[0-9]+)?([KMG]i?)?B$", "10KiB"),
    (
        "pace",
        r"^([0-9]+(\.[0-9]+)?([KMG]i?)?B/s|unlimited)$",
        "100KiB/s",
    ),
    ("share", r"^[0-9]+(\.[0-9]+)?%$", "0.001%"),
    ("frequency", r"^[0-9]+(\.[0-9]+)?/[smh]$", "200/s"),
    ("drift", r"^-?[0-9]+ppm$", "200ppm"),
    (
        "spread",
        r"^[0-9]+(\.[0-9]+)?% [0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h)$",
        "80% 10s",
    ),
    ("port", r"^(tcp|udp)/[0-9]+$", "tcp/80"),
    (
        "expectation",
        r"^[a-z0-9_]+( [^<>=]+)?\s*(<=|>=|==|<|>)\s*\S+$",
        "p99 < 250ms",
    ),
];

/// The schema.
#[must_use]
pub fn schema() -> Value {
    let mut tables: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut required: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (table, key, kind, meaning) in keys() {
        let (key, needed) = match key.strip_suffix('!') {
            Some(key) => (key, true),
            None => (key, false),
        };
        let mut property = of_kind(kind);
        if let Value::Object(property) = &mut property {
            property.insert("description".to_owned(), meaning.into());
        }
        let properties = tables.entry(table).or_default();
        properties.insert(key.to_owned(), property);
        if needed {
            required.entry(table).or_default().push(key);
        }
    }
    let object = |table: &str, properties: &Map<String, Value>| {
        let required = required.get(table).cloned().unwrap_or_default();
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    };
    let mut definitions = Map::new();
    for (name, pattern, example) in FIGURES {
        let figure = json!({ "type": "string", "pattern": pattern, "examples": [example] });
        definitions.insert(name.to_owned(), figure);
    }
    for (table, properties) in &tables {
        definitions.insert((*table).to_owned(), object(table, properties));
    }
    let root = definitions.remove(FILE).unwrap_or_default();
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "anyedge topology",
        "$defs": definitions,
    });
    if let (Value::Object(schema), Value::Object(root)) = (&mut schema, root) {
        schema.extend(root);
    }
    schema
}

/// The keys of each table that reading a text asks for, the table by its path: `client.*.load`. For who keeps the schema
/// in step.
#[must_use]
pub fn asked(file: &str, text: &str) -> BTreeMap<String, BTreeSet<&'static str>> {
    asked_of(file, text)
}

/// Table, key, type and meaning of each line.
fn keys() -> impl Iterator<Item = (&'static str, &'static str, &'static str, &'static str)> {
    let lines = KEYS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let mut parts = line.splitn(4, char::is_whitespace);
        let mut part = || parts.next().unwrap_or_default();
        (part(), part(), part(), part())
    })
}

/// A type: `time`, `int:1..16`, `word:gre|quic`, `list:time`, `map:table:listener`, or several with commas between.
fn of_kind(kind: &str) -> Value {
    let several: Vec<Value> = kind.split(',').map(of_one).collect();
    match <[Value; 1]>::try_from(several) {
        Ok([one]) => one,
        Err(several) => json!({ "anyOf": several }),
    }
}

fn of_one(kind: &str) -> Value {
    let (head, rest) = kind.split_once(':').unwrap_or((kind, ""));
    match head {
        "text" => json!({ "type": "string" }),
        "bool" => json!({ "type": "boolean" }),
        "true" => json!({ "const": true }),
        "false" => json!({ "const": false }),
        "number" => json!({ "type": "number" }),
        "int" => match rest.split_once("..") {
            Some((least, most)) => {
                let figure = |text: &str| text.parse::<u64>().unwrap_or_default();
                json!({ "type": "integer", "minimum": figure(least), "maximum": figure(most) })
            }
            None => json!({ "type": "integer" }),
        },
        "word" => json!({ "enum": rest.split('|').collect::<Vec<_>>() }),
        "list" => json!({ "type": "array", "items": of_one(rest) }),
        "some" => json!({ "anyOf": [of_one(rest), { "type": "array", "items": of_one(rest) }] }),
        "map" => json!({ "type": "object", "additionalProperties": of_one(rest) }),
        "table" => json!({ "$ref": format!("#/$defs/{rest}") }),
        figure => json!({ "$ref": format!("#/$defs/{figure}") }),
    }
}
