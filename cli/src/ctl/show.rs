//! Tables for people, JSON for programs.

use std::io::{self, Write as _};

use comfy_table::{Table, presets};
use serde_json::Value;

use super::object_json::plain;
use super::trouble::Trouble;

/// Prints `text`. A reader that has seen enough is no failure of ours.
pub(crate) fn print(text: &str) -> Result<(), Trouble> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Trouble::failed(format_args!("stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a document.
pub(crate) fn json(value: &Value) -> Result<(), Trouble> {
    print(&format!("{value:#}\n"))
}

/// Prints a document on one line, as one of many.
pub(crate) fn json_line(value: &Value) -> Result<(), Trouble> {
    print(&format!("{value}\n"))
}

/// A table of these columns.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    let lines = text.lines().map(|line| line.trim_end().to_owned() + "\n");
    lines.collect()
}

/// A table of JSON objects that have the same fields. Fields that none of them has anything in are left out.
pub(crate) fn table_of(objects: &[Value]) -> String {
    let fields: Vec<&String> = objects
        .first()
        .and_then(Value::as_object)
        .map_or_else(Vec::new, |first| first.keys().collect());
    let told = |field: &&&String| objects.iter().any(|object| plain(&object[**field]) != "-");
    let fields: Vec<&str> = fields
        .iter()
        .filter(told)
        .map(|field| field.as_str())
        .collect();
    let rows = objects.iter().map(|object| {
        let cells = fields.iter().map(|field| plain(&object[*field]));
        cells.collect()
    });
    table(&fields, rows)
}

/// One object, a field a line.
pub(crate) fn card(object: &Value) -> String {
    let fields = object.as_object().into_iter().flatten();
    table(
        &["field", "value"],
        fields.map(|(name, value)| vec![name.clone(), plain(value)]),
    )
}
