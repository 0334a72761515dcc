//! One expectation of a service level: `<metric> <comparison> <value>`.
//!
//! A metric is measured of one kind of subject: clients, a listener or a fault. Latencies are intended ones, from the
//! moment a request should have been sent; times of a fault count from its beginning.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::diagnostic::Wrong;
use crate::nearest::did_you_mean;
use crate::units;

/// The metrics whose names are all there is to say.
const METRICS: [(&str, Metric); 18] = [
    ("p50", Metric::P50),
    ("p90", Metric::P90),
    ("p99", Metric::P99),
    ("p999", Metric::P999),
    ("max", Metric::Max),
    ("success", Metric::Success),
    ("failed", Metric::Failed),
    ("sent", Metric::Sent),
    ("broken_flows", Metric::BrokenFlows),
    ("gap", Metric::Gap),
    ("opened", Metric::Opened),
    ("imbalance", Metric::Imbalance),
    ("detected", Metric::Detected),
    ("withdrawn", Metric::Withdrawn),
    ("failover", Metric::Failover),
    ("recovery", Metric::Recovery),
    ("kept", Metric::Kept),
    ("share", Metric::Share(ANY_TARGET)),
];
/// Stands for a target that is not said.
const ANY_TARGET: TargetOf = TargetOf {
    ip: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
    port: None,
};
const COMPARISONS: [(&str, Comparison); 5] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("==", Comparison::Equal),
    ("<", Comparison::Below),
    (">", Comparison::Above),
];

/// One expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// What is measured.
    pub metric: Metric,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub value: Threshold,
    /// As the file has it.
    pub text: String,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Median latency.
    P50,
    /// 90th percentile of latency.
    P90,
    /// 99th percentile of latency.
    P99,
    /// 99.9th percentile of latency.
    P999,
    /// Largest latency.
    Max,
    /// Share of requests that were answered.
    Success,
    /// Number of requests that failed.
    Failed,
    /// Number of requests that were sent.
    Sent,
    /// Number of connections that were reset or abandoned after they were established.
    BrokenFlows,
    /// Longest time without a completed request; of a fault, of the flows that it met and that were kept.
    Gap,
    /// New flows of a listener.
    Opened,
    /// How much more than its share by weight the target of a listener got that got most of it.
    Imbalance,
    /// A target's part of the new flows of a listener.
    Share(TargetOf),
    /// Until a node noticed a fault.
    Detected,
    /// Until the last population whose packets went elsewhere had heard of a withdrawal.
    Withdrawn,
    /// Until the last flow had moved to another POP or CLB node.
    Failover,
    /// Until the last flow that survived went on.
    Recovery,
    /// Part of the flows that were established at a fault and went on to their end.
    Kept,
}

/// A target as an expectation names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetOf {
    /// Its address.
    pub ip: IpAddr,
    /// Its port; all of the address if absent.
    pub port: Option<u16>,
}

impl TargetOf {
    /// Whether a target is meant.
    #[must_use]
    pub fn is(self, target: SocketAddr) -> bool {
        self.ip == target.ip() && self.port.is_none_or(|port| port == target.port())
    }
}

impl fmt::Display for TargetOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

/// What a metric is measured of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Clients,
    Listener,
    Fault,
}

impl Subject {
    /// As a sentence has it.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Subject::Clients => "clients",
            Subject::Listener => "a listener",
            Subject::Fault => "a fault",
        }
    }
}

/// How a measure is compared with its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
}

impl Comparison {
    /// Whether `measured` stands in this relation to `threshold`.
    pub fn holds<T: Ord>(self, measured: T, threshold: T) -> bool {
        match self {
            Comparison::Below => measured < threshold,
            Comparison::AtMost => measured <= threshold,
            Comparison::Above => measured > threshold,
            Comparison::AtLeast => measured >= threshold,
            Comparison::Equal => measured == threshold,
        }
    }
}

/// A value of the kind that its metric has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// For percentiles, `max`, `gap`, and the times of a fault.
    Duration(Duration),
    /// For `success`, `kept`, `share` and `imbalance`, in parts per million.
    SharePpm(u32),
    /// For `failed`, `sent`, `broken_flows` and `opened`.
    Count(u64),
}

impl Expectation {
    /// Reads `p99 < 250ms`.
    ///
    /// # Errors
    /// Not of that shape, an unknown metric, or a value that is not of the metric's kind.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let shape = || {
            let hint = "a metric, one of < <= > >= ==, and a value, such as \"p99 < 250ms\"";
            Wrong::new(format!("\"{text}\" is no expectation"), hint)
        };
        let split = text.find(|c| "<>=".contains(c)).ok_or_else(shape)?;
        let (word, rest) = (text[..split].trim(), &text[split..]);
        let (sign, comparison) = COMPARISONS
            .into_iter()
            .find(|(sign, _)| rest.starts_with(sign))
            .ok_or_else(shape)?;
        let metric = Metric::parse(word)?;
        let value = metric.threshold(rest[sign.len()..].trim())?;
        Ok(Self {
            metric,
            comparison,
            value,
            text: text.to_owned(),
        })
    }
}

impl Metric {
    /// Reads `p99`, or `share 10.0.0.11:8080`.
    fn parse(text: &str) -> Result<Self, Wrong> {
        let (word, target) = match text.split_once(char::is_whitespace) {
            Some((word, target)) => (word, target.trim()),
            None => (text, ""),
        };
        let Some((_, metric)) = METRICS.into_iter().find(|(name, _)| *name == word) else {
            let hint = did_you_mean(word, METRICS.into_iter().map(|(name, _)| name));
            return Err(Wrong::new(format!("there is no metric \"{word}\""), hint));
        };
        match metric {
            Metric::Share(_) => TargetOf::parse(target).map(Metric::Share),
            _ if target.is_empty() => Ok(metric),
            _ => Err(Wrong::new(
                format!("\"{word}\" is of no target, and \"{target}\" is one"),
                format!("\"{word}\" alone, or \"share {target}\""),
            )),
        }
    }

    /// Whether it can be measured of such a subject.
    pub(crate) const fn is_of(self, subject: Subject) -> bool {
        match self {
            Metric::P50
            | Metric::P90
            | Metric::P99
            | Metric::P999
            | Metric::Max
            | Metric::Success
            | Metric::Failed
            | Metric::Sent => matches!(subject, Subject::Clients),
            Metric::BrokenFlows | Metric::Gap => !matches!(subject, Subject::Listener),
            Metric::Opened | Metric::Imbalance | Metric::Share(_) => {
                matches!(subject, Subject::Listener)
            }
            Metric::Detected
            | Metric::Withdrawn
            | Metric::Failover
            | Metric::Recovery
            | Metric::Kept => matches!(subject, Subject::Fault),
        }
    }

    /// Those of a subject, by name.
    pub(crate) fn names_of(subject: Subject) -> impl Iterator<Item = &'static str> + Clone {
        let own = METRICS
            .into_iter()
            .filter(move |(_, own)| own.is_of(subject));
        own.map(|(name, _)| name)
    }

    /// Its name alone.
    pub(crate) fn name(self) -> &'static str {
        let same = |own: &Metric| core::mem::discriminant(own) == core::mem::discriminant(&self);
        let found = METRICS.iter().find(|(_, own)| same(own));
        found.map_or("", |(name, _)| name)
    }

    fn threshold(self, text: &str) -> Result<Threshold, Wrong> {
        match self {
            Metric::P50
            | Metric::P90
            | Metric::P99
            | Metric::P999
            | Metric::Max
            | Metric::Gap
            | Metric::Detected
            | Metric::Withdrawn
            | Metric::Failover
            | Metric::Recovery => units::duration(text).map(Threshold::Duration),
            Metric::Success | Metric::Kept | Metric::Share(_) | Metric::Imbalance => {
                units::parts_per_million(text).map(Threshold::SharePpm)
            }
            Metric::Failed | Metric::Sent | Metric::BrokenFlows | Metric::Opened => count(text),
        }
    }
}

impl TargetOf {
    fn parse(text: &str) -> Result<Self, Wrong> {
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Ok(Self {
                ip: socket.ip(),
                port: Some(socket.port()),
            });
        }
        match text.parse::<IpAddr>() {
            Ok(ip) => Ok(Self { ip, port: None }),
            Err(_) => Err(Wrong::new(
                format!("\"{text}\" is no target"),
                "an address, with its port or without, such as \"share 10.0.0.11:8080 < 60%\"",
            )),
        }
    }
}

fn count(text: &str) -> Result<Threshold, Wrong> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let count = text.parse().ok().filter(|_| digits);
    count.map(Threshold::Count).ok_or_else(|| {
        Wrong::new(
            format!("\"{text}\" is not a count"),
            "a whole number, such as 0",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expectation_has_a_metric_a_comparison_and_a_typed_value() {
        let parse = |text| Expectation::parse(text).map(|e| (e.metric, e.comparison, e.value));
        let ms = |ms| Threshold::Duration(Duration::from_millis(ms));
        assert_eq!(
            parse("p99 < 250ms"),
            Ok((Metric::P99, Comparison::Below, ms(250)))
        );
        assert_eq!(
            parse("p999<=1s"),
            Ok((Metric::P999, Comparison::AtMost, ms(1_000)))
        );
        assert_eq!(
            parse("success >= 99.9%"),
            Ok((
                Metric::Success,
                Comparison::AtLeast,
                Threshold::SharePpm(999_000)
            ))
        );
        assert_eq!(
            parse("broken_flows == 0"),
            Ok((Metric::BrokenFlows, Comparison::Equal, Threshold::Count(0)))
        );
        let target = |port| TargetOf {
            ip: IpAddr::from([10, 0, 0, 11]),
            port,
        };
        for (text, port) in [
            ("share 10.0.0.11 <= 60%", None),
            ("share  10.0.0.11:8080 <= 60%", Some(8080)),
        ] {
            assert_eq!(
                parse(text),
                Ok((
                    Metric::Share(target(port)),
                    Comparison::AtMost,
                    Threshold::SharePpm(600_000)
                ))
            );
        }
        for bad in [
            "",
            "p99",
            "p99 = 1ms",
            "p99 < 3",
            "failed < 3ms",
            "success > 101%",
            "failed < +3",
            "p98 < 1s",
            "< 1s",
            "share < 10%",
            "share web-1 < 10%",
            "p99 10.0.0.1 < 1s",
            "kept > 3",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_comparison_holds_or_not() {
        assert!(Comparison::Below.holds(1, 2) && !Comparison::Below.holds(2, 2));
        assert!(Comparison::AtMost.holds(2, 2) && !Comparison::AtMost.holds(3, 2));
        assert!(Comparison::Above.holds(3, 2) && !Comparison::Above.holds(2, 2));
        assert!(Comparison::AtLeast.holds(2, 2) && !Comparison::AtLeast.holds(1, 2));
        assert!(Comparison::Equal.holds(2, 2) && !Comparison::Equal.holds(1, 2));
    }
}
