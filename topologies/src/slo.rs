//! `[[slo]]`: service levels that a run has to keep.
//!
//! A level is of clients, of a listener or of a fault, over the whole run or from one time to another. A request is in
//! the time in which it was due, a flow that broke or was opened in the time in which that happened, and of a gap that
//! part counts which is in it.

use std::fmt;
use std::time::Duration;

use crate::diagnostic::Wrong;
use crate::names::Kind;
use crate::nearest::did_you_mean;
use crate::reader::{Field, Reader};
use crate::units;

mod expectation;

use expectation::Subject;
pub use expectation::{Comparison, Expectation, Metric, TargetOf, Threshold};

const EXAMPLE: &str = "[\"p99 < 250ms\", \"broken_flows == 0\"]";

/// Service levels of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slo {
    /// Whose they are.
    pub of: SloOf,
    /// The part of the run that counts; all of it if absent.
    pub window: Option<SloWindow>,
    /// What is expected, one at least.
    pub expect: Vec<Expectation>,
}

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SloWindow {
    /// Its beginning.
    pub from: Duration,
    /// Its end, which is no longer in it.
    pub to: Duration,
}

/// Whose service levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SloOf {
    /// One population, by its name.
    Client(String),
    /// All populations together.
    Clients,
    /// A load balancer's listener.
    Listener {
        /// The load balancer.
        clb: String,
        /// The listener.
        listener: String,
    },
    /// A fault by its number in the file, from 0.
    Fault(usize),
    /// Every fault, by that which fared worst.
    Faults,
}

impl fmt::Display for SloOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SloOf::Client(name) => f.write_str(&Kind::Client.object(name)),
            SloOf::Clients => f.write_str("clients"),
            SloOf::Listener { clb, listener } => write!(f, "{clb}/{listener}"),
            SloOf::Fault(number) => write!(f, "fault.{number}"),
            SloOf::Faults => f.write_str("faults"),
        }
    }
}

impl SloOf {
    pub(crate) const fn subject(&self) -> Subject {
        match self {
            SloOf::Client(_) | SloOf::Clients => Subject::Clients,
            SloOf::Listener { .. } => Subject::Listener,
            SloOf::Fault(_) | SloOf::Faults => Subject::Fault,
        }
    }
}

impl Slo {
    /// Reads `[[slo]]` of a run that lasts for `duration`, in which something happens `faults` times.
    pub(crate) fn read(mut reader: Reader<'_>, duration: Duration, faults: usize) -> Option<Self> {
        let of = reader.need("of", "\"client.osaka\"", |_| Ok(()));
        let of = of.and_then(|()| reader.field("of"));
        let of = of.and_then(|field| read_of(&reader, &field, faults));
        let window = window(&mut reader, duration);
        let subject = of.as_ref().map(SloOf::subject);
        if let (Some(Subject::Fault), Some(field)) =
            (subject, reader.field("from").or_else(|| reader.field("to")))
        {
            let reason = "a fault has its own time";
            reader.wrong_at(&field, Wrong::new(reason, "leave it out"));
        }
        let expect = expectations(&mut reader, subject);
        reader.finish();
        Some(Self {
            of: of?,
            window,
            expect,
        })
    }
}

/// What is expected of a subject, as far as that is known.
fn expectations(reader: &mut Reader<'_>, subject: Option<Subject>) -> Vec<Expectation> {
    let fields = reader.list("expect", EXAMPLE);
    match (&fields, reader.field("expect")) {
        (_, None) => reader.missing("expect", EXAMPLE),
        (Some(none), Some(field)) if none.is_empty() => {
            reader.wrong_at(
                &field,
                Wrong::new("nothing is expected", format!("such as {EXAMPLE}")),
            );
        }
        _ => {}
    }
    let parse = |text: &str| {
        let expectation = Expectation::parse(text)?;
        let metric = expectation.metric;
        match subject {
            Some(subject) if !metric.is_of(subject) => Err(Wrong::new(
                format!("{} has no \"{}\"", subject.words(), metric.name()),
                did_you_mean(metric.name(), Metric::names_of(subject)),
            )),
            _ => Ok(expectation),
        }
    };
    let fields = fields.unwrap_or_default();
    let read = |field| reader.parse_field(field, EXAMPLE, parse);
    fields.iter().filter_map(read).collect()
}

/// Whose: `client.osaka`, `clients`, `gz-main/web`, `fault.0`, `faults`.
fn read_of<'a>(reader: &Reader<'a>, field: &Field<'a>, faults: usize) -> Option<SloOf> {
    let names = &reader.book.names;
    reader.parse_field(field, "\"client.osaka\"", |text| {
        if let Some((clb, listener)) = text.split_once('/') {
            let (_, clb) = names.resolve(clb, &[Kind::Clb])?;
            let listener = listener.to_owned();
            return Ok(SloOf::Listener { clb, listener });
        }
        if let Some(number) = text.strip_prefix("fault.") {
            let known = number.parse().ok().filter(|number| *number < faults);
            return known
                .map(SloOf::Fault)
                .ok_or_else(|| no_fault(text, faults));
        }
        match text {
            "clients" => Ok(SloOf::Clients),
            "faults" if faults == 0 => Err(no_fault(text, faults)),
            "faults" => Ok(SloOf::Faults),
            _ => names
                .resolve(text, &[Kind::Client])
                .map(|(_, name)| SloOf::Client(name)),
        }
    })
}

fn no_fault(text: &str, faults: usize) -> Wrong {
    let hint = match faults {
        0 => "the file has no [[fault]]".to_owned(),
        1 => "\"fault.0\", or \"faults\"".to_owned(),
        more => format!("\"fault.0\" to \"fault.{}\", or \"faults\"", more - 1),
    };
    Wrong::new(format!("there is no \"{text}\""), hint)
}

/// `from` and `to`, of which one may be missing.
fn window(reader: &mut Reader<'_>, duration: Duration) -> Option<SloWindow> {
    let within = |text: &str| match units::duration(text)? {
        time if time <= duration => Ok(time),
        _ => Err(Wrong::new(
            format!("\"{text}\" is after the end of the run"),
            format!("within `duration`, {duration:?}"),
        )),
    };
    let from = reader.parse("from", "\"10s\"", within);
    let to = reader.parse("to", "\"30s\"", within);
    if from.is_none() && to.is_none() {
        return None;
    }
    let window = SloWindow {
        from: from.unwrap_or_default(),
        to: to.unwrap_or(duration),
    };
    if window.from < window.to {
        return Some(window);
    }
    let field = reader.field("to").or_else(|| reader.field("from"));
    if let Some(field) = field {
        let reason = "no time is left between `from` and `to`";
        reader.wrong_at(&field, Wrong::new(reason, "`from` earlier than `to`"));
    }
    None
}
