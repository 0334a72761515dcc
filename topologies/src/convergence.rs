//! How long the Internet takes to see an announcement and to forget a withdrawn one.
//!
//! One time for everybody, or a spread: points of (share of the Internet, time by which it has converged), with
//! straight lines between them, from nobody at once to everybody at the last point. A client's place in the
//! spread is drawn by who simulates it. The default is the published shape, see docs/topology.md.

use std::time::Duration;

use toml::de::DeValue;

use crate::diagnostic::Wrong;
use crate::reader::{Field, Reader};
use crate::units::{self, PPM_WHOLE};

const EXAMPLE: &str = "\"3s\"";
const POINTS_EXAMPLE: &str = "[\"80% 10s\", \"100% 38s\"]";

/// RIPE Labs, Shape of a BGP update (2011): 40 % of peers see an announcement within a few seconds, 50 % within 10 s,
/// 90 % of its updates come within 30 s, all within 38 s. "A few" is taken as 3.
const ANNOUNCE: [(u32, u64); 4] = [(400_000, 3), (500_000, 10), (900_000, 30), (PPM_WHOLE, 38)];
/// ANRW 2024: 80 % of the Internet has converged about 10 s after an anycast change, with a long tail; RIPE Labs
/// (2011): a withdrawn prefix is seen by less than 10 % only after about 120 s. The end of the tail is assumed.
const WITHDRAW: [(u32, u64); 3] = [(800_000, 10), (900_000, 120), (PPM_WHOLE, 180)];

/// How long the Internet takes to follow a change of announcements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convergence {
    /// Until a new announcement is followed.
    pub announce: Spread,
    /// Until a withdrawn announcement is no longer followed.
    pub withdraw: Spread,
}

/// Times over the shares of the Internet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Everybody after the same time.
    Fixed(Duration),
    /// Ever more of the Internet, by time; shares grow, times never shrink, the last share is the whole.
    Points(Vec<SpreadPoint>),
}

/// By `time`, `share_ppm` of the Internet has converged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpreadPoint {
    /// Parts per million, 1 to 1,000,000.
    pub share_ppm: u32,
    /// Since the change.
    pub time: Duration,
}

impl Default for Convergence {
    fn default() -> Self {
        let spread = |points: &[(u32, u64)]| {
            let point = |(share_ppm, seconds): &(u32, u64)| SpreadPoint {
                share_ppm: *share_ppm,
                time: Duration::from_secs(*seconds),
            };
            Spread::Points(points.iter().map(point).collect())
        };
        Self {
            announce: spread(&ANNOUNCE),
            withdraw: spread(&WITHDRAW),
        }
    }
}

impl Convergence {
    /// The same time for everybody and both directions.
    #[must_use]
    pub fn fixed(time: Duration) -> Self {
        Self {
            announce: Spread::Fixed(time),
            withdraw: Spread::Fixed(time),
        }
    }

    /// Reads `convergence`: a time, or a table of spreads.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let field = reader.field("convergence")?;
        if !matches!(field.value, DeValue::Table(_)) {
            let time = reader.parse_field(&field, EXAMPLE, units::duration)?;
            return Some(Self::fixed(time));
        }
        let mut table = reader.reader_of(&field, EXAMPLE)?;
        let default = Self::default();
        let read = Self {
            announce: Spread::read(&mut table, "announce").unwrap_or(default.announce),
            withdraw: Spread::read(&mut table, "withdraw").unwrap_or(default.withdraw),
        };
        table.finish();
        Some(read)
    }
}

impl Spread {
    /// When the last of a share of the Internet has converged, on a straight line between the points.
    #[must_use]
    pub fn time_at(&self, share_ppm: u32) -> Duration {
        let points = match self {
            Spread::Fixed(time) => return *time,
            Spread::Points(points) => points,
        };
        let nobody = SpreadPoint {
            share_ppm: 0,
            time: Duration::ZERO,
        };
        let reached = points.partition_point(|point| point.share_ppm < share_ppm);
        let before = reached.checked_sub(1).map_or(nobody, |at| points[at]);
        let Some(after) = points.get(reached) else {
            return before.time;
        };
        let width = u128::from(after.share_ppm - before.share_ppm);
        let into = u128::from(share_ppm - before.share_ppm);
        let ns = (after.time - before.time).as_nanos() * into / width.max(1);
        before.time + Duration::from_nanos(u64::try_from(ns).expect("at most a day"))
    }

    /// When everybody has converged.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.time_at(PPM_WHOLE)
    }

    fn read(reader: &mut Reader<'_>, key: &'static str) -> Option<Self> {
        let field = reader.field(key)?;
        if field.value.as_str().is_some() {
            let time = reader.parse_field(&field, EXAMPLE, units::duration);
            return time.map(Self::Fixed);
        }
        let fields = reader.list(key, POINTS_EXAMPLE)?;
        let mut points: Vec<SpreadPoint> = Vec::new();
        for point in &fields {
            points.push(reader.parse_field(point, "\"80% 10s\"", |text| {
                follows(SpreadPoint::parse(text)?, points.last())
            })?);
        }
        check_end(reader, &field, fields.last(), &points)?;
        Some(Self::Points(points))
    }
}

impl SpreadPoint {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let (share, time) = text.split_once(' ').ok_or_else(|| {
            Wrong::new(
                format!("\"{text}\" is no share and time"),
                "such as \"80% 10s\"",
            )
        })?;
        Ok(Self {
            share_ppm: units::parts_per_million(share)?,
            time: units::duration(time.trim_start())?,
        })
    }
}

/// A point lies beyond the one before it.
fn follows(point: SpreadPoint, last: Option<&SpreadPoint>) -> Result<SpreadPoint, Wrong> {
    let (share, time) = last.map_or((0, Duration::ZERO), |last| (last.share_ppm, last.time));
    if point.share_ppm > share && point.time >= time {
        return Ok(point);
    }
    Err(Wrong::new(
        "a point lies beyond the one before it",
        "growing shares above 0%, times that never shrink",
    ))
}

fn check_end(
    reader: &Reader<'_>,
    whole: &Field<'_>,
    last: Option<&Field<'_>>,
    points: &[SpreadPoint],
) -> Option<()> {
    if points
        .last()
        .is_some_and(|last| last.share_ppm == PPM_WHOLE)
    {
        return Some(());
    }
    let hint = format!("a last point of 100%, such as {POINTS_EXAMPLE}");
    let wrong = Wrong::new("a part of the Internet never converges", hint);
    reader.wrong_at(last.unwrap_or(whole), wrong);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_two_points_the_share_grows_on_a_straight_line() {
        let Convergence { announce, withdraw } = Convergence::default();
        let at = |spread: &Spread, percent: u32| spread.time_at(percent * 10_000);
        assert_eq!(at(&announce, 0), Duration::ZERO);
        assert_eq!(at(&announce, 20), Duration::from_millis(1_500));
        assert_eq!(at(&announce, 40), Duration::from_secs(3));
        assert_eq!(at(&announce, 70), Duration::from_secs(20));
        assert_eq!(announce.longest(), Duration::from_secs(38));
        assert_eq!(at(&withdraw, 80), Duration::from_secs(10));
        assert_eq!(at(&withdraw, 85), Duration::from_secs(65));
        assert_eq!(withdraw.longest(), Duration::from_secs(180));
    }

    #[test]
    fn one_time_holds_for_every_share() {
        let spread = Convergence::fixed(Duration::from_secs(3)).withdraw;
        assert!(
            [0, 1, PPM_WHOLE]
                .iter()
                .all(|share| spread.time_at(*share) == Duration::from_secs(3))
        );
    }
}
