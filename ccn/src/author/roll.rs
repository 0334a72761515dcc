//! A roll: objects of one kind, sorted by name. The place in the roll is the id.
//!
//! Sorting makes an id independent of the order in which a file or an operator named the objects, so that two
//! authors given the same plans write the same table. Invariant: names in a roll are unique.

use core::fmt;

use super::error::AuthorError;

/// Something that sorts by its name.
pub(super) trait Named {
    fn name(&self) -> &str;
}

impl<T: Named> Named for &T {
    fn name(&self) -> &str {
        (*self).name()
    }
}

/// How an error names an object: its kind and its name.
#[derive(Clone, Copy)]
pub(super) struct Object<'a>(pub(super) &'static str, pub(super) &'a str);

impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.0, self.1)
    }
}

/// Objects by id.
pub(super) struct Roll<T> {
    kind: &'static str,
    entries: Vec<T>,
}

impl<T: Named> Roll<T> {
    /// Sorts `entries`, of which there may be `count_max`.
    pub(super) fn new(
        kind: &'static str,
        mut entries: Vec<T>,
        count_max: usize,
    ) -> Result<Self, AuthorError> {
        let count = entries.len();
        if count > count_max {
            return Err(AuthorError::TooMany {
                kind,
                count,
                count_max,
            });
        }
        entries.sort_by(|a, b| a.name().cmp(b.name()));
        if let Some(pair) = entries
            .windows(2)
            .find(|pair| pair[0].name() == pair[1].name())
        {
            return Err(AuthorError::Duplicate {
                object: Object(kind, pair[0].name()).to_string(),
            });
        }
        Ok(Self { kind, entries })
    }

    /// The id of the object of that name, which `by` refers to.
    pub(super) fn find(&self, name: &str, by: &impl fmt::Display) -> Result<u16, AuthorError> {
        let found = self
            .entries
            .binary_search_by(|entry| entry.name().cmp(name));
        found
            .map(|at| at as u16)
            .map_err(|_| self.unknown(name, by))
    }

    /// The error of a name that is not on the roll.
    pub(super) fn unknown(&self, name: &str, by: &impl fmt::Display) -> AuthorError {
        AuthorError::Unknown {
            by: by.to_string(),
            kind: self.kind,
            name: name.to_owned(),
        }
    }

    /// The object with that id.
    pub(super) fn get(&self, id: u16) -> &T {
        &self.entries[usize::from(id)]
    }

    /// The objects in the order of their ids.
    pub(super) fn entries(&self) -> &[T] {
        &self.entries
    }

    /// The objects in the order of their ids.
    pub(super) fn into_entries(self) -> Vec<T> {
        self.entries
    }
}
