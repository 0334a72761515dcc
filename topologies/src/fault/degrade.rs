//! `degrade = "link.NAME"`: a link, or that of a host, gets worse, both ways or from one end.
//!
//! Loss, jitter, rate and MTU stand in place of the link's own; the delay comes on top of it. Shares of packets
//! that are reordered, duplicated or corrupted are in parts per million.

use std::fmt;
use std::ops::RangeInclusive;

use anyedge_net::link::{Change, Loss};

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

/// Bytes of the largest packet that a link may be made to carry.
const MTU: RangeInclusive<u64> = 576..=9_216;

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

impl Degrade {
    /// How a link gets worse, as a command line says it: `loss 5% delay 40ms`, the keys of a file with their values.
    /// `latency` is another word for `delay`; a loss is a share.
    ///
    /// # Errors
    /// A key that is none, a value that is none, a key without a value or given twice, or nothing at all.
    pub fn change_of<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Change, Wrong> {
        let mut words = words.into_iter();
        let mut change = Change::default();
        let mut given = Vec::new();
        while let Some(word) = words.next() {
            let key = if word == "latency" { "delay" } else { word };
            let Some(known) = KEYS.into_iter().find(|known| *known == key) else {
                let hint = format!("down, or some of {}", KEYS.join(", "));
                return Err(Wrong::new(format!("a link has no `{word}`"), hint));
            };
            if given.contains(&known) {
                return Err(Wrong::bare(format!("`{known}` stands twice")));
            }
            given.push(known);
            let Some(value) = words.next() else {
                return Err(Wrong::new(
                    format!("`{word}` has no value"),
                    "such as loss 5%, delay 40ms or rate 10Mbps",
                ));
            };
            set(&mut change, known, value)?;
        }
        if given.is_empty() {
            return Err(Wrong::new(
                "it says not how the link gets worse",
                format!("one at least of {}", KEYS.join(", ")),
            ));
        }
        Ok(change)
    }
}

/// Sets what `key` is about.
fn set(change: &mut Change, key: &str, value: &str) -> Result<(), Wrong> {
    match key {
        "loss" => change.loss = Some(Loss::Share(units::parts_per_million(value)?)),
        "delay" => change.delay = Some(units::duration(value)?),
        "jitter" => change.jitter = Some(units::duration(value)?),
        "rate" => change.rate_bps = Some(units::bits_per_second(value)?),
        "reorder" => change.reorder_ppm = Some(units::parts_per_million(value)?),
        "duplicate" => change.duplicate_ppm = Some(units::parts_per_million(value)?),
        "corrupt" => change.corrupt_ppm = Some(units::parts_per_million(value)?),
        _ => {
            let bytes = value.parse().ok().filter(|mtu| MTU.contains(mtu));
            let bytes = bytes.and_then(|mtu| usize::try_from(mtu).ok());
            change.mtu = Some(bytes.ok_or_else(|| {
                let (least, most) = (MTU.start(), MTU.end());
                Wrong::new(
                    format!("\"{value}\" is no MTU"),
                    format!("{least} to {most}"),
                )
            })?);
        }
    }
    Ok(())
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
    let mtu = reader.integer("mtu", MTU);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn words_say_what_a_file_would() {
        let change = Degrade::change_of(["loss", "5%", "latency", "40ms", "mtu", "1400"]);
        let told = Change {
            loss: Some(Loss::Share(50_000)),
            delay: Some(Duration::from_millis(40)),
            mtu: Some(1_400),
            ..Change::default()
        };
        assert_eq!(change, Ok(told));
    }

    #[test]
    fn words_that_say_nothing_are_refused_with_what_would_be_right() {
        for (words, reason) in [
            (&["lossy", "5%"][..], "a link has no `lossy`"),
            (&["loss"], "`loss` has no value"),
            (&["loss", "5%", "loss", "6%"], "`loss` stands twice"),
            (&["mtu", "12"], "\"12\" is no MTU"),
            (&[], "it says not how the link gets worse"),
        ] {
            let wrong = Degrade::change_of(words.iter().copied()).expect_err(reason);
            assert_eq!(wrong.reason, reason);
        }
        assert!(Degrade::change_of(["delay", "40"]).is_err());
    }
}
