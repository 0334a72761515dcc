//! `degrade = "link.NAME"`: a link gets worse, both ways or from one end.
//!
//! Loss, jitter and rate stand in place of the link's own; the delay comes on top of it.

use std::fmt;
use std::time::Duration;

use crate::diagnostic::Wrong;
use crate::loss::Loss;
use crate::names::{Kind, Names};
use crate::reader::Reader;
use crate::units;

use super::FaultVerb;

/// How a link gets worse; what is absent stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Degrade {
    /// Only what is sent from this end, such as `pop.tokyo`; both directions if absent.
    pub from: Option<String>,
    /// How packets are lost.
    pub loss: Option<Loss>,
    /// One-way delay on top of the link's own.
    pub delay: Option<Duration>,
    /// Upper bound of the extra one-way delay that a packet may meet.
    pub jitter: Option<Duration>,
    /// Bits per second; 0 never serialises.
    pub rate_bps: Option<u64>,
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

pub(super) fn read(reader: &mut Reader<'_>, names: &Names) -> Option<(FaultVerb, String)> {
    let object = reader.need("degrade", "\"link.tokyo-guangzhou\"", |text| {
        names
            .resolve(text, &[Kind::Link])
            .map(|(kind, name)| kind.object(&name))
    });
    let from = reader
        .parse("direction", "\"from pop.tokyo\"", |text| {
            direction(text, names)
        })
        .flatten();
    let change = Degrade {
        from,
        loss: Loss::read(reader, "loss", "\"5%\""),
        delay: reader.parse("delay", "\"20ms\"", units::duration),
        jitter: reader.parse("jitter", "\"5ms\"", units::duration),
        rate_bps: reader.parse("rate", "\"10Mbps\"", units::bits_per_second),
    };
    let keys = ["loss", "delay", "jitter", "rate"];
    if keys.iter().all(|key| reader.field(key).is_none()) {
        reader.wrong(Wrong::new(
            "it says not how the link gets worse",
            "one at least of loss, delay, jitter, rate",
        ));
        return None;
    }
    Some((FaultVerb::Degrade(change), object?))
}

/// `both`, or the end that packets come from; that it is an end of this link is checked with the link.
fn direction(text: &str, names: &Names) -> Result<Option<String>, Wrong> {
    if text == "both" {
        return Ok(None);
    }
    let Some(end) = text.strip_prefix("from ") else {
        return Err(Wrong::new(
            format!("there is no direction \"{text}\""),
            "\"both\", or from one end, such as \"from pop.tokyo\"",
        ));
    };
    let (kind, name) = names.resolve(end, &[Kind::Pop, Kind::Region])?;
    Ok(Some(kind.object(&name)))
}
