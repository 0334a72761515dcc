//! Reads one table of a topology by hand, and reports every mistake in it.
//!
//! A reader hands out the values it is asked for; a value of the wrong type or out of range is reported and
//! reads as absent, so that reading goes on and one run shows all mistakes. The keys it was asked for are
//! the keys that are known: [`Reader::finish`] reports the others. What is read after a mistake is never
//! used, because a file with a mistake gives no topology.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::book::{Book, FILE, join};
use crate::diagnostic::Wrong;
use crate::names::{self, Kind};
use crate::nearest::did_you_mean;

/// One value with the place it was found at.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    /// Path inside the object, such as `load.rate`; empty for an entry of the root.
    pub(crate) path: String,
    pub(crate) span: Range<usize>,
    pub(crate) value: &'a DeValue<'a>,
}

/// Reads one table.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) book: &'a Book<'a>,
    object: String,
    path: String,
    span: Range<usize>,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        book: &'a Book<'a>,
        object: &str,
        span: Range<usize>,
        table: &'a DeTable<'a>,
    ) -> Self {
        Self {
            book,
            object: object.to_owned(),
            path: String::new(),
            span,
            table,
            known: Vec::new(),
        }
    }

    /// The same table under the name of an object of its own, such as `slo[0]`.
    pub(crate) fn renamed(mut self, object: &str) -> Self {
        object.clone_into(&mut self.object);
        self.path.clear();
        self
    }

    /// The object's full name.
    pub(crate) fn object(&self) -> &str {
        &self.object
    }

    /// Path of this table inside its object, such as `load[0]`; empty for the object itself.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Reports a mistake at a field of this object.
    pub(crate) fn wrong_at(&self, field: &Field<'_>, wrong: Wrong) {
        let Wrong { reason, hint } = wrong;
        let reason = if field.path.is_empty() {
            reason
        } else {
            format!("`{}`: {reason}", field.path)
        };
        self.book
            .mistakes
            .add(&self.object, field.span.clone(), Wrong { reason, hint });
    }

    /// Reports a mistake of this table as a whole.
    pub(crate) fn wrong(&self, wrong: Wrong) {
        let field = Field {
            path: self.path.clone(),
            span: self.span.clone(),
            value: &DeValue::Boolean(false),
        };
        self.wrong_at(&field, wrong);
    }

    /// The value at `key`, whatever its type.
    pub(crate) fn field(&mut self, key: &'static str) -> Option<Field<'a>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let value = self.table.get(key)?;
        Some(Field {
            path: join(&self.path, key),
            span: value.span(),
            value: value.get_ref(),
        })
    }

    /// Reports that `key` is missing.
    pub(crate) fn missing(&self, key: &str, example: &str) {
        let path = join(&self.path, key);
        self.book.mistakes.add(
            &self.object,
            self.span.clone(),
            Wrong::new(
                format!("`{path}` is missing"),
                format!("such as {key} = {example}"),
            ),
        );
    }

    fn wrong_type(&self, field: &Field<'_>, wanted: &str, example: &str) {
        let found = match field.value {
            DeValue::Integer(_) => "an integer",
            DeValue::Array(_) => "an array",
            DeValue::String(_) => "a string",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Table(_) => "a table",
        };
        let hint = if example.is_empty() {
            None
        } else {
            Some(format!("such as {example}"))
        };
        self.wrong_at(
            field,
            Wrong {
                reason: format!("{wanted} is wanted, not {found}"),
                hint,
            },
        );
    }

    /// The text of a string field.
    pub(crate) fn text_of(&self, field: &Field<'a>, example: &str) -> Option<&'a str> {
        let text = field.value.as_str();
        if text.is_none() {
            self.wrong_type(field, "a string", example);
        }
        text
    }

    /// A string read by `parse`; `example` is written as in the file.
    pub(crate) fn parse<T>(
        &mut self,
        key: &'static str,
        example: &str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let field = self.field(key)?;
        self.parse_field(&field, example, parse)
    }

    /// As [`Reader::parse`], and a missing key is a mistake.
    pub(crate) fn need<T>(
        &mut self,
        key: &'static str,
        example: &str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        if self.field(key).is_none() {
            self.missing(key, example);
            return None;
        }
        self.parse(key, example, parse)
    }

    /// The string of a field, read by `parse`.
    pub(crate) fn parse_field<T>(
        &self,
        field: &Field<'a>,
        example: &str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let text = self.text_of(field, example)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.wrong_at(field, wrong);
                None
            }
        }
    }

    /// Free text.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<String> {
        self.parse(key, "\"..\"", |text| Ok(text.to_owned()))
    }

    /// An integer within a range.
    pub(crate) fn integer(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let field = self.field(key)?;
        let allowed = format!("{} to {}", range.start(), range.end());
        let DeValue::Integer(integer) = field.value else {
            self.wrong_type(&field, "an integer", &format!("{key} = {}", range.start()));
            return None;
        };
        let value = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        match value.filter(|value| range.contains(value)) {
            Some(value) => Some(value),
            None => {
                self.wrong_at(
                    &field,
                    Wrong::new(format!("{integer} is out of range"), allowed),
                );
                None
            }
        }
    }

    /// A boolean.
    pub(crate) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let field = self.field(key)?;
        let value = field.value.as_bool();
        if value.is_none() {
            self.wrong_type(&field, "a boolean", &format!("{key} = true"));
        }
        value
    }

    /// A number written with or without a point, as its text.
    pub(crate) fn number<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let field = self.field(key)?;
        let text = match field.value {
            DeValue::Integer(integer) => integer.to_string(),
            DeValue::Float(float) => float.to_string(),
            _ => {
                self.wrong_type(&field, "a number", &format!("{key} = 35.68"));
                return None;
            }
        };
        match parse(&text) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.wrong_at(&field, wrong);
                None
            }
        }
    }

    /// One string or an array of strings, each with its place.
    pub(crate) fn list(&mut self, key: &'static str, example: &str) -> Option<Vec<Field<'a>>> {
        let field = self.field(key)?;
        match field.value {
            DeValue::String(_) => Some(vec![field]),
            DeValue::Array(items) => {
                let fields = items.iter().enumerate().map(|(index, item)| Field {
                    path: format!("{}[{index}]", field.path),
                    span: item.span(),
                    value: item.get_ref(),
                });
                Some(fields.collect())
            }
            _ => {
                self.wrong_type(
                    &field,
                    "a string or an array of strings",
                    &format!("{key} = {example}"),
                );
                None
            }
        }
    }

    /// A table inside this one; absent reads as empty.
    pub(crate) fn table(&mut self, key: &'static str, example: &str) -> Option<Reader<'a>> {
        let field = self.field(key)?;
        self.reader_of(&field, example)
    }

    /// One table or an array of tables.
    pub(crate) fn tables(&mut self, key: &'static str, example: &str) -> Vec<Reader<'a>> {
        let Some(field) = self.field(key) else {
            return Vec::new();
        };
        match field.value {
            DeValue::Array(items) => {
                let item_of = |(index, item): (usize, &'a Spanned<DeValue<'a>>)| {
                    let path = format!("{}[{index}]", field.path);
                    self.reader_of(
                        &Field {
                            path,
                            span: item.span(),
                            value: item.get_ref(),
                        },
                        example,
                    )
                };
                items.iter().enumerate().filter_map(item_of).collect()
            }
            _ => self.reader_of(&field, example).into_iter().collect(),
        }
    }

    /// The entries of a table whose keys the user chooses, each key with its own place.
    pub(crate) fn entries(
        &mut self,
        key: &'static str,
        example: &str,
    ) -> Vec<(&'a str, Range<usize>, Field<'a>)> {
        let Some(reader) = self.table(key, example) else {
            return Vec::new();
        };
        let entry = |(name, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let name_text: &'a std::borrow::Cow<'a, str> = name.get_ref();
            let path = join(&reader.path, name_text);
            let field = Field {
                path,
                span: value.span(),
                value: value.get_ref(),
            };
            (name_text.as_ref(), name.span(), field)
        };
        reader.table.iter().map(entry).collect()
    }

    /// Reads a field that has to be a table.
    pub(crate) fn reader_of(&self, field: &Field<'a>, example: &str) -> Option<Reader<'a>> {
        let DeValue::Table(table) = field.value else {
            self.wrong_type(field, "a table", example);
            return None;
        };
        let mut reader = Reader::new(self.book, &self.object, field.span.clone(), table);
        reader.path.clone_from(&field.path);
        Some(reader)
    }

    /// The objects of a kind: `[kind.NAME]`, or the entries of `kind = { NAME = {..} }`.
    pub(crate) fn objects(&mut self, kind: Kind) -> Vec<(String, Reader<'a>)> {
        let example = format!("[{kind}.NAME]");
        let mut objects = Vec::new();
        for (name, name_span, field) in self.entries(kind.word(), &example) {
            let object = kind.object(name);
            if let Err(wrong) = names::check(name) {
                self.book.mistakes.add(kind.word(), name_span, wrong);
                continue;
            }
            match field.value {
                DeValue::Table(table) => {
                    objects.push((
                        name.to_owned(),
                        Reader::new(self.book, &object, field.span, table),
                    ));
                }
                _ => self.wrong_type(&field, "a table", &format!("[{object}]")),
            }
        }
        objects
    }

    /// What tables of this kind have in common: its path without numbers, a `*` for the name of its object.
    fn pattern(&self) -> String {
        let object = match self.object.split_once('.') {
            Some((kind, _)) => format!("{kind}.*"),
            None => self.object.split('[').next().unwrap_or_default().to_owned(),
        };
        let path = self.path.split('.').map(|part| {
            let end = part.find('[').unwrap_or(part.len());
            &part[..end]
        });
        let parts: Vec<&str> = core::iter::once(object.as_str()).chain(path).collect();
        parts.join(".").trim_end_matches('.').to_owned()
    }

    /// Ends the table: every key that was never asked for is reported.
    pub(crate) fn finish(self) {
        let mut asked = self.book.asked.borrow_mut();
        let table = asked.entry(self.pattern()).or_default();
        table.extend(self.known.iter().copied());
        drop(asked);
        for (key, _) in self.table {
            if self.known.contains(&key.get_ref().as_ref()) {
                continue;
            }
            let what = if self.object == FILE {
                "table or key"
            } else {
                "key"
            };
            let name = join(&self.path, key.get_ref());
            let reason = format!("`{}` is no known {what}", name.escape_debug());
            let hint = did_you_mean(key.get_ref(), self.known.iter().copied());
            self.book
                .mistakes
                .add(&self.object, key.span(), Wrong::new(reason, hint));
        }
    }
}
