//! YAML as other tools read it, written of JSON values: blocks for maps and lists, and every text in double quotes.
//!
//! JSON's escapes are those of YAML's double quotes (YAML 1.2, section 5.7), so no text can become a number, a date or a
//! boolean on the way. Empty maps and lists are written as `{}` and `[]`.

use serde_json::Value;

/// The document.
pub fn text(value: &Value) -> String {
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}

fn block(value: &Value, depth: usize, into: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                *into += &indent;
                *into += &quoted(key);
                *into += ":";
                below(value, depth, into);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for value in list {
                *into += &indent;
                *into += "-";
                below(value, depth, into);
            }
        }
        scalar => {
            *into += &indent;
            *into += &scalar.to_string();
            into.push('\n');
        }
    }
}

/// What stands behind a key or a dash: a scalar on the same line, a block on the next.
fn below(value: &Value, depth: usize, into: &mut String) {
    let is_block = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => false,
    };
    if is_block {
        into.push('\n');
        block(value, depth + 1, into);
    } else {
        into.push(' ');
        *into += &value.to_string();
        into.push('\n');
    }
}

/// A key as it is where nothing can mistake it, else in quotes.
fn quoted(key: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.';
    let begins_well = key.starts_with(|c: char| c.is_ascii_alphabetic());
    let words = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let is_word = words.contains(&key.to_ascii_lowercase().as_str());
    if begins_well && key.chars().all(is_plain) && !is_word {
        key.to_owned()
    } else {
        Value::from(key).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn maps_and_lists_are_blocks_and_texts_are_quoted() {
        let value = json!({
            "name": "two-pops",
            "on": {},
            "nodes": { "pop-tokyo": { "exec": ["ip link", "a: b"], "count": 3, "none": null } },
        });
        let expected = "name: \"two-pops\"\n\"on\": {}\nnodes:\n  pop-tokyo:\n    exec:\n      - \"ip link\"\n      - \"a: b\"\n    count: 3\n    none: null\n";
        assert_eq!(text(&value), expected);
    }
}
