//! The text of GML: keys, each with a number, a text in quotes or a list in brackets.
//!
//! ```text
//! graph [ node [ id 0 label "Tokyo" ] edge [ source 0 target 1 ] ]
//! ```
//! A `#` makes the rest of its line a comment. A key may stand several times.

use std::ops::Range;

use crate::diagnostic::Wrong;

/// Lists within lists.
const DEPTH_MAX: usize = 64;

/// A mistake and where it is.
pub(super) type Misread = (Range<usize>, Wrong);

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// As the file has it, since identities are whole and coordinates are not.
    Number(String),
    Text(String),
    List(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Of the value.
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

/// Reads a whole text.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, Misread> {
    let mut reader = Reader { text, at: 0 };
    let entries = reader.entries(0)?;
    match reader.peek() {
        None => Ok(entries),
        Some(_) => {
            let here = reader.at..reader.at + 1;
            Err((
                here,
                Wrong::new("a bracket that none opened", "`key [ .. ]`"),
            ))
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// The next character that counts.
    fn peek(&mut self) -> Option<char> {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            self.at += blank;
            if !self.rest().starts_with('#') {
                return self.rest().chars().next();
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    /// Characters that belong together, at least one.
    fn word(&mut self) -> Range<usize> {
        let ends = |c: char| c.is_whitespace() || "[]\"#".contains(c);
        let rest = self.rest();
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let length = rest[first..]
            .find(ends)
            .map_or(rest.len(), |length| first + length);
        let start = self.at;
        self.at += length;
        start..self.at
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<Entry>, Misread> {
        let mut entries = Vec::new();
        while let Some(next) = self.peek() {
            if next == ']' {
                break;
            }
            let key = self.word();
            let word = &self.text[key.clone()];
            if !word.starts_with(|c: char| c.is_ascii_alphabetic()) {
                let reason = format!("\"{}\" is no key", word.escape_debug());
                return Err((
                    key,
                    Wrong::new(reason, "`key value`, as in GML: node [ id 0 ]"),
                ));
            }
            let word = word.to_owned();
            entries.push(self.entry(word, key, depth)?);
        }
        Ok(entries)
    }

    fn entry(&mut self, key: String, named: Range<usize>, depth: usize) -> Result<Entry, Misread> {
        let start = match self.peek() {
            None | Some(']') => {
                let reason = format!("`{key}` has no value");
                return Err((
                    named,
                    Wrong::new(reason, "a number, a \"text\" or a [ list ]"),
                ));
            }
            Some(_) => self.at,
        };
        let value = match self.peek() {
            Some('[') if depth >= DEPTH_MAX => {
                let reason = format!("more than {DEPTH_MAX} lists within each other");
                return Err((
                    start..start + 1,
                    Wrong::new(reason, "graph [ node [ .. ] ]"),
                ));
            }
            Some('[') => {
                self.at += 1;
                let entries = self.entries(depth + 1)?;
                if self.peek() != Some(']') {
                    let reason = "this bracket is never closed";
                    return Err((start..start + 1, Wrong::new(reason, "a `]`")));
                }
                self.at += 1;
                Value::List(entries)
            }
            Some('"') => {
                let Some(length) = self.rest()[1..].find('"') else {
                    let reason = "this text never ends";
                    return Err((start..start + 1, Wrong::new(reason, "a `\"` at its end")));
                };
                self.at += length + 2;
                Value::Text(self.text[start + 1..self.at - 1].to_owned())
            }
            _ => {
                let word = self.word();
                let number = &self.text[word.clone()];
                if number.parse::<f64>().is_err() {
                    let reason = format!("\"{}\" is no value", number.escape_debug());
                    return Err((
                        word,
                        Wrong::new(reason, "a number, a \"text\" or a [ list ]"),
                    ));
                }
                Value::Number(number.to_owned())
            }
        };
        Ok(Entry {
            key,
            span: start..self.at,
            value,
        })
    }
}
