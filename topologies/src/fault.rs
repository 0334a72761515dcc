//! `[[fault]]`: what goes wrong, when, and for how long.
//!
//! A fault has one verb, whose value is the object that it happens to. The faults of one object follow each
//! other, so that what ends a fault restores what was before it.

use std::fmt;
use std::time::Duration;

use crate::diagnostic::Wrong;
use crate::names::{Kind, Names};
use crate::nearest::listed;
use crate::reader::Reader;
use crate::units;

mod degrade;

pub use degrade::Degrade;

/// Verbs that the format knows and that cannot be run yet.
const PLANNED: [&str; 8] = [
    "cut",
    "drain",
    "lose",
    "pause",
    "slow",
    "weight",
    "withdraw",
    "partition",
];
const EXAMPLE: &str = "\"pop.tokyo\"";

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it begins.
    pub at: Duration,
    /// How long it lasts; to the end of the run if absent.
    pub lasts: Option<Duration>,
    /// What happens.
    pub verb: FaultVerb,
    /// Full name of the object it happens to: `pop.tokyo`.
    pub object: String,
}

/// What happens to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultVerb {
    /// A POP or a host crashes and comes back empty; a link carries nothing.
    Down,
    /// A link gets worse.
    Degrade(Degrade),
}

/// The beginning: `down pop.tokyo`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verb {
            FaultVerb::Down => write!(f, "down {}", self.object),
            FaultVerb::Degrade(degrade) => write!(f, "degrade {}{degrade}", self.object),
        }
    }
}

impl Fault {
    /// When it is over, if it ever is.
    #[must_use]
    pub fn end(&self) -> Option<Duration> {
        self.lasts.map(|lasts| self.at + lasts)
    }

    /// What its end is called: `up pop.tokyo`.
    #[must_use]
    pub fn end_name(&self) -> String {
        match &self.verb {
            FaultVerb::Down => format!("up {}", self.object),
            FaultVerb::Degrade(degrade) => format!("restore {}{degrade}", self.object),
        }
    }

    /// What its object is meanwhile: `down`.
    pub(crate) fn state(&self) -> &'static str {
        match self.verb {
            FaultVerb::Down => "down",
            FaultVerb::Degrade(_) => "degraded",
        }
    }

    /// Reads one fault; `names` has hosts too.
    pub(crate) fn read(mut reader: Reader<'_>, run: Duration, names: &Names) -> Option<Self> {
        let at = reader.need("at", "\"20s\"", |text| match units::duration(text)? {
            late if late >= run => Err(Wrong::new(
                format!("\"{text}\" is after the end of the run"),
                format!("earlier than `duration`, {run:?}"),
            )),
            at => Ok(at),
        });
        let lasts = reader.parse("for", "\"10s\"", units::duration_above_zero);
        let verbs: Vec<&str> = PLANNED
            .into_iter()
            .filter(|verb| reader.field(verb).is_some())
            .collect();
        for verb in &verbs {
            if let Some(field) = reader.field(verb) {
                reader.wrong_at(
                    &field,
                    Wrong::new(
                        "this fault is not available yet",
                        "available: down, degrade",
                    ),
                );
            }
        }
        let downs = reader.field("down").is_some();
        let happens = match (reader.field("degrade"), downs || !verbs.is_empty()) {
            (Some(field), true) => {
                let hint = "two faults, each with a verb of its own";
                reader.wrong_at(&field, Wrong::new("a fault has one verb", hint));
                None
            }
            (Some(_), false) => degrade::read(&mut reader, names),
            (None, _) if downs || verbs.is_empty() => {
                down(&mut reader, names).map(|object| (FaultVerb::Down, object))
            }
            (None, _) => None,
        };
        reader.finish();
        let (verb, object) = happens?;
        Some(Self {
            at: at?,
            lasts,
            verb,
            object,
        })
    }
}

fn down(reader: &mut Reader<'_>, names: &Names) -> Option<String> {
    let kinds = [Kind::Pop, Kind::Region, Kind::Link, Kind::Host];
    reader.need("down", EXAMPLE, |text| {
        let not_yet = |what: &str| {
            let able = [Kind::Pop, Kind::Link, Kind::Host]
                .into_iter()
                .flat_map(|kind| names.of(kind).map(move |name| kind.object(name)))
                .collect::<Vec<_>>();
            Wrong::new(
                format!("{what} cannot go down yet, only a POP, a link or a host can"),
                listed(able.iter().map(String::as_str)),
            )
        };
        if text.starts_with("region.") && text.contains(".clb-") {
            return Err(not_yet(text));
        }
        match names.resolve(text, &kinds)? {
            (Kind::Region, name) => Err(not_yet(&Kind::Region.object(&name))),
            (kind, name) => Ok(kind.object(&name)),
        }
    })
}
