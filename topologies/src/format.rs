//! How a topology file is laid out: one form, whatever the hands that wrote it. What it says and its comments stay.
//!
//! One blank line at most, and one before each table with the comments above it; `key = value`; a comment one blank behind
//! what it is about. Tables of one kind may
//! stand together. A list or a table in braces that was written on one line stays there; one that was
//! broken has an item on each line, further in by four blanks. Values are written as they were.
//!
//! Formatting what was formatted changes nothing.

use std::fmt::Write as _;
use std::path::Path;

use toml::de::DeTable;
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

use crate::diagnostic::{Diagnostic, Mistakes};
use crate::syntax;
use crate::topology::{bytes_of, text_of};

/// How far in a broken list's items are.
const INDENT: usize = 4;

/// A file as it is, and as it should be laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formatted {
    /// As it is.
    pub before: String,
    /// As it should be.
    pub after: String,
}

/// Lays out a file, which need be no topology, only TOML.
///
/// # Errors
/// Every mistake of its syntax, or the one that it cannot be read.
pub fn load(path: impl AsRef<Path>) -> Result<Formatted, Vec<Diagnostic>> {
    let (file, bytes) = bytes_of(path.as_ref())?;
    let before = text_of(&file, &bytes)?;
    let after = parse(&file, before)?;
    Ok(Formatted {
        before: before.to_owned(),
        after,
    })
}

/// Lays out a text; `file` is its name in messages.
///
/// # Errors
/// Every mistake of its syntax.
pub fn parse(file: &str, text: &str) -> Result<String, Vec<Diagnostic>> {
    let mistakes = Mistakes::new(file, text, &[]);
    let (_, errors) = DeTable::parse_recoverable(text);
    syntax::report(&mistakes, &errors, text, 0);
    if !mistakes.is_empty() {
        return Err(mistakes.into_sorted());
    }
    let tokens = Source::new(text).lex();
    let tokens = tokens.map(|token| {
        let span = token.span();
        (token.kind(), &text[span.start()..span.end()])
    });
    let mut layout = Layout {
        tokens: tokens.filter(|(kind, _)| *kind != TokenKind::Eof).collect(),
        at: 0,
        blocks: Vec::new(),
        kind: String::new(),
    };
    layout.file();
    Ok(layout.blocks.join("\n") + if layout.blocks.is_empty() { "" } else { "\n" })
}

/// Reads tokens and gathers what comes of them, a block for each line of the file's own level; an empty one is blank.
struct Layout<'t> {
    tokens: Vec<(TokenKind, &'t str)>,
    at: usize,
    blocks: Vec<String>,
    /// Of the last header, `[pop`.
    kind: String,
}

/// What a header has in common with others of its kind: `[pop`.
fn kind_of(header: &str) -> &str {
    let end = header.find(['.', ']']).unwrap_or(header.len());
    &header[..end]
}

/// An item of a list, or a key and its value in braces.
#[derive(Default)]
struct Item {
    /// Comments above it.
    above: Vec<String>,
    text: String,
    /// The comment behind it.
    behind: Option<String>,
}

impl<'t> Layout<'t> {
    fn peek(&self) -> Option<TokenKind> {
        self.tokens.get(self.at).map(|(kind, _)| *kind)
    }

    fn next(&mut self) -> Option<(TokenKind, &'t str)> {
        let token = self.tokens.get(self.at).copied();
        self.at += 1;
        token
    }

    fn skip_blanks(&mut self) {
        while self.peek() == Some(TokenKind::Whitespace) {
            self.at += 1;
        }
    }

    fn file(&mut self) {
        let mut blank = false;
        let mut newlines = 0;
        while let Some(kind) = self.peek() {
            match kind {
                TokenKind::Whitespace => self.at += 1,
                TokenKind::Newline => {
                    self.at += 1;
                    newlines += 1;
                    blank |= newlines > 1;
                }
                _ => {
                    let header = kind == TokenKind::LeftSquareBracket;
                    let block = match kind {
                        TokenKind::Comment => self.comment(),
                        TokenKind::LeftSquareBracket => self.header(),
                        _ => self.entry(0),
                    };
                    let block = self.with_comment_behind(block, kind);
                    if blank && !self.blocks.is_empty() {
                        self.blocks.push(String::new());
                    }
                    self.blocks.push(block);
                    if header {
                        self.set_apart();
                    }
                    (blank, newlines) = (false, 0);
                }
            }
        }
    }

    /// Puts a blank line before the last block, a table's header, and the comments right above it.
    fn set_apart(&mut self) {
        let mut first = self.blocks.len() - 1;
        while first > 0 && self.blocks[first - 1].starts_with('#') {
            first -= 1;
        }
        // Tables of one kind may stand together, as a list does.
        let alone = first == self.blocks.len() - 1;
        let kind = kind_of(&self.blocks[self.blocks.len() - 1]).to_owned();
        let together = alone && kind == self.kind && !kind.starts_with("[[");
        self.kind = kind;
        if first > 0 && !together && !self.blocks[first - 1].is_empty() {
            self.blocks.insert(first, String::new());
        }
    }

    fn comment(&mut self) -> String {
        let (_, text) = self.next().unwrap_or((TokenKind::Comment, ""));
        text.trim_end().to_owned()
    }

    fn with_comment_behind(&mut self, block: String, kind: TokenKind) -> String {
        self.skip_blanks();
        if kind != TokenKind::Comment && self.peek() == Some(TokenKind::Comment) {
            return format!("{block} {}", self.comment());
        }
        block
    }

    /// `[pop.tokyo]`, without the blanks in it.
    fn header(&mut self) -> String {
        let mut text = String::new();
        while !matches!(
            self.peek(),
            None | Some(TokenKind::Newline | TokenKind::Comment)
        ) {
            match self.next() {
                Some((TokenKind::Whitespace, _)) | None => {}
                Some((_, part)) => text += part,
            }
        }
        text
    }

    /// `key = value`, at a depth.
    fn entry(&mut self, depth: usize) -> String {
        let mut text = String::new();
        while !matches!(self.peek(), None | Some(TokenKind::Equals)) {
            match self.next() {
                Some((TokenKind::Whitespace | TokenKind::Newline, _)) | None => {}
                Some((_, part)) => text += part,
            }
        }
        self.at += 1;
        text += " = ";
        text + &self.value(depth)
    }

    fn value(&mut self, depth: usize) -> String {
        while matches!(
            self.peek(),
            Some(TokenKind::Whitespace | TokenKind::Newline)
        ) {
            self.at += 1;
        }
        match self.peek() {
            Some(TokenKind::LeftSquareBracket) => self.group(depth, ["[", "]"]),
            Some(TokenKind::LeftCurlyBracket) => self.group(depth, ["{", "}"]),
            _ => self.scalar(),
        }
    }

    /// A value that is no list and no table: a date may have a blank in it.
    fn scalar(&mut self) -> String {
        let mut text = String::new();
        while let Some(kind) = self.peek() {
            match kind {
                TokenKind::Comma
                | TokenKind::RightSquareBracket
                | TokenKind::RightCurlyBracket
                | TokenKind::Newline
                | TokenKind::Comment => break,
                TokenKind::Whitespace => text.push(' '),
                _ => text += self.tokens[self.at].1,
            }
            self.at += 1;
        }
        text.trim_end().to_owned()
    }

    /// A list, or a table in braces.
    fn group(&mut self, depth: usize, [open, close]: [&str; 2]) -> String {
        self.at += 1;
        let mut items: Vec<Item> = Vec::new();
        let mut above: Vec<String> = Vec::new();
        let (mut broken, mut same_line) = (false, false);
        loop {
            match self.peek() {
                None => break,
                Some(TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket) => {
                    self.at += 1;
                    break;
                }
                Some(TokenKind::Whitespace | TokenKind::Comma) => self.at += 1,
                Some(TokenKind::Newline) => {
                    self.at += 1;
                    (broken, same_line) = (true, false);
                }
                Some(TokenKind::Comment) => {
                    let comment = self.comment();
                    broken = true;
                    match items
                        .last_mut()
                        .filter(|item| same_line && item.behind.is_none())
                    {
                        Some(item) => item.behind = Some(comment),
                        None => above.push(comment),
                    }
                }
                Some(_) => {
                    let text = match open {
                        "[" => self.value(depth + 1),
                        _ => self.entry(depth + 1),
                    };
                    items.push(Item {
                        above: core::mem::take(&mut above),
                        text,
                        behind: None,
                    });
                    same_line = true;
                }
            }
        }
        if broken && !(items.is_empty() && above.is_empty()) {
            return in_lines(depth, [open, close], &items, &above);
        }
        let texts: Vec<&str> = items.iter().map(|item| item.text.as_str()).collect();
        match (open, texts.is_empty()) {
            ("{", false) => format!("{{ {} }}", texts.join(", ")),
            _ => format!("{open}{}{close}", texts.join(", ")),
        }
    }
}

/// A group with an item on each line; `last` are the comments below the last one.
fn in_lines(depth: usize, [open, close]: [&str; 2], items: &[Item], last: &[String]) -> String {
    let inner = " ".repeat((depth + 1) * INDENT);
    let mut text = format!("{open}\n");
    for item in items {
        for comment in &item.above {
            let _ = writeln!(text, "{inner}{comment}");
        }
        let _ = write!(text, "{inner}{},", item.text);
        if let Some(comment) = &item.behind {
            let _ = write!(text, " {comment}");
        }
        text.push('\n');
    }
    for comment in last {
        let _ = writeln!(text, "{inner}{comment}");
    }
    text + &" ".repeat(depth * INDENT) + close
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(text: &str) -> String {
        parse("x.toml", text).expect("it is TOML")
    }

    #[test]
    fn blanks_and_blank_lines_have_one_form_and_comments_stay() {
        let text = "\n\n# what it shows\nschema=1   # the version\n\n\n\n[ pop . tokyo ]#here\n lat=35.68\n# the region\n[region.home]\n  clb_nodes   =  3\n";
        let wanted = "# what it shows\nschema = 1 # the version\n\n[pop.tokyo] #here\nlat = 35.68\n\n# the region\n[region.home]\nclb_nodes = 3\n";
        assert_eq!(formatted(text), wanted);
        assert_eq!(formatted(wanted), wanted);
    }

    #[test]
    fn a_list_stays_on_its_line_or_has_an_item_on_each() {
        let text = "a=[ 1,2 ,3, ]\nb = [ # first\n 1, # one\n  # above\n {x=1,y = [2,3]}\n # last\n]\nc={}\nd = [\n]\n";
        let wanted = "a = [1, 2, 3]\nb = [\n    # first\n    1, # one\n    # above\n    { x = 1, y = [2, 3] },\n    # last\n]\nc = {}\nd = []\n";
        assert_eq!(formatted(text), wanted);
        assert_eq!(formatted(wanted), wanted);
    }

    #[test]
    fn tables_of_one_kind_may_stand_together_and_others_are_set_apart() {
        let text =
            "[pop.a]\n[pop.b]\nlat = 1\n[pop.c]\n[region.a]\n[[fault]]\nat = \"1s\"\n[[fault]]\n";
        let wanted = "[pop.a]\n[pop.b]\nlat = 1\n[pop.c]\n\n[region.a]\n\n[[fault]]\nat = \"1s\"\n\n[[fault]]\n";
        assert_eq!(formatted(text), wanted);
        assert_eq!(formatted(wanted), wanted);
    }

    #[test]
    fn values_are_written_as_they_were() {
        let text = "a = 1979-05-27 07:32:00\nb = '''\n  raw ]\n'''\nc = \"# no comment\"\n\"d e\".f = 0x_f\n";
        let text = text.replace("0x_f", "0xf");
        assert_eq!(formatted(&text), text);
    }

    #[test]
    fn what_is_no_toml_is_refused_with_its_place() {
        let mistakes = parse("x.toml", "a = 1\nb = \n").expect_err("a value is missing");
        assert_eq!((mistakes[0].line, mistakes[0].column), (2, 5));
    }
}
