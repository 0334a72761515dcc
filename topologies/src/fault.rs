//! `[[fault]]`: what goes wrong, when, and for how long.
//!
//! A fault has one verb, whose value is the object that it happens to. The faults of one object follow each
//! other, so that what ends a fault restores what was before it.

use std::fmt;
use std::time::Duration;

use anyedge_ccn::table::change::Change;

use crate::diagnostic::Wrong;
use crate::names::Kind;
use crate::reader::Reader;
use crate::region;
use crate::units;

mod autoscale;
mod degrade;
mod machine;
mod objects;
mod partition;

pub use autoscale::Autoscale;
pub(crate) use autoscale::Which;
pub use degrade::Degrade;
pub use machine::{ClockFault, DiskFault};
pub(crate) use objects::Objects;
pub use partition::Partition;

const VERBS: [&str; 14] = [
    "down",
    "degrade",
    "hang",
    "drain",
    "withdraw",
    "add",
    "weight",
    "unbind",
    "stale",
    "partition",
    "clock",
    "disk",
    "autoscale",
    "eni_move",
];
/// Verbs that the format knows and that cannot be run yet.
const PLANNED: [&str; 4] = ["cut", "lose", "pause", "slow"];

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it begins.
    pub at: Duration,
    /// How long it lasts; to the end of the run if absent.
    pub lasts: Option<Duration>,
    /// What happens.
    pub verb: FaultVerb,
    /// Full name of the object it happens to: `pop.tokyo`, `region.guangzhou.clb-1`.
    pub object: String,
    /// Where the file has it: `fault[0]`.
    pub(crate) place: String,
}

/// What happens to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultVerb {
    /// A controller, a POP, a CLB node, a host or a whole region crashes and comes back with what its disk kept; a
    /// link carries nothing.
    Down {
        /// It comes back with an empty disk.
        wipe: bool,
    },
    /// A link, or the link of a host, gets worse.
    Degrade(Degrade),
    /// A host or a controller accepts connections and never answers.
    Hang,
    /// A POP, a CLB node or a host takes no new flows, and what it has is moved away from it.
    Drain,
    /// A POP withdraws its VIPs and goes on forwarding what still comes.
    Withdraw,
    /// A CLB node exists from then on.
    Add,
    /// The targets of a host, or a CLB node, get that weight, 0 to 100.
    Weight(u8),
    /// The targets of a host leave their listeners.
    Unbind,
    /// A POP, a CLB node or a host gets no new route table.
    Stale,
    /// Nodes cannot reach others over the management network.
    Partition(Partition),
    /// A machine's clock runs wrong.
    Clock(ClockFault),
    /// A machine's disk gets slow or full.
    Disk(DiskFault),
    /// Servers join an auto-scaling group or leave it, for good.
    Autoscale(Autoscale),
    /// An elastic network interface goes to another host, for good.
    EniMove {
        /// The host's full name.
        to: String,
    },
}

/// What of an object a fault changes: faults that change different ones may hold together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Aspect {
    /// Whether and how well it works, and what the route table says of it.
    Work,
    /// Whom it reaches over the management network.
    Reach,
    /// Its clock.
    Clock,
    /// Its disk.
    Disk,
}

impl FaultVerb {
    pub(crate) fn aspect(&self) -> Aspect {
        match self {
            FaultVerb::Partition(_) => Aspect::Reach,
            FaultVerb::Clock(_) => Aspect::Clock,
            FaultVerb::Disk(_) => Aspect::Disk,
            FaultVerb::Down { .. }
            | FaultVerb::Degrade(_)
            | FaultVerb::Hang
            | FaultVerb::Drain
            | FaultVerb::Withdraw
            | FaultVerb::Add
            | FaultVerb::Weight(_)
            | FaultVerb::Unbind
            | FaultVerb::Stale
            | FaultVerb::Autoscale(_)
            | FaultVerb::EniMove { .. } => Aspect::Work,
        }
    }
}

/// The beginning: `down pop.tokyo`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = &self.object;
        match &self.verb {
            FaultVerb::Degrade(degrade) => write!(f, "degrade {object}{degrade}"),
            FaultVerb::Weight(weight) => write!(f, "weight {object} to {weight}"),
            FaultVerb::Down { wipe: false } => write!(f, "down {object}"),
            FaultVerb::Down { wipe: true } => write!(f, "down {object} without its disk"),
            FaultVerb::Partition(_) => write!(f, "partition {object}"),
            FaultVerb::Clock(_) => write!(f, "clock {object}"),
            FaultVerb::Disk(_) => write!(f, "disk {object}"),
            FaultVerb::Hang => write!(f, "hang {object}"),
            FaultVerb::Drain => write!(f, "drain {object}"),
            FaultVerb::Withdraw => write!(f, "withdraw {object}"),
            FaultVerb::Add => write!(f, "add {object}"),
            FaultVerb::Unbind => write!(f, "unbind {object}"),
            FaultVerb::Stale => write!(f, "stale {object}"),
            FaultVerb::Autoscale(scale) => write!(f, "autoscale {object} {scale}"),
            FaultVerb::EniMove { to } => write!(f, "eni_move {object} to {to}"),
        }
    }
}

impl Fault {
    /// Its number in the file, from 0: faults are kept by their time.
    #[must_use]
    pub fn number(&self) -> usize {
        let digits = self
            .place
            .trim_start_matches("fault[")
            .trim_end_matches(']');
        digits.parse().unwrap_or_default()
    }

    /// When it is over, if it ever is.
    #[must_use]
    pub fn end(&self) -> Option<Duration> {
        self.lasts.map(|lasts| self.at + lasts)
    }

    /// Whether what it does has no end.
    #[must_use]
    pub fn stays(&self) -> bool {
        matches!(
            self.verb,
            FaultVerb::Add | FaultVerb::Autoscale(_) | FaultVerb::EniMove { .. }
        )
    }

    /// What it asks of the table, if that is a change which stays.
    #[must_use]
    pub fn change(&self) -> Option<Change> {
        match &self.verb {
            FaultVerb::Autoscale(scale) => {
                let group = self.object.strip_prefix("autoscaling.");
                Some(scale.change(group.unwrap_or(&self.object)))
            }
            FaultVerb::EniMove { to } => {
                let eni = self.object.strip_prefix("eni.");
                Some(Change::MoveEni {
                    eni: eni.unwrap_or(&self.object).to_owned(),
                    host: to.clone(),
                })
            }
            _ => None,
        }
    }

    /// What its end is called: `up pop.tokyo`.
    #[must_use]
    pub fn end_name(&self) -> String {
        let object = &self.object;
        match &self.verb {
            FaultVerb::Down { .. } => format!("up {object}"),
            FaultVerb::Partition(_) => format!("heal {object}"),
            FaultVerb::Clock(_) => format!("clock right {object}"),
            FaultVerb::Disk(_) => format!("disk right {object}"),
            FaultVerb::Degrade(degrade) => format!("restore {object}{degrade}"),
            FaultVerb::Hang => format!("answer {object}"),
            FaultVerb::Drain => format!("undrain {object}"),
            FaultVerb::Withdraw => format!("announce {object}"),
            FaultVerb::Add => format!("remove {object}"),
            FaultVerb::Weight(_) => format!("reweight {object}"),
            FaultVerb::Unbind => format!("bind {object}"),
            FaultVerb::Stale => format!("refresh {object}"),
            FaultVerb::Autoscale(_) => format!("scaled {object}"),
            FaultVerb::EniMove { .. } => format!("moved {object}"),
        }
    }

    /// What its object is meanwhile: `down`.
    pub(crate) fn state(&self) -> &'static str {
        match self.verb {
            FaultVerb::Down { .. } => "down",
            FaultVerb::Partition(_) => "partitioned",
            FaultVerb::Clock(_) => "at a wrong clock",
            FaultVerb::Disk(_) => "at a bad disk",
            FaultVerb::Degrade(_) => "degraded",
            FaultVerb::Hang => "hanging",
            FaultVerb::Drain => "drained",
            FaultVerb::Withdraw => "withdrawn",
            FaultVerb::Add => "there",
            FaultVerb::Weight(_) => "re-weighted",
            FaultVerb::Unbind => "unbound",
            FaultVerb::Stale => "stale",
            FaultVerb::Autoscale(_) => "scaled",
            FaultVerb::EniMove { .. } => "moved",
        }
    }

    /// Reads one fault.
    pub(crate) fn read(mut reader: Reader<'_>, run: Duration, objects: &Objects) -> Option<Self> {
        let at = reader.need("at", "\"20s\"", |text| match units::duration(text)? {
            late if late >= run => Err(Wrong::new(
                format!("\"{text}\" is after the end of the run"),
                format!("earlier than `duration`, {run:?}"),
            )),
            at => Ok(at),
        });
        let lasts = reader.parse("for", "\"10s\"", units::duration_above_zero);
        let happens = verb_of(&mut reader).and_then(|verb| read_verb(verb, &mut reader, objects));
        let stays = match &happens {
            Some((FaultVerb::Add, _)) => Some((
                "a node that is added stays",
                "leave `for` out; `drain` or `down` it later",
            )),
            Some((FaultVerb::Autoscale(_), _)) => Some((
                "servers that joined or left stay so",
                "leave `for` out; scale the group back by a fault of its own",
            )),
            Some((FaultVerb::EniMove { .. }, _)) => Some((
                "an interface that was moved stays there",
                "leave `for` out; move it back by a fault of its own",
            )),
            _ => None,
        };
        if let (Some((reason, hint)), Some(field)) = (stays, reader.field("for")) {
            reader.wrong_at(&field, Wrong::new(reason, hint));
        }
        let place = reader.object().to_owned();
        reader.finish();
        let (verb, object) = happens?;
        Some(Self {
            at: at?,
            lasts,
            verb,
            object,
            place,
        })
    }
}

/// The fault's one verb.
fn verb_of(reader: &mut Reader<'_>) -> Option<&'static str> {
    let all = VERBS.into_iter().chain(PLANNED);
    let present: Vec<_> = all
        .filter_map(|verb| reader.field(verb).map(|field| (verb, field)))
        .collect();
    let Some(((first, first_field), more)) = present.split_first() else {
        let hint = format!("one of {}, such as down = \"pop.tokyo\"", VERBS.join(", "));
        reader.wrong(Wrong::new("it says not what goes wrong", hint));
        return None;
    };
    for (_, field) in more {
        let hint = "two faults, each with a verb of its own";
        reader.wrong_at(field, Wrong::new("a fault has one verb", hint));
    }
    if PLANNED.contains(first) {
        let hint = format!("available: {}", VERBS.join(", "));
        reader.wrong_at(
            first_field,
            Wrong::new("this fault is not available yet", hint),
        );
        return None;
    }
    more.is_empty().then_some(*first)
}

fn read_verb(
    verb: &'static str,
    reader: &mut Reader<'_>,
    objects: &Objects,
) -> Option<(FaultVerb, String)> {
    let nodes = |reader: &mut Reader<'_>, kinds: &[Kind]| {
        let example = format!("\"{}.NAME\"", kinds[0]);
        reader.need(verb, &example, |text| {
            objects.resolve_with_nodes(text, kinds)
        })
    };
    let plain = |reader: &mut Reader<'_>, kind: Kind| {
        let example = format!("\"{kind}.NAME\"");
        reader.need(verb, &example, |text| objects.resolve(text, &[kind]))
    };
    let (verb, object) = match verb {
        "down" => return read_down(reader, objects),
        "degrade" => return degrade::read(reader, objects),
        "partition" => return partition::read(reader, objects),
        "clock" => return machine::read_clock(reader, objects),
        "disk" => return machine::read_disk(reader, objects),
        "autoscale" => return autoscale::read(reader, objects),
        "eni_move" => return read_eni_move(reader, objects),
        "hang" => {
            let kinds = [Kind::Host, Kind::Controller];
            let object = reader.need(verb, "\"host.NAME\"", |text| objects.resolve(text, &kinds));
            (FaultVerb::Hang, object)
        }
        "unbind" => (FaultVerb::Unbind, plain(reader, Kind::Host)),
        "drain" => {
            let kinds = [Kind::Pop, Kind::Link, Kind::Host];
            (FaultVerb::Drain, nodes(reader, &kinds))
        }
        "withdraw" => (FaultVerb::Withdraw, plain(reader, Kind::Pop)),
        "add" => (FaultVerb::Add, reader.need(verb, NODE_EXAMPLE, node_name)),
        "weight" => {
            let object = nodes(reader, &[Kind::Host]);
            if reader.field("to").is_none() {
                reader.missing("to", "0, for no new flows");
            }
            let to = reader.integer("to", 0..=100);
            let weight = to.and_then(|to| u8::try_from(to).ok())?;
            (FaultVerb::Weight(weight), object)
        }
        _ => (FaultVerb::Stale, nodes(reader, &[Kind::Pop, Kind::Host])),
    };
    Some((verb, object?))
}

fn read_down(reader: &mut Reader<'_>, objects: &Objects) -> Option<(FaultVerb, String)> {
    let kinds = [
        Kind::Pop,
        Kind::Region,
        Kind::Link,
        Kind::Host,
        Kind::Controller,
    ];
    let object = reader.need("down", "\"pop.NAME\"", |text| {
        objects.resolve_with_leader(text, &kinds)
    });
    let wipe = machine::read_wipe(reader, object.as_deref().unwrap_or_default());
    Some((FaultVerb::Down { wipe }, object?))
}

fn read_eni_move(reader: &mut Reader<'_>, objects: &Objects) -> Option<(FaultVerb, String)> {
    let eni = reader.need("eni_move", "\"eni.NAME\"", |text| {
        objects.resolve(text, &[Kind::Eni])
    });
    let to = reader.need("to", "\"host.NAME\"", |text| {
        objects.resolve(text, &[Kind::Host])
    });
    Some((FaultVerb::EniMove { to: to? }, eni?))
}

const NODE_EXAMPLE: &str = "\"region.guangzhou.clb-4\"";

/// A CLB node's name; that its region is there and has room is checked with the region.
fn node_name(text: &str) -> Result<String, Wrong> {
    match region::node_number(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(Wrong::new(
            format!("\"{text}\" is no CLB node"),
            format!("a region's next one, such as {NODE_EXAMPLE}"),
        )),
    }
}
