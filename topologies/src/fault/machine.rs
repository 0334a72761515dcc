//! What goes wrong with a node's machine itself: its clock and its disk.
//!
//! `clock = "controller.a"` with `drift`, `jump` or both; `disk = "controller.a"` with `sync`, `rate` or `full`. A
//! clock never runs back, on any machine: one that is ahead can only be made slow.

use std::time::Duration;

use crate::diagnostic::Wrong;
use crate::names::Kind;
use crate::reader::Reader;
use crate::units;

use super::{FaultVerb, Objects};

/// Machines that services run on, beside CLB nodes.
pub(super) const MACHINES: [Kind; 3] = [Kind::Controller, Kind::Pop, Kind::Host];
const EXAMPLE: &str = "\"controller.a\"";

/// What a machine's clock does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockFault {
    /// How much faster than time itself it runs, in parts per million; negative: slower.
    pub drift_ppm: i32,
    /// How far it goes ahead at once.
    pub jump: Duration,
}

/// How a machine's disk gets worse; what is absent stays as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskFault {
    /// How long a sync takes.
    pub sync: Option<Duration>,
    /// Bytes read or written in a second.
    pub bytes_per_second: Option<u64>,
    /// No file can grow.
    pub full: bool,
}

pub(super) fn read_clock(
    reader: &mut Reader<'_>,
    objects: &Objects,
) -> Option<(FaultVerb, String)> {
    let object = reader.need("clock", EXAMPLE, |text| {
        objects.resolve_with_nodes(text, &MACHINES)
    });
    let drift = reader.parse("drift", "\"200ppm\"", units::drift);
    let jump = reader.parse("jump", "\"5s\"", jump);
    if reader.field("drift").is_none() && reader.field("jump").is_none() {
        let hint = "one at least of drift = \"200ppm\", jump = \"5s\"";
        reader.wrong(Wrong::new("it says not what the clock does", hint));
        return None;
    }
    if reader.field("drift").is_none()
        && let Some(lasts) = reader.field("for")
    {
        let hint = "leave `for` out: the clock stays ahead";
        reader.wrong_at(&lasts, Wrong::new("a jump takes no time", hint));
    }
    let clock = ClockFault {
        drift_ppm: drift.unwrap_or(0),
        jump: jump.unwrap_or_default(),
    };
    Some((FaultVerb::Clock(clock), object?))
}

fn jump(text: &str) -> Result<Duration, Wrong> {
    if text.starts_with('-') {
        return Err(Wrong::new(
            format!("\"{text}\": a clock never runs back"),
            "a negative drift makes it slow, such as drift = \"-200ppm\"",
        ));
    }
    units::duration_above_zero(text)
}

pub(super) fn read_disk(reader: &mut Reader<'_>, objects: &Objects) -> Option<(FaultVerb, String)> {
    let object = reader.need("disk", EXAMPLE, |text| {
        objects.resolve_with_nodes(text, &MACHINES)
    });
    let disk = DiskFault {
        sync: reader.parse("sync", "\"50ms\"", |text| {
            units::duration_within(text, Duration::ZERO..=Duration::from_secs(60))
        }),
        bytes_per_second: reader.parse("rate", "\"1MB/s\"", units::bytes_per_second),
        full: reader.boolean("full").unwrap_or(false),
    };
    if ["sync", "rate", "full"]
        .iter()
        .all(|key| reader.field(key).is_none())
    {
        let hint = "one at least of sync = \"50ms\", rate = \"1MB/s\", full = true";
        reader.wrong(Wrong::new("it says not how the disk gets worse", hint));
        return None;
    }
    Some((FaultVerb::Disk(disk), object?))
}

/// Reads `wipe` of a machine that goes down.
pub(super) fn read_wipe(reader: &mut Reader<'_>, object: &str) -> bool {
    let Some(field) = reader.field("wipe") else {
        return false;
    };
    let wipe = reader.boolean("wipe").unwrap_or(false);
    let is_region = object.starts_with("region.") && !object.contains(".clb-");
    if wipe && (is_region || object.starts_with("link.")) {
        let hint = "that of a machine is, such as down = \"controller.a\"";
        reader.wrong_at(&field, Wrong::new("its disk is not one to be wiped", hint));
    }
    wipe
}
