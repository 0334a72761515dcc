//! What a topology without a mistake would still surprise its author with: findings, each by a rule of its own.
//!
//! A mistake gives no topology; a finding is a warning about one that holds, at the value that it is about. Rules have
//! fixed numbers, so that one may be allowed, and each says what it looks for, why that bites and what mends it. Some of them
//! the reader keeps already, as mistakes; some wait for what the format does not have yet.
//!
//! A rule is a function of the checked topology. Where a value stands is looked up by its path in the file's own tables,
//! so that no object has to carry its place. docs/lint.md has the table of rules.

use std::cell::RefCell;
use std::fmt;
use std::path::Path;

use anyedge_net::switch;
use toml::de::{DeTable, DeValue};

use crate::book::Book;
use crate::clb::Clb;
use crate::diagnostic::{Diagnostic, Wrong};
use crate::include;
use crate::names::Kind;
use crate::reader::Reader;
use crate::security_group::{Peers, Written};
use crate::topology::{Topology, bytes_of, of_tables, tables_of, text_of};
use crate::vip::Vip;

mod bypassed_groups;
mod controllers;
mod egress_ports;
mod idle_rules;
mod lines;
mod prefixes;
mod probe_sources;
mod publishers;
mod rule;
mod silences;
mod snat_ports;
mod source_tuples;
mod tunnels;
mod weights;

use rule::Work;
pub use rule::{Kept, RULES, Rule};

/// What a rule found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// By which rule.
    pub rule: &'static Rule,
    /// Where it is, what surprises, and what would mend it.
    pub at: Diagnostic,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        match &self.at.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl Finding {
    /// Place, rule, object and what was found, in one line.
    #[must_use]
    pub fn headline(&self) -> String {
        let Diagnostic { object, reason, .. } = &self.at;
        format!("{}: {} {object}: {reason}", self.at.place(), self.rule.id)
    }
}

/// Looks through a file of which some keys are set otherwise.
///
/// # Errors
/// Every mistake in the file and in the overrides, or the one that the file cannot be read.
pub fn load(path: impl AsRef<Path>, overrides: &[String]) -> Result<Vec<Finding>, Vec<Diagnostic>> {
    let (file, bytes) = bytes_of(path.as_ref())?;
    parse(&file, text_of(&file, &bytes)?, overrides)
}

/// Looks through a text of which some keys are set otherwise; `file` is its name in messages. Findings come in the order
/// of the file, then those in overrides.
///
/// # Errors
/// Every mistake in the text and in the overrides.
pub fn parse(
    file: &str,
    text: &str,
    overrides: &[String],
) -> Result<Vec<Finding>, Vec<Diagnostic>> {
    let (included, refused) = include::gather(file, text);
    let (root, mistakes) = tables_of((file, text), (&included, refused), overrides)?;
    let (topology, book) = of_tables(file, &root, mistakes, overrides)?;
    let case = Case {
        topology: &topology,
        book: &book,
        root: &root,
        found: RefCell::default(),
    };
    if switch::is_on("S-BE18") {
        for rule in &RULES {
            if let Work::Finds(find) = rule.work {
                find(&case, rule);
            }
        }
    }
    Ok(in_order(case.found.into_inner()))
}

fn in_order(mut found: Vec<Finding>) -> Vec<Finding> {
    fn key(finding: &Finding) -> (Option<&str>, usize, &str, &str) {
        let at = &finding.at;
        (
            at.option.as_deref(),
            at.span.start,
            finding.rule.id,
            &at.reason,
        )
    }
    found.sort_by(|one, other| key(one).cmp(&key(other)));
    found
}

/// A topology that is looked through.
struct Case<'c> {
    topology: &'c Topology,
    book: &'c Book<'c>,
    root: &'c DeTable<'c>,
    found: RefCell<Vec<Finding>>,
}

impl<'c> Case<'c> {
    /// Takes down a finding at the value at `path` of an object, or at the object where the file has no such value.
    fn found(&self, rule: &'static Rule, object: &str, path: &str, wrong: Wrong) {
        let span = self.book.place(object, path);
        let at = self.book.mistakes.placed(object, span, wrong);
        self.found.borrow_mut().push(Finding { rule, at });
    }

    /// Whether the file has a value at `path` of an object.
    fn has(&self, object: &str, path: &str) -> bool {
        self.book.places.contains_key(&format!("{object}.{path}"))
    }

    /// The texts of a security group.
    fn written(&self, group: &str) -> Vec<Written<'c>> {
        let kind = Kind::SecurityGroup;
        let table = self.root.get(kind.word()).and_then(table_in);
        let Some(table) = table.and_then(|groups| table_in(groups.get(group)?)) else {
            return Vec::new();
        };
        let peers = Peers {
            vips: &self.topology.vips,
            clients: &self.topology.clients,
        };
        let mut reader = Reader::new(self.book, &kind.object(group), 0..0, table);
        Written::all(&mut reader, &peers)
    }

    /// The load balancers that may answer a VIP, its home first.
    fn clbs_of(&self, vip: &'c Vip) -> impl Iterator<Item = &'c Clb> {
        let names = std::iter::once(&vip.clb).chain(&vip.standby);
        let clbs = &self.topology.clbs;
        names.filter_map(|name| clbs.get(name))
    }

    /// The VIPs that a load balancer may answer.
    fn vips_of(&self, clb: &Clb) -> impl Iterator<Item = &'c Vip> {
        let vips = self.topology.vips.values();
        vips.filter(move |vip| vip.clb == clb.name || vip.standby.contains(&clb.name))
    }
}

fn table_in<'v>(value: &'v toml::Spanned<DeValue<'v>>) -> Option<&'v DeTable<'v>> {
    value.get_ref().as_table()
}

/// `tokyo, singapore and 3 more`.
fn some_of<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    const SHOWN_MAX: usize = 4;
    let all: Vec<&str> = names.into_iter().collect();
    let shown = all.iter().take(SHOWN_MAX).copied();
    let shown: Vec<&str> = shown.collect();
    match all.len().saturating_sub(SHOWN_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
