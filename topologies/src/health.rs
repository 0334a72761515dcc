//! `health` of a listener: how its targets are checked, or `false` for not at all.
//!
//! TCP listeners are checked by default, UDP ones if they say so. Ranges and defaults are those of the route table's
//! `HealthCheck`; `profile` gives other defaults.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use anyedge_net::route_table::{
    DAMPING_S, EXCHANGE_BYTES, Exchange, HealthCheck, INTERVAL_S, Method, ProbeSource, THRESHOLD,
    TIMEOUT_S,
};
use data_encoding::HEXUPPER_PERMISSIVE;

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
    let usual = |check: HealthCheck| match protocol {
        Some(Protocol::Udp) => HealthCheck {
            method: Method::UdpPort,
            ..check
        },
        Some(Protocol::Tcp) | None => check,
    };
    let Some(field) = reader.field("health") else {
        return is_tcp.then_some(default);
    };
    if field.value.as_bool() == Some(false) {
        return None;
    }
    if field.value.as_bool() == Some(true) {
        return Some(usual(default));
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
    let default = usual(profile.unwrap_or(default));
    let interval = seconds(&mut table, "interval", "\"5s\"", INTERVAL_S);
    let timeout = seconds(&mut table, "timeout", "\"2s\"", TIMEOUT_S);
    let check = HealthCheck {
        interval: interval.unwrap_or(default.interval),
        timeout: timeout.unwrap_or(default.timeout),
        unhealthy: results(&mut table, "unhealthy").unwrap_or(default.unhealthy),
        healthy: results(&mut table, "healthy").unwrap_or(default.healthy),
        method: method(&mut table, protocol).unwrap_or(default.method),
        port: table
            .integer("port", 1..=u16::MAX.into())
            .and_then(|port| u16::try_from(port).ok()),
        source: source(&mut table),
        passive: passive(&mut table, protocol),
        damping: seconds(&mut table, "flap_damping", "\"5m\"", DAMPING_S),
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

/// What is sent, and what has to come back.
fn method(table: &mut Reader<'_>, protocol: Option<Protocol>) -> Option<Method> {
    let kinds: &[&str] = match protocol {
        Some(Protocol::Udp) => &["port", "ping", "custom"],
        Some(Protocol::Tcp) | None => &["tcp", "ping", "custom"],
    };
    let kind = table.parse("kind", "\"ping\"", |text| {
        let known = kinds.iter().find(|kind| **kind == text);
        known.ok_or_else(|| one_of(text, "kind of check for this listener", kinds))
    });
    if kind == Some(&"custom") {
        let bytes = |table: &mut Reader<'_>, key| table.need(key, "\"hex:F13E01\"", said);
        let (request, reply) = (bytes(table, "request"), bytes(table, "reply"));
        let exchange = Arc::new(Exchange {
            request: request?,
            reply: reply?,
        });
        return Some(match protocol {
            Some(Protocol::Udp) => Method::UdpExchange(exchange),
            Some(Protocol::Tcp) | None => Method::TcpExchange(exchange),
        });
    }
    for key in ["request", "reply"] {
        if let Some(field) = table.field(key) {
            let reason = "only a custom check says something of its own";
            table.wrong_at(&field, Wrong::new(reason, "kind = \"custom\""));
        }
    }
    kind.map(|kind| match *kind {
        "ping" => Method::Ping,
        "port" => Method::UdpPort,
        _ => Method::Tcp,
    })
}

/// Reads bytes: text as it is, or `hex:` and two digits for each.
fn said(text: &str) -> Result<Vec<u8>, Wrong> {
    let bytes = match text.strip_prefix("hex:") {
        None => text.as_bytes().to_vec(),
        Some(digits) => HEXUPPER_PERMISSIVE
            .decode(digits.as_bytes())
            .map_err(|error| {
                let reason = format!("\"{digits}\" is not hexadecimal: {error}");
                Wrong::new(reason, "two digits for each byte, as in \"hex:F13E01\"")
            })?,
    };
    if EXCHANGE_BYTES.contains(&bytes.len()) {
        return Ok(bytes);
    }
    Err(Wrong::new(
        format!("{} bytes", bytes.len()),
        format!(
            "{} to {} bytes",
            EXCHANGE_BYTES.start(),
            EXCHANGE_BYTES.end()
        ),
    ))
}

fn source(table: &mut Reader<'_>) -> ProbeSource {
    let source = table.parse("source", "\"100.64.0.0/10\"", |text| match text {
        "vip" => Ok(ProbeSource::Vip),
        "100.64.0.0/10" => Ok(ProbeSource::Shared),
        _ => Err(one_of(text, "source of checks", &["vip", "100.64.0.0/10"])),
    });
    source.unwrap_or_default()
}

fn passive(table: &mut Reader<'_>, protocol: Option<Protocol>) -> bool {
    let passive = table.boolean("passive").unwrap_or(false);
    if passive
        && protocol == Some(Protocol::Udp)
        && let Some(field) = table.field("passive")
    {
        let reason = "a UDP target cannot refuse a client";
        table.wrong_at(&field, Wrong::new(reason, "passive = false"));
        return false;
    }
    passive
}
