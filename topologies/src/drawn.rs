//! Sizes and times that are drawn, each by the name of its distribution.
//!
//! `"10KiB"` is the same each time; a table draws: `{ kind = "lognormal", median = "10KiB", sigma = 1.5 }`. What is drawn
//! is a whole number of bytes or nanoseconds, never above `max`. Every shape but a trace is drawn by inverting its
//! distribution function (of a normal one, by Box and Muller), with `libm` alone, so that a run is the same on every
//! platform.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use anyedge_net::rng::Rng;
use toml::de::DeValue;

use crate::defaults::one_of;
use crate::diagnostic::Wrong;
use crate::nearest::did_you_mean;
use crate::reader::{Field, Reader};
use crate::units;

/// Values in a trace.
const TRACE_MAX: usize = 1_000_000;
/// Parts of one that `sigma` and `shape` are kept in.
const PARTS: f64 = 1_000.0;
const KINDS: [&str; 6] = [
    "fixed",
    "uniform",
    "exponential",
    "lognormal",
    "pareto",
    "trace",
];

/// A value that is drawn: bytes, or nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// What it is drawn from.
    pub shape: Shape,
    /// The least that is ever drawn; what falls below is this.
    pub least: u64,
    /// The most that is ever drawn; what falls above is this.
    pub most: u64,
}

/// What a value is drawn from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Always the same.
    Fixed(u64),
    /// Evenly between two values, both included.
    Uniform {
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// As the gaps of a Poisson process.
    Exponential {
        /// Its mean.
        mean: u64,
    },
    /// Its logarithm is normal.
    LogNormal {
        /// Half of the values are below.
        median: u64,
        /// Thousandths of the logarithm's standard deviation.
        sigma_milli: u64,
    },
    /// A share of (`least` / x) ^ `shape` is above x: few large ones carry most of the sum.
    Pareto {
        /// The least.
        least: u64,
        /// Thousandths of its exponent; above 1,000, else it has no mean.
        shape_milli: u64,
    },
    /// One of these, each as often as another.
    Trace(Arc<[u64]>),
}

/// What values of a key are: how one is written, and what it may be.
pub(crate) struct Unit {
    /// Reads one.
    pub(crate) parse: fn(&str) -> Result<u64, Wrong>,
    /// What a trace's figures without a unit are, such as `B`.
    pub(crate) plain: &'static str,
    /// As the file writes one.
    pub(crate) example: &'static str,
    /// What may be drawn.
    pub(crate) range: RangeInclusive<u64>,
}

impl Drawn {
    /// Always the same.
    #[must_use]
    pub fn fixed(value: u64) -> Self {
        Self {
            shape: Shape::Fixed(value),
            least: value,
            most: value,
        }
    }

    /// The next value.
    pub fn draw(&self, rng: &mut Rng) -> u64 {
        let drawn = match &self.shape {
            Shape::Fixed(value) => *value,
            Shape::Uniform { least, most } => least + rng.below(most - least + 1),
            Shape::Exponential { mean } => whole(-libm::log(rng.unit()) * *mean as f64),
            Shape::LogNormal {
                median,
                sigma_milli,
            } => {
                let sigma = *sigma_milli as f64 / PARTS;
                whole(*median as f64 * libm::exp(sigma * normal(rng)))
            }
            Shape::Pareto { least, shape_milli } => {
                let shape = *shape_milli as f64 / PARTS;
                whole(*least as f64 * libm::pow(rng.unit(), -1.0 / shape))
            }
            Shape::Trace(values) => values[rng.below(values.len() as u64) as usize],
        };
        drawn.clamp(self.least, self.most)
    }

    /// The next value, of one in nanoseconds.
    pub fn draw_time(&self, rng: &mut Rng) -> Duration {
        Duration::from_nanos(self.draw(rng))
    }

    /// The mean of what is drawn, as long as `most` cuts nothing off.
    #[must_use]
    pub fn mean(&self) -> f64 {
        match &self.shape {
            Shape::Fixed(value) => *value as f64,
            Shape::Uniform { least, most } => (*least as f64 + *most as f64) / 2.0,
            Shape::Exponential { mean } => *mean as f64,
            Shape::LogNormal {
                median,
                sigma_milli,
            } => {
                let sigma = *sigma_milli as f64 / PARTS;
                *median as f64 * libm::exp(sigma * sigma / 2.0)
            }
            Shape::Pareto { least, shape_milli } => {
                let shape = *shape_milli as f64 / PARTS;
                *least as f64 * shape / (shape - 1.0)
            }
            Shape::Trace(values) => {
                values.iter().map(|value| *value as f64).sum::<f64>() / values.len() as f64
            }
        }
    }

    /// Reads the value at `key`: a figure, or a table that says how it is drawn.
    pub(crate) fn read(reader: &mut Reader<'_>, key: &'static str, unit: &Unit) -> Option<Self> {
        let field = reader.field(key)?;
        let DeValue::Table(_) = field.value else {
            let value = reader.parse_field(&field, unit.example, |text| unit.value(text))?;
            return Some(Self::fixed(value));
        };
        let mut table = reader.reader_of(&field, unit.example)?;
        let kind = table.need("kind", "\"exponential\"", |text| {
            let known = KINDS.into_iter().find(|kind| *kind == text);
            known.ok_or_else(|| one_of(text, "distribution", &KINDS))
        });
        let shape = kind.and_then(|kind| unit.shape(&mut table, kind));
        let given = table.field("max");
        let most = table.parse("max", unit.example, |text| unit.value(text));
        if let (Some(shape), Some(most), Some(field)) = (&shape, most, &given)
            && shape.least() > most
        {
            let reason = "the most is less than the least";
            table.wrong_at(field, Wrong::new(reason, "a `max` above all others"));
        }
        if kind.is_some() {
            table.finish();
        }
        Some(Self {
            shape: shape?,
            least: *unit.range.start(),
            most: most.unwrap_or(*unit.range.end()),
        })
    }
}

impl Shape {
    /// What the file says is the least.
    fn least(&self) -> u64 {
        match self {
            Shape::Fixed(value) => *value,
            Shape::Uniform { least, .. } | Shape::Pareto { least, .. } => *least,
            Shape::Exponential { .. } | Shape::LogNormal { .. } => 0,
            Shape::Trace(values) => values.iter().copied().min().unwrap_or_default(),
        }
    }
}

impl Unit {
    /// One figure, within what may be drawn.
    fn value(&self, text: &str) -> Result<u64, Wrong> {
        match (self.parse)(text)? {
            value if self.range.contains(&value) => Ok(value),
            _ => Err(Wrong::new(
                format!("\"{text}\" is out of range"),
                format!(
                    "{} to {}",
                    self.written(*self.range.start()),
                    self.written(*self.range.end())
                ),
            )),
        }
    }

    fn written(&self, value: u64) -> String {
        match self.plain {
            "ms" => format!("{:?}", Duration::from_nanos(value)),
            plain => format!("{value}{plain}"),
        }
    }

    fn need(&self, table: &mut Reader<'_>, key: &'static str) -> Option<u64> {
        table.need(key, self.example, |text| self.value(text))
    }

    fn shape(&self, table: &mut Reader<'_>, kind: &str) -> Option<Shape> {
        match kind {
            "fixed" => self.need(table, "value").map(Shape::Fixed),
            "uniform" => {
                let (least, most) = (self.need(table, "min"), self.need(table, "max"));
                if let (Some(least), Some(most), Some(field)) = (least, most, table.field("max"))
                    && least > most
                {
                    let reason = "the most is less than the least";
                    table.wrong_at(&field, Wrong::new(reason, "`min` below `max`"));
                    return None;
                }
                let (least, most) = (least?, most?);
                Some(Shape::Uniform { least, most })
            }
            "exponential" => {
                let mean = self.need(table, "mean")?;
                Some(Shape::Exponential { mean })
            }
            "lognormal" => {
                let median = self.need(table, "median");
                let sigma = need_number(table, "sigma", "1.5", 1..=10_000);
                Some(Shape::LogNormal {
                    median: median?,
                    sigma_milli: sigma?,
                })
            }
            "pareto" => {
                let least = self.need(table, "min");
                let shape = need_number(table, "shape", "1.2", 1_001..=100_000);
                Some(Shape::Pareto {
                    least: least?,
                    shape_milli: shape?,
                })
            }
            _ => self.trace(table),
        }
    }

    /// The figures of a column of a CSV file.
    fn trace(&self, table: &mut Reader<'_>) -> Option<Shape> {
        let field = table.field("file");
        let named = table.need("file", "\"sizes.csv\"", |text| Ok(text.to_owned()));
        let column = table.need("column", "\"bytes\"", |text| Ok(text.to_owned()));
        let (field, named, column) = (field?, named?, column?);
        match self.column(table, &field, &named, &column) {
            Ok(values) => Some(Shape::Trace(values.into())),
            Err(wrong) => {
                table.wrong_at(&field, wrong);
                None
            }
        }
    }

    fn column(
        &self,
        table: &Reader<'_>,
        field: &Field<'_>,
        named: &str,
        column: &str,
    ) -> Result<Vec<u64>, Wrong> {
        let (path, bytes) = table.book.read_beside(&field.span, named)?;
        let shown = path.display();
        let mut csv = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(&*bytes);
        let misread = |error: csv::Error| {
            let hint = "a header, then rows of as many cells";
            Wrong::new(format!("{shown}: {error}"), hint)
        };
        let headers = csv.headers().map_err(misread)?.clone();
        let place = headers.iter().position(|header| header == column);
        let place = place.ok_or_else(|| {
            let hint = did_you_mean(column, headers.iter());
            Wrong::new(format!("{shown}:1: there is no column `{column}`"), hint)
        })?;
        let mut values = Vec::new();
        for row in csv.records() {
            let row = row.map_err(misread)?;
            let line = row.position().map_or(0, csv::Position::line);
            let text = row.get(place).unwrap_or_default();
            let with_unit = match text.ends_with(|last: char| last.is_ascii_alphabetic()) {
                true => text.to_owned(),
                false => format!("{text}{}", self.plain),
            };
            let value = self.value(&with_unit);
            values.push(value.map_err(|wrong| wrong.within(format!("{shown}:{line}: ")))?);
            if values.len() > TRACE_MAX {
                let reason = format!("{shown} has more than {TRACE_MAX} rows");
                return Err(Wrong::new(reason, "fewer, drawn from them"));
            }
        }
        match values.is_empty() {
            true => Err(Wrong::new(format!("{shown} has no rows"), "one at least")),
            false => Ok(values),
        }
    }
}

/// A number in thousandths.
fn need_number(
    table: &mut Reader<'_>,
    key: &'static str,
    example: &str,
    range: RangeInclusive<u64>,
) -> Option<u64> {
    if table.field(key).is_none() {
        table.missing(key, example);
        return None;
    }
    table.number(key, |text| units::thousandths(text, range))
}

/// A standard normal value.
fn normal(rng: &mut Rng) -> f64 {
    let radius = libm::sqrt(-2.0 * libm::log(rng.unit()));
    radius * libm::cos(2.0 * core::f64::consts::PI * rng.unit())
}

/// The nearest whole number; far above any limit it saturates.
fn whole(value: f64) -> u64 {
    libm::round(value) as u64
}

#[cfg(test)]
mod tests {
    use anyedge_net::rng::Seed;

    use super::*;

    const DRAWS: usize = 200_000;

    fn drawn_of(shape: Shape) -> Drawn {
        Drawn {
            shape,
            least: 1,
            most: 1 << 40,
        }
    }

    /// Draws, sorted.
    fn draws(spread: &Drawn) -> Vec<u64> {
        let mut rng = Seed(7).stream("test", "spread");
        let mut drawn: Vec<u64> = (0..DRAWS).map(|_| spread.draw(&mut rng)).collect();
        drawn.sort_unstable();
        drawn
    }

    fn mean(drawn: &[u64]) -> f64 {
        drawn.iter().map(|value| *value as f64).sum::<f64>() / drawn.len() as f64
    }

    fn quantile(drawn: &[u64], share: f64) -> f64 {
        drawn[(drawn.len() as f64 * share) as usize] as f64
    }

    fn near(measured: f64, wanted: f64, tolerance: f64) {
        let ratio = measured / wanted;
        assert!(
            (1.0 - tolerance..1.0 + tolerance).contains(&ratio),
            "{measured} where {wanted} is wanted"
        );
    }

    #[test]
    fn fixed_is_always_the_same_and_draws_nothing() {
        let mut rng = Seed(7).stream("test", "spread");
        let before = Seed(7).stream("test", "spread").bits();
        assert_eq!(Drawn::fixed(10_240).draw(&mut rng), 10_240);
        assert_eq!(rng.bits(), before);
    }

    #[test]
    fn uniform_has_its_ends_its_mean_and_its_quantiles() {
        let spread = drawn_of(Shape::Uniform {
            least: 1_000,
            most: 9_000,
        });
        let drawn = draws(&spread);
        assert!(drawn[0] >= 1_000 && drawn[DRAWS - 1] <= 9_000);
        near(mean(&drawn), spread.mean(), 0.01);
        for share in [0.1, 0.5, 0.9] {
            near(quantile(&drawn, share), 1_000.0 + 8_000.0 * share, 0.02);
        }
    }

    #[test]
    fn exponential_has_its_mean_and_its_quantiles() {
        let spread = drawn_of(Shape::Exponential { mean: 50_000 });
        let drawn = draws(&spread);
        near(mean(&drawn), 50_000.0, 0.01);
        for share in [0.1, 0.5, 0.9, 0.99] {
            near(
                quantile(&drawn, share),
                -libm::log(1.0 - share) * 50_000.0,
                0.03,
            );
        }
    }

    #[test]
    fn lognormal_has_its_median_its_mean_and_its_tail() {
        let spread = drawn_of(Shape::LogNormal {
            median: 10_000,
            sigma_milli: 1_500,
        });
        let drawn = draws(&spread);
        near(quantile(&drawn, 0.5), 10_000.0, 0.02);
        near(
            quantile(&drawn, 0.9),
            10_000.0 * libm::exp(1.5 * 1.281_55),
            0.03,
        );
        near(
            quantile(&drawn, 0.99),
            10_000.0 * libm::exp(1.5 * 2.326_35),
            0.05,
        );
        near(mean(&drawn), spread.mean(), 0.05);
    }

    #[test]
    fn pareto_has_its_least_its_quantiles_and_its_mean() {
        let spread = drawn_of(Shape::Pareto {
            least: 4_096,
            shape_milli: 2_500,
        });
        let drawn = draws(&spread);
        assert!(drawn[0] >= 4_096);
        for share in [0.5, 0.9, 0.99] {
            let wanted = 4_096.0 * libm::pow(1.0 - share, -1.0 / 2.5);
            near(quantile(&drawn, share), wanted, 0.03);
        }
        near(mean(&drawn), spread.mean(), 0.03);
    }

    #[test]
    fn a_trace_gives_each_of_its_values_as_often() {
        let spread = drawn_of(Shape::Trace([10, 20, 20, 30].into()));
        let drawn = draws(&spread);
        let share = |value| drawn.iter().filter(|own| **own == value).count() as f64;
        near(share(20), DRAWS as f64 / 2.0, 0.02);
        near(share(10), DRAWS as f64 / 4.0, 0.02);
        near(mean(&drawn), spread.mean(), 0.01);
    }

    #[test]
    fn what_is_drawn_is_cut_to_what_may_be() {
        let pareto = Drawn {
            shape: Shape::Pareto {
                least: 100,
                shape_milli: 1_050,
            },
            least: 200,
            most: 5_000,
        };
        let drawn = draws(&pareto);
        assert_eq!((drawn[0], drawn[DRAWS - 1]), (200, 5_000));
    }
}
