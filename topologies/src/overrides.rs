//! Overrides: keys of a file that a command line sets, `link.tokyo-guangzhou.loss=1%`, before the file is read.
//!
//! A key is a path of dots; an item of an array goes by its number, from 0: `fault.0.at=5s`. A value is TOML if it
//! reads as such, else the string that it is. Overrides change the parsed tables and not the text, so that the
//! mistakes of the file keep their lines; a mistake in what an override brought stands in the override.
//!
//! The texts of overrides follow that of the file in one numbering of bytes, and this is how a span tells where it
//! is from.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::book::{FILE, join};
use crate::diagnostic::{Mistakes, Wrong};
use crate::names::Kind;
use crate::nearest::did_you_mean;

const EXAMPLE: &str = "such as link.tokyo-guangzhou.loss=1% or fault.0.at=5s";

/// Sets in `root` what `overrides` say, in their order; each begins at the byte that `mistakes` gives it.
pub(crate) fn apply<'a>(root: &mut DeTable<'a>, overrides: &'a [String], mistakes: &Mistakes<'_>) {
    for (index, text) in overrides.iter().enumerate() {
        let start = mistakes.start_of_override(index);
        let Some((path, value)) = text.split_once('=') else {
            let wrong = Wrong::new("neither a key nor a value: there is no `=`", EXAMPLE);
            mistakes.add(FILE, start..start + text.len(), wrong);
            continue;
        };
        let key = start..start + path.len();
        let value = value_of(value, key.end + 1);
        let set = match segments(path) {
            Some(segments) if segments[0] == "include" => {
                let reason = "files are included before keys are set";
                let hint = "include = [\"pops.toml\"], in the file";
                Err((FILE.to_owned(), Wrong::new(reason, hint)))
            }
            Some(segments) => set(root, &segments, value, &key),
            None => {
                let reason = format!("`{}` is no key", path.escape_debug());
                Err((FILE.to_owned(), Wrong::new(reason, EXAMPLE)))
            }
        };
        if let Err((object, wrong)) = set {
            mistakes.add(&object, key, wrong);
        }
    }
}

/// The parts of a dotted key, read as TOML reads one.
fn segments(path: &str) -> Option<Vec<String>> {
    let line = format!("{path} = 0");
    let mut table = &DeTable::parse(&line).ok()?.into_inner();
    let mut segments = Vec::new();
    loop {
        let mut entries = table.iter();
        let ((key, value), None) = (entries.next()?, entries.next()) else {
            return None;
        };
        segments.push(key.get_ref().clone().into_owned());
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(segments),
        }
    }
}

/// The value that begins at byte `start`.
fn value_of(text: &str, start: usize) -> Spanned<DeValue<'_>> {
    match DeValue::parse(text) {
        Ok(value) => moved(value, start),
        Err(_) => Spanned::new(
            start..start + text.len(),
            DeValue::String(Cow::Borrowed(text)),
        ),
    }
}

/// The same value with every span `by` bytes further on.
pub(crate) fn moved(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let further = |span: Range<usize>| span.start + by..span.end + by;
    let span = further(value.span());
    let value = match value.into_inner() {
        DeValue::Array(items) => {
            DeValue::Array(items.into_iter().map(|item| moved(item, by)).collect())
        }
        DeValue::Table(entries) => {
            let entries = entries.into_iter().map(|(key, value)| {
                let span = further(key.span());
                (Spanned::new(span, key.into_inner()), moved(value, by))
            });
            DeValue::Table(entries.collect())
        }
        plain => plain,
    };
    Spanned::new(span, value)
}

/// What a step of a path leads into.
enum Inside<'t, 'a> {
    Table(&'t mut DeTable<'a>),
    Array(&'t mut DeArray<'a>),
}

/// Sets the value at `segments`; tables on the way that are not there are made.
fn set<'a>(
    root: &mut DeTable<'a>,
    segments: &[String],
    value: Spanned<DeValue<'a>>,
    key: &Range<usize>,
) -> Result<(), (String, Wrong)> {
    let object = object_of(segments);
    let fail = |wrong| Err((object.clone(), wrong));
    let (last, way) = segments.split_last().expect("a key has a part");
    let mut inside = Inside::Table(root);
    let mut walked = String::new();
    for (depth, segment) in way.iter().enumerate() {
        let next = match inside {
            Inside::Table(table) => {
                let named = depth == 1 && is_kind_with_tables(&segments[0]);
                if named && !table.contains_key(segment.as_str()) {
                    return fail(no_such_object(&segments[0], segment, table));
                }
                let name = Spanned::new(key.clone(), Cow::Owned(segment.clone()));
                let empty = || Spanned::new(key.clone(), DeValue::Table(DeTable::new()));
                table.entry(name).or_insert_with(empty)
            }
            Inside::Array(items) => match item(items, segment, &walked) {
                Ok(item) => item,
                Err(wrong) => return fail(wrong),
            },
        };
        walked = join(&walked, segment);
        inside = match next.get_mut() {
            DeValue::Table(table) => Inside::Table(table),
            DeValue::Array(items) => Inside::Array(items),
            _ => {
                return fail(Wrong::new(
                    format!("`{walked}` is a value and has no `{last}` in it"),
                    format!("{walked}=VALUE"),
                ));
            }
        };
    }
    match inside {
        Inside::Table(table) => {
            let name = Spanned::new(key.clone(), Cow::Owned(last.clone()));
            table.insert(name, value);
        }
        Inside::Array(items) => match item(items, last, &walked) {
            Ok(item) => *item = value,
            Err(wrong) => return fail(wrong),
        },
    }
    Ok(())
}

/// The item of an array that goes by the number `segment`.
fn item<'t, 'a>(
    items: &'t mut DeArray<'a>,
    segment: &str,
    walked: &str,
) -> Result<&'t mut Spanned<DeValue<'a>>, Wrong> {
    let len = items.len();
    let index = segment.parse::<usize>().ok();
    index.and_then(|index| items.get_mut(index)).ok_or_else(|| {
        let reason = format!("`{walked}` has no item `{}`", segment.escape_debug());
        let hint = match len {
            0 => format!("it is empty; {walked}=[..] sets all of it"),
            len => format!("{walked}.0 to {walked}.{}", len - 1),
        };
        Wrong::new(reason, hint)
    })
}

/// Whether the objects of that word must stand in the file: hosts come with their targets.
fn is_kind_with_tables(word: &str) -> bool {
    Kind::ALL
        .iter()
        .any(|kind| *kind != Kind::Host && kind.word() == word)
}

fn no_such_object(kind: &str, name: &str, table: &DeTable<'_>) -> Wrong {
    let reason = format!("the file has no {kind} `{}`", name.escape_debug());
    let known: Vec<&str> = table.keys().map(|key| key.get_ref().as_ref()).collect();
    if known.is_empty() {
        return Wrong::new(reason, format!("{kind}.NAME={{..}} adds a whole one"));
    }
    Wrong::new(reason, did_you_mean(name, known.iter().copied()))
}

/// `link.tokyo-guangzhou` of any key in it; the file itself for what belongs to no object.
fn object_of(segments: &[String]) -> String {
    match segments {
        [word, name, ..] if Kind::ALL.iter().any(|kind| kind.word() == word) => {
            format!("{word}.{name}")
        }
        _ => FILE.to_owned(),
    }
}
