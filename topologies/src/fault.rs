//! `[[fault]]`: what goes wrong, when, and for how long.

use std::fmt;
use std::time::Duration;

use crate::diagnostic::Wrong;
use crate::names::Kind;
use crate::nearest::did_you_mean;
use crate::reader::Reader;
use crate::units;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultVerb {
    /// The node crashes and comes back empty.
    Down,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verb {
            FaultVerb::Down => write!(f, "down {}", self.object),
        }
    }
}

impl Fault {
    /// When it is over, if it ever is.
    #[must_use]
    pub fn end(&self) -> Option<Duration> {
        self.lasts.map(|lasts| self.at + lasts)
    }

    pub(crate) fn read(mut reader: Reader<'_>, run: Duration) -> Option<Self> {
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
                    Wrong::new("this fault is not available yet", "available: down"),
                );
            }
        }
        let object = if verbs.is_empty() || reader.field("down").is_some() {
            down(&mut reader)
        } else {
            None
        };
        reader.finish();
        Some(Self {
            at: at?,
            lasts,
            verb: FaultVerb::Down,
            object: object?,
        })
    }
}

fn down(reader: &mut Reader<'_>) -> Option<String> {
    let names = &reader.book.names;
    let kinds = [Kind::Pop, Kind::Region, Kind::Link, Kind::Host];
    reader.need("down", EXAMPLE, |text| {
        let not_yet = |what: &str| {
            let hint = did_you_mean(text, names.of(Kind::Pop));
            Wrong::new(format!("{what} cannot go down yet, only a POP can"), hint)
        };
        if text.starts_with("host.") || text.starts_with("region.") && text.contains(".clb-") {
            return Err(not_yet(text));
        }
        match names.resolve(text, &kinds)? {
            (Kind::Pop, name) => Ok(Kind::Pop.object(&name)),
            (kind, name) => Err(not_yet(&kind.object(&name))),
        }
    })
}
