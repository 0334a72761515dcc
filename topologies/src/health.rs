//! `health` of a listener: how its targets are checked, or `false` for not at all.
//!
//! TCP listeners are checked by default, UDP ones cannot be. Ranges and defaults are those of the route table's
//! `HealthCheck`; `profile` gives other defaults.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyedge_net::route_table::{HealthCheck, INTERVAL_S, THRESHOLD, TIMEOUT_S};

use crate::clb::Protocol;
use crate::defaults::one_of;
use crate::diagnostic::Wrong;
use crate::reader::Reader;
use crate::units;

const EXAMPLE: &str =
    "health = { interval = \"5s\", timeout = \"2s\", unhealthy = 3, healthy = 3 }";

/// Reads `health` of a listener of that protocol.
pub(crate) fn read(reader: &mut Reader<'_>, protocol: Option<Protocol>) -> Option<HealthCheck> {
    let default = HealthCheck::default();
    let is_tcp = protocol == Some(Protocol::Tcp);
    let Some(field) = reader.field("health") else {
        return is_tcp.then_some(default);
    };
    if field.value.as_bool() == Some(false) {
        return None;
    }
    if protocol == Some(Protocol::Udp) {
        let hint = "health = false, or leave it out: a check is a TCP handshake";
        reader.wrong_at(&field, Wrong::new("a UDP listener cannot be checked", hint));
        return None;
    }
    if field.value.as_bool() == Some(true) {
        return Some(default);
    }
    let mut table = reader.reader_of(&field, EXAMPLE)?;
    let profile = table.parse("profile", "\"qingcloud\"", |text| match text {
        "default" => Ok(HealthCheck::default()),
        "qingcloud" => Ok(HealthCheck::qingcloud()),
        _ => Err(one_of(
            text,
            "profile of a check",
            &["default", "qingcloud"],
        )),
    });
    let default = profile.unwrap_or(default);
    let interval = seconds(&mut table, "interval", "\"5s\"", INTERVAL_S);
    let timeout = seconds(&mut table, "timeout", "\"2s\"", TIMEOUT_S);
    let check = HealthCheck {
        interval: interval.unwrap_or(default.interval),
        timeout: timeout.unwrap_or(default.timeout),
        unhealthy: results(&mut table, "unhealthy").unwrap_or(default.unhealthy),
        healthy: results(&mut table, "healthy").unwrap_or(default.healthy),
    };
    let last = table.field("timeout").or_else(|| table.field("interval"));
    if let Some(field) = last.filter(|_| check.timeout >= check.interval) {
        let reason = format!(
            "a timeout of {:?} is not shorter than the interval, {:?}",
            check.timeout, check.interval
        );
        table.wrong_at(&field, Wrong::new(reason, "the timeout is the shorter one"));
    }
    table.finish();
    Some(check)
}

fn seconds(
    reader: &mut Reader<'_>,
    key: &'static str,
    example: &str,
    range: RangeInclusive<u64>,
) -> Option<Duration> {
    let seconds = |bound: &u64| Duration::from_secs(*bound);
    reader.parse(key, example, |text| {
        units::duration_within(text, seconds(range.start())..=seconds(range.end()))
    })
}

fn results(reader: &mut Reader<'_>, key: &'static str) -> Option<u8> {
    let count = reader.integer(key, (*THRESHOLD.start()).into()..=(*THRESHOLD.end()).into());
    count.and_then(|count| u8::try_from(count).ok())
}
