//! The report in long format: one figure per row, with the object that it is of.
//!
//! Objects are named as in the file, a load of a population as `client.osaka load 0`; what belongs to none is of `run`.
//! Metrics are the fields of the JSON, with dots.

use std::fmt;

use anyedge_sim::report::Report;
use serde_json::Value;

/// What stands at the top of the JSON and is no figure of the run, and what is one for each interval of it.
const LEFT_OUT: [&str; 8] = [
    "schema",
    "version",
    "topology",
    "topology_hash",
    "overrides",
    "seed",
    "digest",
    "timeline",
];

/// A row before what all rows have.
pub(crate) struct Row {
    pub(crate) object: String,
    pub(crate) metric: String,
    pub(crate) figure: Figure,
}

/// What a row tells.
#[derive(Debug)]
pub(crate) enum Figure {
    Truth(bool),
    Number(serde_json::Number),
    Text(String),
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truth(truth) => truth.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// Every row of a report, in the order of its JSON.
pub(crate) fn of(report: &Report) -> Result<Vec<Row>, String> {
    let tree = serde_json::to_value(report).map_err(|error| error.to_string())?;
    let mut rows = Vec::new();
    for (field, value) in tree.as_object().into_iter().flatten() {
        if !LEFT_OUT.contains(&field.as_str()) {
            walk(&mut rows, "run", field, value);
        }
    }
    Ok(rows)
}

/// The figures of `value`, a field `metric` of `object`.
fn walk(rows: &mut Vec<Row>, object: &str, metric: &str, value: &Value) {
    let figure = match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let metric = join(metric, field, ".");
                walk(rows, object, &metric, value);
            }
            return;
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                let object = name(object, metric, number, item);
                walk(rows, &object, "", item);
            }
            return;
        }
        Value::Null => return,
        Value::String(text) => Figure::Text(text.clone()),
        Value::Bool(truth) => Figure::Truth(*truth),
        Value::Number(number) => Figure::Number(number.clone()),
    };
    rows.push(Row {
        object: object.to_owned(),
        metric: metric.to_owned(),
        figure,
    });
}

/// What an item of a list is called: by its own name where it has one, else by its number.
fn name(of: &str, list: &str, number: usize, item: &Value) -> String {
    let own = |key: &str| item[key].as_str();
    match list {
        "clients" => format!("client.{}", own("name").unwrap_or_default()),
        "links" => own("name").unwrap_or_default().to_owned(),
        "assumed_links" => format!("link.{}", own("name").unwrap_or_default()),
        "listeners" => format!("listener {}", own("listener").unwrap_or_default()),
        "targets" => format!("{of} target {}", own("target").unwrap_or_default()),
        "loads" => format!("{of} load {number}"),
        "faults" => format!("fault {number}"),
        "slos" => format!("slo {number}"),
        _ => join(of, &format!("{list} {number}"), " "),
    }
}

fn join(one: &str, other: &str, between: &str) -> String {
    match (one, other) {
        ("", other) => other.to_owned(),
        (one, "") => one.to_owned(),
        (one, other) => format!("{one}{between}{other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_figure_has_a_row_and_every_item_a_name() {
        let tree = json!({
            "virtual_s": 20.5,
            "clients": [{ "name": "osaka", "pop": null, "requests": { "ok": 7 },
                          "loads": [{ "kind": "tick" }] }],
            "listeners": [{ "listener": "a/b", "targets": [{ "target": "10.0.0.1:80", "opened": 3 }] }],
            "drops": { "NoFlow": 2 },
        });
        let mut rows = Vec::new();
        walk(&mut rows, "run", "", &tree);
        let told: Vec<String> = rows
            .iter()
            .map(|row| format!("{}|{}|{}", row.object, row.metric, row.figure))
            .collect();
        let wanted = [
            "run|virtual_s|20.5",
            "client.osaka|name|osaka",
            "client.osaka|requests.ok|7",
            "client.osaka load 0|kind|tick",
            "listener a/b|listener|a/b",
            "listener a/b target 10.0.0.1:80|target|10.0.0.1:80",
            "listener a/b target 10.0.0.1:80|opened|3",
            "run|drops.NoFlow|2",
        ];
        assert_eq!(told, wanted);
    }
}
