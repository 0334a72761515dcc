//! Figures with a unit, as a topology writes them: `9ms`, `10Gbps`, `10KiB`, `0.001%`, `200/s`.
//!
//! Every figure becomes an integer exactly: nanoseconds, bits per second, bytes, parts per million. A figure
//! finer than its integer is a mistake, never rounded, so that a run is the same on every machine.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::diagnostic::Wrong;

/// Parts per million in the whole: 100 %.
pub const PPM_WHOLE: u32 = 1_000_000;

/// The most that a clock may drift.
const DRIFT_PPM_MAX: u32 = 100_000;

const DURATIONS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
const RATES: &[(&str, u64)] = &[
    ("bps", 1),
    ("Kbps", 1_000),
    ("Mbps", 1_000_000),
    ("Gbps", 1_000_000_000),
    ("Tbps", 1_000_000_000_000),
];
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];
/// How often something happens: `count` times in `per`, both exact, `count` above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frequency {
    /// How many times in `per`.
    pub count: u64,
    /// The time in which `count` happen.
    pub per: Duration,
}

/// Reads a duration such as `9ms`, `1.5s`, `250us`, `2m`: at most 24 hours.
///
/// # Errors
/// Not a number with a known unit, finer than 1 ns, or too long.
pub fn duration(text: &str) -> Result<Duration, Wrong> {
    let ns = quantity(text, DURATIONS, "duration", "9ms")?;
    if ns > 24 * 3_600_000_000_000 {
        return Err(Wrong::new(
            format!("\"{text}\" is longer than a day"),
            "at most \"24h\"",
        ));
    }
    Ok(Duration::from_nanos(ns))
}

/// Reads a duration in nanoseconds.
pub(crate) fn nanos(text: &str) -> Result<u64, Wrong> {
    let time = duration(text)?;
    Ok(u64::try_from(time.as_nanos()).expect("at most a day"))
}

/// Reads a duration above zero.
///
/// # Errors
/// As [`duration`], and zero.
pub fn duration_above_zero(text: &str) -> Result<Duration, Wrong> {
    match duration(text)? {
        Duration::ZERO => Err(Wrong::new(
            format!("\"{text}\" is no time at all"),
            "more than zero, such as \"9ms\"",
        )),
        some => Ok(some),
    }
}

/// Reads a duration within a range.
///
/// # Errors
/// As [`duration`], and outside of `range`.
pub fn duration_within(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, Wrong> {
    match duration(text)? {
        time if range.contains(&time) => Ok(time),
        _ => Err(Wrong::new(
            format!("\"{text}\" is out of range"),
            format!("\"{:?}\" to \"{:?}\"", range.start(), range.end()),
        )),
    }
}

/// Reads a link rate such as `10Gbps` in bits per second; `unlimited` gives 0.
///
/// # Errors
/// Not a number with a known unit, finer than 1 bit/s, zero, or above 100 Tbps.
pub fn bits_per_second(text: &str) -> Result<u64, Wrong> {
    if text == "unlimited" {
        return Ok(0);
    }
    match quantity(text, RATES, "rate", "10Gbps")? {
        0 => Err(Wrong::new(
            format!("\"{text}\" carries nothing"),
            "write \"unlimited\" for a link that never queues",
        )),
        rate if rate > 100_000_000_000_000 => Err(Wrong::new(
            format!("\"{text}\" is above 100 Tbps"),
            "at most \"100Tbps\", or \"unlimited\"",
        )),
        rate => Ok(rate),
    }
}

/// Reads a size such as `10KiB`, `1KB`, `1000B` in bytes.
///
/// # Errors
/// Not a number with a known unit, or not a whole number of bytes.
pub fn bytes(text: &str) -> Result<u64, Wrong> {
    quantity(text, SIZES, "size", "10KiB")
}

/// Reads a share such as `0.001%` in parts per million, 0 to 1,000,000.
///
/// # Errors
/// Not a percentage, above 100 %, or finer than 0.0001 %.
pub fn parts_per_million(text: &str) -> Result<u32, Wrong> {
    let ppm = quantity(text, &[("%", 10_000)], "percentage", "0.001%")?;
    u32::try_from(ppm)
        .ok()
        .filter(|ppm| *ppm <= PPM_WHOLE)
        .ok_or_else(|| Wrong::new(format!("\"{text}\" is more than the whole"), "0% to 100%"))
}

/// Reads how much faster than time a clock runs, such as `200ppm` or `-50ppm`: at most 100,000 either way.
///
/// # Errors
/// Not a whole number of parts per million, none at all, or too many.
pub fn drift(text: &str) -> Result<i32, Wrong> {
    let known = "-100000ppm to 100000ppm, such as \"200ppm\"";
    let ppm = text.strip_suffix("ppm");
    let ppm: i32 = ppm
        .and_then(|ppm| ppm.parse().ok())
        .ok_or_else(|| Wrong::new(format!("\"{text}\" is not a drift"), known))?;
    match ppm {
        0 => Err(Wrong::new(format!("\"{text}\" is no drift at all"), known)),
        some if some.unsigned_abs() > DRIFT_PPM_MAX => {
            Err(Wrong::new(format!("\"{text}\" is too large"), known))
        }
        some => Ok(some),
    }
}

/// Reads bytes in a second, such as `1MB/s`, above zero.
///
/// # Errors
/// Not a size in a second, or zero.
pub fn bytes_per_second(text: &str) -> Result<u64, Wrong> {
    let known = "a size in a second, such as \"1MB/s\"";
    let size = text
        .strip_suffix("/s")
        .ok_or_else(|| Wrong::new(format!("\"{text}\" is not a rate of bytes"), known))?;
    match bytes(size)? {
        0 => Err(Wrong::new(format!("\"{text}\" is no rate at all"), known)),
        some => Ok(some),
    }
}

/// Reads a frequency such as `200/s`, `2.5/s`, `30/m`: above zero, at most 10,000,000/s.
///
/// # Errors
/// Not a number over a time, zero, too frequent, or with more than three decimals.
pub fn frequency(text: &str) -> Result<Frequency, Wrong> {
    let example = "a number per second, minute or hour, such as \"200/s\"";
    let not_one = || Wrong::new(format!("\"{text}\" is not a rate of requests"), example);
    let (number, unit) = text.split_once('/').ok_or_else(not_one)?;
    let per_s = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(not_one()),
    };
    let milli = scaled(number, 1_000).map_err(|fault| match fault {
        Inexact::NotANumber => not_one(),
        Inexact::TooFine => Wrong::new(format!("\"{text}\" has more than three decimals"), example),
        Inexact::TooLarge => Wrong::new(
            format!("\"{text}\" is too frequent"),
            "at most \"10000000/s\"",
        ),
    })?;
    if milli == 0 {
        return Err(Wrong::new(
            format!("\"{text}\" never happens"),
            "more than zero; leave `load` out for no load",
        ));
    }
    if milli > 10_000_000 * 1_000 * per_s {
        return Err(Wrong::new(
            format!("\"{text}\" is too frequent"),
            "at most \"10000000/s\"",
        ));
    }
    let divisor = gcd(milli, 1_000);
    Ok(Frequency {
        count: milli / divisor,
        per: Duration::from_secs(per_s * (1_000 / divisor)),
    })
}

/// Reads plain decimal degrees such as `-35.68` in millionths of a degree.
pub(crate) fn microdegrees(text: &str, max_degrees: u32) -> Result<i32, Wrong> {
    let allowed = || format!("-{max_degrees} to {max_degrees} degrees, at most six decimals");
    let (sign, number) = match text.strip_prefix('-') {
        Some(number) => (-1, number),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    scaled(number, 1_000_000)
        .ok()
        .and_then(|value| i32::try_from(value).ok())
        .filter(|value| value.unsigned_abs() <= max_degrees * 1_000_000)
        .map(|value| sign * value)
        .ok_or_else(|| Wrong::new(format!("{text} is no such angle"), allowed()))
}

/// Reads a plain number in thousandths, within a range of them.
pub(crate) fn thousandths(text: &str, range: RangeInclusive<u64>) -> Result<u64, Wrong> {
    let written = |milli: &u64| *milli as f64 / 1_000.0;
    let read = scaled(text, 1_000)
        .ok()
        .filter(|milli| range.contains(milli));
    read.ok_or_else(|| {
        let (least, most) = (written(range.start()), written(range.end()));
        let hint = format!("{least} to {most}, at most three decimals");
        Wrong::new(format!("{text} is out of range"), hint)
    })
}

enum Inexact {
    NotANumber,
    TooFine,
    TooLarge,
}

fn quantity(text: &str, units: &[(&str, u64)], what: &str, example: &str) -> Result<u64, Wrong> {
    let known = || {
        let names: Vec<&str> = units.iter().map(|(unit, _)| *unit).collect();
        format!(
            "a number and one of {}, such as \"{example}\"",
            names.join(", ")
        )
    };
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    if unit.is_empty() && !number.is_empty() {
        return Err(Wrong::new(format!("\"{text}\" has no unit"), known()));
    }
    let Some((_, scale)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(Wrong::new(format!("\"{text}\" is not a {what}"), known()));
    };
    scaled(number, *scale).map_err(|fault| match fault {
        Inexact::NotANumber => Wrong::new(format!("\"{text}\" is not a {what}"), known()),
        Inexact::TooFine => {
            let finest = if what == "percentage" {
                "0.0001%".to_owned()
            } else {
                format!("1{}", units[0].0)
            };
            Wrong::new(
                format!("\"{text}\" is finer than {finest}"),
                format!("a multiple of {finest}"),
            )
        }
        Inexact::TooLarge => Wrong::new(format!("\"{text}\" is too large"), known()),
    })
}

/// `number` times `scale`, exactly.
fn scaled(number: &str, scale: u64) -> Result<u64, Inexact> {
    let (whole, fraction) = match number.split_once('.') {
        Some((_, "")) => return Err(Inexact::NotANumber),
        Some(parts) => parts,
        None => (number, ""),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return Err(Inexact::NotANumber);
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 18 {
        return Err(Inexact::TooFine);
    }
    let whole: u64 = whole.parse().map_err(|_| Inexact::TooLarge)?;
    let parts: u64 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().map_err(|_| Inexact::TooFine)?
    };
    let tens = 10_u128.pow(u32::try_from(fraction.len()).expect("at most 18 digits"));
    let fine = u128::from(parts) * u128::from(scale);
    if !fine.is_multiple_of(tens) {
        return Err(Inexact::TooFine);
    }
    let total = u128::from(whole) * u128::from(scale) + fine / tens;
    u64::try_from(total).map_err(|_| Inexact::TooLarge)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
