//! `degrade = "link.NAME"`: a link, or that of a host, gets worse, both ways or from one end.
//!
//! Loss, jitter, rate and MTU stand in place of the link's own; the delay comes on top of it. Shares of packets
//! that are reordered, duplicated or corrupted are in parts per million.

use std::fmt;

use anyedge_net::link::Change;

use crate::diagnostic::Wrong;
use crate::loss;
use crate::names::Kind;
use crate::reader::Reader;
use crate::units;

use super::{FaultVerb, Objects};

/// What says how a link gets worse.
const KEYS: [&str; 8] = [
    "loss",
    "delay",
    "jitter",
    "rate",
    "reorder",
    "duplicate",
    "corrupt",
    "mtu",
];

/// How a link gets worse; what is absent stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Degrade {
    /// Only what is sent from this end, such as `pop.tokyo`; both directions if absent.
    pub from: Option<String>,
    /// What is worse.
    pub change: Change,
}

/// The direction, as it follows the object's name.
impl fmt::Display for Degrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.from {
            Some(end) => write!(f, " from {end}"),
            None => Ok(()),
        }
    }
}

pub(super) fn read(reader: &mut Reader<'_>, objects: &Objects) -> Option<(FaultVerb, String)> {
    let object = reader.need("degrade", "\"link.tokyo-guangzhou\"", |text| {
        objects.resolve(text, &[Kind::Link, Kind::Host])
    });
    let from = reader
        .parse("direction", "\"from pop.tokyo\"", |text| {
            direction(text, objects)
        })
        .flatten();
    let mut share = |key, example| reader.parse(key, example, units::parts_per_million);
    let reorder_ppm = share("reorder", "\"1%\"");
    let duplicate_ppm = share("duplicate", "\"1%\"");
    let corrupt_ppm = share("corrupt", "\"0.1%\"");
    let mtu = reader.integer("mtu", 576..=9_216);
    let change = Change {
        loss: loss::read(reader, "loss", "\"5%\""),
        delay: reader.parse("delay", "\"20ms\"", units::duration),
        jitter: reader.parse("jitter", "\"5ms\"", units::duration),
        rate_bps: reader.parse("rate", "\"10Mbps\"", units::bits_per_second),
        reorder_ppm,
        duplicate_ppm,
        corrupt_ppm,
        mtu: mtu.and_then(|mtu| usize::try_from(mtu).ok()),
    };
    if KEYS.iter().all(|key| reader.field(key).is_none()) {
        reader.wrong(Wrong::new(
            "it says not how the link gets worse",
            format!("one at least of {}", KEYS.join(", ")),
        ));
        return None;
    }
    Some((FaultVerb::Degrade(Degrade { from, change }), object?))
}

/// `both`, or the end that packets come from; that it is an end of this link is checked with the link.
fn direction(text: &str, objects: &Objects) -> Result<Option<String>, Wrong> {
    if text == "both" {
        return Ok(None);
    }
    let Some(end) = text.strip_prefix("from ") else {
        return Err(Wrong::new(
            format!("there is no direction \"{text}\""),
            "\"both\", or from one end, such as \"from pop.tokyo\"",
        ));
    };
    let kinds = [Kind::Pop, Kind::Region, Kind::Host];
    objects.resolve(end, &kinds).map(Some)
}
