//! What all readers of one file share: its names, its mistakes, and where each value is.
//!
//! A reference is checked while its table is read, because the names are known before. What contradicts
//! another table is found later, and then the place of a value is looked up by its path.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use xxhash_rust::xxh3;

use crate::diagnostic::{Mistakes, Wrong};
use crate::names::Names;

/// The object of what belongs to no table: the file as a whole.
pub(crate) const FILE: &str = "file";

/// Bytes of a file that a topology names.
const BESIDE_MAX: u64 = 64 << 20;

/// What all readers of one file share.
#[derive(Debug)]
pub(crate) struct Book<'t> {
    pub(crate) mistakes: Mistakes<'t>,
    pub(crate) names: Names,
    /// Where each value is, by its path from the root: `client.osaka.load.to`.
    pub(crate) places: BTreeMap<String, Range<usize>>,
    /// The files that it names and their XXH3, but for its matrix, which has its own.
    pub(crate) beside: RefCell<BTreeMap<PathBuf, u64>>,
    /// The keys that each table was asked for, by its path without names and numbers: `client.*.load`.
    pub(crate) asked: RefCell<Asked>,
}

/// Keys by table.
pub(crate) type Asked = BTreeMap<String, BTreeSet<&'static str>>;

impl Book<'_> {
    /// Reports a mistake in a value that was read before, such as one that contradicts another object's.
    pub(crate) fn report(&self, object: &str, path: &str, wrong: Wrong) {
        self.mistakes.add(object, self.place(object, path), wrong);
    }

    /// The path of a file that the value at `span` names, from the folder of the file that the value stands in.
    pub(crate) fn path_beside(&self, span: &Range<usize>, named: &str) -> PathBuf {
        let file = Path::new(self.mistakes.file_at(span.start));
        file.parent().unwrap_or(Path::new("")).join(named)
    }

    /// What is in a file that the value at `span` names.
    pub(crate) fn read_beside(
        &self,
        span: &Range<usize>,
        named: &str,
    ) -> Result<(PathBuf, Vec<u8>), Wrong> {
        let path = self.path_beside(span, named);
        let bytes = bytes(&path)?;
        let hash = xxh3::xxh3_64(&bytes);
        self.beside.borrow_mut().insert(path.clone(), hash);
        Ok((path, bytes))
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

/// What is in a file that a topology names.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, Wrong> {
    let shown = path.display();
    let unread = |error: io::Error| {
        let hint = "a path from the topology's own folder";
        Wrong::new(format!("{shown} cannot be read: {error}"), hint)
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unread)?;
    let read = file.take(BESIDE_MAX + 1).read_to_end(&mut bytes);
    if read.map_err(unread)? as u64 > BESIDE_MAX {
        let reason = format!("{shown} has more than {BESIDE_MAX} bytes");
        return Err(Wrong::new(reason, "what is needed of it"));
    }
    Ok(bytes)
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
