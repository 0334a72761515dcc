//! `[link.NAME]`: a backbone (CCN) link between a POP and a region.
//!
//! Each pair has one link at most. `source` says where its figures are from, `assumed = true` that they were
//! derived and not measured, so that a report can set apart what rests on an assumption.

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
    /// Name of the POP at one end.
    pub pop: String,
    /// Name of the region at the other end.
    pub region: String,
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

impl Link {
    pub(crate) fn read(name: String, mut reader: Reader<'_>, defaults: &Defaults) -> Self {
        let (pop, region) = ends(&mut reader).unwrap_or_default();
        let rtt = reader
            .need("rtt", "\"52ms\"", units::duration_above_zero)
            .unwrap_or_default();
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
            pop,
            region,
            rtt,
            line,
            encap,
            underlay,
            source,
            assumed,
        }
    }
}

fn ends(reader: &mut Reader<'_>) -> Option<(String, String)> {
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
    match ends.as_slice() {
        [(Kind::Pop, pop), (Kind::Region, region)] => Some((pop.clone(), region.clone())),
        _ => {
            let hint = format!("between = {example}");
            reader.wrong_at(
                &field,
                Wrong::new("a link joins one POP and one region", hint),
            );
            None
        }
    }
}
