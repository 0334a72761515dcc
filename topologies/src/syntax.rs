//! What is wrong with a text that is no TOML, told with what would be right.
//!
//! The parser goes on after a mistake, so that one reading tells all of them; what it makes of a line after the first
//! mistake in it is a guess, and only the first one of each line is told. Nor does anything count behind a bracket that
//! is never closed: that bracket is told. The parser's words name what it met, ours say what to write instead.

use std::collections::BTreeSet;

use toml::de::Error;

use crate::book::FILE;
use crate::diagnostic::{Mistakes, Wrong};

/// What the parser's words begin with, and what would be right.
const HINTS: [(&str, &str); 34] = [
    (
        "duplicate key",
        "each key once; objects of one kind differ by name: [pop.tokyo], [pop.osaka]",
    ),
    (
        "unclosed array table",
        "[[fault]], with two brackets at each end",
    ),
    ("unclosed table", "[pop.tokyo], closed on the same line"),
    ("unclosed array", "a `]` after the last item"),
    (
        "unclosed inline table",
        "a `}` after the last key: { ip = \"10.0.0.11\" }",
    ),
    (
        "missing comma between array elements",
        "a `,` between two items",
    ),
    (
        "missing comma between key-value pairs",
        "a `,` between two keys: { ip = \"10.0.0.11\", port = 80 }",
    ),
    (
        "missing key for inline table element",
        "{ key = value }, with a key before each `=`",
    ),
    ("missing assignment", "key = value"),
    ("missing value", "a value after the `=`, such as \"52ms\""),
    ("missing opening quote", "text in quotes, such as \"52ms\""),
    ("invalid basic string", "a `\"` at each end"),
    (
        "invalid literal string",
        "key = value, and text in \"quotes\"",
    ),
    ("invalid boolean", "true or false, without capitals"),
    ("missing escaped value", "`\\\\` for a backslash"),
    (
        "string values must be quoted",
        "text in quotes, such as \"52ms\"",
    ),
    (
        "invalid unquoted key",
        "letters, digits, `-` and `_`, or a key in quotes",
    ),
    ("unquoted keys cannot be empty", "a name: [pop.tokyo]"),
    ("key with no value", "key = value"),
    ("keys cannot be multi-line", "a key on one line"),
    ("extra comma in inline table", "no `,` after the last key"),
    ("extra comma", "no `,` without an item before it"),
    ("extra", "key = value, each on a line of its own"),
    (
        "unexpected `=` in array",
        "items alone; a table in an array is { key = value }",
    ),
    ("unexpected key or value", "one key = value on a line"),
    (
        "unexpected content",
        "nothing after the value but a # comment",
    ),
    ("cannot extend", "a key is a value or a table, not both"),
    ("cannot recurse", "fewer tables within tables"),
    ("carriage return", "lines that end with a newline"),
    ("invalid comment character", "a comment of printable text"),
    (
        "invalid inline table element",
        "{ key = value, key = value }",
    ),
    ("unexpected leading zero", "a number without zeros in front"),
    ("radix must be lowercase", "0x, 0o or 0b"),
    ("`_` may only go between digits", "1_000"),
];

/// The most that is told of one text.
const TOLD_MAX: usize = 1_000;

/// Any other mistake is one of a value.
const OF_A_VALUE: &str =
    "a value: \"text\" in quotes, a number, true, false, [a list] or { a = table }";

/// Takes down the mistakes of one text, which begins at byte `start` of all of them; of each line the first one.
pub(crate) fn report(mistakes: &Mistakes<'_>, errors: &[Error], text: &str, start: usize) {
    let mut lines = BTreeSet::new();
    let placed = |error: &Error| error.span().unwrap_or(text.len()..text.len());
    let line_of = |at: usize| {
        let before = &text.as_bytes()[..at.min(text.len())];
        before.iter().filter(|byte| **byte == b'\n').count()
    };
    let mut errors: Vec<&Error> = errors.iter().take(TOLD_MAX).collect();
    // The parser looks at values after all that is around them.
    errors.sort_by_cached_key(|error| line_of(placed(error).start));
    for error in errors {
        let span = placed(error);
        let span = span.start.min(text.len())..span.end.min(text.len());
        if let Some(bracket) = never_closed(text, span.start, error.message()) {
            let closing = if text[bracket..].starts_with('[') {
                ']'
            } else {
                '}'
            };
            let reason = format!("not TOML: this bracket is never closed, expected `{closing}`");
            let hint = format!("a `{closing}` behind the last item");
            let at = start + bracket;
            return mistakes.add(FILE, at..at + 1, Wrong::new(reason, hint));
        }
        if lines.insert(line_of(span.start)) {
            let span = start + span.start..start + span.end;
            mistakes.add(FILE, span, wrong(error.message()));
        }
    }
}

/// The bracket before `at` that is not closed, if what stands there is the file's next key or table and no item.
fn never_closed(text: &str, at: usize, message: &str) -> Option<usize> {
    let within = ["missing comma between", "missing key for inline table"];
    if !within.iter().any(|words| message.starts_with(words)) {
        return None;
    }
    let line_start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let before = text[line_start..at].trim();
    let line = text[line_start..].lines().next().unwrap_or_default();
    let word = |c: char| c.is_ascii_alphanumeric() || "._-\"".contains(c);
    let is_key = line
        .split_once('=')
        .is_some_and(|(key, _)| key.trim().chars().all(word));
    if !before.is_empty() || !(is_key || line.starts_with('[')) {
        return None;
    }
    open_brackets(&text[..line_start]).pop()
}

/// Where brackets begin that are not closed by the end of `text`.
fn open_brackets(text: &str) -> Vec<usize> {
    let mut open = Vec::new();
    let mut quote = None;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match (quote, byte) {
            (_, b'\n') => quote = None,
            // A comment ends with its line alone.
            (Some(b'#'), _) => {}
            (Some(b'"'), b'\\') => drop(bytes.next()),
            (Some(own), byte) if own == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'' | b'#') => quote = Some(byte),
            (None, b'[' | b'{') => open.push(at),
            (None, b']' | b'}') => drop(open.pop()),
            (None, _) => {}
        }
    }
    open
}

fn wrong(message: &str) -> Wrong {
    let known = HINTS.iter().find(|(words, _)| message.starts_with(words));
    let hint = known.map_or(OF_A_VALUE, |(_, hint)| hint);
    Wrong::new(format!("not TOML: {message}"), hint)
}
