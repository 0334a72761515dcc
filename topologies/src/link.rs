//! `[link.NAME]`: a backbone (CCN) link between a POP and a region, or between two regions.
//!
//! A pair may have several links, each a path of its own. A link between regions carries what takes a detour over
//! a third region. `source` says where its figures are from, `assumed = true` that they were derived and not
//! measured, so that a report can set apart what rests on an assumption.

use std::time::Duration;

use crate::defaults::{Defaults, Encap, Underlay};
use crate::diagnostic::Wrong;
use crate::line::{self, Line};
use crate::names::Kind;
use crate::reader::Reader;
use crate::units;

/// A backbone link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Name without its kind: `tokyo-guangzhou`.
    pub name: String,
    /// What it joins.
    pub ends: LinkEnds,
    /// Round trip; each way takes half of it.
    pub rtt: Duration,
    /// Rate, MTU, jitter, loss and queue.
    pub line: Line,
    /// How packets are wrapped on it.
    pub encap: Encap,
    /// IP version of the outer header.
    pub underlay: Underlay,
    /// Where the figures are from.
    pub source: Option<String>,
    /// The figures were derived, not measured.
    pub assumed: bool,
}

/// What a link joins, by bare names; empty ones in a file with mistakes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkEnds {
    /// A POP and a region.
    Ccn {
        /// The POP.
        pop: String,
        /// The region.
        region: String,
    },
    /// Two regions, in the order of their names.
    Backbone {
        /// The two.
        regions: [String; 2],
    },
}

impl LinkEnds {
    /// Full names of the two ends: `pop.tokyo`, `region.guangzhou`.
    #[must_use]
    pub fn objects(&self) -> [String; 2] {
        match self {
            LinkEnds::Ccn { pop, region } => [Kind::Pop.object(pop), Kind::Region.object(region)],
            LinkEnds::Backbone { regions } => {
                regions.each_ref().map(|name| Kind::Region.object(name))
            }
        }
    }

    /// Whether it ends at that POP.
    #[must_use]
    pub fn has_pop(&self, name: &str) -> bool {
        matches!(self, LinkEnds::Ccn { pop, .. } if pop == name)
    }

    /// Whether it ends at that region.
    #[must_use]
    pub fn has_region(&self, name: &str) -> bool {
        match self {
            LinkEnds::Ccn { region, .. } => region == name,
            LinkEnds::Backbone { regions } => regions.iter().any(|region| region == name),
        }
    }

    /// What stands for ends that could not be read.
    const UNREAD: Self = LinkEnds::Ccn {
        pop: String::new(),
        region: String::new(),
    };

    pub(crate) fn is_unread(&self) -> bool {
        *self == Self::UNREAD
    }
}

impl Link {
    pub(crate) fn read(name: String, mut reader: Reader<'_>, defaults: &Defaults) -> Self {
        let ends = ends(&mut reader).unwrap_or(LinkEnds::UNREAD);
        // Without it the file's matrix or the great circle says how long it is (`topology/ways.rs`).
        let rtt = reader.parse("rtt", "\"52ms\"", units::duration_above_zero);
        let line = Line::read(&mut reader, defaults.ccn, line::OWN);
        let encap = Encap::read(&mut reader).unwrap_or(defaults.encap);
        let underlay = Underlay::read(&mut reader).unwrap_or(defaults.underlay);
        let source = reader.text("source");
        let assumed = reader.boolean("assumed").unwrap_or(false);
        if assumed && source.is_none() && reader.field("source").is_none() {
            reader.missing(
                "source",
                "\"great circle x 1.5\", because the figures are assumed",
            );
        }
        reader.finish();
        Self {
            name,
            ends,
            rtt: rtt.unwrap_or_default(),
            line,
            encap,
            underlay,
            source,
            assumed,
        }
    }
}

fn ends(reader: &mut Reader<'_>) -> Option<LinkEnds> {
    let example = "[\"pop.tokyo\", \"region.guangzhou\"]";
    let Some(field) = reader.field("between") else {
        reader.missing("between", example);
        return None;
    };
    let fields = reader.list("between", example)?;
    let names = &reader.book.names;
    let resolve = |text: &str| names.resolve(text, &[Kind::Pop, Kind::Region]);
    let ends: Option<Vec<(Kind, String)>> = {
        let read: Vec<_> = fields
            .iter()
            .map(|end| reader.parse_field(end, "\"pop.tokyo\"", resolve))
            .collect();
        read.into_iter().collect()
    };
    let mut ends = ends?;
    ends.sort();
    let wrong = match ends.as_slice() {
        [(Kind::Pop, pop), (Kind::Region, region)] => {
            return Some(LinkEnds::Ccn {
                pop: pop.clone(),
                region: region.clone(),
            });
        }
        [(Kind::Region, one), (Kind::Region, other)] if one == other => {
            "a link joins two regions, not one to itself"
        }
        [(Kind::Region, one), (Kind::Region, other)] => {
            return Some(LinkEnds::Backbone {
                regions: [one.clone(), other.clone()],
            });
        }
        _ => "a link joins a POP and a region, or two regions",
    };
    reader.wrong_at(&field, Wrong::new(wrong, format!("between = {example}")));
    None
}
