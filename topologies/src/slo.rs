//! `[[slo]]`: service levels that a run has to keep.
//!
//! An expectation is `<metric> <comparison> <value>`, such as `p99 < 250ms`, `success >= 99.9%`,
//! `broken_flows == 0`. Latencies are intended ones: from the moment a request should have been sent.

use std::fmt;
use std::time::Duration;

use crate::diagnostic::Wrong;
use crate::names::Kind;
use crate::nearest::did_you_mean;
use crate::reader::Reader;
use crate::units;

const EXAMPLE: &str = "[\"p99 < 250ms\", \"broken_flows == 0\"]";
const METRICS: [(&str, Metric); 10] = [
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
];
const COMPARISONS: [(&str, Comparison); 5] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("==", Comparison::Equal),
    ("<", Comparison::Below),
    (">", Comparison::Above),
];

/// Service levels of one population or of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slo {
    /// Whose they are.
    pub of: SloOf,
    /// What is expected, one at least.
    pub expect: Vec<Expectation>,
}

/// Whose service levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SloOf {
    /// One population, by its name.
    Client(String),
    /// All populations together.
    Clients,
}

impl fmt::Display for SloOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SloOf::Client(name) => f.write_str(&Kind::Client.object(name)),
            SloOf::Clients => f.write_str("clients"),
        }
    }
}

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
    /// Longest time without a completed request.
    Gap,
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
    /// For percentiles, `max` and `gap`.
    Duration(Duration),
    /// For `success`, in parts per million.
    SharePpm(u32),
    /// For `failed`, `sent` and `broken_flows`.
    Count(u64),
}

impl Slo {
    pub(crate) fn read(mut reader: Reader<'_>) -> Option<Self> {
        let names = &reader.book.names;
        let of = reader.need("of", "\"client.osaka\"", |text| {
            if text == "clients" {
                return Ok(SloOf::Clients);
            }
            names
                .resolve(text, &[Kind::Client])
                .map(|(_, name)| SloOf::Client(name))
        });
        let fields = reader.list("expect", EXAMPLE);
        match (&fields, reader.field("expect")) {
            (_, None) => reader.missing("expect", EXAMPLE),
            (Some(none), Some(field)) if none.is_empty() => {
                reader.wrong_at(
                    &field,
                    Wrong::new("nothing is expected", format!("such as {EXAMPLE}")),
                );
            }
            _ => {}
        }
        let fields = fields.unwrap_or_default();
        let parse = |field| reader.parse_field(field, EXAMPLE, Expectation::parse);
        let expect: Vec<Expectation> = fields.iter().filter_map(parse).collect();
        reader.finish();
        Some(Self { of: of?, expect })
    }
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
        let Some((_, metric)) = METRICS.into_iter().find(|(name, _)| *name == word) else {
            let hint = did_you_mean(word, METRICS.into_iter().map(|(name, _)| name));
            return Err(Wrong::new(format!("there is no metric \"{word}\""), hint));
        };
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
    fn threshold(self, text: &str) -> Result<Threshold, Wrong> {
        match self {
            Metric::P50 | Metric::P90 | Metric::P99 | Metric::P999 | Metric::Max | Metric::Gap => {
                units::duration(text).map(Threshold::Duration)
            }
            Metric::Success => units::parts_per_million(text).map(Threshold::SharePpm),
            Metric::Failed | Metric::Sent | Metric::BrokenFlows => {
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse()
                    .ok()
                    .filter(|_| digits)
                    .map(Threshold::Count)
                    .ok_or_else(|| {
                        Wrong::new(
                            format!("\"{text}\" is not a count"),
                            "a whole number, such as 0",
                        )
                    })
            }
        }
    }
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
