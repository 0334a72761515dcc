//! One mistake in a topology file, and where it is.
//!
//! A reader should be able to repair the file from the message alone: file, line and column of the value,
//! the object it belongs to, what is wrong and what would be right. All mistakes of a file are collected
//! and shown together, in the order of the file.
//!
//! Lines and columns count from 1; a column counts characters, not bytes. The byte span is kept beside them
//! so that a terminal can underline the place. A mistake in an override has its place in the override's own text.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use xxhash_rust::xxh3;

use crate::include::Included;

/// One mistake in a topology file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file as it was named by the user.
    pub file: String,
    /// The override, `key=value`, that holds the mistake; line, column and span are places in it. `None`: the file.
    pub option: Option<String>,
    /// Line of the offending value, from 1.
    pub line: usize,
    /// Column of the offending value in characters, from 1.
    pub column: usize,
    /// Bytes of the offending value in the text; empty where something is missing at the end.
    pub span: Range<usize>,
    /// The object that holds the mistake, such as `link.tokyo-guangzhou`; `file` for the file as a whole.
    pub object: String,
    /// What is wrong.
    pub reason: String,
    /// What would be right, where that can be said.
    pub hint: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, reason, .. } = self;
        write!(f, "{}: {object}: {reason}", self.place())?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}

impl Diagnostic {
    /// `file:line:column`, or the option: `--set link.tokyo-guangzhou.loss=1%`.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.option {
            Some(option) => format!("--set {option}"),
            None => format!("{}:{}:{}", self.file, self.line, self.column),
        }
    }
}

/// What is wrong with one value, before its place is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub reason: String,
    /// What would be right.
    pub hint: Option<String>,
}

impl Wrong {
    pub(crate) fn new(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            hint: Some(hint.into()),
        }
    }

    /// The same, with words in front of the reason.
    pub(crate) fn within(self, context: impl fmt::Display) -> Self {
        Self {
            reason: format!("{context}{}", self.reason),
            hint: self.hint,
        }
    }

    pub(crate) fn bare(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            hint: None,
        }
    }
}

/// Collects the mistakes of one file, of those that it includes and of what overrides it: one text after the other, a
/// byte between them.
#[derive(Debug)]
pub(crate) struct Mistakes<'t> {
    file: &'t str,
    text: &'t str,
    included: &'t [Included],
    overrides: &'t [String],
    /// Each with where it begins in all texts.
    found: RefCell<Vec<(usize, Diagnostic)>>,
}

/// A span in the text that it is of.
struct Placed<'m> {
    file: &'m str,
    option: Option<&'m String>,
    text: &'m str,
    span: Range<usize>,
}

impl<'t> Mistakes<'t> {
    /// XXH3 of the file's text, of those included and of what overrides it, with a seed.
    pub(crate) fn hash(&self, seed: u64) -> u64 {
        let included = self.included.iter().map(|included| included.text.as_str());
        let overrides = self.overrides.iter().map(String::as_str);
        let texts = std::iter::once(self.text).chain(included).chain(overrides);
        texts.fold(seed, |hash, text| {
            xxh3::xxh3_64_with_seed(text.as_bytes(), hash)
        })
    }

    pub(crate) fn new(file: &'t str, text: &'t str, overrides: &'t [String]) -> Self {
        Self {
            file,
            text,
            included: &[],
            overrides,
            found: RefCell::new(Vec::new()),
        }
    }

    /// The same with files that the first one includes.
    pub(crate) fn with_included(self, included: &'t [Included]) -> Self {
        Self { included, ..self }
    }

    pub(crate) fn add(&self, object: &str, span: Range<usize>, wrong: Wrong) {
        let start = span.start;
        let placed = self.placed(object, span, wrong);
        self.found.borrow_mut().push((start, placed));
    }

    /// What is wrong with its place, which is no mistake by that.
    pub(crate) fn placed(&self, object: &str, span: Range<usize>, wrong: Wrong) -> Diagnostic {
        let Placed {
            file,
            option,
            text,
            span,
        } = self.text_of(span);
        let (line, column) = position(text.as_bytes(), span.start);
        Diagnostic {
            file: file.to_owned(),
            option: option.cloned(),
            line,
            column,
            span,
            object: object.to_owned(),
            reason: wrong.reason,
            hint: wrong.hint,
        }
    }

    /// The byte at which an included file begins, counted from the beginning of the first.
    pub(crate) fn start_of_included(&self, index: usize) -> usize {
        let before = self.included[..index].iter();
        let start = self.text.len() + 1;
        start + before.map(|before| before.text.len() + 1).sum::<usize>()
    }

    /// The byte at which an override begins, counted from the beginning of the file.
    pub(crate) fn start_of_override(&self, index: usize) -> usize {
        let before = &self.overrides[..index];
        let start = self.start_of_included(self.included.len());
        start + before.iter().map(|text| text.len() + 1).sum::<usize>()
    }

    /// The files that are included, in their order.
    pub(crate) fn included(&self) -> impl Iterator<Item = &str> {
        self.included.iter().map(|included| included.file.as_str())
    }

    /// The file that a byte is in; of an override, the first one.
    pub(crate) fn file_at(&self, at: usize) -> &str {
        self.text_of(at..at).file
    }

    /// Which text a span is in, and its bytes there.
    fn text_of(&self, span: Range<usize>) -> Placed<'_> {
        let within = |start: usize| span.start - start..span.end - start;
        let overrides = (0..self.overrides.len()).rev();
        let mut overrides = overrides.map(|index| (index, self.start_of_override(index)));
        if let Some((index, start)) = overrides.find(|(_, start)| *start <= span.start) {
            let text = &self.overrides[index];
            return Placed {
                file: self.file,
                option: Some(text),
                text,
                span: within(start),
            };
        }
        let included = (0..self.included.len()).rev();
        let mut included = included.map(|index| (index, self.start_of_included(index)));
        match included.find(|(_, start)| *start <= span.start) {
            Some((index, start)) => Placed {
                file: &self.included[index].file,
                option: None,
                text: &self.included[index].text,
                span: within(start),
            },
            None => Placed {
                file: self.file,
                option: None,
                text: self.text,
                span,
            },
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// The mistakes in the order of the files, then those of overrides, each once.
    pub(crate) fn into_sorted(self) -> Vec<Diagnostic> {
        fn order((start, mistake): &(usize, Diagnostic)) -> (Option<&str>, usize, usize, &str) {
            let option = mistake.option.as_deref();
            (option, *start, mistake.span.end, &mistake.reason)
        }
        let mut found = self.found.into_inner();
        found.sort_by(|a, b| order(a).cmp(&order(b)));
        let mut found: Vec<Diagnostic> = found.into_iter().map(|(_, mistake)| mistake).collect();
        found.dedup();
        found
    }
}

/// Line and column, from 1, of a byte offset; columns count the UTF-8 characters that begin before it.
pub(crate) fn position(bytes: &[u8], offset: usize) -> (usize, usize) {
    let before = &bytes[..offset.min(bytes.len())];
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let start = before
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |newline| newline + 1);
    let column = before[start..]
        .iter()
        .filter(|b| **b & 0xC0 != 0x80)
        .count()
        + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_counts_characters_not_bytes() {
        let text = "a\né = 1\n";
        let one = text.find('1').expect("the text holds a 1");
        assert_eq!(position(text.as_bytes(), one), (2, 5));
        assert_eq!(position(text.as_bytes(), 0), (1, 1));
        assert_eq!(position(text.as_bytes(), text.len() + 9), (3, 1));
    }
}
