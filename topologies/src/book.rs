//! What all readers of one file share: its names, its mistakes, and where each value is.
//!
//! A reference is checked while its table is read, because the names are known before. What contradicts
//! another table is found later, and then the place of a value is looked up by its path.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Mistakes, Wrong};
use crate::names::Names;

/// The object of what belongs to no table: the file as a whole.
pub(crate) const FILE: &str = "file";

/// What all readers of one file share.
#[derive(Debug)]
pub(crate) struct Book<'t> {
    pub(crate) mistakes: Mistakes<'t>,
    pub(crate) names: Names,
    /// Where each value is, by its path from the root: `client.osaka.load.to`.
    pub(crate) places: BTreeMap<String, Range<usize>>,
}

impl Book<'_> {
    /// Reports a mistake in a value that was read before, such as one that contradicts another object's.
    pub(crate) fn report(&self, object: &str, path: &str, wrong: Wrong) {
        self.mistakes.add(object, self.place(object, path), wrong);
    }

    /// Where the value at `path` of an object is, else the object.
    pub(crate) fn place(&self, object: &str, path: &str) -> Range<usize> {
        let whole = if object == FILE {
            path.to_owned()
        } else {
            join(object, path)
        };
        let place = self.places.get(&whole).or_else(|| self.places.get(object));
        place.cloned().unwrap_or(0..0)
    }
}

/// Writes down where every value of a file is.
pub(crate) fn places(root: &DeTable<'_>) -> BTreeMap<String, Range<usize>> {
    fn walk(path: &str, table: &DeTable<'_>, places: &mut BTreeMap<String, Range<usize>>) {
        for (key, value) in table {
            visit(&join(path, key.get_ref()), value, places);
        }
    }
    fn visit(
        path: &str,
        value: &Spanned<DeValue<'_>>,
        places: &mut BTreeMap<String, Range<usize>>,
    ) {
        places.insert(path.to_owned(), value.span());
        match value.get_ref() {
            DeValue::Table(table) => walk(path, table, places),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    visit(&format!("{path}[{index}]"), item, places);
                }
            }
            _ => {}
        }
    }
    let mut places = BTreeMap::new();
    walk("", root, &mut places);
    places
}

/// A dotted path; an empty part adds nothing.
pub(crate) fn join(path: &str, key: &str) -> String {
    match (path, key) {
        ("", key) => key.to_owned(),
        (path, "") => path.to_owned(),
        (path, key) => format!("{path}.{key}"),
    }
}
