//! `include`: files whose tables a topology takes over, `include = ["pops.toml"]`, each by its path from the folder of
//! the file that names it.
//!
//! What the including file says itself wins, key by key; faults and service levels of all files are added, its own first.
//! A file is included once, however many name it; included files may include others. Their texts follow that of the file
//! in one numbering of bytes, as those of overrides do, so that a mistake in one names it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::book::FILE;
use crate::diagnostic::{Mistakes, Wrong};
use crate::overrides::moved;
use crate::syntax;

/// Files that a topology consists of at most.
const FILES_MAX: usize = 64;
/// Bytes of one of them.
const BYTES_MAX: u64 = 16 << 20;
/// Arrays whose items add up.
const ADDED: [&str; 2] = ["fault", "slo"];
/// What an included file may say of itself alone.
const OWN: [&str; 4] = ["schema", "include", "name", "description"];

/// An included file.
#[derive(Debug)]
pub(crate) struct Included {
    /// By its path.
    pub(crate) file: String,
    /// What is in it.
    pub(crate) text: String,
}

/// A file that cannot be included.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Where it is named, in which of the files: 0 is the topology, 1 the first included one.
    place: (usize, std::ops::Range<usize>),
    wrong: Wrong,
}

/// The files that a topology includes, and those that it cannot.
pub(crate) fn gather(file: &str, text: &str) -> (Vec<Included>, Vec<Refused>) {
    let mut included: Vec<Included> = Vec::new();
    let mut refused = Vec::new();
    let mut reached = 0_usize;
    loop {
        let (own_file, own_text) = match reached.checked_sub(1) {
            None => (file, text),
            Some(index) => match included.get(index) {
                Some(next) => (next.file.as_str(), next.text.as_str()),
                None => return (included, refused),
            },
        };
        let mut found = Vec::new();
        for (span, named) in named_in(own_text) {
            let path = Path::new(own_file)
                .parent()
                .unwrap_or(Path::new(""))
                .join(&named);
            match path_of(&path) {
                Ok(path) => found.push((span, path)),
                Err(wrong) => refused.push(Refused {
                    place: (reached, span),
                    wrong,
                }),
            }
        }
        for (span, path) in found {
            if path == file || included.iter().any(|known| known.file == path) {
                continue;
            }
            match text_of(&path, included.len()) {
                Ok(text) => included.push(Included { file: path, text }),
                Err(wrong) => refused.push(Refused {
                    place: (reached, span),
                    wrong,
                }),
            }
        }
        reached += 1;
    }
}

/// The files that a text names, as far as it is TOML and they are texts.
fn named_in(text: &str) -> Vec<(std::ops::Range<usize>, String)> {
    let (root, _) = DeTable::parse_recoverable(text);
    let Some(value) = root.get_ref().get("include") else {
        return Vec::new();
    };
    let items = match value.get_ref() {
        DeValue::Array(items) => items.iter().collect(),
        _ => vec![value],
    };
    let named = |item: &Spanned<DeValue<'_>>| {
        let named = item.get_ref().as_str()?;
        Some((item.span(), named.to_owned()))
    };
    items.into_iter().filter_map(named).collect()
}

/// A path without `.` and `..` in its middle, so that one file has one.
fn path_of(path: &Path) -> Result<String, Wrong> {
    let mut plain = std::path::PathBuf::new();
    for part in path.components() {
        let up = part == std::path::Component::ParentDir;
        let within = plain.file_name().is_some();
        match part {
            std::path::Component::CurDir => {}
            _ if up && within => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    let text = plain.to_str().map(str::to_owned);
    text.ok_or_else(|| Wrong::new("the path is not UTF-8 text", "such as \"pops.toml\""))
}

fn text_of(path: &str, included: usize) -> Result<String, Wrong> {
    let hint = "a path from the folder of this file, such as \"pops.toml\"";
    if included + 1 >= FILES_MAX {
        let reason = format!("more than {FILES_MAX} files");
        return Err(Wrong::new(reason, "fewer, larger ones"));
    }
    let unread = |error: io::Error| Wrong::new(format!("{path} cannot be read: {error}"), hint);
    let file = File::open(path).map_err(unread)?;
    let mut text = String::new();
    // What a file says of its length is not believed: a device says nothing and has no end.
    let read = file.take(BYTES_MAX + 1).read_to_string(&mut text);
    if read.map_err(unread)? as u64 > BYTES_MAX {
        let reason = format!("{path} has more than {BYTES_MAX} bytes");
        return Err(Wrong::new(reason, "a topology"));
    }
    Ok(text)
}

/// Reports files that cannot be included, and adds to `root` the tables of those that can.
pub(crate) fn merge<'t>(
    root: &mut DeTable<'t>,
    included: &'t [Included],
    refused: Vec<Refused>,
    mistakes: &Mistakes<'_>,
) {
    for Refused {
        place: (index, span),
        wrong,
    } in refused
    {
        let start = match index.checked_sub(1) {
            None => 0,
            Some(index) => mistakes.start_of_included(index),
        };
        let wrong = wrong.within("`include`: ");
        mistakes.add(FILE, start + span.start..start + span.end, wrong);
    }
    for (index, file) in included.iter().enumerate() {
        let start = mistakes.start_of_included(index);
        let (table, errors) = DeTable::parse_recoverable(&file.text);
        syntax::report(mistakes, &errors, &file.text, start);
        let whole = moved(
            Spanned::new(0..0, DeValue::Table(table.into_inner())),
            start,
        );
        let DeValue::Table(table) = whole.into_inner() else {
            continue;
        };
        check(&table, mistakes);
        let added = table
            .into_iter()
            .filter(|(key, _)| !OWN.contains(&key.get_ref().as_ref()));
        for (key, value) in added {
            add(root, key, value, true);
        }
    }
}

/// An included file may say its version, which is then the same.
fn check(table: &DeTable<'_>, mistakes: &Mistakes<'_>) {
    if let Some(schema) = table.get("schema")
        && schema.get_ref().as_integer().map(ToString::to_string) != Some(crate::SCHEMA.to_string())
    {
        let reason = "an included file is of another version";
        let hint = format!("schema = {}, or none", crate::SCHEMA);
        mistakes.add(FILE, schema.span(), Wrong::new(reason, hint));
    }
}

/// Adds an entry where `into` says nothing; tables key by key.
fn add<'t>(
    into: &mut DeTable<'t>,
    key: Spanned<std::borrow::Cow<'t, str>>,
    value: Spanned<DeValue<'t>>,
    at_top: bool,
) {
    let Some(own) = into.get_mut(key.get_ref().as_ref()) else {
        into.insert(key, value);
        return;
    };
    match (own.get_mut(), value.into_inner()) {
        (DeValue::Table(own), DeValue::Table(other)) => {
            for (key, value) in other {
                add(own, key, value, false);
            }
        }
        (DeValue::Array(own), DeValue::Array(other))
            if at_top && ADDED.contains(&key.get_ref().as_ref()) =>
        {
            *own = core::mem::replace(own, DeArray::new())
                .into_iter()
                .chain(other)
                .collect();
        }
        _ => {}
    }
}
